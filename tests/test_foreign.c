/* Networks that others saved: the same numbers under other names, in other floats and orders, are the same network;
 * what names do not tell, what is missing and what is no number is refused with what was found. */
#include "model/foreign.h"

#include <math.h>

#include "lowbit/half.h"
#include "model/model_run.h"
#include "support.h"

/* 3 -> 4 -> 4 -> 2 with numbers that every float holds. */
static const size_t widths[] = {3, 4, 4, 2};
static float weight[3][16], bias[3][4];
static struct st_file made, file; /* too large for a stack */

static int fill_numbers(void **state) {
    for (int l = 0; l < 3; l++)
        for (int i = 0; i < 16; i++) {
            weight[l][i] = (float)((i * 7 + l * 5) % 13 - 6) / 8;
            if (i < 4) bias[l][i] = (float)(i + l - 2) / 4;
        }
    return folder_setup(state);
}

/* The elements in another float, from machine order as st_write wants them. */
static const void *as(enum st_dtype dtype, const float *from, size_t count) {
    static double wide[8][16];
    static uint16_t half[8][16];
    static int turn;
    turn = (turn + 1) % 8;
    for (size_t i = 0; i < count; i++) {
        wide[turn][i] = (double)from[i];
        half[turn][i] = dtype == ST_F16 ? half_from_float(from[i]) : bfloat_from_float(from[i]);
    }
    return dtype == ST_F64 ? (const void *)wide[turn] : dtype == ST_F32 ? (const void *)from : half[turn];
}

/* format: of a name, with the number and "weight" or "bias" */
static void add_layer(int l, const char *format, int number, enum st_dtype dtype, bool with_bias) {
    char name[ST_NAME];
    size_t in = widths[l], out = widths[l + 1];
    if (with_bias) { /* first, so that the order is another */
        snprintf(name, sizeof name, format, number, "bias");
        st_add(&made, name, dtype, out, 0, as(dtype, bias[l], out));
    }
    snprintf(name, sizeof name, format, number, "weight");
    st_add(&made, name, dtype, out, in, as(dtype, weight[l], out * in));
}

static void begin(void) { made = (struct st_file){0}; }

/* Backwards in the file: layers 3, 2, 1. */
static void make(const char *format, int first, int step, enum st_dtype dtype, bool with_bias) {
    begin();
    for (int l = 2; l >= 0; l--) add_layer(l, format, first + l * step, dtype, with_bias);
}

static void taken(bool with_bias) {
    struct error err = {""};
    struct model model;
    const char *path = in_folder("foreign");
    if (!st_write(path, &made, &err) || !model_read(path, &model, NULL, &err)) fail_msg("%s", err.text);
    assert_int_equal(model.kind, MODEL_FP32);
    assert_int_equal(model.shape.layers, 3);
    for (size_t l = 0; l < 3; l++) {
        assert_int_equal(model.shape.widths[l + 1], widths[l + 1]);
        assert_memory_equal(model.mlp.layer[l].weight, weight[l], widths[l] * widths[l + 1] * sizeof(float));
        for (size_t i = 0; i < widths[l + 1]; i++)
            assert_true(model.mlp.layer[l].bias[i] == (with_bias ? bias[l][i] : 0));
    }
    model_free(&model);
}

static void refused(const char *expected) {
    struct error err = {""};
    struct model model;
    const char *path = in_folder("foreign");
    if (!st_write(path, &made, &err)) fail_msg("%s", err.text);
    if (model_read(path, &model, NULL, &err)) fail_msg("was read; expected: %s", expected);
    assert_error(err.text, path, expected);
}

static void names_floats_and_orders_of_others(void **state) {
    static const struct {
        const char *format;
        int first, step;
    } names[] = {{"fc%d.%s", 1, 1},
                 {"fc%d.%s", 0, 1},
                 {"%d.%s", 0, 2},
                 {"%d.%s", 1, 2},
                 {"net.%d.%s", 0, 3},
                 {"module.fc%d.%s", 1, 1},
                 {"module.net.%d.%s", 0, 2},
                 {"layers.%d.%s", 0, 1},
                 {"layers.%d.linear.%s", 0, 1},
                 {"linear%d.%s", 1, 1},
                 {"model.fc%d.%s", 1, 1},
                 {"v2.layer_%d.%s", 1, 1}};
    static const enum st_dtype floats[] = {ST_F32, ST_F16, ST_BF16, ST_F64};
    (void)state;
    for (size_t n = 0; n < sizeof names / sizeof *names; n++)
        for (size_t f = 0; f < 4; f++)
            for (int with_bias = 0; with_bias < 2; with_bias++) {
                make(names[n].format, names[n].first, names[n].step, floats[f], with_bias);
                taken(with_bias);
            }
    begin(); /* floats of several kinds */
    for (int l = 2; l >= 0; l--) add_layer(l, "net.%d.%s", 1 + l, l == 1 ? ST_F64 : ST_F16, true);
    taken(true);
}

