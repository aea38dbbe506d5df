#include "lowbit/ggml.h"

#include <math.h>
#include <string.h>

#include "lowbit/ggml_parts.h"
#include "lowbit/half.h"

/* ---- K-quants: 256 weights in sub-blocks, each with a quantized scale of its own -------------------------
 * Encoding is a search for the least squared error, in three steps:
 *   1. for each sub-block, codes on grids a little wider and narrower than its range, and for the codes of
 *      each grid the line w = scale * code - min that fits the weights best;
 *   2. the fp16 d (and dmin) from the largest scale (and min);
 *   3. for each sub-block the small integers near the fit that leave the least error, when everything is
 *      rounded as a reader will see it.
 * Each squared error counts by its importance. In double, since the square of 1e30 does not fit a float. Products of d,
 * a scale and a code are exact in a float: a reader that multiplies in another order, or fuses, gets the same weights.
 */

enum { K_BLOCK = 256, K_SUBS = 16 }; /* and sub-blocks, at most */

/* What a K-quant has: sub-blocks, codes, and whole numbers that their scales and mins may be. */
struct k_grid {
    int sub, lowest, highest; /* weights; codes. lowest < 0: w = scale * code, else w = scale * code - min */
    int lowest_scale, highest_scale, highest_min;
};

struct line {
    double scale, min;
    const struct k_grid *k;
};

/* The nearest code. A line of scale 0 has only its min to offer: code 0. */
static int line_code(float w, struct line l) {
    return l.scale == 0 ? 0 : clamp(rint((w + l.min) / l.scale), l.k->lowest, l.k->highest);
}

/* sum of importance * (w - w_hat)^2 */
static double line_error(const float *w, const float *importance, struct line l) {
    double error = 0;
    for (int i = 0; i < l.k->sub; i++) {
        double e = l.scale * line_code(w[i], l) - l.min - w[i];
        error += importance_of(importance, i) * (e * e);
    }
    return error;
}

/* The grids of step 1: the range is cut into `steps` parts, and up to one more or less. */
enum { GRIDS = 21 };

static double grid_steps(int steps, int grid) { return steps + 0.1 * (grid - GRIDS / 2); }

/* The least squares line through (code, w), with the codes that `grid` gives; its min is 0, or not below it. */
static struct line k_regress(const float *w, const float *importance, struct line grid) {
    double n = 0, q1 = 0, q2 = 0, x1 = 0, xq = 0;
    for (int i = 0; i < grid.k->sub; i++) {
        double q = line_code(w[i], grid), p = importance_of(importance, i);
        n += p, q1 += p * q, q2 += p * (q * q), x1 += p * w[i], xq += p * (w[i] * q);
    }
    struct line fit = grid;
    double determinant = n * q2 - q1 * q1;
    bool sloped = grid.k->highest_min && determinant > 0;
    if (sloped) {
        fit.scale = (n * xq - q1 * x1) / determinant;
        fit.min = (q1 * xq - q2 * x1) / determinant;
    }
    if (!sloped || !(fit.min >= 0)) {
        fit.min = 0;
        fit.scale = q2 > 0 ? xq / q2 : 0;
    }
    return fit;
}

/* Step 1: the best line over all grids. From the lowest weight to the highest; or, without a min, up to the extreme
 * weight, whose code is the one that reaches farthest: so the scale has a sign. */
static struct line k_fit(const float *w, const float *importance, const struct k_grid *k) {
    double lo = 0, hi = w[0], farthest = (double)extreme(w, k->sub), least = INFINITY;
    for (int i = 0; i < k->sub; i++) {
        lo = w[i] < lo ? w[i] : lo; /* not fmin: GCC 12 for AArch64 breaks off at it */
        hi = w[i] > hi ? w[i] : hi;
    }
    double range = k->highest_min ? hi - lo : -farthest, min = k->highest_min ? -lo : 0;
    int steps = k->highest_min ? k->highest : -k->lowest;
    struct line best = {range / steps, min, k};
    if (k->highest_min ? hi <= lo : farthest == 0) return best; /* all the same, and not above 0: code 0 everywhere */
    for (int grid = 0; grid < GRIDS; grid++) {
        struct line start = {range / grid_steps(steps, grid), min, k};
        struct line fit = k_regress(w, importance, start);
        double error = line_error(w, importance, fit);
        if ((k->lowest_scale || fit.scale > 0) && error < least) best = fit, least = error;
    }
    return best;
}

/* A d as fp16 will hold it: never 0 for a scale above 0, never infinite. */
static float k_scale(double d) {
    double size = d == 0 ? 0 : fmin(fmax(fabs(d), HALF_MIN), HALF_MAX);
    return (float)copysign(float_from_half(half_from_float((float)size)), d);
}

