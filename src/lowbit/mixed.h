/* Mixed precision: each layer in a format of its own, chosen by how much the answers suffer from it (sensitivity, as in
 * HAWQ, Dong et al. 2019) under a budget of bits. */
#ifndef LOWBIT_MIXED_H
#define LOWBIT_MIXED_H

#include "lowbit/weight_only.h"

/* noise [layers][formats]: mean over images [count][inputs] of the squared change of the logits when layer l alone is
 * rounded to nearest in codecs [formats]. Error: out of memory. */
bool mixed_noise(const struct mlp *mlp, const uint8_t *images, int count, const struct codec *codecs, int formats,
                 double *noise, struct error *err);

/* A choice of formats: what it costs, and the noise that the layers add up to (their errors are all but independent).
 */
struct mixed_point {
    double bits, noise;
    uint8_t choice[MLP_MAX_LAYERS]; /* a format for each layer */
};

/* The choices that no other beats in both bits and noise, bits rising, noise falling; release with free(). bits and
 * noise [layers][formats] of each layer alone. NULL when out of memory. */
struct mixed_point *mixed_front(int layers, int formats, const double *bits, const double *noise, size_t *count,
                                struct error *err);

/* The best of a front for at most so many bits; NULL when none has so few. */
const struct mixed_point *mixed_within(const struct mixed_point *front, size_t count, double bits);

#endif
