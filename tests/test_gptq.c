/* GPTQ and AWQ: the Cholesky factor they need, the codes against NumPy's (tests/golden/make_gptq.py), and
 * what must hold whatever the layer: dead inputs, inputs that know nothing of each other, too few images,
 * none at all. */
#include "base/rng.h"
#include "golden/golden.h"
#include "nn/gemm.h"
#include "lowbit/awq.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <omp.h>

static struct error err;

#define CHECK(call)                                                                                                    \
    do {                                                                                                               \
        if (!(call)) fail_msg("%s: %s", #call, err.text);                                                              \
    } while (0)

/* ---- layers and inputs ---- */

enum { OUT = 12, IN = 30, IMAGES = 80 };

static float w[OUT * IN], x[IMAGES * IN], magnitude[IN];
static double gram[IN * IN];

static void second_moment(int images) {
    memset(gram, 0, sizeof gram);
    memset(magnitude, 0, sizeof magnitude);
    for (int i = 0; i < images; i++)
        for (int j = 0; j < IN; j++) {
            magnitude[j] += fabsf(x[i * IN + j]) / (float)images;
            for (int k = 0; k < IN; k++) gram[j * IN + k] += (double)x[i * IN + j] * (double)x[i * IN + k];
        }
}

/* Weights, and inputs that hang together as those behind a ReLU do; inputs 4 and 29 are dead. */
static void make_layer(uint64_t seed, int images) {
    struct rng rng = rng_seeded(seed);
    double mixing[5][IN], factor[5];
    for (int i = 0; i < OUT * IN; i++) w[i] = (float)(0.1 * rng_normal(&rng));
    for (int f = 0; f < 5; f++)
        for (int k = 0; k < IN; k++) mixing[f][k] = rng_normal(&rng);
    for (int i = 0; i < images; i++) {
        for (int f = 0; f < 5; f++) factor[f] = rng_normal(&rng);
        for (int k = 0; k < IN; k++) {
            double sum = 0.5 + 0.3 * rng_normal(&rng);
            for (int f = 0; f < 5; f++) sum += factor[f] * mixing[f][k];
            x[i * IN + k] = k == 4 || k == 29 || sum < 0 ? 0 : (float)sum;
        }
    }
    second_moment(images);
}

static struct coded_matrix matrix(int bits, bool symmetric, int block) {
    struct coded_matrix m;
    CHECK(coded_matrix_create(OUT, IN, bits, symmetric, block, &m, &err));
    return m;
}

static double error_of(const struct coded_matrix *m) {
    float w_hat[OUT * IN];
    coded_matrix_values(m, w_hat);
    return output_error(w, w_hat, OUT, IN, gram);
}

static void assert_same_codes(const struct coded_matrix *a, const struct coded_matrix *b) {
    assert_memory_equal(a->codes, b->codes, (size_t)a->out * (size_t)a->in);
    for (int i = 0; i < a->out * a->blocks; i++) {
        assert_memory_equal(&a->grids[i].scale, &b->grids[i].scale, sizeof(float));
        assert_int_equal(a->grids[i].zero_point, b->grids[i].zero_point);
    }
}

static int codes_that_differ(const struct coded_matrix *a, const struct coded_matrix *b) {
    int count = 0;
    for (int i = 0; i < a->out * a->in; i++) count += a->codes[i] != b->codes[i];
    return count;
}

/* Every grid that the ladder has: bits, symmetric, block. */
static const struct kind {
    int bits;
    bool symmetric;
    int block;
} kinds[] = {{8, true, IN}, {4, true, IN}, {4, true, 10},  {4, true, 7},   {3, true, IN}, {3, true, 10},
             {2, true, IN}, {2, true, 6},  {4, false, IN}, {4, false, 10}, {3, false, 7}, {2, false, 15}};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

/* ---- U^T U = A^-1 ---- */

static void the_factor_of_an_inverse(void **state) {
    (void)state;
    static const int sizes[] = {1, 2, 7, 40};
    static double b[40 * 40], a[40 * 40], u[40 * 40];
    struct rng rng = rng_seeded(1);
    for (int t = 0; t < 4; t++) {
        int n = sizes[t];
        for (int i = 0; i < n * n; i++) b[i] = rng_normal(&rng);
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++) {
                a[i * n + j] = i == j ? 0.1 : 0;
                for (int k = 0; k < n; k++) a[i * n + j] += b[i * n + k] * b[j * n + k];
            }
        memcpy(u, a, sizeof u);
        assert_true(cholesky_of_inverse(n, u));
        for (int i = 0; i < n; i++) { /* (U^T U) A = 1 */
            assert_true(u[i * n + i] > 0);
            for (int j = 0; j < i; j++) assert_true(u[i * n + j] == 0);
            for (int j = 0; j < n; j++) {
                double sum = 0;
                for (int k = 0; k < n; k++)
                    for (int l = 0; l < n; l++) sum += u[l * n + i] * u[l * n + k] * a[k * n + j];
                if (!(fabs(sum - (i == j)) <= 1e-8)) fail_msg("n %d: [%d][%d] is %.12g", n, i, j, sum);
            }
        }
    }
}

