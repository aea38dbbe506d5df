/* The sum of eq. 5, where no kernel of qlinear.h is asked for: offline, and where a fault is to be put in. */
#ifndef QUANT_DOT_H
#define QUANT_DOT_H

#include <stdint.h>

/* sum_k (x[k] - x_zero_point) w[k] over n codes, exact: n <= 16384, the zero point a code of x. */
int32_t dot_codes(const uint8_t *restrict x, int32_t x_zero_point, const int8_t *restrict w, int n);

#endif
