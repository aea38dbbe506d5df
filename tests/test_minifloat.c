/* Floats of 8 bits and fewer: every pattern and every float near a boundary, against a search in double for the nearest
 * number; the ends of the range as the paper's table 1 (Micikevicius et al. 2022) and the tables of OCP
 * Microscaling 1.0, section 5.3, have them; and what Microsoft's microxcaling rounds numbers to (golden/README.md). */
#include "golden/golden.h"
#include "lowbit/minifloat.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdbool.h>

/* As OCP Microscaling 1.0 prints them; exponent bits, and codes of the highest number, infinity and NaN (0: none). */
static const struct {
    const char *name;
    int bits, exponent, highest, infinity, nan;
    double highest_normal, lowest_normal, highest_subnormal, lowest_subnormal;
} printed[MINIFLOATS] = {{"fp8_e4m3", 8, 4, 0x7e, 0, 0x7f, 448, 0x1p-6, 0.875 * 0x1p-6, 0x1p-9},
                         {"fp8_e5m2", 8, 5, 0x7b, 0x7c, 0x7f, 57344, 0x1p-14, 0.75 * 0x1p-14, 0x1p-16},
                         {"fp6_e2m3", 6, 2, 0x1f, 0, 0, 7.5, 1.0, 0.875, 0.125},
                         {"fp6_e3m2", 6, 3, 0x1f, 0, 0, 28.0, 0.25, 0.1875, 0.0625},
                         {"fp4_e2m1", 4, 2, 0x07, 0, 0, 6.0, 1.0, 0.5, 0.5}};

static int sign_of(int i) { return 1 << (printed[i].bits - 1); }

/* S.E.M by definition; NaN and infinity aside. */
static double value_by_definition(int i, int code) {
    int mantissa_bits = printed[i].bits - 1 - printed[i].exponent, bias = (1 << (printed[i].exponent - 1)) - 1;
    int size_code = code & (sign_of(i) - 1);
    int exponent = size_code >> mantissa_bits, mantissa = size_code & ((1 << mantissa_bits) - 1);
    double fraction = mantissa / (double)(1 << mantissa_bits);
    double size = exponent ? ldexp(1 + fraction, exponent - bias) : ldexp(fraction, 1 - bias);
    return code & sign_of(i) ? -size : size;
}

static void every_pattern_is_read_and_written(void **state) {
    (void)state;
    for (int i = 0; i < MINIFLOATS; i++)
        for (int code = 0; code < 1 << printed[i].bits; code++) {
            const struct minifloat *f = &minifloats[i];
            float x = float_from_minifloat(f, (uint8_t)code);
            int magnitude = code & (sign_of(i) - 1);
            assert_true((signbit(x) != 0) == (code >= sign_of(i)));
            if (magnitude <= printed[i].highest) assert_true((double)x == value_by_definition(i, code));
            else assert_true(magnitude == printed[i].infinity ? isinf(x) : isnan(x));
            if (isnan(x)) continue;
            assert_int_equal(minifloat_from_float(f, x), code);
            if (isinf(x)) assert_int_equal(minifloat_saturate(f, x), code - 1);
            else assert_int_equal(minifloat_saturate(f, x), code);
        }
}

/* The nearest number, the even code on a tie; beyond the middle to where the next would be, infinity, NaN, or the
 * highest where there is neither. */
static int nearest(int i, double size) {
    int best = 0, last = printed[i].nan ? printed[i].highest + 1 : printed[i].highest;
    for (int code = 1; code <= last; code++) {
        double step = value_by_definition(i, 1) - value_by_definition(i, 0);
        double value = code < sign_of(i) ? value_by_definition(i, code) : value_by_definition(i, code - 1) + step;
        double was = fabs(value_by_definition(i, best) - size), is = fabs(value - size);
        if (is < was || (is == was && code % 2 == 0)) best = code;
    }
    return best;
}