static void numbers_are_not_sorted_as_text(void **state) {
    struct error err = {""};
    struct mlp_shape shape;
    char name[ST_NAME];
    static const float zeros[12 * 13];
    (void)state;
    begin();
    for (int l = 11; l >= 0; l--) {
        snprintf(name, sizeof name, "net.%d.weight", l);
        st_add(&made, name, ST_F32, (size_t)l + 2, (size_t)l + 1, zeros);
    }
    assert_true(foreign_shape(&made, &shape, &err));
    for (int l = 0; l <= 12; l++) assert_int_equal(shape.widths[l], l + 1);
}

static void what_names_do_not_tell_is_refused_with_what_was_found(void **state) {
    (void)state;
    make("fc%d.%s", 1, 1, ST_F32, false);
    strcpy(made.tensors[0].name, "out.weight");
    refused("do not tell the order of layers: found out.weight F32 [2, 4], fc2.weight F32 [4, 4], fc1.weight");
    make("fc%d.%s", 1, 1, ST_F32, true);
    strcpy(made.tensors[2].name, "linear2.bias");
    refused("more than one kind");
    make("net.%d.%s", 0, 2, ST_F32, true);
    st_add(&made, "net.1.running_mean", ST_F32, 4, 0, bias[0]);
    refused("net.1.running_mean F32 [4]");
    make("fc%d.%s", 1, 2, ST_F32, true); /* fc1, fc3, fc5 */
    refused("a layer seems to be missing: found");
    make("fc%d.%s", 2, 1, ST_F32, true); /* fc2, fc3, fc4 */
    refused("a layer seems to be missing: found");
    make("net.%d.%s", 0, 2, ST_F32, true);
    strcpy(made.tensors[0].name, "net.6.bias"), strcpy(made.tensors[1].name, "net.6.weight");
    refused("do not tell whether one is missing: found net.6.");
    make("net.%d.%s", 0, 4, ST_F32, true);
    refused("a layer seems to be missing");
    make("net.%d.%s", 4, 2, ST_F32, true);
    refused("a layer seems to be missing");
    make("net.%d.%s", 0, 2, ST_F32, true);
    made.tensors[1] = made.tensors[--made.tensor_count]; /* net.4.weight is gone */
    refused("a bias and no weight: found");
    make("net.%d.%s", 0, 2, ST_F32, true);
    strcpy(made.tensors[0].name, "net.00.bias");
    refused("do not tell the order");
    make("net.%d.%s", 0, 2, ST_F32, true);
    strcpy(made.tensors[0].name, "net.99999999999999999999.bias");
    refused("do not tell the order");
    make("net.%d.%s", 0, 2, ST_F32, true);
    strcpy(made.tensors[0].name, "weight");
    refused("do not tell the order");
    begin();
    for (int l = 0; l < 17; l++) {
        char name[ST_NAME];
        snprintf(name, sizeof name, "%d.weight", l);
        st_add(&made, name, ST_F32, 4, 4, weight[0]);
    }
    refused("more than 16 layers");
    begin();
    refused("found no tensor");
}

