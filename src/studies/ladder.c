/* mnistq ladder: one network in every precision from fp32 to 2 bits, each rung written to a file, read back and run. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/stats.h"
#include "cli/report.h"
#include "cli/commands.h"
#include "cli/recipe.h"
#include "cli/speed.h"
#include "cli/study.h"
#include "studies/chart.h"

/* What a rung gave over the seeds. */
struct rung_sums {
    struct sums accuracy, change, bits, sqnr, output_error[MLP_MAX_LAYERS];
};

struct ladder {
    struct study *s;
    const char *name; /* of the tables and the picture */
    int seeds;
    bool group_given;
    struct rung_recipe recipe;
    struct quantization_recipe calibration;
    struct training_recipe training;
    struct table *table, *means;
    struct rung_sums *sums; /* [rung_count] */
    struct progress bar;
    size_t rungs_done;
};

/* A rung as it came back from its file. */
struct rung_result {
    char format[64]; /* "int4/56" */
    struct model model;
    uint64_t bytes; /* of the file, by stat */
    struct evaluation evaluation;
    double seconds;                      /* to make it */
    double sqnr_db, error_percent;       /* of the weights against fp32; NaN where they were trained on */
    double output_error[MLP_MAX_LAYERS]; /* relative squared error of each layer's output on the test images, inputs
                                            from fp32; NaN as above */
};

/* ---- one rung -------------------------------------------------------------------------------------------------- */

/* The second moments [in][in] of the layers' fp32 inputs on the test images: what output errors are measured with,
 * apart from the images that GPTQ and AWQ have seen. Release each with free, also after an error. */
static bool make_test_grams(const struct mlp *mlp, const struct split *test, double **grams, struct error *err) {
    int count = test->count > 10000 ? 10000 : (int)test->count;
    struct mlp_workspace ws;
    if (!mlp_workspace_create(&mlp->shape, count, false, &ws, err)) return false;
    mlp_load_images(mlp, test->images, count, &ws);
    mlp_forward(mlp, count, &ws);
    bool ok = true;
    for (int i = 0; ok && i < mlp->shape.layers; i++) {
        size_t in = (size_t)mlp->shape.widths[i];
        grams[i] = aligned_array(in * in, sizeof(double), err);
        ok = grams[i] && gram_matrix(ws.activation[i], (size_t)count, (int)in, grams[i], err);
    }
    mlp_workspace_free(&ws);
    return ok;
}

/* What the weights lost, element by element, and what that does to each layer's output on the test images. */
static void measure_weights(const struct mlp *fp32, const struct mlp *effective, double *const *grams,
                            struct rung_result *out) {
    double signal = 0, noise = 0;
    for (int i = 0; i < effective->shape.layers; i++) {
        const struct dense *a = &fp32->layer[i], *b = &effective->layer[i];
        for (size_t k = 0; k < (size_t)a->in * (size_t)a->out; k++) {
            double e = (double)a->weight[k] - (double)b->weight[k];
            signal += (double)a->weight[k] * (double)a->weight[k];
            noise += e * e;
        }
        out->output_error[i] = output_error(a->weight, b->weight, a->out, a->in, grams[i]);
    }
    out->sqnr_db = decibels(signal, noise); /* NaN where there was nothing to compare */
    out->error_percent = 100 * sqrt(noise / signal);
}

/* Release with free_result. */
static bool run_rung(struct ladder *l, struct rung_source *source, double *const *grams, int i, struct rung_result *out,
                     struct error *err) {
    struct rung_made made = {0};
    char name[160], file[300];
    *out = (struct rung_result){0};
    for (int layer = 0; layer < MLP_MAX_LAYERS; layer++) out->output_error[layer] = NAN;
    rung_format(&rungs[i], source->group, out->format, sizeof out->format);
    snprintf(name, sizeof name, "%02d-%s-%s", i, out->format, rungs[i].method);
    for (char *c = name; *c; c++) /* a file name that needs no quoting */
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-", *c)) *c = '-';
    snprintf(file, sizeof file, "models/%s/%s.safetensors", l->name, name);
    const char *path = study_path(l->s, file);
    double started = seconds_now();
    bool ok = path && rung_make_shown(source, &rungs[i], path, &made, err);
    out->seconds = seconds_now() - started;
    if (ok) measure_weights(source->fp32, &made.effective, grams, out);
    mlp_free(&made.effective);
    return ok && model_read(path, &out->model, NULL, err) && file_size(path, &out->bytes, err) &&
        evaluate(&out->model, &l->s->data.test, false, &out->evaluation, err);
}

