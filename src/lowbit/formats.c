#include "lowbit/formats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/affine.h"
#include "lowbit/ggml.h"
#include "lowbit/half.h"

enum { MAX_CODES = 16384 }; /* weights unpacked at a time */

/* ---- bits -------------------------------------------------------------------------------------------------- */

void pack_bits(const uint8_t *codes, size_t n, int bits, uint8_t *bytes) {
    memset(bytes, 0, packed_bytes(n, bits));
    for (size_t i = 0; i < n; i++) {
        size_t at = i * (size_t)bits;
        unsigned shifted = (unsigned)codes[i] << at % 8;
        bytes[at / 8] |= (uint8_t)shifted;
        if (shifted > 255) bytes[at / 8 + 1] |= (uint8_t)(shifted >> 8); /* a code of 3 bits may cross a byte */
    }
}

void unpack_bits(const uint8_t *bytes, size_t n, int bits, uint8_t *codes) {
    size_t size = packed_bytes(n, bits);
    for (size_t i = 0; i < n; i++) {
        size_t at = i * (size_t)bits;
        unsigned window = bytes[at / 8] | (at / 8 + 1 < size ? (unsigned)bytes[at / 8 + 1] << 8 : 0);
        codes[i] = (uint8_t)(window >> at % 8 & ((1u << bits) - 1));
    }
}

/* ---- integers ---------------------------------------------------------------------------------------------- */

int grid_code(float x, struct grid g) { return quantize(x, (struct qparams){g.scale, g.zero_point, g.qmin, g.qmax}); }

float grid_value(int code, struct grid g) { return g.scale * (float)(code - g.zero_point); }

/* The scale as the file will hold it. One too small for fp16 becomes its smallest number, one too large its
 * largest: the codes are then chosen for the scale that is really used. */
static float scale_in_half(float scale) {
    float stored = float_from_half(half_from_float(scale));
    return stored == 0 ? 0x1p-24f : isinf(stored) ? 65504.0f : stored;
}

struct grid grid_with_scale(struct grid g, float scale) {
    g.scale = scale_in_half(scale);
    return g;
}

struct grid grid_of(const float *w, int n, int bits, bool symmetric) {
    float lo = 0, hi = 0;
    int top = (1 << (bits - 1)) - 1; /* 127, 7, 3, 1 */
    for (int i = 0; i < n; i++) {
        lo = fminf(lo, w[i]);
        hi = fmaxf(hi, w[i]);
    }
    struct qparams p = symmetric ? qparams_symmetric(fmaxf(-lo, hi), top) : qparams_asymmetric(lo, hi, 0, 2 * top + 1);
    struct grid g = {scale_in_half(p.scale), p.zero_point, p.qmin, p.qmax};
    return g;
}

/* The scale, and the zero point of an asymmetric block; returns their size. */
static size_t write_grid(struct grid g, bool symmetric, uint8_t *bytes) {
    uint16_t scale = half_from_float(g.scale);
    memcpy(bytes, &scale, 2);
    if (!symmetric) bytes[2] = (uint8_t)g.zero_point;
    return 2 + !symmetric;
}

/* n <= MAX_CODES codes, stored without their sign. */
static void pack_codes(const int8_t *codes, int n, int bits, bool symmetric, uint8_t *bytes) {
    uint8_t shifted[MAX_CODES];
    for (int i = 0; i < n; i++) shifted[i] = (uint8_t)(codes[i] + (symmetric ? 1 << (bits - 1) : 0));
    pack_bits(shifted, (size_t)n, bits, bytes);
}

void integer_block_pack(struct grid g, const int8_t *codes, int n, int bits, bool symmetric, uint8_t *bytes) {
    bytes += write_grid(g, symmetric, bytes);
    for (int first = 0; first < n; first += MAX_CODES) { /* a multiple of 8: each piece begins with a whole byte */
        int piece = n - first < MAX_CODES ? n - first : MAX_CODES;
        pack_codes(codes + first, piece, bits, symmetric, bytes + packed_bytes((size_t)first, bits));
    }
}

static size_t integer_bytes(int n, int bits, bool symmetric) { return 2 + !symmetric + packed_bytes((size_t)n, bits); }

