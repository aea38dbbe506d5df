/* The rungs of the ladder as storage formats for weights: ONE table that the encoder, the files, the tests and
 * the report walk through. A matrix is cut into blocks of weights and each block becomes bytes of its own.
 *
 *   f32, bf16, f16       one weight
 *   int8                 | f16 scale | codes, packed |             symmetric, eq. 4: codes in [-127, 127]
 *   int6 ... int2        | f16 scale | codes, packed |             symmetric, eq. 8: all codes, [-2^(b-1), 2^(b-1) - 1]
 *   int2-narrow          | f16 scale | codes, packed |             eq. 4 at 2 bits, [-1, 1]
 *   uint4 uint3 uint2    | f16 scale | u8 zero_point | codes |     asymmetric, eq. 3
 *   hqq4 hqq3 hqq2       | f16 scale | f16 zero_point | codes |    zero points between codes (hqq.h)
 *   fp8_e4m3 ... nvfp4   floats of 8 bits and fewer, alone and in MX blocks (mx.h)
 *   nf4, nf4-dq          16 quantiles of a normal distribution (nf4.h)
 *   q8_0 ... q6_K        ggml's own layouts, bit for bit (ggml.h)
 *
 * Codes of fewer than 8 bits are packed from the lowest bit of the first byte on: code i takes bits [i * b,
 * i * b + b); signed codes are stored as code + 2^(b-1), at 1 bit -1 as 0. Codes of 3 values are the digits of a number
 * below 3^5 = 243, the first one times 1, stored as code + 1. */
#ifndef LOWBIT_FORMATS_H
#define LOWBIT_FORMATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quant/affine.h"

enum format_layout {
    LAYOUT_ROWS, /* blocks begin anew with each row; what is missing at its end is zero padding, stored */
    LAYOUT_SPAN, /* as rows, but the last block of a row may be shorter */
    LAYOUT_FLAT  /* blocks run through the whole matrix; the last may be shorter */
};

enum format_grid {
    NO_GRID,
    SYMMETRIC_GRID,  /* integers: eq. 8, all codes around 0 (at 8 bits eq. 4) */
    ASYMMETRIC_GRID, /* eq. 3 */
    NARROW_GRID,     /* eq. 4, one code fewer */
    SCALED_GRID,     /* floats of a narrow range: F32 scales of the codec bring the widest weight to its end */
    SEARCHED_GRID    /* scales are searched for, by the importance of each weight's error where it is given */
};

struct format {
    const char *name, *dtype; /* dtype: of its numbers in a safetensors file; U8: bytes that only this program reads */
    int bits;                 /* of one code, without scales */
    int block;                /* weights of a block; 0: any, chosen when encoding (a group, a row, the whole matrix) */
    enum format_layout layout;
    int header, sub_block; /* bytes of a block's header; one more for each sub_block weights, 0: none */
    enum format_grid grid;
    /* A block. w [n] finite; importance [n] of each squared error, for the formats that search, or NULL: all the same.
     */
    void (*encode)(const struct format *self, const float *w, const float *importance, int n, uint8_t *bytes);
    void (*decode)(const struct format *self, const uint8_t *bytes, int n, float *w);
};
#define BLOCK_FORMAT(name)                                                                                             \
    void name##_encode(const struct format *self, const float *w, const float *importance, int n, uint8_t *bytes);     \
    void name##_decode(const struct format *self, const uint8_t *bytes, int n, float *w);

extern const struct format formats[]; /* ends with a NULL name */
const struct format *format_find(const char *name);
size_t format_bytes(const struct format *format, int n); /* of a block of n weights */

/* A format with its block size fixed, for matrices [out][in]. Its bytes are its scales, F32 in the order of the
 * machine, one for each block (fp8) or one in all (nvfp4), and then the blocks. */
struct codec {
    const struct format *format;
    int block; /* weights of a block; CODEC_TENSOR: the whole matrix; CODEC_ROW: a row */
};
enum { CODEC_TENSOR = -1, CODEC_ROW = 0 };
enum { CODEC_PIECE = 256 }; /* weights of the longest block that is padded */

/* "q4_0", "int4/tensor", "int4/row", "int4/49"; and back. False when it is no codec. */
void codec_print(struct codec c, char *text, size_t size);
bool codec_parse(const char *text, struct codec *c);

