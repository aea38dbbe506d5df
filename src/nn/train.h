/* Training: epochs of shuffled mini-batches through forward, backward and an optimizer. */
#ifndef NN_TRAIN_H
#define NN_TRAIN_H

#include "base/progress.h"
#include "nn/mlp.h"
#include "nn/optimizer.h"

struct train_config {
    int epochs, batch;
    enum optimizer_kind optimizer;
    float rate;    /* peak learning rate */
    double warmup; /* share of all steps that the rate rises, 0 to 1 */
    float smoothing; /* of the labels, 0 for none */
    uint64_t seed; /* of the shuffling; initialisation takes its own generator */
};

struct train_report {
    double loss;    /* mean over the last epoch, nats */
    double seconds; /* of the epochs alone */
    long steps;
};

/* Trains in place on images [count][inputs] and labels [count]. Errors: out of memory; the loss is no longer a
 * number (the learning rate is too high). progress may be NULL; it counts images. */
bool mlp_train(struct mlp *mlp, const uint8_t *images, const uint8_t *labels, size_t count,
               const struct train_config *config, progress_fn progress, void *progress_context,
               struct train_report *report, struct error *err);

#endif
