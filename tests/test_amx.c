/* The kernels on tiles, on any CPU, bit for bit against the references by the checks of test_kernels.c, twice:
 *   amx-int8-model   their source over the plain-C tiles of amx_model.h: packing, blocks, remainders
 *   amx-int8-traps   what is in the library, instruction for instruction: where the CPU has no tiles, each of theirs
 * ends in a signal, whose handler reads it and does it in the model. (Needs AVX-512, with which sums become codes.)
 * Where the CPU has them, the CPU does it, and the model is held against it in this way. And the model against the
 * manual's rules. */
#define AMX_MODEL
#include "amx_traps.h"

#define qkernel_amx_int8 modelled
#include "quant/kernels/amx_int8.c"
#undef qkernel_amx_int8
#undef AMX_MODEL

static const struct qkernel *amx_kernels[3];
#define KERNELS amx_kernels
#include "test_kernels.c"

#include "support.h"

#if defined(__x86_64__) && defined(__linux__)
extern const struct qkernel qkernel_amx_int8, qkernel_avx512vnni;
static struct qkernel trapped;

static int traps_work(void) { return qkernel_avx512vnni.supported(); }

static void use_trapped(void) {
    trapped = qkernel_amx_int8;
    trapped.name = "amx-int8-traps", trapped.supported = traps_work;
    amx_kernels[1] = &trapped;
}

#else
static void use_trapped(void) {}
#endif

static int always(void) { return 1; }

static void use_kernels(void) {
    static struct qkernel model;
    model = modelled;
    model.name = "amx-int8-model", model.supported = always;
    model.left_out = NULL; /* of few rows it is that of another kernel, which plain C does not have */
    amx_kernels[0] = &model;
    use_trapped();
}

/* ---- the model ---- */

static void test_shapes_that_are_refused(void **state) {
    (void)state;
    struct tile_shapes good = tile_shapes_of(23), bad;
    assert_true(amx_model_configure(&good));
    for (int i = 0; i < 6; i++) {
        bad = good;
        if (i == 0) bad.palette = 2;
        if (i == 1) bad.rows[3] = 17;
        if (i == 2) bad.row_bytes[3] = 65;
        if (i == 3) bad.reserved[13] = 1;
        if (i == 4) bad.rows[8] = 1;
        if (i == 5) bad.row_bytes[2] = 0; /* rows without bytes */
        assert_false(amx_model_configure(&bad));
    }
    assert_true(amx_model_configure(&good));
    assert_true(amx_model_tdpbusd(0, 4, 6) && amx_model_tdpbusd(3, 5, 7));
    assert_false(amx_model_tdpbusd(0, 5, 6)); /* 16 rows of sums, 7 of inputs */
    assert_false(amx_model_tdpbusd(0, 4, 4));
    good = tile_shapes_of(16);
    assert_true(amx_model_configure(&good));
    assert_false(amx_model_zero(2)); /* no register without rows */
    amx_model_release();
    assert_false(amx_model_zero(0));
}

/* 2 rows x 2 outputs x 4 inputs by hand: unsigned inputs, signed weights; rows and bytes that are not there stay 0. */
static void test_products_of_bytes(void **state) {
    (void)state;
    struct tile_shapes shapes = {.palette = 1};
    uint8_t x[2][4] = {{255, 1, 2, 3}, {0, 128, 0, 1}}, w[8] = {128, 1, 255, 2, 127, 0, 100, 0}; /* -128 1 -1 2, .. */
    int32_t sums[2][2];
    for (int i = 0; i < 3; i++) shapes.rows[i] = i == 2 ? 1 : 2, shapes.row_bytes[i] = i == 1 ? 4 : 8;
    assert_true(amx_model_configure(&shapes));
    assert_true(amx_model_load(1, x[0], 4) && amx_model_load(2, w, 64) && amx_model_tdpbusd(0, 1, 2));
    assert_true(amx_model_store(0, (uint8_t *)sums, 8));
    assert_int_equal(sums[0][0], 255 * -128 + 1 - 2 + 6);
    assert_int_equal(sums[0][1], 255 * 127 + 200);
    assert_int_equal(sums[1][0], 128 + 2);
    assert_int_equal(sums[1][1], 0);
    assert_int_equal(amx_tile[0].bytes[2][0] | amx_tile[0].bytes[0][8], 0);
}

static void run_check(void **state) {
    int i = (int)(intptr_t)*state;
    difference[0] = 0;
    set_traps();
    checks[i].run();
    if (difference[0]) fail_msg("%s", difference);
}

static void test_that_tiles_ran(void **state) {
    (void)state;
    print_message("# %zu products of tiles in the model\n", amx_products);
    assert_true(amx_products > 100000);
}

int main(void) {
    const struct CMUnitTest model[] = {cmocka_unit_test(test_shapes_that_are_refused),
                                       cmocka_unit_test(test_products_of_bytes)};
    const struct CMUnitTest guard[] = {cmocka_unit_test(test_that_tiles_ran)};
    struct CMUnitTest kernels[CHECKS];
    use_kernels();
    for (int i = 0; i < CHECKS; i++)
        kernels[i] = (struct CMUnitTest){checks[i].name, run_check, NULL, NULL, (void *)(intptr_t)i};
    return cmocka_run_group_tests_name("the model of tiles", model, NULL, NULL) +
        cmocka_run_group_tests_name("kernels on tiles", kernels, NULL, NULL) +
        cmocka_run_group_tests_name("guards", guard, NULL, NULL);
}
