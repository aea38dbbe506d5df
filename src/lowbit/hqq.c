#include "lowbit/hqq.h"

#include <math.h>

#include "lowbit/half.h"

enum { ITERATIONS = 20, CHUNK = 512 /* codes that are packed at a time: whole bytes at any number of bits */ };
static const float norm = 0.7f, first_beta = 10, kappa = 1.01f;

static float code_of(float w, float scale, float zero, float top) {
    float q = rintf(w / scale + zero);
    return q < 0 ? 0 : q > top ? top : q;
}

/* The proximal operator of the norm |.|^p. */
static float shrink(float x, float beta) {
    float size = fabsf(x);
    return size > 0 ? copysignf(fmaxf(0, size - powf(size, norm - 1) / beta), x) : 0;
}

void hqq_grid(const float *w, int n, int bits, float *scale, float *zero) {
    float lo = w[0], hi = w[0], top = (float)((1 << bits) - 1), beta = first_beta;
    double least = INFINITY;
    for (int i = 1; i < n; i++) lo = fminf(lo, w[i]), hi = fmaxf(hi, w[i]);
    *scale = scale_in_half((hi - lo) / top);
    if (hi == lo || !(fabsf(lo) / *scale < 65504.0f)) { /* all the same, as far as fp16 can tell */
        *scale = lo == 0 ? 1 : scale_in_half(fabsf(lo));
        *zero = lo > 0 ? -1 : lo < 0 ? 1 : 0;
        return;
    }
    *zero = -lo / *scale;
    for (int t = 0; t < ITERATIONS; t++, beta *= kappa) {
        double error = 0, sum = 0;
        for (int i = 0; i < n; i++) {
            float q = code_of(w[i], *scale, *zero, top), e = w[i] - *scale * (q - *zero);
            error += fabs((double)e) / n;
            sum += (double)(q - (w[i] - shrink(e, beta)) / *scale);
        }
        *zero = (float)(sum / n);
        if (!(error < least)) break;
        least = error;
    }
    *zero = float_from_half(half_from_float(*zero));
}

void hqq_encode(const struct format *self, const float *w, const float *importance, int n, uint8_t *bytes) {
    (void)importance;
    float scale, zero, top = (float)((1 << self->bits) - 1);
    hqq_grid(w, n, self->bits, &scale, &zero);
    half_write(scale, bytes);
    half_write(zero, bytes + 2);
    bytes += self->header;
    for (int first = 0; first < n; first += CHUNK) {
        uint8_t codes[CHUNK];
        int count = n - first < CHUNK ? n - first : CHUNK;
        for (int i = 0; i < count; i++) codes[i] = (uint8_t)code_of(w[first + i], scale, zero, top);
        pack_bits(codes, (size_t)count, self->bits, bytes + packed_bytes((size_t)first, self->bits));
    }
}

void hqq_decode(const struct format *self, const uint8_t *bytes, int n, float *w) {
    float scale = half_read(bytes), zero = half_read(bytes + 2);
    bytes += self->header;
    for (int first = 0; first < n; first += CHUNK) {
        uint8_t codes[CHUNK];
        int count = n - first < CHUNK ? n - first : CHUNK;
        unpack_bits(bytes + packed_bytes((size_t)first, self->bits), (size_t)count, self->bits, codes);
        for (int i = 0; i < count; i++) w[first + i] = scale * ((float)codes[i] - zero);
    }
}
