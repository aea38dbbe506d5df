/* The first layer in training, where most inputs are 0 (81% of MNIST's pixels): products with 0 are left out, and its
 * weights lie transposed, [in][out].
 *   y [i][j] = sum_k x[i][k] w[k][j]      over k in rising order, each step one fused multiply-add, from 0
 *   dw[k][j] = sum_i x[i][k] dy[i][j]     over i in rising order, likewise
 * Leaving out a product with 0 changes no bit of a sum of finite numbers, and every sum is one lane of a register: all
 * kernels, and any number of threads, give the bits of the reference. */
#ifndef NN_SPARSE_INPUT_H
#define NN_SPARSE_INPUT_H

#include <stdint.h>

#include "base/block.h"

/* What a kernel computes from: x [..][in], of which rows lie side by side. Up to 15 floats behind the last row of w and
 * of dy are read, and do not count. */
struct sparse_kernel {
    const char *name;
    int (*supported)(void); /* by this CPU */
    int block;              /* outputs that one call computes at most */
    /* y [SPARSE_ROWS][width] = x * w for rows x[0], x[1], x[2], which may be the same row, over the listed inputs */
    void (*forward)(const float *const *x, const uint16_t *list, int listed, const float *w, size_t w_stride, int width,
                    float *const *y);
    /* g [width] = sum of x[r] dy[r] over the bits r of lit [chunks], word by word; x [..] is a column of the inputs */
    void (*gradient)(const uint64_t *lit, size_t lit_stride, int chunks, const float *x, size_t x_stride,
                     const float *dy, size_t dy_stride, int width, float *g);
};

enum { SPARSE_ROWS = 3, SPARSE_CHUNK = 64, SPARSE_MAX_BLOCK = 128 };

/* All that were compiled in, the fastest first; ends with NULL. */
extern const struct sparse_kernel *const sparse_kernels[];

/* The fastest that this CPU runs; NULL: none, and BLAS is faster than the reference. */
const struct sparse_kernel *sparse_kernel_best(void);

/* What of a batch is not 0. */
struct sparse_input {
    const struct sparse_kernel *kernel;
    int in, out;
    uint64_t *lit;   /* [chunks][in] bit r: input k of row 64 * chunk + r is not 0 */
    uint8_t *seen;   /* [in] the input was not 0 in some batch so far */
    uint16_t *lists; /* [groups][in] inputs that are not 0 in all rows of a group */
    int *listed;     /* [groups] how many */
    struct block block;
};

/* For batches of up to capacity rows. Error: out of memory. */
bool sparse_input_create(int in, int out, int capacity, const struct sparse_kernel *kernel, struct sparse_input *s,
                         struct error *err);
void sparse_input_free(struct sparse_input *s);

/* y [count][out] = x [count][in] * w [in][out] */
void sparse_input_forward(struct sparse_input *s, const float *w, const float *x, int count, float *y);

/* Takes a part of dw: count elements from dw + first on. Called by several threads, for parts that do not overlap. */
typedef void (*sparse_gradient_fn)(void *context, size_t first, size_t count, const float *gradient);

/* dw = x^T * dy, after the forward pass of the same x, in parts, each given to use. Inputs that were never other than 0
 * are left out: their gradient is 0, and was so at every step before. */
void sparse_input_backward(const struct sparse_input *s, const float *x, const float *dy, int count,
                           sparse_gradient_fn use, void *context);

/* The specification: the sums above as they stand. */
void sparse_forward_ref(const float *w, const float *x, int count, int in, int out, float *y);
void sparse_gradient_ref(const float *x, const float *dy, int count, int in, int out, float *dw);

#endif