static void midpoints_go_to_even(void **state) {
    (void)state;
    for (int i = 0; i < MINIFLOATS; i++)
        for (int code = 0; code < printed[i].highest + (printed[i].nan != 0); code++) {
            double low = value_by_definition(i, code), high = value_by_definition(i, code + 1);
            float middle = (float)((low + high) / 2),
                  around[3] = {nextafterf(middle, 0), middle, nextafterf(middle, 1e9f)};
            for (int k = 0; k < 3; k++) {
                int expected = nearest(i, (double)around[k]);
                assert_int_equal(minifloat_from_float(&minifloats[i], around[k]), expected);
                assert_int_equal(minifloat_from_float(&minifloats[i], -around[k]), sign_of(i) | expected);
                if (expected > printed[i].highest) expected = printed[i].highest;
                assert_int_equal(minifloat_saturate(&minifloats[i], around[k]), expected);
            }
        }
}

static void the_ends_of_the_range(void **state) {
    (void)state;
    for (int i = 0; i < MINIFLOATS; i++) {
        const struct minifloat *f = minifloat_find(printed[i].name);
        int mantissa_bits = printed[i].bits - 1 - printed[i].exponent;
        assert_ptr_equal(f, &minifloats[i]);
        assert_true((double)float_from_minifloat(f, (uint8_t)printed[i].highest) == printed[i].highest_normal);
        assert_true((double)float_from_minifloat(f, (uint8_t)(1 << mantissa_bits)) == printed[i].lowest_normal);
        assert_true((double)float_from_minifloat(f, (uint8_t)((1 << mantissa_bits) - 1)) ==
                    printed[i].highest_subnormal);
        assert_true((double)float_from_minifloat(f, 1) == printed[i].lowest_subnormal);
        assert_int_equal(minifloat_saturate(f, INFINITY), printed[i].highest);
        assert_int_equal(minifloat_saturate(f, -1e30f), sign_of(i) | printed[i].highest);
    }
    const struct minifloat *e4m3 = &minifloats[FP8_E4M3], *e5m2 = &minifloats[FP8_E5M2], *fp4 = &minifloats[FP4_E2M1];
    assert_int_equal(minifloat_from_float(e4m3, 464), 0x7e);
    assert_int_equal(minifloat_from_float(e4m3, nextafterf(464, 1e9f)), 0x7f);
    assert_int_equal(minifloat_from_float(e4m3, -INFINITY), 0xff);
    assert_int_equal(minifloat_from_float(e5m2, 61440), 0x7c);
    assert_int_equal(minifloat_from_float(e5m2, INFINITY), 0x7c);
    assert_true(isnan(float_from_minifloat(e5m2, minifloat_from_float(e5m2, NAN))));
    assert_true(isnan(float_from_minifloat(e4m3, minifloat_from_float(e4m3, NAN))));
    assert_int_equal(minifloat_from_float(fp4, 1e30f), 7);
    assert_int_equal(minifloat_from_float(fp4, -INFINITY), 15);
    assert_null(minifloat_find("fp16"));
}

static void as_microxcaling(void **state) {
    (void)state;
    enum { N = 256 };
    struct st_file *file = golden_open("tests/golden/mx.safetensors");
    for (int i = 0; i < MINIFLOATS; i++) {
        float x[N], expected[N];
        char name[32];
        snprintf(name, sizeof name, "%s.numbers", printed[i].name);
        golden_copy(file, name, ST_F32, N, x);
        snprintf(name, sizeof name, "%s.rounded", printed[i].name);
        golden_copy(file, name, ST_F32, N, expected);
        int rounded = 0;
        for (int k = 0; k < N; k++) {
            float found = float_from_minifloat(&minifloats[i], minifloat_from_float(&minifloats[i], x[k]));
            if (!(found == expected[k])) fail_msg("%s: %.9g became %.9g, not %.9g", name, x[k], found, expected[k]);
            rounded += found != x[k];
        }
        assert_true(rounded > N / 2);
    }
    golden_close(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pattern_is_read_and_written),
        cmocka_unit_test(midpoints_go_to_even),
        cmocka_unit_test(the_ends_of_the_range),
        cmocka_unit_test(as_microxcaling),
    };
    return cmocka_run_group_tests_name("minifloat", tests, NULL, NULL);
}