static void integer_encode(const float *w, int n, int bits, bool symmetric, uint8_t *bytes) {
    struct grid g = grid_of(w, n, bits, symmetric);
    bytes += write_grid(g, symmetric, bytes);
    for (int first = 0; first < n; first += MAX_CODES) {
        int8_t codes[MAX_CODES];
        int piece = n - first < MAX_CODES ? n - first : MAX_CODES;
        for (int i = 0; i < piece; i++) codes[i] = (int8_t)grid_code(w[first + i], g);
        pack_codes(codes, piece, bits, symmetric, bytes + packed_bytes((size_t)first, bits));
    }
}

static void integer_decode(const uint8_t *bytes, int n, int bits, bool symmetric, float *w) {
    uint16_t scale;
    memcpy(&scale, bytes, 2);
    struct grid g = {.scale = float_from_half(scale), .zero_point = symmetric ? 0 : bytes[2]};
    int offset = symmetric ? 1 << (bits - 1) : 0;
    bytes += 2 + !symmetric;
    for (int first = 0; first < n; first += MAX_CODES) {
        uint8_t shifted[MAX_CODES];
        int piece = n - first < MAX_CODES ? n - first : MAX_CODES;
        unpack_bits(bytes + packed_bytes((size_t)first, bits), (size_t)piece, bits, shifted);
        for (int i = 0; i < piece; i++) w[first + i] = grid_value(shifted[i] - offset, g);
    }
}

#define INTEGER_FORMAT(name, bits, symmetric)                                                                          \
    static size_t name##_bytes(int n) { return integer_bytes(n, bits, symmetric); }                                    \
    static void name##_encode(const float *w, int n, uint8_t *bytes) { integer_encode(w, n, bits, symmetric, bytes); } \
    static void name##_decode(const uint8_t *bytes, int n, float *w) { integer_decode(bytes, n, bits, symmetric, w); }
INTEGER_FORMAT(int8, 8, true)
INTEGER_FORMAT(int4, 4, true)
INTEGER_FORMAT(int3, 3, true)
INTEGER_FORMAT(int2, 2, true)
INTEGER_FORMAT(uint4, 4, false)
INTEGER_FORMAT(uint3, 3, false)
INTEGER_FORMAT(uint2, 2, false)

/* ---- floats ------------------------------------------------------------------------------------------------ */

static size_t f32_bytes(int n) { return 4 * (size_t)n; }

static void f32_encode(const float *w, int n, uint8_t *bytes) { memcpy(bytes, w, f32_bytes(n)); }

static void f32_decode(const uint8_t *bytes, int n, float *w) { memcpy(w, bytes, f32_bytes(n)); }

static size_t f16_bytes(int n) { return 2 * (size_t)n; }

static void encode_16(const float *w, int n, uint16_t (*convert)(float), uint8_t *bytes) {
    for (int i = 0; i < n; i++) memcpy(bytes + 2 * i, &(uint16_t){convert(w[i])}, 2);
}

static void decode_16(const uint8_t *bytes, int n, float (*convert)(uint16_t), float *w) {
    for (int i = 0; i < n; i++) {
        uint16_t bits;
        memcpy(&bits, bytes + 2 * i, 2);
        w[i] = convert(bits);
    }
}

static void f16_encode(const float *w, int n, uint8_t *bytes) { encode_16(w, n, half_from_float, bytes); }

static void f16_decode(const uint8_t *bytes, int n, float *w) { decode_16(bytes, n, float_from_half, w); }

static void bf16_encode(const float *w, int n, uint8_t *bytes) { encode_16(w, n, bfloat_from_float, bytes); }

static void bf16_decode(const uint8_t *bytes, int n, float *w) { decode_16(bytes, n, float_from_bfloat, w); }

/* ---- NF4 --------------------------------------------------------------------------------------------------- */

/* The 16 values of NormalFloat 4 (Dettmers et al. 2023, QLoRA, appendix E): quantiles of a normal distribution
 * scaled to [-1, 1], with an exact 0. A table, since no short formula gives these digits. */
static const float nf4_values[16] = {-1.0f,
                                     -0.6961928009986877f,
                                     -0.5250730514526367f,
                                     -0.39491748809814453f,
                                     -0.28444138169288635f,
                                     -0.18477343022823334f,
                                     -0.09105003625154495f,
                                     0.0f,
                                     0.07958029955625534f,
                                     0.16093020141124725f,
                                     0.24611230194568634f,
                                     0.33791524171829224f,
                                     0.44070982933044434f,
                                     0.5626170039176941f,
                                     0.7229568362236023f,
                                     1.0f};

