/* ggml's block formats, in its own layouts bit for bit (ggml, ggml-common.h: block_q8_0, block_q4_K, ...), so that
 * ggml's dequantize functions read them. All little-endian; n is a multiple of the block. q8_0 and q4_0 are encoded as
 * ggml does; the others by a search of our own, which minimises the squared error weighted by the importance.
 *
 *   q8_0   32 weights   | f16 d | 32 x int8 |                                   w = d * q
 *   q4_0   32 weights   | f16 d | 16 bytes: low nibbles 0..15, high 16..31 |    w = d * (q - 8)
 *   iq4_nl 32 weights   | f16 d | 16 bytes as q4_0 |                            w = d * value[q], 16 values
 *   q2_K  256 weights   | 16 bytes: 4-bit scales and mins | 64 bytes of 2-bit codes | f16 d | f16 dmin |   as q4_K
 *   q3_K  256 weights   | 32 bytes: high bits | 64 bytes: low 2 bits | 12 bytes: 16 6-bit scales | f16 d |
 *                                                                    w = d * (scale - 32) * (q - 4)
 *   q4_K  256 weights   | f16 d | f16 dmin | 12 bytes: eight 6-bit scales and mins | 128 bytes of nibbles |
 *                                                                    w = d * scale * q - dmin * min
 *   q5_K  256 weights   as q4_K, with 32 bytes of fifth bits before the nibbles
 *   q6_K  256 weights   | 128 bytes: low 4 bits | 64 bytes: high 2 bits | 16 x int8 scale | f16 d |
 *                                                                    w = d * scale * (q - 32) */
#ifndef LOWBIT_GGML_H
#define LOWBIT_GGML_H

#include "lowbit/formats.h"

BLOCK_FORMAT(q8_0)
BLOCK_FORMAT(q4_0)
BLOCK_FORMAT(iq4_nl)
BLOCK_FORMAT(q2_K)
BLOCK_FORMAT(q3_K)
BLOCK_FORMAT(q4_K)
BLOCK_FORMAT(q5_K)
BLOCK_FORMAT(q6_K)

#endif
