#include "nn/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the loop ------------------------------------------------------------------------------------------------ */

/* A permutation of the images, and the batch that is being worked on. */
struct batches {
    uint32_t *order; /* [count] */
    uint8_t *images; /* [batch][inputs] */
    uint8_t *labels; /* [batch] */
};

static bool batches_create(const struct train_data *data, int batch, struct batches *b, struct error *err) {
    *b = (struct batches){0};
    if (!(b->order = aligned_array(data->count, sizeof *b->order, err)) ||
        !(b->images = aligned_array((size_t)batch * data->inputs, 1, err)) ||
        !(b->labels = aligned_array((size_t)batch, 1, err)))
        return false;
    for (size_t i = 0; i < data->count; i++) b->order[i] = (uint32_t)i;
    return true;
}

static void batches_free(struct batches *b) {
    free(b->order);
    free(b->images);
    free(b->labels);
}

/* Copies the images that order [n] names to the front of the batch. */
static void gather(const struct train_data *data, const uint32_t *order, int n, struct batches *b) {
    for (int i = 0; i < n; i++) {
        memcpy(b->images + (size_t)i * data->inputs, data->images + order[i] * data->inputs, data->inputs);
        b->labels[i] = data->labels[order[i]];
    }
}

bool train_epochs(const struct train_data *data, const struct train_config *config, train_step_fn step_fn,
                  void *context, struct train_report *report, struct error *err) {
    struct batches b;
    size_t count = data->count, batch = (size_t)config->batch;
    long steps = (long)((count + batch - 1) / batch) * config->epochs, step = 0;
    struct rng rng = rng_seeded(config->seed);
    double started = seconds_now(), epoch_loss = 0;
    bool ok = batches_create(data, config->batch, &b, err);
    for (int epoch = 0; ok && epoch < config->epochs; epoch++) {
        rng_shuffle(&rng, b.order, count);
        epoch_loss = 0;
        for (size_t first = 0; ok && first < count; first += batch) {
            int n = (int)(count - first < batch ? count - first : batch); /* the last batch may be short */
            gather(data, b.order + first, n, &b);
            float rate = learning_rate(config->rate, config->warmup, step++, steps);
            epoch_loss += n * step_fn(context, b.images, b.labels, n, rate);
            if (!isfinite(epoch_loss))
                ok = fail(err,
                          "training diverged at step %ld of %ld: the loss is no longer a number (learning rate %g "
                          "is too high)",
                          step, steps, (double)config->rate);
            if (data->progress)
                data->progress(data->progress_context, (size_t)epoch * count + first + (size_t)n,
                               count * (size_t)config->epochs);
        }
    }
    *report = (struct train_report){epoch_loss / (double)count, seconds_now() - started, steps};
    batches_free(&b);
    return ok;
}

/* ---- fp32 ---------------------------------------------------------------------------------------------------- */

/* The network and everything that a step on it needs. */
struct trainer {
    struct mlp *mlp;
    float smoothing;
    struct mlp gradient;
    struct mlp_workspace ws;
    struct optimizer optimizer;
};

static double train_step(void *context, const uint8_t *images, const uint8_t *labels, int n, float rate) {
    struct trainer *t = context;
    mlp_load_images(t->mlp, images, n, &t->ws);
    mlp_forward(t->mlp, n, &t->ws);
    double loss = mlp_backward(t->mlp, labels, n, t->smoothing, &t->ws, &t->gradient);
    optimizer_step(&t->optimizer, rate, mlp_parameters(t->mlp), mlp_parameters(&t->gradient));
    return loss;
}

bool train_check_finite(const struct mlp *mlp, float rate, struct error *err) {
    return all_finite(mlp_parameters(mlp), mlp_padded_count(mlp)) ||
        fail(err,
             "training diverged in its last step: a parameter is no longer a number (learning rate %g is too high)",
             (double)rate);
}

bool mlp_train(struct mlp *mlp, const uint8_t *images, const uint8_t *labels, size_t count,
               const struct train_config *config, progress_fn progress, void *progress_context,
               struct train_report *report, struct error *err) {
    struct trainer t = {.mlp = mlp, .smoothing = config->smoothing};
    struct train_data data = {images, labels, count, (size_t)mlp->shape.widths[0], progress, progress_context};
    bool ok = mlp_create(&mlp->shape, &t.gradient, err) &&
        mlp_workspace_create(&mlp->shape, config->batch, true, &t.ws, err) &&
        optimizer_create(config->optimizer, mlp_padded_count(mlp), &t.optimizer, err);
    if (ok) optimizer_follow(&t.optimizer, mlp);
    ok = ok && train_epochs(&data, config, train_step, &t, report, err) && train_check_finite(mlp, config->rate, err);
    mlp_free(&t.gradient);
    mlp_workspace_free(&t.ws);
    optimizer_free(&t.optimizer);
    return ok;
}