enum { NF4_BLOCK = 64, NF4_SUPER = 256 };

/* The nearest of the 16 values; the lower one on a tie. */
static uint8_t nf4_code(float x) {
    uint8_t code = 0;
    while (code < 15 && x > (nf4_values[code] + nf4_values[code + 1]) / 2) code++;
    return code;
}

/* n <= 64 weights over absmax -> packed codes */
static void nf4_pack(const float *w, int n, float absmax, uint8_t *bytes) {
    uint8_t codes[NF4_BLOCK];
    for (int i = 0; i < n; i++) codes[i] = nf4_code(absmax > 0 ? w[i] / absmax : 0);
    pack_bits(codes, (size_t)n, 4, bytes);
}

static void nf4_unpack(const uint8_t *bytes, int n, float absmax, float *w) {
    uint8_t codes[NF4_BLOCK];
    unpack_bits(bytes, (size_t)n, 4, codes);
    for (int i = 0; i < n; i++) w[i] = nf4_values[codes[i]] * absmax;
}

static size_t nf4_bytes(int n) { return 4 + packed_bytes((size_t)n, 4); }

static void nf4_encode(const float *w, int n, uint8_t *bytes) {
    float absmax = absolute_maximum(w, (size_t)n);
    memcpy(bytes, &absmax, 4);
    nf4_pack(w, n, absmax, bytes + 4);
}

static void nf4_decode(const uint8_t *bytes, int n, float *w) {
    float absmax;
    memcpy(&absmax, bytes, 4);
    nf4_unpack(bytes + 4, n, absmax, w);
}

/* Double quantization (QLoRA, section 3): the absmax of 256 blocks, their mean taken off, as 8-bit codes with one
 * scale. (bitsandbytes takes an 8-bit float for these codes; a linear one is used here.) */
static int nf4_blocks(int n) { return (n + NF4_BLOCK - 1) / NF4_BLOCK; }

static size_t nf4_dq_bytes(int n) { return 8 + (size_t)nf4_blocks(n) + packed_bytes((size_t)n, 4); }

static float nf4_dq_absmax(const uint8_t *bytes, int block) {
    float mean, scale;
    memcpy(&mean, bytes, 4);
    memcpy(&scale, bytes + 4, 4);
    float absmax = mean + scale * (float)((int)bytes[8 + block] - 128);
    return absmax < 0 ? 0 : absmax; /* a NaN stays one: a file's reader must see it */
}

static void nf4_dq_encode(const float *w, int n, uint8_t *bytes) {
    float absmax[NF4_SUPER], mean = 0, widest = 0;
    int blocks = nf4_blocks(n);
    for (int b = 0; b < blocks; b++) {
        int size = n - b * NF4_BLOCK < NF4_BLOCK ? n - b * NF4_BLOCK : NF4_BLOCK;
        absmax[b] = absolute_maximum(w + b * NF4_BLOCK, (size_t)size);
        mean += absmax[b] / (float)blocks;
    }
    for (int b = 0; b < blocks; b++) widest = fmaxf(widest, fabsf(absmax[b] - mean));
    struct qparams p = qparams_symmetric(widest, 127);
    memcpy(bytes, &mean, 4);
    memcpy(bytes + 4, &p.scale, 4);
    for (int b = 0; b < blocks; b++) bytes[8 + b] = (uint8_t)(quantize(absmax[b] - mean, p) + 128);
    for (int b = 0; b < blocks; b++) { /* the codes are chosen for the absmax that a reader will see */
        int size = n - b * NF4_BLOCK < NF4_BLOCK ? n - b * NF4_BLOCK : NF4_BLOCK;
        nf4_pack(w + b * NF4_BLOCK, size, nf4_dq_absmax(bytes, b), bytes + 8 + blocks + b * NF4_BLOCK / 2);
    }
}

