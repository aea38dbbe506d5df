/* Statistics that the tables are made of, each written once: mean and deviation, percentiles, how far a tensor moved,
 * how often each code came, and whether two models differ. */
#ifndef BASE_STATS_H
#define BASE_STATS_H

#include <stdbool.h>
#include <stddef.h>

/* ---- one number over several runs ---------------------------------------------------------------------------- */

/* Begin with a zeroed struct. */
struct sums {
    size_t n;
    double sum, squares, lowest, highest;
};

void sums_add(struct sums *s, double value);
double sums_mean(const struct sums *s);
double sums_deviation(const struct sums *s); /* of a sample, with n - 1; NaN below 2 values */

/* The value below which the given share of values [count] lies, the nearest of them; sorts them. */
double percentile_of(double *values, size_t count, double share);

/* ---- how far a tensor moved ---------------------------------------------------------------------------------- */

/* What numeric suites report of a layer, summed up batch after batch. Begin with a zeroed struct. */
struct similarity {
    size_t count;
    double signal, other, product; /* sums of x^2, x_hat^2 and x * x_hat */
    double noise;                  /* sum of (x - x_hat)^2 */
    double absolute, highest;      /* sum and maximum of |x - x_hat| */
};

/* count more values: x is the measure, x_hat what became of it. */
void similarity_add(struct similarity *s, const float *x, const float *x_hat, size_t count);

double similarity_sqnr_db(const struct similarity *s);    /* infinite when equal, NaN when x is all zero */
double similarity_cosine(const struct similarity *s);     /* between x and x_hat; NaN when one is all zero */
double similarity_mean_error(const struct similarity *s); /* mean |x - x_hat| */

/* A ratio of two sums of squares in dB. Infinite when noise is 0, NaN when both are. */
double decibels(double signal, double noise);

/* KL divergence of the probabilities that two rows of logits [classes] stand for, in nats: sum p (log p - log q) with
 * p = softmax(logits), q = softmax(other). */
double kl_divergence(const float *logits, const float *other, int classes);

/* Signal to quantization noise of one array, in dB: 10 log10(sum x^2 / sum (x - x_hat)^2). */
double sqnr_db(const float *x, const float *x_hat, size_t count);

/* ---- how often each code came -------------------------------------------------------------------------------- */

enum { HISTOGRAM_MAX = 256 };

struct histogram {
    int levels; /* codes that there are; level 0 is the lowest */
    size_t count, seen[HISTOGRAM_MAX];
};

static inline void histogram_add(struct histogram *h, int level, size_t times) {
    h->seen[level] += times;
    h->count += times;
}

int histogram_used(const struct histogram *h);            /* levels that came at least once */
double histogram_entropy_bits(const struct histogram *h); /* - sum p log2 p: the least bits a code can do with */

/* ---- whether two models differ ------------------------------------------------------------------------------- */

/* Student's t test (Student 1908) of n differences between pairs: how often their mean would lie at least this far from
 * 0 if they were drawn from a normal distribution around 0. Two-sided; NaN below 2 pairs, 1 where all are 0. */
double paired_t_p(const double *differences, int n);

/* McNemar's exact test (McNemar 1947): two models answered the same images; are their errors equally frequent?
 * Only the images where one was right and the other wrong count. If neither were better, each of them would fall to
 * either side like a fair coin: p = min(1, 2 * sum_{i <= min(fixed, broken)} C(n, i) / 2^n), n = fixed + broken.
 * Returns the two-sided p; 1 when there is no such image. */
double mcnemar_exact_p(size_t fixed, size_t broken);

#endif
