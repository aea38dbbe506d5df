/* The built-in data set: the same bytes everywhere, and classes that are neither trivial nor noise. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "data/digits.h"

enum { DRAWS = 2000, CLASSES = 10 };

/* FNV-1a of 1,000 images, then their labels, with seed 1. Made by this repository's own code with gcc 12 and
 * clang 14, -O0 to -O3, on x86-64; a change of the drawing has to change it on purpose. */
static const uint64_t golden_checksum = 0xf20ec468c5aab453u;

struct part {
    uint8_t *images; /* [count][28][28] */
    uint8_t *labels; /* [count] */
};

static struct part draw_part(uint64_t seed, size_t first, size_t count) {
    struct part part = {malloc(count * DIGITS_PIXELS), malloc(count)};
    assert_non_null(part.images);
    assert_non_null(part.labels);
    memset(part.images, 0xa5, count * DIGITS_PIXELS); /* so that a byte left unwritten shows */
    memset(part.labels, 0xa5, count);
    digits_draw(seed, first, count, part.images, part.labels);
    return part;
}

static void free_part(struct part part) {
    free(part.images);
    free(part.labels);
}

static uint64_t fnv1a(uint64_t hash, const uint8_t *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}

static void test_same_seed_same_bytes(void **state) {
    (void)state;
    struct part a = draw_part(7, 0, 100), b = draw_part(7, 0, 100);
    assert_memory_equal(a.images, b.images, 100 * DIGITS_PIXELS);
    assert_memory_equal(a.labels, b.labels, 100);
    free_part(a);
    free_part(b);
}

static void test_part_equals_same_part_of_longer_draw(void **state) {
    (void)state;
    struct part whole = draw_part(7, 0, 300), part = draw_part(7, 113, 59), one = draw_part(7, 299, 1);
    assert_memory_equal(part.images, whole.images + 113 * DIGITS_PIXELS, 59 * DIGITS_PIXELS);
    assert_memory_equal(part.labels, whole.labels + 113, 59);
    assert_memory_equal(one.images, whole.images + 299 * DIGITS_PIXELS, DIGITS_PIXELS);
    assert_int_equal(one.labels[0], whole.labels[299]);
    free_part(whole);
    free_part(part);
    free_part(one);
}

/* Neighbouring seeds must not be the same stream shifted, nor may a stream repeat itself. */
static void test_no_two_images_are_equal(void **state) {
    (void)state;
    enum { EACH = 100 };
    uint8_t images[3 * EACH][DIGITS_PIXELS], labels[3 * EACH];
    for (uint64_t seed = 0; seed < 3; seed++) { digits_draw(seed, 0, EACH, images[seed * EACH], labels + seed * EACH); }
    for (size_t i = 0; i < 3 * EACH; i++) {
        for (size_t j = 0; j < i; j++) assert_memory_not_equal(images[i], images[j], DIGITS_PIXELS);
    }
}

static void test_no_count_writes_nothing(void **state) {
    (void)state;
    uint8_t image = 0xa5, label = 0xa5;
    digits_draw(1, 5, 0, &image, &label);
    assert_int_equal(image, 0xa5);
    assert_int_equal(label, 0xa5);
}

/* 2,000 draws of ten equal classes: 200 each, standard deviation 13.4; 140 and 260 are 4.5 of them away. */
static void test_labels_are_balanced(void **state) {
    (void)state;
    struct part part = draw_part(3, 0, DRAWS);
    int counts[CLASSES] = {0};
    for (size_t i = 0; i < DRAWS; i++) {
        assert_in_range(part.labels[i], 0, 9);
        counts[part.labels[i]]++;
    }
    for (int digit = 0; digit < CLASSES; digit++) assert_in_range(counts[digit], 140, 260);
    free_part(part);
}

