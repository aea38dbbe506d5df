/* What leaves a tile, on 512-bit registers: codes by eq. 6 in the form of tiles.h, or sums. Included after tiles.h by a
 * kernel that has defined TARGET. */
#ifndef QUANT_KERNELS_ZMM_H
#define QUANT_KERNELS_ZMM_H

#include <immintrin.h>
#include <math.h>

/* The constants of one register's 16 outputs. In registers, and not read from memory each time: stores of
 * bytes may alias anything, and 512-bit loads are two a cycle. */
struct constants {
    __m512i m, m_odd, add, shift; /* IN_INTEGERS */
    __m512 high, low;             /* IN_FLOATS */
};

TARGET INLINE struct constants load_constants(const struct tile *t, int reg) {
    return (struct constants){_mm512_load_si512(t->m + reg * LANES),   _mm512_load_si512(t->m_odd + reg * LANES),
                              _mm512_load_si512(t->add + reg * LANES), _mm512_load_si512(t->shift + reg * LANES),
                              _mm512_load_ps(t->high + reg * LANES),   _mm512_load_ps(t->low + reg * LANES)};
}

/* odd holds the odd lanes of acc in its even ones */
TARGET INLINE __m512i in_integers(__m512i acc, __m512i odd, const struct constants *by) {
    __m512 even_product = _mm512_castsi512_ps(_mm512_mul_epi32(acc, by->m));
    __m512 odd_product = _mm512_castsi512_ps(_mm512_mul_epi32(odd, by->m_odd));
    __m512i high = _mm512_castps_si512(_mm512_mask_movehdup_ps(odd_product, 0x5555, even_product));
    return _mm512_srav_epi32(_mm512_add_epi32(high, by->add), by->shift);
}

/* floor(acc * high + (acc * low + 1/2)), without the zero point: four instructions for six. Each rounds as it says
 * itself, whatever the program has set. */
TARGET INLINE __m512i in_floats(__m512i acc, __m512 high, __m512 low) {
    enum { NEAREST = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC, DOWN = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC };
    __m512 a = _mm512_cvt_roundepi32_ps(acc, NEAREST);
    __m512 rest = _mm512_fmadd_round_ps(a, low, _mm512_set1_ps(0.5f), NEAREST);
    return _mm512_cvt_roundps_epi32(_mm512_fmadd_round_ps(a, high, rest, DOWN), DOWN);
}

/* form: of the tile, a constant where this is inlined. From memory the odd lanes come by vmovshdup in the load port,
 * where a shift would take a port from vpdpbusd. */
TARGET INLINE __m512i requantize_stored(const int form, const int32_t *acc, const struct constants *by) {
    if (form == IN_FLOATS) return in_floats(_mm512_load_si512(acc), by->high, by->low);
    __m512i odd = _mm512_castps_si512(_mm512_movehdup_ps(_mm512_load_ps(acc)));
    return in_integers(_mm512_load_si512(acc), odd, by);
}

TARGET INLINE __m512i requantize_held(const int form, __m512i acc, const struct constants *by) {
    return form == IN_FLOATS ? in_floats(acc, by->high, by->low) : in_integers(acc, _mm512_srli_epi64(acc, 32), by);
}

struct clamp {
    __m512i lo, hi;     /* bytes */
    __m512i zero_point; /* 16-bit numbers */
    int narrow;         /* not all of 0 to 255, which saturation alone gives */
    int shifted;        /* the zero point is not 0 */
};

TARGET INLINE struct clamp clamp_of(const struct qlinear *layer) {
    return (struct clamp){_mm512_set1_epi8((char)layer->y_min), _mm512_set1_epi8((char)layer->y_max),
                          _mm512_set1_epi16((short)layer->y_zero_point), layer->y_min > 0 || layer->y_max < 255,
                          layer->y_zero_point != 0};
}

