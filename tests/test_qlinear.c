/* The integer engine, eq. 5 to 7: every kernel against qlinear_ref, the network against its reference, and a
 * whole model against NumPy. */
#include "base/rng.h"
#include "golden/golden.h"
#include "model/model_file.h"
#include "quant/qlinear.h"
#include "quant/qmlp.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

enum { MAX_KERNELS = 16 };
static size_t compared[MAX_KERNELS]; /* codes of each kernel of qkernels[] that were compared with the reference */

/* ---- One layer ---- */

/* What the content of a layer is made of. */
enum content { RANDOM, ALL_HIGH, ALL_LOW, CONTENTS };

struct layer_case {
    int in, out, x_zero_point;
    size_t rows, spare; /* spare: bytes of stride more than needed */
    enum content content;
    bool huge_bias, relu;
};

static void *array(size_t count, size_t size) {
    struct error err;
    void *memory = aligned_array(count, size, &err);
    assert_non_null(memory);
    return memory;
}

/* M such that the sums of this layer spread over the codes; sometimes the ends of what eq. 6 allows. */
static struct multiplier random_multiplier(struct rng *rng, const struct layer_case *t) {
    double spread = t->content == RANDOM ? 2000 * sqrt(t->in) : 30000.0 * t->in;
    double real = 200 / (t->huge_bias ? 0x1p30 : spread) * (0.25 + rng_uniform(rng));
    uint32_t rare = rng_below(rng, 40);
    struct multiplier m;
    assert_true(multiplier_from_real(rare == 0 ? 0x1p-40 : rare == 1 ? 0x1p29 : rare == 2 ? 0.5 : real, &m));
    return m;
}

static int8_t random_weight(struct rng *rng, enum content content) {
    int w = content == ALL_HIGH ? 127 : content == ALL_LOW ? -127 : (int)rng_below(rng, 255) - 127;
    return (int8_t)w;
}

static int32_t random_bias(struct rng *rng, const struct layer_case *t) {
    if (t->huge_bias) return rng_below(rng, 2) ? QLINEAR_MAX_BIAS : -QLINEAR_MAX_BIAS;
    return (int32_t)rng_below(rng, 20001) - 10000;
}

static void layer_make(const struct layer_case *t, struct rng *rng, struct qlinear *layer) {
    size_t in = (size_t)t->in, out = (size_t)t->out;
    int y_zero_point = (int)rng_below(rng, 200);
    *layer = (struct qlinear){.in = t->in,
                              .out = t->out,
                              .x_zero_point = t->x_zero_point,
                              .y_zero_point = y_zero_point,
                              .y_min = t->relu ? y_zero_point : 0,
                              .y_max = 255};
    layer->weight = array(in * out, 1);
    layer->bias = array(out, sizeof(int32_t));
    layer->folded_bias = array(out, sizeof(int32_t));
    layer->multiplier = array(out, sizeof(struct multiplier));
    for (size_t i = 0; i < in * out; i++) layer->weight[i] = random_weight(rng, t->content);
    for (size_t c = 0; c < out; c++) {
        layer->bias[c] = random_bias(rng, t);
        layer->multiplier[c] = random_multiplier(rng, t);
    }
    qlinear_fold_bias(layer);
}

static void layer_free(struct qlinear *layer) {
    free(layer->weight);
    free(layer->bias);
    free(layer->folded_bias);
    free(layer->multiplier);
}

static void fill_bytes(struct rng *rng, uint8_t *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) bytes[i] = (uint8_t)rng_next(rng);
}

/* Runs a kernel on rows spread to the stride, with garbage in all padding; y [rows][out] dense. The arrays
 * are no larger than the kernel was promised, so that AddressSanitizer sees a step beyond. */
