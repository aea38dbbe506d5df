/* What leaves a tile, on 512-bit registers: codes by eq. 6 in the form of tiles.h, or sums. Included after tiles.h by a
 * kernel that has defined TARGET. */
#ifndef QUANT_KERNELS_ZMM_H
#define QUANT_KERNELS_ZMM_H

#include <immintrin.h>

/* The constants of one register's 16 outputs. In registers, and not read from memory each time: stores of
 * bytes may alias anything, and 512-bit loads are two a cycle. */
struct constants {
    __m512i m, m_odd, add, shift;
};

TARGET INLINE struct constants load_constants(const struct tile *t, int reg) {
    return (struct constants){_mm512_load_si512(t->m + reg * LANES), _mm512_load_si512(t->m_odd + reg * LANES),
                              _mm512_load_si512(t->add + reg * LANES), _mm512_load_si512(t->shift + reg * LANES)};
}

/* odd holds the odd lanes of acc in its even ones */
TARGET INLINE __m512i requantize16(__m512i acc, __m512i odd, const struct constants *by) {
    __m512 even_product = _mm512_castsi512_ps(_mm512_mul_epi32(acc, by->m));
    __m512 odd_product = _mm512_castsi512_ps(_mm512_mul_epi32(odd, by->m_odd));
    __m512i high = _mm512_castps_si512(_mm512_mask_movehdup_ps(odd_product, 0x5555, even_product));
    return _mm512_srav_epi32(_mm512_add_epi32(high, by->add), by->shift);
}

/* From memory the odd lanes come by vmovshdup in the load port, where a shift would take a port from
 * vpdpbusd. */
TARGET INLINE __m512i requantize_stored(const int32_t *acc, const struct constants *by) {
    __m512i odd = _mm512_castps_si512(_mm512_movehdup_ps(_mm512_load_ps(acc)));
    return requantize16(_mm512_load_si512(acc), odd, by);
}

struct clamp {
    __m512i lo, hi; /* bytes */
    int narrow;     /* not all of 0 to 255, which saturation alone gives */
};

TARGET INLINE struct clamp clamp_of(const struct qlinear *layer) {
    return (struct clamp){_mm512_set1_epi8((char)layer->y_min), _mm512_set1_epi8((char)layer->y_max),
                          layer->y_min > 0 || layer->y_max < 255};
}

/* Four registers of codes in 32 bits -> 64 bytes: by 128 bits, [4 of a][4 of b][4 of c][4 of d] */
TARGET INLINE __m512i narrow(__m512i a, __m512i b, __m512i c, __m512i d, const struct clamp *clamp) {
    __m512i bytes = _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
    return clamp->narrow ? _mm512_min_epu8(_mm512_max_epu8(bytes, clamp->lo), clamp->hi) : bytes;
}

/* Two rows of 32 outputs; bytes [4][8 of ya][8 of yb], the outputs in order thanks to lane_output */
TARGET INLINE void store_two(__m512i bytes, uint8_t *ya, uint8_t *yb) {
    bytes = _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), bytes);
    _mm256_storeu_si256((__m256i *)ya, _mm512_castsi512_si256(bytes));
    _mm256_storeu_si256((__m256i *)yb, _mm512_extracti64x4_epi64(bytes, 1));
}

/* Four rows of 16 outputs; bytes [4][4 of each] */
TARGET INLINE void store_four(__m512i bytes, uint8_t *y, size_t stride) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    bytes = _mm512_permutexvar_epi32(order, bytes);
    _mm_storeu_si128((__m128i *)y, _mm512_castsi512_si128(bytes));
    _mm_storeu_si128((__m128i *)(y + stride), _mm512_extracti32x4_epi32(bytes, 1));
    _mm_storeu_si128((__m128i *)(y + 2 * stride), _mm512_extracti32x4_epi32(bytes, 2));
    _mm_storeu_si128((__m128i *)(y + 3 * stride), _mm512_extracti32x4_epi32(bytes, 3));
}

/* The sums of one row of a tile in the order of its outputs (see lane_output), of which left are there. */
TARGET INLINE void store_sums(const int32_t *lanes, int registers, int log2_scale, int left, int32_t *acc) {
    __m512i a = _mm512_load_si512(lanes), b = registers == 2 ? _mm512_load_si512(lanes + LANES) : a;
    __m512i low = a, high = b;
    if (registers == 2) {
        low = _mm512_permutex2var_epi32(a, _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23),
                                        b);
        high = _mm512_permutex2var_epi32(
            a, _mm512_setr_epi32(8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31), b);
    }
    uint32_t there = left >= TILE ? UINT32_MAX : ((uint32_t)1 << left) - 1;
    _mm512_mask_storeu_epi32(acc, (__mmask16)there, _mm512_srai_epi32(low, (unsigned)log2_scale));
    if (left > LANES)
        _mm512_mask_storeu_epi32(acc + LANES, (__mmask16)(there >> LANES),
                                 _mm512_srai_epi32(high, (unsigned)log2_scale));
}

#endif
