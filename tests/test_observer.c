/* Observers: each kind on data whose range is known, on degenerate data, and against PyTorch's. */
#include "base/rng.h"
#include "golden/golden.h"
#include "quant/affine.h"
#include "quant/observer.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>

enum { N = 60000 };

/* All passes over x [count], in batches. */
static struct range observe_levels(enum observer_kind kind, const float *x, size_t count, size_t batch, int levels,
                                   int symmetric) {
    struct observer o;
    observer_init(&o, kind);
    for (int pass = 0; pass < observer_passes(kind); pass++) {
        observer_begin_pass(&o, pass);
        for (size_t i = 0; i < count; i += batch) observer_see(&o, x + i, count - i < batch ? count - i : batch);
    }
    return observer_range(&o, levels, symmetric);
}

static struct range observe(enum observer_kind kind, const float *x, size_t count, size_t batch, int symmetric) {
    return observe_levels(kind, x, count, batch, symmetric ? 254 : 255, symmetric);
}

static void assert_range(struct range r, double lo, double hi) { assert_true(r.lo == (float)lo && r.hi == (float)hi); }

/* ---- Data ---- */

static void fill_uniform(float *x, size_t count, double lo, double hi) {
    struct rng rng = rng_seeded(4);
    for (size_t i = 0; i < count; i++) x[i] = (float)(lo + (hi - lo) * rng_uniform(&rng));
}

/* The cube of a normal number: most values are small, a few very large (kurtosis 46). */
static void fill_heavy_tailed(float *x, size_t count) {
    struct rng rng = rng_seeded(5);
    for (size_t i = 0; i < count; i++) x[i] = (float)pow(rng_normal(&rng), 3);
}

/* ---- Each kind ---- */

static void passes(void **state) {
    (void)state;
    assert_int_equal(observer_passes(OBSERVER_MINMAX), 1);
    assert_int_equal(observer_passes(OBSERVER_MOVING_AVERAGE), 1);
    assert_int_equal(observer_passes(OBSERVER_PERCENTILE), 2);
    assert_int_equal(observer_passes(OBSERVER_HISTOGRAM), 2);
    for (int kind = 0; kind < OBSERVER_KINDS; kind++) assert_true(observer_names[kind][0] != 0);
}

static void minmax(void **state) {
    (void)state;
    const float x[] = {1, 2, 0.5f, NAN, -3, 0.25f, 4, INFINITY, -INFINITY, 1};
    for (size_t batch = 1; batch <= 10; batch++) assert_range(observe(OBSERVER_MINMAX, x, 10, batch, 0), -3, 4);
    assert_range(observe(OBSERVER_MINMAX, x, 3, 3, 0), 0.5, 2);
    assert_range(observe(OBSERVER_MINMAX, x + 4, 1, 1, 0), -3, -3);
}

static void moving_average(void **state) {
    (void)state;
    const float x[] = {0, 1, -1, 2, 10, -10}, with_nan[] = {NAN, NAN, 0, 1, NAN, NAN, -1, 2};
    assert_range(observe(OBSERVER_MOVING_AVERAGE, x, 2, 2, 0), 0, 1); /* the first batch initialises */
    assert_range(observe(OBSERVER_MOVING_AVERAGE, x, 4, 2, 0), -0.01, 1.01);
    assert_range(observe(OBSERVER_MOVING_AVERAGE, x, 6, 2, 0), -0.01 + 0.01 * -9.99, 1.01 + 0.01 * 8.99);
    assert_range(observe(OBSERVER_MOVING_AVERAGE, x, 6, 6, 0), -10, 10);
    assert_range(observe(OBSERVER_MOVING_AVERAGE, with_nan, 8, 2, 0), -0.01, 1.01); /* an empty batch is none */
}