static void free_result(struct rung_result *r) {
    model_free(&r->model);
    evaluation_free(&r->evaluation);
}

/* ---- one network ----------------------------------------------------------------------------------------------- */

static void add_row(struct table *t, const struct rung *rung, const struct rung_result *r,
                    const struct rung_result *fp32, const uint8_t *labels, double speed) {
    table_row(t, "%s | %s | %s | %.3f | %zu | %.2f | %.1f | %.3f | %.2f | %.2f", r->format, rung->method,
              arithmetic_name(&r->model), r->model.bits_per_weight, (size_t)r->bytes,
              (double)fp32->bytes / (double)r->bytes, r->sqnr_db, r->error_percent, accuracy_percent(&r->evaluation),
              standard_error_percent(&r->evaluation));
    add_changes(t, &fp32->evaluation, &r->evaluation, labels);
    table_row(t, "%.2f | %.2f", r->seconds, speed);
}

static void add_notes(const struct ladder *l, const struct rung_source *source) {
    struct table *t = l->table;
    char shape[128];
    mlp_shape_print(&source->fp32->shape, shape, sizeof shape);
    table_note(
        t,
        "What to see: how few bits %s can do with, and which method holds its accuracy at the same bits. The "
        "column arithmetic, in the files, says what ran: \"integer\" rungs compute with codes from pixels to logits; "
        "\"fp32 "
        "after decode\" rungs only store few bits and compute in fp32; \"bf16 products, fp32 sums\" multiply the "
        "stored bf16 (AVX512-BF16). Never compare speeds without it.",
        shape);
    table_note(
        t,
        "bits per weight: scales, zero points, padding and divisors counted in. sqnr and error: weights read "
        "back against fp32, in the files; empty where the weights were trained on (QAT, one more epoch) or "
        "split (dynamic, LLM.int8()). seconds: to quantize and write. With kernels that give sums (AVX-512 VNNI) "
        "dynamic int8 and LLM.int8() run on the products of int8; elsewhere on plain loops, whose speeds say "
        "nothing of the schemes.");
    table_note(t,
               "GPTQ and AWQ looked at %d training images; activations were calibrated on %d. Group: %d weights (the "
               "last of a row may be shorter)%s. QAT rungs trained on for %d epoch%s: compare with \"one more epoch\".",
               source->count, l->calibration.calibration, source->group,
               l->group_given || source->group == 56 ? "" : ", the most up to 64 that divide the inputs of a layer",
               source->training.epochs, source->training.epochs == 1 ? "" : "s");
    if (source->fp32->shape.widths[0] % 256 != 0)
        table_note(t,
                   "K-quants are ggml's layouts, bit for bit, with our own search for scales. Their rows are padded to "
                   "a multiple of 256 and the padding is counted, which fc1's %d inputs are not: llama.cpp would leave "
                   "such a tensor in F16. Q4_K_M: q6_K for the output and the inner layers that llama.cpp's "
                   "use_more_bits picks, q4_K for the rest.",
                   source->fp32->shape.widths[0]);
    note_gptq_rank(t, source);
}

