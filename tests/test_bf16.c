/* The bf16 engine: every kernel that this CPU runs against the plain reference, on all shapes of tiles and what is left
 * over at their ends; what NaN, infinities and subnormals do; whole networks on several threads; when it is taken.
 * The arrays are as long as promised and not a byte longer, with garbage in the padding, for AddressSanitizer to judge.
 *
 * Two claims are checked apart: that the difference keeps to the bound of bf16.h, which holds for any order of the
 * additions, and that where no subnormals turn up there is none to a sum in the order of the kernel's instruction: the
 * reference's, or that of tiles. */
#include "base/rng.h"
#include "model/model_file.h"
#include "lowbit/half.h"

#include "mlp_predict.h"
#include "support.h"

#include <math.h>

static const int sizes[] = {1, 2, 3, 5, 31, 33, 64, 100};
enum { SIZES = sizeof sizes / sizeof sizes[0], MAX_KERNELS = 4 };

#ifdef KERNELS /* of test_bf16_amx.c, which includes this for kernels that no table has */
#define bf16_kernels KERNELS
#else
static void before_each(void) {}
#endif

static size_t compared[MAX_KERNELS], nonzero; /* for the tests that guard the tests */
static struct error err;

#define CHECK(call)                                                                                                    \
    do {                                                                                                               \
        if (!(call)) fail_msg("%s: %s", #call, err.text);                                                              \
    } while (0)

static void *exact_array(size_t size) {
    void *memory = NULL;
    if (posix_memalign(&memory, 64, size ? size : 1) != 0) abort();
    memset(memory, 0, size);
    return memory;
}

static size_t padded(int width, int to) { return ((size_t)width + (size_t)to - 1) / (size_t)to * (size_t)to; }

static uint16_t *random_bfloats(struct rng *rng, size_t count, double size, bool with_zeros) {
    uint16_t *x = exact_array(count * sizeof *x);
    for (size_t i = 0; i < count; i++)
        if (!with_zeros || rng_below(rng, 3)) x[i] = bfloat_from_float((float)(size * rng_normal(rng)));
    return x;
}

static void layer_make(struct rng *rng, int in, int out, bool last, struct bf16_layer *layer) {
    *layer = (struct bf16_layer){.in = in, .out = out, .scale = rng_below(rng, 2) ? 1 / 255.0f : 1, .last = last};
    layer->weight = random_bfloats(rng, (size_t)in * (size_t)out, 0.3, false);
    layer->bias = exact_array((size_t)out * sizeof(float));
    for (int c = 0; c < out; c++) layer->bias[c] = (float)rng_normal(rng);
}

static void layer_free(struct bf16_layer *layer) {
    free(layer->weight);
    free(layer->bias);
}

/* Runs a kernel on dense x [rows][in] laid out as it wants it -> y [rows][out] in fp32. */
static void run_kernel(const struct bf16_kernel *kernel, struct bf16_layer *layer, const uint16_t *x, int rows,
                       struct rng *garbage, float *y) {
    size_t in = (size_t)layer->in, out = (size_t)layer->out, stride = padded(layer->in, BF16_STRIDE), n = (size_t)rows;
    size_t y_stride = layer->last ? out : padded(layer->out, BF16_STRIDE);
    uint16_t *wide_x = random_bfloats(garbage, n * stride, 1e3, false);
    void *wide_y = random_bfloats(garbage, n * y_stride * (layer->last ? 2 : 1), 1e3, false);
    for (size_t r = 0; r < n; r++) memcpy(wide_x + r * stride, x + r * in, in * sizeof *x);
    layer->packed = exact_array(kernel->layer_bytes(layer));
    kernel->pack_layer(layer);
    kernel->run(layer, wide_x, stride, n, wide_y, y_stride);
    for (size_t r = 0; r < n; r++)
        for (size_t c = 0; c < (layer->last ? out : padded(layer->out, 16)); c++) {
            size_t at = r * y_stride + c;
            float value = layer->last ? ((float *)wide_y)[at] : float_from_bfloat(((uint16_t *)wide_y)[at]);
            if (c < out) y[r * out + c] = value;
            else assert_true(value == 0); /* what the next layer reads behind an odd width */
        }
    free(layer->packed);
    free(wide_x);
    free(wide_y);
}

/* The bound of bf16_mlp.h on output c of a row, and, for a hidden layer, its rounding to bf16 in addition. */
static double bound(const struct bf16_layer *layer, const uint16_t *x, int c, double y) {
    double sum = 0, tiny = 0;
    for (int k = 0; k < layer->in; k++) {
        double a = fabs((double)float_from_bfloat(x[k]));
        double w = fabs((double)float_from_bfloat(layer->weight[(size_t)c * (size_t)layer->in + (size_t)k]));
        sum += a * w, tiny += 1 + a + w;
    }
    double fp32 = (double)layer->scale * (2.01 * layer->in * 0x1p-24 * sum + 0x1p-126 * tiny) + 0x1p-22 * fabs(y);
    return layer->last ? fp32 : 2 * fp32 + 0x1p-8 * fabs(y) + 0x1p-126;
}

/* A layer in the order of tiles: of 32 inputs the even and the odd products apart, by FMAs. */
static void layer_by_tiles(const struct bf16_layer *layer, const uint16_t *x, int rows, float *y) {
    for (int r = 0; r < rows; r++, x += layer->in)
        for (int c = 0; c < layer->out; c++) {
            const uint16_t *w = layer->weight + (size_t)c * (size_t)layer->in;
            float sum = 0, half[2] = {0, 0};
            for (int k = 0; k < layer->in; k++) {
                half[k % 2] = fmaf(float_from_bfloat(x[k]), float_from_bfloat(w[k]), half[k % 2]);
                if (k % 32 == 31 || k + 1 == layer->in) sum += half[0] + half[1], half[0] = half[1] = 0;
            }
            float value = fmaf(sum, layer->scale, layer->bias[c]);
            *y++ = !layer->last && value < 0 ? 0 : value;
        }
}

/* Kernel k against the reference on x [rows][in]; exact: to the bit, which data without subnormals must give. */
static void compare_layer(int k, struct bf16_layer *layer, const uint16_t *x, int rows, bool exact,
                          struct rng *garbage) {
    size_t in = (size_t)layer->in, out = (size_t)layer->out, count = (size_t)rows * out;
    float *y = exact_array(count * sizeof *y), *expected = exact_array(count * sizeof *y);
    float *to_the_bit = exact_array(count * sizeof *y);
    bf16_layer_ref(layer, x, (size_t)rows, expected);
    if (bf16_kernels[k]->in_order) memcpy(to_the_bit, expected, count * sizeof *y);
    else layer_by_tiles(layer, x, rows, to_the_bit);
    run_kernel(bf16_kernels[k], layer, x, rows, garbage, y);
    for (size_t i = 0; i < count; i++) {
        double difference = fabs((double)y[i] - (double)expected[i]);
        double most = bound(layer, x + i / out * in, (int)(i % out), (double)expected[i]);
        if (!(difference <= most))
            fail_msg("%s: in %d, out %d, rows %d, last %d: y[%zu] is %.9g, not %.9g within %.3g", bf16_kernels[k]->name,
                     layer->in, layer->out, rows, layer->last, i, (double)y[i], (double)expected[i], most);
        float rounded = layer->last ? to_the_bit[i] : float_from_bfloat(bfloat_from_float(to_the_bit[i]));
        if (exact && !(y[i] == rounded))
            fail_msg("%s: in %d, out %d, rows %d, last %d: y[%zu] is %.9g, not %.9g to the bit", bf16_kernels[k]->name,
                     layer->in, layer->out, rows, layer->last, i, (double)y[i], (double)rounded);
        nonzero += y[i] != 0;
    }
    compared[k] += count;
    free(y);
    free(expected);
    free(to_the_bit);
}

/* The kernels that this CPU runs; skips the test where there is none. */
static int first_kernel(void) {
    before_each();
    for (int k = 0; bf16_kernels[k]; k++)
        if (bf16_kernels[k]->supported()) return k;
    print_message("# this CPU has no bf16 products\n");
    skip();
    return -1;
}

static void check_shape(int in, int out, int rows, bool last, struct rng *rng) {
    struct bf16_layer layer;
    layer_make(rng, in, out, last, &layer);
    uint16_t *x = random_bfloats(rng, (size_t)in * (size_t)rows, 2, true);
    for (int k = 0; bf16_kernels[k]; k++)
        if (bf16_kernels[k]->supported()) compare_layer(k, &layer, x, rows, true, rng);
    free(x);
    layer_free(&layer);
}

static void test_odd_shapes(void **state) {
    (void)state;
    struct rng rng = rng_seeded(1);
    first_kernel();
    for (int i = 0; i < SIZES * SIZES * SIZES * 2; i++)
        check_shape(sizes[i / 2 % SIZES], sizes[i / 2 / SIZES % SIZES], sizes[i / 2 / SIZES / SIZES], i % 2, &rng);
}

/* All heights of tiles and what is left of rows, on whole tiles, a half and a bit; the path of one row takes tiles by
 * fours. */
static void test_every_number_of_rows(void **state) {
    (void)state;
    struct rng rng = rng_seeded(2);
    first_kernel();
    for (int rows = 1; rows <= 50; rows++) {
        check_shape(45, 74, rows, rows % 2, &rng);
        check_shape(784, 10 + 32 * (rows % 9), rows % 14 + 1, rows % 2, &rng);
    }
}

/* Values from far apart, so that sums cancel and round at every step. */
static void test_wide_range(void **state) {
    (void)state;
    struct rng rng = rng_seeded(3);
    struct bf16_layer layer;
    int k = first_kernel();
    for (int i = 0; i < 100; i++) {
        layer_make(&rng, 100, 33, i % 2, &layer);
        uint16_t *x = random_bfloats(&rng, 700, 1, true);
        for (int j = 0; j < 700; j++) /* times 2^-20 to 2^20 */
            x[j] = bfloat_from_float(ldexpf(float_from_bfloat(x[j]), (int)rng_below(&rng, 41) - 20));
        compare_layer(k, &layer, x, 7, true, &rng);
        free(x);
        layer_free(&layer);
    }
}

/* Subnormal inputs, weights and sums count as 0: no more is lost than the bound allows. Rows 1 and 4 are the two paths.
 */
static void test_subnormals(void **state) {
    (void)state;
    struct rng rng = rng_seeded(4);
    struct bf16_layer layer;
    int k = first_kernel();
    for (int i = 0; i < 60; i++) {
        layer_make(&rng, 31, 33, true, &layer);
        memset(layer.bias, 0, 33 * sizeof(float)); /* else it would hide them */
        layer.scale = 1;
        double x_size = i % 3 == 1 ? 1e-39
            : i % 3 == 2           ? 1e-20
                                   : 1,
               w_size = i % 3 == 0 ? 1e-39
            : i % 3 == 2           ? 1e-19
                                   : 1;
        uint16_t *x = random_bfloats(&rng, 31 * 5, x_size, false), *w = random_bfloats(&rng, 31 * 33, w_size, false);
        memcpy(layer.weight, w, 31 * 33 * sizeof *w);
        compare_layer(k, &layer, x, 5, false, &rng);
        free(x);
        free(w);
        layer_free(&layer);
    }
}

/* One output of one input through a layer; rows 1 and 4 are the two paths of the kernel, -1 the reference. */
static float one_output(int k, float x, float w, bool last, int rows) {
    struct rng rng = rng_seeded(5);
    uint16_t weight = bfloat_from_float(w), inputs[4];
    float bias = 0, y[4];
    struct bf16_layer layer = {.in = 1, .out = 1, .scale = 1, .last = last, .weight = &weight, .bias = &bias};
    for (int r = 0; r < 4; r++) inputs[r] = bfloat_from_float(x);
    if (rows < 0) bf16_layer_ref(&layer, inputs, 1, y);
    else run_kernel(bf16_kernels[k], &layer, inputs, rows, &rng, y);
    return y[0];
}

/* Infinities and NaN go through as in fp32; ReLU leaves a NaN a NaN, so that it shows. */
static void test_special_values(void **state) {
    (void)state;
    int k = first_kernel();
    for (int last = 0; last < 2; last++)
        for (int rows = -1; rows <= 4; rows += rows < 0 ? 2 : 3) {
            assert_true(isnan(one_output(k, NAN, 1, last, rows)));
            assert_true(isnan(one_output(k, INFINITY, 0, last, rows)));
            assert_true(one_output(k, INFINITY, 2, last, rows) == INFINITY);
            assert_true(one_output(k, 3e38f, 2, last, rows) == INFINITY); /* overflow */
            assert_true(one_output(k, INFINITY, -2, last, rows) == (last ? -INFINITY : 0));
            assert_true(one_output(k, 3, -2, last, rows) == (last ? -6 : 0));
        }
}

/* ---- networks ------------------------------------------------------------------------------------------------ */

static uint8_t *random_images(struct rng *rng, size_t count, int inputs) {
    uint8_t *images = exact_array(count * (size_t)inputs);
    for (size_t i = 0; i < count * (size_t)inputs; i++) images[i] = rng_below(rng, 3) ? 0 : (uint8_t)rng_next(rng);
    return images;
}

static void make_network(const struct mlp_shape *shape, struct rng *rng, struct mlp *mlp) {
    CHECK(mlp_create(shape, mlp, &err));
    mlp_initialise(mlp, rng);
    for (int l = 0; l < shape->layers; l++)
        for (int c = 0; c < shape->widths[l + 1]; c++) mlp->layer[l].bias[c] = (float)(0.1 * rng_normal(rng));
}

#ifndef KERNELS

/* Needs no CPU: a byte is exact, and the reference's answers are those of fp32 on nearly all images. */
static void test_reference(void **state) {
    (void)state;
    enum { IMAGES = 400 };
    static const struct mlp_shape shape = {3, {64, 33, 31, 10}};
    struct rng rng = rng_seeded(6);
    struct mlp mlp;
    struct bf16_mlp b;
    struct bf16_workspace b_ws;
    struct mlp_workspace ws;
    uint8_t *images = random_images(&rng, IMAGES, 64), fp32[IMAGES], bf16[IMAGES];
    float logits[IMAGES * 10];
    make_network(&shape, &rng, &mlp);
    CHECK(bf16_mlp_create(&mlp, NULL, &b, &err) && mlp_workspace_create(&shape, IMAGES, false, &ws, &err));
    mlp_predict(&mlp, images, IMAGES, &ws, fp32);
    CHECK(bf16_workspace_create(&shape, 1, &b_ws, &err));
    bf16_mlp_forward(&b, true, images, IMAGES, &b_ws, NULL, logits);
    highest_classes(logits, IMAGES, 10, bf16);
    int same = 0, classes[10] = {0}, seen = 0; /* seen: classes that were answered, lest all images give one */
    for (int i = 0; i < IMAGES; i++) same += fp32[i] == bf16[i], seen += classes[bf16[i]]++ == 0;
    if (!(same >= IMAGES * 97 / 100 && seen >= 4))
        fail_msg("%d of %d answers are those of fp32, %d classes", same, IMAGES, seen);
    mlp_workspace_free(&ws);
    bf16_workspace_free(&b_ws);
    bf16_mlp_free(&b);
    mlp_free(&mlp);
    free(images);
}

static void test_every_byte(void **state) {
    (void)state;
    static const struct mlp_shape shape = {1, {1, 2}};
    struct mlp mlp;
    struct bf16_mlp b;
    struct bf16_workspace b_ws;
    float logits[2];
    CHECK(mlp_create(&shape, &mlp, &err) && bf16_workspace_create(&shape, 1, &b_ws, &err));
    mlp.layer[0].weight[0] = 1, mlp.layer[0].weight[1] = -0.5f;
    CHECK(bf16_mlp_create(&mlp, NULL, &b, &err));
    for (int i = 0; i < 256; i++) {
        uint8_t byte = (uint8_t)i;
        bf16_mlp_forward(&b, true, &byte, 1, &b_ws, NULL, logits);
        assert_close((double)logits[0], i / 255.0, 0x1p-23 * i / 255.0);
        assert_close((double)logits[1], -i / 510.0, 0x1p-23 * i / 510.0);
    }
    bf16_workspace_free(&b_ws);
    bf16_mlp_free(&b);
    mlp_free(&mlp);
}

#endif

/* Every layer by the reference; of a kernel with another order of additions, image by image: all batches agree. */
static void expect_layers(const struct bf16_mlp *b, const uint8_t *images, size_t n, struct bf16_workspace *ws,
                          float *const *layers) {
    if (b->kernel->in_order) bf16_mlp_forward(b, true, images, n, ws, layers, layers[b->shape.layers]);
    for (size_t i = 0; !b->kernel->in_order && i < n; i++) {
        float *of_one[MLP_MAX_LAYERS + 1] = {0};
        for (int l = 1; l <= b->shape.layers; l++) of_one[l] = layers[l] + i * (size_t)b->shape.widths[l];
        bf16_mlp_forward(b, false, images + i * (size_t)b->shape.widths[0], 1, ws, of_one, of_one[b->shape.layers]);
    }
}

static void check_counts(const struct bf16_mlp *b, int threads, struct rng *rng) {
#ifdef KERNELS
    static const size_t counts[] = {3, 49}; /* a signal or a model takes its time */
#else
    static const size_t counts[] = {1, 2, 3, 4, 5, 12, 23, 24, 47, 48, 49, 95, 96, 97, 193, 240};
#endif
    struct bf16_workspace ws;
    size_t classes = (size_t)b->shape.widths[b->shape.layers];
    CHECK(bf16_workspace_create(&b->shape, threads, &ws, &err));
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        size_t n = counts[i], size = n * classes * sizeof(float);
        uint8_t *images = random_images(rng, n, b->shape.widths[0]);
        float *found[MLP_MAX_LAYERS + 1] = {0}, *expected[MLP_MAX_LAYERS + 1] = {0};
        for (int l = 1; l <= b->shape.layers; l++) {
            found[l] = exact_array(n * (size_t)b->shape.widths[l] * sizeof(float));
            expected[l] = exact_array(n * (size_t)b->shape.widths[l] * sizeof(float));
        }
        expect_layers(b, images, n, &ws, expected);
        memset(ws.rows, 0x7f, (size_t)threads * 2 * BF16_BLOCK * ws.stride * sizeof *ws.rows); /* huge, finite */
        bf16_mlp_forward(b, false, images, n, &ws, found, found[b->shape.layers]);
        for (int l = 1; l <= b->shape.layers; l++)
            if (memcmp(found[l], expected[l], n * (size_t)b->shape.widths[l] * sizeof(float)) != 0)
                fail_msg("%s: a network of %d inputs, fc%d, %zu images on %d threads", b->kernel->name,
                         b->shape.widths[0], l, n, threads);
        memset(found[b->shape.layers], 0, size);
        bf16_mlp_forward(b, false, images, n, &ws, NULL, found[b->shape.layers]);
        assert_memory_equal(found[b->shape.layers], expected[b->shape.layers], size);
        for (int l = 1; l <= b->shape.layers; l++) free(found[l]), free(expected[l]);
        free(images);
    }
    bf16_workspace_free(&ws);
}

