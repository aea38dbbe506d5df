#include "nn/optimizer.h"

#include <math.h>

#include "base/vectorise.h"
#include "nn/gemm.h"

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

void optimizer_free(struct optimizer *optimizer) { block_free(&optimizer->block); }

/* Constants of one step of Adam. */
struct adam {
    float beta1, beta2, step_size, v_scale, epsilon;
};

/* Pixels that are rarely lit leave gradients and means to shrink into denormal numbers, at which a CPU stumbles (0.2 s
 * of an epoch of 1.05 s). Nothing this small can move a weight: epsilon is 1e-8. */
static inline float without_dust(float x) { return x < 1e-16f && x > -1e-16f ? 0 : x; }

VECTORISED
static void adam_update(struct adam a, size_t count, const float *restrict g, float *restrict m, float *restrict v,
                        float *restrict w) {
    for (size_t i = 0; i < count; i++) {
        float gradient = without_dust(g[i]);
        m[i] = without_dust(a.beta1 * m[i] + (1 - a.beta1) * gradient);
        v[i] = a.beta2 * v[i] + (1 - a.beta2) * gradient * gradient;
        w[i] -= a.step_size * m[i] / (sqrtf(v[i]) * a.v_scale + a.epsilon);
    }
}

static void adam_step(struct optimizer *o, float rate, float *restrict w, const float *restrict g) {
    double t = (double)o->step;
    struct adam a = {o->beta1, o->beta2, (float)(rate / (1 - pow((double)o->beta1, t))),
                     (float)(1 / sqrt(1 - pow((double)o->beta2, t))), o->epsilon};
#pragma omp parallel for schedule(static) num_threads(gemm_threads(0)) if (o->slice_count > 1)
    for (int i = 0; i < o->slice_count; i++) {
        size_t at = o->slices[i].first;
        adam_update(a, o->slices[i].count, g + at, o->first + at, o->second + at, w + at);
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
