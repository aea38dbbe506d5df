#include "lowbit/nf4.h"

#include <math.h>
#include <string.h>

#include "lowbit/half.h"
#include "quant/affine.h"

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

void nf4_encode(const struct format *self, const float *w, const float *importance, int n, uint8_t *bytes) {
    (void)importance;
    float absmax = absolute_maximum(w, (size_t)n);
    memset(bytes, 0, format_bytes(self, n));
    float_write(absmax, bytes);
    nf4_pack(w, n, absmax, bytes + 4, 0);
}

void nf4_decode(const struct format *self, const uint8_t *bytes, int n, float *w) {
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

void nf4_dq_encode(const struct format *self, const float *w, const float *importance, int n, uint8_t *bytes) {
    (void)importance;
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

void nf4_dq_decode(const struct format *self, const uint8_t *bytes, int n, float *w) {
    (void)self;
    int blocks = (n + NF4_BLOCK - 1) / NF4_BLOCK;
    for (int i = 0; i < n; i++)
        w[i] = nf4_values[get_code(bytes + 8 + blocks, (size_t)i, 4)] * nf4_dq_absmax(bytes, i / NF4_BLOCK);
}
