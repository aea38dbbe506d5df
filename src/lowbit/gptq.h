/* Matrices of integer codes, round to nearest, and GPTQ (Frantar et al. 2022), which chooses codes with the layer's
 * inputs in view, so that the layer's OUTPUT changes least. It takes the second moment of the inputs,
 * gram = X^T X [in][in] over the calibration images, as AWQ (lowbit/awq.h) does. */
#ifndef LOWBIT_GPTQ_H
#define LOWBIT_GPTQ_H

#include "base/error.h"
#include "lowbit/formats.h"
#include "quant/convert.h"

/* Where the grid of a block comes from. */
enum grid_rule {
    GRID_MINMAX,    /* grid_of: covers every weight */
    GRID_MSE,       /* shrunk to the least squared error of the block's weights */
    GRID_MSE_SIGNED /* the same, with scales below 0 as well: eq. 8's codes reach a step further to one side, which may
                       be either. For formats; the integer engine takes scales above 0 only */
};

/* grid_of, or with GRID_MSE the best of its shrunken versions (scale times 1, 0.98, ... 0.3), as of either sign. */
struct qparams grid_by_rule(const float *w, int n, int bits, bool symmetric, enum grid_rule rule);

/* Codes and grids of a whole matrix: what an integer format packs. */
struct coded_matrix {
    int out, in, bits, block, blocks; /* block: weights; blocks: of a row, the last may be short */
    bool symmetric;
    int8_t *codes;         /* [out][in] */
    struct qparams *grids; /* [out][blocks] */
};

bool coded_matrix_create(int out, int in, int bits, bool symmetric, int block, struct coded_matrix *m,
                         struct error *err);
void coded_matrix_free(struct coded_matrix *m);
void coded_matrix_values(const struct coded_matrix *m, float *w);     /* w [out][in] = dequantize of each code */
void coded_matrix_pack(const struct coded_matrix *m, uint8_t *bytes); /* as codec_encode lays them out */

/* Round to nearest, each block on its own grid. w [out][in]. */
void rtn_codes(const float *w, enum grid_rule rule, struct coded_matrix *m);

/* Symmetric a [n][n], both triangles, becomes the upper triangular U with U^T U = a^-1, zeros below. False when a is
 * not positive definite; a is then not to be used. */
bool cholesky_of_inverse(int n, double *a);

struct gptq_config {
    bool act_order; /* columns by falling diagonal of the Hessian, on grids fixed beforehand; else left to right */
    enum grid_rule rule;
    double damping; /* share of the mean diagonal added to the diagonal: 0.01 */
};

/* GPTQ, algorithm 1: column by column, the rounding error of each is spread over the columns to come by
 *   w_j -= (w_i - q_i) / U_ii * U_ij,   U^T U = (H + damping)^-1,   H = 2 X^T X / n.
 * Inputs that were never active (gram_ii = 0) neither give nor take: round to nearest stays for them.
 * Errors: out of memory; H not positive definite even when damped. */
bool gptq_codes(const float *w, const double *gram, const struct gptq_config *config, struct coded_matrix *m,
                struct error *err);

/* As convert (quant/convert.h), from codes [layers], one block a row, symmetric, 2 to 8 bits. Only the biases of mlp
 * are used. */
bool convert_codes(const struct mlp *mlp, const struct coded_matrix *codes, const struct range *ranges,
                   bool symmetric_activations, struct qmlp *out, size_t *saturated, struct error *err);

/* sum over outputs and images of (W x - W_hat x)^2 = trace(D gram D^T), D = W - W_hat. w_hat NULL: of W x itself. */
double output_noise(const float *w, const float *w_hat, int out, int in, const double *gram);

/* The same divided by that of W x: the relative squared output error of a layer. */
double output_error(const float *w, const float *w_hat, int out, int in, const double *gram);

/* sums[r] = d gram d^T for d = w[r] - w_hat[r], each [n]; of gram the lines are stride apart. rows: FORM_ROWS at most.
 */
enum { FORM_ROWS = 10 };
void quadratic_forms(int rows, const float *const *w, const float *const *w_hat, int n, const double *gram,
                     size_t stride, double *sums);

#endif
