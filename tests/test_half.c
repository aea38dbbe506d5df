/* fp16 and bf16: every pattern, every midpoint, the ends of the range, and floats from all over against a
 * search for the nearest number and, where there is one, against the compiler's own type. */
#include "lowbit/half.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <string.h>

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

/* A 16-bit float by its definition: the judge of both formats. */
struct layout {
    const char *name;
    int exponent_bits, mantissa_bits;
    uint16_t (*narrow)(float);
    float (*widen)(uint16_t);
};
static const struct layout layouts[2] = {{"fp16", 5, 10, half_from_float, float_from_half},
                                         {"bf16", 8, 7, bfloat_from_float, float_from_bfloat}};

static uint16_t infinity_of(struct layout l) { return (uint16_t)(((1 << l.exponent_bits) - 1) << l.mantissa_bits); }

static bool is_nan(struct layout l, uint16_t bits) { return (bits & 0x7fff) > infinity_of(l); }

/* (-1)^sign * 1.mantissa * 2^(exponent - bias), or 0.mantissa * 2^(1 - bias); the pattern of infinity gives
 * the number that would come next, which is where rounding to infinity begins to be nearer. */
static double value_of(struct layout l, uint16_t bits) {
    int exponent = (bits & 0x7fff) >> l.mantissa_bits, mantissa = bits & ((1 << l.mantissa_bits) - 1);
    int bias = (1 << (l.exponent_bits - 1)) - 1;
    double size = exponent > 0 ? ldexp((1 << l.mantissa_bits) + mantissa, exponent - bias - l.mantissa_bits)
                               : ldexp(mantissa, 1 - bias - l.mantissa_bits);
    return bits >> 15 ? -size : size;
}

static void every_pattern(void **state) {
    (void)state;
    for (const struct layout *l = layouts; l < layouts + 2; l++)
        for (uint32_t pattern = 0; pattern < 65536; pattern++) {
            uint16_t bits = (uint16_t)pattern;
            float x = l->widen(bits);
            if (is_nan(*l, bits)) {
                assert_true(isnan(x) && (signbit(x) != 0) == bits >> 15);
                assert_int_equal(l->narrow(x), bits | 1 << (l->mantissa_bits - 1)); /* quiet, payload kept */
                continue;
            }
            assert_int_equal(l->narrow(x), bits);
            assert_int_equal(signbit(x) != 0, bits >> 15);
            if ((bits & 0x7fff) == infinity_of(*l)) assert_true(isinf(x));
            else assert_true((double)x == value_of(*l, bits));
        }
}

/* Between neighbours: the midpoint goes to the even one, what is just off it to the nearer. The last pair is
 * the largest finite number and infinity: 65504 and 65536, midpoint 65520, for fp16. */
static void every_midpoint(void **state) {
    (void)state;
    for (const struct layout *l = layouts; l < layouts + 2; l++)
        for (uint16_t low = 0; low < infinity_of(*l); low++) {
            uint16_t high = low + 1;
            float middle = (float)((value_of(*l, low) + value_of(*l, high)) / 2); /* exact: one bit more */
            assert_true((double)middle == (value_of(*l, low) + value_of(*l, high)) / 2);
            assert_int_equal(l->narrow(middle), low % 2 ? high : low);
            assert_int_equal(l->narrow(-middle), (low % 2 ? high : low) | 0x8000);
            assert_int_equal(l->narrow(nextafterf(middle, 0)), low);
            assert_int_equal(l->narrow(nextafterf(middle, INFINITY)), high);
            assert_int_equal(l->narrow(nextafterf(-middle, 0)), low | 0x8000);
            assert_int_equal(l->narrow(nextafterf(-middle, -INFINITY)), high | 0x8000);
        }
}

