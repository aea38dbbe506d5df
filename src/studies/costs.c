#include "studies/costs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "lowbit/formats.h"
#include "nn/gemm.h"
#include "studies/cells.h"
#include "studies/waterfall.h"

/* ---- waterfall -------------------------------------------------------------------------------------------------- */

enum { BATCH = 512 };

struct steps {
    const struct pair *pair;
    struct waterfall w;
    struct model_run engine;
    size_t logit_count, code_count; /* of one step, all images: logits, outputs of all layers */
    float *logits;                  /* [WATERFALL_STEPS][logit_count] */
    struct evaluation evaluations[WATERFALL_STEPS];
    size_t codes_changed[WATERFALL_STEPS]; /* against the step before */
    size_t cut_off;                        /* logit codes of the engine at the end of their range */
    double cut_drift, drift; /* largest difference of the last step's logits from fp32's: of those, of the others */
};

static float *logits_of(const struct steps *s, int step) { return s->logits + (size_t)step * s->logit_count; }

/* The codes of a step that are not those of the step before, over all layers' outputs. */
static size_t count_differences(const struct waterfall *w, int step, size_t images) {
    size_t differences = 0;
    for (int i = 1; i <= w->q->shape.layers; i++)
        for (size_t k = 0; k < images * (size_t)w->q->shape.widths[i]; k++)
            differences += w->code[step][i][k] != w->code[step - 1][i][k];
    return differences;
}

/* One batch through all steps; the last must be the integer engine. */
static bool run_batch(struct steps *s, size_t first, size_t n, struct error *err) {
    const struct mlp_shape *shape = &s->w.q->shape;
    const uint8_t *images = s->pair->test->images + first * (size_t)shape->widths[0];
    const uint8_t *engine = s->engine.codes[shape->layers];
    const struct qparams *y = &s->w.q->activation[shape->layers];
    size_t classes = pair_classes(s->pair);
    for (int step = 0; step < WATERFALL_STEPS; step++) {
        waterfall_run(&s->w, (enum waterfall_step)step, images, (int)n, logits_of(s, step) + first * classes);
        if (step >= WATERFALL_BIAS) s->codes_changed[step] += count_differences(&s->w, step, n);
    }
    model_run(&s->engine, images, (int)n, NULL);
    for (size_t i = 0; i < n * classes; i++) {
        bool at_end = engine[i] == y->qmin || engine[i] == y->qmax;
        double fp32 = (double)logits_of(s, WATERFALL_FP32)[first * classes + i];
        double *largest = at_end ? &s->cut_drift : &s->drift;
        *largest = fmax(*largest, fabs(fp32 - (double)dequantize(engine[i], *y)));
        s->cut_off += at_end;
    }
    return memcmp(engine, s->w.code[WATERFALL_REQUANTIZE][shape->layers], n * classes) == 0 ||
        fail(err, "images %zu to %zu: the last step of the waterfall has other codes than the integer engine", first,
             first + n - 1);
}

static bool run_steps(const struct pair *p, struct steps *s, struct error *err) {
    const struct model *a = &p->models[0], *b = &p->models[1];
    size_t count = p->test->count;
    *s = (struct steps){.pair = p, .logit_count = count * pair_classes(p)};
    for (int i = 1; i <= b->shape.layers; i++) s->code_count += count * (size_t)b->shape.widths[i];
    bool ok = (s->logits = aligned_array(WATERFALL_STEPS * s->logit_count, sizeof(float), err)) &&
        model_run_create(b, BATCH, gemm_threads(0), RUN_FAST, &s->engine, err) &&
        waterfall_create(&a->mlp, &b->qmlp, BATCH, &s->w, err);
    struct progress bar;
    progress_begin(&bar, "waterfall", "images");
    for (size_t first = 0; ok && first < count; first += BATCH) {
        size_t n = count - first < BATCH ? count - first : BATCH;
        ok = run_batch(s, first, n, err);
        progress_update(&bar, first + n, count);
    }
    progress_end(&bar);
    for (int i = 0; ok && i < WATERFALL_STEPS; i++)
        ok = evaluate_logits(logits_of(s, i), (int)pair_classes(p), p->test, &s->evaluations[i], err);
    return ok;
}

static void steps_free(struct steps *s) {
    waterfall_free(&s->w);
    model_run_free(&s->engine);
    free(s->logits);
    for (int i = 0; i < WATERFALL_STEPS; i++) evaluation_free(&s->evaluations[i]);
}

