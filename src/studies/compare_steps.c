/* What costs what: the steps from fp32 to integers, and each layer alone in fewer bits. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "studies/cells.h"
#include "studies/compare.h"
#include "model/model_run.h"
#include "base/progress.h"
#include "nn/gemm.h"
#include "lowbit/formats.h"
#include "studies/waterfall.h"

enum { STEP_BATCH = 512 };

/* ---- waterfall -------------------------------------------------------------------------------------------------- */

struct steps {
    struct waterfall w;
    struct qmlp_workspace engine;
    uint8_t *engine_codes;          /* [STEP_BATCH][classes] */
    float *logits[WATERFALL_STEPS]; /* [test images][classes] */
    struct evaluation evaluations[WATERFALL_STEPS];
    size_t codes[WATERFALL_STEPS]; /* that differ from the step before */
    size_t code_count;             /* of one step */
    size_t cut_off;                /* logit codes of the engine at the end of their range */
    double cut_drift, drift; /* largest difference of the last step's logits from fp32's: of those, of the others */
};

static void steps_free(struct steps *s) {
    waterfall_free(&s->w);
    qmlp_workspace_free(&s->engine);
    free(s->engine_codes);
    for (int i = 0; i < WATERFALL_STEPS; i++) {
        free(s->logits[i]);
        evaluation_free(&s->evaluations[i]);
    }
}

static bool steps_create(const struct comparison *c, struct steps *s, struct error *err) {
    size_t classes = (size_t)comparison_classes(c);
    *s = (struct steps){0};
    for (int i = 0; i < WATERFALL_STEPS; i++)
        if (!(s->logits[i] = aligned_array(c->data.test.count * classes, sizeof(float), err))) return false;
    return (s->engine_codes = aligned_array(STEP_BATCH, classes, err)) &&
        qmlp_workspace_create(&c->models[1].shape, gemm_threads(0), &s->engine, err) &&
        waterfall_create(&c->models[0].mlp, &c->models[1].qmlp, STEP_BATCH, &s->w, err);
}

/* The codes of a step that are not those of the step before, over all layers' outputs. */
static size_t count_differences(const struct waterfall *w, int step, size_t images) {
    size_t differences = 0;
    for (int i = 1; i <= w->q->shape.layers; i++)
        for (size_t k = 0; k < images * (size_t)w->q->shape.widths[i]; k++)
            differences += w->code[step][i][k] != w->code[step - 1][i][k];
    return differences;
}

/* One batch through all steps; the last must be the integer engine. */
static bool run_batch(struct steps *s, const struct split *test, size_t first, size_t n, struct error *err) {
    const struct qmlp *q = s->w.q;
    size_t inputs = (size_t)q->shape.widths[0], classes = (size_t)q->shape.widths[q->shape.layers];
    const uint8_t *images = test->images + first * inputs;
    for (int step = 0; step < WATERFALL_STEPS; step++) {
        waterfall_run(&s->w, (enum waterfall_step)step, images, (int)n, s->logits[step] + first * classes);
        if (step >= WATERFALL_BIAS) s->codes[step] += count_differences(&s->w, step, n);
    }
    qmlp_forward(q, images, n, &s->engine, s->engine_codes);
    for (size_t i = 0; i < n * classes; i++) {
        const struct qparams *y = &q->activation[q->shape.layers];
        bool at_end = s->engine_codes[i] == y->qmin || s->engine_codes[i] == y->qmax;
        double ours = (double)dequantize(s->engine_codes[i], *y);
        double drift = fabs((double)s->logits[WATERFALL_FP32][first * classes + i] - ours);
        double *largest = at_end ? &s->cut_drift : &s->drift;
        s->cut_off += at_end;
        *largest = fmax(*largest, drift);
    }
    return memcmp(s->engine_codes, s->w.code[WATERFALL_REQUANTIZE][q->shape.layers], n * classes) == 0 ||
        fail(err, "images %zu to %zu: the last step of the waterfall has other codes than the integer engine", first,
             first + n - 1);
}

