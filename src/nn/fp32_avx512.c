/* Eq. 9 with AVX-512: panels of 64 outputs. */
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#include "nn/fp32.h"

enum { LANES = 16, REGISTERS = 4, TOGETHER = 2 };

#define TARGET __attribute__((target("avx512f")))
typedef __m512 vec;

static int supported(void) { return __builtin_cpu_supports("avx512f"); }

TARGET static inline vec load(const float *from) { return _mm512_load_ps(from); }
TARGET static inline void store(float *to, vec v) { _mm512_store_ps(to, v); }
TARGET static inline vec broadcast(const float *x) { return _mm512_set1_ps(*x); }
TARGET static inline vec fused(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
TARGET static inline vec plus_zero(vec v) { return _mm512_add_ps(v, _mm512_setzero_ps()); }
TARGET static inline vec relu_of(vec v) { return _mm512_max_ps(_mm512_setzero_ps(), v); }

#include "nn/fp32_tiles.h"

const struct fp32_kernel fp32_kernel_avx512 = {"avx512",         "AVX-512 FMA", supported, 6,
                                               REGISTERS *LANES, LANES,         TOGETHER,  run};
#else
typedef int fp32_avx512_is_for_x86_64;
#endif
