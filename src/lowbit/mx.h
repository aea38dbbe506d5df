/* Blocks of small floats. Codes are packed from the lowest bit on, the first of two 4-bit codes in the lower half.
 *
 *   fp8_e4m3, fp8_e5m2     codes alone; scales F32 beside them, as many as the codec has blocks (formats.h)
 *   mxfp8_* mxfp6_* mxfp4  32 weights  | E8M0 | codes |      w = 2^(E8M0 - 127) * code
 *   mxint8                 32 weights  | E8M0 | 32 x int8 |  w = 2^(E8M0 - 127) * code / 64
 *   nvfp4                  16 weights  | E4M3 | 8 bytes |    w = F32 scale of the matrix * E4M3 * E2M1
 *
 * MX is OCP Microscaling Formats 1.0 (2023): the scale is the power of two in the widest weight, less the one in the
 * highest number of the element (section 6.3), and what is then beyond that number becomes it. NVFP4 (NVIDIA 2025,
 * Pretraining LLMs with NVFP4, appendix B): a block's E4M3 scale brings its widest weight to 6, the matrix' F32 scale
 * the widest of all to 6 * 448. The specifications leave open how scales and codes lie beside each other. */
#ifndef LOWBIT_MX_H
#define LOWBIT_MX_H

#include "lowbit/formats.h"

enum { MX_BLOCK = 32, NVFP4_BLOCK = 16 };

BLOCK_FORMAT(fp8_e4m3)
BLOCK_FORMAT(fp8_e5m2)
BLOCK_FORMAT(mxfp8_e4m3)
BLOCK_FORMAT(mxfp8_e5m2)
BLOCK_FORMAT(mxint8)
BLOCK_FORMAT(mxfp6_e2m3)
BLOCK_FORMAT(mxfp6_e3m2)
BLOCK_FORMAT(mxfp4)
BLOCK_FORMAT(nvfp4)

#endif
