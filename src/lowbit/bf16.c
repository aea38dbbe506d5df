#include "lowbit/bf16.h"

#include <math.h>
#include <string.h>

#include "base/finite.h"
#include "base/vectorise.h"
#include "lowbit/half.h"

/* ---- the network --------------------------------------------------------------------------------------------- */

static bool round_weights(const struct dense *from, struct bf16_layer *to, int l, struct error *err) {
    for (size_t i = 0; i < (size_t)from->in * (size_t)from->out; i++) {
        to->weight[i] = bfloat_from_float(from->weight[i]);
        if (!is_finite((double)float_from_bfloat(to->weight[i])))
            return fail(err, "fc%d.weight: weight %zu is not a finite number in bf16", l + 1, i);
    }
    memcpy(to->bias, from->bias, (size_t)from->out * sizeof *to->bias);
    return true;
}

bool bf16_mlp_create(const struct mlp *mlp, const struct bf16_kernel *kernel, struct bf16_mlp *out, struct error *err) {
    int layers = mlp->shape.layers;
    *out = (struct bf16_mlp){.shape = mlp->shape, .kernel = kernel};
    for (int l = 0; l < layers; l++)
        out->layer[l] = (struct bf16_layer){.in = mlp->shape.widths[l],
                                            .out = mlp->shape.widths[l + 1],
                                            .scale = l == 0 ? 1 / 255.0f : 1,
                                            .last = l + 1 == layers};
    do {
        for (int l = 0; l < layers; l++) {
            struct bf16_layer *layer = &out->layer[l];
            layer->weight = block_take(&out->block, (size_t)layer->in * (size_t)layer->out, sizeof *layer->weight);
            layer->bias = block_take(&out->block, (size_t)layer->out, sizeof *layer->bias);
            layer->packed = kernel ? block_take(&out->block, kernel->layer_bytes(layer), 1) : NULL;
        }
    } while (block_again(&out->block, err));
    if (!out->block.memory) return false;
    for (int l = 0; l < layers; l++) {
        if (!round_weights(&mlp->layer[l], &out->layer[l], l, err)) {
            bf16_mlp_free(out);
            return false;
        }
        if (kernel) kernel->pack_layer(&out->layer[l]);
    }
    return true;
}

void bf16_mlp_free(struct bf16_mlp *b) {
    block_free(&b->block);
    *b = (struct bf16_mlp){0};
}

static size_t padded(int width) { return ((size_t)width + BF16_STRIDE - 1) / BF16_STRIDE * BF16_STRIDE; }

bool bf16_workspace_create(const struct mlp_shape *shape, int threads, struct bf16_workspace *out, struct error *err) {
    *out = (struct bf16_workspace){.threads = threads, .stride = padded(mlp_widest(shape))};
    do {
        out->rows = block_take(&out->block, (size_t)threads * 2 * BF16_BLOCK, out->stride * sizeof *out->rows);
    } while (block_again(&out->block, err));
    return out->block.memory != NULL;
}

void bf16_workspace_free(struct bf16_workspace *ws) { block_free(&ws->block); }

/* ---- running ------------------------------------------------------------------------------------------------- */

/* Exact: an integer below 256 needs no more than the upper half of a float. */
VECTORISED
static void bytes_to_bfloats(const uint8_t *restrict bytes, size_t n, uint16_t *restrict x) {
    for (size_t i = 0; i < n; i++) {
        union {
            float value;
            uint32_t bits;
        } pixel = {(float)bytes[i]};
        x[i] = (uint16_t)(pixel.bits >> 16);
    }
}

static float dot_ref(const uint16_t *x, const uint16_t *w, int in) {
    float sum = 0;
    for (int k = 0; k < in; k += 2) {
        if (k + 1 < in) sum += float_from_bfloat(x[k + 1]) * float_from_bfloat(w[k + 1]);
        sum += float_from_bfloat(x[k]) * float_from_bfloat(w[k]); /* the product itself is exact */
    }
    return sum;
}

