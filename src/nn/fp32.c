#include "nn/fp32.h"

#include <math.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "base/vectorise.h"

extern const struct fp32_kernel fp32_kernel_avx512, fp32_kernel_avx2;
static const struct fp32_kernel fp32_kernel_portable;

const struct fp32_kernel *const fp32_kernels[] = {
#if defined(__x86_64__) && defined(__GNUC__)
    &fp32_kernel_avx512, &fp32_kernel_avx2,
#endif
    &fp32_kernel_portable, NULL};

static const struct fp32_kernel *forced;

void fp32_kernel_force(const struct fp32_kernel *kernel) { forced = kernel; }

const struct fp32_kernel *fp32_kernel_best(void) {
    if (forced) return forced;
    const struct fp32_kernel *const *kernel = fp32_kernels;
    while (!(*kernel)->supported()) kernel++;
    return *kernel;
}

/* ---- the specification, and a kernel for every CPU --------------------------------------------------------------- */

void fp32_layer_ref(const struct fp32_layer *layer, const float *x, size_t rows, float *y) {
    for (size_t row = 0; row < rows; row++, x += layer->in)
        for (int c = 0; c < layer->out; c++) {
            const float *w = layer->weight + (size_t)c * (size_t)layer->in;
            float sum = layer->bias[c];
            for (int k = 0; k < layer->in; k++) sum = fmaf(x[k], w[k], sum);
            sum += 0.0f;
            *y++ = layer->relu && sum < 0 ? 0 : sum;
        }
}

/* fma(a, b, c). Where the CPU has no instruction for it, fmaf() of the C library is exact and slow. This is exact, too:
 * the product of two floats fits a double, and their sum is rounded to odd there, which leaves the second rounding, to
 * float, right (Boldo and Melquiond 2008). */
static inline float fused(float a, float b, float c) {
#ifdef FP_FAST_FMAF
    return fmaf(a, b, c);
#else
    union {
        double value;
        int64_t bits;
    } sum;
    double product = (double)a * (double)b, addend = (double)c;
    sum.value = product + addend;
    double of_product = sum.value - addend, of_addend = sum.value - of_product;
    double lost = (product - of_product) + (addend - of_addend); /* exactly (Knuth's two-sum) */
    int64_t inexact = (lost > 0) | (lost < 0), outwards = (lost > 0) == (sum.value > 0);
    sum.bits += (inexact & ~sum.bits & 1) * (2 * outwards - 1);
    return (float)sum.value;
#endif
}

enum { LANES = 16 };

VECTORISED
static void add_products(float x, const float *restrict w, float *restrict sum) {
    for (int j = 0; j < LANES; j++) sum[j] = fused(x, w[j], sum[j]);
}

static int always(void) { return 1; }

static void run_portable(const struct fp32_layer *layer, const struct fp32_inputs *x, int first, int end, float *y,
                         size_t y_stride) {
    const float *bias = layer->packed, *weights = bias + fp32_padded(layer->out, LANES);
    for (int r = 0; r < x->rows; r++)
        for (int panel = first; panel < end; panel++) {
            const float *w = weights + (size_t)panel * (size_t)layer->in * LANES, *row = x->x + (size_t)r * x->stride;
            float sum[LANES];
            memcpy(sum, bias + panel * LANES, sizeof sum);
            for (int i = 0; i < x->count; i++) add_products(row[x->nonzero[i]], w + (size_t)x->nonzero[i] * LANES, sum);
            for (int j = 0; j < LANES; j++) {
                sum[j] += 0.0f;
                y[(size_t)r * y_stride + (size_t)(panel * LANES + j)] = layer->relu && sum[j] < 0 ? 0 : sum[j];
            }
        }
}

static const struct fp32_kernel fp32_kernel_portable = {"portable", "plain C", always, 1,
                                                        LANES,      LANES,     4,      run_portable};

/* ---- the network ------------------------------------------------------------------------------------------------- */

static int panels_of(const struct fp32_kernel *kernel, int out) { return (out + kernel->panel - 1) / kernel->panel; }

static size_t layer_floats(const struct fp32_kernel *kernel, const struct dense *d) {
    return fp32_padded(d->out, kernel->lanes) * ((size_t)d->in + 1);
}

