#include "lowbit/ternary.h"

#include <math.h>
#include <string.h>

#include "lowbit/half.h"

static double mean_size(const float *w, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += fabs((double)w[i]);
    return sum / n;
}

static double twn_scale(const float *w, int n, double threshold) {
    double sum = 0;
    int above = 0;
    for (int i = 0; i < n; i++)
        if (fabs((double)w[i]) > threshold) sum += fabs((double)w[i]), above++;
    return above ? sum / above : 0;
}

static double twn_threshold(const float *w, int n) { return 0.7 * mean_size(w, n); }

struct qparams ternary_grid(const float *w, int n, int bits) {
    double scale = bits == 1 ? mean_size(w, n) : twn_scale(w, n, twn_threshold(w, n));
    return (struct qparams){scale_in_half((float)scale), 0, -1, 1};
}

/* Codes: -1 up to -threshold, 1 from it on; what is between is 0, and for a threshold of 0 +1. */
static void encode(const float *w, int n, double scale, double threshold, int bits, uint8_t *bytes) {
    memset(bytes, 0, 2 + packed_bytes((size_t)n, bits));
    half_write(scale < 65504 ? (float)scale : 65504.0f, bytes);
    for (int i = 0; i < n; i++) {
        int code = (double)w[i] > threshold ? 1 : (double)w[i] < -threshold ? -1 : bits == 1;
        put_code(bytes + 2, (size_t)i, bits, stored_code(code, bits));
    }
}

static void decode(const struct format *self, const uint8_t *bytes, int n, float *w) {
    float scale = half_read(bytes);
    for (int i = 0; i < n; i++)
        w[i] = scale * (float)signed_code(get_code(bytes + 2, (size_t)i, self->bits), self->bits);
}

void ternary_encode(const struct format *self, const float *w, const float *importance, int n, uint8_t *bytes) {
    (void)importance;
    double threshold = twn_threshold(w, n);
    encode(w, n, twn_scale(w, n, threshold), threshold, self->bits, bytes);
}

/* Rounding to nearest takes what is beyond half of the scale; half itself is a tie, and goes to the even 0. */
void bitnet_encode(const struct format *self, const float *w, const float *importance, int n, uint8_t *bytes) {
    (void)importance;
    double scale = mean_size(w, n);
    encode(w, n, scale, scale / 2, self->bits, bytes);
}

void binary_encode(const struct format *self, const float *w, const float *importance, int n, uint8_t *bytes) {
    (void)importance;
    encode(w, n, mean_size(w, n), 0, self->bits, bytes);
}

void ternary_decode(const struct format *self, const uint8_t *bytes, int n, float *w) { decode(self, bytes, n, w); }
void bitnet_decode(const struct format *self, const uint8_t *bytes, int n, float *w) { decode(self, bytes, n, w); }
void binary_decode(const struct format *self, const uint8_t *bytes, int n, float *w) { decode(self, bytes, n, w); }
