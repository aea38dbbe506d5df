/* mnistq compare: two models on the same images, and where they part. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report.h"
#include "cli/canvas.h"
#include "cli/commands.h"
#include "cli/study.h"
#include "base/progress.h"
#include "lowbit/formats.h"
#include "studies/compare.h"

/* ---- two models, measured --------------------------------------------------------------------------------------- */

static bool measure_weights(struct pair *p, struct error *err) {
    const struct mlp_shape *shape = &p->models[0].shape;
    for (int l = 0; l < shape->layers; l++) {
        size_t n = (size_t)shape->widths[l] * (size_t)shape->widths[l + 1];
        float *weights = aligned_array(2 * n, sizeof *weights, err); /* [2][out][in] */
        if (!weights) return false;
        for (int i = 0; i < 2; i++) model_weights(&p->models[i], l, weights + (size_t)i * n);
        similarity_add(&p->weights[l], weights, weights + n, n);
        free(weights);
    }
    return true;
}

/* Errors: what model_read refuses; two shapes. */
static bool pair_read(const char *const *paths, struct pair *p, struct error *err) {
    char shapes[2][128];
    for (int i = 0; i < 2; i++) {
        p->paths[i] = paths[i];
        if (!model_read(paths[i], &p->models[i], &p->notes[i], err)) return false;
        mlp_shape_print(&p->models[i].shape, shapes[i], sizeof shapes[i]);
    }
    if (memcmp(&p->models[0].shape, &p->models[1].shape, sizeof p->models[0].shape) != 0)
        return fail(err, "%s is %s and %s is %s: expected two models of one shape", paths[0], shapes[0], paths[1],
                    shapes[1]);
    return measure_weights(p, err);
}

static double gap(const struct pair *p, int model, size_t image, int winner, int other) {
    const float *logits = p->logits[model] + image * pair_classes(p);
    return (double)logits[winner] - (double)logits[other];
}

static int by_margin(const void *a, const void *b) {
    const struct change *x = a, *y = b;
    if (x->margin_a != y->margin_a) return x->margin_a < y->margin_a ? 1 : -1;
    return x->image < y->image ? -1 : 1;
}

static const char *verdict(int label, int a, int b) {
    return a == label ? "broken" : b == label ? "fixed" : "wrong both times";
}

static bool find_changes(struct pair *p, struct error *err) {
    const uint8_t *a = p->evaluations[0].predicted, *b = p->evaluations[1].predicted;
    size_t n = p->test->count;
    double *margins = aligned_array(n, sizeof *margins, err);
    if (!margins || !(p->changes = aligned_array(n, sizeof *p->changes, err))) {
        free(margins);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        margins[i] = INFINITY;
        for (int j = 0; j < (int)pair_classes(p); j++)
            if (j != a[i]) margins[i] = fmin(margins[i], gap(p, 0, i, a[i], j));
        if (a[i] == b[i]) continue;
        p->changes[p->change_count++] = (struct change){.image = i,
                                                        .label = p->test->labels[i],
                                                        .a = a[i],
                                                        .b = b[i],
                                                        .verdict = verdict(p->test->labels[i], a[i], b[i]),
                                                        .margin_a = gap(p, 0, i, a[i], b[i]),
                                                        .margin_b = gap(p, 1, i, b[i], a[i])};
    }
    qsort(p->changes, p->change_count, sizeof *p->changes, by_margin);
    percentile_of(margins, n, 0.5); /* sorts them */
    p->median_margin = (margins[(n - 1) / 2] + margins[n / 2]) / 2;
    free(margins);
    return true;
}

static bool pair_measure(struct pair *p, const struct split *test, struct error *err) {
    enum { BATCH = 2048 }; /* a multiple of every model's */
    size_t classes = pair_classes(p), inputs = (size_t)p->models[0].shape.widths[0];
    struct progress bar;
    bool ok = true;
    p->test = test;
    for (int i = 0; ok && i < 2; i++) ok = (p->logits[i] = aligned_array(test->count * classes, sizeof(float), err));
    progress_begin(&bar, "comparing", "images");
    for (size_t first = 0, n; ok && first < test->count; first += n) {
        float *const logits[2] = {p->logits[0] + first * classes, p->logits[1] + first * classes};
        n = test->count - first < BATCH ? test->count - first : BATCH;
        ok = compare_outputs(&p->models[0], &p->models[1], test->images + first * inputs, n, p->outputs, NULL, logits,
                             err);
        progress_update(&bar, first + n, test->count);
    }
    progress_end(&bar);
    for (int i = 0; ok && i < 2; i++) ok = evaluate_logits(p->logits[i], (int)classes, test, &p->evaluations[i], err);
    return ok && find_changes(p, err);
}

