#include "lowbit/ggml.h"

#include <math.h>

#include "base/finite.h"
#include "lowbit/ggml_parts.h"
#include "lowbit/half.h"

/* ---- q8_0 and q4_0: one scale for 32 weights -------------------------------------------------------------
 * Codes are chosen with 1/d of the float d, not of the fp16 d that is stored, and rounded as ggml rounds: so
 * the blocks are its own, wherever its are defined. Beyond, a d too large for fp16 becomes its largest
 * number, and one so small that 1/d is infinite (it is stored as 0) makes all codes 0. */

static float in_half_range(float d) { return d > HALF_MAX ? HALF_MAX : d < -HALF_MAX ? -HALF_MAX : d; }

static float inverse(float d) {
    float inverse = d != 0 ? 1 / d : 0;
    return is_finite(inverse) ? inverse : 0;
}

/*  | d: f16 | q[0] ... q[31]: int8 |   d = absmax / 127, ties away from 0 */
void q8_0_encode(const struct format *self, const float *w, const float *importance, int n, uint8_t *bytes) {
    (void)self, (void)importance, (void)n;
    float d = in_half_range(fabsf(extreme(w, 32)) / 127), steps = inverse(d);
    half_write(d, bytes);
    for (int i = 0; i < 32; i++) bytes[2 + i] = (uint8_t)clamp(roundf(w[i] * steps), -127, 127);
}

void q8_0_decode(const struct format *self, const uint8_t *bytes, int n, float *w) {
    (void)self, (void)n;
    float d = half_read(bytes);
    for (int i = 0; i < 32; i++) w[i] = (float)(int8_t)bytes[2 + i] * d;
}

/*  | d: f16 | 16 bytes: q[i] + 8 | (q[16 + i] + 8) << 4 |
 * The extreme weight takes code -8 exactly, whichever its sign: d has the other sign. Ties go up. */
void q4_0_encode(const struct format *self, const float *w, const float *importance, int n, uint8_t *bytes) {
    (void)self, (void)importance, (void)n;
    float d = in_half_range(extreme(w, 32) / -8), steps = inverse(d);
    uint8_t codes[32];
    half_write(d, bytes);
    for (int i = 0; i < 32; i++) codes[i] = (uint8_t)clamp(w[i] * steps + 8.5f, 0, 15);
    pack_nibbles(codes, 16, bytes + 2);
}

void q4_0_decode(const struct format *self, const uint8_t *bytes, int n, float *w) {
    (void)self, (void)n;
    uint8_t codes[32];
    float d = half_read(bytes);
    unpack_nibbles(bytes + 2, 16, codes);
    for (int i = 0; i < 32; i++) w[i] = (float)(codes[i] - 8) * d;
}

/* ---- iq4_nl: 16 values that are no straight line, denser around 0 -------------------------------------------------
 *   | d: f16 | 16 bytes: low nibbles 0..15, high 16..31 |   w = d * iq4_values[code]
 * As for the K-quants, the search minimises the squared error of the weights that a reader sees. */

static const int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/* The nearest value; the lower one on a tie. */
static uint8_t iq4_code(double x) {
    uint8_t code = 0;
    while (code < 15 && 2 * x > iq4_values[code] + iq4_values[code + 1]) code++;
    return code;
}

/* The d of least squared error for the codes that weights get under `start`. */
static double iq4_regress(const float *w, const float *importance, double start) {
    double v2 = 0, xv = 0;
    for (int i = 0; i < 32; i++) {
        double v = iq4_values[iq4_code(w[i] / start)], p = importance_of(importance, i);
        v2 += p * v * v, xv += p * v * (double)w[i];
    }
    return v2 > 0 ? xv / v2 : 0;
}

static double iq4_error(const float *w, const float *importance, double d) {
    double error = 0;
    for (int i = 0; i < 32; i++) {
        double e = (d != 0 ? d * iq4_values[iq4_code(w[i] / d)] : 0) - (double)w[i];
        error += importance_of(importance, i) * e * e;
    }
    return error;
}

/* The extreme weight takes a number from 95 to 145 of either sign, for the value at that end. */
void iq4_nl_encode(const struct format *self, const float *w, const float *importance, int n, uint8_t *bytes) {
    (void)self, (void)n;
    double farthest = (double)extreme(w, 32), least = INFINITY;
    float best = 0;
    uint8_t codes[32];
    for (int to = 95; farthest != 0 && to <= 145; to += 5)
        for (int sign = -1; sign <= 1; sign += 2) {
            double d = iq4_regress(w, importance, farthest / (sign * to));
            float stored = float_from_half(half_from_float(in_half_range((float)d)));
            double error = iq4_error(w, importance, (double)stored);
            if (error < least) best = stored, least = error;
        }
    half_write(best, bytes);
    for (int i = 0; i < 32; i++) codes[i] = best != 0 ? iq4_code((double)w[i] / (double)best) : 0;
    pack_nibbles(codes, 16, bytes + 2);
}

void iq4_nl_decode(const struct format *self, const uint8_t *bytes, int n, float *w) {
    (void)self, (void)n;
    uint8_t codes[32];
    float d = half_read(bytes);
    unpack_nibbles(bytes + 2, 16, codes);
    for (int i = 0; i < 32; i++) w[i] = d * (float)iq4_values[codes[i]];
}
