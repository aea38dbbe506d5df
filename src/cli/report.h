/* What the tables are made of: names, provenance. */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include "base/table.h"
#include "model/evaluation.h"

/* "fp32", "integer", "fp32 after decode", "bf16 products, fp32 sums", ...: never mix these in a table without saying so
 */
const char *arithmetic_name(const struct model *model);
const char *granularity_name(const struct model *model);

/* main says what was typed, before getopt sorts it; provenance_command adds it as a line for a shell. */
void provenance_typed(int argc, char **argv);
void provenance_command(struct provenance *p);
void provenance_dataset(struct provenance *p, const struct dataset *data);
void provenance_machine(struct provenance *p); /* CPU, integer kernel, BLAS, threads */

/* "mnistq: TEXT" on standard error; returns EXIT_FAILED. */
int report_error(const struct error *err);

/* The end of a command: prints the table, as JSON where asked, and frees it; or reports the error when ok is
 * false. Returns the exit status. */
int report_table(struct table *t, const struct provenance *p, bool json, bool ok, struct error *err);

#endif
