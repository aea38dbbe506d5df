#include "lowbit/minifloat.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "base/finite.h"

const struct minifloat minifloats[MINIFLOATS] = {[FP8_E4M3] = {"fp8_e4m3", 8, 3, 7, 0x7e, 0},
                                                 [FP8_E5M2] = {"fp8_e5m2", 8, 2, 15, 0x7b, 0x7c},
                                                 [FP6_E2M3] = {"fp6_e2m3", 6, 3, 1, 0x1f, 0},
                                                 [FP6_E3M2] = {"fp6_e3m2", 6, 2, 3, 0x1f, 0},
                                                 [FP4_E2M1] = {"fp4_e2m1", 4, 1, 1, 0x07, 0}};

const struct minifloat *minifloat_find(const char *name) {
    for (int i = 0; i < MINIFLOATS; i++)
        if (strcmp(minifloats[i].name, name) == 0) return &minifloats[i];
    return NULL;
}

/* All bits of a code but its sign: also the code of NaN, where there is one. */
static int magnitude_mask(const struct minifloat *f) { return (1 << (f->bits - 1)) - 1; }

static float magnitude_of(const struct minifloat *f, int code) {
    int exponent = code >> f->mantissa, mantissa = code & ((1 << f->mantissa) - 1);
    int implied = exponent ? 1 << f->mantissa : 0;
    return ldexpf((float)(mantissa + implied), (exponent ? exponent : 1) - f->bias - f->mantissa);
}

/* Codes of magnitudes are consecutive: counted in steps of its own binade, a number that rounds up to the next one gets
 * that one's first code. The grid goes on above the highest number; the code behind it is infinity, or NaN. */
static int magnitude_code(const struct minifloat *f, float size) {
    int above, lowest = 1 - f->bias;
    if (size == 0) return 0;
    frexpf(size, &above);
    int exponent = above - 1 > lowest ? above - 1 : lowest;
    int steps = (int)rintf(ldexpf(size, f->mantissa - exponent));
    int code = ((exponent - lowest) << f->mantissa) + steps;
    return code > f->highest + 1 ? f->highest + 1 : code;
}

uint8_t minifloat_from_float(const struct minifloat *f, float x) {
    int sign = signbit(x) ? magnitude_mask(f) + 1 : 0, last = magnitude_mask(f), code = last;
    if (!is_nan((double)x)) code = is_finite((double)x) ? magnitude_code(f, fabsf(x)) : f->highest + 1;
    return (uint8_t)(sign | (code < last ? code : last));
}

uint8_t minifloat_saturate(const struct minifloat *f, float x) {
    float highest = magnitude_of(f, f->highest);
    return minifloat_from_float(f, x > highest ? highest : x < -highest ? -highest : x);
}

float float_from_minifloat(const struct minifloat *f, uint8_t code) {
    int magnitude = code & magnitude_mask(f);
    float size = magnitude <= f->highest ? magnitude_of(f, magnitude) : magnitude == f->infinity ? INFINITY : NAN;
    return code & (magnitude_mask(f) + 1) ? -size : size;
}
