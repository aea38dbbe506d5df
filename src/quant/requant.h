/* Requantization, equation 6 of the design: an int32 accumulator to an 8-bit code in integer arithmetic.
 *   M = s_x * s_w / s_y = m * 2^(shift - 31), m in [2^30, 2^31)
 *   y_q = clamp(z_y + ((acc * m) rounded once, ties up, in 64 bits))
 * The multiplier is made offline, in floating point; applying it is integer only. */
#ifndef QUANT_REQUANT_H
#define QUANT_REQUANT_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

struct multiplier {
    int32_t m;     /* [2^30, 2^31), or 0 when every accumulator would round to 0 */
    int32_t right; /* 31 - shift of eq. 6: how far acc * m is shifted right, 1 to 62 */
};

/* m and right of a real multiplier. A value below 2^-32 gives m = 0: |acc * M| < 1/2 for every int32.
 * False for one that is not finite, is negative, or is 2^30 and more (right would fall below 1). */
bool multiplier_from_real(double real, struct multiplier *out);

static_assert(-3 >> 1 == -2, "eq. 6 rounds down by >>, which C leaves to the compiler for negative numbers");

/* round(acc * m / 2^right), ties towards +infinity, one rounding. Wide enough for every int32 acc. */
static inline int64_t multiplier_apply(int32_t acc, struct multiplier by) {
    int64_t product = (int64_t)acc * by.m; /* |product| < 2^62: adding half cannot overflow */
    return (product + ((int64_t)1 << (by.right - 1))) >> by.right;
}

/* eq. 6: the code of an accumulator, clamped to [qmin, qmax]. ReLU is qmin = z_y. */
static inline uint8_t requantize(int32_t acc, struct multiplier by, int32_t zero_point, int32_t qmin, int32_t qmax) {
    int64_t q = multiplier_apply(acc, by) + zero_point;
    return (uint8_t)(q < qmin ? qmin : q > qmax ? qmax : q);
}

#endif
