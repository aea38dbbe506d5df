#include "base/histogram.h"

#include <math.h>

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
