/* AVX-VNNI: the instruction of avx512vnni.c on 256-bit registers, for CPUs without AVX-512. */
#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#include <immintrin.h>

enum { TILE = 16, LANES = 8, HALF_TILES = 0, GROUP_BYTES = TILE * 4, NIBBLES = 0, ROWS = 6, X_BYTES = 4 };
#include "quant/kernels/tiles.h"

#define TARGET __attribute__((target("avx2,avxvnni")))
#include "quant/kernels/ymm.h"

/* That the system saves 256-bit registers is part of what __builtin_cpu_supports("avx2") looks at (xgetbv).
 */
static int supported(void) {
    unsigned eax = 0, ebx, ecx, edx;
    return __builtin_cpu_supports("avx2") && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax & 1 << 4);
}

/* In assembly for the reason that avx512vnni.c gives. {vex}: not the AVX-512 form of the same name. */
TARGET INLINE __m256i dot4(__m256i acc, __m256i x, __m256i w) {
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(x), "x"(w));
    return acc;
}

TARGET INLINE void step(const int height, __m256i acc[][2], struct inputs x, size_t offset, const uint8_t *w) {
    __m256i left = _mm256_load_si256((const __m256i *)w), right = _mm256_load_si256((const __m256i *)(w + 32));
    UNROLL
    for (int r = 0; r < height; r++) {
        int32_t four;
        memcpy(&four, x.row[r / 3] + (size_t)(r % 3) * x.stride + offset, sizeof four);
        acc[r][0] = dot4(acc[r][0], _mm256_set1_epi32(four), left);
        acc[r][1] = dot4(acc[r][1], _mm256_set1_epi32(four), right);
    }
}

TARGET static void run(const struct qlinear *layer, const uint8_t *x, size_t x_stride, size_t rows, uint8_t *y,
                       size_t y_stride, void *scratch) {
    (void)scratch;
    for (size_t row = 0, height; row < rows; row += height, x += height * x_stride, y += height * y_stride) {
        height = rows - row >= 6 ? 6 : rows - row >= 4 ? 2 : 1;
        if (height == 1) run_one_row(layer, x, x, y);
        else run_rows(layer, x, x_stride, (int)height, y, y_stride);
    }
}

static void pack_layer(const struct qlinear *layer) { pack_tiles(layer, (struct form){0}, put_int8); }

const struct qkernel qkernel_avxvnni = {
    "avxvnni", "AVX-VNNI, 32 bytes a vpdpbusd", supported, run, layer_bytes, pack_layer, 4, NULL, NULL, 0};
#else
typedef int avxvnni_is_for_x86_64;
#endif
