#include "nn/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Everything that a run needs besides the network, so that one function frees it all. */
struct run {
    struct mlp gradient;
    struct mlp_workspace ws;
    struct optimizer optimizer;
    uint32_t *order;       /* [count] a permutation of the images */
    uint8_t *batch_images; /* [batch][inputs] */
    uint8_t *batch_labels; /* [batch] */
};

static void run_free(struct run *run) {
    mlp_free(&run->gradient);
    mlp_workspace_free(&run->ws);
    optimizer_free(&run->optimizer);
    free(run->order);
    free(run->batch_images);
    free(run->batch_labels);
}

static bool run_create(const struct mlp *mlp, size_t count, const struct train_config *config, struct run *run,
                       struct error *err) {
    size_t inputs = (size_t)mlp->shape.widths[0], batch = (size_t)config->batch;
    *run = (struct run){0};
    return mlp_create(&mlp->shape, &run->gradient, err) &&
           mlp_workspace_create(&mlp->shape, config->batch, true, &run->ws, err) &&
           optimizer_create(config->optimizer, mlp_padded_count(mlp), &run->optimizer, err) &&
           (run->order = aligned_array(count, sizeof *run->order, err)) &&
           (run->batch_images = aligned_array(batch * inputs, 1, err)) &&
           (run->batch_labels = aligned_array(batch, 1, err));
}

/* Copies the images that order [n] names to the front of the run's batch. */
static void gather(const uint8_t *images, const uint8_t *labels, const uint32_t *order, int n, size_t inputs,
                   struct run *run) {
    for (int i = 0; i < n; i++) {
        memcpy(run->batch_images + (size_t)i * inputs, images + order[i] * inputs, inputs);
        run->batch_labels[i] = labels[order[i]];
    }
}

/* One step on n images; returns the mean loss before it. */
static double train_batch(struct mlp *mlp, int n, float rate, float smoothing, struct run *run) {
    mlp_load_images(mlp, run->batch_images, n, &run->ws);
    mlp_forward(mlp, n, &run->ws);
    double loss = mlp_backward(mlp, run->batch_labels, n, smoothing, &run->ws, &run->gradient);
    optimizer_step(&run->optimizer, rate, mlp_parameters(mlp), mlp_parameters(&run->gradient));
    return loss;
}

bool mlp_train(struct mlp *mlp, const uint8_t *images, const uint8_t *labels, size_t count,
               const struct train_config *config, progress_fn progress, void *progress_context,
               struct train_report *report, struct error *err) {
    struct run run;
    if (!run_create(mlp, count, config, &run, err)) {
        run_free(&run);
        return false;
    }
    for (size_t i = 0; i < count; i++) run.order[i] = (uint32_t)i;
    size_t inputs = (size_t)mlp->shape.widths[0], batch = (size_t)config->batch;
    long steps = (long)((count + batch - 1) / batch) * config->epochs, step = 0;
    struct rng rng = rng_seeded(config->seed);
    double started = seconds_now(), epoch_loss = 0;
    for (int epoch = 0; epoch < config->epochs; epoch++) {
        rng_shuffle(&rng, run.order, count);
        epoch_loss = 0;
        for (size_t first = 0; first < count; first += batch) {
            int n = (int)(count - first < batch ? count - first : batch); /* the last batch may be short */
            gather(images, labels, run.order + first, n, inputs, &run);
            float rate = learning_rate(config->rate, config->warmup, step++, steps);
            epoch_loss += n * train_batch(mlp, n, rate, config->smoothing, &run);
            if (!isfinite(epoch_loss)) {
                run_free(&run);
                return fail(err, "training diverged at step %ld of %ld: the loss is no longer a number "
                            "(learning rate %g is too high)", step, steps, (double)config->rate);
            }
            if (progress) progress(progress_context, (size_t)epoch * count + first + (size_t)n,
                                   count * (size_t)config->epochs);
        }
    }
    *report = (struct train_report){epoch_loss / (double)count, seconds_now() - started, steps};
    run_free(&run);
    return true;
}
