#include "lowbit/formats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/finite.h"
#include "quant/affine.h"
#include "lowbit/ggml.h"
#include "lowbit/half.h"

/* ---- bits -------------------------------------------------------------------------------------------------- */

/* Code i of bytes that were 0. A code of 3 bits may cross a byte. */
static inline void put_code(uint8_t *bytes, size_t i, int bits, unsigned code) {
    size_t at = i * (size_t)bits;
    unsigned shifted = code << at % 8;
    bytes[at / 8] |= (uint8_t)shifted;
    if (shifted > 255) bytes[at / 8 + 1] |= (uint8_t)(shifted >> 8);
}

static inline unsigned get_code(const uint8_t *bytes, size_t i, int bits) {
    size_t at = i * (size_t)bits, shift = at % 8;
    unsigned window = bytes[at / 8] | (shift + (size_t)bits > 8 ? (unsigned)bytes[at / 8 + 1] << 8 : 0);
    return window >> shift & ((1u << bits) - 1);
}

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
    int offset = symmetric ? 1 << (bits - 1) : 0;
    memset(bytes, 0, 2 + !symmetric + packed_bytes((size_t)n, bits));
    half_write(g.scale, bytes);
    if (!symmetric) bytes[2] = (uint8_t)g.zero_point;
    bytes += 2 + !symmetric;
    for (int i = 0; i < n; i++)
        put_code(bytes, (size_t)i, bits, (unsigned)((codes ? codes[i] : quantize(w[i], g)) + offset));
}

void integer_block_pack(struct qparams g, const int8_t *codes, int n, int bits, bool symmetric, uint8_t *bytes) {
    write_block(g, codes, NULL, n, bits, symmetric, bytes);
}

static void integer_encode(const struct format *self, const float *w, int n, uint8_t *bytes) {
    write_block(make_grid(w, n, self->bits, self->grid), NULL, w, n, self->bits, self->grid != ASYMMETRIC_GRID, bytes);
}

static void integer_decode(const struct format *self, const uint8_t *bytes, int n, float *w) {
    int zero = self->grid == ASYMMETRIC_GRID ? bytes[2] : 1 << (self->bits - 1);
    struct qparams g = {.scale = half_read(bytes), .zero_point = zero};
    for (int i = 0; i < n; i++) w[i] = dequantize((int)get_code(bytes + self->header, (size_t)i, self->bits), g);
}

/* ---- floats ------------------------------------------------------------------------------------------------ */

static void f32_encode(const struct format *self, const float *w, int n, uint8_t *bytes) {
    (void)self;
    memcpy(bytes, w, (size_t)n * sizeof *w);
}

static void f32_decode(const struct format *self, const uint8_t *bytes, int n, float *w) {
    (void)self;
    memcpy(w, bytes, (size_t)n * sizeof *w);
}

/* In the order of the machine, as f32: st_copy turns the numbers of tensors of these types, which are no bytes to it.
 */
#define FLOAT_OF_16_BITS(name, narrow, widen)                                                                          \
    static void name##_encode(const struct format *self, const float *w, int n, uint8_t *bytes) {                      \
        (void)self;                                                                                                    \
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

/* ---- NF4 --------------------------------------------------------------------------------------------------- */

/* The 16 values of NormalFloat 4 (Dettmers et al. 2023, QLoRA, appendix E): quantiles of a normal distribution
 * scaled to [-1, 1], with an exact 0. A table, since no short formula gives these digits. */
/* clang-format off */
static const float nf4_values[16] = {
    -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f,
    -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0.0f,
    0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
    0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f,
};
/* clang-format on */

enum { NF4_BLOCK = 64, NF4_SUPER = 256 };

static int nf4_length(int n, int block) {
    return n - block * NF4_BLOCK < NF4_BLOCK ? n - block * NF4_BLOCK : NF4_BLOCK;
}

/* The nearest of the 16 values; the lower one on a tie. */
static uint8_t nf4_code(float x) {
    uint8_t code = 0;
    while (code < 15 && x > (nf4_values[code] + nf4_values[code + 1]) / 2) code++;
    return code;
}

/* Weights over absmax as codes from number `first` on, in bytes that were 0. */
static void nf4_pack(const float *w, int n, float absmax, uint8_t *bytes, int first) {
    for (int i = 0; i < n; i++) put_code(bytes, (size_t)(first + i), 4, nf4_code(absmax > 0 ? w[i] / absmax : 0));
}

static void nf4_encode(const struct format *self, const float *w, int n, uint8_t *bytes) {
    float absmax = absolute_maximum(w, (size_t)n);
    memset(bytes, 0, format_bytes(self, n));
    float_write(absmax, bytes);
    nf4_pack(w, n, absmax, bytes + 4, 0);
}

