/* One linear layer in integer arithmetic, equations 5 and 6 of the design:
 *   eq. 5  acc[c] = sum_k (x_q[k] - z_x) * w_q[c][k] + b_q[c]                      int32
 *   eq. 6  y_q[c] = clamp(z_y + round(acc[c] * M[c]))                              uint8
 * ReLU costs nothing: it is the lower clamp at z_y. No floating point in this file or below it. */
#ifndef QUANT_QLINEAR_H
#define QUANT_QLINEAR_H

#include <stddef.h>
#include <stdint.h>

#include "base/block.h"
#include "quant/requant.h"

/* |b_q| is at most this. With in <= 16384, |sum| <= 16384 * 255 * 128 < 2^30, so no accumulator can overflow.
 */
#define QLINEAR_MAX_BIAS ((int32_t)1 << 30)

struct qlinear {
    int in, out;
    int32_t x_zero_point;
    int32_t y_zero_point, y_min, y_max; /* y_min is y_zero_point where a ReLU follows */
    int8_t *weight;                     /* [out][in] w_q */
    int32_t *bias;                      /* [out] b_q */
    int32_t *folded_bias;               /* [out] b_q - z_x * sum_k w_q: what the fast paths start from */
    struct multiplier *multiplier;      /* [out] M */
    void *packed;                       /* weight once more, in the layout of a kernel; NULL before packing */
    int four_bit;                       /* the codes of weight are within [-8, 7]: a kernel may pack two to a byte */
};

/* The specification: eq. 5 and 6 as they stand. x [rows][in], y [rows][out], both dense. */
void qlinear_ref(const struct qlinear *layer, const uint8_t *x, size_t rows, uint8_t *y);

/* The sum of eq. 5 alone, sum_k (x[k] - x_zero_point) w[k] over n codes, exact: n <= 16384, the zero point a code of x.
 */
int32_t dot_codes(const uint8_t *restrict x, int32_t x_zero_point, const int8_t *restrict w, int n);

/* folded_bias from bias, weight and x_zero_point. */
void qlinear_fold_bias(struct qlinear *layer);

/* A fast path equal to qlinear_ref bit for bit. Rows of x and y begin stride bytes apart, a multiple of
 * QLINEAR_STRIDE and at least in (out): a kernel may read and write the padding, whose content is of no
 * account. Where in is a multiple of its reads, rows of x may also lie back to back, with nothing behind the
 * last. scratch is the caller's: QLINEAR_SCRATCH * qlinear_stride(in) bytes of any content, aligned to 64. */
enum { QLINEAR_STRIDE = 64, QLINEAR_SCRATCH = 128 };

struct qkernel {
    const char *name, *what; /* for --kernel and for the tables */
    int (*supported)(void);  /* by this CPU */
    void (*run)(const struct qlinear *layer, const uint8_t *x, size_t x_stride, size_t rows, uint8_t *y,
                size_t y_stride, void *scratch);
    size_t (*layer_bytes)(const struct qlinear *layer);
    void (*pack_layer)(const struct qlinear *layer); /* all of the layer, its biases and multipliers too, into
                                                        layer->packed: layer_bytes long, zeroed, aligned to 64 */
    int reads;                                       /* run reads a row of x no further than in rounded up to this */
    /* Of the products rows * in * out, those that run leaves out, since their inputs are 0. NULL: none ever. */
    size_t (*left_out)(const struct qlinear *layer, const uint8_t *x, size_t x_stride, size_t rows, void *scratch);
    /* sum_k x[k] w[k] into acc [rows][out], of a layer whose folded biases are 0. NULL: not offered. Up to three rows
     * behind the last are read and, in acc, written. */
    void (*sums)(const struct qlinear *layer, const uint8_t *x, size_t x_stride, size_t rows, int32_t *acc,
                 void *scratch);
    int rows; /* that suit a run, a multiple of 12 of at most QMLP_MOST_ROWS; 0: QMLP_BLOCK */
};

/* All kernels that were compiled in, the fastest first; ends with NULL. */
extern const struct qkernel *const qkernels[];

/* The fastest one that this CPU runs, or the one that was forced. */
const struct qkernel *qkernel_best(void);

/* From now on qkernel_best gives this one, which the CPU must support; NULL: the fastest again. Not for use while
 * another thread makes networks. */
void qkernel_force(const struct qkernel *kernel);

/* The one of that name, whether this CPU runs it or not; NULL where none has it. */
const struct qkernel *qkernel_find(const char *name);

static inline size_t qlinear_stride(int width) {
    return ((size_t)width + QLINEAR_STRIDE - 1) / QLINEAR_STRIDE * QLINEAR_STRIDE;
}

#endif
