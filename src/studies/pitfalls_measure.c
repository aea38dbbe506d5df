/* What every table of the pitfalls is measured and built with. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/stats.h"
#include "studies/pitfalls.h"

enum { BATCH_BYTES = 1 << 22, DYNAMIC_BATCH = 64 };

/* ---- measuring ------------------------------------------------------------------------------------------------ */

struct energy {
    double signal, noise;
};

static void energy_add(struct energy *e, double x, double x_hat) {
    e->signal += x * x;
    e->noise += (x - x_hat) * (x - x_hat);
}

/* The scratch of a run over the test images, and what was counted so far. */
struct meter {
    int batch; /* images at a time */
    struct model model;
    struct model_run broken; /* their codes with the fault */
    struct qmlp_workspace right_ws;
    uint8_t *right; /* [batch][classes] their logits without it, by the fast engine */
    struct mlp_workspace fp32;
    struct energy energy[MLP_MAX_LAYERS + 1];
    uint64_t codes[MLP_MAX_LAYERS + 1], cut[MLP_MAX_LAYERS + 1], different; /* different: logits */
    bool pixel_cut[256];                                                    /* bytes whose code the clamp cut */
};

static void meter_free(struct meter *m) {
    model_run_free(&m->broken);
    qmlp_workspace_free(&m->right_ws);
    free(m->right);
    mlp_workspace_free(&m->fp32);
}

/* So many that threads have something to share, so few that they fit a cache. */
static int batch_for(const struct mlp_shape *shape) {
    int width = 0;
    for (int l = 0; l <= shape->layers; l++) width += shape->widths[l];
    return 64 + BATCH_BYTES / width;
}

static bool meter_create(const struct trial *trial, struct meter *m, struct error *err) {
    struct qparams x = trial->q->activation[0];
    *m = (struct meter){.batch = batch_for(&trial->q->shape)};
    for (int byte = 0; byte < 256; byte++) {
        double code = rint((double)((float)byte / 255.0f / x.scale)) + x.zero_point;
        m->pixel_cut[byte] = code < x.qmin || code > x.qmax;
    }
    m->model = (struct model){.kind = MODEL_INT8, .shape = trial->q->shape, .qmlp = *trial->q};
    if (!model_run_create(&m->model, m->batch, 1, RUN_LAYERS, &m->broken, err)) return false;
    m->broken.fault = trial->fault;
    m->broken.fault_layer = trial->layer;
    return (trial->fault->kind == FAULT_NONE ||
            ((m->right = aligned_array((size_t)m->batch, (size_t)trial->q->shape.widths[trial->q->shape.layers],
                                       err)) &&
             qmlp_workspace_create(&trial->q->shape, 1, &m->right_ws, err))) &&
        (!trial->fp32 || mlp_workspace_create(&trial->fp32->shape, m->batch, false, &m->fp32, err));
}

static void count_codes(const struct trial *trial, const uint8_t *images, int n, struct meter *m,
                        struct measurement *out) {
    const struct mlp_shape *shape = &trial->q->shape;
    for (size_t i = 0; i < (size_t)n * (size_t)shape->widths[0]; i++) m->cut[0] += m->pixel_cut[images[i]];
    for (int l = 0; l <= shape->layers; l++) {
        size_t count = (size_t)n * (size_t)shape->widths[l];
        for (size_t i = 0; i < count; i++) histogram_add(&out->histogram[l], m->broken.codes[l][i], 1);
        m->codes[l] += count;
        m->cut[l] += m->broken.cut[l];
    }
}

static void count_differences(const struct trial *trial, const uint8_t *images, int n, struct meter *m,
                              struct measurement *out) {
    int last = trial->q->shape.layers;
    qmlp_forward(trial->q, images, (size_t)n, &m->right_ws, m->right);
    for (size_t i = 0; i < (size_t)n * (size_t)trial->q->shape.widths[last]; i++) {
        int difference = abs(m->broken.codes[last][i] - m->right[i]);
        m->different += difference != 0;
        if (difference > out->largest_difference) out->largest_difference = difference;
    }
}