static void test_networks(void **state) {
    (void)state;
    static const struct mlp_shape shapes[] = {
        {3, {784, 256, 256, 10}}, {2, {49, 33, 3}}, {3, {31, 5, 1, 17}}, {1, {64, 10}}};
    struct rng rng = rng_seeded(7);
    int k = first_kernel();
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        struct mlp mlp;
        struct bf16_mlp b;
        make_network(&shapes[s], &rng, &mlp);
        CHECK(bf16_mlp_create(&mlp, bf16_kernels[k], &b, &err));
        for (int threads = 1; threads <= 3; threads += 2) check_counts(&b, threads, &rng);
        bf16_mlp_free(&b);
        mlp_free(&mlp);
    }
}

#ifndef KERNELS

static void test_weights_that_do_not_fit(void **state) {
    (void)state;
    static const struct mlp_shape shape = {2, {3, 4, 2}};
    const float bad[] = {NAN, INFINITY, 3.4e38f}; /* the last rounds to infinity */
    for (int i = 0; i < 3; i++) {
        struct mlp mlp;
        struct bf16_mlp b;
        CHECK(mlp_create(&shape, &mlp, &err));
        mlp.layer[1].weight[5] = bad[i];
        assert_false(bf16_mlp_create(&mlp, NULL, &b, &err));
        assert_string_equal(err.text, "fc2.weight: weight 5 is not a finite number in bf16");
        mlp_free(&mlp);
    }
}