static void nf4_dq_decode(const uint8_t *bytes, int n, float *w) {
    int blocks = nf4_blocks(n);
    for (int b = 0; b < blocks; b++) {
        int size = n - b * NF4_BLOCK < NF4_BLOCK ? n - b * NF4_BLOCK : NF4_BLOCK;
        nf4_unpack(bytes + 8 + blocks + b * NF4_BLOCK / 2, size, nf4_dq_absmax(bytes, b), w + b * NF4_BLOCK);
    }
}

/* ---- the table ---------------------------------------------------------------------------------------------- */

const struct format formats[] = {
    {"f32", 32, 1, LAYOUT_FLAT, f32_bytes, f32_encode, f32_decode},
    {"bf16", 16, 1, LAYOUT_FLAT, f16_bytes, bf16_encode, bf16_decode},
    {"f16", 16, 1, LAYOUT_FLAT, f16_bytes, f16_encode, f16_decode},
    {"int8", 8, 0, LAYOUT_SPAN, int8_bytes, int8_encode, int8_decode},
    {"int4", 4, 0, LAYOUT_SPAN, int4_bytes, int4_encode, int4_decode},
    {"int3", 3, 0, LAYOUT_SPAN, int3_bytes, int3_encode, int3_decode},
    {"int2", 2, 0, LAYOUT_SPAN, int2_bytes, int2_encode, int2_decode},
    {"uint4", 4, 0, LAYOUT_SPAN, uint4_bytes, uint4_encode, uint4_decode},
    {"uint3", 3, 0, LAYOUT_SPAN, uint3_bytes, uint3_encode, uint3_decode},
    {"uint2", 2, 0, LAYOUT_SPAN, uint2_bytes, uint2_encode, uint2_decode},
    {"nf4", 4, NF4_BLOCK, LAYOUT_FLAT, nf4_bytes, nf4_encode, nf4_decode},
    {"nf4-dq", 4, NF4_BLOCK *NF4_SUPER, LAYOUT_FLAT, nf4_dq_bytes, nf4_dq_encode, nf4_dq_decode},
    {"q8_0", 8, 32, LAYOUT_ROWS, q8_0_bytes, q8_0_encode, q8_0_decode},
    {"q4_0", 4, 32, LAYOUT_ROWS, q4_0_bytes, q4_0_encode, q4_0_decode},
    {"q4_K", 4, 256, LAYOUT_ROWS, q4_K_bytes, q4_K_encode, q4_K_decode},
    {"q6_K", 6, 256, LAYOUT_ROWS, q6_K_bytes, q6_K_encode, q6_K_decode},
    {0},
};

const struct format *format_find(const char *name) {
    for (const struct format *f = formats; f->name; f++)
        if (strcmp(f->name, name) == 0) return f;
    return NULL;
}

int format_integer_bits(const struct format *format, bool *symmetric) {
    *symmetric = strncmp(format->name, "int", 3) == 0;
    return *symmetric || strncmp(format->name, "uint", 4) == 0 ? format->bits : 0;
}

/* ---- matrices ------------------------------------------------------------------------------------------------ */

void codec_print(struct codec c, char *text, size_t size) {
    if (c.format->block) snprintf(text, size, "%s", c.format->name);
    else if (c.block > 0) snprintf(text, size, "%s/%d", c.format->name, c.block);
    else snprintf(text, size, "%s/%s", c.format->name, c.block == CODEC_ROW ? "row" : "tensor");
}

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
    if (n < 1 || n > MAX_CODES || *end) return false;
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
    size_t bytes = blocks * c.format->bytes(l.block);
    return rest ? bytes + c.format->bytes(l.padded ? l.block : (int)rest) : bytes;
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
            c.format->encode(pad ? padded : w + first, pad ? l.block : n, bytes);
            bytes += c.format->bytes(pad ? l.block : n);
        }
}

void codec_decode(struct codec c, const uint8_t *bytes, int out, int in, float *w) {
    struct lines l = lines_of(c, out, in);
    for (int line = 0; line < l.count; line++, w += l.length)
        for (int first = 0; first < l.length; first += l.block) {
            int n = l.length - first < l.block ? l.length - first : l.block;
            float padded[MAX_PADDED];
            bool pad = l.padded && n < l.block;
            c.format->decode(bytes, pad ? l.block : n, pad ? padded : w + first);
            if (pad) memcpy(w + first, padded, (size_t)n * sizeof *w);
            bytes += c.format->bytes(pad ? l.block : n);
        }
}
