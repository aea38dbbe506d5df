/* The tables that the audit itself writes, for claims that no other study has numbers for. */
#ifndef STUDIES_AUDIT_H
#define STUDIES_AUDIT_H

#include "base/table.h"
#include "data/dataset.h"

/* Adds the next row: a name and a number; rows of one name are a list. */
static inline void add_number(struct table *t, const char *name, double value) {
    table_row(t, "%s | %.9g", name, value);
}

/* Worked examples, number formats and the network of the PyTorch listing: the same for every data set. folder: for the
 * model files that are measured; data: not looked at. Errors: a file that cannot be written, out of memory. */
bool audit_arithmetic(struct table *t, const char *folder, const struct dataset *data, struct error *err);

/* What no study's table has of the networks that the exercise left in folder, on the test images. Errors: a model that
 * cannot be read or does not fit the data, out of memory. */
bool audit_networks(struct table *t, const char *folder, const struct dataset *data, struct error *err);

#endif