static void compare_with_fp32(const struct trial *trial, const uint8_t *images, int n, struct meter *m) {
    mlp_load_images(trial->fp32, images, n, &m->fp32);
    mlp_forward(trial->fp32, n, &m->fp32);
    for (int l = 0; l <= trial->q->shape.layers; l++) {
        float value[256];
        for (int code = 0; code < 256; code++) value[code] = dequantize(code, trial->q->activation[l]);
        for (size_t i = 0; i < (size_t)n * (size_t)trial->q->shape.widths[l]; i++)
            energy_add(&m->energy[l], (double)m->fp32.activation[l][i], (double)value[m->broken.codes[l][i]]);
    }
}

static void finish(const struct trial *trial, const struct meter *m, const struct split *test,
                   struct measurement *out) {
    int last = trial->q->shape.layers;
    for (int l = 0; l <= last; l++) {
        out->histogram[l].levels = 256;
        out->saturated_percent[l] = 100.0 * (double)m->cut[l] / (double)m->codes[l];
        out->sqnr_db[l] = trial->fp32 ? decibels(m->energy[l].signal, m->energy[l].noise) : NAN;
    }
    out->logit_sqnr_db = out->sqnr_db[last];
    out->different_percent = 100.0 * (double)m->different / (double)m->codes[last];
    for (size_t i = 0; i < test->count; i++) out->evaluation.correct += out->evaluation.predicted[i] == test->labels[i];
}

bool measure(const struct trial *trial, const struct split *test, struct measurement *out, struct error *err) {
    struct meter m;
    size_t inputs = (size_t)trial->q->shape.widths[0];
    *out = (struct measurement){.evaluation = {.count = test->count, .predicted = aligned_array(test->count, 1, err)}};
    bool ok = out->evaluation.predicted && meter_create(trial, &m, err);
    for (size_t first = 0; ok && first < test->count; first += (size_t)m.batch) {
        int n = test->count - first < (size_t)m.batch ? (int)(test->count - first) : m.batch;
        const uint8_t *images = test->images + first * inputs;
        out->evaluation.ties += model_run(&m.broken, images, n, out->evaluation.predicted + first);
        count_codes(trial, images, n, &m, out);
        if (trial->fault->kind != FAULT_NONE) count_differences(trial, images, n, &m, out);
        if (trial->fp32) compare_with_fp32(trial, images, n, &m);
    }
    if (ok) finish(trial, &m, test, out);
    if (out->evaluation.predicted) meter_free(&m);
    if (!ok) measurement_free(out);
    return ok;
}

bool measure_dynamic(const struct dynamic_mlp *q, const struct mlp *fp32, const struct split *test,
                     struct measurement *out, struct error *err) {
    struct dynamic_mlp_workspace ws = {0};
    struct mlp_workspace fp32_ws = {0};
    struct energy energy = {0};
    size_t inputs = (size_t)q->shape.widths[0], classes = (size_t)q->shape.widths[q->shape.layers];
    *out = (struct measurement){.evaluation = {.count = test->count, .predicted = aligned_array(test->count, 1, err)}};
    bool ok = out->evaluation.predicted && dynamic_workspace_create(&q->shape, DYNAMIC_BATCH, &ws, err) &&
        mlp_workspace_create(&fp32->shape, DYNAMIC_BATCH, false, &fp32_ws, err);
    for (size_t first = 0; ok && first < test->count; first += DYNAMIC_BATCH) {
        int n = test->count - first < DYNAMIC_BATCH ? (int)(test->count - first) : DYNAMIC_BATCH;
        const float *logits = dynamic_forward(q, test->images + first * inputs, n, &ws);
        mlp_load_images(fp32, test->images + first * inputs, n, &fp32_ws);
        mlp_forward(fp32, n, &fp32_ws);
        for (size_t i = 0; i < (size_t)n * classes; i++)
            energy_add(&energy, (double)fp32_ws.activation[q->shape.layers][i], (double)logits[i]);
        for (size_t i = 0; i < (size_t)n; i++) {
            uint8_t best = highest_class(logits + i * classes, (int)classes, &out->evaluation.ties);
            out->evaluation.predicted[first + i] = best;
            out->evaluation.correct += best == test->labels[first + i];
        }
    }
    out->logit_sqnr_db = decibels(energy.signal, energy.noise);
    dynamic_workspace_free(&ws);
    mlp_workspace_free(&fp32_ws);
    if (!ok) measurement_free(out);
    return ok;
}