/* Ink as in MNIST, whose mean is 0.1307 of full ink (33.3 of 255), in the middle of an empty page. */
static void test_ink_is_like_mnist(void **state) {
    (void)state;
    struct part part = draw_part(4, 0, DRAWS);
    uint64_t total = 0, border = 0;
    size_t dirty_corners = 0;
    for (size_t i = 0; i < DRAWS; i++) {
        const uint8_t *image = part.images + i * DIGITS_PIXELS; /* [28][28] */
        uint64_t ink = 0;
        uint8_t darkest = 0;
        for (int p = 0; p < DIGITS_PIXELS; p++) {
            int row = p / DIGITS_COLS, col = p % DIGITS_COLS;
            bool at_border = row == 0 || row == DIGITS_ROWS - 1 || col == 0 || col == DIGITS_COLS - 1;
            ink += image[p];
            border += at_border ? image[p] : 0;
            darkest = image[p] > darkest ? image[p] : darkest;
        }
        assert_in_range(ink, 10 * 255, 350 * 255); /* a thin 1 to a fat 0, in pixels full of ink */
        assert_true(darkest >= 128);
        dirty_corners += (image[0] | image[27] | image[27 * 28] | image[27 * 28 + 27]) != 0;
        total += ink;
    }
    assert_in_range(total / (DRAWS * DIGITS_PIXELS), 28, 38);
    assert_true(border * 1000 < total); /* under a thousandth of the ink */
    assert_true(dirty_corners <= DRAWS / 500);
    free_part(part);
}

static void test_bytes_match_golden_checksum(void **state) {
    (void)state;
    struct part part = draw_part(1, 0, 1000);
    uint64_t hash = fnv1a(0xcbf29ce484222325u, part.images, 1000 * DIGITS_PIXELS);
    hash = fnv1a(hash, part.labels, 1000);
    assert_int_equal(hash, golden_checksum);
    free_part(part);
}

/* Output: means [10][784], of the images of part [count] by label. */
static void class_means(struct part part, size_t count, double *means) {
    size_t members[CLASSES] = {0};
    memset(means, 0, CLASSES * DIGITS_PIXELS * sizeof *means);
    for (size_t i = 0; i < count; i++) {
        double *mean = means + part.labels[i] * DIGITS_PIXELS;
        for (int p = 0; p < DIGITS_PIXELS; p++) mean[p] += part.images[i * DIGITS_PIXELS + p];
        members[part.labels[i]]++;
    }
    for (int digit = 0; digit < CLASSES; digit++) {
        assert_true(members[digit] > 0);
        for (int p = 0; p < DIGITS_PIXELS; p++) means[digit * DIGITS_PIXELS + p] /= (double)members[digit];
    }
}

static int nearest_mean(const double *means, const uint8_t *image) {
    int best = 0;
    double best_distance = 1e300;
    for (int digit = 0; digit < CLASSES; digit++) {
        double distance = 0.0;
        for (int p = 0; p < DIGITS_PIXELS; p++) {
            double d = image[p] - means[digit * DIGITS_PIXELS + p];
            distance += d * d;
        }
        if (distance < best_distance) best_distance = distance, best = digit;
    }
    return best;
}

/* On MNIST the nearest class mean is right for 82 % of the test images; labels that mean nothing would give
 * 10 %, printed digits 100 %. */
static void test_classes_are_neither_trivial_nor_noise(void **state) {
    (void)state;
    static double means[CLASSES * DIGITS_PIXELS]; /* [10][784] */
    struct part train = draw_part(5, 0, DRAWS), fresh = draw_part(5, DIGITS_TRAIN, DRAWS);
    class_means(train, DRAWS, means);
    int right = 0, right_of[CLASSES] = {0};
    for (size_t i = 0; i < DRAWS; i++) {
        int guess = nearest_mean(means, fresh.images + i * DIGITS_PIXELS);
        right += guess == fresh.labels[i];
        right_of[fresh.labels[i]] += guess == fresh.labels[i];
    }
    assert_in_range(right, DRAWS * 75 / 100, DRAWS * 92 / 100);
    for (int digit = 0; digit < CLASSES; digit++) assert_true(right_of[digit] >= 100); /* of about 200 */
    free_part(train);
    free_part(fresh);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_seed_same_bytes),
        cmocka_unit_test(test_part_equals_same_part_of_longer_draw),
        cmocka_unit_test(test_no_two_images_are_equal),
        cmocka_unit_test(test_no_count_writes_nothing),
        cmocka_unit_test(test_labels_are_balanced),
        cmocka_unit_test(test_ink_is_like_mnist),
        cmocka_unit_test(test_bytes_match_golden_checksum),
        cmocka_unit_test(test_classes_are_neither_trivial_nor_noise),
    };
    return cmocka_run_group_tests_name("digits", tests, NULL, NULL);
}
