#include "quant/qmlp.h"

#include <stdlib.h>
#include <string.h>

bool qmlp_create(const struct mlp_shape *shape, bool per_channel, bool symmetric_activations, struct qmlp *out,
                 struct error *err) {
    *out = (struct qmlp){.shape = *shape, .per_channel = per_channel, .symmetric_activations = symmetric_activations};
    do
        for (int i = 0; i < shape->layers; i++) {
            struct qlinear *layer = &out->layer[i];
            size_t in = (size_t)(layer->in = shape->widths[i]), rows = (size_t)(layer->out = shape->widths[i + 1]);
            out->weight_scale[i] = block_take(&out->block, per_channel ? rows : 1, sizeof(float));
            layer->weight = block_take(&out->block, rows * in, sizeof(int8_t));
            layer->bias = block_take(&out->block, rows, sizeof(int32_t));
            layer->folded_bias = block_take(&out->block, rows, sizeof(int32_t));
            layer->multiplier = block_take(&out->block, rows, sizeof(struct multiplier));
        }
    while (block_again(&out->block, err));
    return out->block.memory != NULL;
}

void qmlp_free(struct qmlp *q) {
    block_free(&q->block);
    block_free(&q->packed);
}

static bool is_identity(const uint8_t code[256]) {
    for (int byte = 0; byte < 256; byte++)
        if (code[byte] != byte) return false;
    return true;
}

bool qmlp_use_kernel(struct qmlp *q, const struct qkernel *kernel, struct error *err) {
    block_free(&q->packed);
    q->kernel = kernel;
    q->pixels_are_codes = is_identity(q->pixel_code);
    do
        for (int i = 0; i < q->shape.layers; i++)
            q->layer[i].packed = block_take(&q->packed, kernel->layer_bytes(&q->layer[i]), 1);
    while (block_again(&q->packed, err));
    if (!q->packed.memory) return false;
    for (int i = 0; i < q->shape.layers; i++) kernel->pack_layer(&q->layer[i]);
    return true;
}

bool qmlp_workspace_create(const struct mlp_shape *shape, int threads, struct qmlp_workspace *out, struct error *err) {
    *out = (struct qmlp_workspace){.threads = threads, .stride = qlinear_stride(mlp_widest(shape))};
    out->rows = aligned_array((size_t)threads * QMLP_ROWS, out->stride, err);
    return out->rows != NULL;
}

void qmlp_workspace_free(struct qmlp_workspace *ws) {
    free(ws->rows);
    *ws = (struct qmlp_workspace){0};
}

static void encode_pixels(const struct qmlp *q, const uint8_t *pixels, uint8_t *codes) {
    for (int k = 0; k < q->shape.widths[0]; k++) codes[k] = q->pixel_code[pixels[k]];
}

void qmlp_forward_ref(const struct qmlp *q, const uint8_t *images, size_t count, uint8_t *codes) {
    int last = q->shape.layers, classes = q->shape.widths[last];
    uint8_t row[2][mlp_widest(&q->shape)]; /* the input and the output of a layer, in turn */
    for (size_t i = 0; i < count; i++) {
        encode_pixels(q, images + i * (size_t)q->shape.widths[0], row[0]);
        for (int l = 0; l < last; l++) qlinear_ref(&q->layer[l], row[l % 2], 1, row[(l + 1) % 2]);
        memcpy(codes + i * (size_t)classes, row[last % 2], (size_t)classes);
    }
}

/* The first width bytes of each row, stride bytes apart -> dense rows. Copies 16 bytes at once where what
 * they spill into is a row that is yet to come: a call of memcpy for each row of 10 bytes took 1% of the
 * whole. */
static void gather_rows(const uint8_t *from, size_t stride, size_t rows, size_t width, uint8_t *to) {
    size_t r = 0;
    if (width <= 16)
        for (; (rows - r) * width >= 16; r++) memcpy(to + r * width, from + r * stride, 16);
    for (; r < rows; r++) memcpy(to + r * width, from + r * stride, width);
}

