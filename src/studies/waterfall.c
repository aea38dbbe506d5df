#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "cli/report.h"
#include "nn/gemm.h"
#include "studies/compare.h"

static const struct {
    const char *name, *takes;
} rows[WATERFALL_STEPS] = {
    {"fp32", "y = relu(W x + b)"},
    {"+ weights", "W read back from its codes, s_w w_q"},
    {"+ activations", "pixels and hidden layers rounded to codes (eq. 2)"},
    {"+ logits", "the last outputs too"},
    {"+ bias", "b as b_q (eq. 5)"},
    {"+ requantize", "M as (m, right) with one rounding (eq. 6)"},
};

/* ---- a step ----------------------------------------------------------------------------------------------------- */

/* Output c of layer l for one image x [in]: its code, and its real value in *real where the step leaves it one. */
static uint8_t neuron(const struct mlp *fp32, const struct qmlp *q, enum waterfall_step step, int l, int c,
                      const uint8_t *x, double *real) {
    const struct qlinear *layer = &q->layer[l];
    const struct qparams *y = &q->activation[l + 1];
    int32_t acc = dot_codes(x, layer->x_zero_point, layer->weight + (size_t)c * (size_t)layer->in, layer->in);
    double scale = (double)q->activation[l].scale * (double)qmlp_weight_scale(q, l, c);
    if (step >= WATERFALL_BIAS) acc += layer->bias[c];
    *real = scale * acc + (step >= WATERFALL_BIAS ? 0 : (double)fp32->layer[l].bias[c]);
    if (step == WATERFALL_REQUANTIZE)
        return requantize(acc, layer->multiplier[c], layer->y_zero_point, layer->y_min, layer->y_max);
    double code = rint(*real / (double)y->scale) + y->zero_point; /* eq. 2: ties to even */
    return (uint8_t)fmax(layer->y_min, fmin(layer->y_max, code));
}

/* x [sum of the widths]: the codes of one image, filled layer by layer. */
static void run_image(const struct mlp *fp32, const struct qmlp *q, enum waterfall_step step, const uint8_t *pixels,
                      uint8_t *x, float *logits) {
    for (int k = 0; k < q->shape.widths[0]; k++) x[k] = q->pixel_code[pixels[k]];
    for (int l = 0; l < q->shape.layers; l++) {
        uint8_t *y = x + q->layer[l].in;
        for (int c = 0; c < q->layer[l].out; c++) {
            double real;
            y[c] = neuron(fp32, q, step, l, c, x, &real);
            if (l + 1 == q->shape.layers)
                logits[c] = step < WATERFALL_LOGITS ? (float)real : dequantize(y[c], q->activation[l + 1]);
        }
        x = y;
    }
}

/* pixels, hidden outputs and logits of one image */
static size_t codes_of_image(const struct mlp_shape *shape) {
    size_t codes = 0;
    for (int i = 0; i <= shape->layers; i++) codes += (size_t)shape->widths[i];
    return codes;
}

float *waterfall_logits(const struct mlp *fp32, const struct qmlp *q, enum waterfall_step step,
                        const struct split *split, uint8_t *codes, struct error *err) {
    struct model model = {.kind = MODEL_FP32, .shape = q->shape, .mlp = *fp32};
    size_t wide = codes_of_image(&q->shape), inputs = (size_t)q->shape.widths[0];
    size_t classes = (size_t)q->shape.widths[q->shape.layers];
    if (step == WATERFALL_FP32) return model_logits(&model, split, err);
    if (step == WATERFALL_WEIGHTS) {
        if (!mlp_copy(fp32, &model.mlp, err)) return NULL;
        for (int l = 0; l < q->shape.layers; l++) qmlp_read_weights(q, l, model.mlp.layer[l].weight);
        float *logits = model_logits(&model, split, err);
        model_free(&model);
        return logits;
    }
    float *logits = aligned_array(split->count * classes, sizeof *logits, err);
    if (!logits) return NULL;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < split->count; i++)
        run_image(fp32, q, step, split->images + i * inputs, codes + i * wide, logits + i * classes);
    return logits;
}

/* ---- the table -------------------------------------------------------------------------------------------------- */

enum { BATCH = 512 };

struct steps {
    const struct pair *pair;
    size_t logit_count, code_count; /* of one step, all images; code_count: with the pixels */
    float *logits[WATERFALL_STEPS]; /* [logit_count] */
    uint8_t *codes[2];              /* [code_count] of the steps of even and of odd number */
    struct evaluation evaluations[WATERFALL_STEPS];
};