static void the_factor_worked_by_hand(void **state) {
    (void)state;
    double one[] = {4}, two[] = {2, 1, 1, 2}; /* inverses: 1/4, and 1/3 [2 -1; -1 2] */
    assert_true(cholesky_of_inverse(1, one));
    assert_true(fabs(one[0] - 0.5) <= 1e-15);
    assert_true(cholesky_of_inverse(2, two));
    const double expected[] = {sqrt(2.0 / 3), -1 / sqrt(6), 0, sqrt(0.5)};
    for (int i = 0; i < 4; i++) assert_true(fabs(two[i] - expected[i]) <= 1e-15);
}

static void an_indefinite_matrix_is_refused(void **state) {
    (void)state;
    double negative[] = {-1}, zero[] = {0}, saddle[] = {1, 2, 2, 1}, singular[] = {1, 1, 1, 1}, nan[] = {NAN, 0, 0, 1};
    assert_false(cholesky_of_inverse(1, negative));
    assert_false(cholesky_of_inverse(1, zero));
    assert_false(cholesky_of_inverse(2, saddle));
    assert_false(cholesky_of_inverse(2, singular));
    assert_false(cholesky_of_inverse(2, nan));
}

/* ---- GPTQ ---- */

/* The golden file holds nothing within 1e-5 of a rounding tie: every code must be the same. */
static void codes_are_those_of_numpy(void **state) {
    (void)state;
    enum { G_OUT = 8, G_IN = 24, G_IMAGES = 64, FEW = 9 };
    static const struct kind golden_kinds[] = {{4, true, 0}, {3, true, 0}, {2, true, 0}, {4, false, 0}};
    static const int blocks[] = {G_IN, 8, 7}, image_counts[] = {G_IMAGES, FEW};
    static float g_x[G_IMAGES * G_IN], g_w[G_OUT * G_IN], scale[G_OUT * 4];
    static double g_gram[G_IN * G_IN];
    static int8_t codes[G_OUT * G_IN];
    static uint8_t zero[G_OUT * 4];
    struct st_file *file = golden_open("tests/golden/gptq.safetensors");
    golden_copy(file, "x", ST_F32, G_IMAGES * G_IN, g_x);
    golden_copy(file, "w", ST_F32, G_OUT * G_IN, g_w);
    int compared = 0, moved = 0;
    for (int c = 0; c < 2 * 4 * 3 * 2; c++) {
        int images = image_counts[c % 2], block = blocks[c / 2 % 3];
        bool act_order = c / 6 % 2;
        const struct kind *kind = &golden_kinds[c / 12];
        struct coded_matrix m, rtn;
        char name[64];
        for (int i = 0; i < G_IN * G_IN; i++) {
            g_gram[i] = 0;
            for (int n = 0; n < images; n++)
                g_gram[i] += (double)g_x[n * G_IN + i / G_IN] * (double)g_x[n * G_IN + i % G_IN];
        }
        CHECK(coded_matrix_create(G_OUT, G_IN, kind->bits, kind->symmetric, block, &m, &err));
        CHECK(coded_matrix_create(G_OUT, G_IN, kind->bits, kind->symmetric, block, &rtn, &err));
        struct gptq_config config = {act_order, GRID_MINMAX, 0.01};
        CHECK(gptq_codes(g_w, g_gram, &config, &m, &err));
        rtn_codes(g_w, GRID_MINMAX, &rtn);
        int grids = G_OUT * m.blocks, stem;
        stem = snprintf(name, sizeof name, "%c%d.%d.%s.%d.", kind->symmetric ? 's' : 'u', kind->bits, block,
                        act_order ? "act" : "left", images);
        strcpy(name + stem, "codes");
        golden_copy(file, name, ST_I8, G_OUT * G_IN, codes);
        strcpy(name + stem, "scale");
        golden_copy(file, name, ST_F32, (size_t)grids, scale);
        strcpy(name + stem, "zero");
        golden_copy(file, name, ST_U8, (size_t)grids, zero);
        for (int i = 0; i < grids; i++)
            if (m.grids[i].scale != scale[i] || m.grids[i].zero_point != zero[i])
                fail_msg("%s: grid %d is %.9g, %d: expected %.9g, %d", name, i, (double)m.grids[i].scale,
                         m.grids[i].zero_point, (double)scale[i], zero[i]);
        for (int i = 0; i < G_OUT * G_IN; i++)
            if (m.codes[i] != codes[i])
                fail_msg("%s: output %d, input %d: %d, expected %d", name, i / G_IN, i % G_IN, m.codes[i], codes[i]);
        compared += G_OUT * G_IN;
        moved += codes_that_differ(&m, &rtn);
        coded_matrix_free(&m);
        coded_matrix_free(&rtn);
    }
    assert_int_equal(compared, 9216);
    assert_true(moved > 1000); /* else round to nearest would have passed too */
    golden_close(file);
}

