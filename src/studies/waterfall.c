#include "studies/waterfall.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "nn/gemm.h"
#include "studies/cells.h"

const struct waterfall_row waterfall_rows[WATERFALL_STEPS] = {
    {"fp32", "y = relu(W x + b)"},
    {"+ weights", "W read back from its codes, s_w w_q"},
    {"+ activations", "pixels and hidden layers rounded to codes (eq. 2)"},
    {"+ logits", "the last outputs too"},
    {"+ bias", "b as b_q (eq. 5)"},
    {"+ requantize", "M as (m, right) with one rounding (eq. 6)"},
};

static void carve(struct waterfall *w) {
    for (int step = WATERFALL_ACTIVATIONS; step < WATERFALL_STEPS; step++)
        for (int i = 0; i <= w->q->shape.layers; i++)
            w->code[step][i] = block_take(&w->block, (size_t)w->capacity * (size_t)w->q->shape.widths[i], 1);
}

bool waterfall_create(const struct mlp *fp32, const struct qmlp *q, int capacity, struct waterfall *w,
                      struct error *err) {
    *w = (struct waterfall){.fp32 = fp32, .q = q, .capacity = capacity};
    carve(w);
    if (!block_reserve(&w->block, err) || !mlp_copy(fp32, &w->weights, err) ||
        !mlp_workspace_create(&fp32->shape, capacity, false, &w->ws, err))
        return false;
    carve(w);
    for (int l = 0; l < q->shape.layers; l++) qmlp_read_weights(q, l, w->weights.layer[l].weight);
    return true;
}

void waterfall_free(struct waterfall *w) {
    mlp_free(&w->weights);
    mlp_workspace_free(&w->ws);
    block_free(&w->block);
}

/* Output c of layer l for one image x: its code, and its real value in *real where the step leaves it one. */
static uint8_t neuron(const struct waterfall *w, enum waterfall_step step, int l, int c, const uint8_t *x,
                      double *real) {
    const struct qlinear *layer = &w->q->layer[l];
    const struct qparams *y = &w->q->activation[l + 1];
    int32_t acc = dot_codes(x, layer->x_zero_point, layer->weight + (size_t)c * (size_t)layer->in, layer->in);
    double scale = (double)w->q->activation[l].scale * (double)qmlp_weight_scale(w->q, l, c);
    if (step >= WATERFALL_BIAS) acc += layer->bias[c];
    *real = scale * acc + (step >= WATERFALL_BIAS ? 0 : (double)w->fp32->layer[l].bias[c]);
    if (step == WATERFALL_REQUANTIZE)
        return requantize(acc, layer->multiplier[c], layer->y_zero_point, layer->y_min, layer->y_max);
    double code = rint(*real / (double)y->scale) + y->zero_point; /* eq. 2: ties to even */
    return (uint8_t)fmax(layer->y_min, fmin(layer->y_max, code));
}

static void run_image(struct waterfall *w, enum waterfall_step step, const uint8_t *pixels, int i, float *logits) {
    const struct qmlp *q = w->q;
    uint8_t *x = w->code[step][0] + (size_t)i * (size_t)q->shape.widths[0];
    for (int k = 0; k < q->shape.widths[0]; k++) x[k] = q->pixel_code[pixels[k]];
    for (int l = 0; l < q->shape.layers; l++) {
        bool last = l + 1 == q->shape.layers;
        uint8_t *y = w->code[step][l + 1] + (size_t)i * (size_t)q->layer[l].out;
        for (int c = 0; c < q->layer[l].out; c++) {
            double real;
            y[c] = neuron(w, step, l, c, x, &real);
            if (last) logits[c] = step < WATERFALL_LOGITS ? (float)real : dequantize(y[c], q->activation[l + 1]);
        }
        x = y;
    }
}

void waterfall_run(struct waterfall *w, enum waterfall_step step, const uint8_t *images, int count, float *logits) {
    size_t inputs = (size_t)w->q->shape.widths[0], classes = (size_t)w->q->shape.widths[w->q->shape.layers];
    if (step <= WATERFALL_WEIGHTS) {
        mlp_load_images(w->fp32, images, count, &w->ws);
        mlp_forward(step == WATERFALL_FP32 ? w->fp32 : &w->weights, count, &w->ws);
        memcpy(logits, w->ws.activation[w->q->shape.layers], (size_t)count * classes * sizeof(float));
        return;
    }
#pragma omp parallel for schedule(static)
    for (int i = 0; i < count; i++) run_image(w, step, images + (size_t)i * inputs, i, logits + (size_t)i * classes);
}

/* ---- the table -------------------------------------------------------------------------------------------------- */

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
    table_row(t, "%s", waterfall_rows[step].name);
    table_row(t, "%zu | %.2f", ours->correct, accuracy_percent(ours));
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
        "takes over one more thing from b. %s. The last step is b itself: its codes are those of the integer engine on "
        "all %zu images, checked.",
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
