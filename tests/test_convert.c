/* Calibration and conversion: scales, zero points and biases as eq. 3 to 5 say, what is refused, and how far
 * the integer network may be from the fp32 one. */
#include "base/rng.h"
#include "quant/convert.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { INPUTS = 49, CLASSES = 10, IMAGES = 200, WIDEST = 64 };

static const struct mlp_shape shape = {3, {INPUTS, 64, 33, CLASSES}};
static const struct convert_config minmax = {.per_channel = true, .observer = OBSERVER_MINMAX};
static uint8_t images[IMAGES * INPUTS];
static struct error err;

#define CHECK(call)                                                                                                    \
    do {                                                                                                               \
        if (!(call)) fail_msg("%s: %s", #call, err.text);                                                              \
    } while (0)

/* A random network, and images half of whose pixels are 0; 0 and 255 both occur. */
static void make_network(uint64_t seed, struct mlp *mlp) {
    struct rng rng = rng_seeded(seed);
    CHECK(mlp_create(&shape, mlp, &err));
    mlp_initialise(mlp, &rng);
    for (int l = 0; l < shape.layers; l++)
        for (int j = 0; j < mlp->layer[l].out; j++) mlp->layer[l].bias[j] = (float)(0.2 * rng_normal(&rng));
    for (int i = 0; i < IMAGES * INPUTS; i++) images[i] = rng_below(&rng, 2) ? (uint8_t)rng_next(&rng) : 0;
    images[7] = 255;
}

static void calibrated(const struct mlp *mlp, const struct convert_config *config, struct range *ranges) {
    struct mlp_workspace ws;
    CHECK(mlp_workspace_create(&mlp->shape, CALIBRATION_BATCH, false, &ws, &err));
    CHECK(calibrate(mlp, images, IMAGES, config, &ws, ranges, &err));
    mlp_workspace_free(&ws);
}

/* Calibrates and converts; returns the number of saturated biases. */
static size_t converted(const struct mlp *mlp, const struct convert_config *config, struct qmlp *q) {
    struct range ranges[MLP_MAX_LAYERS + 1];
    size_t saturated = 99;
    calibrated(mlp, config, ranges);
    CHECK(convert(mlp, ranges, config, q, &saturated, &err));
    return saturated;
}

static float row_maximum(const struct dense *d, int c) {
    float highest = 0;
    for (int k = 0; k < d->in; k++) highest = fmaxf(highest, fabsf(d->weight[c * d->in + k]));
    return highest;
}

/* ---- Calibration ---- */

static void minmax_ranges_are_those_of_the_activations(void **state) {
    (void)state;
    struct mlp mlp;
    struct mlp_workspace ws;
    struct range ranges[MLP_MAX_LAYERS + 1];
    make_network(1, &mlp);
    calibrated(&mlp, &minmax, ranges); /* in batches of 64, 64, 64 and 8 */
    CHECK(mlp_workspace_create(&shape, IMAGES, false, &ws, &err));
    mlp_load_images(&mlp, images, IMAGES, &ws);
    mlp_forward(&mlp, IMAGES, &ws);
    for (int l = 0; l <= shape.layers; l++) {
        float lo = INFINITY, hi = -INFINITY;
        for (int i = 0; i < IMAGES * shape.widths[l]; i++) {
            lo = fminf(lo, ws.activation[l][i]);
            hi = fmaxf(hi, ws.activation[l][i]);
        }
        /* BLAS may sum in another order where the batch is another: a few roundings of 2^-24 */
        assert_true(fabsf(ranges[l].lo - lo) <= 1e-5f * hi && fabsf(ranges[l].hi - hi) <= 1e-5f * hi);
        assert_true(hi > 0.5f && (l == shape.layers ? lo < -0.5f : lo == 0));
    }
    assert_true(ranges[0].lo == 0 && ranges[0].hi == 1);
    mlp_workspace_free(&ws);
    mlp_free(&mlp);
}

static void every_observer_stays_within_minmax(void **state) {
    (void)state;
    struct mlp mlp;
    struct range seen[MLP_MAX_LAYERS + 1], ranges[MLP_MAX_LAYERS + 1];
    make_network(2, &mlp);
    calibrated(&mlp, &minmax, seen);
    for (int kind = 0; kind < OBSERVER_KINDS; kind++) {
        struct convert_config config = {.observer = (enum observer_kind)kind};
        calibrated(&mlp, &config, ranges);
        for (int l = 0; l <= shape.layers; l++) {
            assert_true(ranges[l].lo >= seen[l].lo && ranges[l].hi <= seen[l].hi);
            assert_true(ranges[l].hi > seen[l].hi / 2);
        }
    }
    mlp_free(&mlp);
}

static void no_images_give_empty_ranges(void **state) {
    (void)state;
    struct mlp mlp;
    struct mlp_workspace ws;
    make_network(2, &mlp);
    CHECK(mlp_workspace_create(&shape, CALIBRATION_BATCH, false, &ws, &err));
    for (int kind = 0; kind < OBSERVER_KINDS; kind++) {
        struct range ranges[MLP_MAX_LAYERS + 1];
        struct convert_config config = {.observer = (enum observer_kind)kind};
        CHECK(calibrate(&mlp, images, 0, &config, &ws, ranges, &err));
        for (int l = 0; l <= shape.layers; l++) assert_true(ranges[l].lo == 0 && ranges[l].hi == 0);
    }
    mlp_workspace_free(&ws);
    mlp_free(&mlp);
}

/* A tenth of the values off leaves less than a hundredth off; without a share it is the observer's own. */
static void a_share_can_be_asked_for(void **state) {
    (void)state;
    struct mlp mlp;
    struct range usual[MLP_MAX_LAYERS + 1], same[MLP_MAX_LAYERS + 1], little[MLP_MAX_LAYERS + 1],
        much[MLP_MAX_LAYERS + 1];
    make_network(2, &mlp);
    calibrated(&mlp, &(struct convert_config){.observer = OBSERVER_PERCENTILE}, usual);
    calibrated(&mlp, &(struct convert_config){.observer = OBSERVER_PERCENTILE, .outside = 0.0001}, same);
    calibrated(&mlp, &(struct convert_config){.observer = OBSERVER_PERCENTILE, .outside = 0.01}, little);
    calibrated(&mlp, &(struct convert_config){.observer = OBSERVER_PERCENTILE, .outside = 0.1}, much);
    for (int l = 1; l <= shape.layers; l++) {
        assert_true(same[l].hi == usual[l].hi && same[l].lo == usual[l].lo);
        assert_true(little[l].hi < usual[l].hi && much[l].hi < little[l].hi && much[l].hi > 0);
    }
    mlp_free(&mlp);
}

/* ---- Weights ---- */

static void check_codes(const struct dense *d, const struct qmlp *q, int layer, float scale, int c) {
    int largest = 0;
    for (int k = 0; k < d->in; k++) {
        double w = (double)d->weight[c * d->in + k];
        int code = q->layer[layer].weight[c * d->in + k];
        assert_in_range(code + 127, 0, 254);
        assert_true(fabs(w - (double)scale * code) <= (double)scale * 0.50002);
        largest = abs(code) > largest ? abs(code) : largest;
    }
    if (q->per_channel) assert_int_equal(largest, 127); /* its largest weight is the last code */
}

static void scales_are_absmax_over_127(void **state) {
    (void)state;
    struct mlp mlp;
    make_network(3, &mlp);
    for (int per_channel = 0; per_channel < 2; per_channel++) {
        struct convert_config config = {.per_channel = per_channel, .observer = OBSERVER_MINMAX};
        struct qmlp q;
        assert_int_equal(converted(&mlp, &config, &q), 0);
        assert_true(q.per_channel == per_channel && !q.symmetric_activations);
        for (int l = 0; l < shape.layers; l++) {
            const struct dense *d = &mlp.layer[l];
            float whole = 0;
            for (int c = 0; c < d->out; c++) whole = fmaxf(whole, row_maximum(d, c));
            for (int c = 0; c < d->out; c++) {
                float scale = (per_channel ? row_maximum(d, c) : whole) / 127;
                assert_true(scale > 0 && qmlp_weight_scale(&q, l, c) == scale);
                check_codes(d, &q, l, scale, c);
            }
        }
        qmlp_free(&q);
    }
    mlp_free(&mlp);
}

static void an_all_zero_row_gets_scale_one(void **state) {
    (void)state;
    struct mlp mlp;
    struct qmlp q;
    make_network(4, &mlp);
    for (int k = 0; k < mlp.layer[1].in; k++) mlp.layer[1].weight[5 * mlp.layer[1].in + k] = k % 2 ? 0.0f : -0.0f;
    assert_int_equal(converted(&mlp, &minmax, &q), 0);
    assert_true(q.weight_scale[1][5] == 1 && q.weight_scale[1][4] != 1);
    for (int k = 0; k < q.layer[1].in; k++) assert_int_equal(q.layer[1].weight[5 * q.layer[1].in + k], 0);
    qmlp_free(&q);
    for (int k = 0; k < mlp.layer[2].in * mlp.layer[2].out; k++) mlp.layer[2].weight[k] = 0;
    for (int per_channel = 0; per_channel < 2; per_channel++) { /* a whole layer: its logits are the biases */
        struct convert_config config = {.per_channel = per_channel, .observer = OBSERVER_MINMAX};
        uint8_t codes[2 * CLASSES];
        converted(&mlp, &config, &q);
        assert_true(qmlp_weight_scale(&q, 2, 9) == 1);
        qmlp_forward_ref(&q, images, 2, codes);
        assert_memory_equal(codes, codes + CLASSES, CLASSES);
        qmlp_free(&q);
    }
    mlp_free(&mlp);
}

/* The error of all weights but the outlier's row. */
static double error_of_other_rows(const struct dense *d, const struct qmlp *q, int outlier) {
    double sum = 0;
    for (int c = 0; c < d->out; c++)
        for (int k = 0; c != outlier && k < d->in; k++) {
            int i = c * d->in + k;
            sum += pow((double)d->weight[i] - (double)qmlp_weight_scale(q, 0, c) * q->layer[0].weight[i], 2);
        }
    return sum;
}

static void an_outlier_hurts_its_own_channel_only(void **state) {
    (void)state;
    enum { OUTLIER = 3 };
    double error[2][2]; /* [without, with the outlier][per tensor, per channel] */
    struct mlp mlp;
    make_network(5, &mlp);
    for (int with = 0; with < 2; with++) {
        if (with) mlp.layer[0].weight[OUTLIER * INPUTS + 2] = 50;
        for (int per_channel = 0; per_channel < 2; per_channel++) {
            struct convert_config config = {.per_channel = per_channel, .observer = OBSERVER_MINMAX};
            struct qmlp q;
            converted(&mlp, &config, &q);
            error[with][per_channel] = error_of_other_rows(&mlp.layer[0], &q, OUTLIER);
            qmlp_free(&q);
        }
    }
    assert_true(error[0][1] > 0 && error[1][1] == error[0][1]);
    assert_true(error[1][0] > 1000 * error[0][0]); /* a scale 60 times as large: 3600 times the error */
    mlp_free(&mlp);
}

/* ---- Activations and biases ---- */

static void asymmetric_activations(void **state) {
    (void)state;
    struct mlp mlp;
    struct qmlp q;
    make_network(6, &mlp);
    converted(&mlp, &minmax, &q);
    assert_true(q.activation[0].scale == 1 / 255.0f);
    for (int l = 0; l <= shape.layers; l++) {
        assert_true(q.activation[l].qmin == 0 && q.activation[l].qmax == 255);
        if (l < shape.layers) assert_int_equal(q.activation[l].zero_point, 0); /* pixels and ReLUs begin at 0 */
    }
    assert_in_range(q.activation[shape.layers].zero_point, 30, 225);
    for (int byte = 0; byte < 256; byte++) assert_int_equal(q.pixel_code[byte], byte);
    qmlp_free(&q);
    mlp_free(&mlp);
}

static void symmetric_activations_share_the_kernel(void **state) {
    (void)state;
    struct mlp mlp;
    struct qmlp q;
    struct range ranges[MLP_MAX_LAYERS + 1];
    struct convert_config config = {.per_channel = true, .symmetric_activations = true, .observer = OBSERVER_MINMAX};
    make_network(6, &mlp);
    calibrated(&mlp, &config, ranges);
    converted(&mlp, &config, &q);
    assert_true(q.symmetric_activations && q.kernel == qkernel_best());
    for (int l = 0; l <= shape.layers; l++) {
        struct qparams p = q.activation[l];
        assert_true(p.zero_point == 128 && p.qmin == 1 && p.qmax == 255);
        assert_true(p.scale == fmaxf(-ranges[l].lo, ranges[l].hi) / 127);
    }
    for (int l = 0; l < shape.layers; l++) {
        assert_int_equal(q.layer[l].x_zero_point, 128);
        assert_int_equal(q.layer[l].y_zero_point, 128);
        assert_int_equal(q.layer[l].y_min, l + 1 < shape.layers ? 128 : 1); /* ReLU, or none */
        assert_int_equal(q.layer[l].y_max, 255);
    }
    assert_true(q.pixel_code[0] == 128 && q.pixel_code[255] == 255);
    qmlp_free(&q);
    mlp_free(&mlp);
}

/* b_q = round(b / (s_x s_w)), and M = s_x s_w / s_y. */
static void biases_and_multipliers(void **state) {
    (void)state;
    struct mlp mlp;
    struct qmlp q;
    int nonzero = 0;
    make_network(7, &mlp);
    converted(&mlp, &minmax, &q);
    for (int l = 0; l < shape.layers; l++)
        for (int c = 0; c < shape.widths[l + 1]; c++) {
            double step = (double)q.activation[l].scale * (double)qmlp_weight_scale(&q, l, c);
            double steps = (double)mlp.layer[l].bias[c] / step, real = step / (double)q.activation[l + 1].scale;
            struct multiplier by = q.layer[l].multiplier[c];
            assert_true(fabs(q.layer[l].bias[c] - steps) <= 0.5 + 1e-9);
            assert_true(fabs(ldexp(by.m, -by.right) - real) <= real * 0x1p-31);
            nonzero += q.layer[l].bias[c] != 0;
        }
    assert_true(nonzero > 50);
    qmlp_free(&q);
    mlp_free(&mlp);
}

/* ---- What is refused ---- */

static void numbers_that_are_none_are_refused(void **state) {
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    struct range ranges[MLP_MAX_LAYERS + 1];
    struct mlp mlp;
    make_network(9, &mlp);
    calibrated(&mlp, &minmax, ranges);
    for (int i = 0; i < 6; i++) {
        struct qmlp q;
        size_t saturated;
        float *place = i % 2 ? &mlp.layer[1].bias[32] : &mlp.layer[1].weight[100], kept = *place;
        *place = bad[i / 2];
        assert_false(convert(&mlp, ranges, &minmax, &q, &saturated, &err));
        if (!strstr(err.text, "fc2") || !strstr(err.text, "finite")) fail_msg("%s", err.text);
        *place = kept;
    }
    mlp_free(&mlp);
}

/* A range that is not one must not become a NaN scale. */
static void hostile_ranges_give_usable_scales(void **state) {
    (void)state;
    const struct range bad[] = {{NAN, NAN}, {-INFINITY, INFINITY}, {0, 0}, {0, FLT_TRUE_MIN}, {-FLT_MAX, FLT_MAX}};
    struct mlp mlp;
    make_network(10, &mlp);
    for (int i = 0; i < 10; i++) {
        struct qmlp q;
        struct range ranges[MLP_MAX_LAYERS + 1];
        struct convert_config config = {.symmetric_activations = i % 2, .observer = OBSERVER_MINMAX};
        size_t saturated;
        calibrated(&mlp, &config, ranges);
        ranges[1] = bad[i / 2];
        if (!convert(&mlp, ranges, &config, &q, &saturated, &err)) continue; /* a multiplier too large: says so */
        assert_true(q.activation[1].scale > 0 && isfinite(q.activation[1].scale));
        qmlp_free(&q);
    }
    mlp_free(&mlp);
}

/* Each spoils one thing of a network that was fine. */
static void spoil(struct qmlp *q, int what) {
    switch (what) {
    case 0: q->weight_scale[1][4] = 0; break;
    case 1: q->weight_scale[1][4] = NAN; break;
    case 2: q->weight_scale[1][4] = -0.5f; break;
    case 3: q->weight_scale[1][4] = INFINITY; break;
    case 4: q->activation[1].scale = 0; break;
    case 5: q->activation[3].scale = NAN; break;
    case 6: q->activation[0].scale = INFINITY; break;
    case 7: q->layer[1].bias[4] = QLINEAR_MAX_BIAS + 1; break;
    case 8: q->layer[1].bias[4] = -QLINEAR_MAX_BIAS - 1; break;
    case 9: q->layer[1].bias[4] = INT32_MIN; break; /* its absolute value is no int32 */
    case 10: q->layer[1].bias[4] = INT32_MAX; break;
    case 11: q->weight_scale[1][4] = 1e30f; break; /* a multiplier beyond 2^30 */
    }
}

static void finish_refuses_what_cannot_run(void **state) {
    (void)state;
    static const char *const reasons[12] = {"fc2.weight_scale[4]", "fc2.weight_scale[4]", "fc2.weight_scale[4]",
                                            "fc2.weight_scale[4]", "the input of fc2",    "the output",
                                            "the input of fc1",    "fc2.bias[4]",         "fc2.bias[4]",
                                            "fc2.bias[4]",         "fc2.bias[4]",         "multiplier"};
    struct mlp mlp;
    make_network(11, &mlp);
    for (int what = 0; what < 12; what++) {
        struct qmlp q;
        converted(&mlp, &minmax, &q);
        CHECK(qmlp_finish(&q, &err)); /* twice is no harm */
        spoil(&q, what);
        if (qmlp_finish(&q, &err)) fail_msg("case %d was accepted: expected %s to be refused", what, reasons[what]);
        if (!strstr(err.text, reasons[what])) fail_msg("case %d: %s", what, err.text);
        qmlp_free(&q);
    }
    mlp_free(&mlp);
}

/* ---- How far from fp32 ---- */

/* The variance of the error that a network makes on one image when every rounding of eq. 2 to 6 is
 * independent and uniform over a step s, which has variance s^2 / 12: v_y[c] = sum_k w^2 v_x[k] + s_w^2 / 12
 * (x[k]^2 + v_x[k])   what came in, and the weights
 *          + (s_x s_w)^2 / 12 + s_y^2 / 12                     the bias, the requantization
 * and nothing where x is 0: that is exact. x [layers + 1]: fp32, of this image; v: of its logits. */
static void propagate_error(const struct mlp *mlp, const struct qmlp *q, const float *const *x, double *v) {
    double next[WIDEST], s_y = (double)q->activation[0].scale;
    for (int k = 0; k < shape.widths[0]; k++)
        v[k] = q->symmetric_activations ? s_y * s_y / 12 : 0; /* bytes are exact */
    for (int l = 0; l < shape.layers; l++) {
        double s_x = s_y;
        s_y = (double)q->activation[l + 1].scale;
        for (int c = 0; c < mlp->layer[l].out; c++) {
            double s_w = (double)qmlp_weight_scale(q, l, c);
            next[c] = (s_x * s_x * s_w * s_w + s_y * s_y) / 12;
            for (int k = 0; k < mlp->layer[l].in; k++) {
                double x_k = (double)x[l][k], w = (double)mlp->layer[l].weight[c * mlp->layer[l].in + k];
                if (x_k != 0) next[c] += w * w * v[k] + s_w * s_w / 12 * (x_k * x_k + v[k]);
            }
        }
        memcpy(v, next, (size_t)mlp->layer[l].out * sizeof *v);
    }
}

struct distance {
    double squares, expected_squares; /* of logit - integer logit, in output steps */
    double worst;                     /* of that difference, in its expected deviations */
    int agree;                        /* images with the same prediction */
};

static void compare_image(const struct mlp *mlp, const struct qmlp *q, const struct mlp_workspace *ws, int image,
                          const uint8_t *codes, struct distance *found) {
    const float *x[MLP_MAX_LAYERS + 1], *logits;
    double v[WIDEST], step = (double)q->activation[shape.layers].scale;
    for (int l = 0; l <= shape.layers; l++) x[l] = ws->activation[l] + image * shape.widths[l];
    logits = x[shape.layers];
    propagate_error(mlp, q, x, v);
    int best = 0, integer_best = 0;
    for (int j = 0; j < CLASSES; j++) {
        double difference = (double)logits[j] - (double)dequantize(codes[j], q->activation[shape.layers]);
        found->squares += pow(difference / step, 2);
        found->expected_squares += v[j] / (step * step);
        found->worst = fmax(found->worst, fabs(difference) / sqrt(v[j]));
        if (logits[j] > logits[best]) best = j;
        if (codes[j] > codes[integer_best]) integer_best = j;
    }
    found->agree += best == integer_best;
}

/* All images of the calibration: their true values lie in the ranges. */
static struct distance distance_of(const struct mlp *mlp, const struct qmlp *q) {
    struct mlp_workspace ws;
    struct distance found = {0};
    uint8_t codes[IMAGES * CLASSES];
    CHECK(mlp_workspace_create(&shape, IMAGES, false, &ws, &err));
    mlp_load_images(mlp, images, IMAGES, &ws);
    mlp_forward(mlp, IMAGES, &ws);
    qmlp_forward_ref(q, images, IMAGES, codes);
    for (int i = 0; i < IMAGES; i++) compare_image(mlp, q, &ws, i, codes + i * CLASSES, &found);
    mlp_workspace_free(&ws);
    return found;
}

static void logits_stay_close_to_fp32(void **state) {
    (void)state;
    for (int seed = 20; seed < 25; seed++)
        for (int way = 0; way < 4; way++) {
            struct convert_config config = {
                .per_channel = way & 1, .symmetric_activations = way & 2, .observer = OBSERVER_MINMAX};
            struct mlp mlp;
            struct qmlp q;
            make_network((uint64_t)seed, &mlp);
            assert_int_equal(converted(&mlp, &config, &q), 0);
            struct distance found = distance_of(&mlp, &q);
            double rms = sqrt(found.squares / (IMAGES * CLASSES)), share = found.squares / found.expected_squares;
            assert_true(rms > 0.28 && rms <= 1); /* output steps; the last rounding alone makes 0.29 */
            assert_true(share > 0.6 && share < 1.5);
            assert_true(found.worst < 6);
            assert_true(found.agree >= IMAGES * 95 / 100);
            qmlp_free(&q);
            mlp_free(&mlp);
        }
}

/* ---- Biases that do not fit ---- */

static void kernel_equals_reference(const struct qmlp *q) {
    uint8_t expected[IMAGES * CLASSES], codes[IMAGES * CLASSES];
    struct qmlp_workspace ws;
    qmlp_forward_ref(q, images, IMAGES, expected); /* UBSan watches */
    CHECK(qmlp_workspace_create(&shape, 1, &ws, &err));
    qmlp_forward(q, images, IMAGES, &ws, codes);
    assert_memory_equal(codes, expected, sizeof codes);
    qmlp_workspace_free(&ws);
}

/* onnxruntime#22020, Samsung/ONE#6970: weights that decayed to nothing make a tiny step, in which the bias is no int32
 * any more. The scale is raised until it is; all codes of the row follow it. */
static void a_scale_is_raised_until_the_bias_fits(void **state) {
    (void)state;
    const float decayed[] = {1e-12f, 1e-9f, 1e-40f, 0};
    for (int way = 0; way < 4; way++) {
        struct convert_config config = {
            .per_channel = way & 1, .symmetric_activations = way & 2, .observer = OBSERVER_MINMAX};
        struct mlp mlp;
        struct qmlp q;
        make_network(8, &mlp);
        int rows = config.per_channel ? 4 : mlp.layer[0].out; /* per tensor: the whole layer decays */
        for (int c = 0; c < rows; c++) {
            for (int k = 0; k < INPUTS; k++) mlp.layer[0].weight[c * INPUTS + k] *= decayed[config.per_channel ? c : 1];
            mlp.layer[0].bias[c] = c == 1 ? -0.5f : 0.5f;
        }
        mlp.layer[0].bias[3] = config.per_channel ? 1e7f : 0.5f; /* more than 2^30 steps of 1/255, scale 1 */
        assert_int_equal(converted(&mlp, &config, &q), 0);
        for (int c = 0; c < rows; c++) {
            double step = (double)q.activation[0].scale * (double)qmlp_weight_scale(&q, 0, c);
            assert_true(abs(q.layer[0].bias[c]) <= QLINEAR_MAX_BIAS);
            assert_true(abs(q.layer[0].bias[c]) > QLINEAR_MAX_BIAS / 2); /* raised no further than it has to be */
            assert_true(fabs(q.layer[0].bias[c] * step - (double)mlp.layer[0].bias[c]) <= step);
            for (int k = 0; k < INPUTS; k++) {
                float w = mlp.layer[0].weight[c * INPUTS + k];
                assert_true(fabs((double)w - (double)qmlp_weight_scale(&q, 0, c) * q.layer[0].weight[c * INPUTS + k]) <=
                            1.01 * (double)qmlp_weight_scale(&q, 0, c)); /* rounded twice */
            }
        }
        kernel_equals_reference(&q);
        if (mlp.layer[0].bias[3] < 1) assert_true(distance_of(&mlp, &q).agree >= IMAGES * 95 / 100);
        qmlp_free(&q);
        mlp_free(&mlp);
    }
}

/* Steps so small that no float scale makes up for them. */
static void biases_that_cannot_fit_are_counted(void **state) {
    (void)state;
    struct range ranges[MLP_MAX_LAYERS + 1];
    struct mlp mlp;
    struct qmlp q;
    size_t saturated;
    make_network(8, &mlp);
    calibrated(&mlp, &minmax, ranges);
    ranges[0] = (struct range){0, 1e-35f};
    ranges[1] = ranges[2] = ranges[3] = (struct range){0, 1e30f};
    mlp.layer[0].bias[0] = 1e30f;
    mlp.layer[0].bias[1] = -1e30f;
    CHECK(convert(&mlp, ranges, &minmax, &q, &saturated, &err));
    assert_int_equal(saturated, 2);
    assert_int_equal(q.layer[0].bias[0], QLINEAR_MAX_BIAS);
    assert_int_equal(q.layer[0].bias[1], -QLINEAR_MAX_BIAS);
    kernel_equals_reference(&q);
    qmlp_free(&q);
    mlp_free(&mlp);
}

/* Scales and zero points of a network that is there, to the bit, give that network, without its ranges. */
static void activations_can_be_given(void **state) {
    (void)state;
    for (int symmetric = 0; symmetric < 2; symmetric++) {
        struct mlp mlp;
        struct qmlp q, again;
        size_t saturated;
        make_network(8, &mlp);
        struct convert_config config = {.per_channel = true, .symmetric_activations = symmetric};
        converted(&mlp, &config, &q);
        q.activation[1].scale *= 1.1f; /* no range is known that gives it */
        config.activations = q.activation;
        CHECK(convert(&mlp, NULL, &config, &again, &saturated, &err));
        for (int l = 0; l <= shape.layers; l++)
            assert_memory_equal(&again.activation[l], &q.activation[l], sizeof q.activation[l]);
        for (int l = 0; l < shape.layers; l++)
            assert_memory_equal(again.layer[l].weight, q.layer[l].weight, (size_t)(q.layer[l].in * q.layer[l].out));
        assert_int_not_equal(again.layer[1].bias[0], q.layer[1].bias[0]); /* in steps of the given scale */
        qmlp_free(&q);
        qmlp_free(&again);
        mlp_free(&mlp);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(minmax_ranges_are_those_of_the_activations),
        cmocka_unit_test(every_observer_stays_within_minmax),
        cmocka_unit_test(no_images_give_empty_ranges),
        cmocka_unit_test(a_share_can_be_asked_for),
        cmocka_unit_test(activations_can_be_given),
        cmocka_unit_test(scales_are_absmax_over_127),
        cmocka_unit_test(an_all_zero_row_gets_scale_one),
        cmocka_unit_test(an_outlier_hurts_its_own_channel_only),
        cmocka_unit_test(asymmetric_activations),
        cmocka_unit_test(symmetric_activations_share_the_kernel),
        cmocka_unit_test(biases_and_multipliers),
        cmocka_unit_test(numbers_that_are_none_are_refused),
        cmocka_unit_test(hostile_ranges_give_usable_scales),
        cmocka_unit_test(finish_refuses_what_cannot_run),
        cmocka_unit_test(logits_stay_close_to_fp32),
        cmocka_unit_test(a_scale_is_raised_until_the_bias_fits),
        cmocka_unit_test(biases_that_cannot_fit_are_counted),
    };
    return cmocka_run_group_tests_name("convert", tests, NULL, NULL);
}