/* Four registers of codes in 32 bits -> 64 bytes: by 128 bits, [4 of a][4 of b][4 of c][4 of d] */
TARGET INLINE __m512i narrow(const int form, __m512i a, __m512i b, __m512i c, __m512i d, const struct clamp *clamp) {
    __m512i ab = _mm512_packs_epi32(a, b), cd = _mm512_packs_epi32(c, d);
    if (form == IN_FLOATS && clamp->shifted)
        ab = _mm512_adds_epi16(ab, clamp->zero_point), cd = _mm512_adds_epi16(cd, clamp->zero_point);
    __m512i bytes = _mm512_packus_epi16(ab, cd);
    return clamp->narrow ? _mm512_min_epu8(_mm512_max_epu8(bytes, clamp->lo), clamp->hi) : bytes;
}

/* ---- the proof that a multiplier may be applied in floats ---- */

/* The lowest sum that reaches a code: the lowest acc with acc * m + 2^(right - 1) >= (code - z_y) 2^right, held to
 * int32. right <= 53, so that nothing leaves 64 bits; m > 0. */
static int32_t threshold(struct multiplier by, int32_t zero_point, int code) {
    int64_t least = ((int64_t)(code - zero_point) * 2 - 1) * ((int64_t)1 << (by.right - 1));
    int64_t acc = least / by.m + (least % by.m > 0); /* rounded up */
    return acc > INT32_MAX ? INT32_MAX : acc < INT32_MIN ? INT32_MIN : (int32_t)acc;
}

/* Whether both forms give the same codes for every int32. Both never fall as acc rises (high and low are not negative,
 * and every rounding keeps order), so they are the same function where they agree at each code's threshold and one
 * below: 512 sums. */
TARGET static int floats_are_exact(struct multiplier by, int32_t zero_point, float high, float low) {
    _Alignas(64) int32_t acc[LANES], code[LANES];
    for (int first = 0; first < 256; first += LANES / 2) {
        for (int i = 0; i < LANES / 2; i++) {
            acc[2 * i] = threshold(by, zero_point, first + i);
            acc[2 * i + 1] = acc[2 * i] > INT32_MIN ? acc[2 * i] - 1 : INT32_MIN;
        }
        _mm512_store_si512(code, in_floats(_mm512_load_si512(acc), _mm512_set1_ps(high), _mm512_set1_ps(low)));
        for (int i = 0; i < LANES; i++) {
            int64_t y = (int64_t)code[i] + zero_point;
            if ((y < 0 ? 0 : y > 255 ? 255 : y) != requantize(acc[i], by, zero_point, 0, 255)) return 0;
        }
    }
    return 1;
}

/* high and low of a multiplier, proved; false where none are. high + low is m / 2^right exactly: 24 bits and the 7 that
 * are left. One multiplier in 250 comes so close to a tie that the rounding of acc * low + 1/2 decides; another low, a
 * little off, mends most of them. */
static inline int float_multiplier(struct multiplier by, int32_t zero_point, float *high, float *low) {
    enum { BITS_OF_LOW = 127 };
    *high = ldexpf((float)(by.m & ~BITS_OF_LOW), -by.right);
    *low = 0;
    if (by.m == 0) return 1; /* floor(1/2) is 0 */
    float exact = ldexpf((float)(by.m & BITS_OF_LOW), -by.right), nudge = *high * 0x1p-33f;
    for (int i = 0; i <= 40; i++) {
        *low = exact + (float)(i % 2 ? (i + 1) / 2 : -i / 2) * nudge;
        if (*low >= 0 && floats_are_exact(by, zero_point, *high, *low)) return 1;
    }
    return 0;
}

/* Tiles of whose multipliers all are proved go over to floats. */
static inline void use_floats(const struct qlinear *layer, int log2_scale) {
    for (int tile = 0; tile < tiles_of(layer->out); tile++) {
        struct tile *t = (struct tile *)layer->packed + tile;
        int registers = tile_registers(layer->out, tile), proved = t->form == IN_INTEGERS;
        for (int lane = 0; lane < registers * LANES && proved; lane++) {
            int c = tile * TILE + lane_output(registers, lane);
            if (c >= layer->out) continue;
            struct multiplier by = {layer->multiplier[c].m, layer->multiplier[c].right + log2_scale};
            proved = float_multiplier(by, layer->y_zero_point, &t->high[lane], &t->low[lane]);
        }
        if (proved) t->form = IN_FLOATS;
    }
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
