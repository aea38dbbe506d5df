#include "lowbit/adaround.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/vectorise.h"
#include "nn/gemm.h"
#include "nn/train.h"

static const float zeta = 1.1f, gamma_ = -0.1f; /* how far the sigmoid is stretched, so that h reaches 0 and 1 */
enum { BETA_FIRST = 20, BETA_LAST = 2 };

struct adaround {
    const struct adaround_layer *layer;
    const struct adaround_config *config;
    struct coded_matrix *m;
    struct optimizer optimizer;
    float *target;               /* [count][out] f(W x + b) */
    float *below, *v, *gradient; /* [out][in] codes below the weights; V; its gradient */
    float *h, *soft, *term;      /* [out][in] h(V); W_hat with choices as undecided as they are; |2 h - 1|^(beta - 1) */
    float lambda;                /* config's, in the units of the error */
    float *x, *wanted, *y;       /* [batch][in], [batch][out], [batch][out] */
    struct block block;
};

/* ---- one block of weights, on one grid --------------------------------------------------------------------------- */

/* below: the codes under w / s, not yet clamped; v: what makes h(v) the fraction above them, so that W_hat begins as W,
 * clamped. */
static void split(const float *w, int n, struct qparams g, float *below, float *v) {
    for (int k = 0; k < n; k++) {
        float steps = w[k] / g.scale, whole = floorf(steps);
        below[k] = whole + (float)g.zero_point;
        v[k] = -logf((zeta - gamma_) / (steps - whole - gamma_) - 1);
    }
}

/* h = h(v), w_hat the weights that it makes */
VECTORISED
static void soften(const float *restrict below, int n, struct qparams g, float *restrict h, float *restrict w_hat) {
    float lowest = (float)g.qmin, highest = (float)g.qmax, zero = (float)g.zero_point;
    for (int k = 0; k < n; k++) {
        float choice = h[k] * (zeta - gamma_) + gamma_; /* of the sigmoid */
        h[k] = choice = choice < 0 ? 0 : choice > 1 ? 1 : choice;
        float code = below[k] + choice;
        w_hat[k] = ((code < lowest ? lowest : code > highest ? highest : code) - zero) * g.scale;
    }
}

/* p = u^exponent; u is used up. */
VECTORISED
static void raise(float *restrict u, int n, int exponent, float *restrict p) {
    for (int k = 0; k < n; k++) p[k] = 1;
    for (; exponent; exponent >>= 1) {
        for (int k = 0; exponent & 1 && k < n; k++) p[k] *= u[k];
        for (int k = 0; k < n; k++) u[k] *= u[k];
    }
}

/* gradient is that of the error by w_hat and becomes that of the loss by v; term = |2 h - 1|^(beta - 1), weight its
 * factor. Where h or the code is cut off, nothing passes. */
VECTORISED
static void pass_back(const float *restrict below, const float *restrict h, const float *restrict term, int n,
                      struct qparams g, float weight, float *restrict gradient) {
    float lowest = (float)g.qmin, highest = (float)g.qmax;
    for (int k = 0; k < n; k++) {
        float code = below[k] + h[k], s = (h[k] - gamma_) / (zeta - gamma_);
        float by_h = code > lowest && code < highest ? gradient[k] * g.scale : 0;
        by_h -= h[k] < 0.5f ? -weight * term[k] : weight * term[k];
        gradient[k] = h[k] > 0 && h[k] < 1 ? by_h * (zeta - gamma_) * s * (1 - s) : 0;
    }
}

/* ---- the layer -------------------------------------------------------------------------------------------------- */

static void put_out(const struct adaround *a, const float *x, const float *w, int count, float *y) {
    const struct adaround_layer *l = a->layer;
    int out = a->m->out;
    gemm_nt(count, out, a->m->in, x, w, y);
    for (int i = 0; i < count; i++)
        for (int c = 0; c < out; c++) {
            float *at = y + (size_t)i * (size_t)out + c;
            *at += l->bias[c];
            if (l->relu && *at < 0) *at = 0;
        }
}

/* Block b of row c: where it begins, and its grid. Returns its weights. */
static int find_block(const struct coded_matrix *m, int c, int b, size_t *at, struct qparams *g) {
    *at = (size_t)c * (size_t)m->in + (size_t)b * (size_t)m->block;
    *g = m->grids[c * m->blocks + b];
    return m->in - b * m->block < m->block ? m->in - b * m->block : m->block;
}

/* The mean squared error of an output when every choice is the nearer one, on the first images. */
static double nearest_error(const struct adaround *a) {
    size_t out = (size_t)a->m->out;
    int count = a->layer->count < a->config->batch ? a->layer->count : a->config->batch;
    double sum = 0;
    coded_matrix_values(a->m, a->soft);
    put_out(a, a->layer->x_hat, a->soft, count, a->y);
    for (size_t i = 0; i < (size_t)count * out; i++) {
        double e = (double)a->y[i] - (double)a->target[i];
        sum += e * e;
    }
    return sum / ((double)count * (double)out);
}

