/* Eq. 6 in floats (zmm.h): which multipliers the proof lets pass, that their codes are those of requantize() on every
 * side of every threshold, and that a layer with one that does not pass goes through integers. */
#include "base/rng.h"
#include "quant/qlinear.h"

#include "support.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define qkernel_avx512vnni kernel /* its source, since what is tested is static there */
#include "quant/kernels/avx512vnni.c"

enum { MULTIPLIERS = 3000, AROUND = 4 };

static void skip_without_avx512(void) {
    if (kernel.supported()) return;
    print_message("# this CPU has no AVX-512\n");
    skip();
}

static struct multiplier any_multiplier(struct rng *rng, int right) {
    return (struct multiplier){(int32_t)((uint32_t)(1 << 30) + rng_below(rng, 1 << 30)), right};
}

TARGET static int32_t code_in_floats(int32_t acc, int32_t zero_point, float high, float low) {
    _Alignas(64) int32_t lanes[LANES];
    _mm512_store_si512(lanes, in_floats(_mm512_set1_epi32(acc), _mm512_set1_ps(high), _mm512_set1_ps(low)));
    int64_t code = (int64_t)lanes[0] + zero_point;
    return (int32_t)(code < 0 ? 0 : code > 255 ? 255 : code);
}

static bool same(struct multiplier by, int32_t zero_point, float high, float low, int64_t acc) {
    int32_t sum = (int32_t)(acc > INT32_MAX ? INT32_MAX : acc < INT32_MIN ? INT32_MIN : acc);
    return code_in_floats(sum, zero_point, high, low) == requantize(sum, by, zero_point, 0, 255);
}

/* The sum that lies on the border between two codes, by another way than zmm.h's: in long double. */
static int64_t border(struct multiplier by, int32_t zero_point, int code) {
    return (int64_t)ceill(ldexpl(((long double)(code - zero_point) - 0.5L) / (long double)by.m, by.right));
}

static void test_what_passes_is_exact(void **state) {
    (void)state;
    struct rng rng = rng_seeded(1);
    size_t passed = 0;
    skip_without_avx512();
    for (int i = 0; i < MULTIPLIERS; i++) {
        struct multiplier by = any_multiplier(&rng, 33 + i % 21);
        int32_t zero_point = i % 3 == 0 ? 0 : i % 3 == 1 ? 128 : (int32_t)rng_below(&rng, 256);
        float high, low;
        if (!float_multiplier(by, zero_point, &high, &low)) continue;
        passed++;
        for (int code = 0; code < 256; code++)
            for (int off = -AROUND; off <= AROUND; off++)
                if (!same(by, zero_point, high, low, border(by, zero_point, code) + off))
                    fail_msg("m %d, right %d, zero point %d: %d from the border of code %d", by.m, by.right, zero_point,
                             off, code);
        for (int k = 0; k < 64; k++) assert_true(same(by, zero_point, high, low, (int32_t)rng_next(&rng) >> k % 32));
        assert_true(same(by, zero_point, high, low, INT32_MAX) && same(by, zero_point, high, low, INT32_MIN));
    }
    assert_in_range(passed, MULTIPLIERS / 2, MULTIPLIERS);
}

/* A multiplier that no low mends, and a sum of which the exact low makes another code. */
static struct multiplier find_refused(int32_t *sum) {
    struct rng rng = rng_seeded(2);
    for (int i = 0; i < 100000; i++) {
        struct multiplier by = any_multiplier(&rng, 42);
        float high, low;
        if (float_multiplier(by, 0, &high, &low)) continue;
        low = ldexpf((float)(by.m & 127), -by.right);
        for (int code = 1; code < 256; code++)
            for (int off = -1; off <= 0; off++)
                if (!same(by, 0, high, low, border(by, 0, code) + off)) {
                    *sum = (int32_t)border(by, 0, code) + off;
                    return by;
                }
    }
    fail_msg("every multiplier passes the proof, or what is refused is exact");
    return (struct multiplier){0};
}

/* 64 outputs whose sums are their biases; one of the first 32 has the multiplier that is refused. */
static void test_what_is_refused_takes_integers(void **state) {
    (void)state;
    enum { OUT = 64, ROWS_OF_X = 5 };
    int8_t weight[OUT] = {0};
    int32_t bias[OUT];
    struct multiplier multiplier[OUT];
    uint8_t x[ROWS_OF_X * 64] = {0}, y[ROWS_OF_X * 64], expected[ROWS_OF_X * OUT];
    _Alignas(64) uint8_t packed[8192], scratch[QLINEAR_SCRATCH * 64];
    skip_without_avx512();
    int32_t sum = 0;
    struct multiplier refused = find_refused(&sum);
    struct qlinear layer = {.in = 1,
                            .out = OUT,
                            .y_max = 255,
                            .weight = weight,
                            .bias = bias,
                            .folded_bias = bias,
                            .multiplier = multiplier,
                            .packed = packed};
    for (int with = 0; with < 2; with++) {
        for (int c = 0; c < OUT; c++) bias[c] = sum, multiplier[c] = (struct multiplier){3 << 29, 42};
        if (with) multiplier[17] = refused;
        memset(packed, 0, sizeof packed);
        assert_true(kernel.layer_bytes(&layer) <= sizeof packed);
        kernel.pack_layer(&layer);
        assert_int_equal(tile_constants(&layer, 0)->form, with ? IN_INTEGERS : IN_FLOATS);
        assert_int_equal(tile_constants(&layer, 1)->form, IN_FLOATS);
        kernel.run(&layer, x, 64, ROWS_OF_X, y, 64, scratch);
        for (int r = 0; r < ROWS_OF_X; r++)
            for (int c = 0; c < OUT; c++) expected[r * OUT + c] = requantize(sum, multiplier[c], 0, 0, 255);
        assert_memory_equal(y, expected, sizeof expected); /* rows are OUT bytes apart in both */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_passes_is_exact),
        cmocka_unit_test(test_what_is_refused_takes_integers),
    };
    return cmocka_run_group_tests_name("requant_floats", tests, NULL, NULL);
}

#else

#include <stdio.h>

int main(void) { return puts("# floats are for AVX-512") < 0; }

#endif