static bool run_steps(struct steps *s, const struct comparison *c, struct error *err) {
    const struct split *test = &c->data.test;
    struct progress bar;
    bool ok = true;
    progress_begin(&bar, "waterfall", "images");
    for (size_t first = 0; ok && first < test->count; first += STEP_BATCH) {
        size_t n = test->count - first < STEP_BATCH ? test->count - first : STEP_BATCH;
        ok = run_batch(s, test, first, n, err);
        progress_update(&bar, first + n, test->count);
    }
    progress_end(&bar);
    for (int i = 1; i <= c->models[0].shape.layers; i++)
        s->code_count += test->count * (size_t)c->models[0].shape.widths[i];
    for (int i = 0; ok && i < WATERFALL_STEPS; i++)
        ok = evaluate_logits(s->logits[i], comparison_classes(c), test, &s->evaluations[i], err);
    return ok;
}

static void add_step(struct table *t, const struct steps *s, const struct comparison *c, int step,
                     double *sqnr_before) {
    size_t n = c->data.test.count * (size_t)comparison_classes(c);
    struct similarity to_fp32 = {0}, to_before = {0};
    const struct evaluation *ours = &s->evaluations[step], *before = &s->evaluations[step ? step - 1 : 0];
    similarity_add(&to_fp32, s->logits[0], s->logits[step], n);
    similarity_add(&to_before, s->logits[step ? step - 1 : 0], s->logits[step], n);
    double sqnr = similarity_sqnr_db(&to_fp32);
    table_row(t, "%s", waterfall_names[step]);
    add_accuracy(t, ours);
    add_paired(t, &s->evaluations[0], ours, c->data.test.labels);
    table_row(t, "%.2f | %+.2f | %zu | %.2f | %.6f", sqnr, sqnr - *sqnr_before,
              compare(before, ours, c->data.test.labels).changed, similarity_sqnr_db(&to_before), to_before.highest);
    if (step >= WATERFALL_BIAS) table_row(t, "%lld", (long long)s->codes[step]);
    else table_row(t, " ");
    *sqnr_before = sqnr;
}

/* Weights that are not a's to the nearest code: "+ weights" then holds more than rounding. */
static void note_weights_moved(struct table *t, const struct comparison *c) {
    const struct mlp *a = &c->models[0].mlp;
    const struct qmlp *q = &c->models[1].qmlp;
    size_t moved = 0, all = 0;
    for (int l = 0; l < q->shape.layers; l++)
        for (size_t i = 0, in = (size_t)q->layer[l].in, n = in * (size_t)q->layer[l].out; i < n; i++, all++) {
            double steps = (double)a->layer[l].weight[i] / (double)qmlp_weight_scale(q, l, (int)(i / in));
            moved += !(fabs(steps - q->layer[l].weight[i]) <= 0.501); /* half a step, and float's rounding of it */
        }
    if (moved)
        table_note(
            t,
            "%.1f%% of b's weights are not a's rounded to the nearest code: they were clipped, chosen by another "
            "rule (GPTQ, least squares) or trained on (QAT); + weights, and where biases were trained on + bias, "
            "hold that as well.",
            100.0 * (double)moved / (double)all);
}

bool fill_waterfall(struct table *t, const struct comparison *c, struct error *err) {
    struct steps s;
    double sqnr_before = INFINITY;
    bool ok = steps_create(c, &s, err) && run_steps(&s, c, err);
    for (int i = 0; ok && i < WATERFALL_STEPS; i++) add_step(t, &s, c, i, &sqnr_before);
    if (ok) {
        table_note(t,
                   "Each step is a network of its own that takes over one more thing from b: + weights read back from "
                   "their codes; + activations: pixels and hidden layers rounded to codes (eq. 2); + logits: the last "
                   "outputs too; + bias as b_q (eq. 5); + requantize: M as (m, right) with one rounding (eq. 6). The "
                   "last step is b itself: its codes are those of the integer engine on all %zu images, "
                   "checked.",
                   c->data.test.count);
        table_note(t,
                   "change to p and logit sqnr: against fp32. sqnr change: against the row above. step changed, sqnr, "
                   "max drift: predictions and logits of this step alone, against the row above (an empty SQNR: no "
                   "difference at all). step codes: of %zu codes of all layers, how many the step "
                   "changed.",
                   s.code_count);
        table_note(
            t,
            "%zu of the %zu logit codes of b stand at an end of their range, where values beyond what calibration "
            "saw are cut off. Largest drift from fp32 among these %.4f, among the others %.4f.",
            s.cut_off, c->data.test.count * (size_t)comparison_classes(c), s.cut_drift, s.drift);
        note_weights_moved(t, c);
    }
    steps_free(&s);
    return ok;
}

