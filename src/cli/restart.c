#include "cli/restart.h"

#ifdef _OPENMP
#include <omp.h>
#else
#define omp_set_num_threads(n) (void)(n)
#endif
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

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

/* ---- which file this program is ---------------------------------------------------------------------------------- */

const char *program_path(char *path, size_t size) {
    static const char usual[] = "/proc/self/exe";
    char line[4400], *result = NULL;
    struct stat started;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && !result && fgets(line, sizeof line, maps)) { /* FROM-TO rights offset device inode PATH */
        unsigned long long from, to, inode;
        int at = 0;
        if (sscanf(line, "%llx-%llx %*s %*s %*s %llu %n", &from, &to, &inode, &at) < 3 || !at) continue;
        if ((uintptr_t)program_path < from || (uintptr_t)program_path >= to) continue;
        line[strcspn(line, "\n")] = 0;
        if (stat(usual, &started) != 0 || started.st_ino == inode || strlen(line + at) >= size) break;
        result = strcpy(path, line + at);
    }
    if (maps) fclose(maps);
    return result ? result : usual;
}

/* ---- the second start -------------------------------------------------------------------------------------------- */

/* Starts as this program was started, by the words that the kernel keeps: argv lacks those before the program's name
 * where the dynamic loader was started with it. Returns only when it failed. */
static void start_again(void) {
    unsigned char *words;
    size_t size, count = 0;
    struct error ignored;
    if (!file_read_all("/proc/self/cmdline", 1 << 24, &words, &size, &ignored)) return;
    char **argv = calloc(size + 1, sizeof *argv);
    for (size_t at = 0; argv && at < size; at += strlen((char *)words + at) + 1) argv[count++] = (char *)words + at;
    if (argv) execv("/proc/self/exe", argv);
    free(argv);
    free(words);
}

void restart_with_better_settings(void) {
#if defined(__linux__)
    if (getenv(again) || spared_for_valgrind()) return;
    bool blas = set_blas_core(), spinning = set_spinning();
    if ((!blas && !spinning) || setenv(again, spinning ? "spinning" : "core", 1) != 0) return;
    start_again(); /* returns only when it failed: then it has to do as it is */
    unsetenv(again);
    if (blas) unsetenv(replaced), unsetenv("OPENBLAS_CORETYPE");
    if (spinning) unsetenv("GOMP_SPINCOUNT");
#else
    (void)start_again, (void)set_blas_core, (void)set_spinning, (void)spared_for_valgrind;
#endif
}

const char *blas_core_replaced(void) { return getenv(replaced); }
