#include "quant/convert.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

/* All calibration images once through the network, the observers watching. */
static void observe_pass(const struct mlp *mlp, const uint8_t *images, size_t count, struct mlp_workspace *ws,
                         struct observer *observers) {
    size_t inputs = (size_t)mlp->shape.widths[0];
    for (size_t first = 0; first < count; first += CALIBRATION_BATCH) {
        int n = count - first < CALIBRATION_BATCH ? (int)(count - first) : CALIBRATION_BATCH;
        mlp_load_images(mlp, images + first * inputs, n, ws);
        mlp_forward(mlp, n, ws);
        for (int i = 0; i <= mlp->shape.layers; i++)
            observer_see(&observers[i], ws->activation[i], (size_t)n * (size_t)mlp->shape.widths[i]);
    }
}

bool calibrate(const struct mlp *mlp, const uint8_t *images, size_t count, const struct convert_config *config,
               struct mlp_workspace *ws, struct range *ranges, struct error *err) {
    int tensors = mlp->shape.layers + 1;
    struct observer *observers = aligned_array((size_t)tensors, sizeof *observers, err);
    if (!observers) return false;
    for (int i = 0; i < tensors; i++) {
        observer_init(&observers[i], config->observer);
        if (config->outside > 0) observers[i].outside = config->outside;
    }
    for (int pass = 0; pass < observer_passes(config->observer); pass++) {
        for (int i = 0; i < tensors; i++) observer_begin_pass(&observers[i], pass);
        observe_pass(mlp, images, count, ws, observers);
    }
    for (int i = 0; i < tensors; i++)
        ranges[i] = observer_range(&observers[i], config->symmetric_activations ? 254 : 255,
                                   config->symmetric_activations);
    free(observers);
    return true;
}

struct qparams activation_qparams(struct range range, bool symmetric) {
    if (!symmetric) return qparams_asymmetric(range.lo, range.hi, 0, 255);
    struct qparams p = qparams_symmetric(fmaxf(fabsf(range.lo), fabsf(range.hi)), 127);
    return (struct qparams){p.scale, 128, p.qmin + 128, p.qmax + 128};
}

/* eq. 4 on each row, or on the whole matrix at once. */
static void quantize_weights(const struct dense *d, struct qmlp *q, int layer) {
    size_t row = (size_t)d->in, rows_at_once = q->per_channel ? 1 : (size_t)d->out;
    for (size_t c = 0; c < (size_t)d->out; c += rows_at_once) {
        const float *w = d->weight + c * row;
        struct qparams p = qparams_symmetric(absolute_maximum(w, rows_at_once * row), 127);
        q->weight_scale[layer][c] = p.scale;
        for (size_t k = 0; k < rows_at_once * row; k++) q->layer[layer].weight[c * row + k] = (int8_t)quantize(w[k], p);
    }
}

/* b_q = round(b / (s_x * s_w)), eq. 5, before it is cut */
static double bias_code(float bias, float x_scale, float weight_scale) {
    return rint((double)bias / ((double)x_scale * (double)weight_scale));
}

/* The smallest weight scale in which a bias is at most QLINEAR_MAX_BIAS steps: scale itself, in all but odd networks;
 * and where no float is enough. */
static float scale_for_bias(float scale, float bias, float x_scale) {
    if (fabs(bias_code(bias, x_scale, scale)) <= QLINEAR_MAX_BIAS) return scale;
    float raised = (float)(fabs((double)bias) / ((double)x_scale * QLINEAR_MAX_BIAS));
    while (fabs(bias_code(bias, x_scale, raised)) > QLINEAR_MAX_BIAS) raised = nextafterf(raised, INFINITY);
    return raised <= FLT_MAX && raised > scale ? raised : scale;
}

/* Where weights decayed to almost nothing and their bias did not, the bias is too many steps s_x * s_w for eq. 5. The
 * scale of the row (of the matrix, per tensor) is raised until it fits, and the codes follow: beside a bias of 2^30
 * steps, what they lose by being rounded again is nothing. */
static void fit_scales_to_biases(const struct dense *d, struct qmlp *q, int layer) {
    size_t rows_at_once = q->per_channel ? 1 : (size_t)d->out, codes = rows_at_once * (size_t)d->in;
    for (size_t first = 0; first < (size_t)d->out; first += rows_at_once) {
        float *scale = &q->weight_scale[layer][q->per_channel ? first : 0], before = *scale;
        int8_t *code = q->layer[layer].weight + first * (size_t)d->in;
        for (size_t c = first; c < first + rows_at_once; c++)
            *scale = scale_for_bias(*scale, d->bias[c], q->activation[layer].scale);
        for (size_t k = 0; *scale != before && k < codes; k++)
            code[k] = (int8_t)rint((double)code[k] * (double)before / (double)*scale);
    }
}

/* Returns how many biases do not fit. */
static size_t quantize_biases(const struct dense *d, struct qmlp *q, int layer) {
    size_t saturated = 0;
    for (int c = 0; c < d->out; c++) {
        double code = bias_code(d->bias[c], q->activation[layer].scale, qmlp_weight_scale(q, layer, c));
        if (!(fabs(code) <= QLINEAR_MAX_BIAS)) {
            saturated++;
            code = code < 0 ? -QLINEAR_MAX_BIAS : QLINEAR_MAX_BIAS;
        }
        q->layer[layer].bias[c] = (int32_t)code;
    }
    return saturated;
}

bool convert_start(const struct mlp *mlp, const struct range *ranges, const struct convert_config *config,
                   struct qmlp *out, struct error *err) {
    for (int i = 0; i < mlp->shape.layers; i++) {
        const struct dense *d = &mlp->layer[i];
        if (!all_finite(d->weight, (size_t)d->in * (size_t)d->out) || !all_finite(d->bias, (size_t)d->out))
            return fail(err, "fc%d: a weight or bias is not a finite number", i + 1);
    }
    if (!qmlp_create(&mlp->shape, config->per_channel, config->symmetric_activations, out, err)) return false;
    for (int i = 0; i <= mlp->shape.layers; i++)
        out->activation[i] = config->activations ? config->activations[i]
                                                 : activation_qparams(ranges[i], config->symmetric_activations);
    return true;
}

bool convert_complete(const struct mlp *mlp, struct qmlp *out, size_t *saturated, struct error *err) {
    *saturated = 0;
    for (int i = 0; i < mlp->shape.layers; i++) {
        fit_scales_to_biases(&mlp->layer[i], out, i);
        *saturated += quantize_biases(&mlp->layer[i], out, i);
    }
    if (qmlp_finish(out, err)) return true;
    qmlp_free(out);
    return false;
}

bool convert(const struct mlp *mlp, const struct range *ranges, const struct convert_config *config, struct qmlp *out,
             size_t *saturated, struct error *err) {
    if (!convert_start(mlp, ranges, config, out, err)) return false;
    for (int i = 0; i < mlp->shape.layers; i++) quantize_weights(&mlp->layer[i], out, i);
    return convert_complete(mlp, out, saturated, err);
}
