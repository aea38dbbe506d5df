/* What costs what between the two models of a pair, as tables. */
#ifndef STUDIES_COSTS_H
#define STUDIES_COSTS_H

#include "base/table.h"
#include "studies/pair.h"

/* The steps from fp32 a to integer b. Error: out of memory; the last step is not the integer engine bit for bit. */
bool fill_waterfall(struct table *t, const struct pair *p, struct error *err);

/* fp32 a with one layer at a time, then all, in int8, int4 and int2. Error: out of memory. */
bool fill_sensitivity(struct table *t, const struct pair *p, struct error *err);

#endif