static void add_step(struct table *t, const struct steps *s, int step, double *sqnr_before) {
    int before = step ? step - 1 : 0;
    const struct evaluation *ours = &s->evaluations[step];
    const uint8_t *labels = s->pair->test->labels;
    struct similarity to_fp32 = {0}, to_before = {0};
    size_t codes_changed = 0;
    similarity_add(&to_fp32, s->logits[0], s->logits[step], s->logit_count);
    similarity_add(&to_before, s->logits[before], s->logits[step], s->logit_count);
    for (size_t i = 0; i < s->code_count; i++) codes_changed += s->codes[0][i] != s->codes[1][i];
    double sqnr = similarity_sqnr_db(&to_fp32);
    table_row(t, "%s | %zu | %.2f", rows[step].name, ours->correct, accuracy_percent(ours));
    add_paired(t, &s->evaluations[0], ours, labels);
    table_row(t, "%.2f | %+.2f | %zu | %.2f | %.6f", sqnr, sqnr - *sqnr_before,
              compare(&s->evaluations[before], ours, labels).changed, similarity_sqnr_db(&to_before),
              to_before.highest);
    table_row(t, step < WATERFALL_BIAS ? " " : "%zu", codes_changed);
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

static void add_notes(struct table *t, const struct steps *s) {
    char takes[512] = "";
    const struct mlp_shape *shape = &s->pair->models[1].shape;
    for (int i = 1; i < WATERFALL_STEPS; i++)
        snprintf(takes + strlen(takes), sizeof takes - strlen(takes), "%s%s: %s", i > 1 ? "; " : "", rows[i].name,
                 rows[i].takes);
    table_note(t,
               "What to see: which step costs the SQNR and the answers; integer biases and multipliers hardly do. Each "
               "step takes over one more thing from b. %s. The last step is b itself: its codes are those of the "
               "integer engine on all %zu images, checked.",
               takes, s->pair->test->count);
    table_note(t,
               "change to p and logit sqnr: against fp32. sqnr change, step changed, step sqnr, step max drift: "
               "against the row above. step codes: of %zu codes of all layers, how many the step changed.",
               s->code_count - s->pair->test->count * (size_t)shape->widths[0]);
    double moved = moved_percent(s->pair);
    if (moved > 0)
        table_note(t,
                   "%.1f%% of b's weights are not a's rounded to the nearest code: they were clipped, chosen by "
                   "another rule (GPTQ, least squares) or trained on (QAT); + weights, and where biases were trained "
                   "on + bias, hold that as well.",
                   moved);
}

/* The last step must be the integer engine. How many of its logit codes stand at an end of their range, and the largest
 * difference from fp32's logits among those and among the others. */
static bool check_engine(struct table *t, const struct steps *s, struct error *err) {
    const struct model *b = &s->pair->models[1];
    const struct split *test = s->pair->test;
    size_t classes = pair_classes(s->pair), wide = s->code_count / test->count, cut = 0;
    const struct qparams *y = &b->qmlp.activation[b->shape.layers];
    double cut_drift = 0, drift = 0;
    struct model_run engine;
    bool ok = model_run_create(b, BATCH, gemm_threads(0), RUN_FAST, &engine, err);
    for (size_t i = 0; ok && i < test->count; i++) {
        const uint8_t *codes = engine.codes[b->shape.layers] + i % BATCH * classes;
        size_t n = test->count - i < BATCH ? test->count - i : BATCH;
        if (i % BATCH == 0) model_run(&engine, test->images + i * (size_t)b->shape.widths[0], (int)n, NULL);
        for (size_t c = 0; c < classes; c++) {
            bool at_end = codes[c] == y->qmin || codes[c] == y->qmax;
            double *largest = at_end ? &cut_drift : &drift;
            double fp32 = (double)s->logits[WATERFALL_FP32][i * classes + c];
            *largest = fmax(*largest, fabs(fp32 - (double)dequantize(codes[c], *y)));
            cut += at_end;
        }
        ok = memcmp(codes, s->codes[WATERFALL_REQUANTIZE % 2] + (i + 1) * wide - classes, classes) == 0 ||
            fail(err, "image %zu: the last step of the waterfall has other codes than the integer engine", i);
    }
    model_run_free(&engine);
    table_note(t,
               "%zu of the %zu logit codes of b stand at an end of their range, where values beyond what calibration "
               "saw are cut off. Largest drift from fp32 among these %.4f, among the others %.4f.",
               cut, s->logit_count, cut_drift, drift);
    return ok;
}

bool fill_waterfall(struct table *t, const struct pair *p, struct error *err) {
    const struct model *b = &p->models[1];
    struct steps s = {.pair = p,
                      .logit_count = p->test->count * pair_classes(p),
                      .code_count = p->test->count * codes_of_image(&b->shape)};
    struct progress bar;
    double sqnr_before = INFINITY;
    bool ok = (s.codes[0] = aligned_array(s.code_count, 1, err)) && (s.codes[1] = aligned_array(s.code_count, 1, err));
    progress_begin(&bar, "waterfall", "steps");
    for (int i = 0; ok && i < WATERFALL_STEPS; i++) {
        s.logits[i] = waterfall_logits(&p->models[0].mlp, &b->qmlp, (enum waterfall_step)i, p->test, s.codes[i % 2],
                                       err);
        ok = s.logits[i] && evaluate_logits(s.logits[i], (int)pair_classes(p), p->test, &s.evaluations[i], err);
        if (ok) add_step(t, &s, i, &sqnr_before);
        progress_update(&bar, (size_t)i + 1, WATERFALL_STEPS);
    }
    progress_end(&bar);
    if (ok) add_notes(t, &s);
    ok = ok && check_engine(t, &s, err);
    for (int i = 0; i < WATERFALL_STEPS; i++) {
        free(s.logits[i]);
        evaluation_free(&s.evaluations[i]);
    }
    free(s.codes[0]);
    free(s.codes[1]);
    return ok;
}
