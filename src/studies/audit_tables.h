/* The tables that the audit itself writes, "name value", for claims that no study has numbers for. */
#ifndef STUDIES_AUDIT_TABLES_H
#define STUDIES_AUDIT_TABLES_H

#include "base/table.h"
#include "data/dataset.h"

/* Worked examples, number formats and the network of the PyTorch listing, through this program's own functions. folder:
 * for the model files that are measured; data: not looked at. Errors: a file that cannot be written, out of memory. */
bool audit_arithmetic(struct table *t, const char *folder, const struct dataset *data, struct error *err);

/* Weights and logits of the networks that the exercise left in folder, on the test images. Errors: a model that cannot
 * be read or does not fit the data, out of memory. */
bool audit_networks(struct table *t, const char *folder, const struct dataset *data, struct error *err);

#endif
