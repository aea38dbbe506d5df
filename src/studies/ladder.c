/* mnistq ladder: one network in every precision from fp32 to 1 bit, each rung written to a file, read back and run. */
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
#include "studies/ladder.h"

struct ladder {
    struct study *s;
    const char *name; /* of the tables and the picture */
    int seeds;
    bool group_given;
    struct rung_recipe recipe;
    struct quantization_recipe calibration;
    struct training_recipe training;
    struct table *table, *means, *methods;
    struct ladder_values values;
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
    double logit_sqnr, kl;               /* of the logits against fp32's; NaN for fp32 itself */
};

/* What rungs of one network are measured with. */
struct measures {
    double *grams[MLP_MAX_LAYERS]; /* make_test_grams */
    float *fp32_logits, *logits;   /* [test images][classes] */
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
static bool run_rung(struct ladder *l, struct rung_source *source, const struct measures *y, int i,
                     struct rung_result *out, struct error *err) {
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
    if (ok) measure_weights(source->fp32, &made.effective, y->grams, out);
    mlp_free(&made.effective);
    const struct split *test = &l->s->data.test;
    float *logits = i == 0 ? y->fp32_logits : y->logits; /* rung 0 is fp32 */
    ok = ok && model_read(path, &out->model, NULL, err) && file_size(path, &out->bytes, err) &&
        evaluate_keeping(&out->model, test, logits, &out->evaluation, err);
    if (ok)
        logits_apart(y->fp32_logits, logits, test->count, source->fp32->shape.widths[source->fp32->shape.layers],
                     &out->logit_sqnr, &out->kl);
    return ok;
}

static void free_result(struct rung_result *r) {
    model_free(&r->model);
    evaluation_free(&r->evaluation);
}

/* ---- one network ----------------------------------------------------------------------------------------------- */

static void add_row(struct table *t, const struct rung *rung, bool best, const struct rung_result *r,
                    const struct rung_result *fp32, const uint8_t *labels, double speed) {
    table_row(t, "%s | %s | %s | %.3f | %zu | %.2f | %.1f | %.3f | %.2f | %.2f", r->format, rung->method,
              arithmetic_name(&r->model), r->model.bits_per_weight, (size_t)r->bytes,
              (double)fp32->bytes / (double)r->bytes, r->sqnr_db, r->error_percent, accuracy_percent(&r->evaluation),
              standard_error_percent(&r->evaluation));
    add_changes(t, &fp32->evaluation, &r->evaluation, labels);
    table_row(t, "%.7f | %.2f | %s | %.2f | %.2f", r->kl, r->logit_sqnr, best ? "best" : "", r->seconds, speed);
}

/* Of one network's rungs with as many bits: ladder_is_best. */
static bool is_best(const struct rung_result *results, int i) {
    struct rung_value values[256] = {{0}};
    struct ladder_values one = {.seeds = 1, .of = values};
    for (int k = 0; k < rung_count && k < 256; k++) values[k].kl = results[k].kl;
    return ladder_is_best(&one, &rungs[i]);
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
        "nothing of the schemes. Both take the ranges of activations from the batch that they run: their answers are "
        "those of batches of 64 images, and others with another batch.");
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

static void add_section(struct table *t, const struct rung *first) {
    char section[32];
    rung_section(first, section, sizeof section);
    table_group(t, "%s", section);
}

static bool fill_table(const struct ladder *l, const struct rung_source *source, const struct rung_result *results,
                       struct error *err) {
    struct speed *speeds = aligned_array((size_t)rung_count, sizeof *speeds, err);
    for (int i = 0; speeds && i < rung_count; i++) speeds[i] = speed_of(&results[i].model);
    bool ok = speeds && measure_speeds(speeds, rung_count, &l->s->data.test, err);
    for (int i = 0; ok && i < rung_count; i++) {
        if (i == 0 || rungs[i].bits != rungs[i - 1].bits) add_section(l->table, &rungs[i]);
        add_row(l->table, &rungs[i], is_best(results, i), &results[i], &results[0], l->s->data.test.labels,
                speeds[i].images_per_second / speeds[0].images_per_second);
    }
    if (ok) add_notes(l, source);
    if (ok) note_speeds(l->table, speeds, rung_count);
    free(speeds);
    return ok;
}

static void keep(struct rung_value *v, const struct rung_result *r, const struct rung_result *fp32) {
    double accuracy = accuracy_percent(&r->evaluation);
    *v = (struct rung_value){.accuracy = accuracy,
                             .change = accuracy - accuracy_percent(&fp32->evaluation),
                             .bits = r->model.bits_per_weight,
                             .sqnr = r->sqnr_db,
                             .logit_sqnr = r->logit_sqnr,
                             .kl = r->kl};
    memcpy(v->output_error, r->output_error, sizeof v->output_error);
}

static bool make_measures(const struct mlp *fp32, const struct split *test, struct measures *y, struct error *err) {
    size_t logits = test->count * (size_t)fp32->shape.widths[fp32->shape.layers];
    return (y->fp32_logits = aligned_array(logits, sizeof *y->logits, err)) &&
        (y->logits = aligned_array(logits, sizeof *y->logits, err)) && make_test_grams(fp32, test, y->grams, err);
}

static void describe(struct ladder *l, const struct mlp_shape *shape) {
    char text[128];
    mlp_shape_print(shape, text, sizeof text);
    snprintf(l->values.about, sizeof l->values.about, "%s, %s, %d seed%s", text, l->s->data.name, l->seeds,
             l->seeds == 1 ? "" : "s");
}

/* All rungs of a network, the seed-th, into the values, and, when it is the first, into the table. */
static bool climb(struct ladder *l, const struct mlp *fp32, const struct model_notes *notes, int seed,
                  struct error *err) {
    struct rung_source source;
    struct measures y = {0};
    struct rung_result *results = aligned_array((size_t)rung_count, sizeof *results, err);
    rung_recipe_fit(&l->recipe, &fp32->shape, &l->s->data.train);
    bool ok = results &&
        rung_source_create(&l->s->data, fp32, notes, &l->recipe, &l->calibration, &l->training, &source, err);
    if (ok) {
        ok = make_measures(fp32, &l->s->data.test, &y, err);
        for (int i = 0; ok && i < rung_count; i++) {
            progress_update(&l->bar, l->rungs_done++, (size_t)(l->seeds * rung_count));
            ok = run_rung(l, &source, &y, i, &results[i], err);
        }
        ok = ok && (seed > 0 || fill_table(l, &source, results, err));
        for (int i = 0; ok && i < rung_count; i++) keep(&l->values.of[i * l->seeds + seed], &results[i], &results[0]);
        l->values.layers = fp32->shape.layers;
        l->values.group = source.group;
        describe(l, &fp32->shape);
        rung_source_free(&source);
    }
    for (int i = 0; results && i < rung_count; i++) free_result(&results[i]);
    for (int i = 0; i < MLP_MAX_LAYERS; i++) free(y.grams[i]);
    free(y.fp32_logits);
    free(y.logits);
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
        climb(l, &model.mlp, &notes, 0, err);
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
        ok = climb(l, &mlp, &notes, i, err);
        mlp_free(&mlp);
    }
    return ok;
}