static void pack_layer(const struct fp32_layer *layer, const struct fp32_kernel *kernel) {
    size_t padded = fp32_padded(layer->out, kernel->lanes), in = (size_t)layer->in;
    memcpy(layer->packed, layer->bias, (size_t)layer->out * sizeof *layer->bias);
    for (size_t c = 0; c < (size_t)layer->out; c++) {
        size_t panel = c / (size_t)kernel->panel * (size_t)kernel->panel, width = padded - panel;
        if (width > (size_t)kernel->panel) width = (size_t)kernel->panel;
        float *to = layer->packed + padded + panel * in + (c - panel);
        for (size_t k = 0; k < in; k++) to[k * width] = layer->weight[c * in + k];
    }
}

void fp32_mlp_pack(struct fp32_mlp *net) {
    for (int i = 0; i < net->shape.layers; i++) pack_layer(&net->layer[i], net->kernel);
}

bool fp32_mlp_create(const struct mlp *mlp, const struct fp32_kernel *kernel, struct fp32_mlp *out, struct error *err) {
    *out = (struct fp32_mlp){.shape = mlp->shape, .kernel = kernel};
    do
        for (int i = 0; i < mlp->shape.layers; i++) {
            const struct dense *d = &mlp->layer[i];
            float *packed = block_take(&out->block, layer_floats(kernel, d), sizeof *packed);
            out->layer[i] = (struct fp32_layer){d->in, d->out, i + 1 < mlp->shape.layers, d->weight, d->bias, packed};
        }
    while (block_again(&out->block, err));
    return out->block.memory != NULL;
}

void fp32_mlp_free(struct fp32_mlp *net) { block_free(&net->block); }

bool fp32_workspace_create(const struct mlp_shape *shape, int threads, struct fp32_workspace *out, struct error *err) {
    *out = (struct fp32_workspace){.threads = threads, .stride = fp32_padded(mlp_widest(shape), 16)};
    size_t rows = (size_t)threads * FP32_BLOCK;
    do {
        out->rows = block_take(&out->block, 2 * rows * out->stride, sizeof *out->rows);
        out->any = block_take(&out->block, (size_t)threads * out->stride, 1);
        out->nonzero = block_take(&out->block, rows * out->stride, sizeof *out->nonzero);
    } while (block_again(&out->block, err));
    return out->block.memory != NULL;
}

void fp32_workspace_free(struct fp32_workspace *ws) { block_free(&ws->block); }

/* ---- running ----------------------------------------------------------------------------------------------------- */

/* any [n], to a multiple of 8 = whether one of rows has another number than 0 at k */
VECTORISED
static void look_for_numbers(const float *restrict x, size_t stride, int rows, int n, uint8_t *restrict any) {
    memset(any, 0, ((size_t)n + 7) / 8 * 8);
    for (int r = 0; r < rows; r++, x += stride)
        for (int k = 0; k < n; k++) any[k] |= x[k] != 0;
}

/* The k at which any is 1. Eight are passed over at a time where none is, as on an image's border. */
static int list_numbers(const uint8_t *any, int n, uint16_t *list) {
    int count = 0;
    for (int k = 0; k < n; k += 8) {
        uint64_t eight;
        memcpy(&eight, any + k, 8);
        if (!eight) continue;
        for (int j = 0; j < 8; j++) {
            list[count] = (uint16_t)(k + j);
            count += any[k + j];
        }
    }
    return count;
}

/* The scratch of one thread. */
struct pass {
    const struct fp32_mlp *net;
    const struct fp32_workspace *ws;
    float *side[2];    /* [FP32_BLOCK][stride] */
    uint16_t *nonzero; /* [FP32_BLOCK][stride] */
    uint8_t *any;      /* [stride] */
};