static void nf4_decode(const struct format *self, const uint8_t *bytes, int n, float *w) {
    float absmax = float_read(bytes);
    for (int i = 0; i < n; i++) w[i] = nf4_values[get_code(bytes + self->header, (size_t)i, 4)] * absmax;
}

/* Double quantization (QLoRA, section 3): the absmax of 256 blocks, their mean taken off, as 8-bit codes with one
 * scale. (bitsandbytes takes an 8-bit float for these codes; a linear one is used here.) */
static float nf4_dq_absmax(const uint8_t *bytes, int block) {
    float mean = float_read(bytes), scale = float_read(bytes + 4);
    float absmax = mean + scale * (float)((int)bytes[8 + block] - 128);
    return absmax < 0 ? 0 : absmax; /* a NaN stays one: a file's reader must see it */
}

static void nf4_dq_encode(const struct format *self, const float *w, int n, uint8_t *bytes) {
    float absmax[NF4_SUPER], mean = 0, widest = 0;
    int blocks = (n + NF4_BLOCK - 1) / NF4_BLOCK;
    for (int b = 0; b < blocks; b++) {
        absmax[b] = absolute_maximum(w + b * NF4_BLOCK, (size_t)nf4_length(n, b));
        mean += absmax[b] / (float)blocks;
    }
    for (int b = 0; b < blocks; b++) widest = fmaxf(widest, fabsf(absmax[b] - mean));
    struct qparams p = qparams_symmetric(widest, 127);
    memset(bytes, 0, format_bytes(self, n));
    float_write(mean, bytes);
    float_write(p.scale, bytes + 4);
    for (int b = 0; b < blocks; b++) bytes[8 + b] = (uint8_t)(quantize(absmax[b] - mean, p) + 128);
    for (int b = 0; b < blocks; b++) /* the codes are chosen for the absmax that a reader will see */
        nf4_pack(w + b * NF4_BLOCK, nf4_length(n, b), nf4_dq_absmax(bytes, b), bytes + 8 + blocks, b * NF4_BLOCK);
}

static void nf4_dq_decode(const struct format *self, const uint8_t *bytes, int n, float *w) {
    (void)self;
    int blocks = (n + NF4_BLOCK - 1) / NF4_BLOCK;
    for (int i = 0; i < n; i++)
        w[i] = nf4_values[get_code(bytes + 8 + blocks, (size_t)i, 4)] * nf4_dq_absmax(bytes, i / NF4_BLOCK);
}

/* ---- the table ---------------------------------------------------------------------------------------------- */

