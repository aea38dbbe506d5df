/* Every row of the table of formats: sizes, error bounds, stability, zeros, degenerate input; then what is
 * special to bits, integers, NF4 and ggml's blocks. */
#include "base/stats.h"
#include "base/rng.h"
#include "golden/golden.h"
#include "quant/affine.h"
#include "lowbit/formats.h"
#include "lowbit/half.h"
#include "lowbit/minifloat.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdbool.h>

#define HALF_MAX 65504.0
#define LARGEST 23520 /* weights of the largest matrix here, 30 x 784; more than formats.c unpacks at a time */
enum { GUARD = 16 };

static bool is(const struct format *f, const char *name) { return strcmp(f->name, name) == 0; }

static bool starts(const struct format *f, const char *start) { return strncmp(f->name, start, strlen(start)) == 0; }

static bool is_integer(const struct format *f) { return starts(f, "int") || starts(f, "uint"); }
static bool is_narrow(const struct format *f) { return is(f, "int8") || is(f, "int2-narrow"); }

static bool is_k(const struct format *f) { return strstr(f->name, "_K") != NULL; }

static int k_sub(const struct format *f) { return is(f, "q4_K") || is(f, "q5_K") ? 32 : 16; }

static bool has_min(const struct format *f) { return is(f, "q2_K") || is(f, "q4_K") || is(f, "q5_K"); }

/* ---- what a block may lose
 * --------------------------------------------------------------------------------- */

/* How far the fp16 of a scale may lie from it: 2^-11 of it, 2^-25 among the subnormal numbers. */
static double half_rounding(double scale) { return fmax(scale * 0x1p-11, 0x1p-25); }

static double range(const float *w, int n) { /* widened to hold 0 */
    double lo = 0, hi = 0;
    for (int i = 0; i < n; i++) lo = fmin(lo, w[i]), hi = fmax(hi, w[i]);
    return hi - lo;
}

/* Half a step, and every step off by what the scale lost. A scale below fp16's smallest number becomes that
 * one. */
static double integer_bound(double scale, int steps) {
    return scale <= 0x1p-24 ? 0x1p-25 : scale / 2 + (steps + 0.5) * half_rounding(scale);
}

/* As an integer, but a scale below fp16's smallest number is 0. */
static double q8_0_bound(const float w[32]) {
    double d = absolute_maximum(w, 32) / 127.0;
    return d / 2 + 127.5 * half_rounding(d);
}

/* The extreme weight becomes -8, so that one of the other sign may want +8 and gets 7. */
static void q4_0_bound(const float w[32], double bound[32]) {
    float extreme = 0;
    for (int i = 0; i < 32; i++) extreme = fabsf(w[i]) > fabsf(extreme) ? w[i] : extreme;
    double d = fabs((double)extreme) / 8;
    for (int i = 0; i < 32; i++) {
        double beyond = (w[i] < 0) != (extreme < 0) ? fabs((double)w[i]) - 7 * d : 0;
        bound[i] = fmax(d / 2, beyond) + 8 * half_rounding(d) + d * 0x1p-20;
    }
}

/* As good in squared error, over all weights, as each weight off by half of the widest gap (23 of 127), or, at the end
 * of the other sign, by all that its 113 leaves out; d is fp16. */
static void iq4_nl_bound(const float w[32], double bound[32]) {
    double d = absolute_maximum(w, 32) / 127.0, each = 14 * d + 128 * half_rounding(d);
    for (int i = 0; i < 32; i++) bound[i] = each * sqrt(32);
}

/* Half of NF4's widest gap, from -1 to -0.6962; the extreme weight itself is one of the 16 values. Double
 * quantization changes absmax by up to half a step of its 8 bits, where the step is the largest difference
 * from the mean over 127; the mean is summed in float. */
static void nf4_bound(const float *w, int n, bool doubled, double *bound) {
    enum { BLOCK = 64 };
    static double absmax[LARGEST];
    double gap = (1 - 0.6961928009986877) / 2, mean = 0, widest = 0;
    int blocks = (n + BLOCK - 1) / BLOCK;
    for (int b = 0; b < blocks; b++) {
        absmax[b] = absolute_maximum(w + b * BLOCK, (size_t)(n - b * BLOCK < BLOCK ? n - b * BLOCK : BLOCK));
        mean += absmax[b] / blocks;
    }
    for (int b = 0; b < blocks; b++) widest = fmax(widest, fabs(absmax[b] - mean));
    double lost = doubled ? widest / 127 / 2 + mean * 0x1p-18 : 0;
    for (int i = 0; i < n; i++) {
        double largest = absmax[i / BLOCK], gaps = fabs((double)w[i]) < largest ? gap : 0;
        bound[i] = (largest + lost) * gaps + lost + largest * 0x1p-20;
    }
}

static void same_bound(double value, int n, double *bound) {
    for (int i = 0; i < n; i++) bound[i] = value;
}

/* The scale of an integer format, before it is rounded. */
static double integer_scale(const struct format *f, const float *w, int n, int *steps) {
    int top = (1 << (f->bits - 1)) - 1;
    bool symmetric = starts(f, "int");
    *steps = symmetric ? top : 2 * top + 1;
    double absmax = absolute_maximum(w, (size_t)n);
    return is_narrow(f) ? absmax / top : symmetric ? absmax / (top + 0.5) : range(w, n) / *steps;
}