static void pair_free(struct pair *p) {
    for (int i = 0; i < 2; i++) {
        model_free(&p->models[i]);
        evaluation_free(&p->evaluations[i]);
        free(p->logits[i]);
    }
    free(p->changes);
}

/* ---- the tables ------------------------------------------------------------------------------------------------- */

enum { SHOWN_CHANGES = 20 }; /* on a terminal */

static bool fill_summary(struct table *t, const struct pair *p, struct error *err) {
    (void)err;
    const struct similarity *logits = &p->outputs[p->models[0].shape.layers];
    for (int i = 0; i < 2; i++) {
        const struct evaluation *e = &p->evaluations[i];
        table_row(t, "%s | %s | %s | %.3f | %zu | %zu | %.2f | %.2f", i ? "b" : "a", p->paths[i],
                  arithmetic_name(&p->models[i]), p->models[i].bits_per_weight, e->count, e->correct,
                  accuracy_percent(e), standard_error_percent(e));
        add_paired(t, &p->evaluations[0], e, p->test->labels);
        table_row(t, "%.2f | %.5f | %.5f", i ? similarity_sqnr_db(logits) : NAN,
                  i ? similarity_mean_error(logits) : NAN, i ? logits->highest : NAN);
    }
    table_note(
        t,
        "What to see: fixed, broken and p, of the same images, say more than two accuracies beside each other. change "
        "to p: of b against a. logit sqnr, mean and max drift: b's logits, in real numbers, against a's.");
    for (int i = 0; i < 2; i++)
        if (p->evaluations[i].ties) note_ties(t, i ? "b" : "a", &p->models[i], p->evaluations[i].ties);
    return true;
}

static void add_similarity(struct table *t, const struct similarity *s) {
    table_row(t, "%.2f | %.6f | %.8f", s ? similarity_sqnr_db(s) : NAN, s ? s->highest : NAN,
              s ? similarity_cosine(s) : NAN);
}

static bool fill_layers(struct table *t, const struct pair *p, struct error *err) {
    (void)err;
    const struct mlp_shape *shape = &p->models[0].shape;
    for (int i = 0; i <= shape->layers; i++) {
        if (i == 0) table_row(t, "pixels | ");
        else table_row(t, "fc%d | %d x %d", i, shape->widths[i], shape->widths[i - 1]);
        add_similarity(t, i ? &p->weights[i - 1] : NULL);
        add_similarity(t, &p->outputs[i]);
    }
    table_note(
        t,
        "What to see: how far each layer's output is from a's; it holds the error of all layers up to there. max "
        "error: the highest |a - b|, weights and outputs read back from their codes. Codes that are the bytes "
        "themselves give back byte / 255 but for the last bit of a float: pixels then stand at about 145 dB.");
    table_note(t,
               "Two models that were not made from the same weights, or AWQ's, whose scales are folded into the "
               "layers, are comparable by their logits only.");
    return true;
}

static bool fill_changes(struct table *t, const struct pair *p, struct error *err) {
    (void)err;
    const struct model *b = &p->models[1];
    double step = b->kind == MODEL_INT8 ? (double)b->qmlp.activation[b->shape.layers].scale : NAN;
    const struct change *changes = p->changes;
    size_t n = p->change_count;
    for (const struct change *c = changes; c < changes + n; c++)
        table_row(t, "%zu | %d | %d | %d | %s | %.4f | %.4f | %.2f", c->image, c->label, c->a, c->b, c->verdict,
                  c->margin_a, c->margin_b, c->margin_a / step);
    if (n == 0) table_note(t, "No prediction changed.");
    else
        table_note(t,
                   "What to see: how close to the border the images that change were. %zu of %zu changed, at a median "
                   "margin of %.3f; the median image is %.3f from its second class.",
                   n, p->test->count, (changes[(n - 1) / 2].margin_a + changes[n / 2].margin_a) / 2, p->median_margin);
    table_note(t,
               "margin a: a's logit of its own class less that of b's class, what the difference had to overcome; "
               "margin b: the same gap in b, the other way (0: a tie, and the lowest class is taken).");
    if (b->kind == MODEL_INT8)
        table_note(
            t,
            "margin in codes: margin a in steps of b's logit codes, %.6f each. Below 1, rounding the logits can make "
            "one code of both; from 1 on it cannot, and the error of what comes before them has closed the margin.",
            step);
    return true;
}

/* ---- sensitivity ------------------------------------------------------------------------------------------------ */

enum { ALL_LAYERS = -1 };

