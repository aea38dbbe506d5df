/* WebAssembly's 128-bit vectors: i32x4.dot_i16x8_s multiplies eight pairs of 16-bit numbers and adds them up by twos.
 * Inputs and weights are bytes in memory and widened as they are loaded: nothing saturates.
 *
 * Packed weights: int8 [out rounded up to 4][in rounded up to 8], zero where there is no weight. */
#ifdef __wasm_simd128__
#include <string.h>
#include <wasm_simd128.h>

#include "base/unroll.h"
#include "quant/qlinear.h"

enum { ROWS = 2, OUTPUTS = 4, LANES = 8 };

static int padded_in(int in) { return (in + LANES - 1) / LANES * LANES; }

static int always(void) { return 1; }

static size_t layer_bytes(const struct qlinear *layer) {
    return (size_t)((layer->out + OUTPUTS - 1) / OUTPUTS * OUTPUTS) * (size_t)padded_in(layer->in);
}

static void pack_layer(const struct qlinear *layer) {
    for (int c = 0; c < layer->out; c++)
        memcpy((int8_t *)layer->packed + (size_t)c * (size_t)padded_in(layer->in),
               layer->weight + (size_t)c * (size_t)layer->in, (size_t)layer->in);
}

static int32_t sum_of(v128_t acc) {
    return wasm_i32x4_extract_lane(acc, 0) + wasm_i32x4_extract_lane(acc, 1) + wasm_i32x4_extract_lane(acc, 2) +
        wasm_i32x4_extract_lane(acc, 3);
}

/* height rows of x [in] against OUTPUTS rows of weights w [n]; the padding of x meets weights of 0. */
INLINE void run_tile(const int height, const struct qlinear *layer, int c, const uint8_t *x, size_t x_stride,
                     uint8_t *y, size_t y_stride) {
    const int n = padded_in(layer->in);
    const int8_t *w = (const int8_t *)layer->packed + (size_t)c * (size_t)n;
    v128_t acc[ROWS][OUTPUTS];
    for (int r = 0; r < height; r++)
        for (int j = 0; j < OUTPUTS; j++) acc[r][j] = wasm_i32x4_splat(0);
    for (int k = 0; k < n; k += LANES) {
        v128_t inputs[ROWS];
        for (int r = 0; r < height; r++) inputs[r] = wasm_u16x8_load8x8(x + (size_t)r * x_stride + (size_t)k);
        for (int j = 0; j < OUTPUTS; j++) {
            v128_t weights = wasm_i16x8_load8x8(w + (size_t)j * (size_t)n + (size_t)k);
            for (int r = 0; r < height; r++)
                acc[r][j] = wasm_i32x4_add(acc[r][j], wasm_i32x4_dot_i16x8(inputs[r], weights));
        }
    }
    for (int r = 0; r < height; r++)
        for (int j = 0; j < OUTPUTS && c + j < layer->out; j++)
            y[(size_t)r * y_stride + (size_t)(c + j)] = requantize(sum_of(acc[r][j]) + layer->folded_bias[c + j],
                                                                   layer->multiplier[c + j], layer->y_zero_point,
                                                                   layer->y_min, layer->y_max);
}

static void run(const struct qlinear *layer, const uint8_t *x, size_t x_stride, size_t rows, uint8_t *y,
                size_t y_stride, void *scratch) {
    (void)scratch;
    for (int c = 0; c < layer->out; c += OUTPUTS) {
        size_t row = 0;
        for (; row + ROWS <= rows; row += ROWS)
            run_tile(ROWS, layer, c, x + row * x_stride, x_stride, y + row * y_stride, y_stride);
        for (; row < rows; row++) run_tile(1, layer, c, x + row * x_stride, x_stride, y + row * y_stride, y_stride);
    }
}

const struct qkernel qkernel_wasm_simd128 = {
    "wasm-simd128", "WebAssembly, 16-bit multiply and add", always, run, layer_bytes, pack_layer, LANES, NULL, NULL, 0};
#else
typedef int wasm_simd128_is_for_webassembly;
#endif