/* Small floats: half a step of the weight's own binade, or of the subnormal numbers; all that is beyond the highest
 * number. unit: what 1 stands for. */
static void minifloat_bound(const struct minifloat *e, const float *w, int n, double unit, double *bound) {
    double highest = (double)float_from_minifloat(e, e->highest);
    for (int i = 0; i < n; i++) {
        double x = fabs((double)w[i]) / unit, at_least = fmax(x, ldexp(1, 1 - e->bias));
        bound[i] = unit * fmax(ldexp(1, ilogb(at_least) - e->mantissa) / 2, x - highest);
    }
}

/* MX's scale is the power of two in the widest weight less the highest number's, at least 2^-127. */
static void mx_bound(const char *element, const float *w, int n, double *bound) {
    double widest = absolute_maximum(w, (size_t)n);
    if (strcmp(element, "int8") == 0) return same_bound(fmax(ldexp(1, ilogb(widest) - 6), 0x1p-133), n, bound);
    const struct minifloat *e = minifloat_find(element);
    assert_non_null(e);
    int scale = widest > 0 ? ilogb(widest) - (e->highest >> e->mantissa) + e->bias : -127;
    minifloat_bound(e, w, n, ldexp(1, scale < -127 ? -127 : scale), bound);
}

/* NVFP4's scale is off by up to 1/16 of it, or half of its smallest number: the widest weight may be 6.4 of the scale,
 * and becomes 6. */
static double nvfp4_bound(const float *w, int n) {
    double scale = absolute_maximum(w, (size_t)n) / 6.0;
    return scale * 17 / 16 + 6 * 0x1p-10;
}

/* The grid stays as wide as the weights and may move by a step: then half a step, or the step at an end. A zero point
 * far from the codes is off by what fp16 leaves of it. */
static double hqq_bound(const struct format *f, const float *w, int n) {
    double lo = (double)w[0], hi = lo, steps = (1 << f->bits) - 1;
    for (int i = 1; i < n; i++) lo = fmin(lo, (double)w[i]), hi = fmax(hi, (double)w[i]);
    double scale = fmax((hi - lo) / steps, 0x1p-24);
    return 1.5 * scale + steps * half_rounding(scale) + fmax(fabs(lo), fabs(hi)) * 0x1p-10;
}

/* |w - w_hat| of each weight of a block, for all but the K-quants. */
static void weight_bounds(const struct format *f, const float *w, int n, double *bound) {
    int steps;
    if (is_integer(f)) {
        double scale = integer_scale(f, w, n, &steps);
        return same_bound(integer_bound(scale, steps), n, bound);
    }
    if (f->bits <= 1) return same_bound(fmax(absolute_maximum(w, (size_t)n), 0x1p-24), n, bound); /* test_ternary.c */
    if (starts(f, "fp8")) return minifloat_bound(minifloat_find(f->name), w, n, 1, bound);
    if (starts(f, "mx")) return mx_bound(is(f, "mxfp4") ? "fp4_e2m1" : f->name + 2, w, n, bound);
    if (is(f, "nvfp4")) return same_bound(nvfp4_bound(w, n), n, bound);
    if (starts(f, "hqq")) return same_bound(hqq_bound(f, w, n), n, bound);
    if (is(f, "q4_0")) return q4_0_bound(w, bound);
    if (is(f, "iq4_nl")) return iq4_nl_bound(w, bound);
    if (starts(f, "nf4")) return nf4_bound(w, n, is(f, "nf4-dq"), bound);
    if (is(f, "q8_0")) return same_bound(q8_0_bound(w), n, bound);
    if (!is(f, "f32") && !is(f, "f16") && !is(f, "bf16")) fail_msg("%s has no bound: give it one", f->name);
    for (int i = 0; i < n; i++) {
        double x = fabs((double)w[i]);
        bound[i] = is(f, "f32") ? 0 : is(f, "f16") ? fmax(x * 0x1p-11, 0x1p-25) : fmax(x * 0x1p-8, 0x1p-134);
    }
}

/* The root of the mean squared error of a K-quant's sub-block. Plain rounding on the widest sub-block's grid
 * is among the candidates: half a step, and the error of the scale (half of 1/63, 1/32, ... of the largest, times the
 * largest code) and of the min stay below another half. In fp16's subnormal numbers d is off by up to 2^-25. */
static double k_bound(const struct format *f, const float *w) {
    int steps = has_min(f) ? (1 << f->bits) - 1 : 1 << (f->bits - 1), scales = is(f, "q6_K") ? 128 : 63;
    if (!has_min(f)) return absolute_maximum(w, 256) / (double)steps + steps * scales * 0x1p-25;
    double widest = 0;
    for (int sub = 0; sub < 256; sub += k_sub(f)) widest = fmax(widest, range(w + sub, k_sub(f)));
    return widest / steps + (steps + 1) * scales * 0x1p-25;
}

/* The largest number a format holds before it clamps, or becomes infinite. */
static bool within_range(const struct format *f, const float *w, int n) {
    float widest = absolute_maximum(w, (size_t)n);
    if (f->grid == SCALED_GRID) return widest <= (is(f, "fp8_e4m3") ? 448 : is(f, "fp8_e5m2") ? 57344 : 6 * 448);
    return !(is(f, "f16") || is_integer(f) || starts(f, "q") || starts(f, "iq") || starts(f, "hqq") || f->bits <= 1) ||
        widest <= HALF_MAX;
}