/* ---- when it is taken ---------------------------------------------------------------------------------------- */

static void write_coded(const struct mlp *mlp, const char *format, const char *last, const char *path) {
    struct coding_config config = {
        .format = format_find(format), .more_format = last ? format_find(last) : NULL, .method = METHOD_RTN};
    struct model_notes notes = {0};
    struct weight_only coded;
    CHECK(weight_only_encode(mlp, NULL, 0, &config, &coded, NULL, &err));
    CHECK(model_write_coded(path, &coded, &notes, &err));
    weight_only_free(&coded);
}

static bool reads_as_bf16(const char *path) {
    struct model model;
    CHECK(model_read(path, &model, NULL, &err));
    bool is = runs_bf16(&model);
    assert_int_equal(model.kind, MODEL_WEIGHT_ONLY);
    assert_non_null(model.mlp.layer[0].weight); /* decoded in any case */
    if (is)
        for (int i = 0; i < 31 * 33; i++)
            assert_true(float_from_bfloat(model.bf16.layer[0].weight[i]) == model.mlp.layer[0].weight[i]);
    model_free(&model);
    return is;
}

static void test_when_it_is_taken(void **state) {
    (void)state;
    static const struct mlp_shape shape = {2, {31, 33, 10}};
    struct rng rng = rng_seeded(8);
    struct mlp mlp;
    make_network(&shape, &rng, &mlp);
    write_coded(&mlp, "bf16", NULL, in_folder("bf16"));
    write_coded(&mlp, "f16", NULL, in_folder("f16"));
    write_coded(&mlp, "bf16", "f16", in_folder("mixed"));
    assert_int_equal(reads_as_bf16(in_folder("bf16")), bf16_kernel_best() != NULL);
    assert_ptr_equal(bf16_kernel_best(), bf16_kernel_best()); /* measured once */
    assert_false(reads_as_bf16(in_folder("f16")));
    assert_false(reads_as_bf16(in_folder("mixed")));
    qkernel_force(qkernel_find("portable"));
    assert_null(bf16_kernel_best());
    assert_false(reads_as_bf16(in_folder("bf16")));
    qkernel_force(NULL);
    mlp_free(&mlp);
}

