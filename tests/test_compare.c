/* What `mnistq compare` rests on: McNemar's test, similarity, and the steps from fp32 to the integer engine. */
#include "base/stats.h"
#include "base/rng.h"
#include "quant/convert.h"
#include "studies/compare.h"

#include <math.h>
#include <stdlib.h>

#include "support.h"

static void near(double expected, double found, double tolerance) {
    if (!(fabs(expected - found) <= tolerance)) fail_msg("expected %.17g, found %.17g", expected, found);
}

/* ---- McNemar ---- */

static void test_mcnemar_by_hand(void **state) {
    (void)state;
    static const struct {
        size_t fixed, broken;
        double p;
    } cases[] = {
        {0, 0, 1}, /* nothing to tell */
        {1, 0, 1},
        {0, 1, 1}, /* 2 * 1/2 */
        {5, 0, 0.0625},
        {0, 5, 0.0625},        /* 2 * 1/32 */
        {6, 0, 0.03125},       /* the first that is below 5% */
        {3, 1, 0.625},         /* 2 * (1 + 4) / 16 */
        {2, 10, 158.0 / 4096}, /* 2 * (1 + 12 + 66) / 2^12 */
        {4, 3, 1},
        {5, 5, 1}, /* the sum passes 1 and is cut */
        {7, 3, 2.0 * (1 + 10 + 45 + 120) / 1024},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        near(cases[i].p, mcnemar_exact_p(cases[i].fixed, cases[i].broken), 1e-12);
}

/* Large counts: symmetric, no overflow, close to the normal approximation with its continuity correction. */
static void test_mcnemar_large(void **state) {
    (void)state;
    near(mcnemar_exact_p(2100, 1900), mcnemar_exact_p(1900, 2100), 0);
    near(erfc((200 - 1) / sqrt(4000) / sqrt(2)), mcnemar_exact_p(2100, 1900), 1e-4);
    assert_true(mcnemar_exact_p(0, 5000) >= 0 && mcnemar_exact_p(0, 5000) < 1e-300);
}

/* ---- similarity ---- */

static void test_similarity(void **state) {
    (void)state;
    float x[] = {3, 4, 0, 0}, y[] = {3, 4, 0, 0}, z[] = {3, 4, 0, 0.5f}, turned[] = {-3, -4, 0, 0};
    struct similarity same = {0}, other = {0}, against = {0}, parts = {0};
    similarity_add(&same, x, y, 4);
    assert_true(isinf(similarity_sqnr_db(&same)) && similarity_sqnr_db(&same) > 0);
    near(1, similarity_cosine(&same), 1e-15);
    similarity_add(&other, x, z, 4);
    near(20, similarity_sqnr_db(&other), 1e-12); /* 10 log10(25 / 0.25) */
    near(0.5, other.highest, 0);
    near(0.125, similarity_mean_error(&other), 0);
    near(25 / sqrt(25 * 25.25), similarity_cosine(&other), 1e-15);
    similarity_add(&against, x, turned, 4);
    near(-1, similarity_cosine(&against), 1e-15);
    similarity_add(&parts, x, z, 1);
    similarity_add(&parts, x + 1, z + 1, 3);
    near(similarity_sqnr_db(&other), similarity_sqnr_db(&parts), 1e-12);
    float nan[] = {NAN};
    similarity_add(&other, nan, x, 1);
    assert_true(isnan(other.highest)); /* a NaN is not passed over */
}

/* ---- the waterfall ---- */

enum { INPUTS = 30, CLASSES = 5, IMAGES = 200 };

struct setting {
    struct mlp mlp;
    struct qmlp q;
    uint8_t images[IMAGES * INPUTS];
};

static void setting_create(struct setting *s, bool per_channel, bool symmetric) {
    struct error err;
    struct mlp_shape shape;
    struct mlp_workspace ws;
    struct range ranges[MLP_MAX_LAYERS + 1];
    struct rng rng = rng_seeded(7);
    struct convert_config config = {.per_channel = per_channel, .symmetric_activations = symmetric};
    size_t saturated;
    int hidden[] = {17, 9};
    assert_true(mlp_shape_make(INPUTS, hidden, 2, CLASSES, &shape, &err) && mlp_create(&shape, &s->mlp, &err));
    mlp_initialise(&s->mlp, &rng);
    for (int l = 0; l < shape.layers; l++)
        for (int c = 0; c < shape.widths[l + 1]; c++) s->mlp.layer[l].bias[c] = (float)rng_normal(&rng) / 10;
    for (int i = 0; i < IMAGES * INPUTS; i++) s->images[i] = (uint8_t)rng_below(&rng, 256);
    assert_true(mlp_workspace_create(&shape, CALIBRATION_BATCH, false, &ws, &err));
    assert_true(calibrate(&s->mlp, s->images, 64, &config, &ws, ranges, &err));
    assert_true(convert(&s->mlp, ranges, &config, &s->q, &saturated, &err));
    mlp_workspace_free(&ws);
}

static void setting_free(struct setting *s) {
    mlp_free(&s->mlp);
    qmlp_free(&s->q);
}

enum { CODES = INPUTS + 17 + 9 + CLASSES };
static uint8_t codes[IMAGES * CODES];

static float *step_logits(const struct setting *s, enum waterfall_step step) {
    struct error err;
    struct split split = {.count = IMAGES, .rows = 1, .cols = INPUTS, .images = (uint8_t *)s->images};
    float *logits = waterfall_logits(&s->mlp, &s->q, step, &split, codes, &err);
    assert_non_null(logits);
    return logits;
}

/* The last step is the engine bit for bit; the logits steps are its codes read back. */
static void last_step_is_the_engine(bool per_channel, bool symmetric) {
    struct setting s;
    static uint8_t engine[IMAGES][CLASSES];
    setting_create(&s, per_channel, symmetric);
    float *logits = step_logits(&s, WATERFALL_REQUANTIZE);
    qmlp_forward_ref(&s.q, s.images, IMAGES, engine[0]);
    int distinct = 0;
    for (int i = 0; i < IMAGES; i++) {
        assert_memory_equal(engine[i], codes + (i + 1) * CODES - CLASSES, CLASSES);
        for (int c = 0; c < CLASSES; c++) {
            near((double)dequantize(engine[i][c], s.q.activation[3]), (double)logits[i * CLASSES + c], 0);
            distinct += engine[i][c] != engine[0][0];
        }
    }
    assert_true(distinct > IMAGES); /* not one code everywhere */
    free(logits);
    setting_free(&s);
}

static void test_last_step(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) last_step_is_the_engine(i & 1, i & 2);
}

