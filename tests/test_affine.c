/* The affine map, eq. 1 to 4: the lesson's numbers, ties, degenerate input, bounds, and PyTorch's codes. */
#include "base/stats.h"
#include "base/rng.h"
#include "golden/golden.h"
#include "quant/affine.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>

/* Rounding errors of the float arithmetic around a code, in steps: x / scale, scale itself and scale * q are
 * each within 2^-24 of their exact value, and at most 255 steps large; four of those are less than this. */
#define STEP_SLACK 0x1p-14

/* The lesson prints [-0.4213, -0.1084, 0, 0.2288, 0.5098] for the values read back. Its own code gives -105 *
 * 0.51 / 127 = -0.4217, 0.2289 and 0.5100: those are tested. */
static void lesson_example(void **state) {
    (void)state;
    const float weights[5] = {-0.42f, -0.11f, 0.0f, 0.23f, 0.51f};
    const int codes[5] = {-105, -27, 0, 57, 127};
    const double read_back[5] = {-0.4217, -0.1084, 0, 0.2289, 0.51};
    struct qparams p = qparams_symmetric(absolute_maximum(weights, 5), 127);
    assert_true(p.scale == 0.51f / 127 && p.zero_point == 0 && p.qmin == -127 && p.qmax == 127);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(quantize(weights[i], p), codes[i]);
        assert_true(fabs((double)fake_quantize(weights[i], p) - read_back[i]) <= 0.5e-4);
    }
}

