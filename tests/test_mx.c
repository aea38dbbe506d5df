/* Blocks of small floats against implementations that are not ours (golden/README.md, make_ggml.md): microxcaling's
 * weights in all MX formats; ggml's blocks of MXFP4 and NVFP4; and blocks written out by hand. */
#include "golden/golden.h"
#include "lowbit/formats.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdbool.h>

enum { ROWS = 8, COLUMNS = 84, WEIGHTS = ROWS * COLUMNS, GGML_WEIGHTS = 5 * 256 };

static void as_microxcaling(void **state) {
    (void)state;
    static float w[WEIGHTS], expected[WEIGHTS], found[WEIGHTS];
    static uint8_t bytes[2 * WEIGHTS];
    struct st_file *file = golden_open("tests/golden/mx.safetensors");
    golden_copy(file, "weights", ST_F32, WEIGHTS, w);
    int formats_found = 0;
    for (const struct format *f = formats; f->name; f++) {
        if (strncmp(f->name, "mx", 2) != 0) continue;
        golden_copy(file, f->name, ST_F32, WEIGHTS, expected);
        codec_encode((struct codec){f, 0}, w, NULL, ROWS, COLUMNS, bytes);
        codec_decode((struct codec){f, 0}, bytes, ROWS, COLUMNS, found);
        for (int i = 0; i < WEIGHTS; i++)
            if (!(found[i] == expected[i]))
                fail_msg("%s: weight %d of row %d: %.9g became %.9g, not %.9g", f->name, i % COLUMNS, i / COLUMNS, w[i],
                         found[i], expected[i]);
        formats_found++;
    }
    assert_int_equal(formats_found, 6);
    golden_close(file);
}

/* ggml keeps all scales of a block in front and has code i of n beside code n / 2 + i; here each scale stands before
 * its codes and code 2 i beside 2 i + 1. block: weights of ggml's block; sub: those of a scale. */
static void block_from_ggml(const uint8_t *theirs, int block, int sub, uint8_t *ours) {
    int scales = block / sub;
    for (int s = 0; s < scales; s++) {
        const uint8_t *codes = theirs + scales + s * sub / 2;
        uint8_t *to = ours + s * (1 + sub / 2);
        to[0] = theirs[s];
        for (int i = 0; i < sub; i++) {
            int code = i < sub / 2 ? codes[i] & 15 : codes[i - sub / 2] >> 4;
            to[1 + i / 2] = (uint8_t)(i % 2 ? to[1 + i / 2] | code << 4 : code);
        }
    }
}

/* Reads n weights in ggml's blocks, as bytes of ours, and what ggml makes of them. */
static void read_ggml(const struct st_file *file, const char *name, int block, int sub, int n, const char *blocks,
                      const char *floats, uint8_t *ours, float *expected) {
    static uint8_t theirs[GGML_WEIGHTS];
    char tensor[32];
    int size = block / sub * (1 + sub / 2);
    snprintf(tensor, sizeof tensor, "%s.%s", name, blocks);
    golden_copy(file, tensor, ST_U8, (size_t)(n / block * size), theirs);
    for (int b = 0; b < n / block; b++) block_from_ggml(theirs + b * size, block, sub, ours + b * size);
    snprintf(tensor, sizeof tensor, "%s.%s", name, floats);
    golden_copy(file, tensor, ST_F32, (size_t)n, expected);
}

static void decode_blocks(const struct format *f, const uint8_t *bytes, int n, float *w) {
    for (int i = 0; i < n; i += f->block, bytes += format_bytes(f, f->block)) f->decode(f, bytes, f->block, w + i);
}

/* Scales and weights of our encoder are ggml's where it rounds as the specification asks: it takes the lower number on
 * a tie, and rounds scales of NVFP4 up on one; below E4M3's normal numbers it rounds to 7/512 at most. */
