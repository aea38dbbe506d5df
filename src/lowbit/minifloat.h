/* Floats of 8 bits and fewer, | sign | exponent | mantissa |, rounded to nearest, ties to even; subnormals are kept.
 *   fp8_e4m3  1 4 3  bias  7  up to 448, NaN above 464: 0x7f is NaN, there is no infinity
 *   fp8_e5m2  1 5 2  bias 15  up to 57344, infinity from 61440 on: as IEEE 754
 *   fp6_e2m3  1 2 3  bias  1  up to 7.5; all codes of 6 and 4 bits are numbers: what is beyond becomes the highest
 *   fp6_e3m2  1 3 2  bias  3  up to 28
 *   fp4_e2m1  1 2 1  bias  1  up to 6
 * (Micikevicius et al. 2022, FP8 Formats for Deep Learning, table 1; OCP Microscaling Formats 1.0, section 5.3.) */
#ifndef LOWBIT_MINIFLOAT_H
#define LOWBIT_MINIFLOAT_H

#include <stdint.h>

struct minifloat {
    const char *name;
    int bits, mantissa, bias;  /* of the code; of the mantissa; what the exponent is written above */
    uint8_t highest, infinity; /* codes of the largest number, and of infinity, 0 where there is none */
};

enum { FP8_E4M3, FP8_E5M2, FP6_E2M3, FP6_E3M2, FP4_E2M1, MINIFLOATS };
extern const struct minifloat minifloats[MINIFLOATS];
const struct minifloat *minifloat_find(const char *name); /* NULL: there is none */

uint8_t minifloat_from_float(const struct minifloat *f, float x);
float float_from_minifloat(const struct minifloat *f, uint8_t code);

/* The same, but what is beyond the highest number becomes that one: how blocks are encoded (OCP, section 6.3). */
uint8_t minifloat_saturate(const struct minifloat *f, float x);

#endif