struct k_block {
    float d, dmin;
    int scale[K_SUBS], min[K_SUBS]; /* of each sub-block, in units of d and dmin */
    uint8_t codes[K_BLOCK];         /* from the lowest on */
};

/* Step 3: the best of the pairs of scale and min around the fit. */
static struct line k_choose(const float *w, const float *importance, struct line fit, const struct k_block *b,
                            int *scale, int *min) {
    const struct k_grid *k = fit.k;
    int near_scale = b->d != 0 ? clamp(rint(fit.scale / b->d), k->lowest_scale, k->highest_scale) : 0;
    int near_min = b->dmin > 0 ? clamp(rint(fit.min / b->dmin), 0, k->highest_min) : 0;
    struct line best = {.k = k};
    double least = INFINITY;
    for (int s = near_scale - (near_scale > k->lowest_scale); s <= near_scale + (near_scale < k->highest_scale); s++)
        for (int m = near_min - (near_min > 0); m <= near_min + (near_min < k->highest_min); m++) {
            struct line tried = {(double)b->d * s, (double)b->dmin * m, k};
            double error = line_error(w, importance, tried);
            if (error < least) best = tried, least = error, *scale = s, *min = m;
        }
    return best;
}

static void k_encode(const float *w, const float *importance, const struct k_grid *k, struct k_block *b) {
    struct line fit[K_SUBS];
    double widest = 0, deepest = 0; /* of the sub-blocks' scales and mins: they take the farthest number */
    int subs = K_BLOCK / k->sub;
    *b = (struct k_block){0};
    for (int sub = 0; sub < subs; sub++) {
        fit[sub] = k_fit(w + sub * k->sub, importance ? importance + sub * k->sub : NULL, k);
        if (fabs(fit[sub].scale) > fabs(widest)) widest = fit[sub].scale;
        deepest = fmax(deepest, fit[sub].min);
    }
    b->d = k_scale(widest / (k->lowest_scale ? k->lowest_scale : k->highest_scale));
    if (k->highest_min) b->dmin = k_scale(deepest / k->highest_min);
    for (int sub = 0; sub < subs; sub++) {
        int at = sub * k->sub;
        struct line chosen = k_choose(w + at, importance ? importance + at : NULL, fit[sub], b, &b->scale[sub],
                                      &b->min[sub]);
        for (int i = at; i < at + k->sub; i++) b->codes[i] = (uint8_t)(line_code(w[i], chosen) - k->lowest);
    }
}

/* w = d * scale * code - dmin * min, in the order of ggml's readers. */
static void k_decode(const struct k_block *b, const struct k_grid *k, float *w) {
    for (int i = 0; i < K_BLOCK; i++) {
        int sub = i / k->sub;
        float scaled = b->d * (float)b->scale[sub] * (float)(b->codes[i] + k->lowest);
        w[i] = k->highest_min ? scaled - b->dmin * (float)b->min[sub] : scaled;
    }
}

/* The low two bits of 256 codes in 64 bytes: each half of 128 has 32 bytes,
 *   byte i   | code[96 + i] | code[64 + i] | code[32 + i] | code[i] | */
static void pack_pairs(const uint8_t codes[K_BLOCK], uint8_t bytes[64]) {
    memset(bytes, 0, 64);
    for (int i = 0; i < K_BLOCK; i++) bytes[i / 128 * 32 + i % 32] |= (uint8_t)((codes[i] & 3) << i % 128 / 32 * 2);
}

