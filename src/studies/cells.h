/* Cells that the tables of several studies share. */
#ifndef STUDIES_CELLS_H
#define STUDIES_CELLS_H

#include "base/table.h"
#include "model/model_run.h"

/* ours against base on the same images: change (in points) changed fixed broken p (McNemar's, empty where base is
 * ours).
 */
void add_paired(struct table *t, const struct evaluation *base, const struct evaluation *ours, const uint8_t *labels);

#endif
