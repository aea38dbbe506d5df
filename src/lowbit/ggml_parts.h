/* What ggml's block layouts share. */
#ifndef LOWBIT_GGML_PARTS_H
#define LOWBIT_GGML_PARTS_H

#include <math.h>
#include <stdint.h>

#define HALF_MAX 65504.0f /* the largest finite fp16 */
#define HALF_MIN 0x1p-24f /* the smallest above 0 */

/* Clamped before it is narrowed. A NaN gives lo: weights are finite, but a conversion must be defined. */
static inline int clamp(double q, int lo, int hi) { return q > lo ? q < hi ? (int)q : hi : lo; }

/* codes [2 * half] of 4 bits -> bytes [half]: byte i has code i below and code half + i above. */
static inline void pack_nibbles(const uint8_t *codes, int half, uint8_t *bytes) {
    for (int i = 0; i < half; i++) bytes[i] = (uint8_t)((codes[i] & 15) | codes[half + i] << 4);
}

static inline void unpack_nibbles(const uint8_t *bytes, int half, uint8_t *codes) {
    for (int i = 0; i < half; i++) {
        codes[i] = bytes[i] & 15;
        codes[half + i] = bytes[i] >> 4;
    }
}

/* The first of the weights that are farthest from 0, with its sign. */
static inline float extreme(const float *w, int n) {
    float farthest = 0;
    for (int i = 0; i < n; i++) farthest = fabsf(w[i]) > fabsf(farthest) ? w[i] : farthest;
    return farthest;
}

/* Of a squared error; NULL: all the same. */
static inline double importance_of(const float *importance, int i) { return importance ? (double)importance[i] : 1; }

#endif
