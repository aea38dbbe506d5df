#include "base/mcnemar.h"

#include <math.h>

double mcnemar_exact_p(size_t fixed, size_t broken) {
    size_t few = fixed < broken ? fixed : broken;
    double n = (double)fixed + (double)broken, sum = 0;
    for (size_t i = 0; i <= few; i++) /* logarithms: C(n, i) and 2^n alone would overflow from n = 1030 on */
        sum += exp(lgamma(n + 1) - lgamma((double)i + 1) - lgamma(n - (double)i + 1) - n * log(2));
    return fmin(1, 2 * sum);
}
