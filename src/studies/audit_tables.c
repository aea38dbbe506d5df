#include "cli/fileset.h"
#include "studies/audit.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/finite.h"
#include "lowbit/formats.h"
#include "lowbit/half.h"
#include "model/evaluation.h"
#include "model/model_run.h"
#include "cli/speed.h"

/* The next row: a name and a number; rows of one name are a list. */
static void add(struct table *t, const char *name, double value) { table_row(t, "%s | %.9g", name, value); }

/* ---- scale, zero point, error ------------------------------------------------------------------------------------ */

static struct qparams int8_range(double lo, double hi) { return qparams_asymmetric((float)lo, (float)hi, -128, 127); }

static double steps_lost(double x, struct qparams p) {
    return fabs((double)(float)x - (double)fake_quantize((float)x, p)) / (double)p.scale;
}

enum { RANGES = 100000, VALUES = 1000000 };

/* On random ranges around 0 whose ends lie anywhere between 0.001 and 1000: how often the lesson's formula gives eq.
 * 3's zero point, and the largest error of a value within the range, its ends too. */
static void add_random_ranges(struct table *t, double worst) {
    struct rng rng = rng_seeded(1), values = rng_seeded(1);
    int same = 0;
    for (int i = 0; i < RANGES; i++) {
        double lo = -pow(10, 6 * rng_uniform(&rng) - 3), hi = pow(10, 6 * rng_uniform(&rng) - 3);
        struct qparams p = int8_range(lo, hi);
        same += p.zero_point == -128 - (int)rint((double)(float)lo / p.scale);
        if (i >= 1000) continue;
        worst = fmax(worst, fmax(steps_lost(lo, p), steps_lost(hi, p)));
        for (int k = 0; k < 1000; k++) worst = fmax(worst, steps_lost(lo + (hi - lo) * rng_uniform(&values), p));
    }
    add(t, "zero point formula percent", 100.0 * same / RANGES);
    add(t, "largest error in steps", worst);
}

/* The range [-0.5, 0.5]: every fp16 number in it, a million evenly spaced and a million random ones. */
static void add_affine_map(struct table *t) {
    struct qparams p = int8_range(-0.5, 0.5);
    struct rng rng = rng_seeded(1);
    bool seen[256] = {false};
    int distinct = 0;
    double squares = 0, worst = 0;
    for (unsigned bits = 0; bits < 65536; bits++) {
        float x = float_from_half((uint16_t)bits);
        if (fabsf(x) <= 0.5f) worst = fmax(worst, steps_lost((double)x, p));
    }
    for (int i = 0; i <= VALUES; i++) seen[quantize((float)i / VALUES - 0.5f, p) + 128] = true;
    for (int i = 0; i < 256; i++) distinct += seen[i];
    for (int i = 0; i < VALUES; i++) squares += pow(steps_lost(rng_uniform(&rng) - 0.5, p), 2);
    add(t, "int8 scale", p.scale);
    add(t, "zero point of 0 to 6", int8_range(0, 6).zero_point);
    add(t, "distinct codes", distinct);
    add(t, "rms error in steps", sqrt(squares / VALUES));
    add_random_ranges(t, worst);
}

/* ---- number formats ---------------------------------------------------------------------------------------------- */

/* A matrix of 4096 x 4096: the codes and all that the format stores beside them. */
static void add_storage(struct table *t) {
    static const char *const codecs[] = {"f32", "f16", "bf16", "int8/row", "int4/row", "q4_K", "q6_K"};
    enum { WIDTH = 4096 };
    for (size_t i = 0; i < sizeof codecs / sizeof codecs[0]; i++) {
        struct codec codec;
        if (codec_parse(codecs[i], &codec))
            table_row(t, "bytes of %s | %.9g", codecs[i], (double)codec_bytes(codec, WIDTH, WIDTH) / WIDTH / WIDTH);
    }
    /* Q4_K_M of a Llama of 7e9: Q6_K for the output [32000][4096], and attn_v [4096][4096] and ffn_down [4096][11008]
     * in the 16 of 32 layers that llama.cpp's use_more_bits picks; the rest, the token embedding too, in Q4_K. */
    double square = 4096.0 * 4096, feed = 4096.0 * 11008, words = 4096.0 * 32000;
    double q6 = (16 * (square + feed) + words) / (32 * (4 * square + 3 * feed) + 2 * words);
    add(t, "bytes of Q4_K_M", (q6 * 210 + (1 - q6) * 144) / 256);
}