static void dead_inputs_are_rounded_to_nearest(void **state) {
    (void)state;
    make_layer(1, IMAGES);
    for (int t = 0; t < 2 * KINDS; t++) {
        const struct kind *kind = &kinds[t / 2];
        struct gptq_config config = {t % 2, GRID_MINMAX, 0.01};
        struct coded_matrix m = matrix(kind->bits, kind->symmetric, kind->block), rtn = m;
        rtn = matrix(kind->bits, kind->symmetric, kind->block);
        CHECK(gptq_codes(w, gram, &config, &m, &err));
        rtn_codes(w, GRID_MINMAX, &rtn);
        for (int c = 0; c < OUT; c++)
            for (int k = 4; k < IN; k += 25) { /* on the grid that its group came to have */
                struct qparams g = m.grids[c * m.blocks + k / m.block];
                assert_int_equal(m.codes[c * IN + k], quantize(w[c * IN + k], g));
                if (config.act_order || m.blocks == 1) assert_int_equal(m.codes[c * IN + k], rtn.codes[c * IN + k]);
            }
        if (kind->bits < 8) assert_true(codes_that_differ(&m, &rtn) > 0);
        coded_matrix_free(&m);
        coded_matrix_free(&rtn);
    }
}

/* H diagonal: no error can be made good elsewhere. */
static void inputs_that_know_nothing_of_each_other(void **state) {
    (void)state;
    make_layer(2, IMAGES);
    for (int different = 0; different < 2; different++) {
        memset(gram, 0, sizeof gram);
        for (int k = 0; k < IN; k++) gram[k * IN + k] = different ? 1 + k * 7 % 11 : 1;
        for (int t = 0; t < 4 * KINDS; t++) {
            const struct kind *kind = &kinds[t / 4];
            struct gptq_config config = {t % 2, t / 2 % 2 ? GRID_MSE : GRID_MINMAX, 0.01};
            struct coded_matrix m = matrix(kind->bits, kind->symmetric, kind->block);
            struct coded_matrix rtn = matrix(kind->bits, kind->symmetric, kind->block);
            CHECK(gptq_codes(w, gram, &config, &m, &err));
            rtn_codes(w, config.rule, &rtn);
            assert_same_codes(&m, &rtn);
            assert_true(error_of(&m) > 0);
            coded_matrix_free(&m);
            coded_matrix_free(&rtn);
        }
    }
}