static void start(struct adaround *a) {
    rtn_codes(a->layer->weight, a->config->rule, a->m); /* for its grids */
    for (int i = 0; i < a->m->out * a->m->blocks; i++) {
        size_t at;
        struct qparams g;
        int n = find_block(a->m, i / a->m->blocks, i % a->m->blocks, &at, &g);
        split(a->layer->weight + at, n, g, a->below + at, a->v + at);
    }
    put_out(a, a->layer->x, a->layer->weight, a->layer->count, a->target);
    a->lambda = (float)(a->config->lambda * nearest_error(a) / sqrt((double)a->m->in));
}

static void soften_all(const struct adaround *a) {
#pragma omp parallel for schedule(static)
    for (int i = 0; i < a->m->out * a->m->blocks; i++) {
        size_t at;
        struct qparams g;
        int n = find_block(a->m, i / a->m->blocks, i % a->m->blocks, &at, &g);
        for (int k = 0; k < n; k++) a->h[at + (size_t)k] = 1 / (1 + expf(-a->v[at + (size_t)k]));
        soften(a->below + at, n, g, a->h + at, a->soft + at);
    }
}

/* beta 0: without the second term of the loss */
static void pass_all_back(const struct adaround *a, int beta) {
    float weight = a->lambda * 2 * (float)beta;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < a->m->out * a->m->blocks; i++) {
        size_t at;
        struct qparams g;
        int n = find_block(a->m, i / a->m->blocks, i % a->m->blocks, &at, &g);
        float *u = a->soft + at, *term = a->term + at; /* soft has done its work for this step */
        for (int k = 0; k < n; k++) u[k] = fabsf(2 * a->h[at + (size_t)k] - 1);
        raise(u, n, beta ? beta - 1 : 0, term);
        pass_back(a->below + at, a->h + at, term, n, g, weight, a->gradient + at);
    }
}

static void take_batch(const struct adaround *a, struct rng *rng) {
    size_t in = (size_t)a->m->in, out = (size_t)a->m->out;
    for (size_t i = 0; i < (size_t)a->config->batch; i++) {
        size_t image = rng_below(rng, (uint32_t)a->layer->count);
        memcpy(a->x + i * in, a->layer->x_hat + image * in, in * sizeof(float));
        memcpy(a->wanted + i * out, a->target + image * out, out * sizeof(float));
    }
}

static void step(struct adaround *a, int at, struct rng *rng) {
    int batch = a->config->batch, steps = a->config->steps, warmup = steps / 5;
    size_t n = (size_t)batch * (size_t)a->m->out;
    int beta = at < warmup ? 0 : BETA_FIRST - (BETA_FIRST - BETA_LAST) * (at - warmup) / (steps - warmup);
    take_batch(a, rng);
    soften_all(a);
    put_out(a, a->x, a->soft, batch, a->y);
    for (size_t i = 0; i < n; i++) /* d/dy of the mean squared error; a neuron that is off learns nothing */
        a->y[i] = a->layer->relu && !(a->y[i] > 0) ? 0 : 2 * (a->y[i] - a->wanted[i]) / (float)batch;
    gemm_tn(a->m->out, a->m->in, batch, a->y, a->x, a->gradient);
    pass_all_back(a, beta);
    optimizer_step(&a->optimizer, (float)a->config->rate, a->v, a->gradient);
}

static void decide(const struct adaround *a) {
    struct coded_matrix *m = a->m;
    for (int i = 0; i < m->out * m->blocks; i++) {
        size_t at;
        struct qparams g;
        int n = find_block(m, i / m->blocks, i % m->blocks, &at, &g);
        for (size_t k = at; k < at + (size_t)n; k++)
            m->codes[k] = (int8_t)fmaxf((float)g.qmin, fminf((float)g.qmax, a->below[k] + (float)(a->v[k] >= 0)));
    }
}

struct adaround_config adaround_defaults(enum grid_rule rule) {
    return (struct adaround_config){.rule = rule, .steps = 300, .batch = 128, .rate = 0.05, .lambda = 10, .seed = 1};
}

bool adaround_codes(const struct adaround_layer *layer, const struct adaround_config *config, struct coded_matrix *m,
                    struct error *err) {
    struct adaround a = {.layer = layer, .config = config, .m = m};
    size_t in = (size_t)m->in, out = (size_t)m->out, batch = (size_t)config->batch;
    do {
        a.target = block_take(&a.block, (size_t)layer->count * out, sizeof(float));
        a.below = block_take(&a.block, in * out, sizeof(float));
        a.v = block_take(&a.block, in * out, sizeof(float));
        a.gradient = block_take(&a.block, in * out, sizeof(float));
        a.h = block_take(&a.block, in * out, sizeof(float));
        a.term = block_take(&a.block, in * out, sizeof(float));
        a.soft = block_take(&a.block, in * out, sizeof(float));
        a.x = block_take(&a.block, batch * in, sizeof(float));
        a.wanted = block_take(&a.block, batch * out, sizeof(float));
        a.y = block_take(&a.block, batch * out, sizeof(float));
    } while (block_again(&a.block, err));
    bool ok = a.block.memory && optimizer_create(OPTIMIZER_ADAM, in * out, &a.optimizer, err);
    if (ok) {
        struct rng rng = rng_seeded(config->seed);
        start(&a);
        for (int i = 0; i < config->steps; i++) step(&a, i, &rng);
        decide(&a);
    }
    optimizer_free(&a.optimizer);
    block_free(&a.block);
    return ok;
}
