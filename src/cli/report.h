/* What the commands share of their tables: names, cells, provenance, the end; and the fp32 network that a model was
 * made from, where a command is given both files. */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include "cli/provenance.h"
#include "model/evaluation.h"

/* "fp32", "integer", "fp32 after decode", "bf16 products, fp32 sums", ...: never mix these in a table without saying so
 */
const char *arithmetic_name(const struct model *model);
const char *granularity_name(const struct model *model);

/* "mnistq: TEXT" on standard error; returns EXIT_FAILED. */
int report_error(const struct error *err);

/* The end of a command: prints the table, as JSON where asked, and frees it; or reports the error when ok is
 * false. p may be NULL: the command alone. Returns the exit status. */
int report_table(struct table *t, const struct provenance *p, bool json, bool ok, struct error *err);

/* Cells of ours against base on the same images: change (in points) changed fixed broken; add_paired adds p (McNemar's,
 * empty where base is ours). */
void add_changes(struct table *t, const struct evaluation *base, const struct evaluation *ours, const uint8_t *labels);
void add_paired(struct table *t, const struct evaluation *base, const struct evaluation *ours, const uint8_t *labels);

/* Whether two files tell the same training and seed: both networks then began with the same weights. */
bool same_training(const struct model_notes *a, const struct model_notes *b);

/* Reads the network at path, the value of --fp32, for a model with these notes. Errors: what model_read refuses;
 * arithmetic that is not fp32; another shape; another training or seed than the model's file tells. Release with
 * model_free, also after an error. */
bool origin_read(const char *path, const struct model *model, const struct model_notes *notes, struct model *out,
                 struct error *err);

#endif
