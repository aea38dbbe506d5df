/* fp8: every pattern and every float near a boundary, against a search in double for the nearest number; the ends of
 * the range as the paper's table 1 has them (Micikevicius et al. 2022). */
#include "lowbit/float8.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdbool.h>

/* S.EEEE.MMM or S.EEEEE.MM by definition; NaN and infinity aside. */
static double value_by_definition(int exponent_bits, int code) {
    int mantissa_bits = 7 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
    int exponent = (code & 0x7f) >> mantissa_bits, mantissa = code & ((1 << mantissa_bits) - 1);
    double fraction = mantissa / (double)(1 << mantissa_bits);
    double size = exponent ? ldexp(1 + fraction, exponent - bias) : ldexp(fraction, 1 - bias);
    return code & 0x80 ? -size : size;
}

static const int exponent_bits[2] = {4, 5}, highest[2] = {0x7e, 0x7b};

static void every_pattern_is_read_and_written(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++)
        for (int code = 0; code < 256; code++) {
            float x = float_from_float8(&float8_formats[i], (uint8_t)code);
            int magnitude = code & 0x7f;
            assert_true((signbit(x) != 0) == (code >= 0x80));
            if (magnitude <= highest[i]) assert_true((double)x == value_by_definition(exponent_bits[i], code));
            else assert_true(i == 1 && magnitude == 0x7c ? isinf(x) : isnan(x));
            if (!isnan(x)) assert_int_equal(float8_from_float(&float8_formats[i], x), code);
        }
}

/* The nearest number, the even code on a tie; beyond the middle to where the next would be, NaN or infinity. */
static int nearest(int i, double size) {
    int best = 0;
    for (int code = 1; code <= highest[i] + 1; code++) {
        double was = fabs(value_by_definition(exponent_bits[i], best) - size);
        double is = fabs(value_by_definition(exponent_bits[i], code) - size);
        if (is < was || (is == was && code % 2 == 0)) best = code;
    }
    return best;
}

static void midpoints_go_to_even(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++)
        for (int code = 0; code <= highest[i]; code++) {
            double low = value_by_definition(exponent_bits[i], code);
            double high = value_by_definition(exponent_bits[i], code + 1);
            float middle = (float)((low + high) / 2),
                  around[3] = {nextafterf(middle, 0), middle, nextafterf(middle, 1e9f)};
            for (int k = 0; k < 3; k++) {
                assert_int_equal(float8_from_float(&float8_formats[i], around[k]), nearest(i, (double)around[k]));
                assert_int_equal(float8_from_float(&float8_formats[i], -around[k]),
                                 0x80 | nearest(i, (double)around[k]));
            }
        }
}

static void the_ends_of_the_range(void **state) {
    (void)state;
    const struct float8 *e4m3 = float8_find("fp8_e4m3"), *e5m2 = float8_find("fp8_e5m2");
    assert_true(float_from_float8(e4m3, 0x7e) == 448 && float_from_float8(e4m3, 0x08) == 0x1p-6f);
    assert_true(float_from_float8(e4m3, 0x01) == 0x1p-9f && isnan(float_from_float8(e4m3, 0x7f)));
    assert_true(float_from_float8(e5m2, 0x7b) == 57344 && float_from_float8(e5m2, 0x04) == 0x1p-14f);
    assert_true(float_from_float8(e5m2, 0x01) == 0x1p-16f && isinf(float_from_float8(e5m2, 0x7c)));
    assert_int_equal(float8_from_float(e4m3, 464), 0x7e);
    assert_int_equal(float8_from_float(e4m3, nextafterf(464, 1e9f)), 0x7f);
    assert_int_equal(float8_from_float(e4m3, -INFINITY), 0xff);
    assert_int_equal(float8_from_float(e5m2, 61440), 0x7c);
    assert_int_equal(float8_from_float(e5m2, INFINITY), 0x7c);
    assert_true(isnan(float_from_float8(e5m2, float8_from_float(e5m2, NAN))));
    assert_null(float8_find("fp16"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pattern_is_read_and_written),
        cmocka_unit_test(midpoints_go_to_even),
        cmocka_unit_test(the_ends_of_the_range),
    };
    return cmocka_run_group_tests_name("float8", tests, NULL, NULL);
}
