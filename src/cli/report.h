/* What tables that compare two models share: their cells, and the fp32 network that a model was made from, where a
 * command is given both files. */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include "cli/study.h"

/* Cells of ours against base on the same images: change (in points) changed fixed broken; add_paired adds p (McNemar's,
 * empty where base is ours). */
void add_changes(struct table *t, const struct evaluation *base, const struct evaluation *ours, const uint8_t *labels);
void add_paired(struct table *t, const struct evaluation *base, const struct evaluation *ours, const uint8_t *labels);

/* The note on a model's ties, with its name in front unless that is NULL. */
void note_ties(struct table *t, const char *name, const struct model *model, size_t ties);

/* Whether two files tell the same training and seed: both networks then began with the same weights. */
bool same_training(const struct model_notes *a, const struct model_notes *b);

/* Reads the network at path, the value of --fp32, for a model with these notes. Errors: what model_read refuses;
 * arithmetic that is not fp32; another shape; another training or seed than the model's file tells. Release with
 * model_free, also after an error. */
bool origin_read(const char *path, const struct model *model, const struct model_notes *notes, struct model *out,
                 struct error *err);

#endif
