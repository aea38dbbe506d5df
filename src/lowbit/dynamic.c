#include "lowbit/dynamic.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/vectorise.h"
#include "lowbit/half.h"

bool dynamic_create(const struct mlp_shape *shape, bool vector_wise, const int *outliers, struct dynamic_mlp *out,
                    struct error *err) {
    *out = (struct dynamic_mlp){.shape = *shape, .vector_wise = vector_wise};
    struct block *b = &out->block;
    do {
        for (int i = 0; i < shape->layers; i++) {
            struct dynamic_mlp_layer *d = &out->layer[i];
            size_t in = (size_t)(d->in = shape->widths[i]), width = (size_t)(d->out = shape->widths[i + 1]);
            size_t apart = (size_t)(d->outliers = outliers[i]);
            d->weight = block_take(b, width * in, sizeof(int8_t));
            d->weight_scale = block_take(b, width, sizeof(float));
            d->bias = block_take(b, width, sizeof(float));
            d->outlier_columns = block_take(b, apart, sizeof(int32_t));
            d->outlier_weight = block_take(b, width * apart, sizeof(uint16_t));
        }
    } while (block_again(b, err));
    return b->memory != NULL;
}

void dynamic_free(struct dynamic_mlp *q) {
    block_free(&q->block);
    block_free(&q->packed);
}

static void derive(struct dynamic_mlp_layer *d, const struct qkernel *kernel) {
    if (kernel) kernel->pack_layer(&d->products);
    for (int c = 0; c < d->out; c++) {
        for (int k = 0; k < d->in; k++) d->weight_sum[c] += d->weight[(size_t)c * (size_t)d->in + (size_t)k];
        for (int j = 0; j < d->outliers; j++)
            d->outlier_float[j * d->out + c] = float_from_half(d->outlier_weight[c * d->outliers + j]);
    }
}

bool dynamic_finish(struct dynamic_mlp *q, struct error *err) {
    q->kernel = qkernel_best()->sums ? qkernel_best() : NULL;
    do
        for (int i = 0; i < q->shape.layers; i++) {
            struct dynamic_mlp_layer *d = &q->layer[i];
            struct qlinear *p = &d->products;
            size_t out = (size_t)d->out;
            *p = (struct qlinear){.in = d->in, .out = d->out, .weight = d->weight};
            p->folded_bias = block_take(&q->packed, out, sizeof(int32_t)); /* zeros, as the multipliers */
            p->multiplier = block_take(&q->packed, out, sizeof(struct multiplier));
            p->packed = block_take(&q->packed, q->kernel ? q->kernel->layer_bytes(p) : 0, 1);
            d->weight_sum = block_take(&q->packed, out, sizeof(int32_t));
            d->outlier_float = block_take(&q->packed, out * (size_t)d->outliers, sizeof(float));
        }
    while (block_again(&q->packed, err));
    for (int i = 0; q->packed.memory && i < q->shape.layers; i++) derive(&q->layer[i], q->kernel);
    return q->packed.memory != NULL;
}

/* ---- conversion ---------------------------------------------------------------------------------------------- */

/* marked[k] for the columns of layer l's input that reach the threshold on an image; returns how many. */
static int mark_outliers(const struct mlp_workspace *ws, int count, int l, int in, float threshold, uint8_t *marked) {
    int total = 0;
    for (int k = 0; k < in; k++) {
        marked[k] = 0;
        for (int i = 0; i < count && !marked[k]; i++)
            marked[k] = fabsf(ws->activation[l][(size_t)i * (size_t)in + (size_t)k]) >= threshold;
        total += marked[k];
    }
    return total;
}

static void convert_layer(const struct dense *d, const uint8_t *marked, struct dynamic_mlp_layer *q) {
    int used = 0;
    for (int k = 0; k < d->in; k++)
        if (marked[k]) q->outlier_columns[used++] = k;
    for (int c = 0; c < d->out; c++) {
        const float *w = d->weight + (size_t)c * (size_t)d->in;
        float absmax = 0;
        for (int k = 0; k < d->in; k++)
            if (!marked[k]) absmax = fmaxf(absmax, fabsf(w[k]));
        struct qparams p = qparams_symmetric(absmax, 127);
        q->weight_scale[c] = p.scale;
        for (int k = 0; k < d->in; k++)
            q->weight[(size_t)c * (size_t)d->in + (size_t)k] = marked[k] ? 0 : (int8_t)quantize(w[k], p);
        for (int j = 0; j < q->outliers; j++)
            q->outlier_weight[c * q->outliers + j] = half_from_float(w[q->outlier_columns[j]]);
        q->bias[c] = d->bias[c];
    }
}

