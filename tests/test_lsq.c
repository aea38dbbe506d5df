/* Learned step sizes: a step worked by hand, and training whose integer network learns. */
#include "nn/gemm.h"
#include "lowbit/lsq.h"
#include "lowbit/qat.h"
#include "model/evaluation.h"

#include "small_network.h"

#include <math.h>
#include <omp.h>

static void a_step_worked_by_hand(void **state) {
    (void)state;
    static const struct mlp_shape one = {1, {4, 2}};
    static const float weights[] = {0.3f, -0.7f, 5, -9, 0, 0, 0, 0};
    struct mlp mlp, gradient;
    struct coded_matrix codes;
    struct lsq lsq;
    CHECK(mlp_create(&one, &mlp, &err));
    CHECK(mlp_create(&one, &gradient, &err));
    CHECK(coded_matrix_create(2, 4, 2, true, 4, &codes, &err));
    memcpy(mlp.layer[0].weight, weights, sizeof weights);
    CHECK(lsq_create(&mlp, 2, &lsq, &err));
    assert_true(fabs((double)lsq.first[0] - 2 * 15.0 / 4) <= 1e-6); /* 2 mean |w| / sqrt(1) */
    assert_true(lsq.first[1] == 1);                                 /* a row of zeros has some step */
    lsq.first[0] = 2;
    lsq.ratio[0] = 0.5f; /* a step of 1: codes from -2 to 1 */
    lsq_grids(&lsq, &codes, 1);
    assert_true(codes.grids[0].scale == 1 && codes.grids[0].qmin == -2 && codes.grids[0].qmax == 1);
    for (int i = 0; i < 8; i++) gradient.layer[0].weight[i] = (float)(i + 1);
    lsq_step(&lsq, &mlp, &codes, 0.01f, &gradient);
    /* -0.3 * 1 + (-1 + 0.7) * 2 + 1 * 3 - 2 * 4 = -5.9, times 1 / sqrt(4 * 1), by the ratio times 2 */
    assert_true(fabs((double)lsq.gradient[0] + 5.9) <= 1e-5);
    assert_true(fabs((double)lsq.ratio[0] - 0.51) <= 1e-5); /* Adam's first step has the size of its rate */
    assert_true(gradient.layer[0].weight[0] == 1 && gradient.layer[0].weight[1] == 2);
    assert_true(gradient.layer[0].weight[2] == 0 && gradient.layer[0].weight[3] == 0); /* beyond the ends */
    lsq_free(&lsq);
    coded_matrix_free(&codes);
    mlp_free(&gradient);
    mlp_free(&mlp);
}

/* Training with learned steps lowers the error of the integer network that comes of it. */
static void steps_are_learned(void **state) {
    (void)state;
    struct mlp mlp;
    struct lsq lsq;
    uint8_t labels[IMAGES];
    size_t wrong[2] = {0}, saturated;
    make_network(7, &mlp);
    for (int i = 0; i < IMAGES; i++) labels[i] = images[i * INPUTS] / 52;
    struct train_data data = {.images = images, .labels = labels, .count = IMAGES, .inputs = INPUTS};
    struct qat_config config = {.weight_bits = 2, .train = {.epochs = 30, .batch = 20, .rate = 0.02f, .seed = 1}};
    struct range ranges[4] = {{0, 1}, {0, 3}, {0, 3}, {-3, 3}};
    struct train_report report;
    CHECK(lsq_create(&mlp, 2, &lsq, &err));
    config.steps = &lsq;
    for (int after = 0; after < 2; after++) {
        struct qmlp q;
        struct model model = {.kind = MODEL_INT8, .shape = shape};
        struct split split = {.images = images, .labels = labels, .count = IMAGES};
        struct evaluation e;
        if (after) CHECK(qat_train(&mlp, &data, &config, ranges, &report, &err));
        CHECK(lsq_convert(&mlp, &lsq, 2, ranges, &q, &saturated, &err));
        for (int c = 0; c < 16; c++) {
            struct qparams g = {lsq.first[c] * lsq.ratio[c], 0, -2, 1};
            assert_true(q.weight_scale[0][c] == g.scale);
            for (int k = 0; k < INPUTS; k++)
                assert_int_equal(q.layer[0].weight[c * INPUTS + k], quantize(mlp.layer[0].weight[c * INPUTS + k], g));
        }
        model.qmlp = q;
        CHECK(evaluate(&model, &split, false, &e, &err));
        wrong[after] = IMAGES - e.correct;
        evaluation_free(&e);
        qmlp_free(&q);
    }
    int moved = 0;
    for (size_t i = 0; i < lsq.rows; i++) moved += fabsf(lsq.ratio[i] - 1) > 0.01f;
    if (!(moved > 20 && wrong[1] < wrong[0] / 4))
        fail_msg("%d steps moved, wrong %zu before and %zu after", moved, wrong[0], wrong[1]);
    lsq_free(&lsq);
    mlp_free(&mlp);
}

int main(void) {
    omp_set_num_threads(1); /* small matrices: on a busy machine threads would only wait for each other */
    gemm_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_worked_by_hand),
        cmocka_unit_test(steps_are_learned),
    };
    return cmocka_run_group_tests_name("lsq", tests, NULL, NULL);
}
