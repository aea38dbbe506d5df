#include "base/rng.h"

#include <math.h>

static uint64_t splitmix64(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t rotate_left(uint64_t x, int bits) { return x << bits | x >> (64 - bits); }

struct rng rng_seeded(uint64_t seed) {
    struct rng rng;
    for (int i = 0; i < 4; i++) rng.state[i] = splitmix64(&seed);
    return rng;
}

uint64_t rng_next(struct rng *rng) {
    uint64_t *s = rng->state, result = rotate_left(s[0] + s[3], 23) + s[0], t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/* Multiply and reject (Lemire 2019): the high half of a 32 x 32 product, unless the low half falls in the
 * part that would make some results more likely than others. */
uint32_t rng_below(struct rng *rng, uint32_t bound) {
    uint32_t reject_below = -bound % bound;
    for (;;) {
        uint64_t product = (rng_next(rng) >> 32) * bound;
        if ((uint32_t)product >= reject_below) return (uint32_t)(product >> 32);
    }
}

double rng_uniform(struct rng *rng) { return (double)(rng_next(rng) >> 11) * 0x1p-53; }

double rng_normal(struct rng *rng) {
    double radius = sqrt(-2.0 * log(1.0 - rng_uniform(rng))); /* 1 - u is in (0, 1]: log is finite */
    return radius * cos(6.283185307179586 * rng_uniform(rng));
}

void rng_shuffle(struct rng *rng, uint32_t *items, size_t count) {
    for (size_t i = count; i > 1; i--) {
        size_t j = rng_below(rng, (uint32_t)i);
        uint32_t t = items[i - 1];
        items[i - 1] = items[j];
        items[j] = t;
    }
}
