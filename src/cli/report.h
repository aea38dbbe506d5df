/* What the commands share of their tables: names, provenance, the end. */
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

#endif
