#include "lowbit/formats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/finite.h"
#include "quant/affine.h"
#include "lowbit/ggml.h"
#include "lowbit/half.h"
#include "lowbit/hqq.h"
#include "lowbit/minifloat.h"
#include "lowbit/mx.h"
#include "lowbit/nf4.h"
#include "lowbit/ternary.h"

/* ---- bits -------------------------------------------------------------------------------------------------- */

void pack_bits(const uint8_t *codes, size_t n, int bits, uint8_t *bytes) {
    memset(bytes, 0, packed_bytes(n, bits));
    for (size_t i = 0; i < n; i++) put_code(bytes, i, bits, codes[i]);
}

void unpack_bits(const uint8_t *bytes, size_t n, int bits, uint8_t *codes) {
    for (size_t i = 0; i < n; i++) codes[i] = (uint8_t)get_code(bytes, i, bits);
}

/* ---- integers ---------------------------------------------------------------------------------------------- */

/* The scale as the file will hold it. One too small for fp16 becomes its smallest number, one too large its
 * largest: the codes are then chosen for the scale that is really used. */
float scale_in_half(float scale) {
    float stored = float_from_half(half_from_float(scale));
    return stored == 0 ? 0x1p-24f : !is_finite((double)stored) ? 65504.0f : stored;
}

static struct qparams make_grid(const float *w, int n, int bits, enum format_grid grid) {
    float lo, hi;
    int top = (1 << (bits - 1)) - 1; /* 127, 7, 3, 1 */
    range_with_zero(w, (size_t)n, &lo, &hi);
    float absmax = fmaxf(-lo, hi);
    struct qparams p = grid == ASYMMETRIC_GRID ? qparams_asymmetric(lo, hi, 0, 2 * top + 1)
                                               : qparams_symmetric(absmax, top);
    if (grid == SYMMETRIC_GRID && bits < 8) { /* eq. 8 */
        p.qmin = -top - 1;
        if (absmax > 0 && is_finite((double)absmax)) p.scale = absmax / ((float)top + 0.5f);
    }
    p.scale = scale_in_half(p.scale);
    return p;
}

struct qparams grid_of(const float *w, int n, int bits, bool symmetric) {
    return make_grid(w, n, bits, symmetric ? SYMMETRIC_GRID : ASYMMETRIC_GRID);
}

/* A block, its codes given, or NULL: those of w. Signed codes are stored without their sign. */
static void write_block(struct qparams g, const int8_t *codes, const float *w, int n, int bits, bool symmetric,
                        uint8_t *bytes) {
    memset(bytes, 0, 2 + !symmetric + packed_bytes((size_t)n, bits));
    half_write(g.scale, bytes);
    if (!symmetric) bytes[2] = (uint8_t)g.zero_point;
    bytes += 2 + !symmetric;
    for (int i = 0; i < n; i++) {
        int code = codes ? codes[i] : quantize(w[i], g);
        put_code(bytes, (size_t)i, bits, symmetric ? stored_code(code, bits) : (unsigned)code);
    }
}

void integer_block_pack(struct qparams g, const int8_t *codes, int n, int bits, bool symmetric, uint8_t *bytes) {
    write_block(g, codes, NULL, n, bits, symmetric, bytes);
}

static void integer_encode(const struct format *self, const float *w, const float *importance, int n, uint8_t *bytes) {
    (void)importance;
    write_block(make_grid(w, n, self->bits, self->grid), NULL, w, n, self->bits, self->grid != ASYMMETRIC_GRID, bytes);
}

static void integer_decode(const struct format *self, const uint8_t *bytes, int n, float *w) {
    int zero = self->grid == ASYMMETRIC_GRID ? bytes[2] : 1 << (self->bits - 1);
    struct qparams g = {.scale = half_read(bytes), .zero_point = zero};
    for (int i = 0; i < n; i++) w[i] = dequantize((int)get_code(bytes + self->header, (size_t)i, self->bits), g);
}

/* ---- floats ------------------------------------------------------------------------------------------------ */

static void f32_encode(const struct format *self, const float *w, const float *importance, int n, uint8_t *bytes) {
    (void)self, (void)importance;
    memcpy(bytes, w, (size_t)n * sizeof *w);
}

