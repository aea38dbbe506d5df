#include "lowbit/dynamic.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

void dynamic_free(struct dynamic_mlp *q) { block_free(&q->block); }

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
    size_t count = (size_t)capacity, widest = (size_t)mlp_widest(shape);
    *ws = (struct dynamic_mlp_workspace){.capacity = capacity};
    do {
        for (int i = 0; i <= shape->layers; i++)
            ws->activation[i] = block_take(&ws->block, count * (size_t)shape->widths[i], sizeof(float));
        ws->codes = block_take(&ws->block, count * widest, sizeof(int16_t));
        ws->scale = block_take(&ws->block, count, sizeof(float));
    } while (block_again(&ws->block, err));
    return ws->block.memory != NULL;
}

void dynamic_workspace_free(struct dynamic_mlp_workspace *ws) { block_free(&ws->block); }

/* x [count][in] -> codes less their zero point, and the scale of each image (all the same here). */
static void encode_batch(const float *x, int count, int in, int16_t *codes, float *scale) {
    size_t n = (size_t)count * (size_t)in;
    float lo, hi;
    range_with_zero(x, n, &lo, &hi);
    struct qparams p = qparams_asymmetric(lo, hi, 0, 255);
    for (size_t i = 0; i < n; i++) codes[i] = (int16_t)(quantize(x[i], p) - p.zero_point);
    for (int i = 0; i < count; i++) scale[i] = p.scale;
}

/* The same with a symmetric scale for each image, over the columns that are not outliers. */
static void encode_rows(const struct dynamic_mlp_layer *d, const float *x, int count, int16_t *codes, float *scale) {
    for (int i = 0; i < count; i++, x += d->in, codes += d->in) {
        float absmax = 0;
        for (int k = 0, j = 0; k < d->in; k++) {
            if (j < d->outliers && d->outlier_columns[j] == k) j++;
            else absmax = fmaxf(absmax, fabsf(x[k]));
        }
        struct qparams p = qparams_symmetric(absmax, 127);
        scale[i] = p.scale;
        for (int k = 0; k < d->in; k++) codes[k] = (int16_t)quantize(x[k], p); /* an outlier meets the weight 0 */
    }
}

static int32_t dot(const int16_t *restrict x, const int8_t *restrict w, int n) {
    int32_t sum = 0;
    for (int k = 0; k < n; k++) sum += x[k] * w[k];
    return sum;
}

/* y[c] = s_x s_w[c] sum_k x_q w_q + sum over outliers of x w + b, then ReLU unless last */
static void run_layer(const struct dynamic_mlp_layer *d, const float *x, int count, bool relu,
                      struct dynamic_mlp_workspace *ws, float *y) {
    for (int i = 0; i < count; i++)
        for (int c = 0; c < d->out; c++) {
            int32_t acc = dot(ws->codes + (size_t)i * (size_t)d->in, d->weight + (size_t)c * (size_t)d->in, d->in);
            float sum = ws->scale[i] * d->weight_scale[c] * (float)acc + d->bias[c];
            for (int j = 0; j < d->outliers; j++)
                sum += x[(size_t)i * (size_t)d->in + (size_t)d->outlier_columns[j]] *
                    float_from_half(d->outlier_weight[c * d->outliers + j]);
            y[(size_t)i * (size_t)d->out + (size_t)c] = relu && sum < 0 ? 0 : sum;
        }
}

const float *dynamic_forward(const struct dynamic_mlp *q, const uint8_t *images, int count,
                             struct dynamic_mlp_workspace *ws) {
    int layers = q->shape.layers;
    for (size_t i = 0; i < (size_t)count * (size_t)q->shape.widths[0]; i++)
        ws->activation[0][i] = (float)images[i] / 255.0f;
    for (int l = 0; l < layers; l++) {
        const float *x = ws->activation[l];
        if (q->vector_wise) encode_rows(&q->layer[l], x, count, ws->codes, ws->scale);
        else encode_batch(x, count, q->layer[l].in, ws->codes, ws->scale);
        run_layer(&q->layer[l], x, count, l + 1 < layers, ws, ws->activation[l + 1]);
    }
    return ws->activation[layers];
}
