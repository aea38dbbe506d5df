/* mnistq mixed: each layer in a format of its own, by its sensitivity and a budget of bits, beside one format for all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "base/stats.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/recipe.h"
#include "cli/report.h"
#include "cli/study.h"
#include "lowbit/mixed.h"
#include "studies/chart.h"

static const char *const names[] = {"int2", "int3", "int4", "int5", "int6", "int8"};
static const double budgets[] = {2.25, 2.5, 2.75, 3, 3.5, 4, 4.5, 5, 6, 8.1};
enum { FORMATS = sizeof names / sizeof names[0], BUDGETS = sizeof budgets / sizeof budgets[0], SENSED = 512 };

/* What one choice of formats gave over the seeds: a budget's, or the same format in every layer. */
struct outcome {
    struct sums bits, accuracy, change, noise;
    char choice[128]; /* of the table's seed */
};

struct mixed {
    struct study *s;
    int seeds;
    struct rung_recipe recipe;
    struct quantization_recipe calibration;
    struct training_recipe training;
    struct table *curve, *sensitivity;
    struct sums sensed[MLP_MAX_LAYERS * FORMATS]; /* noise of each layer in each format */
    struct outcome outcomes[FORMATS + BUDGETS];   /* uniform ones first */
    struct progress bar;
};

/* "int2 int4 int8" */
static void print_choice(const struct mlp_shape *shape, const uint8_t *choice, char *text, size_t size) {
    *text = 0;
    for (int l = 0; l < shape->layers; l++)
        text_format(text + strlen(text), size - strlen(text), l ? " %s" : "%s", names[choice[l]]);
}

/* Encodes by GPTQ, writes, reads back and runs. */
static bool try_choice(struct mixed *m, const struct rung_source *source, const struct mixed_point *p, double noise,
                       double fp32_percent, bool in_table, struct outcome *out) {
    struct error *err = &m->s->err;
    const struct format *formats[MLP_MAX_LAYERS];
    struct weight_only coded;
    struct model model;
    struct evaluation e = {0};
    struct model_notes notes = source->notes;
    char choice[sizeof out->choice], file[200];
    print_choice(&source->fp32->shape, p->choice, choice, sizeof choice);
    for (int l = 0; l < source->fp32->shape.layers; l++) formats[l] = format_find(names[p->choice[l]]);
    struct coding_config config = {.format = formats[0],
                                   .block = CODEC_ROW,
                                   .method = METHOD_GPTQ,
                                   .mixed = formats,
                                   .rule = GRID_MSE_SIGNED,
                                   .damping = source->damping};
    snprintf(notes.method, sizeof notes.method, "GPTQ, mixed precision");
    snprintf(file, sizeof file, "models/mixed/%s.safetensors", choice);
    for (char *c = file; *c; c++) *c = *c == ' ' ? '-' : *c;
    const char *path = study_path(m->s, file);
    if (!path || !weight_only_encode(source->fp32, source->images, (size_t)source->count, &config, &coded, NULL, err))
        return false;
    bool ok = model_write_coded(path, &coded, &notes, err);
    weight_only_free(&coded);
    if (!ok || !model_read(path, &model, NULL, err)) return false;
    if ((ok = evaluate(&model, &m->s->data.test, false, &e, err))) {
        sums_add(&out->bits, model.bits_per_weight);
        sums_add(&out->accuracy, accuracy_percent(&e));
        sums_add(&out->change, accuracy_percent(&e) - fp32_percent);
        sums_add(&out->noise, noise);
        if (in_table) snprintf(out->choice, sizeof out->choice, "%s", choice);
    }
    evaluation_free(&e);
    model_free(&model);
    return ok;
}