static void it_lowers_the_output_error(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        make_layer(seed, IMAGES);
        for (int t = 0; t < 4 * KINDS; t++) {
            const struct kind *kind = &kinds[t / 4];
            struct gptq_config config = {t % 2, t / 2 % 2 ? GRID_MSE : GRID_MINMAX, 0.01};
            struct coded_matrix m = matrix(kind->bits, kind->symmetric, kind->block);
            rtn_codes(w, config.rule, &m);
            double rtn = error_of(&m);
            CHECK(gptq_codes(w, gram, &config, &m, &err));
            double gptq = error_of(&m);
            if (!(gptq > 0 && gptq < rtn))
                fail_msg("seed %d, %d bits, block %d: %g after round to nearest's %g", (int)seed, kind->bits,
                         kind->block, gptq, rtn);
            coded_matrix_free(&m);
        }
    }
}

static void threads_do_not_change_it(void **state) {
    (void)state;
    make_layer(3, IMAGES);
    struct gptq_config config = {true, GRID_MSE, 0.01};
    struct coded_matrix one = matrix(3, true, 10), many = matrix(3, true, 10);
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    CHECK(gptq_codes(w, gram, &config, &one, &err));
    double error = error_of(&one);
    omp_set_num_threads(5);
    CHECK(gptq_codes(w, gram, &config, &many, &err));
    assert_same_codes(&one, &many);
    assert_true(error_of(&many) == error);
    omp_set_num_threads(threads);
    coded_matrix_free(&one);
    coded_matrix_free(&many);
}

static void too_few_images_rest_on_the_damping(void **state) {
    (void)state;
    for (int images = 1; images < IN; images += 4) { /* at most that many dimensions are known */
        make_layer((uint64_t)images, images);
        for (int act_order = 0; act_order < 2; act_order++) {
            struct gptq_config config = {act_order, GRID_MINMAX, 0.01};
            struct coded_matrix m = matrix(3, true, IN);
            rtn_codes(w, GRID_MINMAX, &m);
            double rtn = error_of(&m);
            CHECK(gptq_codes(w, gram, &config, &m, &err));
            double gptq = error_of(&m);
            assert_true(rtn > 0 && gptq >= 0 && gptq < rtn);
            for (int i = 0; i < OUT * IN; i++) assert_in_range(m.codes[i] + 4, 0, 7);
            coded_matrix_free(&m);
        }
    }
}

static void without_damping_a_singular_hessian_is_an_error(void **state) {
    (void)state;
    make_layer(1, IMAGES);
    for (int i = 0; i < IN * IN; i++) gram[i] = 1; /* one image of ones */
    struct gptq_config config = {false, GRID_MINMAX, 0};
    struct coded_matrix m = matrix(4, true, IN);
    assert_false(gptq_codes(w, gram, &config, &m, &err));
    assert_non_null(strstr(err.text, "not positive definite"));
    config.damping = 0.01;
    CHECK(gptq_codes(w, gram, &config, &m, &err));
    coded_matrix_free(&m);
}

static void images_that_are_all_black(void **state) {
    (void)state;
    make_layer(4, IMAGES);
    memset(gram, 0, sizeof gram);
    for (int t = 0; t < 2 * KINDS; t++) {
        const struct kind *kind = &kinds[t / 2];
        struct gptq_config config = {t % 2, GRID_MINMAX, 0.01};
        struct coded_matrix m = matrix(kind->bits, kind->symmetric, kind->block);
        struct coded_matrix rtn = matrix(kind->bits, kind->symmetric, kind->block);
        CHECK(gptq_codes(w, gram, &config, &m, &err));
        rtn_codes(w, GRID_MINMAX, &rtn);
        assert_same_codes(&m, &rtn);
        coded_matrix_free(&m);
        coded_matrix_free(&rtn);
    }
}

