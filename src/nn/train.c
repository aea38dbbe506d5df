#include "nn/train.h"

#include <math.h>
#include <string.h>

#include "base/finite.h"
#include "base/vectorise.h"
#include "nn/gemm.h"
#include "nn/sparse_input.h"

/* ---- the optimizers ---------------------------------------------------------------------------------------------- */

bool optimizer_create(enum optimizer_kind kind, size_t count, struct optimizer *out, struct error *err) {
    *out = (struct optimizer){
        .kind = kind, .beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f, .momentum = 0.9f, .count = count};
    out->slice_count = 1;
    out->slices[0] = (struct slice){0, count};
    do {
        out->first = block_take(&out->block, count, sizeof(float));
        out->second = kind == OPTIMIZER_ADAM ? block_take(&out->block, count, sizeof(float)) : NULL;
    } while (block_again(&out->block, err));
    return out->block.memory != NULL;
}

/* Part by part through all layers, so that a static schedule gives the first half of every layer's rows to the first
 * of two threads, as the tiles of gemm.c do. A bias goes with its layer's last part. */
void optimizer_follow(struct optimizer *o, const struct mlp *mlp) {
    enum { PARTS = 16 };
    const float *start = mlp_parameters(mlp);
    o->slice_count = 0;
    for (int part = 0; part < PARTS; part++)
        for (int l = 0; l < mlp->shape.layers; l++) {
            const struct dense *d = &mlp->layer[l];
            size_t rows = (size_t)d->out, row = (size_t)d->in, layer = (size_t)(d->weight - start);
            size_t first = layer + rows * (size_t)part / PARTS * row,
                   end = layer + rows * ((size_t)part + 1) / PARTS * row;
            if (part == PARTS - 1) /* and the padding up to the next layer */
                end = l + 1 < mlp->shape.layers ? (size_t)(mlp->layer[l + 1].weight - start) : o->count;
            if (end > first) o->slices[o->slice_count++] = (struct slice){first, end - first};
        }
}

void optimizer_leave(struct optimizer *o, size_t count) {
    int kept = 0;
    for (int i = 0; i < o->slice_count; i++) {
        size_t end = o->slices[i].first + o->slices[i].count, first = o->slices[i].first;
        first = first > count ? first : count;
        if (end > first) o->slices[kept++] = (struct slice){first, end - first};
    }
    o->slice_count = kept;
}

void optimizer_free(struct optimizer *optimizer) { block_free(&optimizer->block); }

/* Pixels that are rarely lit leave gradients and means to shrink into denormal numbers, at which a CPU stumbles (0.2 s
 * of an epoch of 1.05 s). Nothing this small can move a weight: epsilon is 1e-8. */
static inline float without_dust(float x) { return x < 1e-16f && x > -1e-16f ? 0 : x; }

VECTORISED
static void adam_update(const struct optimizer *o, size_t count, const float *restrict g, float *restrict m,
                        float *restrict v, float *restrict w) {
    const struct optimizer a = *o; /* no store to m, v, w may change it */
    for (size_t i = 0; i < count; i++) {
        float gradient = without_dust(g[i]);
        m[i] = without_dust(a.beta1 * m[i] + (1 - a.beta1) * gradient);
        v[i] = a.beta2 * v[i] + (1 - a.beta2) * gradient * gradient;
        w[i] -= a.step_size * m[i] / (sqrtf(v[i]) * a.v_scale + a.epsilon);
    }
}

void optimizer_update(struct optimizer *o, size_t first, size_t count, float *w, const float *g) {
    adam_update(o, count, g, o->first + first, o->second + first, w + first);
}

static void adam_step(struct optimizer *o, float rate, float *restrict w, const float *restrict g) {
    double t = (double)o->step;
    o->step_size = (float)(rate / (1 - pow((double)o->beta1, t)));
    o->v_scale = (float)(1 / sqrt(1 - pow((double)o->beta2, t)));
#pragma omp parallel for schedule(static) num_threads(gemm_threads(0)) if (o->slice_count > 1)
    for (int i = 0; i < o->slice_count; i++) {
        size_t at = o->slices[i].first;
        optimizer_update(o, at, o->slices[i].count, w, g + at);
    }
}

static void sgd_step(struct optimizer *o, float rate, float *restrict w, const float *restrict g) {
    float *restrict u = o->first, momentum = o->momentum;
    for (size_t i = 0; i < o->count; i++) {
        u[i] = momentum * u[i] + g[i];
        w[i] -= rate * u[i];
    }
}

void optimizer_step(struct optimizer *o, float rate, float *parameters, const float *gradient) {
    o->step++;
    (o->kind == OPTIMIZER_ADAM ? adam_step : sgd_step)(o, rate, parameters, gradient);
}

float learning_rate(float peak, double warmup, long step, long steps) {
    double rising = warmup * (double)steps, at = (double)step + 1;
    if (at < rising) return (float)(peak * at / rising);
    return (float)(peak * ((double)steps + 1 - at) / ((double)steps + 1 - rising));
}

/* ---- the loop ------------------------------------------------------------------------------------------------ */

/* A permutation of the images, and the batch that is being worked on. */
struct batches {
    uint32_t *order; /* [count] */
    uint8_t *images; /* [batch][inputs] */
    uint8_t *labels; /* [batch] */
    struct block block;
};

static bool batches_create(const struct train_data *data, int batch, struct batches *b, struct error *err) {
    *b = (struct batches){0};
    do {
        b->order = block_take(&b->block, data->count, sizeof *b->order);
        b->images = block_take(&b->block, (size_t)batch, data->inputs);
        b->labels = block_take(&b->block, (size_t)batch, 1);
    } while (block_again(&b->block, err));
    for (size_t i = 0; b->order && i < data->count; i++) b->order[i] = (uint32_t)i;
    return b->block.memory != NULL;
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
            if (!is_finite(epoch_loss))
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
    block_free(&b.block);
    return ok;
}

