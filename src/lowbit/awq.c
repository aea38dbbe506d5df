#include "lowbit/awq.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/block.h"

enum { ALPHAS = 20, SHRINKS = 10 };

static void scales_of_alpha(const float *magnitude, int in, double alpha, float *scale) {
    double lowest = INFINITY, highest = 0;
    for (int k = 0; k < in; k++) {
        if (!(magnitude[k] > 0)) continue;
        scale[k] = (float)fmax(pow((double)magnitude[k], alpha), 1e-4);
        lowest = fmin(lowest, (double)scale[k]);
        highest = fmax(highest, (double)scale[k]);
    }
    double middle = highest > 0 ? sqrt(lowest * highest) : 1;
    for (int k = 0; k < in; k++) scale[k] = magnitude[k] > 0 ? (float)(scale[k] / middle) : 1;
}

/* W_hat [out][in] = round(W diag(s)) diag(s)^-1; scaled [out][in] is scratch */
static void round_scaled(const float *w, const float *scale, struct coded_matrix *m, float *scaled, float *w_hat) {
    size_t n = (size_t)m->out * (size_t)m->in, in = (size_t)m->in;
    for (size_t i = 0; i < n; i++) scaled[i] = w[i] * scale[i % in];
    rtn_codes(scaled, GRID_MINMAX, m);
    coded_matrix_values(m, w_hat);
    for (size_t i = 0; i < n; i++) w_hat[i] /= scale[i % in];
}

bool awq_scales(const float *w, const double *gram, const float *magnitude, struct coded_matrix *m, float *scale,
                double *alpha, struct error *err) {
    size_t n = (size_t)m->out * (size_t)m->in;
    float *scaled = aligned_array(n, sizeof *scaled, err), *w_hat = aligned_array(n, sizeof *w_hat, err);
    float *candidate = aligned_array((size_t)m->in, sizeof *candidate, err);
    double least = INFINITY;
    bool ok = scaled && w_hat && candidate;
    for (int step = 0; ok && step < ALPHAS; step++) { /* the first leaves all scales at 1 */
        scales_of_alpha(magnitude, m->in, (double)step / ALPHAS, candidate);
        round_scaled(w, candidate, m, scaled, w_hat);
        double noise = output_noise(w, w_hat, m->out, m->in, gram);
        if (noise < least) {
            least = noise;
            *alpha = (double)step / ALPHAS;
            memcpy(scale, candidate, (size_t)m->in * sizeof *scale);
        }
    }
    free(scaled);
    free(w_hat);
    free(candidate);
    return ok;
}

/* The grid of a block w [n]; gram points at its part of the diagonal, lines stride apart; values [SHRINKS][n]. */
static struct qparams clipped_grid(const float *w, int n, const double *gram, size_t stride,
                                   const struct coded_matrix *m, float *values) {
    struct qparams grids[SHRINKS];
    const float *same[SHRINKS], *rounded[SHRINKS];
    double errors[SHRINKS];
    int best = 0;
    for (int i = 0; i < SHRINKS; i++) {
        grids[i] = grid_of(w, n, m->bits, m->symmetric);
        grids[i].scale = scale_in_half(grids[i].scale * (1 - 0.05f * (float)i));
        same[i] = w;
        rounded[i] = values + (size_t)i * (size_t)n;
        for (int k = 0; k < n; k++) values[(size_t)i * (size_t)n + (size_t)k] = fake_quantize(w[k], grids[i]);
    }
    quadratic_forms(SHRINKS, same, rounded, n, gram, stride, errors);
    for (int i = 1; i < SHRINKS; i++)
        if (errors[i] < errors[best]) best = i;
    return grids[best];
}

enum { ROWS_AT_ONCE = 32 };

bool awq_codes(const float *w, const double *gram, struct coded_matrix *m, struct error *err) {
    size_t in = (size_t)m->in, of_row = SHRINKS * (size_t)m->block;
    float *values = aligned_array(ROWS_AT_ONCE * of_row, sizeof *values, err);
    for (int first = 0; values && first < m->out; first += ROWS_AT_ONCE) {
        int rows = m->out - first < ROWS_AT_ONCE ? m->out - first : ROWS_AT_ONCE;
#pragma omp parallel for schedule(static)
        for (int r = 0; r < rows; r++)
            for (int b = 0; b < m->blocks; b++) {
                size_t row = (size_t)(first + r), at = (size_t)b * (size_t)m->block, i = row * in + at;
                int n = m->in - (int)at < m->block ? m->in - (int)at : m->block;
                struct qparams *g = &m->grids[row * (size_t)m->blocks + (size_t)b];
                *g = clipped_grid(w + i, n, gram + at * in + at, in, m, values + (size_t)r * of_row);
                for (int k = 0; k < n; k++) m->codes[i + (size_t)k] = (int8_t)quantize(w[i + (size_t)k], *g);
            }
    }
    free(values);
    return values != NULL;
}