static void shapes_dtypes_and_numbers_that_do_not_fit_are_refused(void **state) {
    static const double large[8] = {0, 1e39}, never[8] = {NAN};
    static const float infinite[8] = {0, 0, INFINITY};
    static const uint16_t half[8] = {0, 0, 0, 0x7e00}, brain[8] = {0xff80};
    static const int8_t codes[8] = {0};
    (void)state;
#define CASE(dtype, rows, cols, data, expected)                                                                        \
    begin();                                                                                                           \
    add_layer(2, "net.%d.%s", 2, ST_F32, false);                                                                       \
    st_add(&made, "net.0.weight", dtype, rows, cols, data);                                                            \
    refused(expected)
    CASE(ST_I8, 4, 2, codes, "tensor net.0.weight is I8: expected F32, F16, BF16 or F64");
    CASE(ST_F32, 2, 4, infinite, "tensor net.2.weight takes 4 inputs, the layer before gives 2: expected [outputs]");
    CASE(ST_F32, 8, 0, infinite, "tensor net.0.weight: expected a matrix of 1 to");
    CASE(ST_F32, 4, 2, infinite, "tensor net.0.weight: element 2 is not a finite number");
    CASE(ST_F64, 4, 2, large, "tensor net.0.weight: element 1 is 1e+39: larger than fp32 holds");
    CASE(ST_F64, 4, 2, never, "tensor net.0.weight: element 0 is not a finite number");
    CASE(ST_F16, 4, 2, half, "tensor net.0.weight: element 3 is not a finite number");
    CASE(ST_BF16, 4, 2, brain, "tensor net.0.weight: element 0 is not a finite number");
    make("net.%d.%s", 0, 2, ST_F32, true);
    made.tensors[0].shape[0] = 1, made.tensors[0].elements = 1, made.tensors[0].bytes = 4;
    refused("tensor net.4.bias: expected 2 numbers, one for each row of net.4.weight");
    make("net.%d.%s", 0, 2, ST_F32, true);
    made.tensors[0].dtype = ST_I32;
    refused("tensor net.4.bias is I32");
}

/* A file that says it is of this program keeps this program's rules. */
static void our_own_files_are_read_as_ours(void **state) {
    (void)state;
    make("fc%d.%s", 1, 1, ST_F32, false);
    assert_true(foreign_is(&made));
    st_add_metadata(&made, "architecture", "mlp 3-4-4-2");
    refused("tensor fc1.bias is missing");
    make("fc%d.%s", 1, 1, ST_F16, true);
    st_add_metadata(&made, "architecture", "mlp 3-4-4-2");
    refused("tensor fc1.weight is F16: expected F32");
}

/* In place, with memory that st_free takes back. */
static void converts_a_file_into_ours(void **state) {
    struct error err = {""};
    (void)state;
    make("%d.%s", 0, 2, ST_BF16, false);
    assert_true(st_write(in_folder("foreign"), &made, &err));
    assert_true(st_read(in_folder("foreign"), &file, &err));
    size_t bytes = file.file_bytes;
    assert_true(foreign_is(&file));
    assert_true(foreign_convert(&file, &err));
    assert_false(foreign_is(&file));
    assert_int_equal(file.tensor_count, 6);
    assert_int_equal(file.file_bytes, bytes);
    assert_string_equal(st_metadata(&file, "architecture"), "mlp 3-4-4-2");
    const struct st_tensor *t = st_find(&file, "fc3.weight");
    assert_non_null(t);
    assert_int_equal(t->dtype, ST_F32);
    for (size_t i = 0; i < t->elements; i++) assert_true(float_read((const uint8_t *)t->data + 4 * i) == weight[2][i]);
    st_free(&file);
    make("%d.%s", 0, 5, ST_BF16, false); /* refused: as it was */
    assert_false(foreign_convert(&made, &err));
    assert_int_equal(made.tensor_count, 3);
    assert_null(st_metadata(&made, "architecture"));
}

/* No bit of a header makes the reader leave what it was given (a sanitizer would tell). */
static void survives_every_bit(void **state) {
    struct error err = {""};
    size_t size;
    (void)state;
    make("net.%d.%s", 0, 2, ST_F64, true);
    assert_true(st_write(in_folder("foreign"), &made, &err));
    char *good = read_bytes(in_folder("foreign"), &size);
    for (size_t at = 0; at < size; at++)
        for (int bit = 0; bit < 8; bit++) {
            char *copy = malloc(size);
            struct model model;
            assert_non_null(copy);
            memcpy(copy, good, size);
            copy[at] = (char)(copy[at] ^ 1 << bit);
            err.text[0] = 0;
            if (st_parse(copy, size, &file, &err) && model_parse(&file, &model, NULL, &err)) model_free(&model);
            else assert_true(err.text[0] && !strchr(err.text, '\n'));
            free(copy);
        }
    free(good);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(names_floats_and_orders_of_others),
                                       cmocka_unit_test(numbers_are_not_sorted_as_text),
                                       cmocka_unit_test(what_names_do_not_tell_is_refused_with_what_was_found),
                                       cmocka_unit_test(shapes_dtypes_and_numbers_that_do_not_fit_are_refused),
                                       cmocka_unit_test(our_own_files_are_read_as_ours),
                                       cmocka_unit_test(converts_a_file_into_ours),
                                       cmocka_unit_test(survives_every_bit)};
    return cmocka_run_group_tests(tests, fill_numbers, folder_teardown);
}