/* ---- all seeds ------------------------------------------------------------------------------------------------- */

static bool run(struct ladder *l, const char *model) {
    struct error *err = &l->s->err;
    char picture[160];
    size_t values = (size_t)rung_count * (size_t)l->seeds;
    l->values.seeds = l->seeds;
    if (!(l->values.of = aligned_array(values, sizeof *l->values.of, err))) return false;
    progress_begin(&l->bar, l->name, "rungs");
    bool ok = model ? climb_given(l, model, err) : climb_seeds(l, err);
    progress_end(&l->bar);
    if (ok) fill_means(l->means, &l->values);
    if (ok) fill_methods(l->methods, &l->values);
    snprintf(picture, sizeof picture, "%s.svg", l->name);
    const char *path = ok ? study_path(l->s, picture) : NULL;
    ok = ok && path && draw_ladder(path, &l->values, err);
    free(l->values.of);
    return ok;
}

int command_ladder(int argc, char **argv) {
    static const char columns[] = "format method arithmetic- bits_per_weight:bits file_bytes:bytes ratio- "
                                  "weight_sqnr_db- weight_error_percent- accuracy_percent:accuracy standard_error- "
                                  "change changed- fixed- broken- kl_divergence:KL logit_sqnr_db- best seconds- speed";
    struct study s;
    struct ladder l = {.s = &s,
                       .name = "ladder",
                       .seeds = 5,
                       .recipe = rung_defaults(),
                       .calibration = quantization_defaults(),
                       .training = training_defaults()};
    char means[128], methods[128], title[64];
    study_init(&s, argv[0], "[MODEL]",
               "Puts a network into every precision from fp32 to 1 bit, each written to a file, read back and run.\n"
               "Without MODEL, trains --seeds networks; the table is the first one's, ladder-seeds the mean of all.");
    s.options.examples = "mnistq ladder --seeds 1\nmnistq ladder fp32.safetensors --group 28";
    option_text(&s.options, "name", "NAME", &l.name, "of the tables NAME and NAME-seeds and the picture NAME.svg");
    option_int(&s.options, "seeds", &l.seeds, 1, MOST_SEEDS, "networks to train when no MODEL is given");
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
                          "format method bits_per_weight:bits weight_sqnr_db- mean_accuracy:accuracy sd "
                          "mean_change:change kl_divergence:KL logit_sqnr_db:logit_dB best");
    snprintf(methods, sizeof methods, "%s-methods", l.name);
    l.methods = study_table(&s, methods, "What the methods' papers claim, and what shows here", methods_columns);
    return study_end(&s, study_begin(&s) && run(&l, model));
}
