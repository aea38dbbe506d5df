/* Methods beside GPTQ and AWQ: bias correction against its definition, AdaRound and
 * budgets of bits against every choice there is, HQQ against NumPy (tests/golden/make_hqq.py). */
#include "golden/golden.h"
#include "nn/gemm.h"
#include "lowbit/adaround.h"
#include "lowbit/bias_correction.h"
#include "lowbit/half.h"
#include "lowbit/mixed.h"
#include "lowbit/weight_only.h"

#include "small_network.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>

/* ---- bias correction -------------------------------------------------------------------------------------------- */

static void a_bias_worked_by_hand(void **state) {
    (void)state;
    static const float w[] = {1, 2, -1, 0.5f}, w_hat[] = {1.5f, 2, -1, 0}, x[] = {0, 2, 4, 2};
    double mean_x[2], mean_x_hat[] = {1, 2};
    float bias[] = {10, 20};
    mean_inputs(x, 2, 2, mean_x);
    assert_true(mean_x[0] == 2 && mean_x[1] == 2);
    correct_bias(w, w_hat, mean_x, mean_x_hat, 2, 2, bias);
    assert_true(bias[0] == 10 + (2 + 4) - (1.5f + 4)); /* by W x and by W_hat x_hat */
    assert_true(bias[1] == 20 + (-2 + 1) - (-1 + 0));
}

/* Mean of each output of layer l over the images, before ReLU: [out]. */
static void mean_outputs(const struct mlp *mlp, int l, double *mean) {
    struct mlp_workspace ws;
    const struct dense *d = &mlp->layer[l];
    CHECK(mlp_workspace_create(&shape, IMAGES, false, &ws, &err));
    mlp_load_images(mlp, images, IMAGES, &ws);
    mlp_forward(mlp, IMAGES, &ws);
    for (int c = 0; c < d->out; c++) {
        mean[c] = (double)d->bias[c];
        for (int i = 0; i < IMAGES; i++)
            for (int k = 0; k < d->in; k++)
                mean[c] += (double)d->weight[c * d->in + k] * (double)ws.activation[l][i * d->in + k] / IMAGES;
    }
    mlp_workspace_free(&ws);
}

/* What the method is for: behind it every neuron of every layer puts out on average what it did in fp32. */
static void means_are_those_of_fp32(void **state) {
    (void)state;
    static const enum method methods[] = {METHOD_RTN, METHOD_RTN_MSE, METHOD_GPTQ, METHOD_ADAROUND};
    struct mlp mlp;
    make_network(1, &mlp);
    for (int t = 0; t < 2 * 4; t++) {
        struct coding_config config = {.format = format_find("int3"),
                                       .block = CODEC_ROW,
                                       .method = methods[t / 2],
                                       .damping = 0.01,
                                       .correct_bias = t % 2};
        struct weight_only coded;
        struct mlp decoded;
        double largest = 0;
        CHECK(weight_only_encode(&mlp, images, IMAGES, &config, &coded, NULL, &err));
        CHECK(weight_only_decode(&coded, &decoded, &err));
        for (int l = 0; l < shape.layers; l++) {
            double before[16], after[16];
            mean_outputs(&mlp, l, before);
            mean_outputs(&decoded, l, after);
            for (int c = 0; c < shape.widths[l + 1]; c++) largest = fmax(largest, fabs(before[c] - after[c]));
        }
        if (!(config.correct_bias ? largest <= 1e-5 : largest > 0.01))
            fail_msg("%s: means differ by %g", method_names[config.method], largest);
        weight_only_free(&coded);
        mlp_free(&decoded);
    }
    mlp_free(&mlp);
}

/* ---- AdaRound --------------------------------------------------------------------------------------------------- */

enum { FEW = 8, OUT = 6, SEEN = 60 };
static float w[OUT * FEW], bias[OUT], x[SEEN * FEW], x_hat[SEEN * FEW];