/* rows images, at most QMLP_MOST_ROWS, through all layers in one thread's scratch [QMLP_ROWS][stride] */
static void forward_block(const struct qmlp *q, const uint8_t *images, size_t rows, uint8_t *scratch,
                          const struct qmlp_workspace *ws, uint8_t *codes) {
    size_t stride = ws->stride;
    uint8_t *side[2] = {scratch, scratch + QMLP_MOST_ROWS * stride};
    size_t inputs = (size_t)q->shape.widths[0], classes = (size_t)q->shape.widths[q->shape.layers], x_stride = stride;
    const uint8_t *x = side[0];
    if (q->pixels_are_codes && inputs % (size_t)q->kernel->reads == 0)
        x = images, x_stride = inputs; /* read where they lie; the kernel does not look past their end */
    else
        for (size_t r = 0; r < rows; r++) encode_pixels(q, images + r * inputs, side[0] + r * stride);
    for (int l = 0; l < q->shape.layers; l++, x_stride = stride) {
        uint8_t *of_kernel = scratch + 2 * QMLP_MOST_ROWS * stride;
        if (ws->left_out && q->kernel->left_out) {
            size_t products = q->kernel->left_out(&q->layer[l], x, x_stride, rows, of_kernel);
#pragma omp atomic
            *ws->left_out += products;
        }
        q->kernel->run(&q->layer[l], x, x_stride, rows, side[(l + 1) % 2], stride, of_kernel);
        x = side[(l + 1) % 2];
    }
    gather_rows(x, stride, rows, classes, codes);
}

static void forward_range(const struct qmlp *q, const uint8_t *images, size_t count, uint8_t *scratch,
                          const struct qmlp_workspace *ws, uint8_t *codes) {
    size_t inputs = (size_t)q->shape.widths[0], classes = (size_t)q->shape.widths[q->shape.layers];
    size_t block = (size_t)(q->kernel->rows ? q->kernel->rows : QMLP_BLOCK);
    for (size_t done = 0; done < count; done += block) {
        size_t rows = count - done < block ? count - done : block;
        forward_block(q, images + done * inputs, rows, scratch, ws, codes + done * classes);
    }
}

enum { ROWS_TOGETHER = 12, WORTH_A_THREAD = 24 }; /* images: to enter a parallel region costs about as much as 10 */

/* Threads take one stretch of images each, whole tiles of rows, so that they end together: blocks of 96 dealt
 * out would leave one of two threads with 472 of 1,000 images and the other with 528. */
void qmlp_forward(const struct qmlp *q, const uint8_t *images, size_t count, struct qmlp_workspace *ws,
                  uint8_t *codes) {
    size_t inputs = (size_t)q->shape.widths[0], classes = (size_t)q->shape.widths[q->shape.layers];
    size_t parts = count / WORTH_A_THREAD < (size_t)ws->threads ? count / WORTH_A_THREAD : (size_t)ws->threads;
    if (parts <= 1) {
        forward_range(q, images, count, ws->rows, ws, codes);
        return;
    }
    size_t each = ((count + parts - 1) / parts + ROWS_TOGETHER - 1) / ROWS_TOGETHER * ROWS_TOGETHER;
#pragma omp parallel for schedule(static) num_threads((int)parts)
    for (size_t part = 0; part < parts; part++) {
        size_t first = part * each < count ? part * each : count, rows = count - first < each ? count - first : each;
        uint8_t *scratch = ws->rows + part * QMLP_ROWS * ws->stride;
        forward_range(q, images + first * inputs, rows, scratch, ws, codes + first * classes);
    }
}

void qmlp_read_weights(const struct qmlp *q, int layer, float *weights) {
    size_t in = (size_t)q->layer[layer].in, n = in * (size_t)q->layer[layer].out;
    for (size_t i = 0; i < n; i++)
        weights[i] = qmlp_weight_scale(q, layer, (int)(i / in)) * (float)q->layer[layer].weight[i];
}

/* Eq. 7 without branches, which would be guessed wrong: the greatest of code * 256 + (255 - class) has the highest
 * code and, of classes that share it, the lowest. */
size_t qmlp_classify(const uint8_t *codes, size_t count, int classes, uint8_t *predicted) {
    size_t ties = 0;
    for (size_t i = 0; i < count; i++, codes += classes) {
        int best = 0, at_best = 0;
        for (int j = 0; j < classes; j++) {
            int key = codes[j] * 256 + (255 - j);
            best = key > best ? key : best;
        }
        for (int j = 0; j < classes; j++) at_best += codes[j] == best / 256;
        predicted[i] = (uint8_t)(255 - best % 256);
        ties += at_best > 1;
    }
    return ties;
}
