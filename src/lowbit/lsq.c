#include "lowbit/lsq.h"

#include <math.h>

static float highest_code(int bits) { return (float)((1 << (bits - 1)) - 1); }

bool lsq_create(const struct mlp *mlp, int bits, struct lsq *out, struct error *err) {
    *out = (struct lsq){0};
    for (int l = 0; l < mlp->shape.layers; l++) out->rows += (size_t)mlp->layer[l].out;
    do {
        out->first = block_take(&out->block, out->rows, sizeof(float));
        out->ratio = block_take(&out->block, out->rows, sizeof(float));
        out->gradient = block_take(&out->block, out->rows, sizeof(float));
    } while (block_again(&out->block, err));
    if (!out->block.memory || !optimizer_create(OPTIMIZER_ADAM, out->rows, &out->optimizer, err)) return false;
    size_t row = 0;
    for (int l = 0; l < mlp->shape.layers; l++)
        for (int c = 0; c < mlp->layer[l].out; c++, row++) {
            const float *w = mlp->layer[l].weight + (size_t)c * (size_t)mlp->layer[l].in;
            double sum = 0;
            for (int k = 0; k < mlp->layer[l].in; k++) sum += fabs((double)w[k]);
            out->first[row] = (float)(2 * sum / mlp->layer[l].in / sqrt((double)highest_code(bits)));
            if (!(out->first[row] > 0)) out->first[row] = 1; /* a row of zeros */
            out->ratio[row] = 1;
        }
    return true;
}

void lsq_free(struct lsq *s) {
    optimizer_free(&s->optimizer);
    block_free(&s->block);
}

void lsq_grids(const struct lsq *s, struct coded_matrix *codes, int layers) {
    size_t row = 0;
    for (int l = 0; l < layers; l++)
        for (int c = 0; c < codes[l].out; c++, row++) {
            int highest = (int)highest_code(codes[l].bits);
            codes[l].grids[c] = (struct qparams){s->first[row] * s->ratio[row], 0, -highest - 1, highest};
        }
}

/* Of one row w [in] and its gradient: returns that of the step. */
static double row_gradient(const float *w, int in, struct qparams g, float *gradient) {
    double sum = 0;
    for (int k = 0; k < in; k++) {
        float steps = w[k] / g.scale;
        bool below = steps<(float)g.qmin, above = steps>(float) g.qmax;
        float by_step = below ? (float)g.qmin : above ? (float)g.qmax : rintf(steps) - steps;
        sum += (double)gradient[k] * (double)by_step;
        if (below || above) gradient[k] = 0;
    }
    return sum;
}

void lsq_step(struct lsq *s, const struct mlp *latent, const struct coded_matrix *codes, float rate,
              struct mlp *gradient) {
    size_t first = 0;
    for (int l = 0; l < latent->shape.layers; l++) {
        const struct dense *d = &latent->layer[l];
        double scale = 1 / sqrt((double)d->in * (double)highest_code(codes[l].bits));
#pragma omp parallel for schedule(static)
        for (int c = 0; c < d->out; c++) {
            size_t at = (size_t)c * (size_t)d->in, row = first + (size_t)c;
            double by_step = row_gradient(d->weight + at, d->in, codes[l].grids[c], gradient->layer[l].weight + at);
            s->gradient[row] = (float)(by_step * scale * (double)s->first[row]);
        }
        first += (size_t)d->out;
    }
    optimizer_step(&s->optimizer, rate, s->ratio, s->gradient);
    for (size_t i = 0; i < s->rows; i++) s->ratio[i] = fmaxf(s->ratio[i], 0.01f); /* a step stays above 0 */
}

bool lsq_convert(const struct mlp *mlp, const struct lsq *s, int bits, const struct range *ranges, struct qmlp *out,
                 size_t *saturated, struct error *err) {
    struct coded_matrix codes[MLP_MAX_LAYERS] = {{0}};
    bool ok = true;
    for (int l = 0; ok && l < mlp->shape.layers; l++)
        ok = coded_matrix_create(mlp->layer[l].out, mlp->layer[l].in, bits, true, mlp->layer[l].in, &codes[l], err);
    if (ok) lsq_grids(s, codes, mlp->shape.layers);
    for (int l = 0; ok && l < mlp->shape.layers; l++)
        for (size_t i = 0, in = (size_t)mlp->layer[l].in; i < in * (size_t)mlp->layer[l].out; i++)
            codes[l].codes[i] = (int8_t)quantize(mlp->layer[l].weight[i], codes[l].grids[i / in]);
    ok = ok && convert_codes(mlp, codes, ranges, false, out, saturated, err);
    for (int l = 0; l < MLP_MAX_LAYERS; l++) coded_matrix_free(&codes[l]);
    return ok;
}
