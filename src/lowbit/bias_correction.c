#include "lowbit/bias_correction.h"

void mean_inputs(const float *x, size_t count, int in, double *mean) {
    for (int k = 0; k < in; k++) mean[k] = 0;
    for (size_t i = 0; i < count; i++)
        for (int k = 0; k < in; k++) mean[k] += (double)x[i * (size_t)in + (size_t)k];
    for (int k = 0; k < in; k++) mean[k] /= (double)count;
}

void correct_bias(const float *w, const float *w_hat, const double *mean_x, const double *mean_x_hat, int out, int in,
                  float *bias) {
    for (int c = 0; c < out; c++, w += in, w_hat += in) {
        double shift = 0;
        for (int k = 0; k < in; k++) shift += (double)w[k] * mean_x[k] - (double)w_hat[k] * mean_x_hat[k];
        bias[c] = (float)((double)bias[c] + shift);
    }
}