bool dynamic_convert(const struct mlp *mlp, bool vector_wise, float threshold, const uint8_t *images, size_t count,
                     struct dynamic_mlp *out, struct error *err) {
    int outliers[MLP_MAX_LAYERS] = {0}, layers = mlp->shape.layers;
    struct mlp_workspace ws = {0};
    uint8_t *marked = aligned_array((size_t)layers * MLP_MAX_WIDTH, 1, err); /* [layers][MLP_MAX_WIDTH] */
    bool ok = marked && (!vector_wise || mlp_workspace_create(&mlp->shape, (int)count, false, &ws, err));
    if (ok && !all_finite(mlp_parameters(mlp), mlp_padded_count(mlp)))
        ok = fail(err, "a weight or bias is not a finite number");
    if (ok && vector_wise) {
        mlp_load_images(mlp, images, (int)count, &ws);
        mlp_forward(mlp, (int)count, &ws);
        for (int l = 0; l < layers; l++)
            outliers[l] = mark_outliers(&ws, (int)count, l, mlp->shape.widths[l], threshold,
                                        marked + l * MLP_MAX_WIDTH);
    }
    ok = ok && dynamic_create(&mlp->shape, vector_wise, outliers, out, err);
    for (int l = 0; ok && l < layers; l++) convert_layer(&mlp->layer[l], marked + l * MLP_MAX_WIDTH, &out->layer[l]);
    ok = ok && dynamic_finish(out, err);
    mlp_workspace_free(&ws);
    free(marked);
    return ok;
}

static double row_bound(const struct dynamic_mlp_layer *d, int c, double input) {
    const int8_t *w = d->weight + (size_t)c * (size_t)d->in;
    double codes = 0, apart = 0;
    for (int k = 0; k < d->in; k++) codes += abs(w[k]);
    for (int j = 0; j < d->outliers; j++)
        apart += fabs((double)float_from_half(d->outlier_weight[c * d->outliers + j]));
    codes = fmax(codes, 1); /* s_x s_w is computed for a row of zeros, too */
    return (codes * (double)d->weight_scale[c] + apart) * input + fabs((double)d->bias[c]);
}

bool dynamic_is_bounded(const struct dynamic_mlp *q) {
    double input = 1, highest = 0;
    for (int l = 0; l < q->shape.layers; l++, input = highest, highest = 0)
        for (int c = 0; c < q->layer[l].out; c++) {
            double bound = row_bound(&q->layer[l], c, input);
            if (!(bound < (double)MLP_LARGEST_SUM)) return false;
            highest = fmax(highest, bound);
        }
    return true;
}

/* ---- running ------------------------------------------------------------------------------------------------- */

bool dynamic_workspace_create(const struct mlp_shape *shape, int capacity, struct dynamic_mlp_workspace *ws,
                              struct error *err) {
    size_t count = (size_t)capacity, widest = (size_t)mlp_widest(shape), whole = (count + 3) / 4 * 4;
    *ws = (struct dynamic_mlp_workspace){.capacity = capacity, .stride = qlinear_stride((int)widest)};
    do {
        for (int i = 0; i <= shape->layers; i++)
            ws->activation[i] = block_take(&ws->block, count * (size_t)shape->widths[i], sizeof(float));
        ws->codes = block_take(&ws->block, whole * ws->stride, 1);
        ws->acc = block_take(&ws->block, whole * widest, sizeof(int32_t));
        ws->scale = block_take(&ws->block, count, sizeof(float));
        ws->scratch = block_take(&ws->block, QLINEAR_SCRATCH * ws->stride, 1);
    } while (block_again(&ws->block, err));
    return ws->block.memory != NULL;
}

void dynamic_workspace_free(struct dynamic_mlp_workspace *ws) { block_free(&ws->block); }

