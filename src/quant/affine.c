#include "quant/affine.h"

#include <math.h>

#include "base/finite.h"
#include "base/vectorise.h"

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

/* Clamped before the zero point is added, since the sum of a float and it could be rounded. */
VECTORISED
static void quantize_all(const float *restrict x, size_t n, float scale, float lo, float hi, int32_t add,
                         uint8_t *restrict codes) {
    for (size_t i = 0; i < n; i++) {
        float steps = rintf(x[i] / scale);
        steps = steps == steps ? steps : 0;
        steps = steps < lo ? lo : steps > hi ? hi : steps;
        codes[i] = (uint8_t)((int32_t)steps + add);
    }
}

void quantize_to_bytes(const float *x, size_t n, struct qparams p, int32_t lowest, uint8_t *codes) {
    quantize_all(x, n, p.scale, (float)(p.qmin - p.zero_point), (float)(p.qmax - p.zero_point), p.zero_point - lowest,
                 codes);
}

float dequantize(int32_t q, struct qparams p) { return p.scale * (float)(q - p.zero_point); }

float fake_quantize(float x, struct qparams p) { return dequantize(quantize(x, p), p); }

enum { SIDE_BY_SIDE = 32 }; /* extremes that do not wait for one another */

VECTORISED
static void find_extremes(const float *restrict x, size_t blocks, float *restrict low, float *restrict high) {
    for (size_t b = 0; b < blocks; b++, x += SIDE_BY_SIDE)
        for (int l = 0; l < SIDE_BY_SIDE; l++) {
            low[l] = x[l] < low[l] ? x[l] : low[l];
            high[l] = x[l] > high[l] ? x[l] : high[l];
        }
}

void range_with_zero(const float *x, size_t count, float *lo, float *hi) {
    float low[SIDE_BY_SIDE] = {0}, high[SIDE_BY_SIDE] = {0}, lowest = 0, highest = 0;
    find_extremes(x, count / SIDE_BY_SIDE, low, high);
    for (size_t i = 0; i < SIDE_BY_SIDE + count % SIDE_BY_SIDE; i++) {
        float one = i < SIDE_BY_SIDE ? low[i] : x[count - 1 - (i - SIDE_BY_SIDE)],
              other = i < SIDE_BY_SIDE ? high[i] : one;
        lowest = one < lowest ? one : lowest;
        highest = other > highest ? other : highest;
    }
    *lo = lowest, *hi = highest;
}

float absolute_maximum(const float *x, size_t count) {
    float lo, hi;
    range_with_zero(x, count, &lo, &hi);
    return -lo > hi ? -lo : hi;
}
