/* The fp32 network that a model was made from, where a command is given both files. */
#ifndef CLI_ORIGIN_H
#define CLI_ORIGIN_H

#include "model/model_file.h"

/* Whether two files tell the same training and seed: both networks then began with the same weights. */
bool same_training(const struct model_notes *a, const struct model_notes *b);

/* Reads the network at path, the value of --fp32, for a model with these notes. Errors: what model_read refuses;
 * arithmetic that is not fp32; another shape; another training or seed than the model's file tells. Release with
 * model_free, also after an error. */
bool origin_read(const char *path, const struct model *model, const struct model_notes *notes, struct model *out,
                 struct error *err);

#endif
