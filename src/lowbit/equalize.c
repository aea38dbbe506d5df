#include "lowbit/equalize.h"

#include <math.h>

/* Neuron k of before puts out x / s; column k of after multiplies by s. */
static void fold(const struct dense *before, const struct dense *after, int k, float s) {
    float *row = before->weight + (size_t)k * (size_t)before->in;
    for (int j = 0; j < before->in; j++) row[j] /= s;
    before->bias[k] /= s;
    for (int c = 0; c < after->out; c++) after->weight[(size_t)c * (size_t)after->in + (size_t)k] *= s;
}

static float row_range(const struct dense *d, int k) {
    float widest = 0;
    for (int j = 0; j < d->in; j++) widest = fmaxf(widest, fabsf(d->weight[(size_t)k * (size_t)d->in + (size_t)j]));
    return widest;
}

static float column_range(const struct dense *d, int k) {
    float widest = 0;
    for (int c = 0; c < d->out; c++) widest = fmaxf(widest, fabsf(d->weight[(size_t)c * (size_t)d->in + (size_t)k]));
    return widest;
}

void equalize(struct mlp *mlp) {
    float furthest = 1;
    for (int round = 0; round < 100 && furthest > 0.001f; round++) {
        furthest = 0;
        for (int l = 0; l + 1 < mlp->shape.layers; l++)
            for (int k = 0; k < mlp->layer[l].out; k++) {
                float r1 = row_range(&mlp->layer[l], k), r2 = column_range(&mlp->layer[l + 1], k);
                if (!(r1 > 0 && r2 > 0)) continue; /* nothing goes through this neuron */
                float s = sqrtf(r1 / r2);
                fold(&mlp->layer[l], &mlp->layer[l + 1], k, s);
                furthest = fmaxf(furthest, fabsf(s - 1));
            }
    }
}

bool smooth_quant(struct mlp *mlp, const uint8_t *images, int count, double alpha, struct error *err) {
    struct mlp_workspace ws;
    if (!mlp_workspace_create(&mlp->shape, count, false, &ws, err)) return false;
    mlp_load_images(mlp, images, count, &ws);
    mlp_forward(mlp, count, &ws);
    for (int l = 1; l < mlp->shape.layers; l++) {
        const struct dense *d = &mlp->layer[l];
        for (int k = 0; k < d->in; k++) {
            float x = 0, w = column_range(d, k);
            for (int i = 0; i < count; i++)
                x = fmaxf(x, fabsf(ws.activation[l][(size_t)i * (size_t)d->in + (size_t)k]));
            if (x > 0 && w > 0)
                fold(&mlp->layer[l - 1], d, k, (float)(pow((double)x, alpha) / pow((double)w, 1 - alpha)));
        }
    }
    mlp_workspace_free(&ws);
    return true;
}