static void run_kernel(const struct qkernel *kernel, struct qlinear *layer, const struct layer_case *t,
                       const uint8_t *x, struct rng *garbage, uint8_t *y) {
    size_t in = (size_t)t->in, out = (size_t)t->out;
    size_t x_stride = qlinear_stride(t->in) + t->spare, y_stride = qlinear_stride(t->out) + t->spare;
    uint8_t *wide_x = array(t->rows * x_stride, 1), *wide_y = array(t->rows * y_stride, 1);
    fill_bytes(garbage, wide_x, t->rows * x_stride);
    fill_bytes(garbage, wide_y, t->rows * y_stride);
    for (size_t r = 0; r < t->rows; r++) memcpy(wide_x + r * x_stride, x + r * in, in);
    layer->packed = array(kernel->layer_bytes(layer), 1);
    kernel->pack_layer(layer);
    void *scratch = array(QLINEAR_SCRATCH * qlinear_stride(layer->in), 1);
    kernel->run(layer, wide_x, x_stride, t->rows, wide_y, y_stride, scratch);
    free(scratch);
    for (size_t r = 0; r < t->rows; r++) memcpy(y + r * out, wide_y + r * y_stride, out);
    free(layer->packed);
    free(wide_x);
    free(wide_y);
}

/* Every supported kernel, twice with different garbage around the data, must give the reference's codes.
 * Returns how many different codes there were, for the guard against data that prove nothing. */
static int check_layer(const struct layer_case *t, uint64_t seed) {
    struct rng rng = rng_seeded(seed), garbage = rng_seeded(~seed);
    struct qlinear layer;
    layer_make(t, &rng, &layer);
    size_t count = t->rows * (size_t)t->out;
    uint8_t *x = array(t->rows * (size_t)t->in, 1), *y = array(count, 1), *expected = array(count, 1);
    fill_bytes(&rng, x, t->rows * (size_t)t->in);
    if (t->content != RANDOM) memset(x, 255, t->rows * (size_t)t->in);
    qlinear_ref(&layer, x, t->rows, expected);
    for (int k = 0; qkernels[k]; k++)
        for (int twice = 0; qkernels[k]->supported() && twice < 2; twice++) {
            run_kernel(qkernels[k], &layer, t, x, &garbage, y);
            if (memcmp(y, expected, count) != 0)
                fail_msg("%s: in %d, out %d, rows %zu, zero point %d, content %d, huge bias %d, relu %d",
                         qkernels[k]->name, t->in, t->out, t->rows, t->x_zero_point, t->content, t->huge_bias, t->relu);
            compared[k] += count;
        }
    bool seen[256] = {false};
    int different = 0;
    for (size_t i = 0; i < count; i++) {
        different += !seen[expected[i]];
        seen[expected[i]] = true;
    }
    free(x);
    free(y);
    free(expected);
    layer_free(&layer);
    return different;
}

static const int sizes[] = {1,  2,  3,  4,  5,   7,   8,   9,   15,  16,  17,  31,  32,
                            33, 63, 64, 65, 100, 127, 128, 255, 256, 257, 784, 1023};
enum { SIZES = sizeof sizes / sizeof *sizes };
static const int zero_points[] = {0, 1, 128, 255};

/* Each size as in, with sizes of out and rows that walk past at other speeds: all three take every value. */
static void kernels_on_all_sizes(void **state) {
    (void)state;
    for (int i = 0; i < SIZES; i++)
        for (int j = 0; j < 5; j++) {
            struct layer_case t = {.in = sizes[i],
                                   .out = sizes[(5 * i + 5 * j + j) % SIZES],
                                   .rows = (size_t)sizes[(3 * i + 7 * j) % (SIZES - 5)],
                                   .x_zero_point = zero_points[(i + j) % 4],
                                   .spare = j % 2 ? 64 : 0,
                                   .relu = j % 3 == 0};
            while (t.rows * (size_t)t.in * (size_t)t.out > 4000000) t.rows = t.rows / 2; /* keep the test short */
            int different = check_layer(&t, (uint64_t)(100 * i + j));
            if (t.rows * (size_t)t.out >= 1000) assert_true(different > 20);
        }
}

static void kernels_on_all_small_shapes(void **state) {
    (void)state;
    for (int in = 1; in <= 34; in += 3)
        for (int out = 1; out <= 18; out++)
            for (size_t rows = 1; rows <= 9; rows += 2)
                check_layer(&(struct layer_case){.in = in, .out = out, .rows = rows, .x_zero_point = 3}, (uint64_t)in);
}

/* All inputs 255, all weights 127 or -127, every zero point, the largest biases: the sums that would saturate
 * 16 bits, or overflow 32 if the bias were folded without care. */
