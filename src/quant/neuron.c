#include "quant/neuron.h"

#include <math.h>

struct neuron neuron_of_layer(const struct qmlp *q, int l, int c, const uint8_t *x) {
    const struct qlinear *layer = &q->layer[l];
    const int8_t *row = layer->weight + (size_t)c * (size_t)layer->in;
    struct neuron n = {.s_x = (double)q->activation[l].scale,
                       .s_w = (double)qmlp_weight_scale(q, l, c),
                       .s_y = (double)q->activation[l + 1].scale,
                       .z_x = layer->x_zero_point,
                       .z_y = layer->y_zero_point,
                       .y_min = layer->y_min,
                       .y_max = layer->y_max,
                       .bias = layer->bias[c],
                       .by = layer->multiplier[c]};
    for (int k = 0; k < layer->in; k++) {
        n.sum += neuron_term(layer, x, c, k);
        n.raw_sum += x[k] * row[k];
        n.weight_sum += row[k];
    }
    n.acc = n.sum + n.bias;
    n.folded = n.bias - n.z_x * n.weight_sum;
    n.product = (int64_t)n.acc * n.by.m;
    n.half = (int64_t)1 << (n.by.right - 1);
    n.rounded = (n.product + n.half) >> n.by.right;
    n.code = n.rounded + n.z_y;
    n.code = n.code < n.y_min ? n.y_min : n.code > n.y_max ? n.y_max : n.code;
    n.exact = ldexp((double)n.product, -n.by.right);
    n.y = (double)dequantize((int32_t)n.code, q->activation[l + 1]);
    return n;
}
