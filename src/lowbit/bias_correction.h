/* Bias correction (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section
 * 4.2): rounding errors of weights whose inputs are not 0 on average shift what a neuron puts out. The shift is known
 * from the calibration images, so the bias takes it back; weights and bits stay as they are. */
#ifndef LOWBIT_BIAS_CORRECTION_H
#define LOWBIT_BIAS_CORRECTION_H

#include <stddef.h>

/* mean [in] of x [count][in] */
void mean_inputs(const float *x, size_t count, int in, double *mean);

/* bias[c] += sum_k w[c,k] E[x_k] - w_hat[c,k] E[x_hat_k] (eq. 17 of the paper, E[y] - E[y_hat], with the means taken
 * from images as in its appendix D): x is the input of the layer in the fp32 network, x_hat the same behind layers that
 * are quantized and corrected already. w, w_hat [out][in]; the means [in]; bias [out]. */
void correct_bias(const float *w, const float *w_hat, const double *mean_x, const double *mean_x_hat, int out, int in,
                  float *bias);

#endif
