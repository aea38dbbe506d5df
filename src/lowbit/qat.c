#include "lowbit/qat.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lowbit/gptq.h"

enum { REFRESH = 32 }; /* steps between two searches for the grids of the weights: they move slowly */
static const float average_weight = 0.01f; /* of a batch in the ranges of the activations */

static enum grid_rule rule_for(int bits) {
    return bits >= 8 ? GRID_MINMAX : GRID_MSE; /* with few codes, covering the widest weight wastes most of them */
}

/* The latent network, its fake-quantized image, and what a step needs. */
struct qat {
    struct mlp *latent;
    struct mlp fake, gradient;
    struct coded_matrix codes[MLP_MAX_LAYERS]; /* one block a row: the grids of the weights */
    struct mlp_workspace ws;
    struct block rectified; /* ws's, of the hidden layers */
    struct optimizer optimizer;
    struct lsq *steps;    /* NULL: grids are searched for */
    struct range *ranges; /* [layers + 1] */
    int bits;
    float smoothing;
    float origin; /* what training takes off each pixel, once its code is chosen */
    long step;
};

static void qat_free(struct qat *q) {
    mlp_free(&q->fake);
    mlp_free(&q->gradient);
    mlp_workspace_free(&q->ws);
    block_free(&q->rectified);
    optimizer_free(&q->optimizer);
    for (int i = 0; i < MLP_MAX_LAYERS; i++) coded_matrix_free(&q->codes[i]);
}

/* Quantizing rounds small activations to 0, where ReLU let them through: the gradient has to pass them all the same. */
static bool keep_rectified(struct qat *q, int capacity, struct error *err) {
    const struct mlp_shape *shape = &q->latent->shape;
    do
        for (int i = 1; i < shape->layers; i++)
            q->ws.rectified[i] = block_take(&q->rectified, (size_t)capacity * (size_t)shape->widths[i], sizeof(float));
    while (block_again(&q->rectified, err));
    return q->rectified.memory != NULL;
}

/* capacity 0: no workspace of its own */
static bool qat_create(struct mlp *latent, int bits, int capacity, struct qat *q, struct error *err) {
    *q = (struct qat){.latent = latent, .bits = bits};
    bool ok = mlp_create(&latent->shape, &q->fake, err);
    for (int i = 0; ok && i < latent->shape.layers; i++) {
        const struct dense *d = &latent->layer[i];
        ok = coded_matrix_create(d->out, d->in, bits, true, d->in, &q->codes[i], err);
    }
    return ok &&
        (capacity == 0 ||
         (mlp_create(&latent->shape, &q->gradient, err) &&
          mlp_workspace_create(&latent->shape, capacity, true, &q->ws, err) && keep_rectified(q, capacity, err)));
}

static void refresh_grids(struct qat *q) {
    if (q->steps) {
        lsq_grids(q->steps, q->codes, q->latent->shape.layers);
        return;
    }
    for (int i = 0; i < q->latent->shape.layers; i++)
        rtn_codes(q->latent->layer[i].weight, rule_for(q->bits), &q->codes[i]);
}

/* x to the nearest whole number, ties to even, for |x| < 2^22: adding 1.5 * 2^23 leaves no room for a fraction.
 * Unlike rintf it is one instruction on every CPU and vectorises; clamped values are always that small. */
static inline float round_even(float x) {
    const float magic = 12582912.0f;
    return (x + magic) - magic;
}

static inline float fake(float x, float scale, float lowest, float highest) {
    float steps = x / scale;
    steps = steps < lowest ? lowest : steps > highest ? highest : steps;
    return round_even(steps) * scale;
}

static void fake_quantize_weights(struct qat *q) {
    for (int i = 0; i < q->latent->shape.layers; i++) {
        const struct dense *from = &q->latent->layer[i], *to = &q->fake.layer[i];
        for (int c = 0; c < from->out; c++) {
            const struct qparams g = q->codes[i].grids[c];
            const float *restrict w = from->weight + (size_t)c * (size_t)from->in;
            float *restrict w_hat = to->weight + (size_t)c * (size_t)from->in;
            for (int k = 0; k < from->in; k++)
                w_hat[k] = q->bits == 1 ? (w[k] < 0 ? -g.scale : g.scale)
                                        : fake(w[k], g.scale, (float)g.qmin, (float)g.qmax);
        }
        memcpy(to->bias, from->bias, (size_t)from->out * sizeof(float));
    }
}

static void follow_range(const float *x, size_t n, struct range *range) {
    float lo, hi;
    range_with_zero(x, n, &lo, &hi);
    range->lo += average_weight * (lo - range->lo);
    range->hi += average_weight * (hi - range->hi);
}