static void make_layer(uint64_t seed) {
    struct rng rng = rng_seeded(seed);
    for (int i = 0; i < OUT * FEW; i++) w[i] = (float)rng_normal(&rng);
    for (int c = 0; c < OUT; c++) bias[c] = (float)(0.5 * rng_normal(&rng));
    for (int i = 0; i < SEEN; i++) {
        double common = rng_normal(&rng); /* inputs hang together, as those behind a ReLU do */
        for (int k = 0; k < FEW; k++) {
            x[i * FEW + k] = (float)fmax(0, common + 0.5 * rng_normal(&rng));
            x_hat[i * FEW + k] = x[i * FEW + k] > 0 ? x[i * FEW + k] + (float)(0.05 * rng_normal(&rng)) : 0;
        }
    }
}

/* The error of row c, eq. 25 without the term of the choices. */
static double row_error(int c, const float *w_hat, bool relu) {
    double sum = 0;
    for (int i = 0; i < SEEN; i++) {
        double a = (double)bias[c], b = a;
        for (int k = 0; k < FEW; k++) {
            a += (double)w[c * FEW + k] * (double)x[i * FEW + k];
            b += (double)w_hat[k] * (double)x_hat[i * FEW + k];
        }
        if (relu) a = fmax(a, 0), b = fmax(b, 0);
        sum += (a - b) * (a - b);
    }
    return sum;
}

/* The least error of all 2^FEW ways to round row c down or up. */
static double least_error(int c, const struct coded_matrix *m, bool relu) {
    struct qparams g = m->grids[c * m->blocks];
    double least = INFINITY;
    for (int choice = 0; choice < 1 << FEW; choice++) {
        float w_hat[FEW];
        for (int k = 0; k < FEW; k++) {
            int code = (int)floorf(w[c * FEW + k] / g.scale) + g.zero_point + (choice >> k & 1);
            w_hat[k] = dequantize(code < g.qmin ? g.qmin : code > g.qmax ? g.qmax : code, g);
        }
        least = fmin(least, row_error(c, w_hat, relu));
    }
    return least;
}

static void it_finds_nearly_the_best_of_all_choices(void **state) {
    (void)state;
    double best = 0, found = 0, nearest = 0;
    for (int t = 0; t < 24; t++) {
        bool symmetric = t % 2, relu = t / 2 % 2;
        int bits = 2 + t / 4 % 3;
        struct coded_matrix m, rtn;
        float w_hat[OUT * FEW], w_rtn[OUT * FEW];
        make_layer((uint64_t)t);
        struct adaround_layer layer = {w, bias, x, x_hat, SEEN, relu};
        struct adaround_config config = adaround_defaults(GRID_MSE);
        CHECK(coded_matrix_create(OUT, FEW, bits, symmetric, FEW, &m, &err));
        CHECK(coded_matrix_create(OUT, FEW, bits, symmetric, FEW, &rtn, &err));
        CHECK(adaround_codes(&layer, &config, &m, &err));
        rtn_codes(w, GRID_MSE, &rtn);
        coded_matrix_values(&m, w_hat);
        coded_matrix_values(&rtn, w_rtn);
        for (int c = 0; c < OUT; c++) {
            double least = least_error(c, &m, relu), ours = row_error(c, w_hat + c * FEW, relu);
            assert_true(ours >= least * (1 - 1e-5)); /* it is one of those choices */
            best += least;
            found += ours;
            nearest += row_error(c, w_rtn + c * FEW, relu);
        }
        coded_matrix_free(&m);
        coded_matrix_free(&rtn);
    }
    /* what it leaves of the gain that is to be had */
    if (!(best > 0 && found - best <= 0.15 * (nearest - best)))
        fail_msg("best %g, found %g, round to nearest %g", best, found, nearest);
}

/* No input, no error: only the second term is left, and it drives every choice to the nearer code. */
static void without_inputs_it_rounds_to_nearest(void **state) {
    (void)state;
    for (int symmetric = 0; symmetric < 2; symmetric++) {
        struct coded_matrix m, rtn;
        make_layer(1);
        memset(x, 0, sizeof x);
        memset(x_hat, 0, sizeof x_hat);
        struct adaround_layer layer = {w, bias, x, x_hat, SEEN, true};
        struct adaround_config config = adaround_defaults(GRID_MINMAX);
        CHECK(coded_matrix_create(OUT, FEW, 3, symmetric, 5, &m, &err)); /* the last group is short */
        CHECK(coded_matrix_create(OUT, FEW, 3, symmetric, 5, &rtn, &err));
        CHECK(adaround_codes(&layer, &config, &m, &err));
        rtn_codes(w, GRID_MINMAX, &rtn);
        assert_memory_equal(m.codes, rtn.codes, OUT * FEW);
        coded_matrix_free(&m);
        coded_matrix_free(&rtn);
    }
}