static void check_errors(const struct format *f, const float *w, int n, const float *w_hat) {
    static double bound[LARGEST];
    weight_bounds(f, w, n, bound);
    for (int i = 0; i < n; i++)
        if (!(fabs((double)w[i] - w_hat[i]) <= bound[i]))
            fail_msg("%s: weight %d of %d: %.9g became %.9g, off by more than %g", f->name, i, n, w[i], w_hat[i],
                     bound[i]);
}

static double squared_error(const float *a, const float *b, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return sum;
}

static void check_k_errors(const struct format *f, const float *w, int n, const float *w_hat) {
    int sub = k_sub(f);
    for (int i = 0; i < n; i += sub) {
        double found = sqrt(squared_error(w + i, w_hat + i, sub) / sub);
        if (!(found <= k_bound(f, w))) fail_msg("%s: sub-block %d is off by %g", f->name, i / sub, found);
    }
}

static void check_block(const struct format *f, const float *w, int n, const float *w_hat) {
    for (int i = 0; i < n; i++) {
        if (w[i] == 0 && w_hat[i] != 0 && !starts(f, "hqq") && !has_min(f) && !is(f, "iq4_nl") && !is(f, "binary"))
            fail_msg("%s: 0 became %g", f->name, w_hat[i]);
        if (!isfinite(w_hat[i]) && !(is(f, "f16") && isinf(w_hat[i])))
            fail_msg("%s: %g became %g", f->name, w[i], w_hat[i]);
    }
    if (within_range(f, w, n)) (is_k(f) ? check_k_errors : check_errors)(f, w, n, w_hat);
}

/* A block whose weights are those a reader sees gives them again. Not where the extreme weight may not have
 * the extreme code: asymmetric ranges, eq. 8, scales among subnormal numbers, and searches. */
static bool is_stable(const struct format *f, const float *w, int n) {
    int steps;
    if (is_integer(f)) return is_narrow(f) && integer_scale(f, w, n, &steps) >= 0x1p-14;
    if (is(f, "nvfp4")) return absolute_maximum(w, (size_t)n) >= 6 * 0x1p-6; /* a normal number as scale */
    return !is(f, "nf4-dq") && !starts(f, "hqq") && !is(f, "bitnet") && f->grid != SEARCHED_GRID;
}

static void check_stable(const struct format *f, const float *w_hat, int n) {
    static uint8_t bytes[4 * LARGEST];
    static float again[LARGEST];
    f->encode(f, w_hat, NULL, n, bytes);
    f->decode(f, bytes, n, again);
    for (int i = 0; i < n; i++)
        if (again[i] != w_hat[i]) fail_msg("%s: %.9g, then %.9g", f->name, w_hat[i], again[i]);
}

/* ---- the codec: a matrix is its blocks, one after the other
 * ------------------------------------------------- */

/* Encodes and decodes; asserts that exactly codec_bytes are written. */
static void round_trip(struct codec c, const float *w, int out, int in, uint8_t *bytes, float *w_hat) {
    size_t size = codec_bytes(c, out, in);
    memset(bytes, 0xa5, size + GUARD);
    codec_encode(c, w, NULL, out, in, bytes);
    for (int i = 0; i < GUARD; i++) assert_int_equal(bytes[size + (size_t)i], 0xa5);
    codec_decode(c, bytes, out, in, w_hat);
}

/* A block, padded with zeros or not: its bytes are those at `bytes`, its weights those at w_hat. */
static size_t check_codec_block(const struct format *f, const float *w, int n, const uint8_t *bytes,
                                const float *w_hat) {
    static float padded[LARGEST], decoded[LARGEST];
    static uint8_t encoded[4 * LARGEST];
    int full = f->layout == LAYOUT_ROWS ? f->block : n;
    memset(padded, 0, sizeof(float) * (size_t)full);
    memcpy(padded, w, sizeof(float) * (size_t)n);
    f->encode(f, padded, NULL, full, encoded);
    assert_memory_equal(encoded, bytes, format_bytes(f, full));
    f->decode(f, encoded, full, decoded);
    assert_memory_equal(decoded, w_hat, sizeof(float) * (size_t)n);
    check_block(f, padded, full, decoded);
    if (is_stable(f, padded, full)) check_stable(f, decoded, full);
    return format_bytes(f, full);
}

/* The same of weights divided by an F32 scale of the codec. */
static size_t check_scaled_block(const struct format *f, const float *w, int n, const uint8_t *scale_bytes,
                                 const uint8_t *bytes, const float *w_hat) {
    static float divided[LARGEST], decoded[LARGEST];
    float scale;
    memcpy(&scale, scale_bytes, sizeof scale);
    assert_true(scale > 0);
    for (int i = 0; i < n; i++) divided[i] = w[i] / scale;
    f->decode(f, bytes, n, decoded);
    for (int i = 0; i < n; i++) assert_true(decoded[i] * scale == w_hat[i]);
    return check_codec_block(f, divided, n, bytes, decoded);
}

