#include "quant/dot.h"

#include "base/vectorise.h"

/* |x_q - z_x| fits int16: the compiler may then multiply and add in pairs. */
VECTORISED
static int32_t dot_pairwise(const uint8_t *restrict x, int32_t x_zero_point, const int8_t *restrict w, int n) {
    int32_t sum = 0;
    for (int k = 0; k < n; k++) sum += (int16_t)(x[k] - x_zero_point) * (int16_t)w[k];
    return sum;
}

int32_t dot_codes(const uint8_t *restrict x, int32_t x_zero_point, const int8_t *restrict w, int n) {
    return dot_pairwise(x, x_zero_point, w, n);
}
