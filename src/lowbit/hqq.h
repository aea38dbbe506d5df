/* HQQ, half-quadratic quantization (Badri and Shaji 2023, "Half-Quadratic Quantization of Large Machine Learning
 * Models"): an asymmetric grid whose zero point is a real number, moved until the weights' errors are small in a norm
 * that bears outliers. It looks at no data. A block is
 *   | f16 scale | f16 zero_point | codes, packed |     w = scale * (q - zero_point) */
#ifndef LOWBIT_HQQ_H
#define LOWBIT_HQQ_H

#include "lowbit/formats.h"

/* The grid of w [n], finite: scale = (max - min) / (2^bits - 1) stays, rounded to fp16; the zero point begins at
 * -min / scale. Up to 20 times, as long as the mean |w - w_r| falls:
 *   w_r = scale (clamp(round(w / scale + z)) - z)
 *   e = shrink(w - w_r) = sign * max(0, |w - w_r| - |w - w_r|^(p - 1) / beta),  p = 0.7, beta = 10 * 1.01^t   (eq. 5)
 *   z = mean(q - (w - e) / scale)                                                                           (eq. 6, 7)
 * with the constants of the authors' program. The zero point too is a number that fp16 holds. */
void hqq_grid(const float *w, int n, int bits, float *scale, float *zero);

BLOCK_FORMAT(hqq)

#endif