/* x [count][in] -> codes, and the scale of each image (all the same here). Returns the zero point. */
static int32_t encode_batch(const float *x, int count, int in, struct dynamic_mlp_workspace *ws) {
    float lo, hi;
    range_with_zero(x, (size_t)count * (size_t)in, &lo, &hi);
    struct qparams p = qparams_asymmetric(lo, hi, 0, 255);
    for (int i = 0; i < count; i++) {
        quantize_to_bytes(x + (size_t)i * (size_t)in, (size_t)in, p, 0, ws->codes + (size_t)i * ws->stride);
        ws->scale[i] = p.scale;
    }
    return p.zero_point;
}

/* The same with a symmetric scale for each image, over the columns that are not outliers: an outlier meets weight 0. */
static int32_t encode_rows(const struct dynamic_mlp_layer *d, const float *x, int count,
                           struct dynamic_mlp_workspace *ws) {
    for (int i = 0; i < count; i++, x += d->in) {
        float absmax = 0;
        for (int k = 0, j = 0; k < d->in; k = d->outlier_columns[j++] + 1) {
            int end = j < d->outliers ? d->outlier_columns[j] : d->in;
            absmax = fmaxf(absmax, absolute_maximum(x + k, (size_t)(end - k)));
            if (end == d->in) break;
        }
        struct qparams p = qparams_symmetric(absmax, 127);
        quantize_to_bytes(x, (size_t)d->in, p, -128, ws->codes + (size_t)i * ws->stride);
        ws->scale[i] = p.scale;
    }
    return 128;
}

/* acc [count][out] = sum_k x_q w_q */
static void sum_products(const struct dynamic_mlp *q, const struct dynamic_mlp_layer *d, int count,
                         struct dynamic_mlp_workspace *ws) {
    if (q->kernel) {
        q->kernel->sums(&d->products, ws->codes, ws->stride, (size_t)count, ws->acc, ws->scratch);
        return;
    }
    for (int i = 0; i < count; i++)
        for (int c = 0; c < d->out; c++)
            ws->acc[(size_t)i * (size_t)d->out + (size_t)c] = dot_codes(ws->codes + (size_t)i * ws->stride, 0,
                                                                        d->weight + (size_t)c * (size_t)d->in, d->in);
}

/* y[c] = s_x s_w[c] (acc[c] - z_x sum_k w_q[k]) + b[c] */
VECTORISED
static void scale_sums(const struct dynamic_mlp_layer *d, const int32_t *restrict acc, float x_scale,
                       int32_t zero_point, float *restrict y) {
    const float *restrict weight_scale = d->weight_scale, *restrict bias = d->bias;
    const int32_t *restrict weight_sum = d->weight_sum;
    for (int c = 0; c < d->out; c++)
        y[c] = x_scale * weight_scale[c] * (float)(acc[c] - zero_point * weight_sum[c]) + bias[c];
}

VECTORISED
static void add_outlier(float x, const float *restrict w, int out, float *restrict y) {
    for (int c = 0; c < out; c++) y[c] += x * w[c];
}

VECTORISED
static void cut_below_zero(float *y, int out) {
    for (int c = 0; c < out; c++) y[c] = y[c] < 0 ? 0 : y[c];
}

/* What the integers stand for, plus the outliers' products, then ReLU unless last. */
static void finish_layer(const struct dynamic_mlp_layer *d, const float *x, int count, int32_t zero_point, bool relu,
                         const struct dynamic_mlp_workspace *ws, float *y) {
    for (int i = 0; i < count; i++, x += d->in, y += d->out) {
        scale_sums(d, ws->acc + (size_t)i * (size_t)d->out, ws->scale[i], zero_point, y);
        for (int j = 0; j < d->outliers; j++)
            add_outlier(x[d->outlier_columns[j]], d->outlier_float + j * d->out, d->out, y);
        if (relu) cut_below_zero(y, d->out);
    }
}

const float *dynamic_forward(const struct dynamic_mlp *q, const uint8_t *images, int count,
                             struct dynamic_mlp_workspace *ws) {
    int layers = q->shape.layers;
    bytes_to_floats(images, (size_t)count * (size_t)q->shape.widths[0], 0, ws->activation[0]);
    for (int l = 0; l < layers; l++) {
        const struct dynamic_mlp_layer *d = &q->layer[l];
        const float *x = ws->activation[l];
        int32_t zero_point = q->vector_wise ? encode_rows(d, x, count, ws) : encode_batch(x, count, d->in, ws);
        sum_products(q, d, count, ws);
        finish_layer(d, x, count, zero_point, l + 1 < layers, ws, ws->activation[l + 1]);
    }
    return ws->activation[layers];
}