static void check_matrix(struct codec c, const float *w, int out, int in) {
    static uint8_t bytes[4 * LARGEST + GUARD];
    static float w_hat[LARGEST];
    const struct format *f = c.format;
    round_trip(c, w, out, in, bytes, w_hat);
    bool flat = f->layout == LAYOUT_FLAT || (f->block == 0 && c.block == CODEC_TENSOR);
    int lines = flat ? 1 : out, length = flat ? out * in : in;
    int block = f->block > 0 ? f->block : c.block > 0 ? c.block : length;
    size_t at = codec_scales(c, out, in) * sizeof(float);
    const uint8_t *scale = bytes;
    for (int line = 0; line < lines; line++)
        for (int first = 0; first < length; first += block) {
            int n = length - first < block ? length - first : block, i = line * length + first;
            if (f->grid == SCALED_GRID) {
                at += check_scaled_block(f, w + i, n, scale, bytes + at, w_hat + i);
                if (!f->block) scale += sizeof(float);
            } else at += check_codec_block(f, w + i, n, bytes + at, w_hat + i);
        }
    assert_int_equal(at, codec_bytes(c, out, in));
}

/* ---- matrices to try
 * ---------------------------------------------------------------------------------------- */

enum kind { NORMAL, ZEROS, CONSTANT, NEGATIVE, OUTLIER, HUGE_ONES, LARGE_ONES, SMALL, TINY, SPARSE, POSITIVE, KINDS };

static void fill(enum kind kind, float *w, int n) {
    struct rng rng = rng_seeded(31 + (uint64_t)kind);
    int outlier = (int)rng_below(&rng, (uint32_t)n);
    for (int i = 0; i < n; i++) {
        double x = rng_normal(&rng);
        w[i] = (float)(kind == ZEROS            ? 0
                           : kind == CONSTANT   ? 0.3
                           : kind == NEGATIVE   ? -0.3
                           : kind == OUTLIER    ? (i == outlier ? 40 : 0.05 * x)
                           : kind == HUGE_ONES  ? 1e30 * x
                           : kind == LARGE_ONES ? 1e4 * x
                           : kind == SMALL      ? 1e-6 * x /* scales among fp16's subnormal numbers */
                           : kind == TINY       ? 1e-40 * x
                           : kind == SPARSE     ? (i % 3 ? 0 : x)
                           : kind == POSITIVE   ? 1 + 0.1 * x
                                                : 0.05 * x);
    }
}

static const int groups[] = {CODEC_TENSOR, CODEC_ROW, 1, 3, 16, 28, 31, 49, 100, 112};

/* A format with blocks of its own is tried once, one without with every size of group. */
static void check_format(const struct format *f, const float *w, int out, int in) {
    size_t count = f->block ? 1 : sizeof groups / sizeof *groups;
    for (size_t g = 0; g < count; g++) check_matrix((struct codec){f, groups[g]}, w, out, in);
}

static void sizes(void **state) {
    (void)state;
    static float w[LARGEST];
    const int ins[] = {1, 2, 3, 31, 32, 33, 64, 65, 100, 255, 256, 257, 784}, outs[] = {1, 2, 7};
    for (const struct format *f = formats; f->name; f++)
        for (size_t i = 0; i < sizeof ins / sizeof *ins; i++)
            for (size_t o = 0; o < sizeof outs / sizeof *outs; o++)
                for (int kind = NORMAL; kind <= SPARSE; kind += SPARSE) {
                    fill(kind, w, outs[o] * ins[i]);
                    check_format(f, w, outs[o], ins[i]);
                }
}

static void kinds(void **state) {
    (void)state;
    static float w[LARGEST];
    for (const struct format *f = formats; f->name; f++)
        for (int kind = NORMAL; kind < KINDS; kind++) {
            fill(kind, w, 2 * 257);
            check_format(f, w, 2, 257);
        }
}

static void large(void **state) { /* more weights than are unpacked at a time, and than one double-quantized block */
    (void)state;
    static float w[LARGEST];
    fill(NORMAL, w, LARGEST);
    for (const struct format *f = formats; f->name; f++)
        check_matrix((struct codec){f, CODEC_TENSOR}, w, LARGEST / 784, 784);
}

/* ---- the table
 * ---------------------------------------------------------------------------------------------- */

static void names(void **state) {
    (void)state;
    int count = 0;
    for (const struct format *f = formats; f->name; f++, count++) {
        assert_ptr_equal(format_find(f->name), f); /* the first of its name: so there is no second */
        assert_true(f->encode && f->decode && (f->bits > 0 || f->bits == TRITS) && f->block >= 0);
    }
    assert_true(count >= 25);
    assert_null(format_find("no-such-format"));
    assert_null(format_find("INT4"));
    assert_null(format_find("int"));
    assert_null(format_find(""));
}

/* Bits of a weight, with scales, padding and all. */
static double bits_per_weight(const char *name, int block, int out, int in) {
    return 8.0 * (double)codec_bytes((struct codec){format_find(name), block}, out, in) / ((double)out * in);
}

