/* Weights of three values, -scale, 0, scale, and of two. The three published ways to choose the scale of w [n]:
 *
 *   ternary  threshold = 0.7 mean |w|, scale = mean of the |w| above it            TWN (Li et al. 2016, eq. 6 and 5)
 *   bitnet   scale = mean |w|, codes = clamp(round(w / scale), -1, 1)              BitNet b1.58 (Ma et al. 2024, eq. 1
 * to 3) binary   scale = mean |w|, codes = sign of w, that of 0 is +                   XNOR-Net (Rastegari et al. 2016,
 * eq. 6)
 *
 * Blocks: | f16 scale | codes, 5 of 3 values or 8 of 2 in a byte |, as formats.h says. */
#ifndef LOWBIT_TERNARY_H
#define LOWBIT_TERNARY_H

#include "lowbit/formats.h"

/* Whether codes have no more than three values: bits is 1 or TRITS. */
static inline bool is_ternary(int bits) { return bits <= 1; }

/* The grid of TWN, or of XNOR-Net for 1 bit, for what chooses codes itself (QAT, GPTQ): codes in [-1, 1]. */
struct qparams ternary_grid(const float *w, int n, int bits);

/* The code of w on the grid of a symmetric format: the nearest, or where 0 is none its sign. */
static inline int code_on_grid(float w, struct qparams g, int bits) {
    return bits == 1 ? (w < 0 ? -1 : 1) : quantize(w, g);
}

BLOCK_FORMAT(ternary)
BLOCK_FORMAT(bitnet)
BLOCK_FORMAT(binary)

#endif
