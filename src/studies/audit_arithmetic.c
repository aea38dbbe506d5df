/* Claims about the map itself, about number formats, and the lesson's worked examples. Nothing here depends on data. */
#include <float.h>
#include <math.h>
#include <stdio.h>

#include "studies/audit.h"
#include "quant/affine.h"
#include "lowbit/formats.h"
#include "lowbit/half.h"

/* A measure that needs neither files nor memory: all that its arguments are for. */
#define UNUSED_ALL (void)a, (void)c, (void)err

/* which: 0 fp32, 1 the 256 codes of int8 */
bool measure_digits(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    UNUSED_ALL;
    double digits = c->which == 0 ? -log10(FLT_EPSILON / 2) : log10(256);
    return found(f, digits, "%.2f", digits);
}

/* ---- scale, zero point, error ---------------------------------------------------------------------------------- */

static struct qparams int8_range(double lo, double hi) { return qparams_asymmetric((float)lo, (float)hi, -128, 127); }

bool measure_scale(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    UNUSED_ALL;
    double scale = int8_range(-0.5, 0.5).scale;
    return found(f, scale, "%.6f = 1/%.1f", scale, 1 / scale);
}

/* A range around 0 whose two ends lie anywhere between 0.001 and 1000. */
static struct qparams random_range(struct rng *rng, double *lo, double *hi) {
    *lo = -pow(10, 6 * rng_uniform(rng) - 3);
    *hi = pow(10, 6 * rng_uniform(rng) - 3);
    return int8_range(*lo, *hi);
}

bool measure_zero_formula(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    UNUSED_ALL;
    enum { RANGES = 100000 };
    struct rng rng = rng_seeded(1);
    int same = 0;
    for (int i = 0; i < RANGES; i++) {
        double lo, hi;
        struct qparams p = random_range(&rng, &lo, &hi);
        same += p.zero_point == -128 - (int)rint((double)(float)lo / p.scale);
    }
    double percent = 100.0 * same / RANGES;
    return found(f, percent, "%.3f%% of %d random ranges", percent, RANGES);
}

bool measure_zero_point(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    UNUSED_ALL;
    int z = int8_range(0, 6).zero_point;
    return found(f, z, "%d", z);
}

bool measure_distinct_codes(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    UNUSED_ALL;
    enum { STEPS = 1000000 };
    struct qparams p = int8_range(-0.5, 0.5);
    bool seen[256] = {false};
    int distinct = 0;
    for (int i = 0; i <= STEPS; i++) seen[quantize((float)i / STEPS - 0.5f, p) + 128] = true;
    for (int i = 0; i < 256; i++) distinct += seen[i];
    return found(f, distinct, "%d", distinct);
}

static double steps_lost(float x, struct qparams p) {
    return fabs((double)x - (double)fake_quantize(x, p)) / (double)p.scale;
}

/* Every fp16 number of the lesson's range, then random numbers of random ranges and the ranges' ends. */
bool measure_half_step(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    UNUSED_ALL;
    struct qparams p = int8_range(-0.5, 0.5);
    struct rng rng = rng_seeded(1);
    double worst = 0, lo, hi;
    for (unsigned bits = 0; bits < 65536; bits++) {
        float x = float_from_half((uint16_t)bits);
        if (fabsf(x) <= 0.5f) worst = fmax(worst, steps_lost(x, p));
    }
    for (int i = 0; i < 1000; i++) {
        p = random_range(&rng, &lo, &hi);
        worst = fmax(worst, fmax(steps_lost((float)lo, p), steps_lost((float)hi, p)));
        for (int k = 0; k < 1000; k++) worst = fmax(worst, steps_lost((float)(lo + (hi - lo) * rng_uniform(&rng)), p));
    }
    return found(f, worst, "%.5f s, the worst of 1000 ranges", worst);
}

bool measure_error_spread(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    UNUSED_ALL;
    enum { VALUES = 1000000 };
    struct qparams p = int8_range(-0.5, 0.5);
    struct rng rng = rng_seeded(1);
    double sum = 0;
    for (int i = 0; i < VALUES; i++) {
        double e = steps_lost((float)(rng_uniform(&rng) - 0.5), p);
        sum += e * e;
    }
    double rms = sqrt(sum / VALUES);
    return found(f, rms, "%.4f s", rms);
}

