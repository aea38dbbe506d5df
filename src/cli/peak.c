#include "cli/peak.h"

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "base/progress.h"

double speed_clock(int threads) {
    struct timespec t;
    if (threads > 1 || clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0) return seconds_now();
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

enum { CHAINS = 12, ROUNDS = 20000 }; /* independent sums: more than latency times units, fewer than registers */

/* A loop of CHAINS * ROUNDS multiply-add instructions; operations tells how much one instruction does. */
struct loop {
    const char *name;
    double operations;
    void (*run)(void);
};

#if defined(__x86_64__)
/* Twelve sums in registers 0 to 11, counted down in ecx. All registers are cleared first, since sums of denormals or
 * NaNs could be slow, and last, since SSE code after AVX could be. */
#define LOOP(instruction, r)                                                                                           \
    __asm__ volatile("vzeroall\n mov %0, %%ecx\n1:\n"                                                                  \
                     ".irp sum, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11\n" instruction " %%" r "14, %%" r "15, %%" r      \
                     "\\sum\n.endr\n"                                                                                  \
                     "dec %%ecx\n jnz 1b\n vzeroall"                                                                   \
                     :                                                                                                 \
                     : "i"(ROUNDS)                                                                                     \
                     : "ecx", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",    \
                       "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")

static void fma_512(void) { LOOP("vfmadd231ps", "zmm"); }
static void fma_256(void) { LOOP("vfmadd231ps", "ymm"); }
static void vnni_512(void) { LOOP("vpdpbusd", "zmm"); }
static void vnni_256(void) { LOOP("%{vex%} vpdpbusd", "ymm"); } /* escaped: braces choose between dialects */
static void madd_256(void) { LOOP("vpmaddwd", "ymm"); }         /* without the additions that must follow it */
static void bf16_512(void) { LOOP("vdpbf16ps", "zmm"); }

enum { AVX_VNNI = 4, AVX512_BF16 = 5 }; /* bits of eax in leaf 7, subleaf 1 */

static int has(int bit) {
    unsigned a = 7, b, c = 1, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return a >> bit & 1;
}

static struct loop loop_of(enum peak peak) {
    bool avx2 = __builtin_cpu_supports("avx2"), avx512 = __builtin_cpu_supports("avx512f");
    switch (peak) {
    case PEAK_FP32:
        if (avx512) return (struct loop){"AVX-512 FMA", 32, fma_512};
        if (__builtin_cpu_supports("fma")) return (struct loop){"AVX2 FMA", 16, fma_256};
        break;
    case PEAK_INT8:
        if (__builtin_cpu_supports("avx512vnni")) return (struct loop){"AVX-512 VNNI", 128, vnni_512};
        if (avx2 && has(AVX_VNNI)) return (struct loop){"AVX-VNNI", 64, vnni_256};
        if (avx2) return (struct loop){"AVX2 vpmaddwd", 32, madd_256};
        break;
    case PEAK_BF16:
        if (avx512 && has(AVX512_BF16)) return (struct loop){"AVX512-BF16", 64, bf16_512};
        break;
    case PEAKS: break;
    }
    return (struct loop){0};
}
#else
static struct loop loop_of(enum peak peak) {
    (void)peak;
    return (struct loop){0};
}
#endif

const char *peak_name(enum peak peak) { return loop_of(peak).name; }

double peak_measure(enum peak peak, int threads, double seconds) {
    struct loop loop = loop_of(peak);
    double best = 0, until = seconds_now() + seconds;
    if (!loop.run) return 0;
    do {
        double rate = 0;
#pragma omp parallel num_threads(threads) if (threads > 1) reduction(+ : rate)
        {
            double started = speed_clock(1);
            for (int i = 0; i < 20; i++) loop.run();
            rate += 20.0 * CHAINS * ROUNDS * loop.operations / (speed_clock(1) - started);
        }
        if (rate > best) best = rate;
    } while (seconds_now() < until);
    return best;
}
