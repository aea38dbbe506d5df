#include "quant/requant.h"

#include <math.h>

bool multiplier_from_real(double real, struct multiplier *out) {
    if (!isfinite(real) || real < 0 || real >= 0x1p30) return false;
    int exponent;
    double fraction = frexp(real, &exponent); /* real = fraction * 2^exponent, fraction in [1/2, 1) */
    int64_t m = (int64_t)rint(fraction * 0x1p31);
    if (m == (int64_t)1 << 31) { /* the mantissa rounded up to 1: renormalise */
        m >>= 1;
        exponent++;
    }
    *out = exponent < -31 ? (struct multiplier){0, 1} : (struct multiplier){(int32_t)m, 31 - exponent};
    return out->right >= 1;
}
