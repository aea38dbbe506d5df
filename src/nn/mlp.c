#include "nn/mlp.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/finite.h"
#include "base/vectorise.h"
#include "nn/gemm.h"
#include "nn/sparse_input.h"

bool mlp_shape_make(int inputs, const int *hidden, int count, int classes, struct mlp_shape *out, struct error *err) {
    if (count < 0 || count >= MLP_MAX_LAYERS)
        return fail(err, "%d hidden layers: expected 0 to %d", count, MLP_MAX_LAYERS - 1);
    *out = (struct mlp_shape){.layers = count + 1};
    out->widths[0] = inputs;
    for (int i = 0; i < count; i++) out->widths[i + 1] = hidden[i];
    out->widths[count + 1] = classes;
    for (int i = 0; i <= out->layers; i++)
        if (out->widths[i] < 1 || out->widths[i] > MLP_MAX_WIDTH)
            return fail(err, "a layer of %d neurons: expected 1 to %d", out->widths[i], MLP_MAX_WIDTH);
    if (classes > 256) return fail(err, "%d classes: expected at most 256", classes);
    return true;
}

void mlp_shape_print(const struct mlp_shape *shape, char *text, size_t size) {
    size_t used = 0;
    for (int i = 0; i <= shape->layers && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%d", i ? "-" : "", shape->widths[i]);
}

size_t mlp_parameter_count(const struct mlp_shape *shape) {
    size_t count = 0;
    for (int i = 0; i < shape->layers; i++) count += (size_t)(shape->widths[i] + 1) * (size_t)shape->widths[i + 1];
    return count;
}

bool mlp_create(const struct mlp_shape *shape, struct mlp *out, struct error *err) {
    *out = (struct mlp){.shape = *shape};
    do
        for (int i = 0; i < shape->layers; i++) {
            int in = shape->widths[i], rows = shape->widths[i + 1];
            float *weight = block_take(&out->block, (size_t)in * (size_t)rows, sizeof(float));
            float *bias = block_take(&out->block, (size_t)rows, sizeof(float));
            out->layer[i] = (struct dense){in, rows, weight, bias};
        }
    while (block_again(&out->block, err));
    return out->block.memory != NULL;
}

void mlp_free(struct mlp *mlp) { block_free(&mlp->block); }

bool mlp_copy(const struct mlp *from, struct mlp *to, struct error *err) {
    if (!mlp_create(&from->shape, to, err)) return false;
    memcpy(mlp_parameters(to), mlp_parameters(from), mlp_padded_count(from) * sizeof(float));
    return true;
}

bool all_finite(const float *x, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!is_finite((double)x[i])) return false;
    return true;
}

float *mlp_parameters(const struct mlp *mlp) { return (float *)mlp->block.memory; }

size_t mlp_padded_count(const struct mlp *mlp) { return mlp->block.used / sizeof(float); }

void mlp_initialise(struct mlp *mlp, struct rng *rng) {
    for (int i = 0; i < mlp->shape.layers; i++) {
        struct dense *d = &mlp->layer[i];
        double deviation = sqrt(2.0 / d->in);
        for (size_t j = 0; j < (size_t)d->in * (size_t)d->out; j++) d->weight[j] = (float)(deviation * rng_normal(rng));
        memset(d->bias, 0, (size_t)d->out * sizeof(float));
    }
}

bool mlp_workspace_create(const struct mlp_shape *shape, int capacity, bool with_gradient, struct mlp_workspace *out,
                          struct error *err) {
    *out = (struct mlp_workspace){.capacity = capacity};
    do
        for (int i = 0; i <= shape->layers; i++) {
            size_t size = (size_t)capacity * (size_t)shape->widths[i];
            out->activation[i] = block_take(&out->block, size, sizeof(float));
            /* no one asks how the loss changes with the pixels: the input's gradient is never computed */
            out->gradient[i] = with_gradient && i > 0 ? block_take(&out->block, size, sizeof(float)) : NULL;
        }
    while (block_again(&out->block, err));
    if (!out->block.memory) return false;
    if (gemm_reserve(err)) return true;
    mlp_workspace_free(out);
    return false;
}