static bool fill_table(const struct ladder *l, const struct rung_source *source, const struct rung_result *results,
                       struct error *err) {
    struct speed *speeds = aligned_array((size_t)rung_count, sizeof *speeds, err);
    for (int i = 0; speeds && i < rung_count; i++) speeds[i] = speed_of(&results[i].model);
    bool ok = speeds && measure_speeds(speeds, rung_count, &l->s->data.test, err);
    for (int i = 0; ok && i < rung_count; i++)
        add_row(l->table, &rungs[i], &results[i], &results[0], l->s->data.test.labels,
                speeds[i].images_per_second / speeds[0].images_per_second);
    if (ok) add_notes(l, source);
    if (ok) note_speeds(l->table, speeds, rung_count);
    free(speeds);
    return ok;
}

static void sum_up(struct rung_sums *s, const struct rung_result *r, const struct rung_result *fp32) {
    double accuracy = accuracy_percent(&r->evaluation);
    sums_add(&s->accuracy, accuracy);
    sums_add(&s->change, accuracy - accuracy_percent(&fp32->evaluation));
    sums_add(&s->bits, r->model.bits_per_weight);
    sums_add(&s->sqnr, r->sqnr_db);
    for (int i = 0; i < r->model.shape.layers; i++) sums_add(&s->output_error[i], r->output_error[i]);
}

/* All rungs of one network into the sums, and, when it is that of the table, into its rows. */
static bool climb(struct ladder *l, const struct mlp *fp32, const struct model_notes *notes, bool in_table,
                  struct error *err) {
    struct rung_source source;
    double *grams[MLP_MAX_LAYERS] = {0};
    struct rung_result *results = aligned_array((size_t)rung_count, sizeof *results, err);
    rung_recipe_fit(&l->recipe, &fp32->shape, &l->s->data.train);
    bool ok = results &&
        rung_source_create(&l->s->data, fp32, notes, &l->recipe, &l->calibration, &l->training, &source, err);
    if (ok) {
        ok = make_test_grams(fp32, &l->s->data.test, grams, err);
        for (int i = 0; ok && i < rung_count; i++) {
            progress_update(&l->bar, l->rungs_done++, (size_t)(l->seeds * rung_count));
            ok = run_rung(l, &source, grams, i, &results[i], err);
        }
        ok = ok && (!in_table || fill_table(l, &source, results, err));
        for (int i = 0; ok && i < rung_count; i++) sum_up(&l->sums[i], &results[i], &results[0]);
        rung_source_free(&source);
    }
    for (int i = 0; results && i < rung_count; i++) free_result(&results[i]);
    for (int i = 0; i < MLP_MAX_LAYERS; i++) free(grams[i]);
    free(results);
    return ok;
}

static bool climb_given(struct ladder *l, const char *path, struct error *err) {
    struct model model;
    struct model_notes notes;
    if (!model_read(path, &model, &notes, err)) return false;
    bool ok = (model.kind == MODEL_FP32 || fail(err, "%s: is quantized already; an fp32 model is needed", path)) &&
        split_fits(&l->s->data.test, model.shape.widths[0], model.shape.widths[model.shape.layers], l->s->source,
                   err) &&
        climb(l, &model.mlp, &notes, true, err);
    model_free(&model);
    return ok;
}

static bool climb_seeds(struct ladder *l, struct error *err) {
    uint64_t first = l->training.seed;
    bool ok = true;
    for (int i = l->seeds - 1; ok && i >= 0; i--) { /* the first last: the files that stay are those of the table */
        struct mlp mlp;
        struct train_report report;
        struct model_notes notes = {0};
        l->training.seed = first + (uint64_t)i;
        if (!train_model(&l->s->data, &l->training, &mlp, &report, err)) return false;
        describe_training(&l->s->data, &l->training, &notes);
        ok = climb(l, &mlp, &notes, i == 0, err);
        mlp_free(&mlp);
    }
    return ok;
}

/* ---- all seeds ------------------------------------------------------------------------------------------------- */

/* The rung that a method has to beat: round to nearest in the same format. NULL for methods that claim nothing. */
static const struct rung *rtn_of(const struct rung *r) {
    for (int i = 0; r->how >= METHOD_GPTQ && i < rung_count; i++)
        if (rungs[i].make == r->make && rungs[i].how == METHOD_RTN && rungs[i].block == r->block &&
            strcmp(rungs[i].format, r->format) == 0)
            return &rungs[i];
    return NULL;
}

