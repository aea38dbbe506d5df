/* The 16-bit floats of the ladder, rounded to nearest, ties to even.
 *   fp16 (IEEE 754 binary16)  | sign | 5 exponent | 10 mantissa |   overflow to infinity from 65520 on
 *   bf16                      | sign | 8 exponent |  7 mantissa |   the upper half of a float
 * Subnormals are kept, infinities stay, a NaN stays a NaN (quiet, with the upper bits of its payload). */
#ifndef LOWBIT_HALF_H
#define LOWBIT_HALF_H

#include <stdint.h>

uint16_t half_from_float(float x);
float float_from_half(uint16_t bits);

uint16_t bfloat_from_float(float x);
float float_from_bfloat(uint16_t bits);

#endif
