/* mnistq ladder: every precision from fp32 to 2 bits, side by side. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/speed.h"
#include "studies/ladder.h"
#include "studies/ladder_plot.h"
#include "base/file.h"

/* Everything a run needs to know. */
struct ladder_run {
    const char *source, *results, *name; /* name: of the tables and the picture */
    struct training_recipe training;
    struct ladder_options options;
    int seeds;
    char models[4096]; /* folder */
};

/* What a rung gave over the seeds. */
struct rung_sums {
    int n;
    double accuracy, accuracy_squares, change, bits, sqnr;
    double output_error[MLP_MAX_LAYERS];
};

static void add_row(struct table *t, const struct rung *rung, const struct rung_result *r,
                    const struct rung_result *fp32, const uint8_t *labels, double speed) {
    struct paired paired = compare(&fp32->evaluation, &r->evaluation, labels);
    table_row(t, "%s | %s | %s | %.3f | %zu | %.2f | %.1f | %.3f | %.2f | %.2f | %+.2f | %zu | %zu | %zu | %.2f | %.2f",
              r->format, rung->method, arithmetic_name(&r->model), r->model.bits_per_weight, r->bytes,
              (double)fp32->bytes / (double)r->bytes, r->sqnr_db, r->error_percent, accuracy_percent(&r->evaluation),
              standard_error_percent(&r->evaluation),
              accuracy_percent(&r->evaluation) - accuracy_percent(&fp32->evaluation), paired.changed, paired.fixed,
              paired.broken, r->seconds, speed);
}

static void add_notes(struct table *t, const struct ladder_run *run, const struct mlp *fp32) {
    char shape[128];
    mlp_shape_print(&fp32->shape, shape, sizeof shape);
    table_note(t,
               "%s. Arithmetic says what ran: \"integer\" rungs compute with codes from pixels to logits; \"fp32 after "
               "decode\" rungs only store few bits and compute in fp32; \"bf16 products, fp32 sums\" multiply the "
               "stored bf16 (AVX512-BF16); never compare their speeds without that column.",
               shape);
    table_note(
        t,
        "bits per weight: scales, zero points, padding and divisors counted in. sqnr and error: weights read back "
        "against fp32; empty where the weights were trained on (QAT, one more epoch) or split (dynamic, LLM.int8()).");
    table_note(
        t,
        "change, changed, fixed, broken: against fp32 on the same images. seconds: to quantize. speed: images a second "
        "on one thread, batch 1000, as a ratio to fp32 in the same run. Dynamic int8 and LLM.int8() run on plain "
        "loops: "
        "their speeds say nothing of the schemes.");
    table_note(
        t,
        "GPTQ and AWQ looked at %d training images; activations were calibrated on %d. Group: %d weights (the last "
        "of a row may be shorter). QAT rungs trained on for %d epoch%s: compare with \"one more epoch\".",
        run->options.images, run->options.calibration, run->options.group, run->options.qat_epochs,
        run->options.qat_epochs == 1 ? "" : "s");
    for (int i = 0; i < fp32->shape.layers; i++)
        if (run->options.images < fp32->shape.widths[i])
            table_note(
                t,
                "Warning: %d images for the %d inputs of fc%d: GPTQ's Hessian has not full rank and rests on its "
                "damping of %g.",
                run->options.images, fp32->shape.widths[i], i + 1, run->options.damping);
}

static void rung_path(const struct ladder_run *run, int i, char *path, size_t size) {
    char format[64], name[160];
    rung_format(&rungs[i], &run->options, format, sizeof format);
    snprintf(name, sizeof name, "%02d-%s-%s", i, format, rungs[i].method);
    for (char *c = name; *c; c++) /* a file name that needs no quoting */
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-", *c)) *c = '-';
    snprintf(path, size, "%.3900s/%s.safetensors", run->models, name);
}

static void sum_up(struct rung_sums *s, const struct rung_result *r, const struct rung_result *fp32) {
    double accuracy = accuracy_percent(&r->evaluation);
    s->n++;
    s->accuracy += accuracy;
    s->accuracy_squares += accuracy * accuracy;
    s->change += accuracy - accuracy_percent(&fp32->evaluation);
    s->bits += r->model.bits_per_weight;
    s->sqnr += r->sqnr_db;
    for (int i = 0; i < MLP_MAX_LAYERS; i++) s->output_error[i] += r->output_error[i];
}