void mlp_workspace_free(struct mlp_workspace *ws) { block_free(&ws->block); }

VECTORISED
static void convert_bytes(const uint8_t *restrict bytes, size_t n, float origin, float *restrict x) {
    for (size_t i = 0; i < n; i++) x[i] = (float)bytes[i] / 255.0f - origin;
}

void bytes_to_floats(const uint8_t *bytes, size_t n, float origin, float *x) { convert_bytes(bytes, n, origin, x); }

void mlp_shift_inputs(struct mlp *mlp, float shift) {
    const struct dense *d = &mlp->layer[0];
    const float *w = d->weight;
    for (int c = 0; shift != 0 && c < d->out; c++) {
        double sum = 0;
        for (int k = 0; k < d->in; k++) sum += (double)*w++;
        d->bias[c] = (float)((double)d->bias[c] - (double)shift * sum);
    }
}

void mlp_load_images(const struct mlp *mlp, const uint8_t *images, int count, struct mlp_workspace *ws) {
    size_t inputs = (size_t)mlp->shape.widths[0], parts = count >= 32 ? 16 : 1, n = (size_t)count;
#pragma omp parallel for schedule(static) num_threads(gemm_threads(0)) if (parts > 1)
    for (size_t part = 0; part < parts; part++) {
        size_t first = n * part / parts, end = n * (part + 1) / parts;
        bytes_to_floats(images + first * inputs, (end - first) * inputs, ws->origin,
                        ws->activation[0] + first * inputs);
    }
}

/* y [count][out] += b [out] on every row, then ReLU where asked. A NaN stays a NaN: it must show in the loss. */
VECTORISED
static void add_bias(float *restrict y, const float *restrict bias, int count, int out, bool relu) {
    for (int i = 0; i < count; i++, y += out) {
        if (relu)
            for (int j = 0; j < out; j++) y[j] = y[j] + bias[j] < 0 ? 0 : y[j] + bias[j];
        else
            for (int j = 0; j < out; j++) y[j] += bias[j];
    }
}

void mlp_forward_layer(const struct mlp *mlp, int i, int count, struct mlp_workspace *ws) {
    const struct dense *d = &mlp->layer[i];
    if (i == 0 && ws->sparse) sparse_input_forward(ws->sparse, d->weight, ws->activation[0], count, ws->activation[1]);
    else gemm_nt(count, d->out, d->in, ws->activation[i], d->weight, ws->activation[i + 1]); /* y = x * W^T */
    add_bias(ws->activation[i + 1], d->bias, count, d->out, i + 1 < mlp->shape.layers);      /* y = relu(y + b) */
}

void mlp_forward(const struct mlp *mlp, int count, struct mlp_workspace *ws) {
    for (int i = 0; i < mlp->shape.layers; i++) mlp_forward_layer(mlp, i, count, ws);
}

/* In place: x_i = exp(x_i - max); returns their sum, *highest the max. */
static float exponentials(float *x, int classes, float *highest) {
    float sum = 0;
    *highest = x[0];
    for (int j = 1; j < classes; j++) *highest = x[j] > *highest ? x[j] : *highest;
    for (int j = 0; j < classes; j++) sum += x[j] = expf(x[j] - *highest);
    return sum;
}

void softmax(float *x, int classes) {
    float highest, sum = exponentials(x, classes, &highest);
    for (int j = 0; j < classes; j++) x[j] /= sum;
}