static void kernels_on_extreme_data(void **state) {
    (void)state;
    const int widths[] = {1, 2, 31, 64, 127, 784, 1023};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        for (int content = 0; content < CONTENTS; content++)
            for (int z = 0; z < 4; z++)
                for (int huge = 0; huge < 2; huge++)
                    check_layer(&(struct layer_case){.in = widths[i],
                                                     .out = 37,
                                                     .rows = 5,
                                                     .x_zero_point = zero_points[z],
                                                     .content = (enum content)content,
                                                     .huge_bias = huge},
                                (uint64_t)(1000 + z));
}

static void kernels_on_the_widest_layer(void **state) {
    (void)state;
    for (int content = 0; content < CONTENTS; content++)
        for (int z = 0; z < 4; z++)
            check_layer(&(struct layer_case){.in = MLP_MAX_WIDTH,
                                             .out = 3,
                                             .rows = 3,
                                             .x_zero_point = zero_points[z],
                                             .content = (enum content)content,
                                             .huge_bias = true},
                        1);
    check_layer(&(struct layer_case){.in = 3, .out = MLP_MAX_WIDTH, .rows = 3, .x_zero_point = 128}, 2);
}

/* -128 is no code of ours (eq. 4), but a file may hold it. */
static void kernels_take_minus_128(void **state) {
    (void)state;
    int8_t weight[3] = {-128, -128, -128};
    int32_t bias[1] = {0}, folded[1];
    struct multiplier m[1];
    uint8_t x[3] = {255, 255, 254}, expected, y;
    assert_true(multiplier_from_real(1.0 / 400, &m[0]));
    struct qlinear layer = {.in = 3,
                            .out = 1,
                            .y_zero_point = 250,
                            .y_max = 255,
                            .weight = weight,
                            .bias = bias,
                            .folded_bias = folded,
                            .multiplier = m};
    qlinear_fold_bias(&layer);
    qlinear_ref(&layer, x, 1, &expected);
    assert_int_equal(expected, 6); /* 250 - 97792 / 400 = 5.52 */
    struct rng rng = rng_seeded(1);
    for (int k = 0; qkernels[k]; k++) {
        if (!qkernels[k]->supported()) continue;
        run_kernel(qkernels[k], &layer, &(struct layer_case){.in = 3, .out = 1, .rows = 1}, x, &rng, &y);
        assert_int_equal(y, expected);
    }
}

static void reference_by_hand(void **state) {
    (void)state;
    int8_t weight[2][3] = {{1, -2, 3}, {-127, 127, 5}};
    int32_t bias[2] = {100, -7}, folded[2];
    struct multiplier m[2];
    const uint8_t x[2][3] = {{10, 20, 30}, {0, 255, 128}};
    uint8_t y[2][2];
    assert_true(multiplier_from_real(0.5, &m[0]) && multiplier_from_real(0.25, &m[1]));
    struct qlinear layer = {.in = 3,
                            .out = 2,
                            .x_zero_point = 10,
                            .y_zero_point = 5,
                            .y_max = 255,
                            .weight = &weight[0][0],
                            .bias = bias,
                            .folded_bias = folded,
                            .multiplier = m};
    qlinear_ref(&layer, &x[0][0], 2, &y[0][0]);
    assert_int_equal(y[0][0], 75);  /* 0 - 20 + 60 + 100 = 140; 70 + 5 */
    assert_int_equal(y[0][1], 255); /* 0 + 1270 + 100 - 7 = 1363; 340.75 + 5 */
    assert_int_equal(y[1][0], 0);   /* -10 - 490 + 354 + 100 = -46; -23 + 5 */
    assert_int_equal(y[1][1], 255);
    layer.y_min = 5; /* ReLU */
    qlinear_ref(&layer, &x[0][0], 2, &y[0][0]);
    assert_int_equal(y[1][0], 5);
    qlinear_fold_bias(&layer);
    assert_int_equal(folded[0], 100 - 10 * 2);
    assert_int_equal(folded[1], -7 - 10 * 5);
}

