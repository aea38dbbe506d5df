/* What kernels need for arrays of accumulators to live in registers. */
#ifndef BASE_UNROLL_H
#define BASE_UNROLL_H

#define INLINE static inline __attribute__((always_inline))

/* The loop that follows is unrolled whole: only then do arrays of accumulators live in registers. */
#ifdef __clang__
#define UNROLL /* it does so unasked, and later, too late, when asked */
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#endif