/* The front of all choices of one network, and the sensitivities it is made of. */
static struct mixed_point *sense(struct mixed *m, const struct rung_source *source, double *noise, size_t *count) {
    struct error *err = &m->s->err;
    const struct mlp *mlp = source->fp32;
    struct codec codecs[FORMATS];
    double bits[MLP_MAX_LAYERS * FORMATS];
    int sensed = source->count < SENSED ? source->count : SENSED;
    for (int f = 0; f < FORMATS; f++) codecs[f] = (struct codec){format_find(names[f]), CODEC_ROW};
    if (!mixed_noise(mlp, source->images, sensed, codecs, FORMATS, noise, err)) return NULL;
    for (int i = 0; i < mlp->shape.layers * FORMATS; i++) {
        const struct dense *d = &mlp->layer[i / FORMATS];
        bits[i] = 8 * (double)codec_bytes(codecs[i % FORMATS], d->out, d->in);
        sums_add(&m->sensed[i], noise[i]);
    }
    return mixed_front(mlp->shape.layers, FORMATS, bits, noise, count, err);
}

static double weights_of(const struct mlp_shape *shape) {
    double weights = 0;
    for (int l = 0; l < shape->layers; l++) weights += (double)shape->widths[l] * (double)shape->widths[l + 1];
    return weights;
}

/* Every choice of one network. */
static bool try_network(struct mixed *m, const struct mlp *fp32, const struct model_notes *notes, int seed) {
    struct error *err = &m->s->err;
    struct rung_source source;
    struct model base = {.kind = MODEL_FP32, .shape = fp32->shape, .mlp = *fp32};
    struct evaluation e = {0};
    double noise[MLP_MAX_LAYERS * FORMATS];
    size_t count;
    rung_recipe_fit(&m->recipe, &fp32->shape, &m->s->data.train);
    if (!rung_source_create(&m->s->data, fp32, notes, &m->recipe, &m->calibration, &m->training, &source, err))
        return false;
    struct mixed_point *front = sense(m, &source, noise, &count);
    bool ok = front && evaluate(&base, &m->s->data.test, false, &e, err);
    for (int i = 0; ok && i < FORMATS + BUDGETS; i++) {
        struct mixed_point same = {0}; /* a format for all layers */
        const struct mixed_point *p = &same;
        for (int l = 0; i < FORMATS && l < fp32->shape.layers; l++) {
            same.choice[l] = (uint8_t)i;
            same.noise += noise[l * FORMATS + i];
        }
        if (i >= FORMATS) p = mixed_within(front, count, budgets[i - FORMATS] * weights_of(&fp32->shape));
        progress_update(&m->bar, (size_t)((m->seeds - 1 - seed) * (FORMATS + BUDGETS) + i),
                        (size_t)(m->seeds * (FORMATS + BUDGETS)));
        ok = !p || try_choice(m, &source, p, p->noise, accuracy_percent(&e), seed == 0, &m->outcomes[i]);
    }
    evaluation_free(&e);
    free(front);
    rung_source_free(&source);
    return ok;
}

/* ---- all seeds -------------------------------------------------------------------------------------------------- */

static void fill_tables(struct mixed *m, const struct mlp_shape *shape) {
    for (int i = 0; i < FORMATS + BUDGETS; i++) {
        const struct outcome *o = &m->outcomes[i];
        if (i < FORMATS) table_row(m->curve, "one for all");
        else table_row(m->curve, "%g", budgets[i - FORMATS]);
        if (!o->accuracy.n) {
            table_row(m->curve, "none has so few |  |  |  |  | ");
            continue;
        }
        table_row(m->curve, "%s | %.3f | %.3f | %.3f | %+.3f | %.5f", o->choice, sums_mean(&o->bits),
                  sums_mean(&o->accuracy), sums_deviation(&o->accuracy), sums_mean(&o->change), sums_mean(&o->noise));
    }
    for (int i = 0; i < shape->layers * FORMATS; i++)
        table_row(m->sensitivity, "fc%d | %d | %s | %.6f", i / FORMATS + 1,
                  shape->widths[i / FORMATS] * shape->widths[i / FORMATS + 1], names[i % FORMATS],
                  sums_mean(&m->sensed[i]));
    table_note(
        m->curve,
        "What to see: whether bits go further where each layer takes as many as it is sensitive. A row holds at "
        "most its budget of bits per weight, scales counted in; \"one for all\" gives every layer the same "
        "format. Formats are those of the first seed, layer by layer; the rest is the mean over the seeds. Codes "
        "by GPTQ, a scale for each row; every model was written to a file and read back.");
    table_note(m->curve,
               "noise: the sum of the layers' sensitivities (mixed-sensitivity), which the choice makes least within "
               "its budget. HAWQ (Dong et al. 2019) takes curvature for it; here the layer is rounded and tried.");
    table_note(
        m->sensitivity,
        "What to see: the layer whose noise grows most per bit saved should keep its bits. noise: mean square of "
        "what the logits of an image change by, summed over classes, when that layer alone is rounded to nearest; "
        "%d training images, mean over the seeds.",
        SENSED);
}