/* All rungs of one network; results [rung_count], freed by the caller also after an error. */
static bool climb(const struct ladder_run *run, const struct ladder *l, struct rung_result *results,
                  struct error *err) {
    struct progress bar;
    char path[4096];
    bool ok = folder_create(run->models, err);
    progress_begin(&bar, "ladder", "rungs");
    for (int i = 0; ok && i < rung_count; i++) {
        progress_update(&bar, (size_t)i, (size_t)rung_count);
        rung_path(run, i, path, sizeof path);
        ok = rung_run(l, &rungs[i], path, &results[i], err);
    }
    progress_end(&bar);
    return ok;
}

static bool fill_table(const struct ladder_run *run, const struct dataset *data, const struct mlp *fp32,
                       const struct rung_result *results, struct table *t, struct error *err) {
    struct speed *speeds = aligned_array((size_t)rung_count, sizeof *speeds, err);
    bool ok = speeds != NULL;
    for (int i = 0; ok && i < rung_count; i++) speeds[i] = speed_of(&results[i].model);
    ok = ok && measure_speeds(speeds, rung_count, &data->test, err);
    for (int i = 0; ok && i < rung_count; i++)
        add_row(t, &rungs[i], &results[i], &results[0], data->test.labels,
                speeds[i].images_per_second / speeds[0].images_per_second);
    if (ok) add_notes(t, run, fp32);
    if (ok) note_speeds(t, speeds, rung_count);
    free(speeds);
    return ok;
}

/* One network: its ladder into sums, and, when t is not NULL, into the table. */
static bool run_network(const struct ladder_run *run, const struct dataset *data, const struct mlp *fp32,
                        const struct model_notes *notes, struct table *t, struct rung_sums *sums, struct error *err) {
    struct ladder l;
    struct rung_result *results = aligned_array((size_t)rung_count, sizeof *results, err);
    if (!results || !ladder_create(data, fp32, notes, &run->options, &run->training, &l, err)) {
        free(results);
        return false;
    }
    bool ok = climb(run, &l, results, err) && (!t || fill_table(run, data, fp32, results, t, err));
    for (int i = 0; ok && i < rung_count; i++) sum_up(&sums[i], &results[i], &results[0]);
    for (int i = 0; i < rung_count; i++) rung_result_free(&results[i]);
    free(results);
    ladder_free(&l);
    return ok;
}

static bool run_given(const struct ladder_run *run, const char *path, const struct dataset *data, struct table *t,
                      struct rung_sums *sums, struct error *err) {
    struct model model;
    struct model_notes notes;
    if (!model_read(path, &model, &notes, err)) return false;
    bool ok = model.kind == MODEL_FP32 || fail(err, "%s: is quantized already; an fp32 model is needed", path);
    ok = ok &&
        split_fits(&data->test, model.shape.widths[0], model.shape.widths[model.shape.layers], run->source, err) &&
        run_network(run, data, &model.mlp, &notes, t, sums, err);
    model_free(&model);
    return ok;
}

static bool run_seeds(struct ladder_run *run, const struct dataset *data, struct table *t, struct rung_sums *sums,
                      struct error *err) {
    uint64_t first = run->training.seed;
    struct progress bar;
    bool ok = true;
    progress_begin(&bar, run->name, "seeds");
    for (int i = run->seeds - 1; ok && i >= 0; i--) { /* the first last: the files that stay are those of the table */
        struct mlp mlp;
        struct train_report report;
        struct model_notes notes = {0};
        progress_update(&bar, (size_t)(run->seeds - 1 - i), (size_t)run->seeds);
        run->training.seed = first + (uint64_t)i;
        if (!(ok = train_model(data, &run->training, &mlp, &report, err))) break;
        describe_training(data, &run->training, &notes);
        ok = run_network(run, data, &mlp, &notes, i == 0 ? t : NULL, sums, err);
        mlp_free(&mlp);
    }
    progress_end(&bar);
    run->training.seed = first;
    return ok;
}

/* The rung that a method has to beat: round to nearest in the same format. NULL for other kinds of rungs. */
static const struct rung *rtn_of(const struct rung *r) {
    if (r->kind != RUNG_CODED || r->how == METHOD_RTN || r->how == METHOD_RTN_MSE) return NULL;
    for (int i = 0; i < rung_count; i++)
        if (rungs[i].kind == RUNG_CODED && rungs[i].how == METHOD_RTN && rungs[i].block == r->block &&
            strcmp(rungs[i].format, r->format) == 0)
            return &rungs[i];
    return NULL;
}

