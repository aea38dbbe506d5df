/* How far a tensor moved: what numeric suites report of a layer, summed up batch after batch. */
#ifndef BASE_SIMILARITY_H
#define BASE_SIMILARITY_H

#include <stddef.h>

struct similarity {
    size_t count;
    double signal, other, product; /* sums of x^2, x_hat^2 and x * x_hat */
    double noise;                  /* sum of (x - x_hat)^2 */
    double absolute, highest;      /* sum and maximum of |x - x_hat| */
};

/* count more values: x is the measure, x_hat what became of it. Begin with a zeroed struct. */
void similarity_add(struct similarity *s, const float *x, const float *x_hat, size_t count);

double similarity_sqnr_db(const struct similarity *s); /* 10 log10(signal / noise); infinite when equal */
double similarity_cosine(const struct similarity *s);  /* of the angle between x and x_hat; NaN when one is all zero */
double similarity_mean_error(const struct similarity *s); /* mean |x - x_hat| */

#endif