static void percentile_cuts_an_outlier(void **state) {
    (void)state;
    static float x[N + 1];
    fill_uniform(x, N, 0.001, 1);
    x[N] = 1000; /* bins are 1000 / 2048 wide */
    struct range r = observe(OBSERVER_PERCENTILE, x, N + 1, 64, 0);
    assert_true(r.lo >= 0.001f && r.lo < 0.01f); /* nothing lies below 0: that side is not cut */
    assert_true(r.hi >= 1 && r.hi < 1.47f);
    x[N] = -1000;
    r = observe(OBSERVER_PERCENTILE, x, N + 1, 64, 0);
    assert_true(r.lo < 0 && r.lo > -1.47f);
    assert_true(r.hi >= 0.99f && r.hi <= 1);
}

/* A side is cut by whole bins, as many as hold at most half of 0.01%; zeros do not count. */
static void percentile_share(void **state) {
    (void)state;
    enum { COUNT = 400000, ALLOWED = COUNT / 20000 };
    static float x[2 * COUNT]; /* every second value is 0 */
    struct rng rng = rng_seeded(6);
    for (int i = 0; i < COUNT; i++) x[2 * i] = (float)rng_normal(&rng);
    struct range all = observe(OBSERVER_MINMAX, x, 2 * COUNT, 999, 0);
    struct range r = observe(OBSERVER_PERCENTILE, x, 2 * COUNT, 999, 0);
    int below = 0, above = 0;
    for (int i = 0; i < COUNT; i++) {
        below += x[2 * i] < r.lo;
        above += x[2 * i] > r.hi;
    }
    assert_in_range(below, ALLOWED * 3 / 4, ALLOWED); /* one bin of the tail holds one or two values */
    assert_in_range(above, ALLOWED * 3 / 4, ALLOWED);
    assert_true(r.lo > all.lo + 0.2f && r.hi < all.hi - 0.2f);
    assert_true(r.lo < -3.5f && r.hi > 3.5f); /* quantiles 0.00005: 3.89 */
}

static void percentile_keeps_a_side_that_ends_at_zero(void **state) {
    (void)state;
    static float x[N];
    fill_heavy_tailed(x, N);
    for (int i = 0; i < N; i++) x[i] = fmaxf(x[i], 0);
    struct range all = observe(OBSERVER_MINMAX, x, N, 64, 0), r = observe(OBSERVER_PERCENTILE, x, N, 64, 0);
    assert_true(all.lo == 0 && r.lo == 0 && r.hi > 0 && r.hi < all.hi);
    for (int i = 0; i < N; i++) x[i] = -x[i];
    struct range mirrored = observe(OBSERVER_PERCENTILE, x, N, 64, 0);
    assert_true(mirrored.hi == 0 && fabsf(mirrored.lo + r.hi) <= all.hi / OBSERVER_BINS);
}

static void percentile_of_few_values_is_minmax(void **state) {
    (void)state;
    static float x[9999]; /* 0.01% of them is less than one */
    fill_heavy_tailed(x, 9999);
    struct range all = observe(OBSERVER_MINMAX, x, 9999, 64, 0);
    assert_range(observe(OBSERVER_PERCENTILE, x, 9999, 64, 0), (double)all.lo, (double)all.hi);
}

/* ---- The histogram, against the error that its range really makes ---- */

/* levels: 255 for 8 bits, 15 for 4; one less where they lie symmetrically. */
static double mean_squared_error(const float *x, size_t count, struct range r, int levels, int symmetric) {
    struct qparams p = symmetric ? qparams_symmetric(fmaxf(-r.lo, r.hi), levels / 2)
                                 : qparams_asymmetric(r.lo, r.hi, 0, levels);
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += pow((double)x[i] - (double)fake_quantize(x[i], p), 2);
    return sum / (double)count;
}

/* The least error over a grid of 40 x 40 ranges inside the one that was seen. */
static double best_error(const float *x, size_t count, struct range seen, int levels, int symmetric) {
    double best = INFINITY;
    for (int i = 1; i <= 40; i++)
        for (int j = symmetric || seen.lo == 0 ? 40 : 1; j <= 40; j++) {
            struct range r = {seen.lo * (float)(symmetric ? i : j) / 40, seen.hi * (float)i / 40};
            best = fmin(best, mean_squared_error(x, count, r, levels, symmetric));
        }
    return best;
}