/* Whether GPTQ and AWQ do what their papers claim: a lower output error in every layer, and a higher accuracy with it.
 */
static void note_claim(const struct ladder *l, const struct rung *rung, const char *format) {
    const struct rung *rtn = rtn_of(rung);
    if (!rtn) return;
    const struct rung_sums *ours = &l->sums[rung - rungs], *base = &l->sums[rtn - rungs];
    double n = (double)ours->accuracy.n, gain = (ours->accuracy.sum - base->accuracy.sum) / n;
    int layers = 0, better = 0;
    for (; layers < MLP_MAX_LAYERS && base->output_error[layers].sum > 0; layers++)
        better += ours->output_error[layers].sum < base->output_error[layers].sum;
    table_note(l->means,
               "%s, %s against round to nearest: output error lower in %d of %d layers; accuracy %+.3f points, where "
               "round to nearest had lost %.3f%s.",
               format, rung->method, better, layers, gain, -base->change.sum / n,
               gain > 0 ? "" : ": in accuracy the method's claim does not show here");
}

/* Means over the seeds, with the layers' output errors, which tell methods apart where accuracy cannot. */
static void fill_means(const struct ladder *l, int layers) {
    char format[64];
    for (int i = 1; i <= layers; i++) table_add_columns(l->means, "fc%d_output_error%s", i, i > 1 ? "-" : "");
    table_note(
        l->means,
        "What to see: whether a method that chooses codes by what a layer puts out lowers that layer's output "
        "error, and whether accuracy follows. Output error: sum of squares of (W - W_hat) x over the test images "
        "and outputs of a layer, relative to that of W x, with x from the fp32 network. Means over the seeds.");
    for (int i = 0; i < rung_count; i++) {
        const struct rung_sums *s = &l->sums[i];
        rung_format(&rungs[i], l->recipe.group, format, sizeof format);
        table_row(l->means, "%s | %s | %.3f | %.1f | %.3f | %.3f | %+.3f", format, rungs[i].method, sums_mean(&s->bits),
                  sums_mean(&s->sqnr), sums_mean(&s->accuracy), sums_deviation(&s->accuracy), sums_mean(&s->change));
        for (int layer = 0; layer < layers; layer++) table_row(l->means, "%.7f", sums_mean(&s->output_error[layer]));
        note_claim(l, &rungs[i], format);
    }
}

/* Accuracy by the logarithm of the error, so that 97.5 against 97.8 can be seen beside a collapse to 60. */
static const struct chart ladder_chart = {.title = "The ladder: accuracy and bits per weight",
                                          .x = {.label = "bits per weight, all overhead counted (log scale)",
                                                .log = true,
                                                .from = 1.8,
                                                .to = 34,
                                                .ticks = {2, 3, 4, 6, 8, 16, 32}},
                                          .y = {.label = "test accuracy in percent (by the logarithm of the error)",
                                                .log = true,
                                                .from = 10,
                                                .to = 98.8,
                                                .ticks = {98.5, 98, 97.5, 97, 96, 95, 90, 80, 60, 30, 10},
                                                .below = 100},
                                          .cycle = CHART_COLOURS};

/* Rungs that stand on one line of the picture: training with 8, 4, 3 and 2 bits is one method. */
static const char *series_of(const struct rung *r) {
    static const char *const series[][2] = {
        {"none", "fp32"}, {"static", "int8 static (integer)"}, {"qat", "QAT (integer)"}};
    for (size_t i = 0; i < sizeof series / sizeof series[0]; i++)
        if (strcmp(r->option, series[i][0]) == 0) return series[i][1];
    return r->method;
}

