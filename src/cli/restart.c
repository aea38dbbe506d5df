#include "cli/restart.h"

#include <omp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nn/gemm.h"

/* Set by the first start for the second: that it is the second (never a loop), and what OpenBLAS had picked. */
static const char again[] = "MNISTQ_RESTARTED", replaced[] = "MNISTQ_BLAS_REPLACED";

/* Kernels by what they need of the CPU; those that do not appear are as good as ours or better. */
static const char *const before_avx2[] = {
    "Prescott",  "Core2",  "Penryn",     "Dunnington", "Nehalem", "Sandybridge", "Atom",
    "Nano",      "Katmai", "Coppermine", "Northwood",  "Banias",  "Opteron",     "Opteron_SSE3",
    "Barcelona", "Bobcat", "Bulldozer",  "Athlon",     NULL};
static const char *const before_avx512[] = {"Haswell", "Zen", "Piledriver", "Steamroller", "Excavator", NULL};

static bool is_one_of(const char *name, const char *const *list) {
    for (; *list; list++)
        if (strcmp(name, *list) == 0) return true;
    return false;
}

/* The kernels to ask for, or NULL when those that were picked will do. */
static const char *better_core(const char *picked) {
#if defined(__x86_64__)
    bool old = is_one_of(picked, before_avx2);
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

static bool set_blas_core(void) {
    const char *better = better_core(gemm_core());
    if (!better || getenv("OPENBLAS_CORETYPE")) return false;
    return setenv(replaced, gemm_core(), 1) == 0 && setenv("OPENBLAS_CORETYPE", better, 1) == 0;
}

/* Long enough for the next of a step's many short loops (passive waiting costs 60% more), short enough to let go. */
static bool set_spinning(void) {
#if defined(__clang__)
    return false; /* its OpenMP has other settings, and yields while it waits */
#else
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT")) return false;
    return setenv("GOMP_SPINCOUNT", "5000", 1) == 0;
#endif
}

/* Valgrind would lose sight of a second start; and it runs one thread at a time, the spinning ones as well. */
static bool spared_for_valgrind(void) {
    const char *preloaded = getenv("LD_PRELOAD");
    if (!preloaded || !strstr(preloaded, "vgpreload")) return false;
    gemm_threads(1);
    omp_set_num_threads(1);
    return true;
}

void restart_with_better_settings(char **argv) {
#if defined(__linux__)
    if (getenv(again) || spared_for_valgrind()) return;
    bool blas = set_blas_core(), spinning = set_spinning();
    if ((!blas && !spinning) || setenv(again, spinning ? "spinning" : "core", 1) != 0) return;
    execv("/proc/self/exe", argv); /* returns only when it failed: then it has to do as it is */
    unsetenv(again);
    if (blas) unsetenv(replaced), unsetenv("OPENBLAS_CORETYPE");
    if (spinning) unsetenv("GOMP_SPINCOUNT");
#else
    (void)argv, (void)set_blas_core, (void)set_spinning, (void)spared_for_valgrind;
#endif
}

const char *blas_core_replaced(void) { return getenv(replaced); }
