/* How often each code came: what a tensor makes of the codes that it has. */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include <stddef.h>

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
double histogram_entropy_bits(const struct histogram *h); /* - sum p log2 p: the least bits a code of it can do with */

#endif