static void rows_of_zeros(void **state) {
    (void)state;
    make_layer(5, IMAGES);
    memset(w + 3 * IN, 0, IN * sizeof *w);
    for (int t = 0; t < 2 * KINDS; t++) {
        const struct kind *kind = &kinds[t / 2];
        struct gptq_config config = {t % 2, t / 2 % 2 ? GRID_MSE : GRID_MINMAX, 0.01};
        struct coded_matrix m = matrix(kind->bits, kind->symmetric, kind->block);
        float w_hat[OUT * IN];
        CHECK(gptq_codes(w, gram, &config, &m, &err));
        coded_matrix_values(&m, w_hat);
        for (int i = 0; i < OUT * IN; i++) {
            assert_true(isfinite(w_hat[i]));
            if (i / IN == 3) assert_true(w_hat[i] == 0);
        }
        coded_matrix_free(&m);
    }
}

static void a_layer_of_one_input(void **state) {
    (void)state;
    const float weights[] = {1.875f, -1.875f, 0}; /* 7.5 steps of 0.25 */
    const double moment = 5;
    struct gptq_config config = {true, GRID_MINMAX, 0.01};
    struct coded_matrix m;
    CHECK(coded_matrix_create(3, 1, 4, true, 1, &m, &err));
    CHECK(gptq_codes(weights, &moment, &config, &m, &err));
    assert_int_equal(m.codes[0], 7);
    assert_int_equal(m.codes[1], -8);
    assert_int_equal(m.codes[2], 0);
    coded_matrix_free(&m);
}

/* ---- output_error ---- */

static void the_output_error_image_by_image(void **state) {
    (void)state;
    for (int images = 1; images <= IMAGES; images += 79) {
        make_layer(6, images);
        struct coded_matrix m = matrix(3, true, 10);
        float w_hat[OUT * IN];
        double noise = 0, signal = 0;
        rtn_codes(w, GRID_MINMAX, &m);
        coded_matrix_values(&m, w_hat);
        for (int i = 0; i < images; i++)
            for (int c = 0; c < OUT; c++) {
                double y = 0, y_hat = 0;
                for (int k = 0; k < IN; k++) {
                    y += (double)w[c * IN + k] * (double)x[i * IN + k];
                    y_hat += (double)w_hat[c * IN + k] * (double)x[i * IN + k];
                }
                signal += y * y;
                noise += (y - y_hat) * (y - y_hat);
            }
        assert_true(noise > 0 && signal > 0);
        double found = output_error(w, w_hat, OUT, IN, gram);
        if (!(fabs(found - noise / signal) <= 1e-9 * found))
            fail_msg("%.15g, image by image %.15g", found, noise / signal);
        assert_true(output_error(w, w, OUT, IN, gram) == 0);
        memset(w_hat, 0, sizeof w_hat);
        assert_true(fabs(output_error(w, w_hat, OUT, IN, gram) - 1) <= 1e-12);
        coded_matrix_free(&m);
    }
}

/* Layers beyond the strips of 1024 that output_error sums by: the sums of one image, x x^T as gram. */
static void the_output_error_of_wide_layers(void **state) {
    (void)state;
    static const int sizes[][2] = {{2, 1500}, {2100, 3}, {3, 1024}, {1025, 2}}; /* out, in */
    for (size_t t = 0; t < sizeof sizes / sizeof sizes[0]; t++) {
        size_t out = (size_t)sizes[t][0], in = (size_t)sizes[t][1];
        struct rng rng = rng_seeded(t);
        float *wide = malloc(out * in * sizeof *wide), *wide_hat = malloc(out * in * sizeof *wide);
        double *image = malloc(in * sizeof *image), *moment = malloc(in * in * sizeof *moment), noise = 0, signal = 0;
        for (size_t k = 0; k < in; k++) image[k] = rng_normal(&rng);
        for (size_t i = 0; i < in * in; i++) moment[i] = image[i / in] * image[i % in];
        for (size_t i = 0; i < out * in; i++) wide[i] = (float)rng_normal(&rng), wide_hat[i] = wide[i] * 1.01f + 0.1f;
        for (size_t c = 0; c < out; c++) {
            double y = 0, y_hat = 0;
            for (size_t k = 0; k < in; k++) {
                y += (double)wide[c * in + k] * image[k];
                y_hat += (double)wide_hat[c * in + k] * image[k];
            }
            signal += y * y;
            noise += (y - y_hat) * (y - y_hat);
        }
        double found = output_error(wide, wide_hat, (int)out, (int)in, moment);
        if (!(noise > 0 && fabs(found - noise / signal) <= 1e-9 * found))
            fail_msg("[%zu][%zu]: %.15g, by its outputs %.15g", out, in, found, noise / signal);
        free(wide);
        free(wide_hat);
        free(image);
        free(moment);
    }
}

