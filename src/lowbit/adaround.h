/* AdaRound (Nagel et al. 2020, "Up or Down? Adaptive Rounding for Post-Training Quantization"): whether each weight is
 * rounded down or up is learned, on the calibration images alone, so that the layer's output after ReLU changes least.
 */
#ifndef LOWBIT_ADAROUND_H
#define LOWBIT_ADAROUND_H

#include "lowbit/gptq.h"

/* A layer and what it sees. */
struct adaround_layer {
    const float *weight, *bias; /* [out][in], [out]: of the fp32 network */
    const float *x, *x_hat;     /* [count][in] its inputs there, and behind layers that are quantized already */
    int count;
    bool relu; /* the error is taken behind it (eq. 25) */
};

struct adaround_config {
    enum grid_rule rule; /* of the grids, which stay fixed */
    int steps, batch;    /* 300 steps of 128 images; the paper takes 10,000 of 2,048 of a far larger layer */
    double rate;         /* Adam's: 0.05 */
    double lambda;       /* weight of the term that drives each choice to down or up: 10, in shares of the squared error
                            of an output with the nearer codes, over sqrt(in); the paper's 0.01 is for its layers */
    uint64_t seed;       /* of the images of each batch */
};

struct adaround_config adaround_defaults(enum grid_rule rule);

/* Codes floor(w / s) + z or one more, as h(V) decides, V [out][in] learned by Adam from h(V) = the fraction of w / s:
 *   h(V) = clip(1.2 sigmoid(V) - 0.1, 0, 1)                                                                 (eq. 23)
 *   loss = mean over images of |f(W x + b) - f(W_hat x_hat + b)|^2 + lambda sum (1 - |2 h - 1|^beta)      (eq. 24, 25)
 * beta falls from 20 to 2 in whole numbers (so that a power is a product), and the second term is left out of the first
 * fifth of the steps. The same seed gives the same codes, on any number of threads. m gives the format (create it);
 * codes and grids out. Error: out of memory. */
bool adaround_codes(const struct adaround_layer *layer, const struct adaround_config *config, struct coded_matrix *m,
                    struct error *err);

#endif