/* Told by the values that the codes have: the bits of the exponent by the powers of two among the numbers above 0 that
 * keep the full mantissa (two exponents are taken by subnormals and by infinity), those of the mantissa by the step
 * above 1; the decades between the smallest and the largest normal number; the worst relative error near 1. */
static void add_sixteen_bits(struct table *t, const char *name, float (*decode)(uint16_t), uint16_t (*encode)(float),
                             uint16_t smallest, uint16_t largest) {
    struct rng rng = rng_seeded(1);
    double step = (double)decode((uint16_t)(encode(1) + 1)) - 1, error = 0;
    int binades = 0;
    for (unsigned bits = 1; bits < 0x7fff; bits++) {
        double x = (double)decode((uint16_t)bits), next = (double)decode((uint16_t)(bits + 1));
        binades += is_finite(x) && x == exp2(ilogb(x)) && next - x == x * step;
    }
    for (int i = 0; i < VALUES; i++) {
        float x = (float)(1 + rng_uniform(&rng));
        error = fmax(error, fabs((double)decode(encode(x)) / (double)x - 1));
    }
    table_row(t, "%s bits | %.9g | %s bits | %.9g", name, log2(binades + 2), name, -log2(step));
    table_row(t, "%s decades | %.9g", name, log10((double)decode(largest) / (double)decode(smallest)));
    table_row(t, "%s error | %.9g", name, error);
}

static void add_formats(struct table *t) {
    float overflow = float_from_half(0x7bff); /* the first fp32 number that rounds to infinity */
    while (is_finite((double)float_from_half(half_from_float(overflow)))) overflow = nextafterf(overflow, INFINITY);
    add(t, "fp32 step above 1", FLT_EPSILON);
    add(t, "fp32 decades", log10((double)FLT_MAX / FLT_MIN));
    add_storage(t);
    add_sixteen_bits(t, "fp16", float_from_half, half_from_float, 0x0400, 0x7bff);
    add_sixteen_bits(t, "bf16", float_from_bfloat, bfloat_from_float, 0x0080, 0x7f7f);
    add(t, "fp16 largest", (double)float_from_half(0x7bff));
    add(t, "fp16 infinity", (double)overflow);
    double fp32_peak = peak_measure(PEAK_FP32, FROM_REGISTERS, 1, 0.2),
           int8_peak = peak_measure(PEAK_INT8, FROM_REGISTERS, 1, 0.2);
    add(t, "fp32 peak", fp32_peak > 0 ? fp32_peak : NAN);
    add(t, "int8 peak", int8_peak > 0 ? int8_peak : NAN);
    table_row(t, "fp32 instruction | %s | int8 instruction | %s", peak_name(PEAK_FP32) ? peak_name(PEAK_FP32) : "none",
              peak_name(PEAK_INT8) ? peak_name(PEAK_INT8) : "none");
}

/* ---- five weights, and four rows of eight ------------------------------------------------------------------------ */

static void add_five(struct table *t) {
    static const float five[] = {-0.42f, -0.11f, 0.0f, 0.23f, 0.51f};
    struct qparams p = qparams_symmetric(absolute_maximum(five, 5), 127);
    for (int i = 0; i < 5; i++) add(t, "five weights", (double)five[i]);
    for (int i = 0; i < 5; i++) add(t, "five codes", quantize(five[i], p));
    for (int i = 0; i < 5; i++) add(t, "five values", (double)fake_quantize(five[i], p));
}

/* rng = np.random.default_rng(0); rng.standard_normal((4, 8)).astype(np.float32) * 0.3, printed with nine digits by
 * NumPy 1.24.2 on Python 3.11.2 (Debian 12). */
