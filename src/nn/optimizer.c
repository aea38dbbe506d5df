#include "nn/optimizer.h"

#include <math.h>

static void carve(struct optimizer *o) {
    o->first = block_take(&o->block, o->count, sizeof(float));
    o->second = o->kind == OPTIMIZER_ADAM ? block_take(&o->block, o->count, sizeof(float)) : NULL;
}

bool optimizer_create(enum optimizer_kind kind, size_t count, struct optimizer *out, struct error *err) {
    *out = (struct optimizer){
        .kind = kind, .beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f, .momentum = 0.9f, .count = count};
    carve(out);
    if (!block_reserve(&out->block, err)) return false;
    carve(out);
    return true;
}

void optimizer_free(struct optimizer *optimizer) {
    block_free(&optimizer->block);
}

static void adam_step(struct optimizer *o, float rate, float *restrict w, const float *restrict g) {
    float *restrict m = o->first, *restrict v = o->second;
    double t = (double)o->step;
    float step_size = (float)(rate / (1 - pow(o->beta1, t)));
    float v_scale = (float)(1 / sqrt(1 - pow(o->beta2, t)));
    float beta1 = o->beta1, beta2 = o->beta2, epsilon = o->epsilon;
    for (size_t i = 0; i < o->count; i++) {
        m[i] = beta1 * m[i] + (1 - beta1) * g[i];
        v[i] = beta2 * v[i] + (1 - beta2) * g[i] * g[i];
        w[i] -= step_size * m[i] / (sqrtf(v[i]) * v_scale + epsilon);
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