static uint8_t pair_of(const uint8_t bytes[64], int i) { return bytes[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3; }

/* One bit of each code in 32 bytes: bit j of byte i is of code 32 * j + i. */
static void pack_bit(const uint8_t codes[K_BLOCK], int bit, uint8_t bytes[32]) {
    memset(bytes, 0, 32);
    for (int i = 0; i < K_BLOCK; i++) bytes[i % 32] |= (uint8_t)((codes[i] >> bit & 1) << i / 32);
}

static int bit_of(const uint8_t bytes[32], int i) { return bytes[i % 32] >> i / 32 & 1; }

/* ---- q2_K: | 16 bytes: min << 4 | scale, of 16 weights each | 64 bytes: pairs of bits | d: f16 | dmin: f16 | --------
 */

static const struct k_grid q2_K = {16, 0, 3, 0, 15, 15};

void q2_K_encode(const struct format *self, const float *w, const float *importance, int n, uint8_t *bytes) {
    (void)self, (void)n;
    struct k_block b;
    k_encode(w, importance, &q2_K, &b);
    for (int sub = 0; sub < 16; sub++) bytes[sub] = (uint8_t)(b.min[sub] << 4 | b.scale[sub]);
    pack_pairs(b.codes, bytes + 16);
    half_write(b.d, bytes + 80);
    half_write(b.dmin, bytes + 82);
}

void q2_K_decode(const struct format *self, const uint8_t *bytes, int n, float *w) {
    (void)self, (void)n;
    struct k_block b = {.d = half_read(bytes + 80), .dmin = half_read(bytes + 82)};
    for (int sub = 0; sub < 16; sub++) b.scale[sub] = bytes[sub] & 15, b.min[sub] = bytes[sub] >> 4;
    for (int i = 0; i < K_BLOCK; i++) b.codes[i] = pair_of(bytes + 16, i);
    k_decode(&b, &q2_K, w);
}

/* ---- q3_K: | 32 bytes: third bits | 64 bytes: pairs of bits | 12 bytes: 16 scales | d: f16 |
 * ------------------------- Scale s is stored in 6 bits as s + 32: the low four in byte s % 8, above those of another
 * from s = 8 on, the high two in byte 8 + s % 4, from bit 2 * (s / 4) on. Codes from -4 to 3 are stored as code + 4. */

static const struct k_grid q3_K = {16, -4, 3, -32, 31, 0};

void q3_K_encode(const struct format *self, const float *w, const float *importance, int n, uint8_t *bytes) {
    (void)self, (void)n;
    struct k_block b;
    uint8_t *scales = bytes + 96;
    k_encode(w, importance, &q3_K, &b);
    pack_bit(b.codes, 2, bytes);
    pack_pairs(b.codes, bytes + 32);
    memset(scales, 0, 12);
    for (int s = 0; s < 16; s++) {
        int scale = b.scale[s] + 32;
        scales[s % 8] |= (uint8_t)((scale & 15) << s / 8 * 4);
        scales[8 + s % 4] |= (uint8_t)(scale >> 4 << s / 4 * 2);
    }
    half_write(b.d, bytes + 108);
}

void q3_K_decode(const struct format *self, const uint8_t *bytes, int n, float *w) {
    (void)self, (void)n;
    struct k_block b = {.d = half_read(bytes + 108)};
    const uint8_t *scales = bytes + 96;
    for (int s = 0; s < 16; s++)
        b.scale[s] = ((scales[s % 8] >> s / 8 * 4 & 15) | (scales[8 + s % 4] >> s / 4 * 2 & 3) << 4) - 32;
    for (int i = 0; i < K_BLOCK; i++) b.codes[i] = (uint8_t)(pair_of(bytes + 32, i) | bit_of(bytes, i) << 2);
    k_decode(&b, &q3_K, w);
}

/* ---- q4_K, q5_K ------------------------------------------------------------------------------------------------
 *   | d: f16 | dmin: f16 | 12 bytes: scales and mins | 128 bytes: nibbles |   w = d * scale * q - dmin * min
 *
 * 8 sub-blocks of 32, each with a scale and a min of 6 bits. The 12 bytes, bits from the highest, j = 0 .. 3:
 *   byte     j   | scale[4 + j] 5..4 | scale[j]     5..0 |
 *   byte 4 + j   |   min[4 + j] 5..4 |   min[j]     5..0 |
 *   byte 8 + j   |   min[4 + j] 3..0 | scale[4 + j] 3..0 |
 * Four times 32 bytes of nibbles, each with an even sub-block below and the next one above.
 * q5_K has 32 bytes of fifth bits before them. */

static void q4_K_pack_scales(const int scale[8], const int min[8], uint8_t bytes[12]) {
    for (int j = 0; j < 4; j++) {
        bytes[j] = (uint8_t)(scale[4 + j] >> 4 << 6 | scale[j]);
        bytes[4 + j] = (uint8_t)(min[4 + j] >> 4 << 6 | min[j]);
        bytes[8 + j] = (uint8_t)((min[4 + j] & 15) << 4 | (scale[4 + j] & 15));
    }
}

static void q4_K_unpack_scales(const uint8_t bytes[12], int scale[8], int min[8]) {
    for (int j = 0; j < 4; j++) {
        scale[j] = bytes[j] & 63;
        min[j] = bytes[4 + j] & 63;
        scale[4 + j] = bytes[j] >> 6 << 4 | (bytes[8 + j] & 15);
        min[4 + j] = bytes[4 + j] >> 6 << 4 | bytes[8 + j] >> 4;
    }
}

static const struct k_grid q4_K = {32, 0, 15, 0, 63, 63}, q5_K = {32, 0, 31, 0, 63, 63};

static void q45_K_encode(const float *w, const float *importance, const struct k_grid *k, uint8_t *bytes) {
    struct k_block b;
    k_encode(w, importance, k, &b);
    half_write(b.d, bytes);
    half_write(b.dmin, bytes + 2);
    q4_K_pack_scales(b.scale, b.min, bytes + 4);
    bytes += 16;
    if (k == &q5_K) pack_bit(b.codes, 4, bytes), bytes += 32;
    for (int pair = 0; pair < 4; pair++) pack_nibbles(b.codes + 64 * pair, 32, bytes + 32 * pair);
}

static void q45_K_decode(const uint8_t *bytes, const struct k_grid *k, float *w) {
    struct k_block b = {.d = half_read(bytes), .dmin = half_read(bytes + 2)};
    const uint8_t *fifth = bytes + 16, *nibbles = k == &q5_K ? fifth + 32 : fifth;
    q4_K_unpack_scales(bytes + 4, b.scale, b.min);
    for (int pair = 0; pair < 4; pair++) unpack_nibbles(nibbles + 32 * pair, 32, b.codes + 64 * pair);
    for (int i = 0; k == &q5_K && i < K_BLOCK; i++) b.codes[i] |= (uint8_t)(bit_of(fifth, i) << 4);
    k_decode(&b, k, w);
}

#define Q45_K(name)                                                                                                    \
    void name##_encode(const struct format *self, const float *w, const float *importance, int n, uint8_t *bytes) {    \
        (void)self, (void)n;                                                                                           \
        q45_K_encode(w, importance, &name, bytes);                                                                     \
    }                                                                                                                  \
    void name##_decode(const struct format *self, const uint8_t *bytes, int n, float *w) {                             \
        (void)self, (void)n;                                                                                           \
        q45_K_decode(bytes, &name, w);                                                                                 \
    }