/* ---- sensitivity ------------------------------------------------------------------------------------------------ */

enum { ALL_LAYERS = -1 };

/* Layer l of a copy takes a's weights, rounded to nearest with one scale a row; their similarity is added up. */
static bool round_layer(const struct mlp *from, int l, struct codec codec, struct mlp *to, struct similarity *s,
                        struct error *err) {
    const struct dense *d = &from->layer[l];
    uint8_t *bytes = aligned_array(codec_bytes(codec, d->out, d->in), 1, err);
    if (!bytes) return false;
    codec_encode(codec, d->weight, d->out, d->in, bytes);
    codec_decode(codec, bytes, d->out, d->in, to->layer[l].weight);
    similarity_add(s, d->weight, to->layer[l].weight, (size_t)d->in * (size_t)d->out);
    free(bytes);
    return true;
}

/* Bits of a weight in the layer, or in all, with the scales. */
static double codec_bits(const struct mlp_shape *shape, int layer, struct codec codec) {
    double bits = 0, weights = 0;
    for (int l = 0; l < shape->layers; l++)
        if (layer == ALL_LAYERS || l == layer) {
            bits += 8.0 * (double)codec_bytes(codec, shape->widths[l + 1], shape->widths[l]);
            weights += (double)shape->widths[l] * shape->widths[l + 1];
        }
    return bits / weights;
}

static void add_sensitivity(struct table *t, const struct comparison *c, int layer, struct codec codec,
                            const struct similarity *weights, const float *logits, const struct evaluation *e) {
    struct similarity s = {0};
    similarity_add(&s, c->logits[0], logits, c->data.test.count * (size_t)comparison_classes(c));
    if (layer == ALL_LAYERS) table_row(t, "all");
    else table_row(t, "fc%d", layer + 1);
    table_row(t, "%s | %.3f | %.2f", codec.format->name, codec_bits(&c->models[0].shape, layer, codec),
              similarity_sqnr_db(weights));
    add_accuracy(t, e);
    add_paired(t, &c->evaluations[0], e, c->data.test.labels);
    table_row(t, "%.2f", similarity_sqnr_db(&s));
}

static bool try_layer(struct table *t, const struct comparison *c, int layer, struct codec codec, struct model *copy,
                      struct error *err) {
    const struct mlp *a = &c->models[0].mlp;
    struct similarity weights = {0};
    struct evaluation e = {0};
    bool ok = true;
    memcpy(mlp_parameters(&copy->mlp), mlp_parameters(a), mlp_padded_count(a) * sizeof(float));
    for (int l = 0; ok && l < a->shape.layers; l++)
        if (layer == ALL_LAYERS || l == layer) ok = round_layer(a, l, codec, &copy->mlp, &weights, err);
    float *logits = ok ? model_logits(copy, &c->data.test, err) : NULL;
    ok = logits && evaluate_logits(logits, comparison_classes(c), &c->data.test, &e, err);
    if (ok) add_sensitivity(t, c, layer, codec, &weights, logits, &e);
    evaluation_free(&e);
    free(logits);
    return ok;
}

bool fill_sensitivity(struct table *t, const struct comparison *c, struct error *err) {
    static const char *const names[] = {"int8", "int4", "int2"};
    int layers = c->models[0].shape.layers, total = 3 * (layers + 1);
    struct model copy = {.kind = MODEL_FP32, .shape = c->models[0].shape};
    struct progress bar;
    bool ok = mlp_create(&copy.shape, &copy.mlp, err);
    progress_begin(&bar, "sensitivity", "networks");
    for (int i = 0; ok && i < total; i++) {
        int layer = i % (layers + 1) < layers ? i % (layers + 1) : ALL_LAYERS;
        ok = try_layer(t, c, layer, (struct codec){format_find(names[i / (layers + 1)]), CODEC_ROW}, &copy, err);
        progress_update(&bar, (size_t)i + 1, (size_t)total);
    }
    progress_end(&bar);
    model_free(&copy);
    table_note(t,
               "Only the weights of the layer are rounded, to nearest, one scale a row; everything else stays as in a, "
               "in fp32 arithmetic. change to p: against a. The layer whose logit sqnr is lowest at equal bits is the "
               "one that wants more of them.");
    return ok;
}