/* The median byte, and how many of all there are it. */
static int common_byte(const struct train_data *data, double *share) {
    size_t seen[256] = {0}, n = data->count < 4096 ? data->count : 4096, inputs = data->inputs, below = 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *x = data->images + i * data->count / n * inputs; /* a set may be sorted by class */
        for (size_t k = 0; k < inputs; k++) seen[x[k]]++;
    }
    int median = 0;
    while (median < 255 && 2 * (below += seen[median]) < n * inputs) median++;
    *share = (double)seen[median] / (double)(n * inputs);
    return median;
}

float train_origin(const struct train_data *data) {
    double share;
    return (float)common_byte(data, &share) / 255.0f;
}

/* ---- fp32 ---------------------------------------------------------------------------------------------------- */

#define SPARSE_LEAST 0.5 /* of the inputs: where few are 0, BLAS is faster */

/* The network and everything that a step on it needs. */
struct trainer {
    struct mlp *mlp;
    float smoothing;
    struct mlp gradient;
    struct mlp_workspace ws;
    struct optimizer optimizer;
    struct sparse_input sparse;
};

/* Layer 1 has its weights at the front of all parameters. Those of the next inputs lie too far apart for the CPU to
 * fetch them by itself, and waiting for them took as long as the arithmetic. */
static void update_first_weights(void *context, size_t first, size_t count, const float *gradient) {
    struct trainer *t = context;
    size_t ahead = first + 2 * (size_t)t->mlp->layer[0].out;
    for (size_t i = ahead; i < ahead + count && i < t->optimizer.count; i += 16) { /* a cache line */
        __builtin_prefetch(mlp_parameters(t->mlp) + i, 1);
        __builtin_prefetch(t->optimizer.first + i, 1);
        __builtin_prefetch(t->optimizer.second + i, 1);
    }
    optimizer_update(&t->optimizer, first, count, mlp_parameters(t->mlp), gradient);
}

static double train_step(void *context, const uint8_t *images, const uint8_t *labels, int n, float rate) {
    struct trainer *t = context;
    mlp_load_images(t->mlp, images, n, &t->ws);
    mlp_forward(t->mlp, n, &t->ws);
    double loss = mlp_backward(t->mlp, labels, n, t->smoothing, &t->ws, &t->gradient);
    optimizer_step(&t->optimizer, rate, mlp_parameters(t->mlp), mlp_parameters(&t->gradient));
    if (t->ws.sparse)
        sparse_input_backward(t->ws.sparse, t->ws.activation[0], t->ws.gradient[1], n, update_first_weights, t);
    return loss;
}

/* Turns the weights of layer 1 from [rows][columns] into [columns][rows], by way of those of the gradient. */
static void turn_first_weights(struct trainer *t, int rows, int columns) {
    float *w = t->mlp->layer[0].weight, *turned = t->gradient.layer[0].weight;
    for (int c = 0; c < columns; c++)
        for (int r = 0; r < rows; r++)
            turned[(size_t)c * (size_t)rows + (size_t)r] = w[(size_t)r * (size_t)columns + (size_t)c];
    memcpy(w, turned, (size_t)rows * (size_t)columns * sizeof *w);
}

/* Whether the first layer is to be sparse: the last one of a network is not, for want of outputs. */
static bool sparse_pays(const struct trainer *t, const struct train_data *data) {
    double share;
    common_byte(data, &share);
    return t->optimizer.kind == OPTIMIZER_ADAM && t->mlp->shape.layers > 1 && share >= SPARSE_LEAST &&
        sparse_kernel_best();
}

static bool begin_sparse(struct trainer *t, int batch, struct error *err) {
    const struct dense *d = &t->mlp->layer[0];
    if (!sparse_input_create(d->in, d->out, batch, sparse_kernel_best(), &t->sparse, err)) return false;
    t->ws.sparse = &t->sparse;
    optimizer_leave(&t->optimizer, (size_t)d->in * (size_t)d->out);
    turn_first_weights(t, d->out, d->in);
    return true;
}

bool train_check_finite(const struct mlp *mlp, float rate, struct error *err) {
    return all_finite(mlp_parameters(mlp), mlp_padded_count(mlp)) ||
        fail(err,
             "training diverged in its last step: a parameter is no longer a number (learning rate %g is too high)",
             (double)rate);
}

bool mlp_train(struct mlp *mlp, const struct train_data *data, const struct train_config *config,
               struct train_report *report, struct error *err) {
    struct trainer t = {.mlp = mlp, .smoothing = config->smoothing};
    bool ok = mlp_create(&mlp->shape, &t.gradient, err) &&
        mlp_workspace_create(&mlp->shape, config->batch, true, &t.ws, err) &&
        optimizer_create(config->optimizer, mlp_padded_count(mlp), &t.optimizer, err);
    if (ok) {
        optimizer_follow(&t.optimizer, mlp);
        t.ws.origin = train_origin(data);
        mlp_shift_inputs(mlp, -t.ws.origin);
    }
    ok = ok && (!sparse_pays(&t, data) || begin_sparse(&t, config->batch, err)) &&
        train_epochs(data, config, train_step, &t, report, err) && train_check_finite(mlp, config->rate, err);
    if (t.ws.sparse) turn_first_weights(&t, mlp->layer[0].in, mlp->layer[0].out);
    mlp_shift_inputs(mlp, t.ws.origin);
    sparse_input_free(&t.sparse);
    mlp_free(&t.gradient);
    mlp_workspace_free(&t.ws);
    optimizer_free(&t.optimizer);
    return ok;
}
