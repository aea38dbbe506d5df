/* include/mnistq.h from inside: on small stacks with every kernel, on models of every kind, on hostile files. */
#include "mnistq.h"

#include <pthread.h>

#include "base/file.h"
#include "lowbit/dynamic.h"
#include "model/model_run.h"
#include "quant/convert.h"

#include "support.h"

enum { IMAGES = 70, INPUTS = 784 };
static uint8_t images[IMAGES * INPUTS];
static const int hidden[] = {300, 70};
static char *bytes[4]; /* model files: fp32, int8, dynamic, int8 of the widest layers */
static size_t sizes[4];
static int inputs_of[4] = {INPUTS, INPUTS, INPUTS, 16384};
static uint8_t *wide_images;

static void ok(bool done, const struct error *err) {
    if (!done) fail_msg("%s", err->text);
}

static void make_int8(const struct mlp *mlp, const uint8_t *calibration, size_t count, struct qmlp *q) {
    struct error err = {""};
    struct convert_config config = {.per_channel = true};
    struct mlp_workspace ws;
    struct range ranges[MLP_MAX_LAYERS + 1];
    size_t saturated;
    ok(mlp_workspace_create(&mlp->shape, CALIBRATION_BATCH, false, &ws, &err), &err);
    ok(calibrate(mlp, calibration, count, &config, &ws, ranges, &err), &err);
    ok(convert(mlp, ranges, &config, q, &saturated, &err), &err);
    mlp_workspace_free(&ws);
}

static int make_models(void **state) {
    struct error err = {""};
    struct rng rng = rng_seeded(1);
    struct mlp_shape shape;
    struct mlp mlp, wide;
    struct qmlp q;
    struct dynamic_mlp dynamic;
    struct model_notes notes = {.seed = "1"};
    if (folder_setup(state) != 0) return -1;
    for (size_t i = 0; i < sizeof images; i++) images[i] = rng_below(&rng, 3) ? 0 : (uint8_t)rng_next(&rng);
    wide_images = calloc(IMAGES, 16384);
    for (size_t i = 0; i < IMAGES * 16384; i++) wide_images[i] = (uint8_t)rng_next(&rng);
    ok(mlp_shape_make(INPUTS, hidden, 2, 10, &shape, &err) && mlp_create(&shape, &mlp, &err), &err);
    mlp_initialise(&mlp, &rng);
    ok(model_write_mlp(in_folder("0"), &mlp, &notes, &err), &err);
    make_int8(&mlp, images, IMAGES, &q);
    ok(model_write_qmlp(in_folder("1"), &q, &notes, &err), &err);
    qmlp_free(&q);
    ok(dynamic_convert(&mlp, false, 0, images, IMAGES, &dynamic, &err), &err);
    ok(model_write_dynamic(in_folder("2"), &dynamic, &notes, &err), &err);
    dynamic_free(&dynamic);
    mlp_free(&mlp);
    ok(mlp_shape_make(16384, (int[]){33}, 1, 5, &shape, &err) && mlp_create(&shape, &wide, &err), &err);
    mlp_initialise(&wide, &rng);
    make_int8(&wide, wide_images, IMAGES, &q);
    ok(model_write_qmlp(in_folder("3"), &q, &notes, &err), &err);
    qmlp_free(&q);
    mlp_free(&wide);
    for (int i = 0; i < 4; i++) bytes[i] = read_bytes(in_folder((char[]){(char)('0' + i), 0}), &sizes[i]);
    return 0;
}

static int free_models(void **state) {
    for (int i = 0; i < 4; i++) free(bytes[i]);
    free(wide_images);
    return folder_teardown(state);
}

static mnistq_model *opened(int i) {
    char why[MNISTQ_ERROR_SIZE] = "";
    mnistq_model *m = mnistq_open_memory(bytes[i], sizes[i], why, sizeof why);
    if (!m) fail_msg("%s", why);
    return m;
}

