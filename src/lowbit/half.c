#include "lowbit/half.h"

#include <string.h>

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* value / 2^shift to nearest, ties to even; shift 1 to 31 */
static uint32_t shift_right_even(uint32_t value, int shift) {
    uint32_t half = (uint32_t)1 << (shift - 1), odd = value >> shift & 1;
    return (value + half - 1 + odd) >> shift;
}

uint16_t half_from_float(float x) {
    uint32_t bits = bits_of(x), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff)); /* NaN, made quiet */
    if (magnitude >= 0x477ff000) return (uint16_t)(sign | 0x7c00);                            /* 65520 and more: inf */
    if (magnitude >= 0x38800000) /* 2^-14, the smallest normal; a mantissa that rounds up carries into the exponent */
        return (uint16_t)(sign | (shift_right_even(magnitude, 13) - (112 << 10)));
    if (magnitude < 0x33000000) return (uint16_t)sign; /* below 2^-25, half the smallest subnormal: 0 */
    uint32_t mantissa = (magnitude & 0x7fffff) | 0x800000;
    return (uint16_t)(sign | shift_right_even(mantissa, 126 - (int)(magnitude >> 23))); /* in units of 2^-24 */
}

float float_from_half(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, mantissa = half & 0x3ff;
    if (exponent == 31) return float_of(sign | 0x7f800000 | mantissa << 13);
    if (exponent > 0) return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
    float tiny = (float)mantissa * 0x1p-24f; /* subnormal, and zero: exact in a float */
    return sign ? -tiny : tiny;
}

uint16_t bfloat_from_float(float x) {
    uint32_t bits = bits_of(x), magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40); /* adding the half could turn a NaN into inf */
    return (uint16_t)(bits >> 31 << 15 | shift_right_even(magnitude, 16));
}

float float_from_bfloat(uint16_t bits) { return float_of((uint32_t)bits << 16); }
