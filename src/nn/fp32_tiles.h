/* Eq. 9 on vectors, for one instruction set. Included by its file, which defines before it, in an enum: LANES floats of
 * a vector, REGISTERS vectors of a panel, at most 4, ROWS of a tile, 6 at most, and TOGETHER panels for one row; and
 * TARGET, the type vec and its functions load, store, broadcast, fused (a * b + c, rounded once), plus_zero and
 * relu_of.
 *
 * A tile is 6 rows x 4 vectors of outputs: 24 sums, enough to hide the latency of the multiply-adds. A step of one k
 * loads 4 vectors of weights and broadcasts 6 inputs. A single row has as many sums in several panels. */
#ifndef NN_FP32_TILES_H
#define NN_FP32_TILES_H

#include "base/unroll.h"
#include "nn/fp32.h"

TARGET INLINE void tile(const int rows, const int panels, const int registers, const struct fp32_layer *layer,
                        const struct fp32_inputs *x, int panel, float *y, size_t y_stride) {
    const int n = panels * registers;
    const float *bias = layer->packed + (size_t)panel * REGISTERS * LANES, *row[6];
    const size_t step = (size_t)registers * LANES, apart = (size_t)layer->in * step;
    const float *w = layer->packed + fp32_padded(layer->out, LANES) +
        (size_t)panel * (size_t)layer->in * REGISTERS * LANES;
    vec sum[6][16];
    UNROLL
    for (int r = 0; r < rows; r++) {
        row[r] = x->x + (size_t)r * x->stride;
        UNROLL
        for (int j = 0; j < n; j++) sum[r][j] = load(bias + j * LANES);
    }
    for (int i = 0; i < x->count; i++) {
        size_t k = x->nonzero[i];
        vec weight[16];
        UNROLL
        for (int j = 0; j < n; j++)
            weight[j] = load(w + (size_t)(j / registers) * apart + k * step + (size_t)(j % registers) * LANES);
        UNROLL
        for (int r = 0; r < rows; r++) {
            vec a = broadcast(row[r] + k);
            UNROLL
            for (int j = 0; j < n; j++) sum[r][j] = fused(a, weight[j], sum[r][j]);
        }
    }
    y += (size_t)panel * REGISTERS * LANES;
    UNROLL
    for (int r = 0; r < rows; r++) UNROLL
    for (int j = 0; j < n; j++) {
        vec v = plus_zero(sum[r][j]);
        store(y + (size_t)r * y_stride + j * LANES, layer->relu ? relu_of(v) : v);
    }
}

/* One panel, of so many vectors. */
#define PANEL(rows)                                                                                                    \
    do {                                                                                                               \
        if (registers == REGISTERS) tile(rows, 1, REGISTERS, layer, &at, panel, y, y_stride);                          \
        else if (registers == 1) tile(rows, 1, 1, layer, &at, panel, y, y_stride);                                     \
        else if (REGISTERS > 2 && registers == 2) tile(rows, 1, 2, layer, &at, panel, y, y_stride);                    \
        else if (REGISTERS > 3) tile(rows, 1, 3, layer, &at, panel, y, y_stride);                                      \
    } while (0)

TARGET static void run(const struct fp32_layer *layer, const struct fp32_inputs *x, int first, int end, float *y,
                       size_t y_stride) {
    struct fp32_inputs at = *x;
    for (int done = 0; done < x->rows; y += (size_t)at.rows * y_stride, done += at.rows) {
        at.x = x->x + (size_t)done * x->stride;
        at.rows = x->rows - done >= 6 ? 6 : x->rows - done >= 3 ? 3 : 1;
        int panel = first;
        if (at.rows == 1)
            for (; panel + TOGETHER <= end && (panel + TOGETHER) * REGISTERS * LANES <= layer->out + LANES - 1;
                 panel += TOGETHER)
                tile(1, TOGETHER, REGISTERS, layer, &at, panel, y, y_stride);
        for (; panel < end; panel++) {
            int left = layer->out - panel * REGISTERS * LANES, registers = (left + LANES - 1) / LANES;
            if (registers > REGISTERS) registers = REGISTERS;
            if (at.rows == 6) PANEL(6);
            else if (at.rows == 3) PANEL(3);
            else PANEL(1);
        }
    }
}

#endif
