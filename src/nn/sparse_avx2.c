/* The first layer in training on 256-bit registers: three rows of 32 outputs, twelve sums in sixteen registers. */
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx2,fma")))
enum { LANES = 8, TALL = 4 };
typedef __m256 vec;
#define load _mm256_loadu_ps
#define store _mm256_storeu_ps
#define broadcast _mm256_set1_ps
#define zero _mm256_setzero_ps
#define fma _mm256_fmadd_ps
#include "nn/sparse_tile.h"

static int supported(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

const struct sparse_kernel sparse_avx2 = {"avx2", supported, WIDE *LANES, forward, gradient};
#endif
