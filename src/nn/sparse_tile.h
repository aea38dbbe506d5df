/* A kernel of sparse_input.h, included by a file that has defined TARGET, LANES (of a register), TALL (registers of
 * outputs in a tile of the forward pass), vec, and on it load, store, broadcast, zero and fma. */
#include <string.h>

#include "base/unroll.h"
#include "nn/sparse_input.h"

enum { WIDE = 8 }; /* registers of a block, and of a tile of the backward pass: as many sums hide the latency of fma */

/* The last register of a row may have fewer lanes than it holds. */
TARGET INLINE void put(vec sum, int left, float *y) {
    float lanes[LANES];
    if (left >= LANES) {
        store(y, sum);
        return;
    }
    store(lanes, sum);
    memcpy(y, lanes, (size_t)left * sizeof *y);
}

TARGET INLINE void forward_tile(const int registers, const float *const *x, const uint16_t *list, int listed,
                                const float *w, size_t w_stride, int width, float *const *y, int first) {
    const float *x0 = x[0], *x1 = x[1], *x2 = x[2];
    vec sum[SPARSE_ROWS][WIDE];
    UNROLL
    for (int j = 0; j < registers; j++) sum[0][j] = sum[1][j] = sum[2][j] = zero();
    for (int i = 0; i < listed; i++) {
        size_t k = list[i];
        const float *row = w + k * w_stride + first;
        vec a = broadcast(x0[k]), b = broadcast(x1[k]), c = broadcast(x2[k]);
        UNROLL
        for (int j = 0; j < registers; j++) {
            vec weight = load(row + j * LANES);
            sum[0][j] = fma(a, weight, sum[0][j]);
            sum[1][j] = fma(b, weight, sum[1][j]);
            sum[2][j] = fma(c, weight, sum[2][j]);
        }
    }
    UNROLL
    for (int j = 0; j < registers; j++)
        for (int r = 0; r < SPARSE_ROWS; r++) put(sum[r][j], width - first - j * LANES, y[r] + first + j * LANES);
}

TARGET static void forward(const float *const *x, const uint16_t *list, int listed, const float *w, size_t w_stride,
                           int width, float *const *y) {
    for (int first = 0, left; (left = (width - first + LANES - 1) / LANES) > 0;) {
        if (left >= 8 && TALL == 8) {
            forward_tile(8, x, list, listed, w, w_stride, width, y, first);
            first += 8 * LANES;
        } else if (left >= 4) {
            forward_tile(4, x, list, listed, w, w_stride, width, y, first);
            first += 4 * LANES;
        } else {
            forward_tile(1, x, list, listed, w, w_stride, width, y, first);
            first += LANES;
        }
    }
}

TARGET INLINE void gradient_tile(const int registers, const uint64_t *lit, size_t lit_stride, int chunks,
                                 const float *x, size_t x_stride, const float *dy, size_t dy_stride, float *g) {
    vec sum[WIDE];
    UNROLL
    for (int j = 0; j < registers; j++) sum[j] = zero();
    for (int chunk = 0; chunk < chunks; chunk++) {
        for (uint64_t rows = lit[(size_t)chunk * lit_stride]; rows; rows &= rows - 1) {
            size_t r = (size_t)chunk * SPARSE_CHUNK + (size_t)__builtin_ctzll(rows);
            const float *from = dy + r * dy_stride;
            vec a = broadcast(x[r * x_stride]);
            UNROLL
            for (int j = 0; j < registers; j++) sum[j] = fma(a, load(from + j * LANES), sum[j]);
        }
    }
    UNROLL
    for (int j = 0; j < registers; j++) store(g + j * LANES, sum[j]);
}

TARGET static void gradient(const uint64_t *lit, size_t lit_stride, int chunks, const float *x, size_t x_stride,
                            const float *dy, size_t dy_stride, int width, float *g) {
    for (int first = 0, left; (left = (width - first + LANES - 1) / LANES) > 0;) {
        if (left >= 8) {
            gradient_tile(8, lit, lit_stride, chunks, x, x_stride, dy + first, dy_stride, g + first);
            first += 8 * LANES;
        } else if (left >= 4) {
            gradient_tile(4, lit, lit_stride, chunks, x, x_stride, dy + first, dy_stride, g + first);
            first += 4 * LANES;
        } else {
            gradient_tile(1, lit, lit_stride, chunks, x, x_stride, dy + first, dy_stride, g + first);
            first += LANES;
        }
    }
}
