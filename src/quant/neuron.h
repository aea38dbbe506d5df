/* Eq. 5 and 6 of one neuron spelled out, with every number on the way: what `mnistq trace` and the page show. */
#ifndef QUANT_NEURON_H
#define QUANT_NEURON_H

#include "quant/qmlp.h"

struct neuron {
    double s_x, s_w, s_y; /* scales of the inputs, of the neuron's weights, of its output */
    int32_t z_x, z_y, y_min, y_max;
    int32_t sum, bias, acc;               /* eq. 5: sum of (x_q - z_x) w_q, b_q, both together */
    int32_t weight_sum, folded, raw_sum;  /* sum w_q; b_q - z_x sum w_q; sum x_q w_q: folded + raw_sum is acc */
    struct multiplier by;                 /* M = s_x s_w / s_y */
    int64_t product, half, rounded, code; /* eq. 6: acc m; 2^(right - 1); their sum >> right; z_y + that, clamped */
    double exact, y;                      /* acc M before rounding; what code stands for */
};

/* What input k adds to neuron c of a layer: one term of eq. 5. x [in]: the layer's input codes. */
static inline int32_t neuron_term(const struct qlinear *layer, const uint8_t *x, int c, int k) {
    return (x[k] - layer->x_zero_point) * layer->weight[(size_t)c * (size_t)layer->in + (size_t)k];
}

/* Neuron c of layer l on the layer's input codes x [in]. */
struct neuron neuron_of_layer(const struct qmlp *q, int l, int c, const uint8_t *x);

#endif