/* By made-up speeds, in percent of fp32's. */
static void test_worth(void **state) {
    (void)state;
    int percent[MAX_KERNELS] = {0}, first = 0, second = bf16_kernels[0] && bf16_kernels[1];
    assert_null(bf16_kernel_worth(percent));
    if (!bf16_kernels[0]) skip();
    percent[first] = 48; /* as on a Sapphire Rapids */
    assert_null(bf16_kernel_worth(percent));
    percent[first] = 109;
    assert_null(bf16_kernel_worth(percent));
    percent[first] = 110;
    assert_ptr_equal(bf16_kernel_worth(percent), bf16_kernels[first]);
    percent[second] = 230;
    assert_ptr_equal(bf16_kernel_worth(percent), bf16_kernels[second]);
    percent[second] = 48, percent[first] = 1200;
    assert_ptr_equal(bf16_kernel_worth(percent), bf16_kernels[second ? first : 0]);
}

/* What the system says of this CPU, apart from what the kernel finds out. */
static bool system_names(const char *feature) {
    FILE *info = fopen("/proc/cpuinfo", "r");
    char line[8192];
    bool found = false;
    while (info && !found && fgets(line, sizeof line, info)) found = strstr(line, feature) != NULL;
    if (info) fclose(info);
    return found;
}