static void bits_of_weights(void **state) {
    (void)state;
    assert_true(bits_per_weight("f32", 0, 10, 784) == 32);
    assert_true(bits_per_weight("f16", 0, 10, 784) == 16 && bits_per_weight("bf16", 0, 10, 784) == 16);
    assert_true(bits_per_weight("q8_0", 0, 1024, 1024) == 8.5);
    assert_true(bits_per_weight("q4_0", 0, 1024, 1024) == 4.5);
    assert_true(bits_per_weight("q4_K", 0, 1024, 1024) == 4.5);
    assert_true(bits_per_weight("q6_K", 0, 1024, 1024) == 6.5625);
    assert_true(bits_per_weight("q2_K", 0, 1024, 1024) == 2.625 && bits_per_weight("q3_K", 0, 1024, 1024) == 3.4375);
    assert_true(bits_per_weight("q5_K", 0, 1024, 1024) == 5.5 && bits_per_weight("iq4_nl", 0, 1024, 1024) == 4.5);
    assert_true(bits_per_weight("fp8_e4m3", CODEC_TENSOR, 16, 784) == 8 + 32.0 / (16 * 784));
    assert_true(bits_per_weight("fp8_e5m2", CODEC_ROW, 16, 784) == 8 + 32.0 / 784);
    assert_true(bits_per_weight("mxfp8_e4m3", 0, 16, 1024) == 8.25 && bits_per_weight("mxint8", 0, 16, 1024) == 8.25);
    assert_true(bits_per_weight("mxfp6_e2m3", 0, 16, 1024) == 6.25 && bits_per_weight("mxfp4", 0, 16, 1024) == 4.25);
    assert_true(bits_per_weight("mxfp4", 0, 16, 784) == 4 + 25 * 8.0 / 784); /* 24 blocks and one of 16 */
    assert_true(bits_per_weight("nvfp4", 0, 16, 784) == 4.5 + 32.0 / (16 * 784));
    assert_true(bits_per_weight("nf4", 0, 1024, 1024) == 4.5);
    /* 4 + 8/64 + 64/16384; the paper counts 4.127 with one 32-bit number for 256 blocks, and no mean */
    assert_true(bits_per_weight("nf4-dq", 0, 1024, 1024) == 4 + 0.125 + 64.0 / 16384);
    assert_true(bits_per_weight("q4_K", 0, 16, 784) == 4.5 * 1024 / 784); /* the padding counts */
    assert_true(bits_per_weight("q4_0", 0, 16, 784) == 4.5 * 800 / 784);
    assert_true(bits_per_weight("int4", 112, 16, 784) == 4 + 16.0 / 112);
    assert_true(bits_per_weight("int4", CODEC_ROW, 16, 784) == 4 + 16.0 / 784);
    assert_true(bits_per_weight("uint4", 16, 16, 784) == 5.5);
    assert_true(bits_per_weight("int3", 16, 16, 784) == 4);
    assert_true(bits_per_weight("int8", CODEC_TENSOR, 16, 784) == 8 + 16.0 / (16 * 784));
    assert_int_equal(codec_bytes((struct codec){format_find("int3"), 5}, 1, 7), (2 + 2) + (2 + 1)); /* 5 and 2 */
}

/* ---- bits
 * --------------------------------------------------------------------------------------------------- */

static void packs_every_width(void **state) {
    (void)state;
    struct rng rng = rng_seeded(5);
    for (int bits = 1; bits <= 8; bits++)
        for (size_t n = 0; n <= 40; n++) {
            uint8_t codes[41], found[41], bytes[42];
            size_t size = packed_bytes(n, bits);
            assert_int_equal(size, (n * (size_t)bits + 7) / 8);
            for (size_t i = 0; i < n; i++) codes[i] = (uint8_t)rng_below(&rng, 1u << bits);
            memset(bytes, 0xa5, sizeof bytes);
            memset(found, 0xa5, sizeof found);
            pack_bits(codes, n, bits, bytes);
            assert_int_equal(bytes[size], 0xa5);
            for (size_t i = 0; i < n * (size_t)bits; i++) /* the definition, bit for bit */
                assert_int_equal(bytes[i / 8] >> i % 8 & 1, codes[i / (size_t)bits] >> i % (size_t)bits & 1);
            for (size_t i = n * (size_t)bits; i < 8 * size; i++) assert_int_equal(bytes[i / 8] >> i % 8 & 1, 0);
            unpack_bits(bytes, n, bits, found);
            assert_memory_equal(found, codes, n);
            assert_int_equal(found[n], 0xa5);
        }
}

static void packs_as_drawn(void **state) {
    (void)state;
    const uint8_t codes[4] = {1, 2, 3, 7}, expected[2] = {0xd1, 0x0e}; /* 111 011 010 001 */
    uint8_t bytes[2];
    pack_bits(codes, 4, 3, bytes);
    assert_memory_equal(bytes, expected, 2);
    const float w[5] = {-7.5f, 7.5f, 0, 3.5f, -1}; /* int4: scale 1, codes -8 7 0 4 (a tie, to even) -1, and 8 */
    const uint8_t block[5] = {0x00, 0x3c, 0xf0, 0xc8, 0x07};
    uint8_t found[5];
    format_find("int4")->encode(format_find("int4"), w, NULL, 5, found);
    assert_memory_equal(found, block, 5);
    const float few[5] = {-3, 3, -1.1f, 0.9f, 1.1f}; /* int2: scale 2, codes -2 1 -1 0 1, and 2 */
    const uint8_t two_bits[4] = {0x00, 0x40, 0x9c, 0x03};
    format_find("int2")->encode(format_find("int2"), few, NULL, 5, found);
    assert_memory_equal(found, two_bits, 4);
    const uint8_t narrow[4] = {0x00, 0x42, 0xad, 0x02}; /* scale 3, codes -1 1 0 0 0 */
    format_find("int2-narrow")->encode(format_find("int2-narrow"), few, NULL, 5, found);
    assert_memory_equal(found, narrow, 4);
    const float v[3] = {-1, 0, 14}; /* uint4: scale 1, zero point 1 */
    const uint8_t asymmetric[5] = {0x00, 0x3c, 0x01, 0x10, 0x0f};
    uint8_t bytes5[5];
    format_find("uint4")->encode(format_find("uint4"), v, NULL, 3, bytes5);
    assert_memory_equal(bytes5, asymmetric, 5);
}

