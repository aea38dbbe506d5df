/* A network of three layers and images with a pixel that is always 0, for tests of methods that change weights. */
#ifndef TESTS_SMALL_NETWORK_H
#define TESTS_SMALL_NETWORK_H

#include "support.h"

#include "base/rng.h"
#include "nn/mlp.h"

static struct error err;

#define CHECK(call)                                                                                                    \
    do {                                                                                                               \
        if (!(call)) fail_msg("%s: %s", #call, err.text);                                                              \
    } while (0)

enum { IMAGES = 300, INPUTS = 20 };
static const struct mlp_shape shape = {3, {INPUTS, 16, 12, 5}};
static uint8_t images[IMAGES * INPUTS];

static inline void make_network(uint64_t seed, struct mlp *mlp) {
    struct rng rng = rng_seeded(seed);
    CHECK(mlp_create(&shape, mlp, &err));
    mlp_initialise(mlp, &rng);
    for (int i = 0; i < IMAGES * INPUTS; i++) images[i] = i % INPUTS == 3 ? 0 : (uint8_t)rng_below(&rng, 256);
}

#endif
