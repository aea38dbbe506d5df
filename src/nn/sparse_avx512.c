/* The first layer in training on 512-bit registers: three rows of 128 outputs. */
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f")))
enum { LANES = 16, TALL = 8 };
typedef __m512 vec;
#define load _mm512_loadu_ps
#define store _mm512_storeu_ps
#define broadcast _mm512_set1_ps
#define zero _mm512_setzero_ps
#define fma _mm512_fmadd_ps
#include "nn/sparse_tile.h"

static int supported(void) { return __builtin_cpu_supports("avx512f"); }

const struct sparse_kernel sparse_avx512 = {"avx512", supported, WIDE *LANES, forward, gradient};
#endif
