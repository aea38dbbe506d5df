/* Requantization, eq. 6: the multiplier, its one rounding, the clamp; against exact 128-bit arithmetic,
 * against Python's fractions, and at the ties. */
#include "base/rng.h"
#include "golden/golden.h"
#include "quant/requant.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

static struct multiplier multiplier_of(double real) {
    struct multiplier by;
    assert_true(multiplier_from_real(real, &by));
    return by;
}

static double value_of(struct multiplier by) { return ldexp(by.m, -by.right); }

static void multipliers_are_normalised_and_close(void **state) {
    (void)state;
    struct rng rng = rng_seeded(1);
    for (int i = 0; i < 200000; i++) {
        double real = exp2(70 * rng_uniform(&rng) - 40); /* 2^-40 to 2^30 */
        struct multiplier by = multiplier_of(real);
        assert_in_range(by.right, 1, 62);
        if (real < 0x1p-32 && by.m == 0) continue;
        assert_in_range(by.m, 1 << 30, INT32_MAX);
        assert_true(fabs(value_of(by) - real) <= real * 0x1p-31);
    }
}

static void powers_of_two_are_exact(void **state) {
    (void)state;
    for (int e = -32; e < 30; e++) {
        struct multiplier by = multiplier_of(ldexp(1, e));
        assert_int_equal(by.m, 1 << 30);
        assert_int_equal(by.right, 30 - e);
    }
}

/* 1 - 2^-40 has the mantissa 2^31 - 2^-9: it rounds to 2^31, which is no int32. */
static void mantissas_that_round_up_are_renormalised(void **state) {
    (void)state;
    for (int e = -31; e <= 29; e++) {
        struct multiplier by = multiplier_of(ldexp(1 - 0x1p-40, e));
        assert_int_equal(by.m, 1 << 30);
        assert_int_equal(by.right, 30 - e);
    }
    struct multiplier below = multiplier_of(1 - 0x1p-31); /* the largest mantissa that is one */
    assert_int_equal(below.m, INT32_MAX);
    assert_int_equal(below.right, 31);
}

static void small_multipliers_give_zero(void **state) {
    (void)state;
    const double small[] = {0, 0x1p-33, 0.999 * 0x1p-32, 0x1p-40, 0x1p-1022, 0x1p-1074};
    const int32_t accumulators[] = {INT32_MIN, INT32_MAX, 0, 1, -1};
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) {
        struct multiplier by = multiplier_of(small[i]);
        assert_int_equal(by.m, 0);
        assert_in_range(by.right, 1, 62);
        for (int j = 0; j < 5; j++) assert_int_equal(multiplier_apply(accumulators[j], by), 0);
    }
    /* a hair below 2^-32 may be taken for 2^-32: every accumulator still rounds to 0 */
    struct multiplier by = multiplier_of(nextafter(0x1p-32, 0));
    for (int j = 0; j < 5; j++) assert_int_equal(multiplier_apply(accumulators[j], by), 0);
}

static void unusable_multipliers_are_refused(void **state) {
    (void)state;
    const double refused[] = {NAN, -NAN, INFINITY, -INFINITY, -1, -0x1p-1074, 0x1p30, 0x1p31, 1e300};
    struct multiplier by;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) assert_false(multiplier_from_real(refused[i], &by));
    assert_false(multiplier_from_real(nextafter(0x1p30, 0), &by)); /* it would round up to 2^30 */
    assert_true(multiplier_from_real(0x1p30 - 1, &by));
    assert_int_equal(by.right, 1);
    assert_true(multiplier_from_real(-0.0, &by));
    assert_int_equal(multiplier_apply(INT32_MAX, by), 0);
}

/* floor(acc * m / 2^right + 1/2) in 128 bits, by division that rounds down: no shift of a negative number. */
static int64_t exact(int32_t acc, struct multiplier by) {
    __int128 twice = (__int128)acc * by.m * 2 + ((__int128)1 << by.right), unit = (__int128)1 << (by.right + 1);
    __int128 quotient = twice / unit;
    return (int64_t)(twice % unit < 0 ? quotient - 1 : quotient);
}

static void applies_exactly(void **state) {
    (void)state;
    const int32_t edges[] = {INT32_MIN, INT32_MIN + 1, INT32_MAX, INT32_MAX - 1, 0, 1, -1, 2, -2, 1 << 30, -(1 << 30)};
    const int32_t mantissas[] = {1 << 30, (1 << 30) + 1, INT32_MAX, INT32_MAX - 1, 0x60000000};
    for (int right = 1; right <= 62; right++)
        for (size_t i = 0; i < sizeof mantissas / sizeof *mantissas; i++)
            for (size_t j = 0; j < sizeof edges / sizeof *edges; j++) {
                struct multiplier by = {mantissas[i], right};
                assert_true(multiplier_apply(edges[j], by) == exact(edges[j], by));
            }
    struct rng rng = rng_seeded(2);
    int nonzero = 0;
    for (int i = 0; i < 500000; i++) {
        struct multiplier by = {(int32_t)((1u << 30) + rng_below(&rng, 1u << 30)), 1 + (int32_t)rng_below(&rng, 62)};
        int32_t acc = (int32_t)(uint32_t)rng_next(&rng) >> rng_below(&rng, 31);
        assert_true(multiplier_apply(acc, by) == exact(acc, by));
        nonzero += multiplier_apply(acc, by) != 0;
    }
    assert_true(nonzero > 100000);
}