/* ---- formats --------------------------------------------------------------------------------------------------- */

/* 7e9 weights as rows of 4096: the codes and all that the format stores beside them. */
bool measure_storage(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    UNUSED_ALL;
    enum { WIDTH = 4096 };
    struct codec codec = {format_find(c->rung.format), c->rung.block};
    double bytes = (double)codec_bytes(codec, WIDTH, WIDTH) / WIDTH / WIDTH, gb = 7 * bytes;
    return found(f, gb, "%.5g B, %.4g GB", bytes, gb);
}

static float sixteen_bits(unsigned bits, int bf16) {
    return bf16 ? float_from_bfloat((uint16_t)bits) : float_from_half((uint16_t)bits);
}

/* Told by the values that the codes have: the step above 1, and the powers of two among the numbers above 0 that keep
 * the full mantissa. Two exponents are taken by subnormals and by infinity. which: 0 fp16, 1 bf16 */
bool measure_float_bits(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    (void)a, (void)err;
    unsigned one = c->which ? bfloat_from_float(1) : half_from_float(1);
    double step = (double)sixteen_bits(one + 1, c->which) - 1;
    int binades = 0;
    for (unsigned bits = 1; bits < 0x7fff; bits++) {
        double x = sixteen_bits(bits, c->which), next = sixteen_bits(bits + 1, c->which);
        binades += isfinite(x) && x == exp2(ilogb(x)) && next - x == x * step;
    }
    double split[] = {log2(binades + 2), -log2(step)};
    return found_list(c, f, split);
}

/* The smallest fp32 number that becomes an infinity, by bisection over the bit patterns in fp16's top binade. */
bool measure_fp16_overflow(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    UNUSED_ALL;
    float largest = 0, low = 32768, high = 131072;
    for (unsigned bits = 0; bits < 0x8000; bits++) {
        float x = float_from_half((uint16_t)bits);
        if (isfinite(x) && x > largest) largest = x;
    }
    while (nextafterf(low, high) < high) {
        float middle = low + (high - low) / 2;
        *(isinf(float_from_half(half_from_float(middle))) ? &high : &low) = middle;
    }
    return found(f, largest, "%.0f is the largest, infinity from %.0f on", (double)largest, (double)high);
}

bool measure_bf16_range(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    UNUSED_ALL;
    double largest = float_from_bfloat(0x7f7f), smallest = float_from_bfloat(0x0080);
    double decades = log10(largest / smallest), fp32 = log10((double)FLT_MAX / FLT_MIN),
           fp16 = log10(65504 / exp2(-14));
    return found(f, decades / fp32, "%.2f decades, fp32 %.2f, fp16 %.1f", decades, fp32, fp16);
}

/* The worst relative error over random numbers near 1. */
bool measure_bf16_precision(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    UNUSED_ALL;
    struct rng rng = rng_seeded(1);
    double half = 0, bfloat = 0;
    for (int i = 0; i < 1000000; i++) {
        float x = (float)(1 + rng_uniform(&rng));
        half = fmax(half, fabs((double)float_from_half(half_from_float(x)) / (double)x - 1));
        bfloat = fmax(bfloat, fabs((double)float_from_bfloat(bfloat_from_float(x)) / (double)x - 1));
    }
    return found(f, bfloat / half, "%.1f x fp16's (%.3f%% against %.3f%%)", bfloat / half, 100 * bfloat, 100 * half);
}

/* ---- five weights ---------------------------------------------------------------------------------------------- */

enum { FIVE = 5 };
static const float five_weights[FIVE] = {-0.42f, -0.11f, 0.0f, 0.23f, 0.51f};

static void five_quantized(double codes[FIVE], double values[FIVE]) {
    struct qparams p = qparams_symmetric(absolute_maximum(five_weights, FIVE), 127);
    for (int i = 0; i < FIVE; i++) {
        int q = quantize(five_weights[i], p);
        codes[i] = q;
        values[i] = (double)dequantize(q, p);
    }
}

