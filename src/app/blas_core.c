#include "app/blas_core.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nn/gemm.h"

static const char replaced[] = "MNISTQ_BLAS_REPLACED"; /* set by the first start for the second: never a loop */

/* Kernels by what they need of the CPU; those that do not appear are as good as ours or better. */
static const char *const before_avx2[] = {"Prescott", "Core2", "Penryn", "Dunnington", "Nehalem", "Sandybridge",
                                          "Atom", "Nano", "Katmai", "Coppermine", "Northwood", "Banias", "Opteron",
                                          "Opteron_SSE3", "Barcelona", "Bobcat", "Bulldozer", "Athlon", NULL};
static const char *const before_avx512[] = {"Haswell", "Zen", "Piledriver", "Steamroller", "Excavator", NULL};

static int is_one_of(const char *name, const char *const *list) {
    for (; *list; list++)
        if (strcmp(name, *list) == 0) return 1;
    return 0;
}

/* The kernels to ask for, or NULL when those that were picked will do. */
static const char *better_core(const char *picked) {
#if defined(__x86_64__)
    int old = is_one_of(picked, before_avx2);
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && (old || is_one_of(picked, before_avx512)))
        return "SkylakeX";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && old) return "Haswell";
#else
    (void)picked, (void)before_avx2, (void)before_avx512, (void)is_one_of;
#endif
    return NULL;
}

void blas_core_choose(char **argv) {
#if defined(__linux__)
    if (getenv(replaced) || getenv("OPENBLAS_CORETYPE")) return;
    const char *better = better_core(gemm_core());
    if (!better) return;
    setenv(replaced, gemm_core(), 1);
    setenv("OPENBLAS_CORETYPE", better, 1);
    execv("/proc/self/exe", argv); /* returns only when it failed: then the slower kernels have to do */
    unsetenv("OPENBLAS_CORETYPE");
    unsetenv(replaced);
#else
    (void)argv;
    (void)better_core;
#endif
}

const char *blas_core_replaced(void) {
    return getenv(replaced);
}