static void f32_decode(const struct format *self, const uint8_t *bytes, int n, float *w) {
    (void)self;
    memcpy(w, bytes, (size_t)n * sizeof *w);
}

/* In the order of the machine, as f32: st_copy turns the numbers of tensors of these types, which are no bytes to it.
 */
#define FLOAT_OF_16_BITS(name, narrow, widen)                                                                          \
    static void name##_encode(const struct format *self, const float *w, const float *importance, int n,               \
                              uint8_t *bytes) {                                                                        \
        (void)self, (void)importance;                                                                                  \
        for (int i = 0; i < n; i++) memcpy(bytes + 2 * i, &(uint16_t){narrow(w[i])}, 2);                               \
    }                                                                                                                  \
    static void name##_decode(const struct format *self, const uint8_t *bytes, int n, float *w) {                      \
        (void)self;                                                                                                    \
        for (int i = 0; i < n; i++) {                                                                                  \
            uint16_t bits;                                                                                             \
            memcpy(&bits, bytes + 2 * i, 2);                                                                           \
            w[i] = widen(bits);                                                                                        \
        }                                                                                                              \
    }
FLOAT_OF_16_BITS(f16, half_from_float, float_from_half)
FLOAT_OF_16_BITS(bf16, bfloat_from_float, float_from_bfloat)

/* ---- the table ---------------------------------------------------------------------------------------------- */