static void threads_do_not_change_it(void **state) {
    (void)state;
    struct coded_matrix one, many;
    make_layer(2);
    struct adaround_layer layer = {w, bias, x, x_hat, SEEN, true};
    struct adaround_config config = adaround_defaults(GRID_MSE);
    CHECK(coded_matrix_create(OUT, FEW, 2, false, FEW, &one, &err));
    CHECK(coded_matrix_create(OUT, FEW, 2, false, FEW, &many, &err));
    CHECK(adaround_codes(&layer, &config, &one, &err));
    omp_set_num_threads(3);
    CHECK(adaround_codes(&layer, &config, &many, &err));
    omp_set_num_threads(1);
    assert_memory_equal(one.codes, many.codes, OUT * FEW);
    coded_matrix_free(&one);
    coded_matrix_free(&many);
}

/* ---- HQQ -------------------------------------------------------------------------------------------------------- */

static void hqq_is_that_of_numpy(void **state) {
    (void)state;
    enum { GROUPS = 12, N = 56 };
    static float g_w[GROUPS * N], zero[GROUPS];
    static uint8_t codes[GROUPS * N];
    static const char *const names[] = {"hqq4", "hqq3", "hqq2"};
    int moved = 0;
    struct st_file *file = golden_open("tests/golden/hqq.safetensors");
    golden_copy(file, "w", ST_F32, GROUPS * N, g_w);
    for (int t = 0; t < 3; t++) {
        const struct format *f = format_find(names[t]);
        char name[16];
        snprintf(name, sizeof name, "%d.zero", f->bits);
        golden_copy(file, name, ST_F32, GROUPS, zero);
        snprintf(name, sizeof name, "%d.codes", f->bits);
        golden_copy(file, name, ST_U8, GROUPS * N, codes);
        for (int g = 0; g < GROUPS; g++) {
            const float *row = g_w + g * N;
            uint8_t bytes[64], found[N];
            float lo = row[0], hi = row[0];
            for (int i = 1; i < N; i++) lo = fminf(lo, row[i]), hi = fmaxf(hi, row[i]);
            f->encode(f, row, NULL, N, bytes);
            assert_true(half_read(bytes) == scale_in_half((hi - lo) / (float)((1 << f->bits) - 1)));
            if (half_read(bytes + 2) != zero[g])
                fail_msg("%s, group %d: zero point %.9g, expected %.9g", f->name, g, (double)half_read(bytes + 2),
                         (double)zero[g]);
            unpack_bits(bytes + 4, N, f->bits, found);
            assert_memory_equal(found, codes + g * N, N);
            moved += fabsf(zero[g] + lo / half_read(bytes)) > 0.05f;
        }
    }
    assert_true(moved > GROUPS); /* of 36: from where an asymmetric grid has it */
    golden_close(file);
}

/* ---- mixed precision -------------------------------------------------------------------------------------------- */

enum { LAYERS = 4, FORMATS = 5 };

