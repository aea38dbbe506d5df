#include "quant/qmlp.h"

#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#else
static int omp_get_thread_num(void) {
    return 0;
}
#endif

static void carve_model(struct qmlp *q) {
    for (int i = 0; i < q->shape.layers; i++) {
        struct qlinear *layer = &q->layer[i];
        size_t in = (size_t)(layer->in = q->shape.widths[i]), out = (size_t)(layer->out = q->shape.widths[i + 1]);
        q->weight_scale[i] = block_take(&q->block, q->per_channel ? out : 1, sizeof(float));
        layer->weight = block_take(&q->block, out * in, sizeof(int8_t));
        layer->bias = block_take(&q->block, out, sizeof(int32_t));
        layer->folded_bias = block_take(&q->block, out, sizeof(int32_t));
        layer->multiplier = block_take(&q->block, out, sizeof(struct multiplier));
    }
}

bool qmlp_create(const struct mlp_shape *shape, bool per_channel, bool symmetric_activations, struct qmlp *out,
                 struct error *err) {
    *out = (struct qmlp){
        .shape = *shape, .per_channel = per_channel, .symmetric_activations = symmetric_activations};
    carve_model(out);
    if (!block_reserve(&out->block, err)) return false;
    carve_model(out);
    return true;
}

void qmlp_free(struct qmlp *q) {
    block_free(&q->block);
    block_free(&q->packed);
}

static void carve_packed(struct qmlp *q) {
    for (int i = 0; i < q->shape.layers; i++)
        q->layer[i].packed =
            block_take(&q->packed, q->kernel->packed_bytes(q->shape.widths[i], q->shape.widths[i + 1]), 1);
}

bool qmlp_use_kernel(struct qmlp *q, const struct qkernel *kernel, struct error *err) {
    block_free(&q->packed);
    q->kernel = kernel;
    carve_packed(q);
    if (!block_reserve(&q->packed, err)) return false;
    carve_packed(q);
    for (int i = 0; i < q->shape.layers; i++)
        kernel->pack(q->layer[i].weight, q->layer[i].in, q->layer[i].out, q->layer[i].packed);
    return true;
}

static void carve_workspace(struct qmlp_workspace *ws) {
    ws->rows = block_take(&ws->block, (size_t)ws->threads * 2 * QMLP_BLOCK, ws->stride);
}

bool qmlp_workspace_create(const struct mlp_shape *shape, int threads, struct qmlp_workspace *out, struct error *err) {
    *out = (struct qmlp_workspace){.threads = threads};
    for (int i = 0; i <= shape->layers; i++)
        if (qlinear_stride(shape->widths[i]) > out->stride) out->stride = qlinear_stride(shape->widths[i]);
    carve_workspace(out);
    if (!block_reserve(&out->block, err)) return false;
    carve_workspace(out);
    return true;
}

void qmlp_workspace_free(struct qmlp_workspace *ws) {
    block_free(&ws->block);
}

static void encode_pixels(const struct qmlp *q, const uint8_t *pixels, uint8_t *codes) {
    for (int k = 0; k < q->shape.widths[0]; k++) codes[k] = q->pixel_code[pixels[k]];
}

void qmlp_forward_ref(const struct qmlp *q, const uint8_t *images, size_t count, uint8_t *codes) {
    uint8_t row[2][MLP_MAX_WIDTH]; /* the input and the output of a layer, in turn */
    int last = q->shape.layers, classes = q->shape.widths[last];
    for (size_t i = 0; i < count; i++) {
        encode_pixels(q, images + i * (size_t)q->shape.widths[0], row[0]);
        for (int l = 0; l < last; l++) qlinear_ref(&q->layer[l], row[l % 2], 1, row[(l + 1) % 2]);
        memcpy(codes + i * (size_t)classes, row[last % 2], (size_t)classes);
    }
}

/* rows images, at most QMLP_BLOCK, through all layers in one thread's scratch [2][QMLP_BLOCK][stride] */
static void forward_block(const struct qmlp *q, const uint8_t *images, size_t rows, uint8_t *scratch, size_t stride,
                          uint8_t *codes) {
    uint8_t *side[2] = {scratch, scratch + QMLP_BLOCK * stride};
    size_t inputs = (size_t)q->shape.widths[0], classes = (size_t)q->shape.widths[q->shape.layers];
    for (size_t r = 0; r < rows; r++) encode_pixels(q, images + r * inputs, side[0] + r * stride);
    for (int l = 0; l < q->shape.layers; l++)
        q->kernel->run(&q->layer[l], side[l % 2], stride, rows, side[(l + 1) % 2], stride);
    const uint8_t *logits = side[q->shape.layers % 2];
    for (size_t r = 0; r < rows; r++) memcpy(codes + r * classes, logits + r * stride, classes);
}

void qmlp_forward(const struct qmlp *q, const uint8_t *images, size_t count, struct qmlp_workspace *ws,
                  uint8_t *codes) {
    size_t inputs = (size_t)q->shape.widths[0], classes = (size_t)q->shape.widths[q->shape.layers];
    long blocks = (long)((count + QMLP_BLOCK - 1) / QMLP_BLOCK);
#pragma omp parallel for schedule(static) num_threads(ws->threads) if (ws->threads > 1 && blocks > 1)
    for (long b = 0; b < blocks; b++) {
        size_t first = (size_t)b * QMLP_BLOCK, rows = count - first < QMLP_BLOCK ? count - first : QMLP_BLOCK;
        uint8_t *scratch = ws->rows + (size_t)omp_get_thread_num() * 2 * QMLP_BLOCK * ws->stride;
        forward_block(q, images + first * inputs, rows, scratch, ws->stride, codes + first * classes);
    }
}

size_t qmlp_classify(const uint8_t *codes, size_t count, int classes, uint8_t *predicted) {
    size_t ties = 0;
    for (size_t i = 0; i < count; i++, codes += classes) {
        int best = 0, at_best = 1;
        for (int j = 1; j < classes; j++) {
            if (codes[j] > codes[best])
                best = j, at_best = 1;
            else if (codes[j] == codes[best])
                at_best++;
        }
        predicted[i] = (uint8_t)best;
        ties += at_best > 1;
    }
    return ties;
}