static void as_ggml(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int block, sub;
    } cases[] = {{"mxfp4", 32, 32}, {"nvfp4", 64, 16}};
    static float w[GGML_WEIGHTS], expected[GGML_WEIGHTS], found[GGML_WEIGHTS];
    static uint8_t theirs[GGML_WEIGHTS], ours[GGML_WEIGHTS];
    struct st_file *file = golden_open("tests/golden/ggml.safetensors");
    for (size_t t = 0; t < sizeof cases / sizeof *cases; t++) {
        const struct format *f = format_find(cases[t].name);
        const int n = 128;
        read_ggml(file, f->name, cases[t].block, cases[t].sub, n, "random", "random_decoded", theirs, expected);
        decode_blocks(f, theirs, n, found);
        for (int i = 0; i < n; i++) assert_true(found[i] == expected[i]);
        read_ggml(file, f->name, cases[t].block, cases[t].sub, GGML_WEIGHTS, "blocks", "decoded", theirs, expected);
        decode_blocks(f, theirs, GGML_WEIGHTS, found);
        golden_copy(file, "weights", ST_F32, GGML_WEIGHTS, w);
        size_t size = format_bytes(f, f->block);
        int same = 0;
        for (int i = 0; i < GGML_WEIGHTS; i += f->block)
            f->encode(f, w + i, NULL, f->block, ours + (size_t)(i / f->block) * size);
        decode_blocks(f, ours, GGML_WEIGHTS, found);
        for (int i = 0; i < GGML_WEIGHTS; i++) {
            bool tie = fabs((double)w[i] - found[i]) == fabs((double)w[i] - expected[i]);
            same += found[i] == expected[i];
            if (!(found[i] == expected[i] || tie))
                fail_msg("%s: weight %d: %.9g became %.9g, with ggml %.9g", f->name, i, w[i], found[i], expected[i]);
        }
        assert_true(same > GGML_WEIGHTS * 9 / 10);
    }
    golden_close(file);
}

/* The codec's F32 scales stand in front: the widest weight over 448, 57344, or 6 * 448. */
static void scales_of_the_codec(void **state) {
    (void)state;
    static const float w[2][4] = {{-896, 448, 2, 0}, {0.25f, 0.125f, -0.0625f, 7}}; /* 7 / 448 = 2^-6 */
    static const uint8_t by_row[2][4] = {{0xfe, 0x76, 0x38, 0x00}, {0x58, 0x50, 0xc8, 0x7e}};
    static const uint8_t in_all[2][4] = {{0xfe, 0x76, 0x38, 0x00}, {0x20, 0x18, 0x90, 0x46}};
    const float scales[2] = {2, 0x1p-6f};
    uint8_t bytes[2 * 4 + 8];
    struct codec row = {format_find("fp8_e4m3"), CODEC_ROW}, tensor = {format_find("fp8_e4m3"), CODEC_TENSOR};
    assert_int_equal(codec_scales(row, 2, 4), 2);
    assert_int_equal(codec_bytes(row, 2, 4), 16);
    codec_encode(row, w[0], NULL, 2, 4, bytes);
    assert_memory_equal(bytes, scales, 8);
    assert_memory_equal(bytes + 8, by_row, 8);
    assert_int_equal(codec_bytes(tensor, 2, 4), 12);
    codec_encode(tensor, w[0], NULL, 2, 4, bytes);
    assert_memory_equal(bytes, scales, 4);
    assert_memory_equal(bytes + 4, in_all, 8);

    static const float v[2][4] = {{-5376, 1344, 448, 0}, {6, 3, -1, 0.5f}}; /* 5376 / (6 * 448) = 2 */
    static const uint8_t nvfp4[2][3] = {{0x7e, 0x3f, 0x01}, {0x30, 0x57, 0x1a}};
    struct codec nv = {format_find("nvfp4"), 0};
    assert_int_equal(codec_bytes(nv, 2, 4), 4 + 2 * 3);
    codec_encode(nv, v[0], NULL, 2, 4, bytes);
    assert_memory_equal(bytes, scales, 4);
    assert_memory_equal(bytes + 4, nvfp4, 6);
    assert_int_equal(codec_scales((struct codec){format_find("mxfp4"), 0}, 2, 4), 0);
    assert_int_equal(codec_scales((struct codec){format_find("fp8_e5m2"), 3}, 2, 4), 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_microxcaling), cmocka_unit_test(as_ggml),
                                       cmocka_unit_test(scales_of_the_codec)};
    return cmocka_run_group_tests_name("mx", tests, NULL, NULL);
}