static void a_budget_buys_the_best_of_all_choices(void **state) {
    (void)state;
    double bits[LAYERS * FORMATS], noise[LAYERS * FORMATS];
    struct rng rng = rng_seeded(3);
    int within = 0;
    for (int l = 0; l < LAYERS; l++)
        for (int f = 0; f < FORMATS; f++) { /* more bits mostly mean less noise; layers of one size give ties */
            bits[l * FORMATS + f] = (f + 2) * (l < 2 ? 100 : 37 * l);
            noise[l * FORMATS + f] = rng_uniform(&rng) * exp2(-f) * (l + 1);
        }
    size_t count;
    struct mixed_point *front = mixed_front(LAYERS, FORMATS, bits, noise, &count, &err);
    assert_non_null(front);
    for (size_t i = 1; i < count; i++)
        assert_true(front[i].bits > front[i - 1].bits && front[i].noise < front[i - 1].noise);
    for (double budget = 500; budget < 3000; budget += 7) {
        double least = INFINITY;
        for (int all = 0; all < 625; all++) {
            double b = 0, n = 0;
            for (int l = 0, rest = all; l < LAYERS; l++, rest /= FORMATS) {
                b += bits[l * FORMATS + rest % FORMATS];
                n += noise[l * FORMATS + rest % FORMATS];
            }
            if (b <= budget) least = fmin(least, n);
        }
        const struct mixed_point *p = mixed_within(front, count, budget);
        assert_true((p != NULL) == (least < INFINITY));
        if (!p) continue;
        double b = 0, n = 0;
        for (int l = 0; l < LAYERS; l++) b += bits[l * FORMATS + p->choice[l]], n += noise[l * FORMATS + p->choice[l]];
        assert_true(fabs(b - p->bits) <= 1e-9 && fabs(n - p->noise) <= 1e-9 && b <= budget);
        if (!(fabs(n - least) <= 1e-9)) fail_msg("%g bits: noise %g, the least is %g", budget, n, least);
        within++;
    }
    assert_true(within > 100);
    free(front);
}

/* Against the encoder: a network with one layer in a format and the others in f32, read back and run. */
static void noise_is_what_the_logits_change_by(void **state) {
    (void)state;
    static const char *const names[] = {"int2", "int5", "q4_0"};
    struct codec codecs[3];
    double noise[3 * 3];
    struct mlp mlp;
    struct mlp_workspace ws[2];
    make_network(2, &mlp);
    for (int f = 0; f < 3; f++) codecs[f] = (struct codec){format_find(names[f]), CODEC_ROW};
    CHECK(mixed_noise(&mlp, images, IMAGES, codecs, 3, noise, &err));
    for (int i = 0; i < 2; i++) CHECK(mlp_workspace_create(&shape, IMAGES, false, &ws[i], &err));
    mlp_load_images(&mlp, images, IMAGES, &ws[0]);
    mlp_forward(&mlp, IMAGES, &ws[0]);
    for (int t = 0; t < 3 * 3; t++) {
        const struct format *formats[3];
        struct weight_only coded;
        struct mlp decoded;
        double sum = 0;
        for (int l = 0; l < 3; l++) formats[l] = l == t / 3 ? codecs[t % 3].format : format_find("f32");
        struct coding_config config = {.format = formats[0], .block = CODEC_ROW, .mixed = formats};
        CHECK(weight_only_encode(&mlp, images, IMAGES, &config, &coded, NULL, &err));
        CHECK(weight_only_decode(&coded, &decoded, &err));
        for (int l = 0; l < 3; l++) assert_ptr_equal(coded.layer[l].codec.format, formats[l]);
        mlp_load_images(&decoded, images, IMAGES, &ws[1]);
        mlp_forward(&decoded, IMAGES, &ws[1]);
        for (int i = 0; i < IMAGES * shape.widths[3]; i++)
            sum += pow((double)ws[0].activation[3][i] - (double)ws[1].activation[3][i], 2);
        if (!(sum > 0 && fabs(sum / IMAGES - noise[t]) <= 1e-5 * noise[t]))
            fail_msg("fc%d, %s: %g, expected %g", t / 3 + 1, names[t % 3], noise[t], sum / IMAGES);
        weight_only_free(&coded);
        mlp_free(&decoded);
    }
    for (int i = 0; i < 2; i++) mlp_workspace_free(&ws[i]);
    mlp_free(&mlp);
}

int main(void) {
    omp_set_num_threads(1); /* small matrices: on a busy machine threads would only wait for each other */
    gemm_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bias_worked_by_hand),
        cmocka_unit_test(means_are_those_of_fp32),
        cmocka_unit_test(it_finds_nearly_the_best_of_all_choices),
        cmocka_unit_test(without_inputs_it_rounds_to_nearest),
        cmocka_unit_test(hqq_is_that_of_numpy),
        cmocka_unit_test(a_budget_buys_the_best_of_all_choices),
        cmocka_unit_test(noise_is_what_the_logits_change_by),
        cmocka_unit_test(threads_do_not_change_it),
    };
    return cmocka_run_group_tests_name("methods", tests, NULL, NULL);
}