size_t codec_scales(struct codec c, int out, int in); /* how many; 0: the format has none beside its blocks */
size_t codec_bytes(struct codec c, int out, int in);
/* importance [in]: of the squared error of each input's weights; NULL: all the same. */
void codec_encode(struct codec c, const float *w, const float *importance, int out, int in, uint8_t *bytes);
void codec_decode(struct codec c, const uint8_t *bytes, int out, int in, float *w);

/* ---- the integer formats, for methods that choose the codes themselves (GPTQ, AWQ, QAT). The grid of a block is a
 * struct qparams whose scale is a number that fp16 holds; in a format, not in the integer engine, it may be below 0. */

/* bits of an integer format ("int4", "uint4"), 0 for the others and for narrow grids; *symmetric tells which. */
static inline int format_integer_bits(const struct format *format, bool *symmetric) {
    *symmetric = format->grid == SYMMETRIC_GRID;
    return *symmetric || format->grid == ASYMMETRIC_GRID ? format->bits : 0;
}

/* Whether its blocks are a header and packed integers in their order. */
static inline bool format_is_integer(const struct format *format) {
    return format->grid == SYMMETRIC_GRID || format->grid == ASYMMETRIC_GRID || format->grid == NARROW_GRID;
}

/* The lowest packed code that occurs: 1 where -2^(b-1) is not used. */
static inline int format_lowest_code(const struct format *format) {
    return format->grid == NARROW_GRID || (format->grid == SYMMETRIC_GRID && format->bits == 8);
}

/* The grid that round-to-nearest takes for w [n]: the range (eq. 3) or, symmetric, at 8 bits absmax (eq. 4), below
 *   eq. 8  scale = absmax / (2^(b-1) - 1/2), zero_point 0, codes in [-2^(b-1), 2^(b-1) - 1],
 * the scale rounded to fp16. Of the two ends either may be cut by half a step, as much as rounding costs anywhere
 * (Frantar et al. 2022, in their code; it is the least scale with that bound). */
struct qparams grid_of(const float *w, int n, int bits, bool symmetric);
/* The nearest scale > 0 that fp16 holds. */
float scale_in_half(float scale);

/* One block with the codes given. codes [n] in [qmin, qmax]. */
void integer_block_pack(struct qparams g, const int8_t *codes, int n, int bits, bool symmetric, uint8_t *bytes);

enum { TRITS = -1, TRITS_A_BYTE = 5 }; /* in place of a number of bits: codes of 3 values, 8/5 bits each */

/* n codes of the given bits to bytes [packed_bytes(n, bits)], and back; unsigned codes below 2^bits. */
static inline size_t packed_bytes(size_t n, int bits) {
    return bits == TRITS ? (n + TRITS_A_BYTE - 1) / TRITS_A_BYTE : (n * (size_t)bits + 7) / 8;
}

/* Between a signed code and how it is stored. */
static inline unsigned stored_code(int code, int bits) {
    return (unsigned)(bits == TRITS ? code + 1 : bits == 1 ? code > 0 : code + (1 << (bits - 1)));
}
static inline int signed_code(unsigned stored, int bits) {
    return bits == TRITS ? (int)stored - 1 : bits == 1 ? 2 * (int)stored - 1 : (int)stored - (1 << (bits - 1));
}
void pack_bits(const uint8_t *codes, size_t n, int bits, uint8_t *bytes);
void unpack_bits(const uint8_t *bytes, size_t n, int bits, uint8_t *codes);

/* Code i of bytes that were 0. A code of 3 bits may cross a byte. */
static const uint8_t trit_place[TRITS_A_BYTE] = {1, 3, 9, 27, 81};
static inline void put_code(uint8_t *bytes, size_t i, int bits, unsigned code) {
    if (bits == TRITS) {
        bytes[i / TRITS_A_BYTE] = (uint8_t)(bytes[i / TRITS_A_BYTE] + code * trit_place[i % TRITS_A_BYTE]);
        return;
    }
    size_t at = i * (size_t)bits;
    unsigned shifted = code << at % 8;
    bytes[at / 8] |= (uint8_t)shifted;
    if (shifted > 255) bytes[at / 8 + 1] |= (uint8_t)(shifted >> 8);
}

static inline unsigned get_code(const uint8_t *bytes, size_t i, int bits) {
    if (bits == TRITS) return bytes[i / TRITS_A_BYTE] / trit_place[i % TRITS_A_BYTE] % 3u;
    size_t at = i * (size_t)bits, shift = at % 8;
    unsigned window = bytes[at / 8] | (shift + (size_t)bits > 8 ? (unsigned)bytes[at / 8 + 1] << 8 : 0);
    return window >> shift & ((1u << bits) - 1);
}

#endif
