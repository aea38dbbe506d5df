/* AVX512-BF16: vdpbf16ps multiplies 32 pairs of bf16 and adds them to 16 sums in fp32 by twos, twice the
 * multiply-adds of an fp32 FMA.
 *
 * A tile is 12 rows x 32 outputs, as in avx512vnni.c and for its reasons: 24 of the 32 registers accumulate, and a
 * step of 2 inputs is 2 loads of weights and 12 broadcasts of inputs for 24 vdpbf16ps. Each sum is one chain through
 * the inputs in order, here and in the path of one row: the same bits whatever rows came together.
 *
 *   | bias of tile 0 [32] | bias of tile 1 | ... | weights of tile 0 [in / 2][lanes][2] | weights of tile 1 | ...
 *
 * The instructions are lines of assembly: GCC 12 spills around intrinsics (avx512vnni.c), and compilers disagree on
 * the type of a vector of bf16. */
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#include <string.h>

#include "lowbit/bf16.h"
#include "base/unroll.h"

enum { TILE = 32, LANES = 16, ROWS = 12, MAX_PAIRS = MLP_MAX_WIDTH / 2 };

#define TARGET __attribute__((target("avx512f")))
#include "lowbit/bf16_zmm.h"

/* acc + x . w by twos, the second product first */
TARGET INLINE __m512 dot2(__m512 acc, __m512i x, __m512i w) {
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(acc) : "v"(x), "v"(w));
    return acc;
}

INLINE uint32_t pair_at(const uint16_t *x) {
    uint32_t pair;
    memcpy(&pair, x, sizeof pair);
    return pair;
}

/* ---- the packed form ---- */

INLINE int pairs_of(int in) { return (in + 1) / 2; }

INLINE int tiles_of(int out) { return (out + TILE - 1) / TILE; }

/* A last tile of up to 16 outputs makes do with one register. */
INLINE int tile_registers(int out, int tile) { return out - tile * TILE > LANES ? 2 : 1; }

INLINE float *tile_bias(const struct bf16_layer *layer, int tile) { return (float *)layer->packed + tile * TILE; }

/* All tiles before it are whole. */
INLINE uint16_t *tile_weights(const struct bf16_layer *layer, int tile) {
    return (uint16_t *)tile_bias(layer, tiles_of(layer->out)) + (size_t)tile * (size_t)pairs_of(layer->in) * TILE * 2;
}

static size_t layer_bytes(const struct bf16_layer *layer) {
    size_t tile = TILE * sizeof(float) + (size_t)pairs_of(layer->in) * TILE * 2 * sizeof(uint16_t);
    return (size_t)tiles_of(layer->out) * tile;
}

static void pack_layer(const struct bf16_layer *layer) {
    const uint16_t *w = layer->weight;
    for (int c = 0; c < layer->out; c++, w += layer->in) {
        int tile = c / TILE, lane = c % TILE, lanes = tile_registers(layer->out, tile) * LANES;
        uint16_t *to = tile_weights(layer, tile) + lane * 2;
        tile_bias(layer, tile)[lane] = layer->bias[c];
        for (int k = 0; k < layer->in; k++) to[(size_t)(k / 2) * (size_t)lanes * 2 + (size_t)(k % 2)] = w[k];
    }
}

/* ---- many rows: the tile ---- */

/* One step of 2 inputs; x [height / 3] points at every third row, so that all rows are within reach of one
 * addressing mode. */
#define ROW(r)                                                                                                         \
    do                                                                                                                 \
        if (r < height) {                                                                                              \
            __m512i pair = _mm512_set1_epi32((int)pair_at(x[r / 3] + r % 3 * stride + k));                             \
            acc[r][0] = dot2(acc[r][0], pair, left);                                                                   \
            if (registers == 2) acc[r][1] = dot2(acc[r][1], pair, right);                                              \
        }                                                                                                              \
    while (0)

TARGET INLINE void step(const int height, const int registers, __m512 acc[][2], const uint16_t *const x[],
                        size_t stride, size_t k, const uint16_t *w) {
    __m512i left = _mm512_load_si512(w), right = registers == 2 ? _mm512_load_si512(w + TILE) : left;
    EACH_OF_12(ROW);
}

/* height rows of one tile */
TARGET INLINE void run_rows(const int height, const int registers, const struct bf16_layer *layer, int tile,
                            const uint16_t *x0, size_t stride, struct output to) {
    const uint16_t *x[ROWS / 3] = {x0, x0 + 3 * stride, x0 + 6 * stride, x0 + 9 * stride};
    const uint16_t *w = tile_weights(layer, tile);
    __m512 acc[ROWS][2];
    UNROLL
    for (int r = 0; r < height; r++) acc[r][0] = acc[r][1] = _mm512_setzero_ps();
    for (size_t k = 0, end = 2 * (size_t)pairs_of(layer->in); k < end; k += 2, w += registers * LANES * 2)
        step(height, registers, acc, x, stride, k, w);
    UNROLL
    for (int r = 0; r < height; r++) finish_row(registers, layer, tile, tile_bias(layer, tile), acc[r], (size_t)r, to);
}

typedef void rows_function(const struct bf16_layer *layer, int tile, const uint16_t *x, size_t stride,
                           struct output to);