/* ---- integers
 * ----------------------------------------------------------------------------------------------- */

static void given_codes(const struct format *f, int n) {
    static int8_t codes[LARGEST];
    static uint8_t bytes[LARGEST + GUARD];
    static float w[LARGEST];
    bool symmetric;
    int bits = format_integer_bits(f, &symmetric), top = (1 << (bits - 1)) - 1;
    struct rng rng = rng_seeded((uint64_t)n);
    struct qparams g = {0x1.554p-7f, symmetric ? 0 : top, symmetric ? -top - (bits < 8) : 0,
                        symmetric ? top : 2 * top + 1};
    for (int i = 0; i < n; i++) codes[i] = (int8_t)(g.qmin + (int)rng_below(&rng, (uint32_t)(g.qmax - g.qmin + 1)));
    memset(bytes, 0xa5, sizeof bytes);
    integer_block_pack(g, codes, n, bits, symmetric, bytes);
    assert_int_equal(bytes[format_bytes(f, n)], 0xa5);
    codec_decode((struct codec){f, CODEC_ROW}, bytes, 1, n, w);
    for (int i = 0; i < n; i++) assert_true(w[i] == dequantize(codes[i], g));
}

static void codes_of_grid_are_encoded(const struct format *f, int n) {
    static float w[LARGEST];
    static int8_t codes[LARGEST];
    static uint8_t packed[LARGEST + GUARD], encoded[LARGEST + GUARD];
    bool symmetric;
    int bits = format_integer_bits(f, &symmetric);
    fill(NORMAL, w, n);
    struct qparams g = grid_of(w, n, bits, symmetric);
    assert_true(float_from_half(half_from_float(g.scale)) == g.scale);
    for (int i = 0; i < n; i++) {
        int code = quantize(w[i], g);
        assert_in_range(code - g.qmin, 0, g.qmax - g.qmin);
        codes[i] = (int8_t)code;
    }
    integer_block_pack(g, codes, n, bits, symmetric, packed);
    f->encode(f, w, NULL, n, encoded);
    assert_memory_equal(packed, encoded, format_bytes(f, n));
}

static void integer_blocks(void **state) {
    (void)state;
    const int lengths[] = {1, 2, 3, 7, 8, 49, 100, 16383, 16384, 16385, LARGEST};
    int found = 0;
    for (const struct format *f = formats; f->name; f++) {
        bool symmetric;
        int bits = format_integer_bits(f, &symmetric);
        assert_true(bits == 0 || bits == f->bits);
        assert_true((bits > 0) == (is_integer(f) && !is(f, "int2-narrow")));
        assert_int_equal(format_lowest_code(f), is_narrow(f));
        if (!bits) continue;
        assert_true(symmetric == starts(f, "int"));
        found++;
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            given_codes(f, lengths[i]);
            codes_of_grid_are_encoded(f, lengths[i]);
        }
    }
    assert_true(found >= 7);
}

/* ---- NF4
 * ---------------------------------------------------------------------------------------------------- */

/* As printed in the QLoRA paper (arXiv 2305.14314, appendix E), and as bitsandbytes has them. */
static const double nf4_printed[16] = {-1.0,
                                       -0.6961928009986877,
                                       -0.5250730514526367,
                                       -0.39491748809814453,
                                       -0.28444138169288635,
                                       -0.18477343022823334,
                                       -0.09105003625154495,
                                       0.0,
                                       0.07958029955625534,
                                       0.16093020141124725,
                                       0.24611230194568634,
                                       0.33791524171829224,
                                       0.44070982933044434,
                                       0.5626170039176941,
                                       0.7229568362236023,
                                       1.0};

/* The number below which a standard normal one lies with probability p >= 1/2. */
static double normal_quantile(double p) {
    double low = 0, high = 10;
    for (int i = 0; i < 100; i++) {
        double middle = (low + high) / 2;
        *(erfc(-middle / sqrt(2)) / 2 < p ? &low : &high) = middle;
    }
    return (low + high) / 2;
}

