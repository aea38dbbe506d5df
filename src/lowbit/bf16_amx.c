/* AMX: tdpbf16ps multiplies 16 rows x 32 inputs by 32 inputs x 16 outputs of bf16 and adds them up in fp32: 8,192
 * products in about 16 cycles. quant/kernels/amx_block.h has the loop.
 *
 *   | bias of tile 0 [32] | bias of tile 1 | ... | weights of tile 0 [in / 32][16][outputs][2] | weights of tile 1 |
 * ...
 *
 * The order of the additions is the instruction's, and not that of bf16_layer_ref: of each 32 inputs the products with
 * even numbers add up in one sum and the odd ones in another (FMAs, rounded to nearest even), these two are added, and
 * that to the sum of the inputs before. Subnormals are 0, going in and coming out of each addition. So logits differ in
 * their last bits from those of vdpbf16ps, within the bound of bf16.h; but a row's are the same in any batch, since all
 * rows go this way, one alone, too. */
#include "lowbit/bf16.h"

#if defined(AMX_MODEL) || (defined(__x86_64__) && defined(__GNUC__))
#include <math.h>
#include <string.h>

#include "lowbit/half.h"

enum { TILE = 32, LANES = 16 };

#define LAYER struct bf16_layer
#define MULTIPLY tile_multiply_bfloats
#ifdef AMX_MODEL
#define TARGET
#else
#define TARGET __attribute__((target("avx512f")))
#include "lowbit/bf16_zmm.h"
#endif
#include "quant/kernels/amx.h"

enum { STEP = TILE_ROW_BYTES / sizeof(uint16_t), LARGE_BYTES = 1 << 20 };

/* ---- the packed form ---- */

static int tiles_of(int out) { return (out + TILE - 1) / TILE; }

static int steps_of(int in) { return (in + STEP - 1) / STEP; }

static int is_wide(const struct bf16_layer *layer, int tile) { return layer->out - tile * TILE > LANES; }

static float *tile_bias(const struct bf16_layer *layer, int tile) { return (float *)layer->packed + tile * TILE; }

static size_t panel_elements(const struct bf16_layer *layer) { return (size_t)steps_of(layer->in) * STEP * TILE; }

static uint16_t *tile_weights(const struct bf16_layer *layer, int tile) {
    return (uint16_t *)tile_bias(layer, tiles_of(layer->out)) + (size_t)tile * panel_elements(layer);
}

static size_t layer_bytes(const struct bf16_layer *layer) {
    return (size_t)tiles_of(layer->out) * (TILE * sizeof(float) + panel_elements(layer) * sizeof(uint16_t));
}

static void pack_layer(const struct bf16_layer *layer) {
    const uint16_t *w = layer->weight;
    for (int c = 0; c < layer->out; c++, w += layer->in) {
        int tile = c / TILE, outputs = is_wide(layer, tile) ? TILE : LANES;
        uint16_t *to = tile_weights(layer, tile) + c % TILE * 2;
        tile_bias(layer, tile)[c % TILE] = layer->bias[c];
        for (int k = 0; k < layer->in; k++) to[(size_t)(k / 2) * (size_t)outputs * 2 + (size_t)(k % 2)] = w[k];
    }
}

/* ---- from sums to outputs ---- */

INLINE const float *sums_of(const struct leaving *from, int row) {
    return (const float *)from->sums + row * BLOCK_OUTPUTS;
}

#ifdef AMX_MODEL

struct finish {
    int unused;
};

INLINE int finish_rows(const struct finish *f) { return f->unused; }

INLINE void finish_begin(const struct bf16_layer *layer, const struct leaving *from, struct finish *f) {
    (void)layer, (void)from;
    f->unused = 0;
}

INLINE void finish_two_rows(struct finish *f) { (void)f; }

static void finish_rest(const struct bf16_layer *layer, const struct leaving *from, int first) {
    const struct tile_block *b = &from->of;
    for (int r = first; r < b->height; r++)
        for (int c = b->tile * TILE, i = 0; i < TILE; i++, c++) {
            void *y = (uint8_t *)b->y + (size_t)r * b->y_stride;
            float value = fmaf(i < LANES || b->wide ? sums_of(from, r)[i] : 0, layer->scale,
                               tile_bias(layer, b->tile)[i]);
            if (!layer->last) ((uint16_t *)y)[c] = c < layer->out ? bfloat_from_float(value < 0 ? 0 : value) : 0;
            else if (c < layer->out) ((float *)y)[c] = value;
        }
}

#else

/* Two rows at a time pay in whole tiles of hidden layers. */
struct finish {
    const float *sums; /* of the next row */
    uint8_t *y;
    size_t y_stride;
    int rows;
    __m512 scale, bias[2];
};

INLINE int finish_rows(const struct finish *f) { return f->rows; }

