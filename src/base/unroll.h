/* What vector kernels need for arrays of accumulators to live in registers. */
#ifndef BASE_UNROLL_H
#define BASE_UNROLL_H

#define INLINE static inline __attribute__((always_inline))

/* The loop that follows is unrolled whole: only then do arrays of accumulators live in registers. */
#ifdef __clang__
#define UNROLL /* it does so unasked, and later, too late, when asked */
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* ROW(0) to ROW(11), written out: clang 14 does not unroll a loop over 12 rows in time to keep accumulators in
 * registers. */
#define EACH_OF_12(ROW)                                                                                                \
    ROW(0);                                                                                                            \
    ROW(1);                                                                                                            \
    ROW(2);                                                                                                            \
    ROW(3);                                                                                                            \
    ROW(4);                                                                                                            \
    ROW(5);                                                                                                            \
    ROW(6);                                                                                                            \
    ROW(7);                                                                                                            \
    ROW(8);                                                                                                            \
    ROW(9);                                                                                                            \
    ROW(10);                                                                                                           \
    ROW(11)

#endif