double softmax_cross_entropy(const float *logits, const uint8_t *labels, int count, int classes, float smoothing,
                             float *gradient) {
    double loss = 0;
    memcpy(gradient, logits, (size_t)count * (size_t)classes * sizeof(float));
    for (int i = 0; i < count; i++, gradient += classes, logits += classes) {
        float highest, sum = exponentials(gradient, classes, &highest);
        double logit_sum = 0;
        for (int j = 0; j < classes; j++) logit_sum += (double)logits[j];
        double target_logit = (1 - (double)smoothing) * (double)logits[labels[i]] +
            (double)smoothing * logit_sum / classes;
        loss += log((double)sum) + (double)highest - target_logit; /* -sum target * log softmax, with no log(0) */
        for (int j = 0; j < classes; j++)
            gradient[j] = (gradient[j] / sum - smoothing / (float)classes - (j == labels[i] ? 1 - smoothing : 0)) /
                (float)count;
    }
    return loss / count;
}

/* db [out] = the sum of the rows of dy [count][out] */
VECTORISED
static void sum_rows(const float *restrict dy, int count, int out, float *restrict db) {
    memset(db, 0, (size_t)out * sizeof(float));
    for (int i = 0; i < count; i++, dy += out)
        for (int j = 0; j < out; j++) db[j] += dy[j];
}

/* dx [n], through the ReLU that gave x [n] */
VECTORISED
static void through_relu(const float *restrict x, size_t n, float *restrict dx) {
    for (size_t j = 0; j < n; j++) dx[j] = x[j] > 0 ? dx[j] : 0;
}

double mlp_backward(const struct mlp *mlp, const uint8_t *labels, int count, float smoothing, struct mlp_workspace *ws,
                    struct mlp *gradient) {
    int last = mlp->shape.layers;
    double loss = softmax_cross_entropy(ws->activation[last], labels, count, mlp->shape.widths[last], smoothing,
                                        ws->gradient[last]);
    for (int i = last - 1; i >= 0; i--) {
        const struct dense *d = &mlp->layer[i];
        const float *x = ws->activation[i], *dy = ws->gradient[i + 1];
        if (i > 0 || !ws->sparse) gemm_tn(d->out, d->in, count, dy, x, gradient->layer[i].weight); /* dW = dy^T * x */
        sum_rows(dy, count, d->out, gradient->layer[i].bias);                                      /* db = sum of dy */
        if (i == 0) break;
        float *dx = ws->gradient[i];
        gemm_nn(count, d->in, d->out, dy, d->weight, dx); /* dx = dy * W */
        through_relu(ws->rectified[i] ? ws->rectified[i] : x, (size_t)count * (size_t)d->in, dx);
    }
    return loss;
}

uint8_t highest_class(const float *logits, int classes, size_t *ties) {
    int best = 0, at_best = 1;
    for (int j = 1; j < classes; j++) {
        if (logits[j] > logits[best]) best = j, at_best = 1;
        else if (logits[j] == logits[best]) at_best++;
    }
    *ties += at_best > 1;
    return (uint8_t)best;
}

size_t highest_classes(const float *logits, size_t count, int classes, uint8_t *predicted) {
    size_t ties = 0;
    for (size_t i = 0; i < count; i++) predicted[i] = highest_class(logits + i * (size_t)classes, classes, &ties);
    return ties;
}

bool mlp_is_bounded(const struct mlp *mlp, double pixel) {
    double input = pixel; /* the largest, of a layer whose inputs are at least 0 */
    for (int i = 0; i < mlp->shape.layers; i++) {
        const struct dense *d = &mlp->layer[i];
        double highest = 0;
        for (int c = 0; c < d->out; c++) {
            double sum = 0, bias = fabs((double)d->bias[c]);
            for (int k = 0; k < d->in; k++)
                sum += fabs((double)d->weight[(size_t)c * (size_t)d->in + (size_t)k]) * input;
            if (!(sum + bias < (double)MLP_LARGEST_SUM)) return false;
            highest = fmax(highest, (i == 0 ? sum / pixel : sum) + bias);
        }
        input = highest;
    }
    return true;
}
