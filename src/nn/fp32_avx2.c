/* Eq. 9 with AVX2 and FMA: panels of 16 outputs. */
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#include "nn/fp32.h"

enum { LANES = 8, REGISTERS = 2, TOGETHER = 4 };

#define TARGET __attribute__((target("avx2,fma")))
typedef __m256 vec;

static int supported(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

TARGET static inline vec load(const float *from) { return _mm256_load_ps(from); }
TARGET static inline void store(float *to, vec v) { _mm256_store_ps(to, v); }
TARGET static inline vec broadcast(const float *x) { return _mm256_broadcast_ss(x); }
TARGET static inline vec fused(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
TARGET static inline vec plus_zero(vec v) { return _mm256_add_ps(v, _mm256_setzero_ps()); }
TARGET static inline vec relu_of(vec v) { return _mm256_max_ps(_mm256_setzero_ps(), v); }

#include "nn/fp32_tiles.h"

const struct fp32_kernel fp32_kernel_avx2 = {"avx2", "AVX2 FMA", supported, 6, REGISTERS *LANES, LANES, TOGETHER, run};
#else
typedef int fp32_avx2_is_for_x86_64;
#endif