/* The answers of the program's own way to run a model. */
static void expected_classes(int i, const uint8_t *x, size_t count, uint8_t *classes) {
    struct error err = {""};
    struct model model;
    struct model_run r;
    ok(model_read(in_folder((char[]){(char)('0' + i), 0}), &model, NULL, &err), &err);
    int most = model_batch(&model, (int)count);
    ok(model_run_create(&model, most, 1, RUN_FAST, &r, &err), &err);
    for (size_t first = 0; first < count; first += (size_t)most)
        model_run(&r, x + first * (size_t)inputs_of[i],
                  (int)(count - first < (size_t)most ? count - first : (size_t)most), classes + first);
    model_run_free(&r);
    model_free(&model);
}

/* Sums that overflow: answers would differ from kernel to kernel, and say nothing. */
static void models_whose_sums_overflow_are_refused(void **state) {
    (void)state;
    static const char *const paths[] = {"tests/cases/bf16big.st", "tests/cases/dynbig2.st"};
    for (int i = 0; i < 2; i++) {
        char why[MNISTQ_ERROR_SIZE] = "";
        size_t size;
        char *model = read_bytes(paths[i], &size);
        assert_null(mnistq_open_memory(model, size, why, sizeof why));
        assert_non_null(strstr(why, "can leave fp32"));
        assert_null(mnistq_open(paths[i], why, sizeof why));
        assert_non_null(strstr(why, "can leave fp32"));
        free(model);
    }
}

static void answers_are_those_of_the_program(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        mnistq_model *m = opened(i);
        const uint8_t *x = i == 3 ? wide_images : images;
        uint8_t expected[IMAGES], found[IMAGES];
        size_t classes = (size_t)mnistq_classes(m);
        float *logits = calloc(IMAGES * classes, sizeof *logits), *values = calloc(16384, sizeof *values);
        expected_classes(i, x, IMAGES, expected);
        mnistq_classify(m, x, IMAGES, found);
        assert_memory_equal(found, expected, IMAGES);
        mnistq_logits(m, x, IMAGES, logits);
        for (int n = 0; n < IMAGES; n++) {
            size_t ties = 0;
            assert_int_equal(highest_class(logits + (size_t)n * classes, (int)classes, &ties), expected[n]);
        }
        if (i != 2) { /* one image at a time is another batch to a dynamic model */
            assert_int_equal(mnistq_values(m, x, mnistq_layers(m), values), classes);
            for (size_t c = 0; c < classes; c++) assert_close(values[c], logits[c], i ? 0 : 1e-4);
        }
        assert_int_equal(mnistq_values(m, x, 0, values), inputs_of[i]);
        for (int k = 0; k < inputs_of[i]; k++) assert_close(values[k], x[k] / 255.0, 1e-6);
        free(logits);
        free(values);
        mnistq_close(m);
    }
}

static void codes_and_shapes(void **state) {
    (void)state;
    mnistq_model *m = opened(1);
    uint8_t codes[INPUTS];
    float values[INPUTS], scale;
    int zero_point;
    assert_int_equal(mnistq_inputs(m), INPUTS);
    assert_int_equal(mnistq_classes(m), 10);
    assert_int_equal(mnistq_layers(m), 3);
    assert_int_equal(mnistq_width(m, 1), 300);
    assert_int_equal(mnistq_width(m, -1), 0);
    assert_int_equal(mnistq_width(m, 4), 0);
    assert_true(mnistq_is_integer(m));
    for (int layer = 0; layer <= 3; layer++) {
        int width = mnistq_codes(m, images, layer, codes);
        assert_int_equal(width, mnistq_width(m, layer));
        assert_int_equal(mnistq_values(m, images, layer, values), width);
        assert_true(mnistq_scale(m, layer, &scale, &zero_point));
        for (int i = 0; i < width; i++) assert_close(values[i], scale * (float)(codes[i] - zero_point), 0);
        assert_true(mnistq_scale(m, layer, NULL, NULL));
    }
    memset(codes, 77, sizeof codes);
    assert_int_equal(mnistq_codes(m, images, 4, codes), 0);
    assert_int_equal(mnistq_values(m, images, -1, values), 0);
    assert_false(mnistq_scale(m, 4, &scale, &zero_point));
    mnistq_close(m);
    m = opened(0);
    assert_false(mnistq_is_integer(m));
    assert_int_equal(mnistq_codes(m, images, 1, codes), 0);
    assert_false(mnistq_scale(m, 1, &scale, &zero_point));
    assert_int_equal(codes[0], 77);
    mnistq_close(m);
    mnistq_close(NULL);
    assert_string_equal(mnistq_version(), MNISTQ_VERSION);
}