static void nf4_values(void **state) {
    (void)state;
    const struct format *nf4 = format_find("nf4");
    uint8_t bytes[4 + 8] = {0};
    float one = 1, w[16];
    memcpy(bytes, &one, 4);
    for (int i = 0; i < 8; i++) bytes[4 + i] = (uint8_t)(2 * i | (2 * i + 1) << 4);
    nf4->decode(nf4, bytes, 16, w);
    for (int i = 0; i < 16; i++) {
        /* bitsandbytes' construction: quantiles at equal steps from 1/2 to 0.9677083, 7 below 0 and 8 above
         */
        int steps = i < 7 ? 7 - i : i - 7, all = i < 7 ? 7 : 8;
        double quantile = normal_quantile(0.5 + (0.9677083 - 0.5) * steps / all) / normal_quantile(0.9677083);
        assert_true(w[i] == (float)nf4_printed[i]);
        assert_true(fabs(w[i] - (i < 7 ? -quantile : i == 7 ? 0 : quantile)) <= 5e-7);
    }
}

/* What x becomes in a block whose absmax is 1. */
static float nf4_of(float x) {
    const struct format *nf4 = format_find("nf4");
    const float w[2] = {x, 1};
    uint8_t bytes[5];
    float w_hat[2];
    nf4->encode(nf4, w, NULL, 2, bytes);
    nf4->decode(nf4, bytes, 2, w_hat);
    assert_true(w_hat[1] == 1);
    return w_hat[0];
}

static void nf4_is_nearest(void **state) {
    (void)state;
    for (int i = 0; i < 15; i++) { /* the lower value on a tie */
        float low = (float)nf4_printed[i], high = (float)nf4_printed[i + 1], middle = (low + high) / 2;
        assert_true(nf4_of(low) == low && nf4_of(high) == high);
        assert_true(nf4_of(middle) == low);
        assert_true(nf4_of(nextafterf(middle, -2)) == low);
        assert_true(nf4_of(nextafterf(middle, 2)) == high);
    }
    for (int step = -10000; step <= 10000; step++) {
        float x = (float)step / 10000, found = nf4_of(x);
        double least = 2;
        for (int i = 0; i < 16; i++) least = fmin(least, fabs(x - nf4_printed[i]));
        assert_true(fabs((double)x - found) <= least + 0x1p-23);
    }
}

/* Double quantization costs little: 8 bits for an absmax that varies by a quarter among blocks of normal
 * weights. */
static void nf4_dq_is_near_nf4(void **state) {
    (void)state;
    static float w[LARGEST], plain[LARGEST], doubled[LARGEST];
    static uint8_t bytes[4 * LARGEST + GUARD];
    fill(NORMAL, w, LARGEST);
    round_trip((struct codec){format_find("nf4"), 0}, w, 30, 784, bytes, plain);
    round_trip((struct codec){format_find("nf4-dq"), 0}, w, 30, 784, bytes, doubled);
    double lost = sqnr_db(w, plain, LARGEST) - sqnr_db(w, doubled, LARGEST);
    assert_true(sqnr_db(w, plain, LARGEST) > 20 && fabs(lost) < 0.05);
}

/* ---- ggml
 * --------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    size_t block, bytes;
    bool same_bytes; /* our encoder is ggml's arithmetic; else a search of our own */
} ggml[] = {{"q8_0", 32, 34, true},   {"q4_0", 32, 18, true},    {"q4_K", 256, 144, false}, {"q6_K", 256, 210, false},
            {"q2_K", 256, 84, false}, {"q3_K", 256, 110, false}, {"q5_K", 256, 176, false}, {"iq4_nl", 32, 18, false}};
enum { GGML_FORMATS = sizeof ggml / sizeof *ggml, GGML_WEIGHTS = 5 * 256 };

/* Bytes that ggml wrote, or random ones, are read to the floats that ggml reads (make_ggml.md). */
static void decodes_as_ggml(const struct st_file *file, int at, const char *what, const char *floats, int n) {
    static uint8_t bytes[4 * GGML_WEIGHTS];
    static float expected[GGML_WEIGHTS], found[GGML_WEIGHTS];
    char name[32];
    const struct format *f = format_find(ggml[at].name);
    snprintf(name, sizeof name, "%s.%s", f->name, what);
    golden_copy(file, name, ST_U8, (size_t)n / ggml[at].block * ggml[at].bytes, bytes);
    snprintf(name, sizeof name, "%s.%s", f->name, floats);
    golden_copy(file, name, ST_F32, (size_t)n, expected);
    assert_int_equal(format_bytes(f, (int)ggml[at].block), ggml[at].bytes);
    codec_decode((struct codec){f, CODEC_ROW}, bytes, 1, n, found);
    for (int i = 0; i < n; i++)
        if (!(found[i] == expected[i])) fail_msg("%s: weight %d is %.9g, not %.9g", name, i, found[i], expected[i]);
    assert_true(absolute_maximum(found, (size_t)n) > 0);
}

