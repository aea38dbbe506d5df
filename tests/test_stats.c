/* Statistics, against values worked out by hand. */
#include "base/stats.h"

#include "support.h"

#include <math.h>

static void mean_and_deviation(void **state) {
    (void)state;
    const double values[] = {2, 4, 4, 4, 5, 5, 7, 9};
    struct sums s = {0};
    for (int i = 0; i < 8; i++) sums_add(&s, values[i]);
    assert_int_equal(s.n, 8);
    assert_close(sums_mean(&s), 5, 0);
    assert_close(sums_deviation(&s), sqrt(32.0 / 7), 1e-12); /* of a sample: over n - 1 */
    assert_close(s.lowest, 2, 0);
    assert_close(s.highest, 9, 0);
    struct sums one = {0};
    sums_add(&one, -3);
    assert_close(one.lowest, -3, 0);
    assert_close(one.highest, -3, 0);
    assert_true(isnan(sums_deviation(&one)));
}

static void percentiles_are_values(void **state) {
    (void)state;
    double values[] = {50, 10, 40, 20, 30};
    assert_close(percentile_of(values, 5, 0.5), 30, 0);
    assert_close(percentile_of(values, 5, 0), 10, 0);
    assert_close(percentile_of(values, 5, 1), 50, 0);
    assert_close(percentile_of(values, 5, 0.9), 50, 0); /* 3.6 of 4 steps up: the nearest is the last */
    assert_close(percentile_of(values, 5, 0.1), 10, 0);
}

static void decibels_are_of_powers(void **state) {
    (void)state;
    assert_close(decibels(100, 1), 20, 1e-12);
    assert_close(decibels(1, 2), -10 * log10(2), 1e-12);
    assert_true(isinf(decibels(1, 0)));
    const float x[] = {3, -4, 0}, x_hat[] = {3, -3, 0.5f};
    assert_close(sqnr_db(x, x_hat, 3), 10 * log10(25 / 1.25), 1e-12);
}

static void similarities_add_up(void **state) {
    (void)state;
    const float x[] = {3, -4, 0, 1}, x_hat[] = {3, -3, 0.5f, 1};
    struct similarity s = {0};
    similarity_add(&s, x, x_hat, 2);
    similarity_add(&s, x + 2, x_hat + 2, 2);
    assert_int_equal(s.count, 4);
    assert_close(similarity_mean_error(&s), 1.5 / 4, 1e-12);
    assert_close(s.highest, 1, 0);
    assert_close(similarity_cosine(&s), 22 / sqrt(26 * 19.25), 1e-12);
    assert_close(similarity_sqnr_db(&s), 10 * log10(26 / 1.25), 1e-12);
    const float nan = NAN;
    similarity_add(&s, &nan, x, 1);
    assert_true(isnan(s.highest));
}

static void entropy_in_bits(void **state) {
    (void)state;
    struct histogram h = {.levels = 8};
    for (int level = 0; level < 4; level++) histogram_add(&h, level, 5);
    assert_int_equal(histogram_used(&h), 4);
    assert_close(histogram_entropy_bits(&h), 2, 1e-12);
    struct histogram skew = {.levels = 2};
    histogram_add(&skew, 0, 3);
    histogram_add(&skew, 1, 1);
    assert_close(histogram_entropy_bits(&skew), 2 - 0.75 * log2(3), 1e-12);
}

/* 2 * (C(n, 0) + ... + C(n, few)) / 2^n */
static void mcnemar_by_hand(void **state) {
    (void)state;
    assert_close(mcnemar_exact_p(5, 2), 2 * (1 + 7 + 21) / 128.0, 1e-12);
    assert_close(mcnemar_exact_p(2, 5), 2 * (1 + 7 + 21) / 128.0, 1e-12);
    assert_close(mcnemar_exact_p(10, 0), 2 / 1024.0, 1e-12);
    assert_close(mcnemar_exact_p(3, 3), 1, 0);
    assert_close(mcnemar_exact_p(0, 0), 1, 0);
    assert_close(mcnemar_exact_p(2000, 2000), 1, 1e-9);
    double p = mcnemar_exact_p(2100, 1900); /* the normal approximation, with its correction for whole numbers */
    assert_close(p, erfc((200 - 1) / sqrt(4000) / sqrt(2)), 1e-5);
}

/* Against the printed table of t at p = 0.05 (Student's; 2.776445 at 4 degrees of freedom), and 1 and 2 degrees, where
 * p is 1 - 2 atan(t) / pi and 1 - t / sqrt(2 + t^2). */
static void pairs_by_the_printed_table(void **state) {
    (void)state;
    static const double critical[] = {12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004};
    for (int n = 2; n <= 9; n++) {
        double differences[9], sd = 0;
        for (int i = 0; i < n; i++) sd += pow(i - (n - 1) / 2.0, 2) / (n - 1);
        for (int i = 0; i < n; i++) differences[i] = (i - (n - 1) / 2.0) / sqrt(sd) + critical[n - 2] / sqrt(n);
        assert_close(paired_t_p(differences, n), 0.05, 1e-7);
        for (int i = 0; i < n; i++) differences[i] *= -3;
        assert_close(paired_t_p(differences, n), 0.05, 1e-7);
    }
    assert_close(paired_t_p((double[]){1, 3}, 2), 1 - 2 / acos(-1) * atan(2), 1e-12);
    assert_close(paired_t_p((double[]){1, 2, 6}, 3), 1 - sqrt(27 / 7.0) / sqrt(2 + 27 / 7.0), 1e-12);
    assert_close(paired_t_p((double[]){0, 0, 0}, 3), 1, 0);
    assert_close(paired_t_p((double[]){2, 2, 2}, 3), 0, 0);
    assert_true(isnan(paired_t_p((double[]){2}, 1)));
}

static void divergence_by_hand(void **state) {
    (void)state;
    const float even[] = {5, 5}, odd[] = {0, 1.0986123f}, far[] = {0, 2000}, three[] = {-1, 0, 3};
    assert_close(kl_divergence(even, odd, 2), 0.5 * log(0.5 / 0.25) + 0.5 * log(0.5 / 0.75), 1e-7);
    assert_close(kl_divergence(odd, even, 2), 0.25 * log(0.25 / 0.5) + 0.75 * log(0.75 / 0.5), 1e-7);
    assert_close(kl_divergence(three, three, 3), 0, 0);
    assert_close(kl_divergence(even, far, 2), 1000 - log(2), 1e-9); /* no overflow */
    assert_close(kl_divergence(far, even, 2), log(2), 1e-12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mean_and_deviation),
        cmocka_unit_test(percentiles_are_values),
        cmocka_unit_test(decibels_are_of_powers),
        cmocka_unit_test(similarities_add_up),
        cmocka_unit_test(entropy_in_bits),
        cmocka_unit_test(mcnemar_by_hand),
        cmocka_unit_test(pairs_by_the_printed_table),
        cmocka_unit_test(divergence_by_hand),
    };
    return cmocka_run_group_tests_name("stats", tests, NULL, NULL);
}