/* ---- grids and blocks ---- */

static void the_least_squares_grid_is_never_worse(void **state) {
    (void)state;
    int better = 0, turned = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        make_layer(seed, 1);
        for (int t = 0; t < KINDS; t++) {
            double errors[3] = {0};
            int n = kinds[t].block;
            for (int rule = 0; rule < 3; rule++) {
                struct qparams g = grid_by_rule(w, n, kinds[t].bits, kinds[t].symmetric, (enum grid_rule)rule);
                for (int i = 0; i < n; i++) errors[rule] += pow((double)(w[i] - dequantize(quantize(w[i], g), g)), 2);
            }
            assert_true(errors[1] <= errors[0] * (1 + 1e-6));
            assert_true(errors[2] <= errors[1] * (1 + 1e-6));
            if (!kinds[t].symmetric || kinds[t].bits == 8) assert_true(errors[2] == errors[1]);
            better += errors[1] < 0.9 * errors[0];
            turned += errors[2] < 0.9 * errors[1];
        }
    }
    assert_true(better > 40 && turned > 20);
}

/* What is packed is read back by the format of that name; round to nearest is the format's own. */
static void packing_is_that_of_the_formats(void **state) {
    (void)state;
    make_layer(7, 1);
    for (int t = 0; t < KINDS; t++) {
        char name[16];
        snprintf(name, sizeof name, "%s%d", kinds[t].symmetric ? "int" : "uint", kinds[t].bits);
        struct codec codec = {format_find(name), kinds[t].block};
        struct coded_matrix m = matrix(kinds[t].bits, kinds[t].symmetric, kinds[t].block);
        size_t size = codec_bytes(codec, OUT, IN);
        uint8_t packed[2048], encoded[2048];
        float values[OUT * IN], decoded[OUT * IN];
        assert_true(size <= sizeof packed);
        rtn_codes(w, GRID_MINMAX, &m);
        coded_matrix_pack(&m, packed);
        codec_encode(codec, w, NULL, OUT, IN, encoded);
        assert_memory_equal(packed, encoded, size);
        coded_matrix_values(&m, values);
        codec_decode(codec, packed, OUT, IN, decoded);
        for (int i = 0; i < OUT * IN; i++) assert_true(values[i] == decoded[i]);
        coded_matrix_free(&m);
    }
}

/* ---- AWQ ---- */

static void equal_magnitudes_leave_the_weights_alone(void **state) {
    (void)state;
    make_layer(9, IMAGES);
    for (int k = 0; k < IN; k++) magnitude[k] = 0.37f;
    struct coded_matrix m = matrix(4, true, IN);
    float scale[IN];
    double alpha = NAN;
    CHECK(awq_scales(w, gram, magnitude, &m, scale, &alpha, &err));
    assert_true(alpha == 0);
    for (int k = 0; k < IN; k++) assert_true(scale[k] == 1);
    coded_matrix_free(&m);
}

/* Relative output error on W diag(scale): of round to nearest, or of AWQ's clipped grids. */
static double scaled_error(const float *scale, bool clipped, struct coded_matrix *m) {
    float scaled[OUT * IN], w_hat[OUT * IN];
    double moment[IN * IN];
    for (int i = 0; i < OUT * IN; i++) scaled[i] = w[i] * scale[i % IN];
    for (int i = 0; i < IN * IN; i++) moment[i] = gram[i] / ((double)scale[i / IN] * (double)scale[i % IN]);
    if (clipped) CHECK(awq_codes(scaled, moment, m, &err));
    else rtn_codes(scaled, GRID_MINMAX, m);
    coded_matrix_values(m, w_hat);
    for (int i = 0; i < OUT * IN; i++) w_hat[i] /= scale[i % IN];
    return output_error(w, w_hat, OUT, IN, gram);
}