#endif

/* A kernel that this CPU runs and that nothing was compared of has not been tested, whatever else passed. */
static void test_that_kernels_ran(void **state) {
    (void)state;
    size_t all = 0;
#ifndef KERNELS
    if (system_names(" avx512_bf16")) assert_true(bf16_kernels[1] && bf16_kernels[1]->supported());
#endif
    for (int k = 0; bf16_kernels[k]; k++) {
        print_message("# %s: %zu outputs compared%s\n", bf16_kernels[k]->name, compared[k],
                      bf16_kernels[k]->supported() ? "" : ", this CPU does not support it");
        if (bf16_kernels[k]->supported()) assert_true(compared[k] > 500000);
        all += compared[k];
    }
    first_kernel();
    assert_true(nonzero > all / 2); /* ReLU takes its share */
}

#ifndef KERNELS

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_odd_shapes),
        cmocka_unit_test(test_every_number_of_rows),
        cmocka_unit_test(test_wide_range),
        cmocka_unit_test(test_subnormals),
        cmocka_unit_test(test_special_values),
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_weights_that_do_not_fit),
        cmocka_unit_test(test_worth),
        cmocka_unit_test(test_when_it_is_taken),
        cmocka_unit_test(test_that_kernels_ran),
    };
    return cmocka_run_group_tests_name("bf16", tests, folder_setup, folder_teardown);
}

#endif
