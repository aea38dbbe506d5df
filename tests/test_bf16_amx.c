/* bf16 on tiles, on any CPU, by the checks of test_bf16.c, twice as in test_amx.c: the source over the tiles of
 * amx_model.h, then what is in the library, its instructions done by that model where the CPU has none (but AVX512-BF16
 * it must have). */
#define AMX_MODEL
#include "amx_traps.h"

#define bf16_kernel_amx modelled
#define qkernel_amx_int8 qkernel_portable
#include "lowbit/bf16_amx.c"
#undef bf16_kernel_amx
#undef qkernel_amx_int8
#undef AMX_MODEL

static const struct bf16_kernel *tested[2]; /* one at a time */
static void before_each(void) { set_traps(); }
#define KERNELS tested
#include "test_bf16.c"

#if defined(__x86_64__) && defined(__linux__)
extern const struct bf16_kernel bf16_kernel_amx, bf16_kernel_avx512;
#define RESTS_ON bf16_kernel_avx512
#else
#define bf16_kernel_amx modelled
#define RESTS_ON modelled
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_odd_shapes),       cmocka_unit_test(test_every_number_of_rows),
        cmocka_unit_test(test_wide_range),       cmocka_unit_test(test_subnormals),
        cmocka_unit_test(test_special_values),   cmocka_unit_test(test_networks),
        cmocka_unit_test(test_that_kernels_ran),
    };
    struct bf16_kernel model = modelled, library = bf16_kernel_amx;
    int failed = 0;
    model.name = "amx-bf16-model";
    library.name = "amx-bf16-traps", library.supported = RESTS_ON.supported;
    for (int i = 0; i < 2; i++) {
        tested[0] = i ? &library : &model;
        memset(compared, 0, sizeof compared), nonzero = 0;
        failed += cmocka_run_group_tests_name(tested[0]->name, tests, NULL, NULL);
    }
    return failed;
}