/* Whether GPTQ and AWQ do what their papers claim: a lower output error in every layer, and with it a higher accuracy.
 */
static void note_claims(struct table *t, const struct ladder_run *run, const struct rung_sums *sums) {
    for (int i = 0; i < rung_count; i++) {
        const struct rung *rtn = rtn_of(&rungs[i]);
        if (!rtn) continue;
        const struct rung_sums *ours = &sums[i], *base = &sums[rtn - rungs];
        double gain = (ours->accuracy - base->accuracy) / ours->n, lost = -base->change / base->n;
        int layers = 0, better = 0;
        for (; layers < MLP_MAX_LAYERS && base->output_error[layers] > 0; layers++)
            better += ours->output_error[layers] < base->output_error[layers];
        char format[64];
        rung_format(&rungs[i], &run->options, format, sizeof format);
        table_note(
            t,
            "%s, %s against round to nearest: output error lower in %d of %d layers; accuracy %+.3f points, where "
            "round to nearest had lost %.3f%s.",
            format, rungs[i].method, better, layers, gain, lost,
            gain > 0 ? "" : ": in accuracy the method's claim does not show here");
    }
}

/* Mean and spread over the seeds, and the layers' output errors, which tell methods apart where accuracy cannot. */
static bool save_seeds(const struct ladder_run *run, const struct rung_sums *sums, const struct provenance *p,
                       struct error *err) {
    static const char columns[] = "format method bits_per_weight weight_sqnr_db mean_accuracy sd mean_change "
                                  "fc1_output_error fc2_output_error fc3_output_error";
    struct table t;
    char format[64], title[128];
    snprintf(title, sizeof title, "The ladder over %d seeds", sums[0].n);
    table_init(&t, title, columns);
    for (int i = 0; i < rung_count; i++) {
        const struct rung_sums *s = &sums[i];
        double n = s->n, mean = s->accuracy / n;
        rung_format(&rungs[i], &run->options, format, sizeof format);
        table_row(&t, "%s | %s | %.3f | %.1f | %.3f | %.3f | %+.3f", format, rungs[i].method, s->bits / n, s->sqnr / n,
                  mean, n > 1 ? sqrt(fmax(0, s->accuracy_squares - n * mean * mean) / (n - 1)) : NAN, s->change / n);
        for (int layer = 0; layer < 3; layer++) table_row(&t, "%.7f", s->output_error[layer] / n);
    }
    table_note(&t,
               "output error: sum of squares of (W - W_hat) x over the test images and outputs of a layer, relative to "
               "that of W x, with x from the fp32 network; what GPTQ and AWQ set out to lower. Mean over the seeds.");
    note_claims(&t, run, sums);
    char name[128];
    snprintf(name, sizeof name, "%.100s-seeds", run->name);
    bool ok = table_save(&t, p, run->results, name, err);
    table_free(&t);
    return ok;
}

/* What belongs on one line of the picture: training with 8, 4, 3 and 2 bits is one method. */
static const char *line_of(const struct rung *r) {
    if (r->kind == RUNG_QAT) return "QAT (integer)";
    if (r->kind == RUNG_FP32) return "fp32";
    if (r->kind == RUNG_STATIC) return "int8 static (integer)";
    return r->method;
}

static bool save_plot(const struct ladder_run *run, const struct rung_sums *sums, struct error *err) {
    struct plot_point *points = aligned_array((size_t)rung_count, sizeof *points, err);
    if (!points) return false;
    for (int i = 0; i < rung_count; i++)
        points[i] = (struct plot_point){line_of(&rungs[i]), sums[i].bits / sums[i].n, sums[i].accuracy / sums[i].n};
    char path[4096];
    snprintf(path, sizeof path, "%.3900s/%.100s.svg", run->results, run->name);
    bool ok = ladder_plot(path, points, rung_count, err);
    free(points);
    return ok;
}

static int largest_divisor(int n, int least, int most) {
    while (most >= least && n % most) most--;
    return most < least ? 0 : most;
}