/* ---- small stacks ---- */

struct visit {
    int model;
    size_t count;
    uint8_t found[IMAGES];
    char why[MNISTQ_ERROR_SIZE];
    bool opened;
};

static void *visit(void *argument) {
    struct visit *v = argument;
    mnistq_model *m = mnistq_open_memory(bytes[v->model], sizes[v->model], v->why, sizeof v->why);
    if (!m) return NULL;
    v->opened = true;
    mnistq_classify(m, v->model == 3 ? wide_images : images, v->count, v->found);
    mnistq_values(m, v->model == 3 ? wide_images : images, 1, (float[512]){0});
    mnistq_close(m);
    return NULL;
}

extern size_t __pthread_get_minstack(const pthread_attr_t *attributes) __attribute__((weak));

/* On a stack of 64 KB, which the system guards, beside what glibc takes of it for thread-local variables (OpenBLAS and
 * libgomp have many). */
static void visit_on_a_small_stack(struct visit *v) {
    pthread_t thread;
    pthread_attr_t attributes;
    assert_int_equal(pthread_attr_init(&attributes), 0);
    size_t taken = __pthread_get_minstack ? __pthread_get_minstack(&attributes) : 0;
    size_t more = taken > 16384 ? taken - 16384 : 0;
    assert_int_equal(pthread_attr_setstacksize(&attributes, (64 << 10) + more), 0);
    assert_int_equal(pthread_create(&thread, &attributes, visit, v), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&attributes);
}

static void every_kernel_on_a_small_stack(void **state) {
    (void)state;
    int kernels = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t expected[IMAGES];
        expected_classes(i, i == 3 ? wide_images : images, IMAGES, expected);
        for (int k = 0; qkernels[k]; k++) {
            if (!qkernels[k]->supported()) continue;
            kernels++;
            qkernel_force(qkernels[k]);
            for (size_t count = 1; count <= IMAGES; count = count < 14 ? count + 1 : count + 56) {
                struct visit v = {.model = i, .count = count};
                if (i == 2 && count < IMAGES) continue; /* another batch, other ranges */
                visit_on_a_small_stack(&v);
                if (!v.opened) fail_msg("%s", v.why);
                assert_memory_equal(v.found, expected, count);
            }
            qkernel_force(NULL);
        }
    }
    assert_true(kernels >= 4);
}

/* ---- what is wrong ---- */

static void assert_refused(const void *data, size_t size, const char *part) {
    char why[MNISTQ_ERROR_SIZE] = "";
    if (mnistq_open_memory(data, size, why, sizeof why)) fail_msg("was opened: expected \"%s\"", part);
    assert_contains(why, part);
    assert_null(mnistq_open_memory(data, size, NULL, 0));
    memset(why, 'x', sizeof why);
    assert_null(mnistq_open_memory(data, size, why, 5)); /* cut, with its NUL, and nothing behind */
    assert_int_equal(strlen(why), 4);
    assert_int_equal(why[5], 'x');
}

