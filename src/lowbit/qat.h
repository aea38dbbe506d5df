/* Quantization-aware training (Jacob et al. 2018; Krishnamoorthi 2018): training goes on with weights and
 * activations fake-quantized in the forward pass; the backward pass looks through the rounding and the clamping
 * (straight-through estimator, Bengio et al. 2013): it is the derivative of the same network with what quantization
 * added to each weight and activation held fixed. Weights: symmetric, per channel, 2 to 8 bits. Activations: 8 bits,
 * asymmetric, their ranges followed by a moving average. */
#ifndef LOWBIT_QAT_H
#define LOWBIT_QAT_H

#include "lowbit/lsq.h"
#include "nn/train.h"
#include "quant/convert.h"

struct qat_config {
    int weight_bits;           /* 2 to 8 */
    struct train_config train; /* epochs, rate, ...: one epoch from the trained fp32 network */
    struct lsq *steps; /* of the same network, learned on (lowbit/lsq.h; lsq_convert then); NULL: searched for */
};

/* Trains mlp, the fp32 network that keeps the latent weights, in place. ranges [layers + 1] holds the calibrated
 * ranges of the activations on entry and the averaged ones on return; qat_convert makes the integer network.
 * Errors: out of memory; the loss is no longer a number. */
bool qat_train(struct mlp *mlp, const struct train_data *data, const struct qat_config *config, struct range *ranges,
               struct train_report *report, struct error *err);

/* The codes of the latent weights as the last forward pass would see them, and the integer network made of them
 * (convert_codes). Error: out of memory, or what convert_codes refuses. */
bool qat_convert(const struct mlp *mlp, int weight_bits, const struct range *ranges, struct qmlp *out,
                 size_t *saturated, struct error *err);

/* The forward pass of training on count images in ws, weights and activations fake-quantized: ws->activation then
 * holds values on their grids. ranges are used as they are. Error: out of memory. */
bool qat_forward(const struct mlp *mlp, int weight_bits, const struct range *ranges, const uint8_t *images, int count,
                 struct mlp_workspace *ws, struct error *err);

#endif
