/* NormalFloat 4 (Dettmers et al. 2023, QLoRA): 16 quantiles of a normal distribution.
 *
 *   nf4      | f32 absmax | 64 x 4 bit |
 *   nf4-dq   | f32 mean | f32 scale | 256 x u8 absmax | 256 x nf4 codes |     double quantization */
#ifndef LOWBIT_NF4_H
#define LOWBIT_NF4_H

#include "lowbit/formats.h"

enum { NF4_BLOCK = 64, NF4_SUPER = 256 };

BLOCK_FORMAT(nf4)
BLOCK_FORMAT(nf4_dq)

#endif
