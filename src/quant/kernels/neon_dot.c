/* AArch64 dot products: sdot multiplies 16 signed bytes and adds them up by fours. Inputs are unsigned, so it
 * is given x - 128 (the top bit turned over), and accumulators start at folded bias + 128 * sum_k w: exact,
 * and without the newer usdot. 4 rows x 16 outputs: 16 of the 32 registers accumulate. */
#if defined(__aarch64__) && defined(__GNUC__) && (defined(__linux__) || defined(__APPLE__))
#include <arm_neon.h>
#ifdef __linux__
#include <sys/auxv.h>
#endif

enum { TILE = 16, LANES = 4, HALF_TILES = 0, GROUP_BYTES = TILE * 4, NIBBLES = 0, ROWS = 4, REGISTERS = TILE / LANES };
#include "quant/kernels/tiles.h"

#ifdef __clang__
#define TARGET __attribute__((target("dotprod")))
#else
#define TARGET __attribute__((target("arch=armv8.2-a+dotprod")))
#endif

static int supported(void) {
#ifdef __linux__
    return (getauxval(AT_HWCAP) & 1ul << 20) != 0; /* HWCAP_ASIMDDP */
#else
    return 1; /* every Apple one has it */
#endif
}

/* acc + x[group] . w by fours: x holds four groups of 4 inputs. Assembly, since the header of clang 14 has
 * the intrinsic only where the whole file is compiled for it; volatile, or GCC 12 puts all 16 loads of
 * weights first and spills. */
#define DOT4(acc, x, w, group) __asm__ volatile("sdot %0.4s, %1.16b, %2.4b[" #group "]" : "+w"(acc) : "w"(w), "w"(x))

/* One group of weights for all rows. */
#define STEP(group)                                                                                                    \
    do {                                                                                                               \
        int8x16_t w0 = vld1q_s8(w), w1 = vld1q_s8(w + 16), w2 = vld1q_s8(w + 32), w3 = vld1q_s8(w + 48);               \
        UNROLL for (int r = 0; r < height; r++) {                                                                      \
            DOT4(acc[r][0], x[r], w0, group);                                                                          \
            DOT4(acc[r][1], x[r], w1, group);                                                                          \
            DOT4(acc[r][2], x[r], w2, group);                                                                          \
            DOT4(acc[r][3], x[r], w3, group);                                                                          \
        }                                                                                                              \
        w += GROUP_BYTES;                                                                                              \
    } while (0)

TARGET INLINE void step_four_groups(const int height, int32x4_t acc[][REGISTERS], const int8x16_t *x, const int8_t *w) {
    STEP(0);
    STEP(1);
    STEP(2);
    STEP(3);
}

TARGET INLINE void step_one_group(const int height, int32x4_t acc[][REGISTERS], const int8x16_t *x, const int8_t *w) {
    STEP(0);
}

TARGET INLINE int8x16_t minus_128(uint8x16_t x) { return vreinterpretq_s8_u8(veorq_u8(x, vdupq_n_u8(128))); }

TARGET INLINE int8x16_t load_one_group(const uint8_t *x) {
    uint32_t four;
    memcpy(&four, x, sizeof four);
    return minus_128(vreinterpretq_u8_u32(vdupq_n_u32(four)));
}

/* ---- requantizing: eq. 6 in the form of tiles.h ---- */

TARGET INLINE int32x4_t requantize4(int32x4_t acc, const struct tile *t, int reg) {
    int32x4_t m = vld1q_s32(t->m + reg * LANES), shift = vld1q_s32(t->shift + reg * LANES);
    int64x2_t low = vmull_s32(vget_low_s32(acc), vget_low_s32(m)), high = vmull_high_s32(acc, m);
    int32x4_t upper = vuzp2q_s32(vreinterpretq_s32_s64(low), vreinterpretq_s32_s64(high)); /* each product >> 32 */
    return vshlq_s32(vaddq_s32(upper, vld1q_s32(t->add + reg * LANES)), vnegq_s32(shift));
}

TARGET INLINE void store_row(const int32x4_t acc[REGISTERS], const struct tile *t, const struct qlinear *layer,
                             int tile, uint8_t *y) {
    if (t->form == ONE_BY_ONE) {
        int32_t lanes[TILE];
        for (int z = 0; z < REGISTERS; z++) vst1q_s32(lanes + z * LANES, acc[z]);
        store_one_by_one(lanes, 0, layer, tile, y);
        return;
    }
    int16x8_t left = vcombine_s16(vqmovn_s32(requantize4(acc[0], t, 0)), vqmovn_s32(requantize4(acc[1], t, 1)));
    int16x8_t right = vcombine_s16(vqmovn_s32(requantize4(acc[2], t, 2)), vqmovn_s32(requantize4(acc[3], t, 3)));
    uint8x16_t bytes = vcombine_u8(vqmovun_s16(left), vqmovun_s16(right));
    bytes = vmaxq_u8(bytes, vdupq_n_u8((uint8_t)layer->y_min));
    vst1q_u8(y, vminq_u8(bytes, vdupq_n_u8((uint8_t)layer->y_max)));
}

/* ---- the tile ---- */

TARGET INLINE void run_tile(const int height, const struct qlinear *layer, int tile, const uint8_t *x, size_t x_stride,
                            uint8_t *y, size_t y_stride) {
    const struct tile *t = tile_constants(layer, tile);
    const int8_t *w = (const int8_t *)tile_weights(layer, 0, tile);
    int32x4_t acc[ROWS][REGISTERS];
    int8x16_t inputs[ROWS];
    UNROLL
    for (int r = 0; r < height; r++) UNROLL
    for (int z = 0; z < REGISTERS; z++) acc[r][z] = vld1q_s32(t->start + z * LANES);
    int groups = groups_of_4(layer->in), g = 0;
    for (; g + 4 <= groups; g += 4, w += 4 * GROUP_BYTES) {
        UNROLL
        for (int r = 0; r < height; r++) inputs[r] = minus_128(vld1q_u8(x + (size_t)r * x_stride + 4 * (size_t)g));
        step_four_groups(height, acc, inputs, w);
    }
    for (; g < groups; g++, w += GROUP_BYTES) {
        UNROLL
        for (int r = 0; r < height; r++) inputs[r] = load_one_group(x + (size_t)r * x_stride + 4 * (size_t)g);
        step_one_group(height, acc, inputs, w);
    }
    UNROLL
    for (int r = 0; r < height; r++) store_row(acc[r], t, layer, tile, y + (size_t)r * y_stride + (size_t)tile * TILE);
}

TARGET static void run(const struct qlinear *layer, const uint8_t *x, size_t x_stride, size_t rows, uint8_t *y,
                       size_t y_stride, void *scratch) {
    (void)scratch;
    for (int tile = 0; tile < tiles_of(layer->out); tile++) {
        size_t row = 0;
        for (; row + ROWS <= rows; row += ROWS)
            run_tile(ROWS, layer, tile, x + row * x_stride, x_stride, y + row * y_stride, y_stride);
        for (; row < rows; row++) run_tile(1, layer, tile, x + row * x_stride, x_stride, y + row * y_stride, y_stride);
    }
}

static void pack_layer(const struct qlinear *layer) { pack_tiles(layer, (struct form){.x_minus = 128}, put_int8); }

const struct qkernel qkernel_neon_dot = {
    "neon-dot", "AArch64 sdot, 16 bytes at once", supported, run, layer_bytes, pack_layer, 4, NULL, NULL, 0};
#else
typedef int neon_dot_is_for_aarch64;
#endif
