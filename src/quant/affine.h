/* The affine map between real numbers and integer codes, equations 1 to 4 of the design:
 *   eq. 1  real = scale * (q - zero_point)
 *   eq. 2  q = clamp(round(x / scale) + zero_point, qmin, qmax), round to nearest, ties to even
 *   eq. 3  asymmetric: any range [lo, hi], widened to hold 0
 *   eq. 4  symmetric: zero_point 0, codes in [-qmax, qmax] */
#ifndef QUANT_AFFINE_H
#define QUANT_AFFINE_H

#include <stddef.h>
#include <stdint.h>

struct qparams {
    float scale;        /* real step between two codes, finite and > 0 */
    int32_t zero_point; /* the code of real 0 */
    int32_t qmin, qmax; /* the codes that may be used */
};

/* eq. 3: scale = (hi - lo) / (qmax - qmin), zero_point = clamp(round(qmin - lo / scale)). A range of width 0,
 * or one that is not finite, gives scale 1 and zero_point clamp(0). */
struct qparams qparams_asymmetric(float lo, float hi, int32_t qmin, int32_t qmax);

/* eq. 4: scale = absmax / qmax. absmax 0 or not finite gives scale 1. */
struct qparams qparams_symmetric(float absmax, int32_t qmax);

/* eq. 2. A NaN gives zero_point, the code of 0; infinities give the ends. */
int32_t quantize(float x, struct qparams p);

/* The same of n values, each less lowest: codes of the range lowest to lowest + 255 as bytes. */
void quantize_to_bytes(const float *x, size_t n, struct qparams p, int32_t lowest, uint8_t *codes);

/* eq. 1 */
float dequantize(int32_t q, struct qparams p);

/* What x becomes when it is quantized and read back ("fake quantization"). */
float fake_quantize(float x, struct qparams p);

/* The lowest and the highest of count values and 0; NaNs are passed over. */
void range_with_zero(const float *x, size_t count, float *lo, float *hi);

/* The largest |x| of count values; NaNs are passed over. */
float absolute_maximum(const float *x, size_t count);

#endif
