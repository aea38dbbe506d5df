/* Where a table comes from: the program and its version, the command as it was typed, data, machine. */
#ifndef CLI_PROVENANCE_H
#define CLI_PROVENANCE_H

#include "base/table.h"
#include "data/dataset.h"

/* main says what was typed, before getopt sorts it; provenance_command adds it as a line for a shell, the first fact of
 * every table, and the program's version behind it. */
void provenance_typed(int argc, char **argv);
void provenance_command(struct provenance *p);
void provenance_dataset(struct provenance *p, const struct dataset *data);
void provenance_machine(struct provenance *p); /* CPU, integer kernel, BLAS, threads */

#endif