/* Cuts rows into tiles, with the inputs of each that are not 0. Returns how many there are. */
static size_t list_inputs(const struct pass *p, const struct fp32_layer *layer, const float *x, size_t rows,
                          struct fp32_inputs *tiles) {
    size_t most = (size_t)p->net->kernel->rows, count = 0, left_out = 0;
    for (size_t r = 0; r < rows; r += most, count++) {
        struct fp32_inputs *t = &tiles[count];
        uint16_t *nonzero = p->nonzero + r * p->ws->stride;
        *t = (struct fp32_inputs){x + r * p->ws->stride, p->ws->stride, (int)(rows - r < most ? rows - r : most),
                                  nonzero, 0};
        look_for_numbers(t->x, t->stride, t->rows, layer->in, p->any);
        t->count = list_numbers(p->any, layer->in, nonzero);
        left_out += (size_t)(layer->in - t->count) * (size_t)t->rows * (size_t)layer->out;
    }
    if (p->ws->left_out) {
#pragma omp atomic
        *p->ws->left_out += left_out;
    }
    return count;
}

/* Some panels for all rows, then the next: the weights of a wide layer come to L2 once a block. */
static void run_layer(const struct pass *p, const struct fp32_layer *layer, const float *x, size_t rows, float *y) {
    const struct fp32_kernel *kernel = p->net->kernel;
    struct fp32_inputs tiles[FP32_BLOCK];
    size_t count = list_inputs(p, layer, x, rows, tiles), stride = p->ws->stride;
    int panels = panels_of(kernel, layer->out);
    for (int first = 0; first < panels; first += kernel->together) {
        int end = first + kernel->together < panels ? first + kernel->together : panels;
        for (size_t t = 0; t < count; t++)
            kernel->run(layer, &tiles[t], first, end, y + t * (size_t)kernel->rows * stride, stride);
    }
}

static void copy_rows(const float *from, size_t stride, size_t rows, size_t width, float *to) {
    for (size_t r = 0; r < rows; r++) memcpy(to + r * width, from + r * stride, width * sizeof *to);
}

/* rows images, at most FP32_BLOCK, from number first on, through all layers */
static void forward_block(const struct pass *p, const uint8_t *images, size_t first, size_t rows, float *const *layers,
                          float *logits) {
    const struct mlp_shape *shape = &p->net->shape;
    size_t inputs = (size_t)shape->widths[0], stride = p->ws->stride;
    for (size_t r = 0; r < rows; r++)
        bytes_to_floats(images + (first + r) * inputs, inputs, 0, p->side[0] + r * stride);
    for (int l = 0; l < shape->layers; l++) {
        size_t width = (size_t)shape->widths[l], out = (size_t)shape->widths[l + 1];
        if (layers) copy_rows(p->side[l % 2], stride, rows, width, layers[l] + first * width);
        run_layer(p, &p->net->layer[l], p->side[l % 2], rows, p->side[(l + 1) % 2]);
        if (l + 1 == shape->layers) copy_rows(p->side[(l + 1) % 2], stride, rows, out, logits + first * out);
    }
}

enum { ROWS_TOGETHER = 6 }; /* images: of a tile; about what entering a parallel region costs */

/* Threads take one stretch of images each, whole tiles of rows, so that they end together. */
void fp32_mlp_forward(const struct fp32_mlp *net, const uint8_t *images, size_t count, struct fp32_workspace *ws,
                      float *const *layers, float *logits) {
    size_t worth = count / ROWS_TOGETHER, parts = worth < (size_t)ws->threads ? worth : (size_t)ws->threads;
    if (parts < 1) parts = 1;
    size_t each = ((count + parts - 1) / parts + ROWS_TOGETHER - 1) / ROWS_TOGETHER * ROWS_TOGETHER;
#pragma omp parallel for schedule(static) num_threads((int)parts) if (parts > 1)
    for (size_t part = 0; part < parts; part++) {
        size_t block = FP32_BLOCK * ws->stride, end = (part + 1) * each < count ? (part + 1) * each : count;
        struct pass p = {net,
                         ws,
                         {ws->rows + 2 * part * block, ws->rows + (2 * part + 1) * block},
                         ws->nonzero + part * block,
                         ws->any + part * ws->stride};
        for (size_t first = part * each; first < end; first += FP32_BLOCK)
            forward_block(&p, images, first, end - first < FP32_BLOCK ? end - first : FP32_BLOCK, layers, logits);
    }
}
