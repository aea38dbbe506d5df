#include "lowbit/ggml.h"

#include <math.h>
#include <string.h>

#include "base/finite.h"
#include "lowbit/half.h"

/* ---- parts that the layouts share ---------------------------------------------------------------------- */

#define HALF_MAX 65504.0f /* the largest finite fp16 */
#define HALF_MIN 0x1p-24f /* the smallest above 0 */

/* Clamped before it is narrowed. A NaN gives lo: weights are finite, but a conversion must be defined. */
static int clamp(double q, int lo, int hi) { return q > lo ? q < hi ? (int)q : hi : lo; }

/* codes [2 * half] of 4 bits -> bytes [half]: byte i has code i below and code half + i above. */
static void pack_nibbles(const uint8_t *codes, int half, uint8_t *bytes) {
    for (int i = 0; i < half; i++) bytes[i] = (uint8_t)((codes[i] & 15) | codes[half + i] << 4);
}

static void unpack_nibbles(const uint8_t *bytes, int half, uint8_t *codes) {
    for (int i = 0; i < half; i++) {
        codes[i] = bytes[i] & 15;
        codes[half + i] = bytes[i] >> 4;
    }
}

/* The first of the weights that are farthest from 0, with its sign. */
static float extreme(const float *w, int n) {
    float farthest = 0;
    for (int i = 0; i < n; i++) farthest = fabsf(w[i]) > fabsf(farthest) ? w[i] : farthest;
    return farthest;
}

/* ---- q8_0 and q4_0: one scale for 32 weights -------------------------------------------------------------
 * Codes are chosen with 1/d of the float d, not of the fp16 d that is stored, and rounded as ggml rounds: so
 * the blocks are its own, wherever its are defined. Beyond, a d too large for fp16 becomes its largest
 * number, and one so small that 1/d is infinite (it is stored as 0) makes all codes 0. */

enum { SMALL_BLOCK = 32, Q8_0_BYTES = 2 + 32, Q4_0_BYTES = 2 + 16 };

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

/* ---- K-quants: 256 weights in sub-blocks, each with a quantized scale of its own -------------------------
 * Encoding is a search for the least squared error, in three steps:
 *   1. for each sub-block, codes on grids a little wider and narrower than its range, and for the codes of
 *      each grid the line w = scale * code - min that fits the weights best;
 *   2. the fp16 d (and dmin) from the largest scale (and min);
 *   3. for each sub-block the small integers near the fit that leave the least error, when everything is
 *      rounded as a reader will see it.
 * In double, since the square of 1e30 does not fit a float. Products of d, a scale and a code are exact in
 * a float: a reader that multiplies in another order, or fuses, gets the same weights. */

enum { K_BLOCK = 256 };

struct line {
    double scale, min;   /* w = scale * code - min */
    int lowest, highest; /* code; 0 lies between */
};

/* The nearest code. A line of scale 0 has only its min to offer: code 0. */
static int line_code(float w, struct line l) {
    return l.scale == 0 ? 0 : clamp(rint((w + l.min) / l.scale), l.lowest, l.highest);
}

/* sum of (w - w_hat)^2 */
static double line_error(const float *w, int n, struct line l) {
    double error = 0;
    for (int i = 0; i < n; i++) {
        double e = l.scale * line_code(w[i], l) - l.min - w[i];
        error += e * e;
    }
    return error;
}

/* The grids of step 1: the range is cut into `steps` parts, and up to one more or less. */
enum { GRIDS = 21 };

static double grid_steps(int steps, int grid) { return steps + 0.1 * (grid - GRIDS / 2); }

/* A d as fp16 will hold it: never 0 for a scale above 0, never infinite. */
static float k_scale(double d) {
    double size = d == 0 ? 0 : fmin(fmax(fabs(d), HALF_MIN), HALF_MAX);
    return (float)copysign(float_from_half(half_from_float((float)size)), d);
}

/* What a K-quant has: sub-blocks, whole numbers that their scales and mins may be, and how a line is fitted to one. */
struct k_grid {
    int sub, lowest_scale, highest_scale, highest_min;
    struct line (*fit)(const float *w); /* step 1 */
};

struct k_block {
    float d, dmin;
    int scale[K_BLOCK / 16], min[K_BLOCK / 16]; /* of each sub-block, in units of d and dmin */
    uint8_t codes[K_BLOCK];
};

/* Step 3: the best of the pairs of scale and min around the fit. */
static struct line k_choose(const float *w, const struct k_grid *k, struct line fit, const struct k_block *b,
                            int *scale, int *min) {
    int near_scale = b->d != 0 ? clamp(rint(fit.scale / b->d), k->lowest_scale, k->highest_scale) : 0;
    int near_min = b->dmin > 0 ? clamp(rint(fit.min / b->dmin), 0, k->highest_min) : 0;
    struct line best = {0};
    double least = INFINITY;
    for (int s = near_scale - (near_scale > k->lowest_scale); s <= near_scale + (near_scale < k->highest_scale); s++)
        for (int m = near_min - (near_min > 0); m <= near_min + (near_min < k->highest_min); m++) {
            struct line tried = {(double)b->d * s, (double)b->dmin * m, fit.lowest, fit.highest};
            double error = line_error(w, k->sub, tried);
            if (error < least) best = tried, least = error, *scale = s, *min = m;
        }
    return best;
}