static void errors_are_told(void **state) {
    (void)state;
    char why[MNISTQ_ERROR_SIZE] = "";
    assert_refused("", 0, "too short for a safetensors file");
    for (int i = 0; i < 4; i++) assert_refused(bytes[i], sizes[i] - 1, "out of range");
    assert_null(mnistq_open(in_folder("nowhere"), why, sizeof why));
    assert_error(why, in_folder("nowhere"), "No such file");
    write_bytes(in_folder("bad"), "1234567890", 10);
    assert_null(mnistq_open(in_folder("bad"), why, sizeof why));
    assert_error(why, in_folder("bad"), "not a safetensors file");
    mnistq_model *m = mnistq_open(in_folder("1"), why, sizeof why);
    assert_non_null(m);
    mnistq_close(m);
}

/* Its first bytes are no header, or promise tensors that no network has: told before memory is taken for the rest. */
static void a_file_of_4_gib_is_judged_by_its_header(void **state) {
    (void)state;
    static const char header[] =
        "{\"__metadata__\":{\"architecture\":\"mlp "
        "784-10\"},\"fc1.weight\":{\"dtype\":\"F32\",\"shape\":[10,784],\"data_offsets\":[0,31360]},"
        "\"x\":{\"dtype\":\"U8\",\"shape\":[4294900000],\"data_offsets\":[31360,4294931360]}}";
    char bytes[8 + sizeof header - 1] = {(char)(sizeof header - 1)}, why[MNISTQ_ERROR_SIZE];
    memcpy(bytes + 8, header, sizeof header - 1);
    write_bytes(in_folder("zeros"), "", 0);
    write_bytes(in_folder("padded"), bytes, sizeof bytes);
    if (truncate(in_folder("zeros"), (off_t)1 << 32) != 0 ||
        truncate(in_folder("padded"), (off_t)(sizeof bytes + 4294931360u)) != 0)
        skip(); /* the file system has no sparse files of that size */
#ifdef CAN_LIMIT_MEMORY
    struct rlimit old = limit_memory((size_t)64 << 20);
#endif
    assert_null(mnistq_open(in_folder("zeros"), why, sizeof why));
    assert_error(why, in_folder("zeros"), "not a safetensors file");
    assert_null(mnistq_open(in_folder("padded"), why, sizeof why));
    assert_error(why, in_folder("padded"), "holds 4294931360 bytes of tensors: expected at most");
#ifdef CAN_LIMIT_MEMORY
    setrlimit(RLIMIT_AS, &old);
#endif
    unlink(in_folder("zeros")), unlink(in_folder("padded"));
}

/* A parser that calls itself for each bracket would leave the stack. */
static void brackets_do_not_fill_the_stack(void **state) {
    (void)state;
    enum { DEPTH = 200000 };
    static const char open[] = {'[', '{'};
    for (int kind = 0; kind < 2; kind++) {
        char *saved = bytes[0];
        size_t saved_size = sizes[0], size = 8, length = DEPTH + 5;
        bytes[0] = malloc(8 + length);
        for (int i = 0; i < 8; i++) bytes[0][i] = (char)(length >> (8 * i) & 0xff);
        memcpy(bytes[0] + 8, "{\"a\":", 5), size += 5;
        while (size < 8 + length) bytes[0][size++] = open[kind];
        if (kind)
            for (size_t i = 13; i + 5 <= size; i += 5) memcpy(bytes[0] + i, "{\"a\":", 5);
        sizes[0] = size;
        struct visit v = {.model = 0, .count = 1};
        visit_on_a_small_stack(&v);
        free(bytes[0]);
        bytes[0] = saved, sizes[0] = saved_size;
        assert_false(v.opened);
        assert_contains(v.why, "nests deeper");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(answers_are_those_of_the_program),
                                       cmocka_unit_test(codes_and_shapes),
                                       cmocka_unit_test(models_whose_sums_overflow_are_refused),
                                       cmocka_unit_test(every_kernel_on_a_small_stack),
                                       cmocka_unit_test(errors_are_told),
                                       cmocka_unit_test(a_file_of_4_gib_is_judged_by_its_header),
                                       cmocka_unit_test(brackets_do_not_fill_the_stack)};
    return cmocka_run_group_tests_name("embed", tests, make_models, free_models);
}