static void rounds_and_clamps(void **state) {
    (void)state;
    const struct qparams u8 = {0.5f, 10, 0, 255}, s8 = {2, 0, -127, 127}, relu = {1, 128, 128, 255};
    const struct {
        struct qparams p;
        float x;
        int code;
    } cases[] = {
        {u8, 0.25f, 10}, /* half a step: to the even number of steps, then the zero point is added */
        {u8, 0.75f, 12}, {u8, 1.25f, 12},    {u8, -0.25f, 10},   {u8, -0.75f, 8},  {u8, -1.25f, 8},
        {s8, 1, 0},      {s8, 3, 2},         {s8, 5, 2},         {s8, -1, 0},      {s8, -3, -2},
        {u8, -4.75f, 0}, {u8, -5.1f, 0},     {u8, 122.4f, 255},  {u8, 1e9f, 255},  {u8, -1e9f, 0},
        {s8, 253, 126},  {s8, 254, 127},     {s8, 255, 127},     {s8, -256, -127}, {s8, -1e30f, -127},
        {relu, -3, 128}, {relu, 126.5, 254}, {relu, 127.5, 255}, {u8, -0.0f, 10},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(quantize(cases[i].x, cases[i].p), cases[i].code);
}

static void hostile_values(void **state) {
    (void)state;
    const struct qparams u8 = {0.5f, 10, 0, 255}, tiny = {FLT_TRUE_MIN, 0, -127, 127}, huge = {FLT_MAX, 7, 0, 255};
    assert_int_equal(quantize(NAN, u8), 10);
    assert_int_equal(quantize(-NAN, u8), 10);
    assert_int_equal(quantize(INFINITY, u8), 255);
    assert_int_equal(quantize(-INFINITY, u8), 0);
    assert_int_equal(quantize(FLT_TRUE_MIN, u8), 10);
    assert_int_equal(quantize(-FLT_TRUE_MIN, u8), 10);
    assert_int_equal(quantize(3 * FLT_TRUE_MIN, tiny), 3);
    assert_int_equal(quantize(1, tiny), 127); /* 1 / scale overflows */
    assert_int_equal(quantize(-FLT_MAX, tiny), -127);
    assert_int_equal(quantize(0, tiny), 0);
    assert_int_equal(quantize(FLT_MAX, huge), 8);
    assert_int_equal(quantize(1, huge), 7);
}

static void assert_usable(struct qparams p) {
    assert_true(p.scale > 0 && p.scale <= FLT_MAX);
    assert_in_range(p.zero_point - p.qmin, 0, p.qmax - p.qmin);
    assert_int_equal(quantize(0, p), p.zero_point);
    assert_true(dequantize(p.zero_point, p) == 0);
}

static void asymmetric_ranges(void **state) {
    (void)state;
    const struct {
        float lo, hi;
        int qmin, qmax;
        double scale;
        int zero_point;
    } cases[] = {
        {0, 1, 0, 255, 1 / 255.0, 0},
        {-1, 1, 0, 255, 2 / 255.0, 127}, /* no tie at 127.5: 2 / 255 in float is a little more (PyTorch: 127) */
        {-1, 0, 0, 255, 1 / 255.0, 255},
        {-0.5f, 0.5f, -128, 127, 1 / 255.0, -1}, /* the lesson's range; PyTorch: -1 */
        {-51, 51, 0, 204, 0.5, 102},
        {-0.25f, 127.25f, 0, 255, 0.5, 0}, /* ties: 0.5 to 0, 1.5 to 2 */
        {-0.75f, 126.75f, 0, 255, 0.5, 2},
        {2, 6, 0, 255, 6 / 255.0, 0}, /* widened to hold 0 */
        {-6, -2, 0, 255, 6 / 255.0, 255},
        {-1, 3, 0, 15, 4 / 15.0, 4}, /* 3.75 */
        {0, 0, 0, 255, 1, 0},        /* width 0 */
        {0, 0, -128, 127, 1, 0},
        {-0.0f, 0, 1, 255, 1, 1},
        {5, 5, 0, 255, 5 / 255.0, 0}, /* a constant: widened, not of width 0 */
        {-5, -5, 0, 255, 5 / 255.0, 255},
        {NAN, 1, 0, 255, 1, 0},
        {-1, NAN, 0, 255, 1, 0},
        {-INFINITY, 1, 0, 255, 1, 0},
        {0, INFINITY, 0, 255, 1, 0},
        {0, FLT_TRUE_MIN, 0, 255, 1, 0}, /* a 255th of it is no number any more */
        {-FLT_MAX, FLT_MAX, 0, 255, 2 * (double)FLT_MAX / 255, 128},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct qparams p = qparams_asymmetric(cases[i].lo, cases[i].hi, cases[i].qmin, cases[i].qmax);
        assert_true(p.scale == (float)cases[i].scale);
        assert_int_equal(p.zero_point, cases[i].zero_point);
        assert_true(p.qmin == cases[i].qmin && p.qmax == cases[i].qmax);
        assert_usable(p);
    }
}

static void symmetric_ranges(void **state) {
    (void)state;
    const struct {
        float absmax, scale;
    } cases[] = {{127, 1},
                 {0.51f, 0.51f / 127},
                 {0, 1}, /* all zero */
                 {INFINITY, 1},
                 {NAN, 1},
                 {FLT_TRUE_MIN, 1},
                 {FLT_MAX, FLT_MAX / 127}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct qparams p = qparams_symmetric(cases[i].absmax, 127);
        assert_true(p.scale == cases[i].scale && p.zero_point == 0 && p.qmin == -127 && p.qmax == 127);
        assert_usable(p);
    }
    struct qparams p = qparams_symmetric(FLT_MAX, 127); /* scale and clamp agree: the ends are the last codes */
    assert_true(quantize(FLT_MAX, p) == 127 && quantize(-FLT_MAX, p) == -127);
}

static void pixels_are_their_own_codes(void **state) {
    (void)state;
    struct qparams p = qparams_asymmetric(0, 1, 0, 255);
    assert_true(p.scale == (float)(1 / 255.0) && p.zero_point == 0);
    for (int byte = 0; byte < 256; byte++) assert_int_equal(quantize((float)byte / 255.0f, p), byte);
}

/* A random range of any size: both ends, or one, or neither on the other side of 0. */
static void random_range(struct rng *rng, float *lo, float *hi) {
    double size = pow(10, 60 * rng_uniform(rng) - 30), a = rng_normal(rng) * size, b = rng_normal(rng) * size;
    *lo = (float)fmin(a, b);
    *hi = (float)fmax(a, b);
}

static void random_ranges_hold_zero_and_bound_the_error(void **state) {
    (void)state;
    struct rng rng = rng_seeded(1);
    double largest = 0;
    for (int i = 0; i < 1000; i++) {
        float lo, hi;
        random_range(&rng, &lo, &hi);
        struct qparams p = i % 2 ? qparams_asymmetric(lo, hi, 0, 255) : qparams_asymmetric(lo, hi, -128, 127);
        assert_usable(p);
        for (int j = 0; j <= 64; j++) {
            float x = fmaxf(lo, fminf(hi, lo + (hi - lo) * (float)j / 64));
            double steps = fabs((double)x - (double)fake_quantize(x, p)) / (double)p.scale;
            assert_true(steps <= 0.5 + STEP_SLACK);
            largest = fmax(largest, steps);
        }
    }
    assert_true(largest > 0.45); /* the bound is met: these were no easy values */
}

static void symmetric_error_is_half_a_step(void **state) {
    (void)state;
    struct rng rng = rng_seeded(2);
    for (int i = 0; i < 1000; i++) {
        float absmax = (float)exp(40 * rng_uniform(&rng) - 20);
        struct qparams p = qparams_symmetric(absmax, 127);
        assert_int_equal(quantize(absmax, p), 127);
        assert_int_equal(quantize(-absmax, p), -127);
        for (int j = -32; j <= 32; j++) {
            float x = absmax * (float)j / 32;
            assert_true(fabs((double)x - (double)fake_quantize(x, p)) <= (0.5 + STEP_SLACK) * (double)p.scale);
        }
    }
}

static void codes_survive_the_way_back(void **state) {
    (void)state;
    const struct qparams cases[] = {{0.1f, 128, 0, 255}, {1e-30f, 3, 0, 255}, {7, 0, -127, 127}, {3e30f, 255, 0, 255}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int q = cases[i].qmin; q <= cases[i].qmax; q++)
            assert_int_equal(quantize(dequantize(q, cases[i]), cases[i]), q);
}

static void absolute_maximum_passes_over_nan(void **state) {
    (void)state;
    const float x[] = {1, NAN, -3, 2, -NAN, -0.0f}, infinite[] = {1, -INFINITY, NAN}, nans[] = {NAN, NAN};
    assert_true(absolute_maximum(x, 6) == 3);
    assert_true(absolute_maximum(x, 1) == 1);
    assert_true(absolute_maximum(x, 0) == 0);
    assert_true(absolute_maximum(infinite, 3) == INFINITY);
    assert_true(absolute_maximum(nans, 2) == 0);
}

static void sqnr(void **state) {
    (void)state;
    const float x[] = {3, -4, 0, 0}, near[] = {3, -4, 0.5f, 0}, zero[4] = {0};
    assert_true(fabs(sqnr_db(x, near, 4) - 20) <= 1e-12); /* 25 to 0.25 */
    assert_true(sqnr_db(x, x, 4) == INFINITY);
    assert_true(fabs(sqnr_db(x, zero, 4)) <= 1e-12);
    assert_true(isnan(sqnr_db(zero, zero, 4)));
}

/* A full-scale uniform signal of n bits has 6.02 n dB: 8 bits over [-1, 1] give 48.16. */
static void sqnr_of_eight_bits(void **state) {
    (void)state;
    enum { N = 20000 };
    static float x[N], x_hat[N];
    struct rng rng = rng_seeded(3);
    struct qparams p = qparams_asymmetric(-1, 1, 0, 255);
    for (int i = 0; i < N; i++) {
        x[i] = (float)(2 * rng_uniform(&rng) - 1);
        x_hat[i] = fake_quantize(x[i], p);
    }
    assert_true(fabs(sqnr_db(x, x_hat, N) - 48.16) <= 0.2);
}

static void same_codes_as_pytorch(void **state) {
    (void)state;
    enum { CASES = 4, N = 64 };
    float scale[CASES], values[CASES][N];
    int32_t unsigned_zero[CASES], signed_zero[CASES];
    uint8_t unsigned_codes[CASES][N];
    int8_t signed_codes[CASES][N];
    struct st_file *g = golden_open("tests/golden/quant.safetensors");
    golden_copy(g, "affine.scale", ST_F32, CASES, scale);
    golden_copy(g, "affine.values", ST_F32, CASES * N, values);
    golden_copy(g, "unsigned.zero_point", ST_I32, CASES, unsigned_zero);
    golden_copy(g, "signed.zero_point", ST_I32, CASES, signed_zero);
    golden_copy(g, "unsigned.codes", ST_U8, CASES * N, unsigned_codes);
    golden_copy(g, "signed.codes", ST_I8, CASES * N, signed_codes);
    golden_close(g);
    for (int i = 0; i < CASES; i++)
        for (int j = 0; j < N; j++) {
            struct qparams u8 = {scale[i], unsigned_zero[i], 0, 255}, s8 = {scale[i], signed_zero[i], -128, 127};
            assert_int_equal(quantize(values[i][j], u8), unsigned_codes[i][j]);
            assert_int_equal(quantize(values[i][j], s8), signed_codes[i][j]);
        }
}

static void same_rows_as_pytorch(void **state) {
    (void)state;
    enum { ROWS = 6, COLS = 20 };
    float weight[ROWS][COLS], scale[ROWS];
    int8_t codes[ROWS][COLS];
    struct st_file *g = golden_open("tests/golden/quant.safetensors");
    golden_copy(g, "channel.weight", ST_F32, ROWS * COLS, weight);
    golden_copy(g, "channel.scale", ST_F32, ROWS, scale);
    golden_copy(g, "channel.codes", ST_I8, ROWS * COLS, codes);
    golden_close(g);
    for (int r = 0; r < ROWS; r++) {
        struct qparams p = qparams_symmetric(absolute_maximum(weight[r], COLS), 127);
        assert_true(p.scale == scale[r]);
        for (int k = 0; k < COLS; k++) assert_int_equal(quantize(weight[r][k], p), codes[r][k]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lesson_example),
        cmocka_unit_test(rounds_and_clamps),
        cmocka_unit_test(hostile_values),
        cmocka_unit_test(asymmetric_ranges),
        cmocka_unit_test(symmetric_ranges),
        cmocka_unit_test(pixels_are_their_own_codes),
        cmocka_unit_test(random_ranges_hold_zero_and_bound_the_error),
        cmocka_unit_test(symmetric_error_is_half_a_step),
        cmocka_unit_test(codes_survive_the_way_back),
        cmocka_unit_test(absolute_maximum_passes_over_nan),
        cmocka_unit_test(sqnr),
        cmocka_unit_test(sqnr_of_eight_bits),
        cmocka_unit_test(same_codes_as_pytorch),
        cmocka_unit_test(same_rows_as_pytorch),
    };
    return cmocka_run_group_tests_name("affine", tests, NULL, NULL);
}