static void k_encode(const float *w, const struct k_grid *k, struct k_block *b) {
    struct line fit[K_BLOCK / 16];
    double widest = 0, deepest = 0; /* of the sub-blocks' scales and mins: they take the farthest number */
    int subs = K_BLOCK / k->sub;
    *b = (struct k_block){0};
    for (int sub = 0; sub < subs; sub++) {
        fit[sub] = k->fit(w + sub * k->sub);
        if (fabs(fit[sub].scale) > fabs(widest)) widest = fit[sub].scale;
        deepest = fmax(deepest, fit[sub].min);
    }
    b->d = k_scale(widest / (k->lowest_scale ? k->lowest_scale : k->highest_scale));
    if (k->highest_min) b->dmin = k_scale(deepest / k->highest_min);
    for (int sub = 0; sub < subs; sub++) {
        const float *x = w + sub * k->sub;
        struct line chosen = k_choose(x, k, fit[sub], b, &b->scale[sub], &b->min[sub]);
        for (int i = 0; i < k->sub; i++) b->codes[sub * k->sub + i] = (uint8_t)line_code(x[i], chosen);
    }
}

/* ---- q4_K ------------------------------------------------------------------------------------------------
 *   | d: f16 | dmin: f16 | 12 bytes: scales and mins | 128 bytes: nibbles |   w = d * scale * q - dmin * min
 *
 * 8 sub-blocks of 32, each with a scale and a min of 6 bits. The 12 bytes, bits from the highest, j = 0 .. 3:
 *   byte     j   | scale[4 + j] 5..4 | scale[j]     5..0 |
 *   byte 4 + j   |   min[4 + j] 5..4 |   min[j]     5..0 |
 *   byte 8 + j   |   min[4 + j] 3..0 | scale[4 + j] 3..0 |
 * Four times 32 bytes of nibbles, each with an even sub-block below and the next one above. */

enum { Q4_K_SUBS = 8, Q4_K_SUB = 32, Q4_K_BYTES = 2 + 2 + 12 + 128 };

static void q4_K_pack_scales(const int scale[8], const int min[8], uint8_t bytes[12]) {
    for (int j = 0; j < 4; j++) {
        bytes[j] = (uint8_t)(scale[4 + j] >> 4 << 6 | scale[j]);
        bytes[4 + j] = (uint8_t)(min[4 + j] >> 4 << 6 | min[j]);
        bytes[8 + j] = (uint8_t)((min[4 + j] & 15) << 4 | (scale[4 + j] & 15));
    }
}

static void q4_K_unpack_scales(const uint8_t bytes[12], uint8_t scale[8], uint8_t min[8]) {
    for (int j = 0; j < 4; j++) {
        scale[j] = bytes[j] & 63;
        min[j] = bytes[4 + j] & 63;
        scale[4 + j] = (uint8_t)(bytes[j] >> 6 << 4 | (bytes[8 + j] & 15));
        min[4 + j] = (uint8_t)(bytes[4 + j] >> 6 << 4 | bytes[8 + j] >> 4);
    }
}

/* The least squares line through (code, w), with the codes that `grid` gives; its min is not below 0. */
static struct line q4_K_regress(const float w[Q4_K_SUB], struct line grid) {
    double q1 = 0, q2 = 0, x1 = 0, xq = 0, n = Q4_K_SUB;
    for (int i = 0; i < Q4_K_SUB; i++) {
        double q = line_code(w[i], grid);
        q1 += q, q2 += q * q, x1 += w[i], xq += w[i] * q;
    }
    struct line fit = grid;
    double determinant = n * q2 - q1 * q1;
    if (determinant > 0) {
        fit.scale = (n * xq - q1 * x1) / determinant;
        fit.min = (q1 * xq - q2 * x1) / determinant;
    }
    if (!(fit.min >= 0) || !(determinant > 0)) {
        fit.min = 0;
        fit.scale = q2 > 0 ? xq / q2 : 0;
    }
    return fit;
}

/* Step 1: the best line over all grids. */
static struct line q4_K_fit(const float w[Q4_K_SUB]) {
    double lo = 0, hi = w[0], least = INFINITY;
    for (int i = 0; i < Q4_K_SUB; i++) {
        lo = w[i] < lo ? w[i] : lo; /* not fmin: GCC 12 for AArch64 breaks off at it */
        hi = w[i] > hi ? w[i] : hi;
    }
    struct line best = {(hi - lo) / 15, -lo, 0, 15};
    if (hi <= lo) return best; /* all the same, and not above 0: code 0 everywhere */
    for (int grid = 0; grid < GRIDS; grid++) {
        struct line start = {(hi - lo) / grid_steps(15, grid), -lo, 0, 15};
        struct line fit = q4_K_regress(w, start);
        double error = line_error(w, Q4_K_SUB, fit);
        if (fit.scale > 0 && error < least) best = fit, least = error;
    }
    return best;
}

