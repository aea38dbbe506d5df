/* Networks that compute the same with other weights: equalized, smoothed, rotated; against their definitions. */
#include "nn/gemm.h"
#include "lowbit/equalize.h"
#include "lowbit/hadamard.h"

#include "small_network.h"

#include <math.h>
#include <omp.h>

/* The largest difference between two networks' logits, in shares of the largest logit. */
static double logits_differ(const struct mlp *a, const struct mlp *b) {
    const struct mlp *networks[2] = {a, b};
    const float *logits[2];
    struct mlp_workspace ws[2];
    double widest = 0, largest = 0;
    for (int i = 0; i < 2; i++) {
        CHECK(mlp_workspace_create(&networks[i]->shape, IMAGES, false, &ws[i], &err));
        mlp_load_images(networks[i], images, IMAGES, &ws[i]);
        mlp_forward(networks[i], IMAGES, &ws[i]);
        logits[i] = ws[i].activation[networks[i]->shape.layers];
    }
    for (int i = 0; i < IMAGES * shape.widths[3]; i++) {
        widest = fmax(widest, fabs((double)logits[0][i] - (double)logits[1][i]));
        largest = fmax(largest, fabs((double)logits[0][i]));
    }
    for (int i = 0; i < 2; i++) mlp_workspace_free(&ws[i]);
    assert_true(largest > 0.1);
    return widest / largest;
}

static double range_of(const float *w, int n, int stride) {
    double widest = 0;
    for (int i = 0; i < n; i++) widest = fmax(widest, fabs((double)w[(size_t)i * (size_t)stride]));
    return widest;
}

static void equalized_ranges_are_equal(void **state) {
    (void)state;
    struct mlp mlp, equal;
    make_network(4, &mlp);
    mlp.layer[1].weight[3] *= 50;
    for (int k = 0; k < 16; k++) mlp.layer[0].bias[k] = 0.3f - 0.05f * (float)k;
    memset(mlp.layer[1].weight + 5 * 16, 0, 16 * sizeof(float)); /* neuron 5 of fc2 reads nothing */
    CHECK(mlp_copy(&mlp, &equal, &err));
    equalize(&equal);
    assert_true(logits_differ(&mlp, &equal) <= 1e-5);
    for (int l = 0; l < 2; l++)
        for (int k = 0; k < shape.widths[l + 1]; k++) {
            const struct dense *a = &equal.layer[l], *b = &equal.layer[l + 1];
            double r1 = range_of(a->weight + k * a->in, a->in, 1), r2 = range_of(b->weight + k, b->out, b->in);
            if (l == 1 && k == 5) assert_true(r1 == 0);
            else if (!(fabs(r1 / r2 - 1) <= 0.005)) fail_msg("fc%d, neuron %d: %g and %g", l + 1, k, r1, r2);
        }
    mlp_free(&equal);
    mlp_free(&mlp);
}

static void smoothing_shares_the_range(void **state) {
    (void)state;
    struct mlp mlp, smooth;
    struct mlp_workspace ws;
    make_network(5, &mlp);
    for (int k = 0; k < 20; k++) mlp.layer[0].weight[2 * 20 + k] *= 30; /* neuron 2 is an outlier */
    CHECK(mlp_copy(&mlp, &smooth, &err));
    CHECK(smooth_quant(&smooth, images, IMAGES, 0.5, &err));
    assert_true(logits_differ(&mlp, &smooth) <= 1e-5);
    CHECK(mlp_workspace_create(&shape, IMAGES, false, &ws, &err));
    mlp_load_images(&smooth, images, IMAGES, &ws);
    mlp_forward(&smooth, IMAGES, &ws);
    for (int k = 0; k < 12; k++) { /* fc3's inputs: after alpha 0.5 an input is as wide as its weights */
        double x = range_of(ws.activation[2] + k, IMAGES, 12), w = range_of(smooth.layer[2].weight + k, 5, 12);
        if (x > 0 && !(fabs(x / w - 1) <= 1e-4)) fail_msg("input %d: %g, its weights %g", k, x, w);
    }
    mlp_workspace_free(&ws);
    mlp_free(&smooth);
    mlp_free(&mlp);
}

static void a_rotation_worked_by_hand(void **state) {
    (void)state;
    float x[12] = {1, 2, 3, 4, 0, 0, 8, 0, 1, 1, 1, 1}; /* 12: blocks of 4, entries 1/2 */
    static const float expected[] = {5, -1, -2, 0, 4, 4, -4, -4, 2, 0, 0, 0};
    assert_int_equal(hadamard_block(12), 4);
    assert_int_equal(hadamard_block(256), 256);
    assert_int_equal(hadamard_block(7), 1);
    hadamard_rotate(x, 12);
    for (int i = 0; i < 12; i++) assert_true(x[i] == expected[i]);
    hadamard_rotate(x, 12);
    assert_true(x[0] == 1 && x[3] == 4 && x[6] == 8 && x[11] == 1);
}

static void a_rotated_network_computes_the_same(void **state) {
    (void)state;
    for (int layer = 1; layer < 3; layer++) {
        struct mlp mlp, rotated;
        make_network(6, &mlp);
        mlp.layer[layer].weight[3] = 40;
        CHECK(hadamard_insert(&mlp, layer, &rotated, &err));
        assert_int_equal(rotated.shape.layers, 4);
        assert_int_equal(rotated.shape.widths[layer + 1], 2 * shape.widths[layer]);
        assert_true(logits_differ(&mlp, &rotated) <= 1e-5);
        /* the outlier is spread over its block of 16, or of 4 */
        int n = rotated.shape.widths[layer + 1];
        double widest = range_of(rotated.layer[layer + 1].weight, n * rotated.shape.widths[layer + 2], 1);
        assert_true(widest < (layer == 1 ? 40 / 4 + 3 : 40 / 2 + 3));
        mlp_free(&rotated);
        mlp_free(&mlp);
    }
}

int main(void) {
    omp_set_num_threads(1); /* small matrices: on a busy machine threads would only wait for each other */
    gemm_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equalized_ranges_are_equal),
        cmocka_unit_test(smoothing_shares_the_range),
        cmocka_unit_test(a_rotation_worked_by_hand),
        cmocka_unit_test(a_rotated_network_computes_the_same),
    };
    return cmocka_run_group_tests_name("rewrites", tests, NULL, NULL);
}
