/* Activations quantized at run time, against the same worked out in plain loops: one range a batch (dynamic),
 * one scale an image with outlier columns apart in fp16 (LLM.int8()). */
#include "base/rng.h"
#include "lowbit/half.h"
#include "lowbit/dynamic.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INPUTS = 37, CLASSES = 10, IMAGES = 70, WIDEST = 41 };

static const struct mlp_shape shape = {3, {INPUTS, 41, 24, CLASSES}};
static uint8_t images[IMAGES * INPUTS];
static struct error err;

#define CHECK(call)                                                                                                    \
    do {                                                                                                               \
        if (!(call)) fail_msg("%s: %s", #call, err.text);                                                              \
    } while (0)

/* Every ninth hidden neuron is loud: an outlier column of the layer behind. Pixels 5 and 6 are dead, images
 * differ in brightness. */
static void make_network(uint64_t seed, struct mlp *mlp) {
    struct rng rng = rng_seeded(seed);
    CHECK(mlp_create(&shape, mlp, &err));
    mlp_initialise(mlp, &rng);
    for (int l = 0; l < shape.layers; l++)
        for (int c = 0; c < mlp->layer[l].out; c++) {
            mlp->layer[l].bias[c] = (float)(0.2 * rng_normal(&rng));
            for (int k = 0; l + 1 < shape.layers && c % 9 == 2 && k < mlp->layer[l].in; k++)
                mlp->layer[l].weight[c * mlp->layer[l].in + k] *= 15;
        }
    for (int i = 0; i < IMAGES; i++)
        for (int k = 0; k < INPUTS; k++)
            images[i * INPUTS + k] = k == 5 || k == 6 ? 0 : (uint8_t)(rng_below(&rng, 256) >> i % 4);
}

/* The logits of the fp32 network, and what feeds each layer: activation[l] [IMAGES][in]. */
static void fp32(const struct mlp *mlp, struct mlp_workspace *ws) {
    CHECK(mlp_workspace_create(&shape, IMAGES, false, ws, &err));
    mlp_load_images(mlp, images, IMAGES, ws);
    mlp_forward(mlp, IMAGES, ws);
}

static void converted(const struct mlp *mlp, bool vector_wise, float threshold, struct dynamic_mlp *q,
                      struct dynamic_mlp_workspace *ws) {
    CHECK(dynamic_convert(mlp, vector_wise, threshold, images, IMAGES, q, &err));
    CHECK(dynamic_workspace_create(&shape, IMAGES, ws, &err));
}

static int code(float x, float scale, int zero_point, int lowest, int highest) {
    double q = rint((double)(x / scale)) + zero_point;
    return q < lowest ? lowest : q > highest ? highest : (int)q;
}

static bool is_outlier(const struct dynamic_mlp_layer *d, int k) {
    for (int j = 0; j < d->outliers; j++)
        if (d->outlier_columns[j] == k) return true;
    return false;
}

/* count images from first on, from the fp32 network: nothing but its weights and the outlier columns. */
static void plain_forward(const struct mlp *mlp, const struct dynamic_mlp *q, int first, int count, float *logits) {
    static float x[IMAGES * WIDEST], y[IMAGES * WIDEST];
    for (int i = 0; i < count * INPUTS; i++) x[i] = (float)images[first * INPUTS + i] / 255.0f;
    for (int l = 0; l < shape.layers; l++) {
        const struct dense *d = &mlp->layer[l];
        float lo = 0, hi = 0;
        for (int i = 0; i < count * d->in; i++) {
            lo = fminf(lo, x[i]);
            hi = fmaxf(hi, x[i]);
        }
        for (int i = 0; i < count; i++) {
            float s_x = (float)(((double)hi - (double)lo) / 255), absmax = 0;
            int zero = (int)rint(-(double)lo / (double)s_x), lowest = 0, highest = 255;
            for (int k = 0; k < d->in; k++)
                if (!is_outlier(&q->layer[l], k)) absmax = fmaxf(absmax, fabsf(x[i * d->in + k]));
            if (q->vector_wise) {
                s_x = absmax > 0 ? absmax / 127 : 1;
                zero = 0, lowest = -127, highest = 127;
            }
            for (int c = 0; c < d->out; c++) {
                const float *w = d->weight + c * d->in;
                float largest = 0, apart = 0;
                long sum = 0;
                for (int k = 0; k < d->in; k++)
                    if (!is_outlier(&q->layer[l], k)) largest = fmaxf(largest, fabsf(w[k]));
                float s_w = largest > 0 ? largest / 127 : 1;
                for (int k = 0; k < d->in; k++) {
                    float xk = x[i * d->in + k];
                    if (is_outlier(&q->layer[l], k)) apart += xk * float_from_half(half_from_float(w[k]));
                    else sum += (long)(code(xk, s_x, zero, lowest, highest) - zero) * code(w[k], s_w, 0, -127, 127);
                }
                float value = s_x * s_w * (float)sum + d->bias[c] + apart;
                y[i * d->out + c] = l + 1 < shape.layers && value < 0 ? 0 : value;
            }
        }
        memcpy(x, y, sizeof x);
    }
    memcpy(logits, x, (size_t)(count * CLASSES) * sizeof *logits);
}

static void assert_logits(const float *found, const float *expected, int count, double tolerance) {
    double largest = 0;
    for (int i = 0; i < count * CLASSES; i++) largest = fmax(largest, fabs((double)expected[i]));
    assert_true(largest > 0.1);
    for (int i = 0; i < count * CLASSES; i++)
        if (!(fabs((double)found[i] - (double)expected[i]) <= tolerance * largest))
            fail_msg("logit %d of image %d: %.7g, expected %.7g", i % CLASSES, i / CLASSES, (double)found[i],
                     (double)expected[i]);
}

/* mean |difference| of two arrays of logits, in shares of the mean size of the second */
static double mean_difference(const float *a, const float *b) {
    double difference = 0, size = 0;
    for (int i = 0; i < IMAGES * CLASSES; i++) {
        difference += fabs((double)a[i] - (double)b[i]);
        size += fabs((double)b[i]);
    }
    assert_true(size > 0);
    return difference / size;
}

/* ---- conversion ---- */

static void weights_are_eq_4_a_row(void **state) {
    (void)state;
    static const float thresholds[] = {1e9f, 2, 0.5f, 0.0001f};
    for (int t = 0; t < 5; t++) {
        struct mlp mlp;
        struct dynamic_mlp q;
        int total = 0;
        make_network(1, &mlp);
        CHECK(dynamic_convert(&mlp, t < 4, t < 4 ? thresholds[t] : 0, images, IMAGES, &q, &err));
        for (int l = 0; l < shape.layers; l++) {
            const struct dense *d = &mlp.layer[l];
            struct dynamic_mlp_layer *layer = &q.layer[l];
            total += layer->outliers;
            for (int j = 1; j < layer->outliers; j++)
                assert_true(layer->outlier_columns[j] > layer->outlier_columns[j - 1]);
            for (int c = 0; c < d->out; c++) {
                float largest = 0;
                for (int k = 0; k < d->in; k++)
                    if (!is_outlier(layer, k)) largest = fmaxf(largest, fabsf(d->weight[c * d->in + k]));
                if (largest > 0) assert_true(layer->weight_scale[c] == largest / 127);
                assert_true(layer->bias[c] == d->bias[c]);
                for (int k = 0, j = 0; k < d->in; k++) {
                    float w = d->weight[c * d->in + k];
                    int expected = is_outlier(layer, k) ? 0 : code(w, layer->weight_scale[c], 0, -127, 127);
                    assert_int_equal(layer->weight[c * d->in + k], expected);
                    if (is_outlier(layer, k))
                        assert_int_equal(layer->outlier_weight[c * layer->outliers + j++], half_from_float(w));
                }
            }
        }
        if (t == 0 || t == 4) assert_int_equal(total, 0);
        if (t > 0 && t < 4) assert_true(total > 0);
        dynamic_free(&q);
        mlp_free(&mlp);
    }
}

static void outliers_are_the_columns_that_reach_the_threshold(void **state) {
    (void)state;
    static const float thresholds[] = {0.0001f, 0.3f, 1, 3, 10, 1e9f};
    struct mlp mlp;
    struct mlp_workspace ws;
    int before = INT32_MAX;
    make_network(2, &mlp);
    fp32(&mlp, &ws);
    for (int t = 0; t < 6; t++) {
        struct dynamic_mlp q;
        int total = 0;
        CHECK(dynamic_convert(&mlp, true, thresholds[t], images, IMAGES, &q, &err));
        for (int l = 0; l < shape.layers; l++)
            for (int k = 0; k < shape.widths[l]; k++) {
                bool reaches = false;
                for (int i = 0; i < IMAGES; i++)
                    reaches = reaches || fabsf(ws.activation[l][i * shape.widths[l] + k]) >= thresholds[t];
                assert_int_equal(is_outlier(&q.layer[l], k), reaches);
                total += reaches;
            }
        assert_true(total < before || total == 0);
        if (t == 2) assert_true(total > 10); /* 1: white pixels reach it too */
        before = total;
        dynamic_free(&q);
    }
    assert_int_equal(before, 0);
    mlp_workspace_free(&ws);
    mlp_free(&mlp);
}

static void a_weight_that_is_no_number(void **state) {
    (void)state;
    static const float wrong[] = {NAN, INFINITY, -INFINITY};
    for (int t = 0; t < 12; t++) {
        struct mlp mlp;
        struct dynamic_mlp q;
        make_network(3, &mlp);
        *(t / 6 ? &mlp.layer[1].bias[3] : &mlp.layer[1].weight[30]) = wrong[t % 3];
        assert_false(dynamic_convert(&mlp, t / 3 % 2, 6, images, IMAGES, &q, &err));
        assert_non_null(strstr(err.text, "not a finite number"));
        mlp_free(&mlp);
    }
}

/* ---- running ---- */

static void logits_are_those_of_plain_loops(void **state) {
    (void)state;
    static const int batches[] = {1, 2, 7, 64, IMAGES};
    static const float thresholds[] = {0, 1e9f, 3, 0.5f}; /* 0: dynamic */
    static float expected[IMAGES * CLASSES];
    for (int t = 0; t < 4 * 5; t++) {
        struct mlp mlp;
        struct dynamic_mlp q;
        struct dynamic_mlp_workspace ws;
        int count = batches[t % 5];
        make_network(4, &mlp);
        converted(&mlp, thresholds[t / 5] > 0, thresholds[t / 5], &q, &ws);
        for (int first = 0; first + count <= IMAGES; first += count) {
            plain_forward(&mlp, &q, first, count, expected);
            assert_logits(dynamic_forward(&q, images + first * INPUTS, count, &ws), expected, count, 1e-5);
        }
        dynamic_workspace_free(&ws);
        dynamic_free(&q);
        mlp_free(&mlp);
    }
}

/* Integers are exact: a kernel that gives sums and plain loops end in the same logits, bit for bit. */
static void kernels_give_the_logits_of_plain_loops(void **state) {
    (void)state;
    for (int vector_wise = 0; vector_wise < 2; vector_wise++) {
        struct mlp mlp;
        struct dynamic_mlp q;
        struct dynamic_mlp_workspace ws;
        float plain[IMAGES * CLASSES];
        make_network(4, &mlp);
        qkernel_force(qkernel_find("portable"));
        converted(&mlp, vector_wise, 3, &q, &ws);
        assert_null(q.kernel);
        memcpy(plain, dynamic_forward(&q, images, IMAGES, &ws), sizeof plain);
        dynamic_free(&q);
        dynamic_workspace_free(&ws);
        for (int k = 0; qkernels[k]; k++) {
            if (!qkernels[k]->supported()) continue;
            qkernel_force(qkernels[k]);
            converted(&mlp, vector_wise, 3, &q, &ws);
            assert_memory_equal(dynamic_forward(&q, images, IMAGES, &ws), plain, sizeof plain);
            dynamic_free(&q);
            dynamic_workspace_free(&ws);
        }
        qkernel_force(NULL);
        mlp_free(&mlp);
    }
}

static void the_batch_matters_to_dynamic_and_not_to_vector_wise(void **state) {
    (void)state;
    for (int vector_wise = 0; vector_wise < 2; vector_wise++) {
        struct mlp mlp;
        struct dynamic_mlp q;
        struct dynamic_mlp_workspace ws;
        float together[IMAGES * CLASSES];
        int changed = 0;
        make_network(5, &mlp);
        converted(&mlp, vector_wise, 6, &q, &ws);
        memcpy(together, dynamic_forward(&q, images, IMAGES, &ws), sizeof together);
        for (int i = 0; i < IMAGES; i++) {
            const float *alone = dynamic_forward(&q, images + i * INPUTS, 1, &ws);
            changed += memcmp(alone, together + i * CLASSES, CLASSES * sizeof *alone) != 0;
        }
        if (vector_wise) assert_int_equal(changed, 0);
        else assert_true(changed > IMAGES / 2);
        dynamic_workspace_free(&ws);
        dynamic_free(&q);
        mlp_free(&mlp);
    }
}

/* Nothing but dead columns is left for int8: the network is that of fp16 weights. */
static void everything_an_outlier(void **state) {
    (void)state;
    struct mlp mlp, halves;
    struct mlp_workspace ws;
    struct dynamic_mlp q;
    struct dynamic_mlp_workspace q_ws;
    make_network(6, &mlp);
    make_network(6, &halves);
    converted(&mlp, true, 0.0001f, &q, &q_ws);
    assert_int_equal(q.layer[0].outliers, INPUTS - 2);
    int changed = 0;
    for (int l = 0; l < shape.layers; l++)
        for (int i = 0; i < mlp.layer[l].in * mlp.layer[l].out; i++) {
            halves.layer[l].weight[i] = float_from_half(half_from_float(mlp.layer[l].weight[i]));
            changed += halves.layer[l].weight[i] != mlp.layer[l].weight[i];
        }
    assert_true(changed > 1000);
    fp32(&halves, &ws);
    assert_logits(dynamic_forward(&q, images, IMAGES, &q_ws), ws.activation[shape.layers], IMAGES, 2e-6);
    mlp_workspace_free(&ws);
    dynamic_workspace_free(&q_ws);
    dynamic_free(&q);
    mlp_free(&halves);
    mlp_free(&mlp);
}

static void logits_are_near_fp32_and_nearer_with_outliers_apart(void **state) {
    (void)state;
    for (uint64_t seed = 7; seed < 12; seed++) {
        static const float thresholds[] = {0, 1e9f, 3};
        struct mlp mlp;
        struct mlp_workspace ws;
        double difference[3];
        make_network(seed, &mlp);
        fp32(&mlp, &ws);
        for (int t = 0; t < 3; t++) {
            struct dynamic_mlp q;
            struct dynamic_mlp_workspace q_ws;
            converted(&mlp, t > 0, thresholds[t], &q, &q_ws);
            difference[t] = mean_difference(dynamic_forward(&q, images, IMAGES, &q_ws), ws.activation[shape.layers]);
            dynamic_workspace_free(&q_ws);
            dynamic_free(&q);
        }
        if (!(difference[0] > 0 && difference[0] < 0.05 && difference[1] < 0.03))
            fail_msg("seed %d: %g, %g from fp32", (int)seed, difference[0], difference[1]);
        if (!(difference[2] < 0.7 * difference[1]))
            fail_msg("seed %d: %g with outliers apart, %g without", (int)seed, difference[2], difference[1]);
        mlp_workspace_free(&ws);
        mlp_free(&mlp);
    }
}

/* The output of each layer stays in the workspace: that of a shorter network, with the ReLU that its last layer lacks.
 */
static void every_layer_is_kept(void **state) {
    (void)state;
    for (int vector_wise = 0; vector_wise < 2; vector_wise++) {
        struct mlp mlp;
        struct dynamic_mlp q;
        struct dynamic_mlp_workspace ws, shorter_ws;
        make_network(10, &mlp);
        converted(&mlp, vector_wise, 6, &q, &ws);
        CHECK(dynamic_workspace_create(&shape, IMAGES, &shorter_ws, &err));
        const float *logits = dynamic_forward(&q, images, IMAGES, &ws);
        assert_ptr_equal(logits, ws.activation[shape.layers]);
        for (int l = 1; l < shape.layers; l++) {
            struct dynamic_mlp shorter = q;
            int zeros = 0, n = IMAGES * shape.widths[l];
            shorter.shape.layers = l;
            const float *y = dynamic_forward(&shorter, images, IMAGES, &shorter_ws);
            for (int i = 0; i < n; i++) {
                assert_true(ws.activation[l][i] == (y[i] < 0 ? 0 : y[i]));
                zeros += ws.activation[l][i] == 0;
            }
            assert_true(zeros > 0 && zeros < n);
        }
        dynamic_workspace_free(&ws);
        dynamic_workspace_free(&shorter_ws);
        dynamic_free(&q);
        mlp_free(&mlp);
    }
}

static void zeros_all_over(void **state) {
    (void)state;
    for (int vector_wise = 0; vector_wise < 2; vector_wise++) {
        struct mlp mlp;
        struct dynamic_mlp q;
        struct dynamic_mlp_workspace ws;
        uint8_t predicted[IMAGES];
        make_network(9, &mlp);
        memset(images, 0, sizeof images);
        memset(mlp_parameters(&mlp), 0, mlp_padded_count(&mlp) * sizeof(float));
        converted(&mlp, vector_wise, 6, &q, &ws);
        const float *logits = dynamic_forward(&q, images, IMAGES, &ws);
        for (int i = 0; i < IMAGES * CLASSES; i++) assert_true(logits[i] == 0);
        assert_int_equal(highest_classes(logits, IMAGES, CLASSES, predicted), IMAGES); /* all ties, the lowest class */
        for (int i = 0; i < IMAGES; i++) assert_int_equal(predicted[i], 0);
        dynamic_workspace_free(&ws);
        dynamic_free(&q);
        mlp_free(&mlp);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_eq_4_a_row),
        cmocka_unit_test(outliers_are_the_columns_that_reach_the_threshold),
        cmocka_unit_test(a_weight_that_is_no_number),
        cmocka_unit_test(logits_are_those_of_plain_loops),
        cmocka_unit_test(kernels_give_the_logits_of_plain_loops),
        cmocka_unit_test(the_batch_matters_to_dynamic_and_not_to_vector_wise),
        cmocka_unit_test(everything_an_outlier),
        cmocka_unit_test(logits_are_near_fp32_and_nearer_with_outliers_apart),
        cmocka_unit_test(every_layer_is_kept),
        cmocka_unit_test(zeros_all_over),
    };
    return cmocka_run_group_tests_name("dynamic", tests, NULL, NULL);
}