/* Few codes make clipping worth while; with 255 the whole range is close to the best, and the
 * 2048 bins know the error to 1%. */
static void check_heavy_tails(const float *x, size_t count, int bits, int symmetric) {
    int levels = (1 << bits) - 1 - symmetric;
    struct range seen = observe(OBSERVER_MINMAX, x, count, 64, symmetric);
    struct range r = observe_levels(OBSERVER_HISTOGRAM, x, count, 64, levels, symmetric);
    double error = mean_squared_error(x, count, r, levels, symmetric);
    double before = mean_squared_error(x, count, seen, levels, symmetric);
    assert_true(before > 0 && error <= before * (bits == 4 ? 0.9 : 1.01));
    assert_true(error <= 1.1 * best_error(x, count, seen, levels, symmetric)); /* it walks one path, not the grid */
    if (symmetric) assert_true(r.lo == -r.hi);
}

static void histogram_of_heavy_tails(void **state) {
    (void)state;
    enum { FEW = 3000 };
    static float x[FEW];
    fill_heavy_tailed(x, FEW);
    for (int positive = 0; positive < 2; positive++) {
        for (int i = 0; positive && i < FEW; i++) x[i] = fmaxf(x[i], 0);
        for (int symmetric = 0; symmetric < 2; symmetric++)
            for (int bits = 4; bits <= 8; bits += 2) check_heavy_tails(x, FEW, bits, symmetric);
    }
}

