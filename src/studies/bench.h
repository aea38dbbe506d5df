/* What bench and its scaling table share. */
#ifndef STUDIES_BENCH_H
#define STUDIES_BENCH_H

#include "cli/study.h"

/* How speed grows: random 784-H-H-10 networks at batches of 1 to 10000, fp32, bf16, int4 and int8, on one thread. Fills
 * the table scaling and writes scaling.svg. */
bool bench_scaling(struct study *s, const struct int_list *widths);

#endif
