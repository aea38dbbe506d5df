/* AVX2: no dot-product instruction. vpmaddubsw would multiply bytes, but adds two products in 16 bits, where
 * 2 * 255 * 127 = 64,770 saturates. So both sides are widened to 16 bits, weights when packed and inputs once
 * for all tiles, and vpmaddwd adds two products in 32 bits, which holds them. Two instructions do 16 products
 * where VNNI does 32 in one. */
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

enum { TILE = 16, LANES = 8, HALF_TILES = 0, GROUP_BYTES = TILE * 8, NIBBLES = 0, ROWS = 6, X_BYTES = 8 };
#include "quant/kernels/tiles.h"

#define TARGET __attribute__((target("avx2")))
#include "quant/kernels/ymm.h"

static int supported(void) { return __builtin_cpu_supports("avx2"); }

TARGET INLINE __m256i dot2(__m256i acc, __m256i x, __m256i w) { return _mm256_add_epi32(acc, _mm256_madd_epi16(x, w)); }

/* The four inputs of a group are two pairs: weights [pair][TILE][2] and inputs [pair][2], both int16. */
TARGET INLINE void step(const int height, __m256i acc[][2], struct inputs x, size_t offset, const uint8_t *w) {
    UNROLL
    for (int pair = 0; pair < 2; pair++, w += GROUP_BYTES / 2, offset += X_BYTES / 2) {
        __m256i left = _mm256_load_si256((const __m256i *)w), right = _mm256_load_si256((const __m256i *)(w + 32));
        UNROLL
        for (int r = 0; r < height; r++) {
            int32_t two;
            memcpy(&two, x.row[r / 3] + (size_t)(r % 3) * x.stride + offset, sizeof two);
            acc[r][0] = dot2(acc[r][0], _mm256_set1_epi32(two), left);
            acc[r][1] = dot2(acc[r][1], _mm256_set1_epi32(two), right);
        }
    }
}

/* groups of 4 bytes -> 4 int16 */
TARGET static void widen(const uint8_t *x, int groups, uint8_t *wide) {
    int g = 0;
    for (; g + 4 <= groups; g += 4)
        _mm256_store_si256((__m256i *)(wide + 8 * g),
                           _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(x + 4 * g))));
    for (; g < groups; g++) {
        uint16_t four[4] = {x[4 * g], x[4 * g + 1], x[4 * g + 2], x[4 * g + 3]};
        memcpy(wide + 8 * g, four, sizeof four);
    }
}

TARGET static void run(const struct qlinear *layer, const uint8_t *x, size_t x_stride, size_t rows, uint8_t *y,
                       size_t y_stride, void *scratch) {
    uint8_t *wide = scratch; /* [height][wide_stride] */
    int groups = groups_of_4(layer->in);
    size_t wide_stride = (size_t)(groups + 3) / 4 * 32;
    for (size_t row = 0, height; row < rows; row += height, x += height * x_stride, y += height * y_stride) {
        height = rows - row >= 6 ? 6 : rows - row >= 4 ? 2 : 1;
        for (size_t r = 0; r < height; r++) widen(x + r * x_stride, groups, wide + r * wide_stride);
        if (height == 1) run_one_row(layer, x, wide, y);
        else run_rows(layer, wide, wide_stride, (int)height, y, y_stride);
    }
}

/* int16 [in / 2][TILE][2] */
static void put_int16(uint8_t *packed, int lanes, int lane, int k, int8_t weight) {
    int16_t wide = weight;
    memcpy(packed + (((size_t)(k / 2) * (size_t)lanes + (size_t)lane) * 2 + (size_t)(k % 2)) * 2, &wide, 2);
}

static void pack_layer(const struct qlinear *layer) { pack_tiles(layer, (struct form){0}, put_int16); }

const struct qkernel qkernel_avx2 = {
    "avx2", "AVX2, 16-bit multiply and add", supported, run, layer_bytes, pack_layer, 4, NULL, NULL, 0};
#else
typedef int avx2_is_for_x86_64;
#endif
