/* A seeded random number generator whose stream is the same on every machine: xoshiro256++ (Blackman and
 * Vigna 2019), its state filled by splitmix64. Not for secrets. */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t state[4];
};

struct rng rng_seeded(uint64_t seed);
uint64_t rng_next(struct rng *rng);
uint32_t rng_below(struct rng *rng, uint32_t bound); /* uniform in [0, bound), without modulo bias; bound > 0 */
double rng_uniform(struct rng *rng);                 /* uniform in [0, 1), 53 bits */
double rng_normal(struct rng *rng);                  /* standard normal (Box and Muller 1958) */
void rng_shuffle(struct rng *rng, uint32_t *items, size_t count); /* in place (Fisher-Yates, Durstenfeld 1964) */

#endif
