/* Whether a number is one, told by its bits: under -Ofast or -ffast-math a compiler may take isfinite for true. */
#ifndef BASE_FINITE_H
#define BASE_FINITE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { DOUBLE_FRACTION = 52, DOUBLE_EXPONENT = 0x7ff };

/* The bits of x without its sign. */
static inline uint64_t size_bits(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits & INT64_MAX;
}

/* Neither infinite nor a NaN; for floats too, which a double holds as they are. */
static inline bool is_finite(double x) { return size_bits(x) >> DOUBLE_FRACTION != DOUBLE_EXPONENT; }

static inline bool is_nan(double x) { return size_bits(x) > (uint64_t)DOUBLE_EXPONENT << DOUBLE_FRACTION; }

#endif
