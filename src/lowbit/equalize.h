/* Networks that compute the same with other weights: neuron k puts out x_k / s_k, and what reads it multiplies by s_k.
 * ReLU lets a positive factor through, so nothing is computed that was not before, but ranges are other ones: two
 * ways to choose s so that int8 fits. */
#ifndef LOWBIT_EQUALIZE_H
#define LOWBIT_EQUALIZE_H

#include "nn/mlp.h"

/* Cross-layer equalization (Nagel et al. 2019, section 4.1): s_k = sqrt(r1_k / r2_k), r1_k = max |w| of row k of a
 * layer and r2_k of column k of the next (eq. 11), which makes both sqrt(r1_k r2_k). Pair after pair, from the first
 * layer on, again and again until no s is further from 1 than 0.001, 100 times at most. It looks at no data. */
void equalize(struct mlp *mlp);

/* SmoothQuant (Xiao et al. 2022, eq. 4): s_k = max |x_k|^alpha / max |w_k|^(1 - alpha) for the inputs x of all layers
 * but the first, over images [count][inputs], w_k being column k of the layer: range moves from activations that are
 * hard to quantize to weights. alpha 0.5 shares it evenly. Inputs never active stay. Error: out of memory. */
bool smooth_quant(struct mlp *mlp, const uint8_t *images, int count, double alpha, struct error *err);

#endif