static void scales_are_never_worse_than_none(void **state) {
    (void)state;
    int gained = 0;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        make_layer(seed, IMAGES);
        for (int t = 0; t < KINDS; t++) {
            const struct kind *kind = &kinds[t];
            struct coded_matrix m = matrix(kind->bits, kind->symmetric, kind->block);
            float scale[IN], lowest = INFINITY, highest = 0;
            double alpha = NAN;
            rtn_codes(w, GRID_MINMAX, &m);
            double rtn = error_of(&m);
            CHECK(awq_scales(w, gram, magnitude, &m, scale, &alpha, &err));
            assert_true(alpha >= 0 && alpha < 1);
            for (int k = 0; k < IN; k++) {
                if (k == 4 || k == 29) {
                    assert_true(scale[k] == 1); /* dead */
                    continue;
                }
                /* magnitude^alpha, but for a factor that all have */
                double expected = pow((double)(magnitude[k] / magnitude[0]), alpha);
                assert_true(fabs((double)(scale[k] / scale[0]) / expected - 1) <= 1e-5);
                lowest = fminf(lowest, scale[k]);
                highest = fmaxf(highest, scale[k]);
            }
            assert_true(fabs((double)(lowest * highest) - 1) <= 1e-5);
            double scaled = scaled_error(scale, false, &m), awq = scaled_error(scale, true, &m);
            if (!(scaled > 0 && scaled <= rtn)) fail_msg("seed %d, kind %d: %g, without %g", (int)seed, t, scaled, rtn);
            if (kind->block == IN && !(awq > 0 && awq <= scaled * (1 + 1e-9)))
                fail_msg("seed %d, kind %d: clipped %g, not %g", (int)seed, t, awq, scaled);
            gained += scaled < 0.95 * rtn && awq < 0.95 * scaled;
            coded_matrix_free(&m);
        }
    }
    assert_true(gained > 10);
}

static void a_few_large_inputs_are_what_it_is_for(void **state) {
    (void)state;
    make_layer(10, IMAGES);
    for (int i = 0; i < IMAGES; i++) /* others on their own, not correlated: nothing else can help them */
        for (int k = 0; k < IN; k += 10) x[i * IN + k] *= 20;
    second_moment(IMAGES);
    for (int t = 1; t < KINDS; t++) {
        struct coded_matrix m = matrix(kinds[t].bits, kinds[t].symmetric, kinds[t].block);
        float scale[IN];
        double alpha = NAN;
        rtn_codes(w, GRID_MINMAX, &m);
        double rtn = error_of(&m);
        CHECK(awq_scales(w, gram, magnitude, &m, scale, &alpha, &err));
        double awq = scaled_error(scale, true, &m);
        if (!(alpha > 0 && awq < 0.6 * rtn))
            fail_msg("%d bits, block %d: alpha %g, %g, without %g", kinds[t].bits, kinds[t].block, alpha, awq, rtn);
        coded_matrix_free(&m);
    }
}

/* What a block adds to the outputs, image by image, less what its codes on a grid add: the sum of squares. */
static double block_error(const float *block, int first, int n, struct qparams g) {
    double sum = 0;
    for (int i = 0; i < IMAGES; i++) {
        double lost = 0;
        for (int k = 0; k < n; k++)
            lost += (double)x[i * IN + first + k] * ((double)block[k] - (double)fake_quantize(block[k], g));
        sum += lost * lost;
    }
    return sum;
}

/* Lin et al. 2023 and llm-awq: of the weights clipped to 1, 0.95, ... 0.55 of the largest, those that leave the least
 * error of the outputs, not of the weights. */
