/* Training: epochs of shuffled mini-batches through forward, backward and an optimizer, a first-order one over one
 * flat array of parameters. */
#ifndef NN_TRAIN_H
#define NN_TRAIN_H

#include "base/progress.h"
#include "nn/mlp.h"

enum optimizer_kind { OPTIMIZER_ADAM, OPTIMIZER_SGD };

enum { OPTIMIZER_MAX_SLICES = 16 * MLP_MAX_LAYERS };

/* A run of parameters that one thread updates. */
struct slice {
    size_t first, count;
};

struct optimizer {
    enum optimizer_kind kind;
    float beta1, beta2, epsilon; /* Adam: 0.9, 0.999, 1e-8 */
    float momentum;              /* SGD: 0.9 */
    size_t count;                /* parameters */
    float *first;                /* [count] Adam: mean of gradients; SGD: velocity */
    float *second;               /* [count] Adam: mean of squared gradients */
    long step;
    float step_size, v_scale; /* Adam, of this step: rate / (1 - beta1^t), 1 / sqrt(1 - beta2^t) */
    int slice_count;
    struct slice slices[OPTIMIZER_MAX_SLICES]; /* together all parameters; neighbours go to one thread */
    struct block block;
};

bool optimizer_create(enum optimizer_kind kind, size_t count, struct optimizer *out, struct error *err);
/* Lets each thread update those rows of a network whose products gemm gives it: they are in its cache. Without it, or
 * with other slices, the parameters come out the same: each is updated on its own. */
void optimizer_follow(struct optimizer *optimizer, const struct mlp *mlp);
void optimizer_free(struct optimizer *optimizer);

/* Leaves the first count parameters out of optimizer_step: the caller gives them to optimizer_update. Adam alone. */
void optimizer_leave(struct optimizer *optimizer, size_t count);

/* One step down the gradient [count], in place.
 * Adam (Kingma and Ba 2015, algorithm 1, in the efficient order at the end of section 2):
 *   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
 *   w -= rate * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
 * SGD with momentum (Polyak 1964, as PyTorch writes it): u = momentum u + g;  w -= rate * u. */
void optimizer_step(struct optimizer *optimizer, float rate, float *parameters, const float *gradient);

/* The rest of that step, for parameters first to first + count, which optimizer_step left out; gradient [count] is
 * theirs. Threads may call it for parameters of their own. */
void optimizer_update(struct optimizer *optimizer, size_t first, size_t count, float *parameters,
                      const float *gradient);

/* The learning rate of step 0..steps-1: linear warm-up over the first warmup share of the steps towards peak, then
 * linear decay that would reach zero one step after the last. Without warm-up the first step is a step down already:
 * peak * steps / (steps + 1). */
float learning_rate(float peak, double warmup, long step, long steps);

/* ---- training ---------------------------------------------------------------------------------------------------- */

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

/* The images to learn from, and who wants to know how far it is. */
struct train_data {
    const uint8_t *images, *labels; /* [count][inputs], [count] */
    size_t count, inputs;
    progress_fn progress; /* may be NULL; counts images */
    void *progress_context;
};

/* What training takes off every x = byte / 255, so that most inputs are 0 whatever the background of the pictures is:
 * the median byte of 4096 images, evenly spaced (all, where there are fewer), / 255. For MNIST that is 0, for its
 * negative 1. Inputs of one sign and far from 0 move all weights of a neuron the same way at each step (LeCun et al.
 * 1998, "Efficient BackProp", section 4.3); with x - origin, ink alone moves them. */
float train_origin(const struct train_data *data);

/* Trains in place on inputs x - train_origin, with a sparse first layer (nn/sparse_input.h) where Adam trains and at
 * least SPARSE_LEAST of the inputs are 0; else through BLAS alone. The network takes and leaves plain x: the first
 * layer's bias is shifted before and after (mlp_shift_inputs). A new network whose biases are to be 0 for the inputs
 * that it learns from is shifted by train_origin by its maker. Errors: out of memory; the loss is no longer a number
 * (the learning rate is too high). */
bool mlp_train(struct mlp *mlp, const struct train_data *data, const struct train_config *config,
               struct train_report *report, struct error *err);

/* One step of any kind of training on n images; returns the mean loss before it. */
typedef double (*train_step_fn)(void *context, const uint8_t *images, const uint8_t *labels, int n, float rate);

/* The loop that all training shares: shuffles, gathers batches, sets the rate, watches the loss. Errors as
 * mlp_train. */
bool train_epochs(const struct train_data *data, const struct train_config *config, train_step_fn step, void *context,
                  struct train_report *report, struct error *err);

/* A loss is taken before its step, so the last step's damage shows only in the parameters. */
bool train_check_finite(const struct mlp *mlp, float rate, struct error *err);

#endif
