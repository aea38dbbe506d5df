#include "base/similarity.h"

#include <math.h>

#include "quant/affine.h"

void similarity_add(struct similarity *s, const float *x, const float *x_hat, size_t count) {
    s->count += count;
    for (size_t i = 0; i < count; i++) {
        double a = (double)x[i], b = (double)x_hat[i], error = fabs(a - b);
        s->signal += a * a;
        s->other += b * b;
        s->product += a * b;
        s->noise += error * error;
        s->absolute += error;
        if (!(error <= s->highest)) s->highest = error; /* a NaN shows */
    }
}

double similarity_sqnr_db(const struct similarity *s) { return decibels(s->signal, s->noise); }

double similarity_cosine(const struct similarity *s) { return s->product / sqrt(s->signal * s->other); }

double similarity_mean_error(const struct similarity *s) { return s->absolute / (double)s->count; }