/* sum (x - z) w + b = sum x w + folded, for every x: in 64 bits, and the folded bias fits 32. */
static void folded_bias_equals_unfolded(void **state) {
    (void)state;
    struct rng rng = rng_seeded(9);
    for (int i = 0; i < 60; i++) {
        struct layer_case t = {.in = 1 + (int)rng_below(&rng, 900),
                               .out = 4,
                               .x_zero_point = zero_points[i % 4],
                               .content = (enum content)(i % CONTENTS),
                               .huge_bias = i % 5 == 0};
        struct qlinear layer;
        layer_make(&t, &rng, &layer);
        for (int c = 0; c < t.out; c++) {
            int64_t unfolded = layer.bias[c], folded = layer.folded_bias[c];
            for (int k = 0; k < t.in; k++) {
                int x = (int)rng_below(&rng, 256), w = layer.weight[c * t.in + k];
                unfolded += (int64_t)(x - t.x_zero_point) * w;
                folded += (int64_t)x * w;
            }
            assert_true(folded == unfolded);
        }
        layer_free(&layer);
    }
}

/* ---- The network ---- */

static void network_make(const struct mlp_shape *shape, bool per_channel, bool symmetric, struct rng *rng,
                         struct qmlp *q) {
    struct error err;
    assert_true(qmlp_create(shape, per_channel, symmetric, q, &err));
    q->activation[0] = symmetric ? (struct qparams){1 / 127.0f, 128, 1, 255} : (struct qparams){1 / 255.0f, 0, 0, 255};
    for (int l = 0; l < shape->layers; l++) {
        struct qlinear *d = &q->layer[l];
        for (int i = 0; i < d->in * d->out; i++) d->weight[i] = random_weight(rng, RANDOM);
        for (int c = 0; c < (per_channel ? d->out : 1); c++)
            q->weight_scale[l][c] = 0.01f * (1 + (float)rng_uniform(rng));
        for (int c = 0; c < d->out; c++) d->bias[c] = (int32_t)rng_below(rng, 4001) - 2000;
        float scale = 0.01f * q->activation[l].scale * 75 * sqrtf((float)d->in);
        q->activation[l + 1] = symmetric ? (struct qparams){scale, 128, 1, 255}
                                         : (struct qparams){scale, 20 * (l + 1), 0, 255};
    }
    if (!qmlp_finish(q, &err)) fail_msg("%s", err.text);
}

static const size_t counts[] = {1, 2, 31, 32, 33, 100};

/* Every kernel, 1 to 3 threads, the counts around a block. */
static void check_network(struct qmlp *q) {
    enum { MOST = 100 };
    struct error err;
    size_t inputs = (size_t)q->shape.widths[0], classes = (size_t)q->shape.widths[q->shape.layers];
    uint8_t *images = array(MOST * inputs, 1), *expected = array(MOST * classes, 1);
    struct rng rng = rng_seeded(8);
    fill_bytes(&rng, images, MOST * inputs);
    qmlp_forward_ref(q, images, MOST, expected);
    size_t different = 0;
    for (size_t i = 1; i < MOST * classes; i++) different += expected[i] != expected[0];
    assert_true(different > MOST / 5);
    for (int k = 0; qkernels[k]; k++) {
        if (!qkernels[k]->supported()) continue;
        assert_true(qmlp_use_kernel(q, qkernels[k], &err));
        for (int threads = 1; threads <= 3; threads++) {
            struct qmlp_workspace ws;
            assert_true(qmlp_workspace_create(&q->shape, threads, &ws, &err));
            for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
                uint8_t *codes = array(counts[i] * classes, 1);
                qmlp_forward(q, images, counts[i], &ws, codes);
                assert_memory_equal(codes, expected, counts[i] * classes);
                compared[k] += counts[i] * classes;
                free(codes);
            }
            qmlp_workspace_free(&ws);
        }
    }
    free(images);
    free(expected);
}

static void network_equals_its_reference(void **state) {
    (void)state;
    const struct mlp_shape shapes[] = {{1, {784, 10}},         {2, {9, 33, 5}},        {3, {784, 256, 100, 10}},
                                       {4, {1, 70, 3, 65, 2}}, {3, {17, 1, 300, 256}}, {1, {64, 64}},
                                       {2, {100, 128, 1}}};
    struct rng rng = rng_seeded(7);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int way = 0; way < 4; way++) {
            struct qmlp q;
            network_make(&shapes[i], way & 1, way & 2, &rng, &q);
            check_network(&q);
            qmlp_free(&q);
        }
}