static void fake_quantize_activation(float *x, size_t n, struct range range) {
    struct qparams p = qparams_asymmetric(range.lo, range.hi, 0, 255);
    float lowest = (float)(p.qmin - p.zero_point), highest = (float)(p.qmax - p.zero_point);
    for (size_t i = 0; i < n; i++) x[i] = fake(x[i], p.scale, lowest, highest);
}

/* ws->activation[0] holds the images. follow: the ranges move with this batch first. */
static void forward(const struct qat *q, int count, bool follow, struct mlp_workspace *ws) {
    const struct mlp_shape *shape = &q->fake.shape;
    for (int i = 0; i <= shape->layers; i++) {
        size_t n = (size_t)count * (size_t)shape->widths[i];
        if (i > 0) mlp_forward_layer(&q->fake, i - 1, count, ws);
        if (follow && i > 0) follow_range(ws->activation[i], n, &q->ranges[i]);
        if (ws->rectified[i]) memcpy(ws->rectified[i], ws->activation[i], n * sizeof(float));
        fake_quantize_activation(ws->activation[i], n, q->ranges[i]);
        for (size_t j = 0; i == 0 && q->origin != 0 && j < n; j++) ws->activation[0][j] -= q->origin;
    }
}

/* The gradient at the fake-quantized weights moves the latent ones: straight through the rounding, and through the
 * clamping too, but not through ReLU where its input was below 0. A mask there would freeze the weights that GRID_MSE
 * clips, those that matter most at 2 bits. */
static double qat_step(void *context, const uint8_t *images, const uint8_t *labels, int n, float rate) {
    struct qat *q = context;
    if (q->step++ % REFRESH == 0 || q->steps) refresh_grids(q);
    fake_quantize_weights(q);
    mlp_load_images(&q->fake, images, n, &q->ws);
    forward(q, n, true, &q->ws);
    double loss = mlp_backward(&q->fake, labels, n, q->smoothing, &q->ws, &q->gradient);
    if (q->steps) lsq_step(q->steps, q->latent, q->codes, rate, &q->gradient);
    optimizer_step(&q->optimizer, rate, mlp_parameters(q->latent), mlp_parameters(&q->gradient));
    return loss;
}

/* The latent biases learned for weights as they are quantized: it is those whose sums are taken off. */
static void shift_back(struct qat *q) {
    refresh_grids(q);
    fake_quantize_weights(q);
    mlp_shift_inputs(&q->fake, q->origin);
    memcpy(q->latent->layer[0].bias, q->fake.layer[0].bias, (size_t)q->fake.layer[0].out * sizeof(float));
}

bool qat_train(struct mlp *mlp, const struct train_data *data, const struct qat_config *config, struct range *ranges,
               struct train_report *report, struct error *err) {
    struct qat q;
    bool ok = qat_create(mlp, config->weight_bits, config->train.batch, &q, err) &&
        optimizer_create(config->train.optimizer, mlp_padded_count(mlp), &q.optimizer, err);
    q.ranges = ranges;
    q.steps = config->steps;
    q.smoothing = config->train.smoothing;
    if (ok) {
        optimizer_follow(&q.optimizer, mlp);
        q.origin = train_origin(data);
        mlp_shift_inputs(mlp, -q.origin);
    }
    ok = ok && train_epochs(data, &config->train, qat_step, &q, report, err) &&
        train_check_finite(mlp, config->train.rate, err);
    if (ok) shift_back(&q);
    qat_free(&q);
    return ok;
}

bool qat_convert(const struct mlp *mlp, int weight_bits, const struct range *ranges, struct qmlp *out,
                 size_t *saturated, struct error *err) {
    struct qat q;
    struct mlp latent = *mlp; /* only read */
    bool ok = qat_create(&latent, weight_bits, 0, &q, err);
    if (ok) {
        refresh_grids(&q);
        ok = convert_codes(mlp, q.codes, ranges, false, out, saturated, err);
    }
    qat_free(&q);
    return ok;
}

bool qat_forward(const struct mlp *mlp, int weight_bits, const struct range *ranges, const uint8_t *images, int count,
                 struct mlp_workspace *ws, struct error *err) {
    struct qat q;
    struct mlp latent = *mlp; /* only read */
    struct range fixed[MLP_MAX_LAYERS + 1];
    memcpy(fixed, ranges, ((size_t)mlp->shape.layers + 1) * sizeof *fixed);
    bool ok = qat_create(&latent, weight_bits, 0, &q, err);
    if (ok) {
        q.ranges = fixed;
        refresh_grids(&q);
        fake_quantize_weights(&q);
        mlp_load_images(mlp, images, count, ws);
        forward(&q, count, false, ws);
    }
    qat_free(&q);
    return ok;
}