static const struct chart curve_chart = {.title = "Mixed precision: accuracy by a budget of bits",
                                         .x = {.label = "bits per weight, scales counted (log scale)",
                                               .log = true,
                                               .from = 1.9,
                                               .to = 8.5,
                                               .ticks = {2, 2.5, 3, 4, 5, 6, 8}},
                                         .y = {.label = "test accuracy in percent (by the logarithm of the error)",
                                               .log = true,
                                               .from = 95,
                                               .to = 98.8,
                                               .ticks = {98.5, 98, 97.5, 97, 96, 95},
                                               .below = 100},
                                         .cycle = CHART_COLOURS};

static bool draw(struct mixed *m) {
    struct plot_point points[FORMATS + BUDGETS];
    int count = 0;
    for (int i = 0; i < FORMATS + BUDGETS; i++)
        if (m->outcomes[i].accuracy.n)
            points[count++] = (struct plot_point){.series = i < FORMATS ? "one format for all layers"
                                                                        : "formats by sensitivity",
                                                  .x = sums_mean(&m->outcomes[i].bits),
                                                  .y = sums_mean(&m->outcomes[i].accuracy)};
    const char *path = study_path(m->s, "mixed.svg");
    return path && chart_write(path, &curve_chart, points, count, &m->s->err);
}

static bool run(struct mixed *m) {
    struct mlp_shape shape = {0};
    uint64_t first = m->training.seed;
    bool ok = true;
    progress_begin(&m->bar, "mixed", "models");
    for (int i = m->seeds - 1; ok && i >= 0; i--) { /* the first last: the files that stay are those of the table */
        struct mlp mlp;
        struct train_report report;
        struct model_notes notes = {0};
        m->training.seed = first + (uint64_t)i;
        if (!(ok = train_model(&m->s->data, &m->training, &mlp, &report, &m->s->err))) break;
        describe_training(&m->s->data, &m->training, &notes);
        shape = mlp.shape;
        ok = try_network(m, &mlp, &notes, i);
        mlp_free(&mlp);
    }
    progress_end(&m->bar);
    if (ok) fill_tables(m, &shape);
    return ok && draw(m);
}

int command_mixed(int argc, char **argv) {
    struct study s;
    struct mixed m = {.s = &s,
                      .seeds = 5,
                      .recipe = rung_defaults(),
                      .calibration = quantization_defaults(),
                      .training = training_defaults()};
    study_init(
        &s, argv[0], "",
        "Gives each layer a format of its own: of all choices within a budget of bits per weight the one that, by "
        "the layers' sensitivities, changes the logits least. Over --seeds networks, beside one format for all.");
    s.options.examples = "mnistq mixed --seeds 1\nmnistq mixed --data digits --hidden 64,32";
    option_int(&s.options, "seeds", &m.seeds, 1, 1000, "networks to train");
    rung_options(&s.options, &m.recipe);
    training_options(&s.options, &m.training);
    int status = study_parse(&s, argc, argv, 0, 0);
    if (status != OPTIONS_GO_ON) return status;
    provenance_add(&s.provenance, "seeds", "%llu to %llu", (unsigned long long)m.training.seed,
                   (unsigned long long)m.training.seed + (uint64_t)m.seeds - 1);
    m.curve = study_table(&s, "mixed", "Mixed precision: formats by sensitivity, within a budget of bits",
                          "budget= formats bits_per_weight:bits mean_accuracy sd mean_change noise");
    m.sensitivity = study_table(&s, "mixed-sensitivity", "What each layer costs in each format",
                                "layer weights format noise");
    return study_end(&s, study_begin(&s) && run(&m));
}