static void add_step(struct table *t, const struct steps *s, int step, double *sqnr_before) {
    int before = step ? step - 1 : 0;
    const struct evaluation *ours = &s->evaluations[step];
    const uint8_t *labels = s->pair->test->labels;
    struct similarity to_fp32 = {0}, to_before = {0};
    similarity_add(&to_fp32, s->logits, logits_of(s, step), s->logit_count);
    similarity_add(&to_before, logits_of(s, before), logits_of(s, step), s->logit_count);
    double sqnr = similarity_sqnr_db(&to_fp32);
    table_row(t, "%s | %zu | %.2f", waterfall_rows[step].name, ours->correct, accuracy_percent(ours));
    add_paired(t, &s->evaluations[0], ours, labels);
    table_row(t, "%.2f | %+.2f | %zu | %.2f | %.6f", sqnr, sqnr - *sqnr_before,
              compare(&s->evaluations[before], ours, labels).changed, similarity_sqnr_db(&to_before),
              to_before.highest);
    if (step >= WATERFALL_BIAS) table_row(t, "%zu", s->codes_changed[step]);
    else table_row(t, " ");
    *sqnr_before = sqnr;
}

/* The share of b's weights that are not a's to the nearest code. */
static double moved_percent(const struct pair *p) {
    const struct mlp *a = &p->models[0].mlp;
    const struct qmlp *q = &p->models[1].qmlp;
    size_t moved = 0, all = 0;
    for (int l = 0; l < q->shape.layers; l++)
        for (size_t i = 0, in = (size_t)q->layer[l].in, n = in * (size_t)q->layer[l].out; i < n; i++, all++) {
            double steps = (double)a->layer[l].weight[i] / (double)qmlp_weight_scale(q, l, (int)(i / in));
            moved += !(fabs(steps - q->layer[l].weight[i]) <= 0.501); /* half a step, and float's rounding of it */
        }
    return 100.0 * (double)moved / (double)all;
}

static void add_waterfall_notes(struct table *t, const struct steps *s) {
    char takes[512] = "";
    for (int i = 1; i < WATERFALL_STEPS; i++)
        snprintf(takes + strlen(takes), sizeof takes - strlen(takes), "%s%s: %s", i > 1 ? "; " : "",
                 waterfall_rows[i].name, waterfall_rows[i].takes);
    table_note(
        t,
        "What to see: which step costs the SQNR and the answers; integer biases and multipliers hardly do. Each step "
        "takes over one more thing from b. %s. The last step is b "
        "itself: its codes are those of the integer engine on all %zu images, checked.",
        takes, s->pair->test->count);
    table_note(
        t,
        "change to p and logit sqnr: against fp32. sqnr change, step changed, step sqnr, step max drift: against "
        "the row above. step codes: of %zu codes of all layers, how many the step changed.",
        s->code_count);
    table_note(t,
               "%zu of the %zu logit codes of b stand at an end of their range, where values beyond what calibration "
               "saw are cut off. Largest drift from fp32 among these %.4f, among the others %.4f.",
               s->cut_off, s->logit_count, s->cut_drift, s->drift);
    double moved = moved_percent(s->pair);
    if (moved > 0)
        table_note(
            t,
            "%.1f%% of b's weights are not a's rounded to the nearest code: they were clipped, chosen by another "
            "rule (GPTQ, least squares) or trained on (QAT); + weights, and where biases were trained on + "
            "bias, hold that as well.",
            moved);
}

bool fill_waterfall(struct table *t, const struct pair *p, struct error *err) {
    struct steps s;
    double sqnr_before = INFINITY;
    bool ok = run_steps(p, &s, err);
    for (int i = 0; ok && i < WATERFALL_STEPS; i++) add_step(t, &s, i, &sqnr_before);
    if (ok) add_waterfall_notes(t, &s);
    steps_free(&s);
    return ok;
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
        codec_encode(codec, d->weight, d->out, d->in, coded);
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

bool fill_sensitivity(struct table *t, const struct pair *p, struct error *err) {
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
    table_note(
        t,
        "What to see: the layer whose logit sqnr is lowest at equal bits is the one that wants more of them. Only "
        "the weights of the layer are rounded, to nearest, one scale a row; everything else stays as in a, in "
        "fp32 arithmetic. change to p: against a.");
    return ok;
}