/* a with one layer, or all, in a format, one scale a row: what becomes of the weights and of the answers. */
static bool try_layer(struct table *t, const struct pair *p, int layer, struct codec codec, struct model *copy,
                      struct error *err) {
    const struct mlp *a = &p->models[0].mlp;
    struct similarity weights = {0}, outputs = {0};
    struct evaluation e = {0};
    double bits = 0;
    bool ok = true;
    memcpy(mlp_parameters(&copy->mlp), mlp_parameters(a), mlp_padded_count(a) * sizeof(float));
    for (int l = 0; ok && l < a->shape.layers; l++) {
        if (layer != ALL_LAYERS && l != layer) continue;
        const struct dense *d = &a->layer[l];
        size_t bytes = codec_bytes(codec, d->out, d->in), n = (size_t)d->in * (size_t)d->out;
        uint8_t *coded = aligned_array(bytes, 1, err);
        if (!(ok = coded != NULL)) break;
        codec_encode(codec, d->weight, NULL, d->out, d->in, coded);
        codec_decode(codec, coded, d->out, d->in, copy->mlp.layer[l].weight);
        similarity_add(&weights, d->weight, copy->mlp.layer[l].weight, n);
        bits += 8.0 * (double)bytes;
        free(coded);
    }
    float *logits = ok ? model_logits(copy, p->test, err) : NULL;
    ok = logits && evaluate_logits(logits, (int)pair_classes(p), p->test, &e, err);
    if (ok) {
        similarity_add(&outputs, p->logits[0], logits, p->test->count * pair_classes(p));
        if (layer == ALL_LAYERS) table_row(t, "all");
        else table_row(t, "fc%d", layer + 1);
        table_row(t, "%s | %.3f | %.2f | %zu | %.2f", codec.format->name, bits / (double)weights.count,
                  similarity_sqnr_db(&weights), e.correct, accuracy_percent(&e));
        add_paired(t, &p->evaluations[0], &e, p->test->labels);
        table_row(t, "%.2f", similarity_sqnr_db(&outputs));
    }
    evaluation_free(&e);
    free(logits);
    return ok;
}

/* fp32 a with one layer at a time, then all, in int8, int4 and int2. */
static bool fill_sensitivity(struct table *t, const struct pair *p, struct error *err) {
    static const char *const names[] = {"int8", "int4", "int2"};
    int layers = p->models[0].shape.layers, rows = layers + 1;
    struct model copy = {.kind = MODEL_FP32, .shape = p->models[0].shape};
    struct progress bar;
    bool ok = mlp_create(&copy.shape, &copy.mlp, err);
    progress_begin(&bar, "sensitivity", "networks");
    for (int i = 0; ok && i < 3 * rows; i++) {
        int layer = i % rows < layers ? i % rows : ALL_LAYERS;
        ok = try_layer(t, p, layer, (struct codec){format_find(names[i / rows]), CODEC_ROW}, &copy, err);
        progress_update(&bar, (size_t)i + 1, (size_t)(3 * rows));
    }
    progress_end(&bar);
    model_free(&copy);
    table_note(t,
               "What to see: the layer whose logit sqnr is lowest at equal bits is the one that wants more of them. "
               "Only the weights of the layer are rounded, to nearest, one scale a row; everything else stays as in a, "
               "in fp32 arithmetic. The scales are rounded to fp16, as these formats store them; int8 models keep fp32 "
               "scales: "
               "hence all in int8 is some hundredths of a dB from + weights in the waterfall. change to p: against a.");
    return ok;
}

/* ---- which tables there are ------------------------------------------------------------------------------------- */

enum { SUMMARY, LAYERS, CHANGES, WATERFALL, SENSITIVITY, TABLES };

static const struct {
    const char *name, *title, *columns;
    bool (*fill)(struct table *t, const struct pair *p, struct error *err);
} tables[TABLES] = {
    {"compare", "Two models on the same images",
     "model file- arithmetic bits_per_weight- n- correct- accuracy_percent:accuracy_% standard_error- change changed "
     "fixed broken p logit_sqnr_db:logit_sqnr_dB logit_mean_drift- logit_max_drift-",
     fill_summary},
    {"compare-layers", "Where they part, layer by layer",
     "layer weight- weight_sqnr_db:weight_sqnr_dB weight_max_error weight_cosine- output_sqnr_db:output_sqnr_dB "
     "output_max_error output_cosine",
     fill_layers},
    {"compare-changes", "The predictions that changed, the widest margin first",
     "image label a b verdict margin_a margin_b margin_in_codes", fill_changes},
    {"waterfall", "The way from fp32 to integers: what each step costs",
     "step= correct- accuracy_percent:accuracy_% change changed- fixed broken p logit_sqnr_db:logit_sqnr_dB "
     "sqnr_change_db:sqnr_change step_changed step_sqnr_db- step_max_drift- step_codes-",
     fill_waterfall},
    {"sensitivity", "One layer at a time in fewer bits",
     "layer format bits_per_weight- weight_sqnr_db:weight_sqnr_dB correct- accuracy_percent:accuracy_% change changed "
     "fixed broken p logit_sqnr_db:logit_sqnr_dB",
     fill_sensitivity},
};