static void encodes_as_ggml(const struct st_file *file, int at) {
    static float w[GGML_WEIGHTS], theirs[GGML_WEIGHTS], ours[GGML_WEIGHTS];
    static uint8_t expected[4 * GGML_WEIGHTS], bytes[4 * GGML_WEIGHTS];
    char name[32];
    const struct format *f = format_find(ggml[at].name);
    size_t size = GGML_WEIGHTS / ggml[at].block * ggml[at].bytes;
    golden_copy(file, "weights", ST_F32, GGML_WEIGHTS, w);
    snprintf(name, sizeof name, "%s.blocks", f->name);
    golden_copy(file, name, ST_U8, size, expected);
    codec_encode((struct codec){f, CODEC_ROW}, w, NULL, 1, GGML_WEIGHTS, bytes);
    if (ggml[at].same_bytes) assert_memory_equal(bytes, expected, size);
    codec_decode((struct codec){f, CODEC_ROW}, expected, 1, GGML_WEIGHTS, theirs);
    codec_decode((struct codec){f, CODEC_ROW}, bytes, 1, GGML_WEIGHTS, ours);
    for (int row = 0; row < GGML_WEIGHTS; row += 256)
        if (!(squared_error(w + row, ours + row, 256) <= 1.02 * squared_error(w + row, theirs + row, 256)))
            fail_msg("%s: row %d: error %g, ggml's %g", f->name, row / 256, squared_error(w + row, ours + row, 256),
                     squared_error(w + row, theirs + row, 256));
}

/* With an importance, our search leaves no more than 1.02 of ggml's squared error as the importance counts it, and less
 * of that than without. */
static void weighs_as_ggml(const struct st_file *file, int at) {
    static float w[GGML_WEIGHTS], importance[256], found[3][GGML_WEIGHTS];
    static uint8_t bytes[4 * GGML_WEIGHTS];
    char name[32];
    struct codec c = {format_find(ggml[at].name), CODEC_ROW};
    golden_copy(file, "weights", ST_F32, GGML_WEIGHTS, w);
    golden_copy(file, "importance", ST_F32, 256, importance);
    snprintf(name, sizeof name, "%s.important", ggml[at].name);
    golden_copy(file, name, ST_U8, GGML_WEIGHTS / ggml[at].block * ggml[at].bytes, bytes);
    codec_decode(c, bytes, GGML_WEIGHTS / 256, 256, found[0]);
    codec_encode(c, w, importance, GGML_WEIGHTS / 256, 256, bytes);
    codec_decode(c, bytes, GGML_WEIGHTS / 256, 256, found[1]);
    codec_encode(c, w, NULL, GGML_WEIGHTS / 256, 256, bytes);
    codec_decode(c, bytes, GGML_WEIGHTS / 256, 256, found[2]);
    double all[3] = {0};
    for (int row = 0; row < GGML_WEIGHTS; row += 256) {
        double error[3] = {0};
        for (int v = 0; v < 3; v++)
            for (int i = row; i < row + 256; i++)
                error[v] += (double)importance[i % 256] * ((double)w[i] - found[v][i]) * ((double)w[i] - found[v][i]);
        for (int v = 0; v < 3; v++) all[v] += error[v];
        if (!(error[1] <= 1.02 * error[0]))
            fail_msg("%s: row %d: weighted error %g, ggml's %g", name, row / 256, error[1], error[0]);
    }
    assert_true(all[1] < all[2]);
}

static void as_ggml(void **state) {
    (void)state;
    struct st_file *file = golden_open("tests/golden/ggml.safetensors");
    for (int at = 0; at < GGML_FORMATS; at++) {
        decodes_as_ggml(file, at, "blocks", "decoded", GGML_WEIGHTS);
        decodes_as_ggml(file, at, "random", "random_decoded", ggml[at].block == 32 ? 128 : 512);
        encodes_as_ggml(file, at);
        if (!ggml[at].same_bytes) weighs_as_ggml(file, at);
    }
    golden_close(file);
}

/* Where ggml's own arithmetic is undefined or infinite, ours is not. */
static void beyond_ggml(void **state) {
    (void)state;
    const float ends[] = {1e-45f, -1e-40f, 1e-37f, 8388608, -8388608, 1e30f, -3.4028235e38f, 3.4028235e38f};
    static float w[256], w_hat[256];
    uint8_t bytes[512];
    for (int at = 0; at < GGML_FORMATS; at++)
        for (size_t e = 0; e < sizeof ends / sizeof *ends; e++) {
            const struct format *f = format_find(ggml[at].name);
            for (int i = 0; i < 256; i++) w[i] = i % 5 ? i % 2 ? ends[e] : -ends[e] : 0;
            codec_encode((struct codec){f, CODEC_ROW}, w, NULL, 1, 256, bytes);
            codec_decode((struct codec){f, CODEC_ROW}, bytes, 1, 256, w_hat);
            for (int i = 0; i < 256; i++) assert_true(isfinite(w_hat[i]));
        }
    for (int i = 0; i < 32; i++) w[i] = i == 9 ? 1e-40f : 0; /* 1/d is infinite, and 0 times that is not a number */
    const uint8_t zero[34] = {0};
    format_find("q8_0")->encode(format_find("q8_0"), w, NULL, 32, bytes);
    assert_memory_equal(bytes, zero, 34);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(bits_of_weights),
        cmocka_unit_test(packs_every_width),
        cmocka_unit_test(packs_as_drawn),
        cmocka_unit_test(sizes),
        cmocka_unit_test(kinds),
        cmocka_unit_test(large),
        cmocka_unit_test(integer_blocks),
        cmocka_unit_test(nf4_values),
        cmocka_unit_test(nf4_is_nearest),
        cmocka_unit_test(nf4_dq_is_near_nf4),
        cmocka_unit_test(as_ggml),
        cmocka_unit_test(beyond_ggml),
    };
    return cmocka_run_group_tests_name("formats", tests, NULL, NULL);
}
