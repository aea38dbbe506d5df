#include "lowbit/mx.h"

#include <math.h>

#include "lowbit/minifloat.h"
#include "quant/affine.h"

static void pack_scaled(const struct minifloat *element, const float *w, int n, float scale, uint8_t *bytes) {
    uint8_t codes[MX_BLOCK];
    for (int i = 0; i < n; i++) codes[i] = minifloat_saturate(element, scale > 0 ? w[i] / scale : 0);
    pack_bits(codes, (size_t)n, element->bits, bytes);
}

static void unpack_scaled(const struct minifloat *element, const uint8_t *bytes, int n, float scale, float *w) {
    uint8_t codes[MX_BLOCK];
    unpack_bits(bytes, (size_t)n, element->bits, codes);
    for (int i = 0; i < n; i++) w[i] = scale * float_from_minifloat(element, codes[i]);
}

/* ---- codes alone: their scale is the codec's ------------------------------------------------------------------- */

#define FLOATS(name, element)                                                                                          \
    void name##_encode(const struct format *self, const float *w, const float *importance, int n, uint8_t *bytes) {    \
        (void)self, (void)importance;                                                                                  \
        for (int i = 0; i < n; i++) bytes[i] = minifloat_saturate(&minifloats[element], w[i]);                         \
    }                                                                                                                  \
    void name##_decode(const struct format *self, const uint8_t *bytes, int n, float *w) {                             \
        (void)self;                                                                                                    \
        for (int i = 0; i < n; i++) w[i] = float_from_minifloat(&minifloats[element], bytes[i]);                       \
    }
FLOATS(fp8_e4m3, FP8_E4M3)
FLOATS(fp8_e5m2, FP8_E5M2)

/* ---- MX: a power of two for 32 weights ------------------------------------------------------------------------- */

enum { E8M0_BIAS = 127, E8M0_NAN = 255 };

static float float_from_e8m0(uint8_t code) { return code == E8M0_NAN ? NAN : ldexpf(1, code - E8M0_BIAS); }

/* The scale of a block whose element has its highest number in [2^highest, 2^(highest + 1)). Code 0 for zeros. */
static uint8_t e8m0_of(const float *w, int n, int highest) {
    int above;
    float widest = absolute_maximum(w, (size_t)n);
    if (widest == 0) return 0;
    frexpf(widest, &above); /* widest is in [2^(above - 1), 2^above) */
    int code = above - 1 - highest + E8M0_BIAS;
    return (uint8_t)(code < 0 ? 0 : code);
}

static void mx_encode(const struct minifloat *element, const float *w, int n, uint8_t *bytes) {
    int highest = (element->highest >> element->mantissa) - element->bias;
    bytes[0] = e8m0_of(w, n, highest);
    pack_scaled(element, w, n, float_from_e8m0(bytes[0]), bytes + 1);
}

#define MX_FLOATS(name, element)                                                                                       \
    void name##_encode(const struct format *self, const float *w, const float *importance, int n, uint8_t *bytes) {    \
        (void)self, (void)importance;                                                                                  \
        mx_encode(&minifloats[element], w, n, bytes);                                                                  \
    }                                                                                                                  \
    void name##_decode(const struct format *self, const uint8_t *bytes, int n, float *w) {                             \
        (void)self;                                                                                                    \
        unpack_scaled(&minifloats[element], bytes + 1, n, float_from_e8m0(bytes[0]), w);                               \
    }
MX_FLOATS(mxfp8_e4m3, FP8_E4M3)
MX_FLOATS(mxfp8_e5m2, FP8_E5M2)
MX_FLOATS(mxfp6_e2m3, FP6_E2M3)
MX_FLOATS(mxfp6_e3m2, FP6_E3M2)
MX_FLOATS(mxfp4, FP4_E2M1)

/* The element of MXINT8 counts 64ths, from -127 to 127: -128 is left out, as the specification allows, so that the grid
 * is symmetric. */
void mxint8_encode(const struct format *self, const float *w, const float *importance, int n, uint8_t *bytes) {
    (void)self, (void)importance;
    bytes[0] = e8m0_of(w, n, 0);
    struct qparams p = {.scale = float_from_e8m0(bytes[0]) / 64, .qmin = -127, .qmax = 127};
    for (int i = 0; i < n; i++) bytes[1 + i] = (uint8_t)(p.scale > 0 ? quantize(w[i], p) : 0);
}

void mxint8_decode(const struct format *self, const uint8_t *bytes, int n, float *w) {
    (void)self;
    float scale = float_from_e8m0(bytes[0]) / 64;
    for (int i = 0; i < n; i++) w[i] = scale * (float)(int8_t)bytes[1 + i];
}

/* ---- NVFP4: an 8-bit float for 16 weights, which the matrix' F32 scale has brought into its range ---------------- */

static const struct minifloat *const block_scale = &minifloats[FP8_E4M3], *const fp4 = &minifloats[FP4_E2M1];

void nvfp4_encode(const struct format *self, const float *w, const float *importance, int n, uint8_t *bytes) {
    (void)self, (void)importance;
    bytes[0] = minifloat_saturate(block_scale, absolute_maximum(w, (size_t)n) / 6);
    pack_scaled(fp4, w, n, float_from_minifloat(block_scale, bytes[0]), bytes + 1);
}

void nvfp4_decode(const struct format *self, const uint8_t *bytes, int n, float *w) {
    (void)self;
    unpack_scaled(fp4, bytes + 1, n, float_from_minifloat(block_scale, bytes[0]), w);
}