/* NumPy's int64 arithmetic on a model file that NumPy wrote. */
static void check_numpy_model(const char *path, const char *codes_name) {
    enum { IMAGES = 40, INPUTS = 12, CLASSES = 5 };
    struct error err;
    struct model model;
    struct qmlp_workspace ws;
    uint8_t images[IMAGES * INPUTS], expected[IMAGES * CLASSES], codes[IMAGES * CLASSES];
    struct st_file *g = golden_open("tests/golden/quant.safetensors");
    golden_copy(g, "model.images", ST_U8, sizeof images, images);
    golden_copy(g, codes_name, ST_U8, sizeof expected, expected);
    golden_close(g);
    if (!model_read(path, &model, NULL, &err)) fail_msg("%s", err.text);
    assert_int_equal(model.kind, MODEL_INT8);
    qmlp_forward_ref(&model.qmlp, images, IMAGES, codes);
    assert_memory_equal(codes, expected, sizeof codes);
    for (int k = 0; qkernels[k]; k++) {
        if (!qkernels[k]->supported()) continue;
        memset(codes, 0, sizeof codes);
        assert_true(qmlp_use_kernel(&model.qmlp, qkernels[k], &err));
        assert_true(qmlp_workspace_create(&model.shape, 2, &ws, &err));
        qmlp_forward(&model.qmlp, images, IMAGES, &ws, codes);
        qmlp_workspace_free(&ws);
        assert_memory_equal(codes, expected, sizeof codes);
    }
    model_free(&model);
}

static void same_codes_as_numpy(void **state) {
    (void)state;
    check_numpy_model("tests/golden/qmlp_per_channel.safetensors", "model.per_channel");
    check_numpy_model("tests/golden/qmlp_per_tensor.safetensors", "model.per_tensor");
}

static void classify_ties(void **state) {
    (void)state;
    const uint8_t codes[6][4] = {{1, 2, 3, 4}, {4, 4, 1, 4},     {0, 0, 0, 0},
                                 {1, 9, 9, 2}, {255, 0, 0, 254}, {3, 3, 4, 1}};
    const uint8_t expected[6] = {3, 0, 0, 1, 0, 2}; /* the last row's tie is not for the first place */
    uint8_t predicted[6];
    assert_int_equal(qmlp_classify(&codes[0][0], 6, 4, predicted), 3);
    assert_memory_equal(predicted, expected, 6);
    assert_int_equal(qmlp_classify(&codes[0][0], 6, 1, predicted), 0); /* one class has no rival */
    assert_int_equal(predicted[4], 0);
    assert_int_equal(qmlp_classify(&codes[0][0], 0, 4, predicted), 0);
}

static void strides(void **state) {
    (void)state;
    for (int width = 1; width < 2000; width++) {
        size_t stride = qlinear_stride(width);
        assert_true(stride % QLINEAR_STRIDE == 0 && stride >= (size_t)width && stride < (size_t)width + QLINEAR_STRIDE);
    }
}

/* Last: what the tests above were for did happen. */
static void every_supported_kernel_was_compared(void **state) {
    (void)state;
    int kernels = 0;
    for (int k = 0; qkernels[k]; k++) {
        assert_true(k < MAX_KERNELS);
        if (!qkernels[k]->supported()) {
            print_message("[   NOTE   ] kernel %s is not supported by this CPU\n", qkernels[k]->name);
            continue;
        }
        kernels++;
        if (compared[k] < 100000) fail_msg("kernel %s: only %zu codes compared", qkernels[k]->name, compared[k]);
    }
    assert_true(kernels > 0);
    assert_true(qkernel_best()->supported());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strides),
        cmocka_unit_test(reference_by_hand),
        cmocka_unit_test(folded_bias_equals_unfolded),
        cmocka_unit_test(kernels_on_all_sizes),
        cmocka_unit_test(kernels_on_all_small_shapes),
        cmocka_unit_test(kernels_on_extreme_data),
        cmocka_unit_test(kernels_on_the_widest_layer),
        cmocka_unit_test(kernels_take_minus_128),
        cmocka_unit_test(network_equals_its_reference),
        cmocka_unit_test(same_codes_as_numpy),
        cmocka_unit_test(classify_ties),
        cmocka_unit_test(every_supported_kernel_was_compared),
    };
    return cmocka_run_group_tests_name("qlinear", tests, NULL, NULL);
}
