/* Quantization-aware training: the fake-quantized forward pass against the integer network it promises, and
 * what training does for few bits, on the built-in digits. */
#include "data/digits.h"
#include "nn/gemm.h"
#include "lowbit/gptq.h"
#include "lowbit/qat.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRAIN = 3000, TEST = 1000, PIXELS = DIGITS_PIXELS, CLASSES = 10, BATCH = 50 };

static const struct mlp_shape shape = {3, {PIXELS, 32, 24, CLASSES}};
static const int bit_widths[] = {2, 3, 4, 8};
static uint8_t images[(TRAIN + TEST) * PIXELS], labels[TRAIN + TEST];
static const uint8_t *const test_images = images + TRAIN * PIXELS, *const test_labels = labels + TRAIN;
static struct mlp fp32;                             /* trained */
static struct range calibrated[MLP_MAX_LAYERS + 1]; /* its activations */
static struct error err;

#define CHECK(call)                                                                                                    \
    do {                                                                                                               \
        if (!(call)) fail_msg("%s: %s", #call, err.text);                                                              \
    } while (0)

static struct train_config training(float rate, uint64_t seed) {
    return (struct train_config){1, BATCH, OPTIMIZER_ADAM, rate, 0.1, 0, seed};
}

static int train_the_network(void **state) {
    (void)state;
    struct train_config config = training(0.003f, 1);
    struct train_report report;
    struct convert_config minmax = {.per_channel = true};
    struct mlp_workspace ws;
    struct rng rng = rng_seeded(1);
    config.epochs = 4;
    digits_draw(1, 0, TRAIN + TEST, images, labels);
    if (!mlp_create(&shape, &fp32, &err)) return -1;
    mlp_initialise(&fp32, &rng);
    bool ok = mlp_train(&fp32, &(struct train_data){images, labels, TRAIN, (size_t)fp32.shape.widths[0], NULL, NULL},
                        &config, &report, &err) &&
        mlp_workspace_create(&shape, CALIBRATION_BATCH, false, &ws, &err) &&
        calibrate(&fp32, images, 512, &minmax, &ws, calibrated, &err);
    mlp_workspace_free(&ws);
    return ok ? 0 : -1;
}

static int free_the_network(void **state) {
    (void)state;
    mlp_free(&fp32);
    return 0;
}

static void copy_of_fp32(struct mlp *mlp, struct range *ranges) {
    CHECK(mlp_create(&shape, mlp, &err));
    memcpy(mlp_parameters(mlp), mlp_parameters(&fp32), mlp_padded_count(mlp) * sizeof(float));
    memcpy(ranges, calibrated, sizeof calibrated);
}

/* One epoch from the fp32 network. */
static void trained(int bits, uint64_t seed, struct mlp *mlp, struct range *ranges) {
    struct qat_config config = {.weight_bits = bits, .train = training(0.002f, seed)};
    struct train_report report;
    copy_of_fp32(mlp, ranges);
    CHECK(qat_train(mlp, &(struct train_data){images, labels, TRAIN, (size_t)mlp->shape.widths[0], NULL, NULL}, &config,
                    ranges, &report, &err));
    assert_int_equal(report.steps, TRAIN / BATCH);
    assert_true(isfinite(report.loss) && report.loss > 0);
}

static void integer_network(const struct mlp *mlp, int bits, const struct range *ranges, struct qmlp *q) {
    size_t saturated = 99;
    CHECK(qat_convert(mlp, bits, ranges, q, &saturated, &err));
    assert_int_equal(saturated, 0);
}

static int right_answers(const struct qmlp *q, const uint8_t *of) {
    static uint8_t codes[TEST * CLASSES], predicted[TEST];
    struct qmlp_workspace ws;
    int right = 0;
    CHECK(qmlp_workspace_create(&shape, 1, &ws, &err));
    qmlp_forward(q, of, TEST, &ws, codes);
    qmlp_classify(codes, TEST, CLASSES, predicted);
    for (int i = 0; i < TEST; i++) right += predicted[i] == test_labels[i];
    qmlp_workspace_free(&ws);
    return right;
}

/* Round to nearest in the integer engine, for comparison. */
static int right_answers_of_rounding(int bits, enum grid_rule rule) {
    struct coded_matrix codes[MLP_MAX_LAYERS] = {{0}};
    struct qmlp q;
    size_t saturated;
    for (int l = 0; l < shape.layers; l++) {
        const struct dense *d = &fp32.layer[l];
        CHECK(coded_matrix_create(d->out, d->in, bits, true, d->in, &codes[l], &err));
        rtn_codes(d->weight, rule, &codes[l]);
    }
    CHECK(convert_codes(&fp32, codes, calibrated, false, &q, &saturated, &err));
    for (int l = 0; l < shape.layers; l++) coded_matrix_free(&codes[l]);
    int right = right_answers(&q, test_images);
    qmlp_free(&q);
    return right;
}

/* ---- the forward pass is the integer network's ---- */

/* Codes of fake-quantized values; that they are on the grid is checked. */
static void codes_of(const float *x, size_t n, struct qparams p, uint8_t *codes) {
    for (size_t i = 0; i < n; i++) {
        double steps = (double)x[i] / (double)p.scale, nearest = rint(steps);
        assert_true(fabs(steps - nearest) <= 1e-4);
        assert_true(nearest + p.zero_point >= p.qmin && nearest + p.zero_point <= p.qmax);
        codes[i] = (uint8_t)(nearest + p.zero_point);
    }
}

/* How many codes are the same, and how far apart the others are at most. */
static double share_equal(const uint8_t *a, const uint8_t *b, size_t n, int *widest) {
    size_t equal = 0;
    *widest = 0;
    for (size_t i = 0; i < n; i++) {
        int d = abs(a[i] - b[i]);
        equal += d == 0;
        *widest = d > *widest ? d : *widest;
    }
    return (double)equal / (double)n;
}

/* The biases as the integer network has them, rounded to eq. 5's step. */
static void round_biases(const struct qmlp *q, struct mlp *mlp) {
    for (int l = 0; l < shape.layers; l++)
        for (int c = 0; c < shape.widths[l + 1]; c++)
            mlp->layer[l].bias[c] = (float)q->layer[l].bias[c] * q->activation[l].scale * qmlp_weight_scale(q, l, c);
}

/* What separates the two is eq. 5's rounding of the biases, worth up to M / 2 codes, and ties that a float
 * sum misses. With the biases rounded, only ties are left: less than one code in 1000 differs, by one.
 * Without, one layer differs by one code at most, and all layers together by two. */
static void the_fake_forward_pass_is_the_integer_one(void **state) {
    (void)state;
    static uint8_t fake[2][TEST * PIXELS], chain[2][TEST * PIXELS], alone[TEST * PIXELS];
    for (int t = 0; t < 16; t++) {
        int bits = bit_widths[t / 4], rounded = t / 2 % 2, widest;
        double least_alone = rounded ? 0.999 : 0.9, least = rounded ? 0.997 : 0.85;
        struct mlp mlp;
        struct range ranges[MLP_MAX_LAYERS + 1];
        struct mlp_workspace ws;
        struct qmlp q;
        if (t % 2) trained(bits, 2, &mlp, ranges);
        else copy_of_fp32(&mlp, ranges);
        CHECK(mlp_workspace_create(&shape, TEST, false, &ws, &err));
        integer_network(&mlp, bits, ranges, &q);
        if (rounded) round_biases(&q, &mlp);
        CHECK(qat_forward(&mlp, bits, ranges, test_images, TEST, &ws, &err));
        codes_of(ws.activation[0], TEST * PIXELS, q.activation[0], fake[0]);
        for (int i = 0; i < TEST * PIXELS; i++) chain[0][i] = q.pixel_code[test_images[i]];
        assert_memory_equal(fake[0], chain[0], TEST * PIXELS);
        for (int l = 0; l < shape.layers; l++) {
            size_t n = (size_t)(TEST * shape.widths[l + 1]);
            const uint8_t *x = fake[l % 2];
            uint8_t *y = fake[(l + 1) % 2];
            codes_of(ws.activation[l + 1], n, q.activation[l + 1], y);
            qlinear_ref(&q.layer[l], x, TEST, alone);
            qlinear_ref(&q.layer[l], chain[l % 2], TEST, chain[(l + 1) % 2]);
            double share = share_equal(y, alone, n, &widest);
            const char *form = rounded ? ", biases rounded" : "";
            if (!(share >= least_alone && widest <= 1))
                fail_msg("%d bits%s, fc%d alone: %.4f equal, the others up to %d apart", bits, form, l + 1, share,
                         widest);
            share = share_equal(y, chain[(l + 1) % 2], n, &widest);
            if (!(share >= least && widest <= 2))
                fail_msg("%d bits%s, up to fc%d: %.4f equal, the others up to %d apart", bits, form, l + 1, share,
                         widest);
        }
        qmlp_free(&q);
        mlp_workspace_free(&ws);
        mlp_free(&mlp);
    }
}

static void many_bits_are_near_fp32(void **state) {
    (void)state;
    struct mlp_workspace ws[2];
    double widest = 0, largest = 0;
    for (int i = 0; i < 2; i++) CHECK(mlp_workspace_create(&shape, TEST, false, &ws[i], &err));
    CHECK(qat_forward(&fp32, 8, calibrated, images, 500, &ws[0], &err));
    mlp_load_images(&fp32, images, 500, &ws[1]);
    mlp_forward(&fp32, 500, &ws[1]);
    for (int i = 0; i < 500 * CLASSES; i++) {
        largest = fmax(largest, fabs((double)ws[1].activation[3][i]));
        widest = fmax(widest, fabs((double)(ws[0].activation[3][i] - ws[1].activation[3][i])));
    }
    assert_true(largest > 1 && widest > 0);
    if (!(widest <= 0.05 * largest)) fail_msg("%g of %g", widest, largest);
    for (int i = 0; i < 2; i++) mlp_workspace_free(&ws[i]);
}

/* ---- the gradient is that of the definition in qat.h ---- */

/* The network as one step of training sees it, in double: what quantization adds to weights and to activations. */
static struct frozen {
    double weight[MLP_MAX_LAYERS][PIXELS * 32], bias[MLP_MAX_LAYERS][32], added_weight[MLP_MAX_LAYERS][PIXELS * 32];
    double added[MLP_MAX_LAYERS + 1][BATCH][32]; /* to the outputs of layer l */
} frozen;

/* The mean loss over the batch. follow: the activations are quantized, and what that adds is kept; else that is added.
 */
static double frozen_loss(bool follow, const struct range *ranges) {
    double loss = 0;
    for (int n = 0; n < BATCH; n++) {
        double x[PIXELS], y[32], highest = -INFINITY, sum = 0, target = 0;
        for (int k = 0; k < PIXELS; k++) x[k] = images[n * PIXELS + k] / 255.0;
        for (int l = 0; l < shape.layers; l++) {
            int in = shape.widths[l], out = shape.widths[l + 1];
            for (int c = 0; c < out; c++) {
                double z = frozen.bias[l][c];
                for (int k = 0; k < in; k++)
                    z += x[k] * (frozen.weight[l][c * in + k] + frozen.added_weight[l][c * in + k]);
                y[c] = l + 1 < shape.layers && z < 0 ? 0 : z;
                struct qparams p = qparams_asymmetric(ranges[l + 1].lo, ranges[l + 1].hi, 0, 255);
                if (follow) frozen.added[l + 1][n][c] = (double)fake_quantize((float)y[c], p) - y[c];
                y[c] += frozen.added[l + 1][n][c];
            }
            memcpy(x, y, (size_t)out * sizeof *x);
        }
        for (int c = 0; c < CLASSES; c++) highest = fmax(highest, x[c]);
        for (int c = 0; c < CLASSES; c++) sum += exp(x[c] - highest);
        target = x[labels[n]];
        loss += (log(sum) + highest - target) / BATCH;
    }
    return loss;
}

static void the_gradient_is_straight_through(void **state) {
    (void)state;
    for (int t = 0; t < 3; t++) {
        int bits = bit_widths[t];
        struct qat_config config = {.weight_bits = bits, .train = {1, BATCH, OPTIMIZER_SGD, 1e-3f, 0, 0, 1}};
        struct train_report report;
        struct range ranges[MLP_MAX_LAYERS + 1];
        struct mlp mlp;
        copy_of_fp32(&mlp, ranges);
        for (int l = 0; l < shape.layers; l++) {
            const struct dense *d = &mlp.layer[l];
            static float quantized[PIXELS * 32];
            struct coded_matrix m;
            CHECK(coded_matrix_create(d->out, d->in, bits, true, d->in, &m, &err));
            rtn_codes(d->weight, GRID_MSE, &m);
            coded_matrix_values(&m, quantized);
            coded_matrix_free(&m);
            for (int i = 0; i < d->out * d->in; i++) {
                frozen.weight[l][i] = (double)d->weight[i];
                frozen.added_weight[l][i] = (double)quantized[i] - (double)d->weight[i];
            }
            for (int c = 0; c < d->out; c++) frozen.bias[l][c] = (double)d->bias[c];
        }
        CHECK(qat_train(&mlp, &(struct train_data){images, labels, BATCH, PIXELS, NULL, NULL}, &config, ranges, &report,
                        &err));
        assert_int_equal(report.steps, 1);
        assert_true(fabs(frozen_loss(true, ranges) - report.loss) <= 1e-4);
        double rate = 0, widest = 0, wrong = 0;
        for (int l = shape.layers - 1; l >= 0; l--) { /* all logits' biases give the rate, then every 67th weight */
            const struct dense *d = &mlp.layer[l];
            for (int i = 0; i < (rate > 0 ? d->out * d->in : 1); i += 67) {
                double *w = rate > 0 ? &frozen.weight[l][i] : &frozen.bias[l][labels[0]], before = *w;
                double now = (double)(rate > 0 ? d->weight[i] : d->bias[labels[0]]);
                *w = before + 1e-5;
                double above = frozen_loss(false, ranges);
                *w = before - 1e-5;
                double slope = (above - frozen_loss(false, ranges)) / 2e-5;
                *w = before;
                if (rate > 0) {
                    widest = fmax(widest, fabs(slope));
                    wrong = fmax(wrong, fabs((before - now) / rate - slope));
                } else {
                    assert_true(fabs(slope) > 1e-3);
                    rate = (before - now) / slope;
                }
            }
        }
        if (!(widest > 0.01 && wrong <= 0.01 * widest))
            fail_msg("%d bits: gradients of up to %g are off by up to %g", bits, widest, wrong);
        mlp_free(&mlp);
    }
}

/* ---- training ---- */

static void codes_and_ranges_after_training(void **state) {
    (void)state;
    for (int t = 0; t < 4; t++) {
        int bits = bit_widths[t], top = (1 << (bits - 1)) - 1, at_top = 0, at_lowest = 0, moved = 0;
        struct mlp mlp;
        struct range ranges[MLP_MAX_LAYERS + 1];
        struct qmlp q;
        trained(bits, 3, &mlp, ranges);
        integer_network(&mlp, bits, ranges, &q);
        for (int l = 0; l < shape.layers; l++) {
            assert_true(ranges[l + 1].lo <= 0 && ranges[l + 1].hi > 0);
            assert_true(ranges[l + 1].hi != calibrated[l + 1].hi);
            for (int i = 0; i < q.layer[l].in * q.layer[l].out; i++) {
                int code = q.layer[l].weight[i], lowest = bits < 8 ? -top - 1 : -top; /* eq. 8, eq. 4 */
                assert_true(code >= lowest && code <= top);
                at_top += code == top, at_lowest += code == lowest;
                moved += mlp.layer[l].weight[i] != fp32.layer[l].weight[i];
            }
            for (int c = 0; c < q.layer[l].out; c++) assert_true(q.weight_scale[l][c] > 0);
        }
        assert_memory_equal(&ranges[0], &calibrated[0], sizeof ranges[0]); /* the pixels are what they are */
        assert_true(at_top > 0 && at_lowest > 0);
        assert_true(moved > 10000); /* what a lit pixel feeds */
        qmlp_free(&q);
        mlp_free(&mlp);
    }
}

/* A network and its images turned into their negative: x becomes 1 - x, the first layer's weights change their signs
 * and its biases take up the difference. Its training comes to the same integer network but for these: not so when the
 * sums that its biases take up are those of weights before they are quantized. (At 2 bits, where that ends at 349
 * of 1000, the codes, -2 to 1, are not those of the negative: nothing comes out quite the same.) */
static void a_negative_is_trained_like_its_positive(void **state) {
    (void)state;
    static uint8_t negative[TRAIN * PIXELS];
    for (int i = 0; i < TRAIN * PIXELS; i++) negative[i] = (uint8_t)(255 - images[i]);
    for (int t = 0; t < 4; t += 3) {
        struct qat_config config = {.weight_bits = bit_widths[t], .train = training(0.002f, 2)};
        struct train_report report;
        struct range ranges[MLP_MAX_LAYERS + 1];
        struct mlp mlp;
        struct qmlp q;
        int right[2];
        trained(bit_widths[t], 2, &mlp, ranges);
        integer_network(&mlp, bit_widths[t], ranges, &q);
        right[0] = right_answers(&q, test_images);
        mlp_free(&mlp);
        qmlp_free(&q);
        copy_of_fp32(&mlp, ranges);
        for (int i = 0; i < PIXELS * shape.widths[1]; i++) mlp.layer[0].weight[i] *= -1;
        mlp_shift_inputs(&mlp, 1);
        CHECK(qat_train(&mlp, &(struct train_data){negative, labels, TRAIN, PIXELS, NULL, NULL}, &config, ranges,
                        &report, &err));
        integer_network(&mlp, bit_widths[t], ranges, &q);
        for (int i = 0; i < TEST * PIXELS; i++) negative[i] = (uint8_t)(255 - test_images[i]);
        right[1] = right_answers(&q, negative);
        for (int i = 0; i < TEST * PIXELS; i++) negative[i] = (uint8_t)(255 - images[i]);
        if (!(abs(right[0] - right[1]) <= (bit_widths[t] < 8 ? 100 : 10)))
            fail_msg("%d bits: %d of %d right, of the negative %d", bit_widths[t], right[0], TEST, right[1]);
        mlp_free(&mlp);
        qmlp_free(&q);
    }
}

static void the_same_seed_gives_the_same_network(void **state) {
    (void)state;
    struct mlp mlp[3];
    struct range ranges[3][MLP_MAX_LAYERS + 1];
    size_t size = 0;
    for (int i = 0; i < 3; i++) {
        trained(3, i < 2 ? 4 : 5, &mlp[i], ranges[i]);
        size = mlp_padded_count(&mlp[i]) * sizeof(float);
    }
    assert_memory_equal(mlp_parameters(&mlp[0]), mlp_parameters(&mlp[1]), size);
    assert_memory_equal(ranges[0], ranges[1], (size_t)(shape.layers + 1) * sizeof ranges[0][0]);
    assert_memory_not_equal(mlp_parameters(&mlp[0]), mlp_parameters(&mlp[2]), size);
    for (int i = 0; i < 3; i++) mlp_free(&mlp[i]);
}

static void the_forward_pass_changes_nothing(void **state) {
    (void)state;
    struct mlp mlp;
    struct range ranges[MLP_MAX_LAYERS + 1];
    struct mlp_workspace ws;
    copy_of_fp32(&mlp, ranges);
    CHECK(mlp_workspace_create(&shape, 100, false, &ws, &err));
    CHECK(qat_forward(&mlp, 2, ranges, test_images, 100, &ws, &err));
    assert_memory_equal(mlp_parameters(&mlp), mlp_parameters(&fp32), mlp_padded_count(&mlp) * sizeof(float));
    assert_memory_equal(ranges, calibrated, sizeof calibrated);
    mlp_workspace_free(&ws);
    mlp_free(&mlp);
}

static void few_bits_are_where_it_pays(void **state) {
    (void)state;
    for (int t = 0; t < 4; t++) {
        struct mlp mlp;
        struct range ranges[MLP_MAX_LAYERS + 1];
        struct qmlp q;
        trained(bit_widths[t], 6, &mlp, ranges);
        integer_network(&mlp, bit_widths[t], ranges, &q);
        int qat = right_answers(&q, test_images), rtn = right_answers_of_rounding(bit_widths[t], GRID_MINMAX);
        int least_squares = right_answers_of_rounding(bit_widths[t], GRID_MSE);
        if (!(qat >= TEST * 8 / 10)) fail_msg("%d bits: %d of %d right", bit_widths[t], qat, TEST);
        if (bit_widths[t] == 2 && !(qat > rtn + TEST / 5 && qat > least_squares + TEST / 50))
            fail_msg("2 bits: %d right, round to nearest %d, on the least squares grid %d", qat, rtn, least_squares);
        qmlp_free(&q);
        mlp_free(&mlp);
    }
}

static void an_absurd_rate_is_an_error(void **state) {
    (void)state;
    for (int t = 0; t < 4; t++) {
        struct mlp mlp;
        struct range ranges[MLP_MAX_LAYERS + 1];
        struct qmlp q = {0};
        size_t saturated;
        struct qat_config config = {.weight_bits = bit_widths[t], .train = training(1e38f, 7)};
        struct train_report report;
        config.train.optimizer = OPTIMIZER_SGD;
        copy_of_fp32(&mlp, ranges);
        bool ok = qat_train(&mlp, &(struct train_data){images, labels, TRAIN, (size_t)mlp.shape.widths[0], NULL, NULL},
                            &config, ranges, &report, &err) &&
            qat_convert(&mlp, bit_widths[t], ranges, &q, &saturated, &err);
        if (ok) fail_msg("%d bits: trained at a rate of 1e38", bit_widths[t]);
        assert_true(strstr(err.text, "diverged") || strstr(err.text, "not a finite number"));
        qmlp_free(&q);
        mlp_free(&mlp);
    }
}

int main(void) {
    omp_set_num_threads(1); /* small matrices: on a busy machine threads would only wait for each other */
    gemm_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fake_forward_pass_is_the_integer_one),
        cmocka_unit_test(many_bits_are_near_fp32),
        cmocka_unit_test(the_gradient_is_straight_through),
        cmocka_unit_test(codes_and_ranges_after_training),
        cmocka_unit_test(a_negative_is_trained_like_its_positive),
        cmocka_unit_test(the_same_seed_gives_the_same_network),
        cmocka_unit_test(the_forward_pass_changes_nothing),
        cmocka_unit_test(few_bits_are_where_it_pays),
        cmocka_unit_test(an_absurd_rate_is_an_error),
    };
    return cmocka_run_group_tests_name("qat", tests, train_the_network, free_the_network);
}