static void add_numpy(struct table *t) {
    static const float rows[4 * 8] = {
        0.0377190672f, -0.0396314599f, 0.192126796f,  0.0314700343f,  -0.160700828f, 0.108478524f,  0.391200036f,
        0.284124315f,  -0.211120576f,  -0.379626483f, -0.186982334f,  0.0123977941f, -0.697509289f, -0.0656374991f,
        -0.373773307f, -0.21968022f,   -0.163277715f, -0.0948900506f, 0.123489164f,  0.312754035f,  -0.0385603979f,
        0.409939051f,  -0.199558422f,  0.105453029f,  0.271041065f,   0.0282036904f, -0.22304979f,  -0.27651763f,
        -0.137317747f, 0.0660585389f,  -0.302885473f, -0.0627526715f};
    double worst = 0;
    for (int i = 0; i < 4; i++) {
        struct qparams p = qparams_symmetric(absolute_maximum(rows + 8 * i, 8), 127);
        add(t, "numpy scales", (double)p.scale);
        for (const float *x = rows + 8 * i; x < rows + 8 * i + 8; x++)
            worst = fmax(worst, fabs((double)*x - (double)fake_quantize(*x, p)));
    }
    add(t, "numpy error", worst);
}

/* The listing's own clip, [-128, 127], on 10,000 rows of 64 random weights. */
static void add_lowest_code(struct table *t) {
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
    add(t, "lowest code", lowest);
}

/* ---- pitfalls ---------------------------------------------------------------------------------------------------- */

/* Eq. 3 stretched from [-0.5, 0.5] to [-0.5, 5] by an outlier, and from [0, 6] to values that it was not made for. */
static void add_ranges_gone_wrong(struct table *t) {
    struct rng rng = rng_seeded(1);
    struct qparams before = int8_range(-0.5, 0.5), after = int8_range(-0.5, 5), six = int8_range(0, 6);
    double narrow = 0, wide = 0;
    int above = 0, cut = 0;
    for (int i = 0; i < 9999; i++) {
        double x = rng_uniform(&rng) - 0.5;
        narrow += pow(steps_lost(x, before) * (double)before.scale, 2);
        wide += pow(steps_lost(x, after) * (double)after.scale, 2);
    }
    rng = rng_seeded(1);
    for (int i = 0; i < 100000; i++) {
        float x = (float)(20 * rng_uniform(&rng));
        above += x > 6;
        cut += x > 6 && quantize(x, six) == six.qmax;
    }
    add(t, "asymmetric outlier", sqrt(wide / narrow));
    add(t, "saturated percent above 6", 100.0 * cut / above);
    add(t, "saturated percent", 100.0 * cut / 100000);
}

/* Sums of 1024 products of random int8 codes that end outside the accumulator. */
static void add_accumulators(struct table *t) {
    enum { SUMS = 20000, TERMS = 1024 };
    struct rng rng = rng_seeded(1);
    int outside8 = 0, outside16 = 0;
    for (int i = 0; i < SUMS; i++) {
        int sum = 0;
        for (int k = 0; k < TERMS; k++) sum += ((int)rng_below(&rng, 255) - 127) * ((int)rng_below(&rng, 255) - 127);
        outside8 += sum != (int8_t)sum;
        outside16 += sum != (int16_t)sum;
    }
    add(t, "sums outside int8 percent", 100.0 * outside8 / SUMS);
    add(t, "sums outside int16 percent", 100.0 * outside16 / SUMS);
}

/* ---- the network of the PyTorch listing, calibrated on normal numbers -------------------------------------------- */

enum { CALIBRATION_ROUNDS = 32, ROUND = 64, FRESH_ROWS = 16 };

static void normal_rows(float *x, size_t count, struct rng *rng) {
    for (size_t i = 0; i < count; i++) x[i] = (float)rng_normal(rng);
}

/* nn.Linear: weights and biases uniform in +-1 / sqrt(in). */
static bool listing_network(const struct mlp_shape *shape, struct rng *rng, struct mlp *out, struct error *err) {
    if (!mlp_create(shape, out, err)) return false;
    for (int l = 0; l < shape->layers; l++) {
        const struct dense *d = &out->layer[l];
        double bound = 1 / sqrt(d->in);
        for (int i = 0; i < d->in * d->out; i++) d->weight[i] = (float)(bound * (2 * rng_uniform(rng) - 1));
        for (int i = 0; i < d->out; i++) d->bias[i] = (float)(bound * (2 * rng_uniform(rng) - 1));
    }
    return true;
}

