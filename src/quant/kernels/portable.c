/* The fast path for any CPU: plain C in the form that compilers turn into 16-bit multiply-and-add vector
 * instructions (pmaddwd, smlal). Both sides are widened to 16 bits first: weights once, when packed, each
 * block of inputs as it comes. A product of two fits 32 bits, and two summed do as well: nothing saturates.
 *
 * Packed weights: int16 [out rounded up to 4][in rounded up to 32], zero where there is no weight. */
#include <string.h>

#include "quant/qlinear.h"

enum { ROWS = 2, BLOCK_ROWS = 4, OUTPUTS = 4, LANES = 32 };

static int padded_in(int in) { return (in + LANES - 1) / LANES * LANES; }

static int padded_out(int out) { return (out + OUTPUTS - 1) / OUTPUTS * OUTPUTS; }

static int always(void) { return 1; }

static size_t layer_bytes(const struct qlinear *layer) {
    return (size_t)padded_out(layer->out) * (size_t)padded_in(layer->in) * sizeof(int16_t);
}

static void pack_layer(const struct qlinear *layer) {
    int16_t *wide = layer->packed;
    const int8_t *w = layer->weight;
    for (int c = 0; c < layer->out; c++, wide += padded_in(layer->in), w += layer->in)
        for (int k = 0; k < layer->in; k++) wide[k] = w[k];
}

/* acc [ROWS][OUTPUTS] = x [ROWS][n] * w [OUTPUTS][n]^T; eight sums in one loop, so that each load is used
 * often */
static void dot_tile(const int16_t *restrict x, const int16_t *restrict w, int n, int32_t acc[ROWS][OUTPUTS]) {
    const int16_t *x0 = x, *x1 = x + n, *w0 = w, *w1 = w + n, *w2 = w + 2 * n, *w3 = w + 3 * n;
    int32_t a00 = 0, a01 = 0, a02 = 0, a03 = 0, a10 = 0, a11 = 0, a12 = 0, a13 = 0;
    for (int k = 0; k < n; k++) {
        a00 += x0[k] * w0[k], a01 += x0[k] * w1[k], a02 += x0[k] * w2[k], a03 += x0[k] * w3[k];
        a10 += x1[k] * w0[k], a11 += x1[k] * w1[k], a12 += x1[k] * w2[k], a13 += x1[k] * w3[k];
    }
    memcpy(acc[0], (int32_t[OUTPUTS]){a00, a01, a02, a03}, sizeof acc[0]);
    memcpy(acc[1], (int32_t[OUTPUTS]){a10, a11, a12, a13}, sizeof acc[1]);
}

/* rows <= BLOCK_ROWS; wide [BLOCK_ROWS][n], where rows that are not there hold anything */
static void run_block(const struct qlinear *layer, const int16_t *wide, int n, int rows, uint8_t *y, size_t y_stride) {
    for (int c = 0; c < layer->out; c += OUTPUTS) {
        const int16_t *w = (const int16_t *)layer->packed + (size_t)c * (size_t)n;
        for (int row = 0; row < rows; row += ROWS) {
            int32_t acc[ROWS][OUTPUTS];
            dot_tile(wide + row * n, w, n, acc);
            for (int r = row; r < row + ROWS && r < rows; r++)
                for (int j = c; j < c + OUTPUTS && j < layer->out; j++)
                    y[(size_t)r * y_stride + (size_t)j] = requantize(acc[r - row][j - c] + layer->folded_bias[j],
                                                                     layer->multiplier[j], layer->y_zero_point,
                                                                     layer->y_min, layer->y_max);
        }
    }
}

static void run(const struct qlinear *layer, const uint8_t *x, size_t x_stride, size_t rows, uint8_t *y,
                size_t y_stride, void *scratch) {
    int n = padded_in(layer->in);
    int16_t *wide = scratch; /* [BLOCK_ROWS][n] */
    memset(wide, 0, (size_t)(BLOCK_ROWS * n) * sizeof *wide);
    for (size_t row = 0; row < rows; row += BLOCK_ROWS, x += BLOCK_ROWS * x_stride, y += BLOCK_ROWS * y_stride) {
        int height = rows - row < BLOCK_ROWS ? (int)(rows - row) : BLOCK_ROWS;
        for (int r = 0; r < height; r++)
            for (int k = 0; k < layer->in; k++) wide[r * n + k] = x[(size_t)r * x_stride + (size_t)k];
        run_block(layer, wide, n, height, y, y_stride);
    }
}

const struct qkernel qkernel_portable = {
    "portable", "plain C, 16-bit multiply and add", always, run, layer_bytes, pack_layer, 1, NULL, NULL, 0};