static float output_ref(const struct bf16_layer *layer, const uint16_t *x, int c) {
    float sum = dot_ref(x, layer->weight + (size_t)c * (size_t)layer->in, layer->in);
    float y = fmaf(sum, layer->scale, layer->bias[c]);
    return !layer->last && y < 0 ? 0 : y; /* a NaN stays a NaN */
}

void bf16_layer_ref(const struct bf16_layer *layer, const uint16_t *x, size_t rows, float *y) {
    for (size_t row = 0; row < rows; row++, x += layer->in)
        for (int c = 0; c < layer->out; c++) *y++ = output_ref(layer, x, c);
}

/* The same in the form of a kernel. */
static void run_ref(const struct bf16_layer *layer, const uint16_t *x, size_t x_stride, size_t rows, void *y,
                    size_t y_stride) {
    for (size_t row = 0; row < rows; row++)
        for (int c = 0; c < layer->out; c++) {
            size_t at = row * y_stride + (size_t)c;
            float value = output_ref(layer, x + row * x_stride, c);
            if (layer->last) ((float *)y)[at] = value;
            else ((uint16_t *)y)[at] = bfloat_from_float(value);
        }
}

/* A run of one thread. */
struct pass {
    const struct bf16_mlp *b;
    void (*run)(const struct bf16_layer *layer, const uint16_t *x, size_t x_stride, size_t rows, void *y,
                size_t y_stride);
    uint16_t *scratch; /* [2][BF16_BLOCK][stride] */
    size_t stride;
};

static void keep_layer(const uint16_t *y, size_t stride, size_t rows, size_t width, float *to) {
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < width; c++) to[r * width + c] = float_from_bfloat(y[r * stride + c]);
}

/* rows images, at most BF16_BLOCK, from number first on, through all layers */
static void forward_block(const struct pass *p, const uint8_t *images, size_t first, size_t rows, float *const *layers,
                          float *logits) {
    const struct bf16_mlp *b = p->b;
    size_t inputs = (size_t)b->shape.widths[0], classes = (size_t)b->shape.widths[b->shape.layers], stride = p->stride;
    uint16_t *x = p->scratch, *y = p->scratch + BF16_BLOCK * stride;
    for (size_t r = 0; r < rows; r++) {
        bytes_to_bfloats(images + (first + r) * inputs, inputs, x + r * stride);
        memset(x + r * stride + inputs, 0, (padded((int)inputs) - inputs) * sizeof *x);
    }
    for (int l = 1; l < b->shape.layers; l++) {
        size_t width = (size_t)b->shape.widths[l];
        p->run(&b->layer[l - 1], x, stride, rows, y, stride);
        if (layers) keep_layer(y, stride, rows, width, layers[l] + first * width);
        uint16_t *swap = x;
        x = y, y = swap;
    }
    p->run(&b->layer[b->shape.layers - 1], x, stride, rows, logits + first * classes, classes);
}

enum { ROWS_TOGETHER = 12, WORTH_A_THREAD = 24 }; /* images, as in qmlp.c */

/* Threads take one stretch of images each, whole tiles of rows, so that they end together. */
void bf16_mlp_forward(const struct bf16_mlp *b, bool reference, const uint8_t *images, size_t count,
                      struct bf16_workspace *ws, float *const *layers, float *logits) {
    size_t worth = count / WORTH_A_THREAD, parts = worth < (size_t)ws->threads ? worth : (size_t)ws->threads;
    if (parts < 1) parts = 1;
    size_t each = ((count + parts - 1) / parts + ROWS_TOGETHER - 1) / ROWS_TOGETHER * ROWS_TOGETHER;
#pragma omp parallel for schedule(static) num_threads((int)parts) if (parts > 1)
    for (size_t part = 0; part < parts; part++) {
        struct pass p = {b, reference || !b->kernel ? run_ref : b->kernel->run,
                         ws->rows + part * 2 * BF16_BLOCK * ws->stride, ws->stride};
        size_t end = (part + 1) * each < count ? (part + 1) * each : count;
        for (size_t first = part * each; first < end; first += BF16_BLOCK)
            forward_block(&p, images, first, end - first < BF16_BLOCK ? end - first : BF16_BLOCK, layers, logits);
    }
}