/* clang-format off */
const struct format formats[] = {
    /* name     dtype  bits, block                 layout       header, sub_block */
    {"f32",    "F32",  32, 1,                      LAYOUT_FLAT,  0, 0, NO_GRID, f32_encode, f32_decode},
    {"bf16",   "BF16", 16, 1,                      LAYOUT_FLAT,  0, 0, NO_GRID, bf16_encode, bf16_decode},
    {"f16",    "F16",  16, 1,                      LAYOUT_FLAT,  0, 0, NO_GRID, f16_encode, f16_decode},
    {"int8",   "U8",    8, 0,                      LAYOUT_SPAN,  2, 0, SYMMETRIC_GRID, integer_encode, integer_decode},
    {"int6",   "U8",    6, 0,                      LAYOUT_SPAN,  2, 0, SYMMETRIC_GRID, integer_encode, integer_decode},
    {"int5",   "U8",    5, 0,                      LAYOUT_SPAN,  2, 0, SYMMETRIC_GRID, integer_encode, integer_decode},
    {"int4",   "U8",    4, 0,                      LAYOUT_SPAN,  2, 0, SYMMETRIC_GRID, integer_encode, integer_decode},
    {"int3",   "U8",    3, 0,                      LAYOUT_SPAN,  2, 0, SYMMETRIC_GRID, integer_encode, integer_decode},
    {"int2",   "U8",    2, 0,                      LAYOUT_SPAN,  2, 0, SYMMETRIC_GRID, integer_encode, integer_decode},
    {"int2-narrow", "U8", 2, 0,                    LAYOUT_SPAN,  2, 0, NARROW_GRID, integer_encode, integer_decode},
    {"uint4",  "U8",    4, 0,                      LAYOUT_SPAN,  3, 0, ASYMMETRIC_GRID, integer_encode, integer_decode},
    {"uint3",  "U8",    3, 0,                      LAYOUT_SPAN,  3, 0, ASYMMETRIC_GRID, integer_encode, integer_decode},
    {"uint2",  "U8",    2, 0,                      LAYOUT_SPAN,  3, 0, ASYMMETRIC_GRID, integer_encode, integer_decode},
    {"hqq4",   "U8",    4, 0,                      LAYOUT_SPAN,  4, 0, NO_GRID, hqq_encode, hqq_decode},
    {"hqq3",   "U8",    3, 0,                      LAYOUT_SPAN,  4, 0, NO_GRID, hqq_encode, hqq_decode},
    {"hqq2",   "U8",    2, 0,                      LAYOUT_SPAN,  4, 0, NO_GRID, hqq_encode, hqq_decode},
    {"ternary", "U8", TRITS, 0,                    LAYOUT_SPAN,  2, 0, NO_GRID, ternary_encode, ternary_decode},
    {"bitnet", "U8", TRITS, 0,                     LAYOUT_SPAN,  2, 0, NO_GRID, bitnet_encode, bitnet_decode},
    {"binary", "U8",    1, 0,                      LAYOUT_SPAN,  2, 0, NO_GRID, binary_encode, binary_decode},
    {"fp8_e4m3",   "F8_E4M3", 8, 0,                LAYOUT_SPAN,  0, 0, SCALED_GRID, fp8_e4m3_encode, fp8_e4m3_decode},
    {"fp8_e5m2",   "F8_E5M2", 8, 0,                LAYOUT_SPAN,  0, 0, SCALED_GRID, fp8_e5m2_encode, fp8_e5m2_decode},
    {"mxfp8_e4m3", "U8", 8, MX_BLOCK,              LAYOUT_SPAN,  1, 0, NO_GRID, mxfp8_e4m3_encode, mxfp8_e4m3_decode},
    {"mxfp8_e5m2", "U8", 8, MX_BLOCK,              LAYOUT_SPAN,  1, 0, NO_GRID, mxfp8_e5m2_encode, mxfp8_e5m2_decode},
    {"mxint8",     "U8", 8, MX_BLOCK,              LAYOUT_SPAN,  1, 0, NO_GRID, mxint8_encode, mxint8_decode},
    {"mxfp6_e2m3", "U8", 6, MX_BLOCK,              LAYOUT_SPAN,  1, 0, NO_GRID, mxfp6_e2m3_encode, mxfp6_e2m3_decode},
    {"mxfp6_e3m2", "U8", 6, MX_BLOCK,              LAYOUT_SPAN,  1, 0, NO_GRID, mxfp6_e3m2_encode, mxfp6_e3m2_decode},
    {"mxfp4",      "U8", 4, MX_BLOCK,              LAYOUT_SPAN,  1, 0, NO_GRID, mxfp4_encode, mxfp4_decode},
    {"nvfp4",      "U8", 4, NVFP4_BLOCK,           LAYOUT_SPAN,  1, 0, SCALED_GRID, nvfp4_encode, nvfp4_decode},
    {"nf4",    "U8",    4, NF4_BLOCK,              LAYOUT_FLAT,  4, 0, NO_GRID, nf4_encode, nf4_decode},
    {"nf4-dq", "U8",    4, NF4_BLOCK * NF4_SUPER,  LAYOUT_FLAT,  8, NF4_BLOCK, NO_GRID, nf4_dq_encode, nf4_dq_decode},
    {"q8_0",   "U8",    8, 32,                     LAYOUT_ROWS,  2, 0, NO_GRID, q8_0_encode, q8_0_decode},
    {"q4_0",   "U8",    4, 32,                     LAYOUT_ROWS,  2, 0, NO_GRID, q4_0_encode, q4_0_decode},
    {"iq4_nl", "U8",    4, 32,                     LAYOUT_ROWS,  2, 0, SEARCHED_GRID, iq4_nl_encode, iq4_nl_decode},
    {"q2_K",   "U8",    2, 256,                    LAYOUT_ROWS, 20, 0, SEARCHED_GRID, q2_K_encode, q2_K_decode},
    {"q3_K",   "U8",    3, 256,                    LAYOUT_ROWS, 14, 0, SEARCHED_GRID, q3_K_encode, q3_K_decode},
    {"q4_K",   "U8",    4, 256,                    LAYOUT_ROWS, 16, 0, SEARCHED_GRID, q4_K_encode, q4_K_decode},
    {"q5_K",   "U8",    5, 256,                    LAYOUT_ROWS, 16, 0, SEARCHED_GRID, q5_K_encode, q5_K_decode},
    {"q6_K",   "U8",    6, 256,                    LAYOUT_ROWS, 18, 0, SEARCHED_GRID, q6_K_encode, q6_K_decode},
    {0},
};
/* clang-format on */

const struct format *format_find(const char *name) {
    for (const struct format *f = formats; f->name; f++)
        if (strcmp(f->name, name) == 0) return f;
    return NULL;
}

size_t format_bytes(const struct format *f, int n) {
    int subs = f->sub_block ? (n + f->sub_block - 1) / f->sub_block : 0;
    return (size_t)(f->header + subs) + packed_bytes((size_t)n, f->bits);
}