static const struct k_grid q4_K = {Q4_K_SUB, 0, 63, 63, q4_K_fit};

void q4_K_encode(const struct format *self, const float *w, const float *importance, int n, uint8_t *bytes) {
    (void)self, (void)importance, (void)n;
    struct k_block block;
    k_encode(w, &q4_K, &block);
    half_write(block.d, bytes);
    half_write(block.dmin, bytes + 2);
    q4_K_pack_scales(block.scale, block.min, bytes + 4);
    for (int pair = 0; pair < 4; pair++) pack_nibbles(block.codes + 64 * pair, 32, bytes + 16 + 32 * pair);
}

void q4_K_decode(const struct format *self, const uint8_t *bytes, int n, float *w) {
    (void)self, (void)n;
    uint8_t scale[Q4_K_SUBS], min[Q4_K_SUBS], codes[K_BLOCK];
    float d = half_read(bytes), dmin = half_read(bytes + 2);
    q4_K_unpack_scales(bytes + 4, scale, min);
    for (int pair = 0; pair < 4; pair++) unpack_nibbles(bytes + 16 + 32 * pair, 32, codes + 64 * pair);
    for (int i = 0; i < K_BLOCK; i++) {
        int sub = i / Q4_K_SUB;
        w[i] = d * (float)scale[sub] * (float)codes[i] - dmin * (float)min[sub];
    }
}

/* ---- q6_K ------------------------------------------------------------------------------------------------
 *   | 128 bytes: low nibbles | 64 bytes: high 2 bits | 16 x int8 scale | d: f16 |       w = d * scale * q
 *
 * 16 sub-blocks of 16; code = q + 32 in 6 bits. Each half of 128 weights has 64 low and 32 high bytes:
 *   low i, 0 .. 63    | code[64 + i] 3..0 | code[i] 3..0 |
 *   high i, 0 .. 31   | code[96 + i] 5..4 | code[64 + i] 5..4 | code[32 + i] 5..4 | code[i] 5..4 | */

enum { Q6_K_SUBS = 16, Q6_K_SUB = 16, Q6_K_SCALES = 128 + 64 }; /* the offset of the scales */
enum { Q6_K_D = Q6_K_SCALES + Q6_K_SUBS, Q6_K_BYTES = Q6_K_D + 2 };

/* Step 1. The scale has a sign, so that the extreme weight takes the code that reaches farthest, -32. */
static struct line q6_K_fit(const float w[Q6_K_SUB]) {
    struct line best = {0, 0, -32, 31};
    double farthest = extreme(w, Q6_K_SUB), least = INFINITY;
    if (farthest == 0) return best;
    for (int grid = 0; grid < GRIDS; grid++) {
        struct line fit = {-farthest / grid_steps(32, grid), 0, -32, 31};
        double q2 = 0, xq = 0;
        for (int i = 0; i < Q6_K_SUB; i++) {
            double q = line_code(w[i], fit);
            q2 += q * q, xq += w[i] * q;
        }
        fit.scale = xq / q2; /* q2 > 0: the extreme weight's code is -31 or -32 */
        double error = line_error(w, Q6_K_SUB, fit);
        if (error < least) best = fit, least = error;
    }
    return best;
}

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

static const struct k_grid q6_K = {Q6_K_SUB, -128, 127, 0, q6_K_fit};

void q6_K_encode(const struct format *self, const float *w, const float *importance, int n, uint8_t *bytes) {
    (void)self, (void)importance, (void)n;
    struct k_block block;
    k_encode(w, &q6_K, &block);
    for (int i = 0; i < K_BLOCK; i++) block.codes[i] = (uint8_t)(block.codes[i] + 32);
    for (int sub = 0; sub < Q6_K_SUBS; sub++) bytes[Q6_K_SCALES + sub] = (uint8_t)block.scale[sub];
    q6_K_pack(block.codes, bytes);
    half_write(block.d, bytes + Q6_K_D);
}

void q6_K_decode(const struct format *self, const uint8_t *bytes, int n, float *w) {
    (void)self, (void)n;
    uint8_t codes[K_BLOCK];
    float d = half_read(bytes + Q6_K_D);
    q6_K_unpack(bytes, codes);
    for (int i = 0; i < K_BLOCK; i++) {
        float scale = d * (float)(int8_t)bytes[Q6_K_SCALES + i / Q6_K_SUB];
        w[i] = scale * (float)(codes[i] - 32);
    }
}