/* The logits of a network. */
static void fp32_logits(const struct mlp *mlp, const uint8_t *images, float *logits) {
    struct error err;
    struct model model = {.kind = MODEL_FP32, .shape = mlp->shape, .mlp = *mlp};
    struct model_run run;
    assert_true(model_run_create(&model, IMAGES, 1, RUN_FAST, &run, &err));
    model_run(&run, images, IMAGES, NULL);
    for (int i = 0; i < IMAGES; i++) model_run_logits(&run, i, logits + i * CLASSES);
    model_run_free(&run);
}

/* fp32 and weights are those networks; each step of rounding is at most half a code away from the one before. */
static void test_steps(void **state) {
    (void)state;
    struct setting s;
    float *logits[WATERFALL_STEPS];
    float expected[IMAGES * CLASSES];
    setting_create(&s, true, false);
    for (int step = 0; step < WATERFALL_STEPS; step++) logits[step] = step_logits(&s, (enum waterfall_step)step);
    fp32_logits(&s.mlp, s.images, expected);
    assert_memory_equal(expected, logits[WATERFALL_FP32], sizeof expected);
    for (int l = 0; l < 3; l++) qmlp_read_weights(&s.q, l, s.mlp.layer[l].weight);
    fp32_logits(&s.mlp, s.images, expected);
    assert_memory_equal(expected, logits[WATERFALL_WEIGHTS], sizeof expected);
    struct qparams y = s.q.activation[3];
    int moved = 0;
    for (int i = 0; i < IMAGES * CLASSES; i++) {
        double real = (double)logits[WATERFALL_ACTIVATIONS][i], read = (double)logits[WATERFALL_LOGITS][i];
        bool inside = real > (y.qmin - y.zero_point) * (double)y.scale &&
            real < (y.qmax - y.zero_point) * (double)y.scale;
        if (inside) near(real, read, 0.5001 * (double)y.scale);
        moved += real != read;
        near(read, (double)logits[WATERFALL_BIAS][i],
             4.001 * (double)y.scale); /* biases move by less than a step of acc */
    }
    assert_true(moved > IMAGES);
    for (int step = 0; step < WATERFALL_STEPS; step++) free(logits[step]);
    setting_free(&s);
}

/* Outputs are added up over all images, each layer's beside the rounding that it would take alone. */
static void test_outputs(void **state) {
    (void)state;
    struct setting s;
    struct error err;
    struct similarity outputs[MLP_MAX_LAYERS + 1] = {{0}}, rounding[MLP_MAX_LAYERS + 1] = {{0}}, last = {0};
    static float a_logits[IMAGES * CLASSES], b_logits[IMAGES * CLASSES];
    float *const logits[2] = {a_logits, b_logits};
    setting_create(&s, true, false);
    struct split split = {.count = IMAGES, .rows = 1, .cols = INPUTS, .images = s.images};
    struct model a = {.kind = MODEL_FP32, .shape = s.mlp.shape, .mlp = s.mlp};
    struct model b = {.kind = MODEL_INT8, .shape = s.mlp.shape, .qmlp = s.q};
    assert_true(compare_outputs(&a, &b, s.images, IMAGES, outputs, rounding, logits, &err));
    for (int i = 0; i < 2; i++) {
        float *alone = model_logits(i ? &b : &a, &split, &err);
        assert_memory_equal(alone, logits[i], sizeof a_logits);
        free(alone);
    }
    similarity_add(&last, a_logits, b_logits, IMAGES * CLASSES);
    near(last.noise, outputs[3].noise, 1e-9);
    assert_int_equal(outputs[1].count, IMAGES * 17);
    near(outputs[0].noise, rounding[0].noise, 0); /* pixels have no layer before them */
    for (int l = 1; l <= 3; l++) assert_true(rounding[l].noise > 0 && rounding[l].noise < outputs[l].noise);
    setting_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mcnemar_by_hand), cmocka_unit_test(test_mcnemar_large), cmocka_unit_test(test_similarity),
        cmocka_unit_test(test_last_step),       cmocka_unit_test(test_steps),         cmocka_unit_test(test_outputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
