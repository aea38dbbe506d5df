/* Training: epochs of shuffled mini-batches through forward, backward and an optimizer. */
#ifndef NN_TRAIN_H
#define NN_TRAIN_H

#include "base/progress.h"
#include "nn/mlp.h"
#include "nn/optimizer.h"

struct train_config {
    int epochs, batch;
    enum optimizer_kind optimizer;
    float rate;      /* peak learning rate */
    double warmup;   /* share of all steps that the rate rises, 0 to 1 */
    float smoothing; /* of the labels, 0 for none */
    uint64_t seed;   /* of the shuffling; initialisation takes its own generator */
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

/* The images to learn from, and who wants to know how far it is. */
struct train_data {
    const uint8_t *images, *labels; /* [count][inputs], [count] */
    size_t count, inputs;
    progress_fn progress; /* may be NULL */
    void *progress_context;
};

/* One step of any kind of training on n images; returns the mean loss before it. */
typedef double (*train_step_fn)(void *context, const uint8_t *images, const uint8_t *labels, int n, float rate);

/* The loop that all training shares: shuffles, gathers batches, sets the rate, watches the loss. Errors as
 * mlp_train. */
bool train_epochs(const struct train_data *data, const struct train_config *config, train_step_fn step, void *context,
                  struct train_report *report, struct error *err);

/* A loss is taken before its step, so the last step's damage shows only in the parameters. */
bool train_check_finite(const struct mlp *mlp, float rate, struct error *err);

#endif