TARGET INLINE void finish_begin(const struct bf16_layer *layer, const struct leaving *from, struct finish *f) {
    const struct tile_block *b = &from->of;
    const float *bias = tile_bias(layer, b->tile);
    f->sums = sums_of(from, 0);
    f->y = (uint8_t *)b->y + (size_t)b->tile * TILE * sizeof(uint16_t), f->y_stride = b->y_stride;
    f->rows = layer->out - b->tile * TILE >= TILE && !layer->last ? b->height / 2 * 2 : 0;
    f->scale = _mm512_set1_ps(layer->scale);
    f->bias[0] = _mm512_load_ps(bias), f->bias[1] = _mm512_load_ps(bias + LANES);
}

TARGET INLINE void finish_two_rows(struct finish *f) {
    __m512 y[4], zero = _mm512_setzero_ps();
    UNROLL
    for (int i = 0; i < 4; i++) {
        y[i] = _mm512_fmadd_ps(_mm512_load_ps(f->sums + i * LANES), f->scale, f->bias[i % 2]);
        y[i] = _mm512_max_ps(zero, y[i]);
    }
    _mm512_storeu_si512(f->y, round32(y[0], y[1]));
    _mm512_storeu_si512(f->y + f->y_stride, round32(y[2], y[3]));
    f->sums += 2 * BLOCK_OUTPUTS, f->y += 2 * f->y_stride;
}

TARGET static void finish_rest(const struct bf16_layer *layer, const struct leaving *from, int first) {
    const struct tile_block *b = &from->of;
    struct output to = {b->y, b->y_stride / (layer->last ? sizeof(float) : sizeof(uint16_t))};
    for (int r = first; r < b->height; r++) {
        const float *sums = sums_of(from, r);
        __m512 acc[2] = {_mm512_load_ps(sums), b->wide ? _mm512_load_ps(sums + LANES) : _mm512_setzero_ps()};
        finish_row(2, layer, b->tile, tile_bias(layer, b->tile), acc, (size_t)r, to);
    }
}

#endif

#include "quant/kernels/amx_block.h"

/* ---- the kernel ---- */

#ifdef AMX_MODEL
static int supported(void) { return 1; }
#else
static int supported(void) { return amx_supported(AMX_BFLOATS) && has_avx512_bf16(); }
#endif

struct rows {
    const uint16_t *x;
    uint8_t *y;
    size_t x_stride, y_stride; /* bytes */
    int height;
};

static struct tile_block block_of(const struct bf16_layer *layer, const struct rows *rows, size_t first, int tile) {
    return (struct tile_block){.x = (const uint8_t *)rows->x + first * rows->x_stride,
                               .x_stride = rows->x_stride,
                               .w = (const uint8_t *)tile_weights(layer, tile),
                               .steps = steps_of(layer->in),
                               .once = STEPS_IN_L1,
                               .height = rows->height,
                               .wide = is_wide(layer, tile),
                               .tile = tile,
                               .y = rows->y + first * rows->y_stride,
                               .y_stride = rows->y_stride};
}

/* Blocks of height rows each. Weights that the second-level cache does not hold meet all rows, tile by tile. */
TARGET static void run_blocks(const struct bf16_layer *layer, const struct rows *rows, size_t blocks) {
    struct leaving before;
    struct tile_shapes shapes = tile_shapes_of(rows->height);
    size_t tiles = (size_t)tiles_of(layer->out), height = (size_t)rows->height;
    int large = layer_bytes(layer) > LARGE_BYTES;
    before.of.height = 0;
    tiles_configure(&shapes);
    for (size_t i = 0; i < tiles * blocks; i++) {
        size_t block = large ? i % blocks : i / tiles, tile = large ? i / blocks : i % tiles;
        struct tile_block now = block_of(layer, rows, block * height, (int)tile);
        run_amx_block(layer, &now, &before);
    }
    end_amx_blocks(layer, &before);
    tiles_release();
}

static void run(const struct bf16_layer *layer, const uint16_t *x, size_t x_stride, size_t rows, void *y,
                size_t y_stride) {
    size_t size = layer->last ? sizeof(float) : sizeof(uint16_t), whole = rows / BLOCK_ROWS * BLOCK_ROWS;
    struct rows all = {x, y, x_stride * sizeof *x, y_stride * size, BLOCK_ROWS};
    if (whole) run_blocks(layer, &all, whole / BLOCK_ROWS);
    all.x += whole * x_stride, all.y += whole * all.y_stride, all.height = (int)(rows - whole);
    if (rows > whole) run_blocks(layer, &all, 1);
}

extern const struct qkernel qkernel_amx_int8;

const struct bf16_kernel bf16_kernel_amx = {.name = "amx-bf16",
                                            .what = "AMX, 8,192 products a tdpbf16ps",
                                            .supported = supported,
                                            .beside = &qkernel_amx_int8,
                                            .run = run,
                                            .layer_bytes = layer_bytes,
                                            .pack_layer = pack_layer};
#else
typedef int bf16_amx_is_for_x86_64;
#endif
