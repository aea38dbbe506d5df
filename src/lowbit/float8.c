#include "lowbit/float8.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "base/finite.h"

const struct float8 float8_formats[2] = {{"fp8_e4m3", 3, 7, 0x7e, 0}, {"fp8_e5m2", 2, 15, 0x7b, 0x7c}};

const struct float8 *float8_find(const char *name) {
    for (int i = 0; i < 2; i++)
        if (strcmp(float8_formats[i].name, name) == 0) return &float8_formats[i];
    return NULL;
}

/* The grid goes on above the highest number: its next step is where rounding up leaves it. */
static float magnitude_of(const struct float8 *f, int code) {
    int exponent = code >> f->mantissa, mantissa = code & ((1 << f->mantissa) - 1);
    int implied = exponent ? 1 << f->mantissa : 0;
    return ldexpf((float)(mantissa + implied), (exponent ? exponent : 1) - f->bias - f->mantissa);
}

/* Magnitudes rise with their codes. The code behind the highest is infinity, or NaN where there is none. */
uint8_t float8_from_float(const struct float8 *f, float x) {
    int sign = signbit(x) ? 0x80 : 0, code = 0;
    float size = fabsf(x);
    if (is_nan((double)x)) return (uint8_t)(sign | 0x7f);
    while (code < f->highest && magnitude_of(f, code + 1) <= size) code++;
    float middle = (magnitude_of(f, code) + magnitude_of(f, code + 1)) / 2;
    if (size > middle || (size == middle && code % 2)) code++;
    return (uint8_t)(sign | code);
}

float float_from_float8(const struct float8 *f, uint8_t code) {
    int magnitude = code & 0x7f;
    float size = magnitude <= f->highest ? magnitude_of(f, magnitude) : magnitude == f->infinity ? INFINITY : NAN;
    return code & 0x80 ? -size : size;
}