static void ties_go_up(void **state) {
    (void)state;
    const struct {
        int32_t acc;
        double real;
        int64_t result;
    } cases[] = {
        {1125, 0.5, 563},
        {-1125, 0.5, -562}, /* +562.5, -562.5 */
        {1, 0.5, 1},
        {-1, 0.5, 0},
        {3, 0.5, 2},
        {-3, 0.5, -1},
        {5, 0.5, 3},
        {-5, 0.5, -2},
        {2, 0.25, 1},
        {-2, 0.25, 0},
        {6, 0.25, 2},
        {-6, 0.25, -1},
        {1, 0.25, 0},
        {-3, 0.25, -1},
        {9, 0x1p-1, 5},
        {1 << 30, 0x1p-31, 1},
        {-(1 << 30), 0x1p-31, 0},
        {INT32_MIN, 0x1p-32, 0},
        {INT32_MIN, 1, INT32_MIN},
        {INT32_MAX, 1, INT32_MAX},
        {INT32_MIN, 0x1p29, -((int64_t)1 << 60)},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_true(multiplier_apply(cases[i].acc, multiplier_of(cases[i].real)) == cases[i].result);
}

/* The two roundings of gemmlowp and TensorFlow Lite: first to acc * m / 2^31, ties away, then by the rest. */
static int64_t rounded_twice(int32_t acc, struct multiplier by) {
    int64_t product = (int64_t)acc * by.m, high = (product + ((int64_t)1 << 30)) >> 31;
    int rest = by.right - 31;
    return (high + ((int64_t)1 << (rest - 1))) >> rest;
}

/* tensorflow#25087: rounding twice lifts some values over a tie that they lie below. Ours must not. */
static void rounds_only_once(void **state) {
    (void)state;
    struct rng rng = rng_seeded(3);
    int differ = 0;
    for (int i = 0; i < 100000; i++) {
        struct multiplier by = multiplier_of(exp2(-8 * rng_uniform(&rng) - 1.5));
        int32_t acc = (int32_t)rng_below(&rng, 20001) - 10000;
        double product = ldexp((double)acc * by.m, -by.right); /* exact: 14 and 31 bits */
        assert_true(multiplier_apply(acc, by) == (int64_t)floor(product + 0.5));
        differ += by.right > 31 && multiplier_apply(acc, by) != rounded_twice(acc, by);
    }
    assert_true(differ > 10);                            /* the cases that this test exists for did occur */
    struct multiplier by = multiplier_of(0x1.fffff8p-3); /* 2 * just below 1/4: just below a tie */
    assert_int_equal(rounded_twice(2, by), 1);
    assert_int_equal(multiplier_apply(2, by), 0);
}

static void requantize_clamps(void **state) {
    (void)state;
    const struct {
        int32_t acc;
        double real;
        int zero_point, qmin, qmax, code;
    } cases[] = {
        {10, 1, 0, 0, 255, 10},
        {300, 1, 0, 0, 255, 255},
        {-1, 1, 0, 0, 255, 0},
        {-28, 1, 128, 0, 255, 100},
        {-28, 1, 128, 128, 255, 128},
        {28, 1, 128, 128, 255, 156}, /* ReLU */
        {-300, 1, 128, 1, 255, 1},
        {127, 1, 128, 1, 255, 255},
        {128, 1, 128, 1, 255, 255},
        {INT32_MAX, 0x1p29, 0, 0, 255, 255},
        {INT32_MIN, 0x1p29, 255, 0, 255, 0},
        {INT32_MAX, 0x1p-32, 7, 0, 255, 7},
        {INT32_MIN, 0, 9, 0, 255, 9},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(
            requantize(cases[i].acc, multiplier_of(cases[i].real), cases[i].zero_point, cases[i].qmin, cases[i].qmax),
            cases[i].code);
}

/* Pairs of int32 in the golden file are the halves of 64-bit numbers. */
static void same_as_exact_fractions(void **state) {
    (void)state;
    enum { N = 300 };
    static double real[N];
    static int64_t result[N];
    static int32_t acc[N], m[N], right[N], zero_point[N], halves[N][2];
    static uint8_t code[N];
    struct st_file *g = golden_open("tests/golden/quant.safetensors");
    golden_copy(g, "requant.real", ST_I32, 2 * N, halves);
    memcpy(real, halves, sizeof real);
    golden_copy(g, "requant.result", ST_I32, 2 * N, halves);
    memcpy(result, halves, sizeof result);
    golden_copy(g, "requant.acc", ST_I32, N, acc);
    golden_copy(g, "requant.m", ST_I32, N, m);
    golden_copy(g, "requant.right", ST_I32, N, right);
    golden_copy(g, "requant.zero_point", ST_I32, N, zero_point);
    golden_copy(g, "requant.code", ST_U8, N, code);
    golden_close(g);
    for (int i = 0; i < N; i++) {
        struct multiplier by = multiplier_of(real[i]);
        assert_int_equal(by.m, m[i]);
        assert_int_equal(by.right, right[i]);
        assert_true(multiplier_apply(acc[i], by) == result[i]);
        assert_int_equal(requantize(acc[i], by, zero_point[i], 0, 255), code[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(multipliers_are_normalised_and_close),
        cmocka_unit_test(powers_of_two_are_exact),
        cmocka_unit_test(mantissas_that_round_up_are_renormalised),
        cmocka_unit_test(small_multipliers_give_zero),
        cmocka_unit_test(unusable_multipliers_are_refused),
        cmocka_unit_test(applies_exactly),
        cmocka_unit_test(ties_go_up),
        cmocka_unit_test(rounds_only_once),
        cmocka_unit_test(requantize_clamps),
        cmocka_unit_test(same_as_exact_fractions),
    };
    return cmocka_run_group_tests_name("requant", tests, NULL, NULL);
}