/* What --group and --images are where they are not given: MNIST's 56 and 4096 fit other sets as they can. */
static void choose_defaults(struct ladder_run *run, const struct split *train) {
    struct ladder_options *o = &run->options;
    int inputs = train->rows * train->cols;
    if (!o->group) o->group = inputs % 56 == 0 ? 56 : largest_divisor(inputs, 8, 64);
    if (!o->group)
        o->group = largest_divisor(run->training.hidden.values[0], 1, 64); /* such as a prime number of pixels */
    if (!o->images) o->images = train->count < 4096 ? (int)train->count : 4096;
}

static bool run(struct ladder_run *run, const char *model, struct table *t, struct provenance *p, struct error *err) {
    struct dataset data;
    struct rung_sums *sums = aligned_array((size_t)rung_count, sizeof *sums, err);
    snprintf(run->models, sizeof run->models, "%.3900s/models/%.100s", run->results, run->name);
    if (!sums || !dataset_load(run->source, &data, err)) {
        free(sums);
        return false;
    }
    choose_defaults(run, &data.train);
    if (model) provenance_add(p, "model", "%s", model);
    else
        provenance_add(p, "seeds", "%llu to %llu (the table: the first)", (unsigned long long)run->training.seed,
                       (unsigned long long)run->training.seed + (uint64_t)run->seeds - 1);
    provenance_dataset(p, &data);
    provenance_machine(p);
    bool ok = model ? run_given(run, model, &data, t, sums, err) : run_seeds(run, &data, t, sums, err);
    ok = ok && table_save(t, p, run->results, run->name, err) && save_seeds(run, sums, p, err) &&
        save_plot(run, sums, err);
    free(sums);
    dataset_free(&data);
    return ok;
}

int command_ladder(int argc, char **argv) {
    static const char columns[] =
        "format method arithmetic bits_per_weight file_bytes ratio weight_sqnr_db weight_error_percent "
        "accuracy_percent standard_error change changed fixed broken seconds speed";
    struct options o = {
        .command = argv[0],
        .arguments = "[MODEL]",
        .what = "Puts a network into every precision from fp32 to 2 bits, each written to a file, read back and run.\n"
                "Without MODEL, trains --seeds networks; the table is the first one's, ladder-seeds the mean of all."};
    struct ladder_run r = {.source = "data/mnist",
                           .name = "ladder",
                           .seeds = 5,
                           .training = training_defaults(),
                           .options = {0, 0, 512, 0.01, 6.0, 0.002, 1}}; /* 0: choose_defaults */
    bool json = false;
    option_data(&o, &r.source, "folder with the four IDX files, or the built-in digits");
    option_results(&o, &r.results, "folder for the tables");
    option_text(&o, "name", "NAME", &r.name, "of the tables NAME and NAME-seeds and the picture NAME.svg");
    option_int(&o, "seeds", &r.seeds, 1, 1000, "networks to train when no MODEL is given");
    option_int(&o, "group", &r.options.group, 1, MLP_MAX_WIDTH,
               "weights of a group: 56, or the largest of 8 to 64 that divides the inputs (784: 16, 28, 49, 56, 98, "
               "112, 196)");
    option_int(&o, "images", &r.options.images, 1, 1000000,
               "training images that GPTQ, AWQ and LLM.int8() look at: 4096, or all there are");
    option_int(&o, "calibration", &r.options.calibration, 1, 1000000, "training images for the ranges of activations");
    option_real(&o, "damping", &r.options.damping, 1e-6, 10,
                "GPTQ: share of the Hessian's mean diagonal that is added to it");
    option_real(&o, "threshold", &r.options.threshold, 0.01, 1e6, "LLM.int8(): input columns that reach it stay fp16");
    option_int(&o, "qat-epochs", &r.options.qat_epochs, 1, 1000, "epochs of quantization-aware training");
    option_real(&o, "qat-rate", &r.options.qat_rate, 1e-8, 10, "its peak learning rate");
    training_options(&o, &r.training);
    option_flag(&o, "json", &json, "print the table as JSON");
    int status = options_parse(&o, argc, argv, 0, 1);
    if (status != OPTIONS_GO_ON) return status;
    if (!*r.name || strchr(r.name, '/')) return usage_error(&o, "--name: expected a file name without folders");
    struct error err;
    struct table t;
    struct provenance p = {0};
    table_init(&t, "The ladder: one network, every precision", columns);
    provenance_command(&p);
    bool ok = run(&r, o.file_count ? o.files[0] : NULL, &t, &p, &err);
    return report_table(&t, &p, json, ok, &err);
}
