#include "studies/peak.h"

#include <stdint.h>
#include <string.h>

#include "base/progress.h"

enum { CHAINS = 12, ROUNDS = 20000 }; /* independent sums: more than latency times units, fewer than registers */

/* A loop of CHAINS * ROUNDS multiply-add instructions; operations tells how much one instruction does. */
struct loop {
    const char *name;
    double operations;
    void (*run)(void);
};

#if defined(__x86_64__)
/* In assembly, and the same for every width: twelve sums in registers, counted down in a register. Only the
 * instruction and the registers' prefix differ. */
#define LOOP(instruction, r)                                                                                           \
    __asm__ volatile("mov %0, %%ecx\n1:\n" instruction " %%" r "14, %%" r "15, %%" r "0\n" instruction " %%" r         \
                     "14, %%" r "15, %%" r "1\n" instruction " %%" r "14, %%" r "15, %%" r "2\n" instruction " %%" r   \
                     "14, %%" r "15, %%" r "3\n" instruction " %%" r "14, %%" r "15, %%" r "4\n" instruction " %%" r   \
                     "14, %%" r "15, %%" r "5\n" instruction " %%" r "14, %%" r "15, %%" r "6\n" instruction " %%" r   \
                     "14, %%" r "15, %%" r "7\n" instruction " %%" r "14, %%" r "15, %%" r "8\n" instruction " %%" r   \
                     "14, %%" r "15, %%" r "9\n" instruction " %%" r "14, %%" r "15, %%" r "10\n" instruction " %%" r  \
                     "14, %%" r "15, %%" r "11\n"                                                                      \
                     "dec %%ecx\njnz 1b\n"                                                                             \
                     :                                                                                                 \
                     : "i"(ROUNDS)                                                                                     \
                     : "ecx", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",    \
                       "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")

/* The whole registers are cleared first: sums of denormals or NaNs could be slow. */
static void clear_registers(void) {
    __asm__ volatile("vzeroall" ::
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
                           "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

static void fma_512(void) {
    clear_registers();
    LOOP("vfmadd231ps", "zmm");
    __asm__ volatile("vzeroupper");
}

static void vnni_512(void) {
    clear_registers();
    LOOP("vpdpbusd", "zmm");
    __asm__ volatile("vzeroupper");
}

static void bf16_512(void) {
    clear_registers();
    LOOP("vdpbf16ps", "zmm");
    __asm__ volatile("vzeroupper");
}

static void fma_256(void) {
    clear_registers();
    LOOP("vfmadd231ps", "ymm");
    __asm__ volatile("vzeroupper");
}

static void vnni_256(void) {
    clear_registers();
    LOOP("%{vex%} vpdpbusd", "ymm"); /* escaped: braces choose between dialects */
    __asm__ volatile("vzeroupper");
}

static void madd_256(void) { /* vpmaddwd alone: the additions that must follow it are not counted */
    clear_registers();
    LOOP("vpmaddwd", "ymm");
    __asm__ volatile("vzeroupper");
}

enum { AVX_VNNI = 4, AVX512_BF16 = 5 }; /* bits of eax in leaf 7, subleaf 1 */

static int has(int bit) {
    unsigned a = 7, b, c = 1, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return a >> bit & 1;
}

static struct loop fp32_loop(void) {
    if (__builtin_cpu_supports("avx512f")) return (struct loop){"AVX-512 FMA", 32, fma_512};
    if (__builtin_cpu_supports("fma")) return (struct loop){"AVX2 FMA", 16, fma_256};
    return (struct loop){0};
}

static struct loop int8_loop(void) {
    if (__builtin_cpu_supports("avx512vnni")) return (struct loop){"AVX-512 VNNI", 128, vnni_512};
    if (__builtin_cpu_supports("avx2") && has(AVX_VNNI)) return (struct loop){"AVX-VNNI", 64, vnni_256};
    if (__builtin_cpu_supports("avx2")) return (struct loop){"AVX2 vpmaddwd", 32, madd_256};
    return (struct loop){0};
}

static struct loop bf16_loop(void) {
    if (__builtin_cpu_supports("avx512f") && has(AVX512_BF16)) return (struct loop){"AVX512-BF16", 64, bf16_512};
    return (struct loop){0};
}
#else
static struct loop bf16_loop(void) { return (struct loop){0}; }

static struct loop fp32_loop(void) { return (struct loop){0}; }

static struct loop int8_loop(void) { return (struct loop){0}; }
#endif

/* Operations a second of a loop on all threads at once, the best of the runs that fit the time. */
static double measure(struct loop loop, int threads, double seconds) {
    double best = 0, until = seconds_now() + seconds;
    if (!loop.run) return 0;
    do {
        double started = seconds_now();
#pragma omp parallel num_threads(threads)
        for (int i = 0; i < 20; i++) loop.run();
        double rate = 20.0 * CHAINS * ROUNDS * loop.operations * threads / (seconds_now() - started);
        if (rate > best) best = rate;
    } while (seconds_now() < until);
    return best;
}

struct peak measure_peak(int threads, double seconds) {
    struct loop fp32 = fp32_loop(), int8 = int8_loop(), bf16 = bf16_loop();
    return (struct peak){fp32.name ? fp32.name : "unknown",
                         int8.name ? int8.name : "unknown",
                         measure(fp32, threads, seconds),
                         measure(int8, threads, seconds),
                         bf16.name,
                         measure(bf16, threads, seconds)};
}
