/* McNemar's exact test (McNemar 1947): two models answered the same images; are their errors equally frequent?
 * Only the images where one was right and the other wrong count. If neither were better, each of them would fall to
 * either side like a fair coin: p = min(1, 2 * sum_{i <= min(fixed, broken)} C(n, i) / 2^n), n = fixed + broken. */
#ifndef BASE_MCNEMAR_H
#define BASE_MCNEMAR_H

#include <stddef.h>

/* The two-sided p value; 1 when there is no such image. */
double mcnemar_exact_p(size_t fixed, size_t broken);

#endif
