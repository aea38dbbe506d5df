/* GGUF files: what ggml wrote is read, what is hostile is refused before it is used. (That the exporter's files give
 * the same model: tests/cli/export.sh.) */
#include "model/gguf.h"

#include "base/file.h"
#include "model/model_run.h"
#include "support.h"

static uint8_t *golden;
static size_t golden_size;
static struct st_file file; /* too large for a stack */

static int read_golden(void **state) {
    struct error err;
    (void)state;
    return file_read_all("tests/golden/ggml.gguf", 1 << 20, &golden, &golden_size, &err) ? 0 : -1;
}

static int free_golden(void **state) {
    (void)state;
    free(golden);
    return 0;
}

static void reads_what_ggml_wrote(void **state) {
    static const float expected[8] = {-0x1.466ep+0f, -0x1.49p-5f,   0x1.2f5c8p+0f, -0x1.1fep-3f,
                                      0x1.148p+0f,   -0x1.f20cp-3f, 0x1.f90ep-1f,  -0x1.5ea2p-2f};
    struct model model;
    struct error err = {""};
    float w[256];
    (void)state;
    if (!st_parse(golden, golden_size, &file, &err) || !model_parse(&file, &model, NULL, &err))
        fail_msg("%s", err.text);
    assert_int_equal(model.shape.layers, 2);
    assert_int_equal(model.shape.widths[0], 64);
    assert_int_equal(model.shape.widths[2], 3);
    model_weights(&model, 0, w);
    for (int i = 0; i < 8; i++) assert_true(w[i * 31] == expected[i]);
    model_weights(&model, 1, w);
    for (int i = 0; i < 12; i++) assert_true(w[i] == (float)(i % 5 - 2) / 4);
    model_free(&model);
}

/* The golden file with size bytes at from in the place of others; what is said of it. */
static const char *error_of(size_t at, const void *bytes, size_t size, size_t whole) {
    static struct error err;
    uint8_t *copy = malloc(whole + 1); /* of its own size, so that a sanitizer sees a read beyond it */
    assert_non_null(copy);
    memcpy(copy, golden, whole);
    if (size) memcpy(copy + at, bytes, size);
    err.text[0] = 0;
    bool ok = st_parse(copy, whole, &file, &err);
    assert_int_equal(ok, !err.text[0]);
    free(copy);
    return err.text;
}

static size_t position(const char *text) {
    const uint8_t *found = memmem(golden, golden_size, text, strlen(text));
    assert_non_null(found);
    return (size_t)(found - golden);
}

static void refused(const char *why, size_t at, const void *bytes, size_t size) {
    const char *said = error_of(at, bytes, size, golden_size);
    if (!strstr(said, why)) fail_msg("said \"%s\", expected \"%s\"", said, why);
}

static void refuses_what_is_wrong(void **state) {
    const uint8_t ones[8] = {255, 255, 255, 255, 255, 255, 255, 255}, zeros[8] = {0}, three[4] = {3};
    size_t weight = position("fc1.weight") + 10, key = position("test.array"), last = position("fc2.bias");
    (void)state;
    assert_string_equal(error_of(0, NULL, 0, golden_size), "");
    refused("version", 4, ones, 4);
    refused("version", 4, (const uint8_t[4]){1}, 4);
    refused("tensors", 8, ones, 8);
    refused("tensors", 8, zeros, 8);
    refused("cut", 16, ones, 8);                               /* pairs */
    refused("no text", key - 8, ones, 8);                      /* a key's length */
    refused("no text", key, ones, 1);                          /* no UTF-8 */
    refused("no type", key + 10, ones, 4);                     /* a value's type */
    refused("test.array", key + 18, ones, 8);                  /* elements of an array */
    refused("test.array", key + 14, (const uint8_t[4]){9}, 4); /* arrays of arrays */
    refused("dimensions", weight, three, 4);
    refused("dimension of 0", weight + 4, zeros, 8);
    refused("dimension of", weight + 12, ones, 8);
    refused("multiple of 32", weight + 4, (const uint8_t[8]){63}, 8);
    refused("type 4", weight + 20, (const uint8_t[4]){4}, 4);
    refused("begins at", weight + 24, ones, 8);
    refused("begins at", weight + 24, (const uint8_t[8]){32}, 8);
    refused("called fc1.weight", position("fc2.weight"), "fc1.weight", 10);
    refused("cut short", last + 8 + 4, (const uint8_t[8]){255, 255}, 8);
}

/* Every beginning of it is refused, and no byte in it makes the reader leave what it was given (a sanitizer would
 * tell), or a model that cannot be run. */
static void survives_every_cut_and_byte(void **state) {
    (void)state;
    size_t end = golden_size - 20; /* the last tensor's 12 bytes; padding may be missing */
    for (size_t size = 4; size < end; size++) assert_true(error_of(0, NULL, 0, size)[0]);
    for (size_t at = 4; at < golden_size; at++)
        for (int bit = 0; bit < 8; bit++) {
            uint8_t *copy = malloc(golden_size);
            struct model model;
            struct error err;
            assert_non_null(copy);
            memcpy(copy, golden, golden_size);
            copy[at] ^= (uint8_t)(1 << bit);
            if (st_parse(copy, golden_size, &file, &err) && model_parse(&file, &model, NULL, &err)) {
                struct model_run run;
                uint8_t image[4096] = {0}, class;
                assert_true(model.shape.widths[0] <= 4096 && model.shape.widths[2] <= 256);
                assert_true(model_run_create(&model, 1, 1, RUN_FAST, &run, &err));
                model_run(&run, image, 1, &class);
                model_run_free(&run);
                model_free(&model);
            }
            free(copy);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(reads_what_ggml_wrote), cmocka_unit_test(refuses_what_is_wrong),
                                       cmocka_unit_test(survives_every_cut_and_byte)};
    return cmocka_run_group_tests(tests, read_golden, free_golden);
}