Q45_K(q4_K)
Q45_K(q5_K)

/* ---- q6_K ------------------------------------------------------------------------------------------------
 *   | 128 bytes: low nibbles | 64 bytes: high 2 bits | 16 x int8 scale | d: f16 |       w = d * scale * q
 *
 * 16 sub-blocks of 16; code = q + 32 in 6 bits. Each half of 128 weights has 64 low and 32 high bytes:
 *   low i, 0 .. 63    | code[64 + i] 3..0 | code[i] 3..0 |
 *   high i, 0 .. 31   | code[96 + i] 5..4 | code[64 + i] 5..4 | code[32 + i] 5..4 | code[i] 5..4 | */

enum { Q6_K_SCALES = 128 + 64, Q6_K_D = Q6_K_SCALES + 16 }; /* offsets */

static void q6_K_pack(const uint8_t codes[K_BLOCK], uint8_t bytes[Q6_K_SCALES]) {
    for (int half = 0; half < 2; half++) {
        const uint8_t *c = codes + 128 * half;
        uint8_t *high = bytes + 128 + 32 * half;
        pack_nibbles(c, 64, bytes + 64 * half);
        for (int i = 0; i < 32; i++)
            high[i] = (uint8_t)(c[i] >> 4 | c[32 + i] >> 4 << 2 | c[64 + i] >> 4 << 4 | c[96 + i] >> 4 << 6);
    }
}

static void q6_K_unpack(const uint8_t bytes[Q6_K_SCALES], uint8_t codes[K_BLOCK]) {
    for (int half = 0; half < 2; half++) {
        uint8_t *c = codes + 128 * half;
        const uint8_t *high = bytes + 128 + 32 * half;
        unpack_nibbles(bytes + 64 * half, 64, c);
        for (int i = 0; i < 128; i++) c[i] |= (uint8_t)((high[i % 32] >> 2 * (i / 32) & 3) << 4);
    }
}

static const struct k_grid q6_K = {16, -32, 31, -128, 127, 0};

void q6_K_encode(const struct format *self, const float *w, const float *importance, int n, uint8_t *bytes) {
    (void)self, (void)n;
    struct k_block b;
    k_encode(w, importance, &q6_K, &b);
    for (int sub = 0; sub < 16; sub++) bytes[Q6_K_SCALES + sub] = (uint8_t)b.scale[sub];
    q6_K_pack(b.codes, bytes);
    half_write(b.d, bytes + Q6_K_D);
}

void q6_K_decode(const struct format *self, const uint8_t *bytes, int n, float *w) {
    (void)self, (void)n;
    struct k_block b = {.d = half_read(bytes + Q6_K_D)};
    for (int sub = 0; sub < 16; sub++) b.scale[sub] = (int8_t)bytes[Q6_K_SCALES + sub];
    q6_K_unpack(bytes, b.codes);
    k_decode(&b, &q6_K, w);
}
