/* The kernels on tiles, on any CPU, bit for bit against the references by the checks of test_kernels.c, twice:
 *   amx-int8-model   their source over the plain-C tiles of amx_model.h: packing, blocks, remainders
 *   amx-int8-traps   what is in the library, instruction for instruction: where the CPU has no tiles, each of theirs
 * ends in a signal, whose handler reads it and does it in the model. (Needs AVX-512, with which sums become codes.)
 * Where the CPU has them, the CPU does it. And the model against the manual's rules, and against the CPU where it has
 * tiles. */
#define AMX_MODEL
#include "amx_model.h"

#define qkernel_amx_int8 modelled
#include "quant/kernels/amx_int8.c"
#undef qkernel_amx_int8
#undef AMX_MODEL

static const struct qkernel *amx_kernels[3];
#define KERNELS amx_kernels
#include "test_kernels.c"

#include "support.h"

#if defined(__x86_64__) && defined(__linux__)
#include <signal.h>
#include <ucontext.h>

extern const struct qkernel qkernel_amx_int8, qkernel_avx512vnni;
static struct qkernel trapped;

/* What a byte of ModRM and what follows it address; at points behind them on return. */
struct address {
    uint8_t *base; /* with the displacement */
    size_t index;  /* scaled */
    const uint8_t *end;
};

static struct address read_address(const ucontext_t *context, const uint8_t *modrm, int base_high, int index_high) {
    static const int registers[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                    REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    const greg_t *value = context->uc_mcontext.gregs;
    int mod = *modrm >> 6, rm = *modrm & 7;
    const uint8_t *at = modrm + 1;
    int64_t base = 0, index = 0;
    int32_t far = 0;
    if (rm == 4) {
        int sib = *at++;
        rm = sib & 7;
        if ((sib >> 3 & 7) != 4 || index_high) index = value[registers[(sib >> 3 & 7) + index_high]] << (sib >> 6);
        if (rm != 5 || mod) base = value[registers[rm + base_high]];
    } else if (rm != 5 || mod) base = value[registers[rm + base_high]];
    if (mod == 1) far = (int8_t)*at++;
    else if (mod == 2 || (rm == 5 && !mod)) memcpy(&far, at, sizeof far), at += 4;
    if (!mod && (*modrm & 7) == 5) base = (int64_t)(intptr_t)at; /* relative to what comes next */
    return (struct address){(uint8_t *)(intptr_t)(base + far), (size_t)index, at};
}

enum { CONFIGURE = 0x49, LOAD_OR_STORE = 0x4b, BFLOATS = 0x5c, BYTES = 0x5e };

/* One instruction of VEX.128.0F38.W0; which of its opcode is told by the prefix that it stands for: none, 66, F3, F2.
 * Returns where the next one is; NULL: none of ours. */
static const uint8_t *emulate(const ucontext_t *context, const uint8_t *at) {
    enum { NONE, X66, XF3, XF2 };
    if (at[0] != 0xc4 || (at[1] & 0x1f) != 2 || (at[2] & 0x84)) return NULL;
    int prefix = at[2] & 3, third = ~at[2] >> 3 & 15, opcode = at[3], reg = at[4] >> 3 & 7, rm = at[4] & 7;
    bool of_registers = at[4] >> 6 == 3, ok = false;
    struct address memory = {0};
    if (!of_registers) memory = read_address(context, at + 4, at[1] & 0x20 ? 0 : 8, at[1] & 0x40 ? 0 : 8);
    if (of_registers && opcode == CONFIGURE && prefix == XF2) ok = amx_model_zero(reg);
    else if (of_registers && opcode == CONFIGURE && prefix == NONE) amx_model_release(), ok = true;
    else if (of_registers && opcode == BYTES && prefix == X66) ok = amx_model_tdpbusd(reg, rm, third);
    else if (of_registers && opcode == BFLOATS && prefix == XF3) ok = amx_model_tdpbf16ps(reg, rm, third);
    else if (!of_registers && opcode == CONFIGURE && prefix == NONE)
        ok = amx_model_configure((const struct tile_shapes *)memory.base);
    else if (!of_registers && opcode == LOAD_OR_STORE && prefix == XF3)
        ok = amx_model_store(reg, memory.base, memory.index);
    else if (!of_registers && opcode == LOAD_OR_STORE && (prefix == XF2 || prefix == X66))
        ok = amx_model_load(reg, memory.base, memory.index);
    return !ok ? NULL : of_registers ? at + 5 : memory.end;
}

static void on_illegal_instruction(int number, siginfo_t *info, void *state) {
    ucontext_t *context = state;
    greg_t *at = &context->uc_mcontext.gregs[REG_RIP];
    const uint8_t *next = emulate(context, (const uint8_t *)(intptr_t)*at);
    (void)info;
    if (next) *at = (greg_t)(intptr_t)next;
    else signal(number, SIG_DFL); /* it comes again, and ends the program */
}

static int traps_work(void) { return qkernel_avx512vnni.supported(); }

static void set_traps(void) { /* after cmocka, which sets its own before each test */
    struct sigaction action = {.sa_sigaction = on_illegal_instruction, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &action, NULL);
}

static void use_trapped(void) {
    trapped = qkernel_amx_int8;
    trapped.name = "amx-int8-traps", trapped.supported = traps_work;
    amx_kernels[1] = &trapped;
}

#else
static void set_traps(void) {}
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