/* ---- the picture: the digits of compare-changes ----------------------------------------------------------------- */

static void tile_text(const void *context, size_t at, int line, char *text, size_t size) {
    const struct pair *p = context;
    const struct change *c = &p->changes[at];
    if (line == 0) snprintf(text, size, "#%zu is a %d", c->image, c->label);
    if (line == 1) snprintf(text, size, "a: %d  b: %d", c->a, c->b);
    if (line == 2) snprintf(text, size, "%s", c->verdict);
    if (line == 3) snprintf(text, size, "margin %.3f", c->margin_a);
}

static bool write_picture(const struct pair *p, const char *path, struct error *err) {
    char head[200];
    size_t *images = path ? aligned_array(p->change_count + 1, sizeof *images, err) : NULL;
    if (!images) return false;
    for (size_t i = 0; i < p->change_count; i++) images[i] = p->changes[i].image;
    snprintf(head, sizeof head, "%zu of %zu test image%s %s answered differently; the widest margin of a first",
             p->change_count, p->test->count, plural(p->test->count), p->change_count == 1 ? "is" : "are");
    bool ok = tiles_write(&(struct tiles){p->test, images, p->change_count, 4, tile_text, p}, head, path, err);
    free(images);
    return ok;
}

/* ---- the command ------------------------------------------------------------------------------------------------ */

static bool runs_in_floats(const struct model *m) { return m->kind == MODEL_FP32 || m->kind == MODEL_WEIGHT_ONLY; }

static bool check_models(const struct pair *p, const bool *wanted, struct error *err) {
    const struct model *a = &p->models[0], *b = &p->models[1];
    if (wanted[WATERFALL] && !(runs_in_floats(a) && b->kind == MODEL_INT8))
        return fail(err, "--waterfall: expected A in fp32 and B in integers, found \"%s\" and \"%s\"",
                    arithmetic_name(a), arithmetic_name(b));
    if (wanted[SENSITIVITY] && !runs_in_floats(a))
        return fail(err, "--sensitivity: expected A in fp32, found \"%s\"", arithmetic_name(a));
    return true;
}

static bool run(struct study *s, struct pair *p, bool *wanted) {
    const struct mlp_shape *shape = &p->models[0].shape;
    if (!pair_read((const char *const *)s->options.files, p, &s->err) || !check_models(p, wanted, &s->err) ||
        !study_begin(s) ||
        !split_fits(&s->data.test, shape->widths[0], shape->widths[shape->layers], s->source, &s->err) ||
        !pair_measure(p, &s->data.test, &s->err))
        return false;
    wanted[WATERFALL] |= p->models[0].kind == MODEL_FP32 && p->models[1].kind == MODEL_INT8 &&
        p->notes[0].training[0] && same_training(&p->notes[0], &p->notes[1]);
    for (int i = 0; i < TABLES; i++) {
        struct table *t = study_table(s, tables[i].name, tables[i].title, tables[i].columns);
        s->tables[s->table_count - 1].shown = true;
        if (i == CHANGES) s->tables[s->table_count - 1].most_rows = SHOWN_CHANGES;
        if ((i <= CHANGES || wanted[i]) && !tables[i].fill(t, p, &s->err)) return false;
    }
    return !s->results || write_picture(p, study_path(s, "compare.png"), &s->err);
}

int command_compare(int argc, char **argv) {
    struct study s;
    struct pair *p = calloc(1, sizeof *p);
    bool wanted[TABLES] = {false};
    study_init(
        &s, argv[0], "A B",
        "Two models of one shape on the same test images: error of every layer, drift of the logits, and the\n"
        "predictions that changed. For an fp32 A and an integer B made from it, also what each step between cost.");
    s.options.examples = "mnistq compare fp32.safetensors int8-per-channel.safetensors";
    study_shows(&s, "also write the tables compare*, waterfall, sensitivity and compare.png there");
    option_flag(&s.options, "waterfall", &wanted[WATERFALL],
                "the steps from A to B also where B's file does not say that it was made from A");
    option_flag(&s.options, "sensitivity", &wanted[SENSITIVITY],
                "also A with one layer at a time in int8, int4 and int2");
    int status = study_parse(&s, argc, argv, 2, 2);
    if (status == OPTIONS_GO_ON) status = study_end(&s, (p || fail(&s.err, "out of memory")) && run(&s, p, wanted));
    if (p) pair_free(p);
    free(p);
    return status;
}