static void blocks_are_clipped_by_output_error(void **state) {
    (void)state;
    int clipped = 0, other_than_by_weight = 0;
    for (int t = 0; t < KINDS; t++) {
        make_layer(12, IMAGES);
        struct coded_matrix m = matrix(kinds[t].bits, kinds[t].symmetric, kinds[t].block);
        CHECK(awq_codes(w, gram, &m, &err));
        for (int b = 0; b < OUT * m.blocks; b++) {
            int first = b % m.blocks * m.block, n = IN - first < m.block ? IN - first : m.block;
            const float *block = w + b / m.blocks * IN + first;
            struct qparams widest = grid_of(block, n, m.bits, m.symmetric), best = widest, by_weight;
            for (int step = 1; step < 10; step++) {
                struct qparams g = widest;
                g.scale = scale_in_half(widest.scale * (1 - 0.05f * (float)step));
                if (block_error(block, first, n, g) < block_error(block, first, n, best)) best = g;
            }
            by_weight = grid_by_rule(block, n, m.bits, m.symmetric, GRID_MSE);
            assert_true(m.grids[b].scale == best.scale && m.grids[b].zero_point == best.zero_point);
            for (int k = 0; k < n; k++)
                assert_int_equal(m.codes[b / m.blocks * IN + first + k], quantize(block[k], best));
            clipped += best.scale < widest.scale;
            other_than_by_weight += fabsf(by_weight.scale / best.scale - 1) > 0.05f;
        }
        coded_matrix_free(&m);
    }
    assert_true(clipped > 100 && other_than_by_weight > 100);
}

/* Nothing to measure by, 0 / 0: no scale is better than none. */
static void scales_where_there_is_nothing_to_gain(void **state) {
    (void)state;
    for (int t = 0; t < 2; t++) {
        make_layer(11, IMAGES);
        if (t == 0) {
            memset(gram, 0, sizeof gram);
            memset(magnitude, 0, sizeof magnitude);
        } else {
            memset(w, 0, sizeof w);
        }
        struct coded_matrix m = matrix(4, true, IN);
        float scale[IN];
        double alpha = NAN;
        for (int k = 0; k < IN; k++) scale[k] = NAN;
        CHECK(awq_scales(w, gram, magnitude, &m, scale, &alpha, &err));
        assert_true(alpha == 0);
        for (int k = 0; k < IN; k++) assert_true(scale[k] == 1);
        coded_matrix_free(&m);
    }
}

int main(void) {
    omp_set_num_threads(1); /* small matrices: on a busy machine threads would only wait for each other */
    gemm_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_factor_of_an_inverse),
        cmocka_unit_test(the_factor_worked_by_hand),
        cmocka_unit_test(an_indefinite_matrix_is_refused),
        cmocka_unit_test(codes_are_those_of_numpy),
        cmocka_unit_test(dead_inputs_are_rounded_to_nearest),
        cmocka_unit_test(inputs_that_know_nothing_of_each_other),
        cmocka_unit_test(it_lowers_the_output_error),
        cmocka_unit_test(threads_do_not_change_it),
        cmocka_unit_test(too_few_images_rest_on_the_damping),
        cmocka_unit_test(without_damping_a_singular_hessian_is_an_error),
        cmocka_unit_test(images_that_are_all_black),
        cmocka_unit_test(rows_of_zeros),
        cmocka_unit_test(a_layer_of_one_input),
        cmocka_unit_test(the_output_error_image_by_image),
        cmocka_unit_test(the_output_error_of_wide_layers),
        cmocka_unit_test(the_least_squares_grid_is_never_worse),
        cmocka_unit_test(packing_is_that_of_the_formats),
        cmocka_unit_test(equal_magnitudes_leave_the_weights_alone),
        cmocka_unit_test(scales_are_never_worse_than_none),
        cmocka_unit_test(a_few_large_inputs_are_what_it_is_for),
        cmocka_unit_test(blocks_are_clipped_by_output_error),
        cmocka_unit_test(scales_where_there_is_nothing_to_gain),
    };
    return cmocka_run_group_tests_name("gptq", tests, NULL, NULL);
}
