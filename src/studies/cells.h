/* Cells that the tables of several commands share, under one name each. */
#ifndef STUDIES_CELLS_H
#define STUDIES_CELLS_H

#include "cli/report.h"

/* correct, accuracy_percent */
#define ACCURACY_COLUMNS "correct accuracy_percent"
void add_accuracy(struct table *t, const struct evaluation *e);

/* ours against base on the same images: change in points, changed, fixed, broken, McNemar's p. ours == base: no p. */
#define PAIRED_COLUMNS "change changed fixed broken p"
enum { PAIRED_COLUMN_COUNT = 5 };
void add_paired(struct table *t, const struct evaluation *base, const struct evaluation *ours, const uint8_t *labels);

/* What the last columns mean: base is "fp32", "a", ... */
void note_paired(struct table *t, const char *base);

#endif
