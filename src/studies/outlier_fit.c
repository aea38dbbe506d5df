#include "studies/outlier.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lowbit/hadamard.h"
#include "lowbit/half.h"

const char *const repair_names[REPAIRS] = {"none",
                                           "clip at percentile 99.99",
                                           "clip for least squared error",
                                           "column apart in fp16",
                                           "Hadamard rotation",
                                           "cross-layer equalization",
                                           "SmoothQuant"};

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The |w| that 99.99% of n values do not exceed. In a row of less than 10,000 that is the largest: nothing is cut. */
static float percentile(float *sizes, size_t n) {
    qsort(sizes, n, sizeof *sizes, by_size);
    return sizes[(size_t)ceil(0.9999 * (double)n) - 1];
}

/* Of clips from the largest value down to 1/256 of it, eight an octave, the one of the least squared error. */
static float least_error_clip(const float *sizes, size_t n) {
    float highest = absolute_maximum(sizes, n), best_clip = highest;
    double best = INFINITY;
    for (int step = 0; step <= 64; step++) {
        float clip = highest * (float)exp2(-step / 8.0);
        struct qparams p = qparams_symmetric(clip, 127);
        double error = 0;
        for (size_t i = 0; i < n; i++) {
            double e = (double)sizes[i] - (double)fake_quantize(sizes[i], p);
            error += e * e;
        }
        if (error < best) best = error, best_clip = clip;
    }
    return best_clip;
}

/* One scale for rows [first, first + rows), column apart (or none, -1) left out. sizes: scratch for as many weights. */
static float choose_scale(const struct dense *d, int first, int rows, int apart, enum repair repair, float *sizes) {
    size_t n = 0;
    for (int c = first; c < first + rows; c++)
        for (int k = 0; k < d->in; k++)
            if (k != apart) sizes[n++] = fabsf(d->weight[(size_t)c * (size_t)d->in + (size_t)k]);
    float clip = n == 0               ? 0
        : repair == REPAIR_PERCENTILE ? percentile(sizes, n)
        : repair == REPAIR_MSE        ? least_error_clip(sizes, n)
                                      : absolute_maximum(sizes, n);
    return qparams_symmetric(clip, 127).scale;
}

int column_apart(const struct dense *d, size_t at, int way) {
    return repair_of(way) == REPAIR_APART ? (int)(at % (size_t)d->in) : -1;
}

/* Row c of now as its codes give it, in the units of d: row [in]. */
static void read_row(const struct dense *d, const struct dense *now, int c, int apart, enum repair repair, float scale,
                     float *row) {
    const float *before = d->weight + (size_t)c * (size_t)d->in, *w = now->weight + (size_t)c * (size_t)d->in;
    for (int k = 0; k < d->in; k++) {
        row[k] = k == apart ? float_from_half(half_from_float(w[k]))
                            : fake_quantize(w[k], (struct qparams){scale, 0, -127, 127});
        if (repair >= REPAIR_EQUALIZE) row[k] = w[k] == 0 ? before[k] : row[k] * (before[k] / w[k]);
    }
    if (repair == REPAIR_ROTATE) hadamard_rotate(row, d->in);
}

/* scratch: of compare_fits */
static void fit_scales(const struct dense *d, const struct dense *now, size_t at, int way, float *scratch, float *scale,
                       struct fit *fit) {
    int apart = column_apart(d, at, way), own_row = (int)(at / (size_t)d->in);
    double own = 0, others = 0, in = d->in, out = d->out;
    float *row = scratch + (size_t)d->out * (size_t)d->in;
    for (int c = 0; c < d->out; c++) {
        scale[c] = c > 0 && !per_channel(way)
            ? scale[0]
            : choose_scale(now, c, per_channel(way) ? 1 : d->out, apart, repair_of(way), scratch);
        read_row(d, now, c, apart, repair_of(way), scale[c], row);
        for (int k = 0; k < d->in; k++) {
            size_t i = (size_t)c * (size_t)d->in + (size_t)k;
            double e = (double)d->weight[i] - (double)row[k];
            if (c != own_row) others += e * e;
            else if (i != at) own += e * e;
        }
    }
    *fit = (struct fit){sqrt((own + others) / (in * out - 1)), sqrt(own / (in - 1)), sqrt(others / (in * (out - 1))),
                        (double)scale[own_row]};
}

bool compare_fits(const struct dense *d, const struct dense *now, size_t at, float before, int way, float *scale,
                  struct fit *fit, struct fit *base, struct error *err) {
    size_t in = (size_t)d->in, n = in * (size_t)d->out;
    float outlier = d->weight[at], *scratch = aligned_array(2 * n + in, sizeof *scratch, err);
    struct dense rotated = {d->in, d->out, scratch + n + in, NULL};
    if (!scratch) return false;
    d->weight[at] = before;
    fit_scales(d, d, at, way % 2, scratch, scale, base);
    d->weight[at] = outlier;
    memcpy(rotated.weight, d->weight, n * sizeof(float));
    for (int c = 0; repair_of(way) == REPAIR_ROTATE && c < d->out; c++)
        hadamard_rotate(rotated.weight + (size_t)c * in, d->in);
    fit_scales(d, repair_of(way) == REPAIR_ROTATE ? &rotated : now, at, way, scratch, scale, fit);
    free(scratch);
    return true;
}

bool scales_of(const struct dense *d, size_t at, int way, float *scale, struct error *err) {
    struct fit ignored[2];
    return compare_fits(d, d, at, d->weight[at], way, scale, &ignored[0], &ignored[1], err);
}
