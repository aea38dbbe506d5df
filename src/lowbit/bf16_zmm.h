/* What bf16 kernels with 512-bit registers share: what becomes of the sums of a tile. Included by one that has defined
 * TARGET and, in an enum, TILE 32 and LANES 16. */
#ifndef LOWBIT_BF16_ZMM_H
#define LOWBIT_BF16_ZMM_H

#include <cpuid.h>
#include <immintrin.h>

#include "lowbit/bf16.h"
#include "base/unroll.h"

/* That the system saves 512-bit registers is part of what __builtin_cpu_supports looks at (xgetbv). */
static int has_avx512_bf16(void) {
    unsigned eax = 0, ebx, ecx, edx;
    return __builtin_cpu_supports("avx512f") && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax & 1 << 5);
}

/* 32 and 16 numbers rounded to nearest even; subnormals become 0 */
TARGET INLINE __m512i round32(__m512 low, __m512 high) {
    __m512i y;
    __asm__("vcvtne2ps2bf16 %2, %1, %0" : "=v"(y) : "v"(high), "v"(low));
    return y;
}

TARGET INLINE __m256i round16(__m512 low) {
    __m256i y;
    __asm__("vcvtneps2bf16 %1, %0" : "=v"(y) : "v"(low));
    return y;
}

/* Where a tile's outputs go. */
struct output {
    void *y; /* of the first row and of output 0 */
    size_t stride;
};

/* The lanes of a register that are outputs, the first of them first. */
TARGET INLINE __mmask16 lanes_from(int out, int first) {
    int left = out - first;
    return (__mmask16)(left >= LANES ? 0xffff : left > 0 ? (1 << left) - 1 : 0);
}

/* Row r of a tile, bias [TILE]. max(0, NaN) is its second operand: a NaN stays a NaN. Lanes behind the last output get
 * a 0, since an infinite input made a NaN of their weights of 0. */
TARGET INLINE void finish_row(const int registers, const struct bf16_layer *layer, int tile, const float *bias,
                              const __m512 acc[2], size_t r, struct output to) {
    int c = tile * TILE;
    __mmask16 in_left = lanes_from(layer->out, c), in_right = registers == 2 ? lanes_from(layer->out, c + LANES) : 0;
    __m512 scale = _mm512_set1_ps(layer->scale), zero = _mm512_setzero_ps();
    __m512 left = _mm512_fmadd_ps(acc[0], scale, _mm512_load_ps(bias)), right = zero;
    if (registers == 2) right = _mm512_fmadd_ps(acc[1], scale, _mm512_load_ps(bias + LANES));
    if (layer->last) {
        float *y = (float *)to.y + r * to.stride + c;
        _mm512_mask_storeu_ps(y, in_left, left);
        if (registers == 2) _mm512_mask_storeu_ps(y + LANES, in_right, right);
        return;
    }
    uint16_t *y = (uint16_t *)to.y + r * to.stride + c;
    left = _mm512_maskz_max_ps(in_left, zero, left);
    if (registers == 2) _mm512_store_si512(y, round32(left, _mm512_maskz_max_ps(in_right, zero, right)));
    else _mm256_store_si256((__m256i *)y, round16(left));
}

#endif