static bool draw(const struct ladder *l, struct error *err) {
    struct plot_point *points = aligned_array((size_t)rung_count, sizeof *points, err);
    char name[160];
    if (!points) return false;
    for (int i = 0; i < rung_count; i++)
        points[i] = (struct plot_point){
            .series = series_of(&rungs[i]), .x = sums_mean(&l->sums[i].bits), .y = sums_mean(&l->sums[i].accuracy)};
    snprintf(name, sizeof name, "%s.svg", l->name);
    const char *path = study_path(l->s, name);
    bool ok = path && chart_write(path, &ladder_chart, points, rung_count, err);
    free(points);
    return ok;
}

static bool run(struct ladder *l, const char *model) {
    struct error *err = &l->s->err;
    if (!(l->sums = aligned_array((size_t)rung_count, sizeof *l->sums, err))) return false;
    progress_begin(&l->bar, l->name, "rungs");
    bool ok = model ? climb_given(l, model, err) : climb_seeds(l, err);
    progress_end(&l->bar);
    int layers = 0;
    while (layers < MLP_MAX_LAYERS && l->sums[0].output_error[layers].n) layers++;
    if (ok) fill_means(l, layers);
    ok = ok && draw(l, err);
    free(l->sums);
    return ok;
}

int command_ladder(int argc, char **argv) {
    static const char columns[] = "format method arithmetic- bits_per_weight:bits file_bytes:bytes ratio- "
                                  "weight_sqnr_db- weight_error_percent- accuracy_percent:accuracy standard_error- "
                                  "change changed- fixed- broken- seconds- speed";
    struct study s;
    struct ladder l = {.s = &s,
                       .name = "ladder",
                       .seeds = 5,
                       .recipe = rung_defaults(),
                       .calibration = quantization_defaults(),
                       .training = training_defaults()};
    char means[128], title[64];
    study_init(&s, argv[0], "[MODEL]",
               "Puts a network into every precision from fp32 to 2 bits, each written to a file, read back and run.\n"
               "Without MODEL, trains --seeds networks; the table is the first one's, ladder-seeds the mean of all.");
    s.options.examples = "mnistq ladder --seeds 1\nmnistq ladder fp32.safetensors --group 28";
    option_text(&s.options, "name", "NAME", &l.name, "of the tables NAME and NAME-seeds and the picture NAME.svg");
    option_int(&s.options, "seeds", &l.seeds, 1, 1000, "networks to train when no MODEL is given");
    option_int(&s.options, "group", &l.recipe.group, 1, MLP_MAX_WIDTH,
               "weights of a group: 56, or the largest of 8 to 64 that divides the inputs (784: 16, 28, 49, 56, 98, "
               "112, 196)");
    rung_options(&s.options, &l.recipe);
    option_int(&s.options, "calibration", &l.calibration.calibration, 1, 1000000,
               "training images for the ranges of activations");
    training_options(&s.options, &l.training);
    int status = study_parse(&s, argc, argv, 0, 1);
    if (status != OPTIONS_GO_ON) return status;
    if (!*l.name || *l.name == '.' || strchr(l.name, '/') || strlen(l.name) > 100)
        return usage_error(&s.options, "--name: expected a file name of 1 to 100 bytes without folders");
    const char *model = s.options.file_count ? s.options.files[0] : NULL;
    l.group_given = l.recipe.group > 0;
    if (model) l.seeds = 1;
    if (model) provenance_add(&s.provenance, "model", "%s", model);
    else
        provenance_add(&s.provenance, "seeds", "%llu to %llu (the table: the first)",
                       (unsigned long long)l.training.seed,
                       (unsigned long long)l.training.seed + (uint64_t)l.seeds - 1);
    snprintf(title, sizeof title, "The ladder over %d seed%s", l.seeds, l.seeds == 1 ? "" : "s");
    snprintf(means, sizeof means, "%s-seeds", l.name);
    l.table = study_table(&s, l.name, "The ladder: one network, every precision", columns);
    l.means = study_table(&s, means, title,
                          "format method bits_per_weight:bits weight_sqnr_db mean_accuracy sd mean_change");
    return study_end(&s, study_begin(&s) && run(&l, model));
}