static double five_worst(const double *values) {
    double worst = 0;
    for (int i = 0; i < FIVE; i++) worst = fmax(worst, fabs(values[i] - (double)five_weights[i]));
    return worst;
}

bool measure_five_codes(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    (void)a, (void)err;
    double codes[FIVE], values[FIVE];
    five_quantized(codes, values);
    return found_list(c, f, codes);
}

bool measure_five_values(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    (void)a, (void)err;
    double codes[FIVE], values[FIVE];
    five_quantized(codes, values);
    return found_list(c, f, values);
}

static const struct claim *claim_named(bool (*measure)(struct audit *, const struct claim *, struct finding *,
                                                       struct error *)) {
    for (int i = 0; i < claim_count; i++)
        if (claims[i].measure == measure) return &claims[i];
    return NULL;
}

/* which: 0 of our values, 1 of the values that the lesson prints */
bool measure_five_error(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    (void)a, (void)err;
    double codes[FIVE], values[FIVE];
    five_quantized(codes, values);
    double worst = five_worst(c->which ? claim_named(measure_five_values)->list.values : values);
    return found(f, worst, "%.4f", worst);
}

/* ---- four rows of eight ---------------------------------------------------------------------------------------- */

enum { ROWS = 4, COLS = 8 };

/* rng = np.random.default_rng(0); rng.standard_normal((4, 8)).astype(np.float32) * 0.3, printed with nine digits by
 * NumPy 1.24.2 on Python 3.11.2 (Debian 12). */
static const float numpy_rows[ROWS][COLS] = {
    {0.0377190672f, -0.0396314599f, 0.192126796f, 0.0314700343f, -0.160700828f, 0.108478524f, 0.391200036f,
     0.284124315f},
    {-0.211120576f, -0.379626483f, -0.186982334f, 0.0123977941f, -0.697509289f, -0.0656374991f, -0.373773307f,
     -0.21968022f},
    {-0.163277715f, -0.0948900506f, 0.123489164f, 0.312754035f, -0.0385603979f, 0.409939051f, -0.199558422f,
     0.105453029f},
    {0.271041065f, 0.0282036904f, -0.22304979f, -0.27651763f, -0.137317747f, 0.0660585389f, -0.302885473f,
     -0.0627526715f},
};

static struct qparams numpy_row(int row) { return qparams_symmetric(absolute_maximum(numpy_rows[row], COLS), 127); }

bool measure_numpy_scales(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    (void)a, (void)err;
    double scales[ROWS];
    for (int i = 0; i < ROWS; i++) scales[i] = (double)numpy_row(i).scale;
    return found_list(c, f, scales);
}

/* which: 0 ours, 1 the most that the scales which the lesson prints allow: half the largest */
bool measure_numpy_error(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    (void)a, (void)err;
    double worst = 0;
    const double *printed = claim_named(measure_numpy_scales)->list.values;
    for (int i = 0; i < ROWS; i++)
        for (int k = 0; k < COLS; k++) {
            double e = fabs((double)numpy_rows[i][k] - (double)fake_quantize(numpy_rows[i][k], numpy_row(i)));
            worst = fmax(worst, c->which ? printed[i] / 2 : e);
        }
    return found(f, worst, "%.4f", worst);
}

/* The listing's own clip, [-128, 127], on rows of random weights; both ends of a row are made its extreme in turn. */
bool measure_lowest_code(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    UNUSED_ALL;
    struct rng rng = rng_seeded(1);
    int lowest = 0;
    for (int row = 0; row < 10000; row++) {
        float w[64];
        for (int k = 0; k < 64; k++) w[k] = (float)(0.3 * rng_normal(&rng));
        struct qparams p = qparams_symmetric(absolute_maximum(w, 64), 127);
        p.qmin = -128;
        for (int k = 0; k < 64; k++)
            if (quantize(w[k], p) < lowest) lowest = quantize(w[k], p);
    }
    return found(f, lowest, "%d, lowest of 640000 weights", lowest);
}
