/* What the tables are made of: evaluation of a model, paired comparison, provenance. */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include "base/table.h"
#include "data/dataset.h"
#include "model/model_file.h"

/* A model's answers on a split. */
struct evaluation {
    size_t count, correct, ties; /* ties: images whose highest logit two classes share */
    uint8_t *predicted;          /* [count] */
};

/* Two models on the same images: b's answers against a's. */
struct paired {
    size_t changed; /* other answers, right or wrong */
    size_t fixed;   /* a wrong, b right */
    size_t broken;  /* a right, b wrong */
};

/* Runs a model over a split: fp32 and decoded weights through BLAS, int8 and bf16 through their kernels on all threads,
 * or, with reference, through qmlp_forward_ref and bf16_mlp_forward_ref; ranges taken at run time are those of 64
 * images. Release with evaluation_free. Error: out of memory. */
bool evaluate(const struct model *model, const struct split *split, bool reference, struct evaluation *out,
              struct error *err);
void evaluation_free(struct evaluation *e);

double accuracy_percent(const struct evaluation *e);
double standard_error_percent(const struct evaluation *e); /* sqrt(p (1 - p) / n) */
struct paired compare(const struct evaluation *a, const struct evaluation *b, const uint8_t *labels);

/* Images a second of each model on batches of 1000 of the split, on one thread: the median over repeated runs
 * that take turns, so that a busy machine slows all alike. speeds [count]. */
bool measure_speeds(const struct model *const *models, int count, const struct split *split, double *speeds,
                    struct error *err);

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
