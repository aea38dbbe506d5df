#include "base/stats.h"

#include <math.h>
#include <stdlib.h>

/* ---- one number over several runs ---------------------------------------------------------------------------- */

void sums_add(struct sums *s, double value) {
    s->lowest = s->n ? fmin(s->lowest, value) : value;
    s->highest = s->n ? fmax(s->highest, value) : value;
    s->sum += value;
    s->squares += value * value;
    s->n++;
}

double sums_mean(const struct sums *s) { return s->sum / (double)s->n; }

double sums_deviation(const struct sums *s) {
    double n = (double)s->n, mean = sums_mean(s);
    return s->n < 2 ? NAN : sqrt(fmax(0, s->squares - n * mean * mean) / (n - 1));
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double percentile_of(double *values, size_t count, double share) {
    qsort(values, count, sizeof *values, by_value);
    return values[(size_t)(share * (double)(count - 1) + 0.5)];
}

/* ---- how far a tensor moved ---------------------------------------------------------------------------------- */

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

double decibels(double signal, double noise) { return 10 * log10(signal / noise); }

static double log_of_sum(const float *logits, int classes, double *highest) {
    double sum = 0;
    *highest = -INFINITY;
    for (int i = 0; i < classes; i++) *highest = fmax(*highest, (double)logits[i]);
    for (int i = 0; i < classes; i++) sum += exp((double)logits[i] - *highest);
    return log(sum);
}

double kl_divergence(const float *logits, const float *other, int classes) {
    double top, other_top, sum = 0;
    double all = log_of_sum(logits, classes, &top), other_all = log_of_sum(other, classes, &other_top);
    for (int i = 0; i < classes; i++) {
        double log_p = (double)logits[i] - top - all, log_q = (double)other[i] - other_top - other_all;
        sum += exp(log_p) * (log_p - log_q);
    }
    return sum;
}

double sqnr_db(const float *x, const float *x_hat, size_t count) {
    struct similarity s = {0};
    similarity_add(&s, x, x_hat, count);
    return similarity_sqnr_db(&s);
}

/* ---- how often each code came -------------------------------------------------------------------------------- */

int histogram_used(const struct histogram *h) {
    int used = 0;
    for (int i = 0; i < h->levels; i++) used += h->seen[i] > 0;
    return used;
}

double histogram_entropy_bits(const struct histogram *h) {
    double bits = 0;
    for (int i = 0; i < h->levels; i++) {
        double p = (double)h->seen[i] / (double)h->count;
        if (p > 0) bits -= p * log2(p);
    }
    return bits;
}

/* ---- whether two models differ ------------------------------------------------------------------------------- */

/* P(|T| >= t) for n degrees of freedom is a finite sum (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4). */
static double two_tails(double t, int n) {
    double angle = atan(t / sqrt(n)), c2 = cos(angle) * cos(angle), term = n % 2 ? cos(angle) : 1, sum = 0;
    for (int k = n % 2 ? 1 : 0; k <= n - 2; k += 2) { /* powers of the cosine, each by (k + 1) / (k + 2) */
        sum += term;
        term *= c2 * (k + 1) / (k + 2);
    }
    double inside = n % 2 ? 2 / acos(-1) * (angle + sin(angle) * sum) : sin(angle) * sum;
    return fmin(1, fmax(0, 1 - inside));
}

double paired_t_p(const double *differences, int n) {
    struct sums s = {0};
    for (int i = 0; i < n; i++) sums_add(&s, differences[i]);
    double error = sums_deviation(&s) / sqrt(n), mean = fabs(sums_mean(&s));
    if (n < 2) return NAN;
    return error > 0 ? two_tails(mean / error, n - 1) : mean > 0 ? 0 : 1;
}

double mcnemar_exact_p(size_t fixed, size_t broken) {
    size_t few = fixed < broken ? fixed : broken;
    double n = (double)fixed + (double)broken, sum = 0;
    for (size_t i = 0; i <= few; i++) /* logarithms: C(n, i) and 2^n alone would overflow from n = 1030 on */
        sum += exp(lgamma(n + 1) - lgamma((double)i + 1) - lgamma(n - (double)i + 1) - n * log(2));
    return fmin(1, 2 * sum);
}
