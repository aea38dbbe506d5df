/* From a trained fp32 network to the integer one: calibrate, then convert. Floating point, and offline: nothing
 * here runs when the quantized network does. */
#ifndef QUANT_CONVERT_H
#define QUANT_CONVERT_H

#include "quant/observer.h"
#include "quant/qmlp.h"

enum { CALIBRATION_BATCH = 64 };

struct convert_config {
    bool per_channel;           /* weight scales: one per output row, else one per layer */
    bool symmetric_activations; /* eq. 4 shifted by 128, else eq. 3 */
    enum observer_kind observer;
    double outside;                    /* calibrate: what the percentile observer cuts off; 0: its own share */
    const struct qparams *activations; /* convert: [layers + 1] instead of ranges, to the bit; NULL: by ranges */
};

/* Shows images [count][inputs] to the fp32 network in batches of CALIBRATION_BATCH and has one observer watch
 * each activation: the pixels, each layer's output after ReLU, the logits. ranges [layers + 1].
 * ws must hold CALIBRATION_BATCH images. Error: out of memory. */
bool calibrate(const struct mlp *mlp, const uint8_t *images, size_t count, const struct convert_config *config,
               struct mlp_workspace *ws, struct range *ranges, struct error *err);

/* The codes of an activation over a range. They are unsigned either way: symmetric ones are those of eq. 4 shifted by
 * 128, so that one kernel serves both. */
struct qparams activation_qparams(struct range range, bool symmetric);

/* Quantizes weights (eq. 4), activations (eq. 3 or 4 over ranges), biases (eq. 5), and finishes. Where a
 * bias would be more than QLINEAR_MAX_BIAS steps, its weight scale is raised until it fits. *saturated counts those
 * that no float can be raised for and that were cut: their channel is wrong, say so. Errors: a weight or bias that is
 * not finite; out of memory; what qmlp_finish refuses. */
bool convert(const struct mlp *mlp, const struct range *ranges, const struct convert_config *config, struct qmlp *out,
             size_t *saturated, struct error *err);

/* The two halves of convert around the weights, for codes that another method chose: start checks mlp, makes out and
 * sets its activations; complete sets the biases, whose step follows from the scales of both, raises scales where these
 * do not fit, and finishes. After an error out is freed. */
bool convert_start(const struct mlp *mlp, const struct range *ranges, const struct convert_config *config,
                   struct qmlp *out, struct error *err);
bool convert_complete(const struct mlp *mlp, struct qmlp *out, size_t *saturated, struct error *err);

#endif