static void ends_of_fp16(void **state) {
    (void)state;
    const struct {
        float x;
        uint16_t bits;
    } cases[] = {
        {0.0f, 0},          {-0.0f, 0x8000},      {1.0f, 0x3c00},         {-2.0f, 0xc000},     {0.1f, 0x2e66},
        {65504.0f, 0x7bff}, {65519.99f, 0x7bff},  {65520.0f, 0x7c00},     {-65520.0f, 0xfc00}, {1e6f, 0x7c00},
        {3.4e38f, 0x7c00},  {INFINITY, 0x7c00},   {-INFINITY, 0xfc00},    {0x1p-14f, 0x0400},  {0x1.ff8p-15f, 0x03ff},
        {0x1p-24f, 0x0001}, {0x1.000002p-25f, 1}, {0x1p-25f, 0},          {0x1.8p-24f, 2},     {-0x1.8p-25f, 0x8001},
        {1e-40f, 0},        {-1e-40f, 0x8000},    {0x1.ffcp-15f, 0x0400}, /* rounds up to the smallest normal number */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(half_from_float(cases[i].x), cases[i].bits);
}

/* A NaN whose payload lies in the bits that are cut off would become infinity if it were only shifted. */
static void nan_stays_nan(void **state) {
    (void)state;
    const uint32_t payloads[] = {1, 0x0fff, 0x1000, 0x1fff, 0x7fff, 0x8000, 0xffff, 0x200000, 0x400000, 0x7fffff};
    for (const struct layout *l = layouts; l < layouts + 2; l++)
        for (size_t i = 0; i < sizeof payloads / sizeof *payloads; i++)
            for (uint32_t sign = 0; sign < 2; sign++) {
                uint16_t narrow = l->narrow(float_of(sign << 31 | 0x7f800000 | payloads[i]));
                assert_true(is_nan(*l, narrow) && narrow >> 15 == sign);
                assert_true(narrow & 1 << (l->mantissa_bits - 1)); /* quiet */
                assert_true(isnan(l->widen(narrow)));
            }
    assert_int_equal(bfloat_from_float(float_of(0x7f7fffff)), 0x7f80); /* the largest float rounds to infinity */
    assert_int_equal(bfloat_from_float(float_of(0x7f7f7fff)), 0x7f7f); /* not so what is below the midpoint */
    assert_int_equal(bfloat_from_float(float_of(0x00008001)), 0x0001);
}

/* The nearest pattern, found by bisection over the positive ones; the even one on a tie. */
static uint16_t nearest(struct layout l, float x) {
    uint16_t sign = signbit(x) ? 0x8000 : 0, low = 0, high = infinity_of(l);
    double size = fabs((double)x);
    if (size >= value_of(l, high)) return sign | high;
    while (high - low > 1) {
        uint16_t middle = (uint16_t)((low + high) / 2);
        *(value_of(l, middle) <= size ? &low : &high) = middle;
    }
    double below = size - value_of(l, low), above = value_of(l, high) - size;
    return sign | (below < above || (below == above && low % 2 == 0) ? low : high);
}

/* One float in 4,099, a prime: every exponent and both signs, with mantissas of all kinds. */
static void floats_from_all_over(void **state) {
    (void)state;
    long tested = 0;
    for (uint64_t pattern = 0; pattern < (uint64_t)1 << 32; pattern += 4099) {
        float x = float_of((uint32_t)pattern);
        if (isnan(x)) {
            assert_true(isnan(float_from_half(half_from_float(x))));
            assert_true(isnan(float_from_bfloat(bfloat_from_float(x))));
            continue;
        }
        tested++;
        for (const struct layout *l = layouts; l < layouts + 2; l++)
            if (l->narrow(x) != nearest(*l, x))
                fail_msg("%s of %a (%08x): %04x, not %04x", l->name, (double)x, bits_of(x), l->narrow(x),
                         nearest(*l, x));
    }
    assert_true(tested > 1000000);
}

/* The compiler's type as a second judge. */
static void compilers_fp16(void **state) {
    (void)state;
#ifdef __FLT16_MANT_DIG__
    for (uint32_t pattern = 0; pattern < 65536; pattern++) {
        uint16_t bits = (uint16_t)pattern;
        _Float16 half;
        memcpy(&half, &bits, 2);
        if (is_nan(layouts[0], bits)) continue;
        assert_true((float)half == float_from_half(bits));
    }
    for (uint64_t pattern = 0; pattern < (uint64_t)1 << 32; pattern += 4099) {
        float x = float_of((uint32_t)pattern);
        if (isnan(x)) continue;
        _Float16 half = (_Float16)x;
        uint16_t bits;
        memcpy(&bits, &half, 2);
        assert_int_equal(half_from_float(x), bits);
    }
#else
    skip();
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pattern), cmocka_unit_test(every_midpoint),       cmocka_unit_test(ends_of_fp16),
        cmocka_unit_test(nan_stays_nan), cmocka_unit_test(floats_from_all_over), cmocka_unit_test(compilers_fp16),
    };
    return cmocka_run_group_tests_name("half", tests, NULL, NULL);
}