/* clang-format off */
const struct format formats[] = {
    /* name     dtype  bits, block                 layout       header, sub_block */
    {"f32",    "F32",  32, 1,                      LAYOUT_FLAT,  0, 0, NO_GRID, f32_encode, f32_decode},
    {"bf16",   "BF16", 16, 1,                      LAYOUT_FLAT,  0, 0, NO_GRID, bf16_encode, bf16_decode},
    {"f16",    "F16",  16, 1,                      LAYOUT_FLAT,  0, 0, NO_GRID, f16_encode, f16_decode},
    {"int8",   "U8",    8, 0,                      LAYOUT_SPAN,  2, 0, SYMMETRIC_GRID, integer_encode, integer_decode},
    {"int4",   "U8",    4, 0,                      LAYOUT_SPAN,  2, 0, SYMMETRIC_GRID, integer_encode, integer_decode},
    {"int3",   "U8",    3, 0,                      LAYOUT_SPAN,  2, 0, SYMMETRIC_GRID, integer_encode, integer_decode},
    {"int2",   "U8",    2, 0,                      LAYOUT_SPAN,  2, 0, SYMMETRIC_GRID, integer_encode, integer_decode},
    {"int2-narrow", "U8", 2, 0,                    LAYOUT_SPAN,  2, 0, NARROW_GRID, integer_encode, integer_decode},
    {"uint4",  "U8",    4, 0,                      LAYOUT_SPAN,  3, 0, ASYMMETRIC_GRID, integer_encode, integer_decode},
    {"uint3",  "U8",    3, 0,                      LAYOUT_SPAN,  3, 0, ASYMMETRIC_GRID, integer_encode, integer_decode},
    {"uint2",  "U8",    2, 0,                      LAYOUT_SPAN,  3, 0, ASYMMETRIC_GRID, integer_encode, integer_decode},
    {"nf4",    "U8",    4, NF4_BLOCK,              LAYOUT_FLAT,  4, 0, NO_GRID, nf4_encode, nf4_decode},
    {"nf4-dq", "U8",    4, NF4_BLOCK * NF4_SUPER,  LAYOUT_FLAT,  8, NF4_BLOCK, NO_GRID, nf4_dq_encode, nf4_dq_decode},
    {"q8_0",   "U8",    8, 32,                     LAYOUT_ROWS,  2, 0, NO_GRID, q8_0_encode, q8_0_decode},
    {"q4_0",   "U8",    4, 32,                     LAYOUT_ROWS,  2, 0, NO_GRID, q4_0_encode, q4_0_decode},
    {"q4_K",   "U8",    4, 256,                    LAYOUT_ROWS, 16, 0, NO_GRID, q4_K_encode, q4_K_decode},
    {"q6_K",   "U8",    6, 256,                    LAYOUT_ROWS, 18, 0, NO_GRID, q6_K_encode, q6_K_decode},
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

/* ---- matrices ------------------------------------------------------------------------------------------------ */

void codec_print(struct codec c, char *text, size_t size) {
    if (c.format->block) snprintf(text, size, "%s", c.format->name);
    else if (c.block > 0) snprintf(text, size, "%s/%d", c.format->name, c.block);
    else snprintf(text, size, "%s/%s", c.format->name, c.block == CODEC_ROW ? "row" : "tensor");
}

enum { MAX_GROUP = 16384 }; /* the widest layer */

bool codec_parse(const char *text, struct codec *c) {
    char name[32];
    size_t length = strcspn(text, "/");
    if (length >= sizeof name) return false;
    memcpy(name, text, length);
    name[length] = 0;
    *c = (struct codec){format_find(name), CODEC_ROW};
    if (!c->format) return false;
    const char *block = text + length;
    if (c->format->block) return *block == 0;
    if (strcmp(block, "/row") == 0) return true;
    if (strcmp(block, "/tensor") == 0) {
        c->block = CODEC_TENSOR;
        return true;
    }
    char *end;
    long n = *block && block[1] >= '1' && block[1] <= '9' ? strtol(block + 1, &end, 10) : 0;
    if (n < 1 || n > MAX_GROUP || *end) return false;
    c->block = (int)n;
    return true;
}

/* A matrix as lines of weights that blocks do not cross: its rows, or one line for all. */
struct lines {
    int count, length, block;
    bool padded;
};

static struct lines lines_of(struct codec c, int out, int in) {
    const struct format *f = c.format;
    bool flat = f->layout == LAYOUT_FLAT || (f->block == 0 && c.block == CODEC_TENSOR);
    int block = f->block ? f->block : c.block > 0 ? c.block : flat ? out * in : in;
    if (f->block == 1) block = out * in; /* plain floats: one run is as good as blocks of one */
    return (struct lines){flat ? 1 : out, flat ? out * in : in, block, f->layout == LAYOUT_ROWS};
}

static size_t line_bytes(struct codec c, struct lines l) {
    size_t blocks = (size_t)(l.length / l.block), rest = (size_t)(l.length % l.block);
    size_t bytes = blocks * format_bytes(c.format, l.block);
    return rest ? bytes + format_bytes(c.format, l.padded ? l.block : (int)rest) : bytes;
}

size_t codec_bytes(struct codec c, int out, int in) {
    struct lines l = lines_of(c, out, in);
    return (size_t)l.count * line_bytes(c, l);
}

enum { MAX_PADDED = 256 };

void codec_encode(struct codec c, const float *w, int out, int in, uint8_t *bytes) {
    struct lines l = lines_of(c, out, in);
    for (int line = 0; line < l.count; line++, w += l.length)
        for (int first = 0; first < l.length; first += l.block) {
            int n = l.length - first < l.block ? l.length - first : l.block;
            float padded[MAX_PADDED] = {0};
            bool pad = l.padded && n < l.block;
            if (pad) memcpy(padded, w + first, (size_t)n * sizeof *w);
            c.format->encode(c.format, pad ? padded : w + first, pad ? l.block : n, bytes);
            bytes += format_bytes(c.format, pad ? l.block : n);
        }
}

void codec_decode(struct codec c, const uint8_t *bytes, int out, int in, float *w) {
    struct lines l = lines_of(c, out, in);
    for (int line = 0; line < l.count; line++, w += l.length)
        for (int first = 0; first < l.length; first += l.block) {
            int n = l.length - first < l.block ? l.length - first : l.block;
            float padded[MAX_PADDED];
            bool pad = l.padded && n < l.block;
            c.format->decode(c.format, bytes, pad ? l.block : n, pad ? padded : w + first);
            if (pad) memcpy(w + first, padded, (size_t)n * sizeof *w);
            bytes += format_bytes(c.format, pad ? l.block : n);
        }
}