static void histogram_of_uniform_data(void **state) {
    (void)state;
    static float x[N];
    const struct range cases[] = {{-1, 1}, {0, 6}, {-2, 0}, {-1, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int symmetric = 0; symmetric < 2; symmetric++) {
            fill_uniform(x, N, (double)cases[i].lo, (double)cases[i].hi);
            struct range seen = observe(OBSERVER_MINMAX, x, N, 64, 0),
                         r = observe(OBSERVER_HISTOGRAM, x, N, 64, symmetric);
            int levels = 255 - symmetric;
            double error = mean_squared_error(x, N, r, levels, symmetric);
            double before = mean_squared_error(x, N, seen, levels, symmetric);
            assert_true(before > 0 && error <= 1.01 * before); /* 2048 bins know the data to 1/8 of a step */
        }
}

static void histogram_never_leaves_what_was_seen(void **state) {
    (void)state;
    static float x[N];
    fill_heavy_tailed(x, N);
    struct range seen = observe(OBSERVER_MINMAX, x, N, 64, 0), r = observe(OBSERVER_HISTOGRAM, x, N, 64, 0);
    assert_true(r.lo >= seen.lo && r.hi <= seen.hi && r.lo < 0 && r.hi > 0);
}

/* ---- What holds for every kind ---- */

static void batches_do_not_matter(void **state) {
    (void)state;
    static float x[N];
    fill_heavy_tailed(x, N);
    for (int kind = 0; kind < OBSERVER_KINDS; kind++) {
        if (kind == OBSERVER_MOVING_AVERAGE) continue; /* there they do, by definition */
        struct range whole = observe(kind, x, N, N, 0), parts = observe(kind, x, N, 77, 0);
        assert_range(parts, (double)whole.lo, (double)whole.hi);
    }
}

static void degenerate_tensors(void **state) {
    (void)state;
    const struct {
        float x[4];
        double lo, hi;
    } cases[] = {
        {{0, 0, 0, 0}, 0, 0},         {{3, 3, 3, 3}, 3, 3},          {{-2, -2, -2, -2}, -2, -2},
        {{NAN, NAN, NAN, NAN}, 0, 0}, {{NAN, 3, -NAN, 3}, 3, 3},     {{INFINITY, -INFINITY, NAN, 0}, 0, 0},
        {{0, NAN, 0, 5}, 0, 5},       {{-1, INFINITY, 0, 1}, -1, 1}, {{-FLT_TRUE_MIN, 0, 0, 0}, -FLT_TRUE_MIN, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int kind = 0; kind < OBSERVER_KINDS; kind++)
            for (int symmetric = 0; symmetric < 2; symmetric++) {
                struct range r = observe(kind, cases[i].x, 4, 4, symmetric);
                assert_true(r.lo <= r.hi && isfinite(r.lo) && isfinite(r.hi));
                if (kind != OBSERVER_HISTOGRAM) assert_range(r, cases[i].lo, cases[i].hi);
                struct qparams p = qparams_asymmetric(r.lo, r.hi, 0, 255);
                assert_true(p.scale > 0 && dequantize(quantize(0, p), p) == 0);
            }
}

static void nothing_seen(void **state) {
    (void)state;
    for (int kind = 0; kind < OBSERVER_KINDS; kind++) assert_range(observe(kind, NULL, 0, 64, 0), 0, 0);
}

static void the_largest_floats(void **state) {
    (void)state;
    const float x[] = {-FLT_MAX, FLT_MAX, 1, -1};
    for (int kind = 0; kind < OBSERVER_KINDS; kind++) {
        struct range r = observe(kind, x, 4, 2, 0);
        assert_true(isfinite(r.lo) && isfinite(r.hi) && r.lo < 0 && r.hi > 0);
    }
}

/* ---- PyTorch ---- */

static void check_against_pytorch(const struct st_file *g, const char *name, enum observer_kind kind) {
    enum { TENSORS = 3, BATCHES = 5, COUNT = 40 };
    float x[TENSORS][BATCHES * COUNT], range[TENSORS][2], scale[TENSORS];
    int32_t zero_point[TENSORS];
    char key[64];
    golden_copy(g, "observer.batches", ST_F32, TENSORS * BATCHES * COUNT, x);
    snprintf(key, sizeof key, "%s.range", name);
    golden_copy(g, key, ST_F32, 2 * TENSORS, range);
    snprintf(key, sizeof key, "%s.scale", name);
    golden_copy(g, key, ST_F32, TENSORS, scale);
    snprintf(key, sizeof key, "%s.zero_point", name);
    golden_copy(g, key, ST_I32, TENSORS, zero_point);
    for (int i = 0; i < TENSORS; i++) {
        struct range r = observe(kind, x[i], BATCHES * COUNT, COUNT, 0);
        struct qparams p = qparams_asymmetric(r.lo, r.hi, 0, 255);
        /* PyTorch averages in float, we in double: five batches, half a unit of 2^-23 each */
        assert_true(fabsf(r.lo - range[i][0]) <= 3 * FLT_EPSILON * fabsf(range[i][0]));
        assert_true(fabsf(r.hi - range[i][1]) <= 3 * FLT_EPSILON * fabsf(range[i][1]));
        assert_true(fabsf(p.scale - scale[i]) <= 4 * FLT_EPSILON * scale[i]);
        assert_int_equal(p.zero_point, zero_point[i]);
    }
}

static void same_as_pytorch(void **state) {
    (void)state;
    struct st_file *g = golden_open("tests/golden/quant.safetensors");
    check_against_pytorch(g, "minmax", OBSERVER_MINMAX);
    check_against_pytorch(g, "average", OBSERVER_MOVING_AVERAGE);
    golden_close(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes),
        cmocka_unit_test(minmax),
        cmocka_unit_test(moving_average),
        cmocka_unit_test(percentile_cuts_an_outlier),
        cmocka_unit_test(percentile_share),
        cmocka_unit_test(percentile_keeps_a_side_that_ends_at_zero),
        cmocka_unit_test(percentile_of_few_values_is_minmax),
        cmocka_unit_test(histogram_of_heavy_tails),
        cmocka_unit_test(histogram_of_uniform_data),
        cmocka_unit_test(histogram_never_leaves_what_was_seen),
        cmocka_unit_test(batches_do_not_matter),
        cmocka_unit_test(degenerate_tensors),
        cmocka_unit_test(nothing_seen),
        cmocka_unit_test(the_largest_floats),
        cmocka_unit_test(same_as_pytorch),
    };
    return cmocka_run_group_tests_name("observer", tests, NULL, NULL);
}