static bool listing_convert(const struct mlp *mlp, struct rng *rng, struct mlp_workspace *ws, struct qmlp *out,
                            struct error *err) {
    struct convert_config config = {.per_channel = true};
    struct range ranges[MLP_MAX_LAYERS + 1] = {{0, 0}};
    size_t saturated;
    for (int round = 0; round < CALIBRATION_ROUNDS; round++) {
        normal_rows(ws->activation[0], (size_t)ROUND * (size_t)mlp->shape.widths[0], rng);
        mlp_forward(mlp, ROUND, ws);
        for (int i = 0; i <= mlp->shape.layers; i++)
            for (int k = 0; k < ROUND * mlp->shape.widths[i]; k++) {
                ranges[i].lo = fminf(ranges[i].lo, ws->activation[i][k]);
                ranges[i].hi = fmaxf(ranges[i].hi, ws->activation[i][k]);
            }
    }
    return convert(mlp, ranges, &config, out, &saturated, err);
}

/* The largest difference of logits on rows [FRESH_ROWS][in] of normal numbers, which ws->activation[0] holds. */
static double listing_drift(const struct mlp *mlp, const struct qmlp *q, struct mlp_workspace *ws) {
    static uint8_t codes[FRESH_ROWS * 784], hidden[FRESH_ROWS * 256], logits[FRESH_ROWS * 10];
    double drift = 0;
    for (int i = 0; i < FRESH_ROWS * q->shape.widths[0]; i++)
        codes[i] = (uint8_t)quantize(ws->activation[0][i], q->activation[0]);
    qlinear_ref(&q->layer[0], codes, FRESH_ROWS, hidden);
    qlinear_ref(&q->layer[1], hidden, FRESH_ROWS, logits);
    mlp_forward(mlp, FRESH_ROWS, ws);
    for (int i = 0; i < FRESH_ROWS * 10; i++)
        drift = fmax(drift, fabs((double)ws->activation[2][i] - (double)dequantize(logits[i], q->activation[2])));
    return drift;
}

/* How long the files of the network are, in fp32 and in int8. */
static bool listing_bytes(const struct mlp *fp32, const struct qmlp *int8, uint64_t bytes[2], struct error *err) {
    static const struct model_notes notes = {.seed = "1", .training = "none"};
    const char *path = file_set_path("models/audit/listing-fp32.safetensors", err);
    if (!path || !model_write_mlp(path, fp32, &notes, err) || !file_size(path, &bytes[0], err)) return false;
    path = file_set_path("models/audit/listing-int8.safetensors", err);
    return path && model_write_qmlp(path, int8, &notes, err) && file_size(path, &bytes[1], err);
}

/* 128-256-10 is what the listing builds, 784-128-10 what its count of parameters belongs to. fresh: a network with
 * other random weights, which the listing compares with. */
static bool add_listing(struct table *t, int inputs, int hidden, struct error *err) {
    uint64_t bytes[2];
    struct mlp_shape shape;
    struct mlp twin = {0}, fresh = {0};
    struct qmlp q = {0};
    struct mlp_workspace ws = {0};
    struct rng rng = rng_seeded(1);
    bool ok = mlp_shape_make(inputs, &hidden, 1, 10, &shape, err) && listing_network(&shape, &rng, &twin, err) &&
        listing_network(&shape, &rng, &fresh, err) && mlp_workspace_create(&shape, ROUND, false, &ws, err) &&
        listing_convert(&twin, &rng, &ws, &q, err) && listing_bytes(&twin, &q, bytes, err);
    if (ok) {
        static const char *const names[] = {"fp32 bytes", "int8 bytes", "fresh drift", "twin drift"};
        normal_rows(ws.activation[0], (size_t)FRESH_ROWS * (size_t)inputs, &rng);
        const double values[] = {(double)bytes[0], (double)bytes[1], listing_drift(&fresh, &q, &ws),
                                 listing_drift(&twin, &q, &ws)};
        for (int i = 0; i < 4; i++) table_row(t, "%s of %d-%d-10 | %.9g", names[i], inputs, hidden, values[i]);
    }
    mlp_workspace_free(&ws);
    qmlp_free(&q);
    mlp_free(&twin);
    mlp_free(&fresh);
    return ok;
}

