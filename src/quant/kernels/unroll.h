/* base/unroll.h, and loops written out. */
#ifndef QUANT_KERNELS_UNROLL_H
#define QUANT_KERNELS_UNROLL_H

#include "base/unroll.h"

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
