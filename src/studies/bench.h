/* What bench and its scaling table share. */
#ifndef STUDIES_BENCH_H
#define STUDIES_BENCH_H

#include "base/stats.h"
#include "base/table.h"

enum { BENCH_ROUNDS = 7 }; /* turns that all cases take */

/* How speed grows: random networks of 64 to 4096 hidden neurons at batches of 1 to 10000, fp32 and int8, on one thread,
 * written to folder as scaling.{md,csv,svg}. */
bool bench_scaling(const char *folder, const struct provenance *p, struct error *err);

#endif
