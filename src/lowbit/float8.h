/* The 8-bit floats (Micikevicius et al. 2022, FP8 Formats for Deep Learning), rounded to nearest, ties to even.
 *   fp8_e4m3  | sign | 4 exponent | 3 mantissa |  bias 7, no infinity, 0x7f is NaN: up to 448, NaN above 464
 *   fp8_e5m2  | sign | 5 exponent | 2 mantissa |  bias 15, as IEEE 754: up to 57344, infinity from 61440 on
 * Subnormals are kept. */
#ifndef LOWBIT_FLOAT8_H
#define LOWBIT_FLOAT8_H

#include <stdint.h>

struct float8 {
    const char *name;
    int mantissa, bias;        /* bits of the mantissa; what the exponent is written above */
    uint8_t highest, infinity; /* codes of the largest number, and of infinity, 0 where there is none */
};

extern const struct float8 float8_formats[2];
const struct float8 *float8_find(const char *name); /* NULL: there is none */

uint8_t float8_from_float(const struct float8 *f, float x);
float float_from_float8(const struct float8 *f, uint8_t code);

#endif