void measurement_free(struct measurement *m) { evaluation_free(&m->evaluation); }

/* ---- showing -------------------------------------------------------------------------------------------------- */

void add_network_cells(struct table *t, const struct measurement *m, const struct evaluation *base,
                       const uint8_t *labels) {
    table_row(t, "%.2f", m->logit_sqnr_db);
    add_accuracy(t, &m->evaluation);
    add_paired(t, base, &m->evaluation, labels);
}

void add_empty_cells(struct table *t, int count) {
    while (count-- > 0) table_row(t, " ");
}

void summarise(struct pitfalls *p, const char *pitfall, const char *provoked, const char *repaired,
               const struct measurement *before, const struct measurement *after, const struct measurement *repair) {
    const struct measurement *const columns[] = {before, after, repair};
    table_row(&p->summary, "%s | %s | %s", pitfall, provoked, repaired);
    for (int i = 0; i < 3; i++) table_row(&p->summary, "%.2f", accuracy_percent(&columns[i]->evaluation));
    for (int i = 0; i < 3; i++) table_row(&p->summary, "%.2f", columns[i]->logit_sqnr_db);
}

/* ---- building ------------------------------------------------------------------------------------------------- */

bool ranges_over(const struct mlp *mlp, const uint8_t *images, size_t count, struct range *ranges, struct error *err) {
    struct convert_config config = {true, false, OBSERVER_MINMAX};
    struct mlp_workspace ws;
    if (!mlp_workspace_create(&mlp->shape, CALIBRATION_BATCH, false, &ws, err)) return false;
    bool ok = calibrate(mlp, images, count, &config, &ws, ranges, err);
    mlp_workspace_free(&ws);
    return ok;
}

bool quantize_with(const struct mlp *mlp, const struct range *ranges, bool per_channel, bool symmetric,
                   struct qmlp *out, struct error *err) {
    struct convert_config config = {per_channel, symmetric, OBSERVER_MINMAX};
    size_t saturated;
    if (!convert(mlp, ranges, &config, out, &saturated, err)) return false;
    if (saturated == 0) return true;
    qmlp_free(out);
    return fail(err, "%zu biases are beyond the 2^30 steps that the engine takes: this network has nothing to show",
                saturated);
}

bool requantize_network(const struct mlp *mlp, struct qmlp *q, struct error *err) {
    for (int l = 0; l < mlp->shape.layers; l++)
        for (int c = 0; c < mlp->layer[l].out; c++) {
            size_t in = (size_t)mlp->layer[l].in, row = (size_t)c * in;
            struct qparams p = {qmlp_weight_scale(q, l, c), 0, -127, 127};
            double step = (double)q->activation[l].scale * (double)p.scale;
            double bias = rint((double)mlp->layer[l].bias[c] / step);
            for (size_t k = 0; k < in; k++)
                q->layer[l].weight[row + k] = (int8_t)quantize(mlp->layer[l].weight[row + k], p);
            if (!(fabs(bias) <= QLINEAR_MAX_BIAS))
                return fail(err, "fc%d: bias %d is beyond the 2^30 steps that the engine takes", l + 1, c);
            q->layer[l].bias[c] = (int32_t)bias;
        }
    return qmlp_finish(q, err);
}