/* One function for each height and number of registers, so that all loops over rows unroll. */
#define ROWS_FUNCTION(height, registers)                                                                               \
    TARGET static void rows_##height##_##registers(const struct bf16_layer *layer, int tile, const uint16_t *x,        \
                                                   size_t stride, struct output to) {                                  \
        run_rows(height, registers, layer, tile, x, stride, to);                                                       \
    }
ROWS_FUNCTION(4, 1)
ROWS_FUNCTION(4, 2)
ROWS_FUNCTION(8, 1)
ROWS_FUNCTION(8, 2)
ROWS_FUNCTION(12, 1)
ROWS_FUNCTION(12, 2)
static rows_function *const rows_functions[3][2] = {{rows_4_1, rows_4_2}, {rows_8_1, rows_8_2}, {rows_12_1, rows_12_2}};

/* Tiles of 12 rows, and of 8 or 4 at the end: 16 are twice 8, since 4 rows keep few accumulators busy. */
static size_t tile_height(size_t left) { return left == 16 || left == 8 ? 8 : left >= 12 ? 12 : 4; }

static struct output output_row(const struct bf16_layer *layer, struct output to, size_t row) {
    size_t size = layer->last ? sizeof(float) : sizeof(uint16_t);
    return (struct output){(char *)to.y + row * to.stride * size, to.stride};
}

/* ---- one row: the weights are streamed once, those of zero inputs not at all ---- */

/* The pairs of inputs that are not zero, a bit each. (Weights are finite, so the others add nothing.) */
struct sparse {
    const uint16_t *x;
    int words;
    uint64_t nonzero[MAX_PAIRS / 64];
};

static void find_nonzero(const uint16_t *x, int pairs, struct sparse *found) {
    found->x = x;
    found->words = (pairs + 63) / 64;
    for (int word = 0; word < found->words; word++) {
        int first = word * 64, n = pairs - first < 64 ? pairs - first : 64;
        uint64_t bits = 0;
        for (int i = 0; i < n; i++) bits |= (uint64_t)(pair_at(x + 2 * (first + i)) != 0) << i;
        found->nonzero[word] = bits;
    }
}

/* tiles tiles side by side, from the first on */
TARGET INLINE void run_row_tiles(const int tiles, const int registers, const struct bf16_layer *layer, int first,
                                 const struct sparse *x, struct output to) {
    const uint16_t *weights = tile_weights(layer, first);
    size_t tile_size = (size_t)pairs_of(layer->in) * TILE * 2;
    __m512 acc[4][2];
    UNROLL
    for (int t = 0; t < tiles; t++) acc[t][0] = acc[t][1] = _mm512_setzero_ps();
    for (int word = 0; word < x->words; word++)
        for (uint64_t bits = x->nonzero[word]; bits; bits &= bits - 1) {
            size_t i = (size_t)word * 64 + (size_t)__builtin_ctzll(bits);
            __m512i pair = _mm512_set1_epi32((int)pair_at(x->x + 2 * i));
            const uint16_t *w = weights + i * (size_t)registers * LANES * 2;
            UNROLL
            for (int t = 0; t < tiles; t++) UNROLL
            for (int z = 0; z < registers; z++)
                acc[t][z] = dot2(acc[t][z], pair, _mm512_load_si512(w + (size_t)t * tile_size + z * LANES * 2));
        }
    UNROLL
    for (int t = 0; t < tiles; t++) finish_row(registers, layer, first + t, tile_bias(layer, first + t), acc[t], 0, to);
}

TARGET static void run_row(const struct bf16_layer *layer, const uint16_t *x, struct output to) {
    struct sparse found;
    find_nonzero(x, pairs_of(layer->in), &found);
    int tile = 0, tiles = tiles_of(layer->out), whole = tiles - (tile_registers(layer->out, tiles - 1) == 1);
    for (; tile + 4 <= whole; tile += 4) run_row_tiles(4, 2, layer, tile, &found, to);
    for (; tile < whole; tile++) run_row_tiles(1, 2, layer, tile, &found, to);
    if (tile < tiles) run_row_tiles(1, 1, layer, tile, &found, to);
}

/* ---- the kernel ---- */

TARGET static void run(const struct bf16_layer *layer, const uint16_t *x, size_t x_stride, size_t rows, void *y,
                       size_t y_stride) {
    struct output to = {y, y_stride};
    size_t tiled = rows / 4 * 4;
    for (int tile = 0; tile < tiles_of(layer->out); tile++)
        for (size_t row = 0, height; row < tiled; row += height) {
            height = tile_height(tiled - row);
            rows_functions[height / 4 - 1][tile_registers(layer->out, tile) - 1](layer, tile, x + row * x_stride,
                                                                                 x_stride, output_row(layer, to, row));
        }
    for (size_t row = tiled; row < rows; row++) run_row(layer, x + row * x_stride, output_row(layer, to, row));
}

extern const struct qkernel qkernel_avx512vnni; /* in every CPU that has AVX512-BF16 */

const struct bf16_kernel bf16_kernel_avx512 = {.name = "avx512bf16",
                                               .what = "AVX512-BF16, 32 products a vdpbf16ps",
                                               .supported = has_avx512_bf16,
                                               .beside = &qkernel_avx512vnni,
                                               .in_order = true,
                                               .run = run,
                                               .layer_bytes = layer_bytes,
                                               .pack_layer = pack_layer};
#else
typedef int avx512bf16_is_for_x86_64;
#endif
