/* Weights of three and of two values: scales and codes against programs that are not ours (golden/README.md), bytes
 * written out by hand, and the integer models that hold them. */
#include "base/rng.h"
#include "golden/golden.h"
#include "lowbit/half.h"
#include "lowbit/qat.h"
#include "lowbit/ternary.h"
#include "model/model_file.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <unistd.h>

enum { ROWS = 6, COLUMNS = 83, WEIGHTS = ROWS * COLUMNS };

/* The same signs and zeros, and their scale as fp16 holds it. */
static void as_others(void **state) {
    (void)state;
    static const struct {
        const char *format;
        int block, values;
    } cases[] = {{"ternary", CODEC_ROW, 3}, {"bitnet", CODEC_TENSOR, 3}, {"binary", CODEC_ROW, 2}};
    static float w[WEIGHTS], expected[WEIGHTS], found[WEIGHTS];
    static uint8_t bytes[WEIGHTS];
    struct st_file *file = golden_open("tests/golden/ternary.safetensors");
    golden_copy(file, "weights", ST_F32, WEIGHTS, w);
    for (int t = 0; t < 3; t++) {
        struct codec c = {format_find(cases[t].format), cases[t].block};
        int seen[3] = {0};
        golden_copy(file, cases[t].format, ST_F32, WEIGHTS, expected);
        codec_encode(c, w, NULL, ROWS, COLUMNS, bytes);
        codec_decode(c, bytes, ROWS, COLUMNS, found);
        for (int i = 0; i < WEIGHTS; i++) {
            float scale = float_from_half(half_from_float(fabsf(expected[i])));
            if (!(found[i] == copysignf(scale, expected[i])))
                fail_msg("%s: weight %d: %.9g became %.9g, not %.9g", cases[t].format, i, w[i], found[i], expected[i]);
            seen[found[i] < 0 ? 0 : found[i] > 0 ? 2 : 1]++;
        }
        assert_true(seen[0] && seen[2] && (seen[1] > 0) == (cases[t].values == 3));
    }
    golden_close(file);
}

static void bytes_as_drawn(void **state) {
    (void)state;
    /* TWN: mean |w| 1, threshold 0.7, scale 1.5 of 1, 1.5, 2; digits + 1: 2 1 0 1 2, and 1 */
    const float w[6] = {1.5f, 0.25f, -2, -0.5f, 1, 0.75f - 0.0625f};
    const float mean = (1.5f + 0.25f + 2 + 0.5f + 1 + 0.6875f) / 6;
    const uint8_t expected[4] = {0x00, 0x3e, 2 + 1 * 3 + 0 * 9 + 1 * 27 + 2 * 81, 1};
    uint8_t bytes[5], codes[7];
    const struct format *ternary = format_find("ternary"), *binary = format_find("binary");
    assert_true(0.7f * mean < 0.6875f + 0.02f); /* 0.6927: the last weight is below it */
    assert_int_equal(format_bytes(ternary, 6), 4);
    ternary->encode(ternary, w, NULL, 6, bytes);
    assert_memory_equal(bytes, expected, 4);
    const float signs[9] = {1, -3, 2, 2, -2, -2, 3, 1, -2}; /* mean 2 */
    const uint8_t in_bits[4] = {0x00, 0x40, 0xcd, 0x00};
    assert_int_equal(format_bytes(binary, 9), 4);
    binary->encode(binary, signs, NULL, 9, bytes);
    assert_memory_equal(bytes, in_bits, 4);
    /* bytes that no encoder writes still hold codes of three values */
    const uint8_t beyond[1] = {255};
    unpack_bits(beyond, 5, TRITS, codes);
    for (int i = 0; i < 5; i++) assert_in_range(codes[i], 0, 2);
}

static void every_byte_of_trits(void **state) {
    (void)state;
    for (int byte = 0; byte < 243; byte++) {
        uint8_t in = (uint8_t)byte, out, codes[5];
        unpack_bits(&in, 5, TRITS, codes);
        assert_int_equal(codes[0] + 3 * codes[1] + 9 * codes[2] + 27 * codes[3] + 81 * codes[4], byte);
        pack_bits(codes, 5, TRITS, &out);
        assert_int_equal(out, byte);
    }
    for (int code = -1; code <= 1; code++) assert_int_equal(signed_code(stored_code(code, TRITS), TRITS), code);
    for (int code = -1; code <= 1; code += 2) assert_int_equal(signed_code(stored_code(code, 1), 1), code);
    for (int code = -8; code < 8; code++) assert_int_equal(signed_code(stored_code(code, 4), 4), code);
    assert_int_equal(packed_bytes(784, TRITS), 157);
}

/* An integer network with codes of -1, 0, 1 (or -1, 1) keeps them, and its answers, through a file. */
static void integer_models(void **state) {
    (void)state;
    static const struct mlp_shape shape = {2, {13, 11, 3}};
    const struct range ranges[3] = {{0, 1}, {0, 4}, {-9, 9}};
    for (int bits = TRITS; bits <= 1; bits += 2) {
        struct rng rng = rng_seeded(3);
        struct mlp mlp;
        struct qmlp q;
        struct model read;
        struct model_notes notes = {.weight_bits = bits}, back;
        struct error err;
        size_t saturated;
        char path[] = "/tmp/mnistq-ternary-XXXXXX";
        int file = mkstemp(path), seen[3] = {0};
        assert_true(file >= 0 && close(file) == 0);
        assert_true(mlp_create(&shape, &mlp, &err));
        mlp_initialise(&mlp, &rng);
        assert_true(qat_convert(&mlp, bits, ranges, &q, &saturated, &err));
        assert_true(model_write_qmlp(path, &q, &notes, &err) && model_read(path, &read, &back, &err));
        assert_int_equal(back.weight_bits, bits);
        assert_int_equal(read.kind, MODEL_INT8);
        for (int l = 0; l < 2; l++) {
            const struct qlinear *a = &q.layer[l], *b = &read.qmlp.layer[l];
            for (int i = 0; i < a->in * a->out; i++) {
                int code = a->weight[i];
                assert_in_range(code + 1, 0, 2);
                assert_true(mlp.layer[l].weight[i] * (float)code >= 0);
                seen[code + 1]++;
            }
            assert_memory_equal(a->weight, b->weight, (size_t)(a->in * a->out));
        }
        assert_true(seen[0] && seen[2] && (seen[1] > 0) == (bits == TRITS));
        double bytes = bits == 1 ? 11 * 2 + 3 * 2 : 11 * 3 + 3 * 3; /* of rows of 13 and of 11 codes */
        assert_true(fabs(read.bits_per_weight - 8 * (bytes + 4 * 14) / (13 * 11 + 11 * 3)) < 1e-9);
        unlink(path);
        model_free(&read);
        qmlp_free(&q);
        mlp_free(&mlp);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_others), cmocka_unit_test(bytes_as_drawn),
                                       cmocka_unit_test(every_byte_of_trits), cmocka_unit_test(integer_models)};
    return cmocka_run_group_tests_name("ternary", tests, NULL, NULL);
}