bool audit_arithmetic(struct table *t, const char *folder, const struct dataset *data, struct error *err) {
    (void)data, (void)folder;
    add_affine_map(t);
    add_formats(t);
    add_five(t);
    add_numpy(t);
    add_lowest_code(t);
    add_ranges_gone_wrong(t);
    add_accumulators(t);
    return add_listing(t, 128, 256, err) && add_listing(t, 784, 128, err);
}

/* ---- the networks of the exercise -------------------------------------------------------------------------------- */

/* How many weights lie in [-0.5, 0.5]; of how many exponents of fp32 they make use, of 254; and what 4 bits, round to
 * nearest, one scale a row, lose of the row's largest weight, root mean square. */
static void add_weights(struct table *t, const struct mlp *mlp) {
    double count = 0, inside = 0, used = 0, squares = 0;
    bool exponents[256] = {false};
    int seen = 0;
    for (int l = 0; l < mlp->shape.layers; l++)
        for (int row = 0; row < mlp->layer[l].out; row++) {
            int n = mlp->layer[l].in;
            const float *w = mlp->layer[l].weight + (size_t)row * (size_t)n;
            double widest = (double)absolute_maximum(w, (size_t)n);
            struct qparams p = grid_of(w, n, 4, true);
            for (int k = 0; k < n; k++) {
                inside += fabsf(w[k]) <= 0.5f;
                if (w[k] != 0) exponents[(ilogbf(w[k]) + 127) & 255] = true;
            }
            count += n;
            if (!(widest > 0)) continue;
            used += n;
            for (int k = 0; k < n; k++) squares += pow(((double)w[k] - (double)fake_quantize(w[k], p)) / widest, 2);
        }
    add(t, "weights", count);
    add(t, "weights within 0.5", inside);
    for (int i = 0; i < 256; i++) seen += exponents[i];
    add(t, "exponents used", seen);
    add(t, "int4 error of the largest weight", 100 * sqrt(squares / used));
}

static bool add_drift(struct table *t, const char *name, const struct model *a, const struct model *b,
                      const struct split *split, struct error *err) {
    struct similarity outputs[MLP_MAX_LAYERS + 1] = {{0}};
    bool ok = compare_outputs(a, b, split->images, split->count, outputs, NULL, NULL, err);
    add(t, name, outputs[a->shape.layers].highest);
    return ok;
}

/* The largest difference of logits on up to 1000 images between int8 and the network that was converted, and between
 * int8 and one with fresh weights, as the lesson's listing compares. */
static bool add_drifts(struct table *t, const struct model *fp32, const struct model *int8, struct split split,
                       struct error *err) {
    struct model fresh = {.kind = MODEL_FP32, .shape = fp32->shape};
    struct rng rng = rng_seeded(2);
    if (split.count > 1000) split.count = 1000;
    if (!mlp_create(&fp32->shape, &fresh.mlp, err)) return false;
    mlp_initialise(&fresh.mlp, &rng);
    add(t, "step of the logits", (double)int8->qmlp.activation[int8->shape.layers].scale);
    bool ok = add_drift(t, "twin drift", fp32, int8, &split, err) &&
        add_drift(t, "fresh drift", &fresh, int8, &split, err);
    model_free(&fresh);
    return ok;
}

static bool read_model(const char *folder, const char *name, enum model_kind kind, const struct split *test,
                       struct model *out, struct error *err) {
    char path[4200];
    snprintf(path, sizeof path, "%.4000s/models/%s.safetensors", folder, name);
    return model_read(path, out, NULL, err) &&
        (out->kind == kind || fail(err, "%s: not what the exercise writes", path)) &&
        split_fits(test, out->shape.widths[0], out->shape.widths[out->shape.layers], path, err);
}

bool audit_networks(struct table *t, const char *folder, const struct dataset *data, struct error *err) {
    struct model fp32 = {0}, int8 = {0};
    bool ok = read_model(folder, "fp32", MODEL_FP32, &data->test, &fp32, err) &&
        read_model(folder, "int8-per-channel", MODEL_INT8, &data->test, &int8, err);
    if (ok) add_weights(t, &fp32.mlp);
    ok = ok && add_drifts(t, &fp32, &int8, data->test, err);
    model_free(&fp32);
    model_free(&int8);
    return ok;
}
