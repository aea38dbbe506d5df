#include "quant/affine.h"

#include <math.h>

#include "base/finite.h"

static int32_t clamp(double q, int32_t qmin, int32_t qmax) {
    return q < qmin ? qmin : q > qmax ? qmax : (int32_t)q; /* clamped before it is narrowed */
}

struct qparams qparams_asymmetric(float lo, float hi, int32_t qmin, int32_t qmax) {
    struct qparams p = {1, clamp(0, qmin, qmax), qmin, qmax};
    if (!is_finite((double)lo) || !is_finite((double)hi)) return p;
    if (lo > 0) lo = 0;
    if (hi < 0) hi = 0;
    float scale = (float)(((double)hi - (double)lo) / (qmax - qmin));
    if (!(scale > 0) || !is_finite((double)scale)) return p;
    p.scale = scale;
    p.zero_point = clamp(rint(qmin - (double)lo / scale), qmin, qmax);
    return p;
}

struct qparams qparams_symmetric(float absmax, int32_t qmax) {
    float scale = absmax / (float)qmax;
    if (!(scale > 0) || !is_finite((double)scale)) scale = 1;
    return (struct qparams){scale, 0, -qmax, qmax};
}

int32_t quantize(float x, struct qparams p) {
    float steps = rintf(x / p.scale); /* the default rounding mode: ties to even */
    if (is_nan((double)steps)) return p.zero_point;
    return clamp((double)steps + p.zero_point, p.qmin, p.qmax);
}

float dequantize(int32_t q, struct qparams p) { return p.scale * (float)(q - p.zero_point); }

float fake_quantize(float x, struct qparams p) { return dequantize(quantize(x, p), p); }

void range_with_zero(const float *x, size_t count, float *lo, float *hi) {
    float lowest = 0, highest = 0;
    for (size_t i = 0; i < count; i++) {
        lowest = x[i] < lowest ? x[i] : lowest;
        highest = x[i] > highest ? x[i] : highest;
    }
    *lo = lowest, *hi = highest;
}

float absolute_maximum(const float *x, size_t count) {
    float highest = 0;
    for (size_t i = 0; i < count; i++) highest = fabsf(x[i]) > highest ? fabsf(x[i]) : highest;
    return highest;
}
