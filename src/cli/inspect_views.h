/* What `mnistq inspect` shows of a model file beside the list of its tensors. */
#ifndef CLI_INSPECT_VIEWS_H
#define CLI_INSPECT_VIEWS_H

#include "base/table.h"
#include "data/dataset.h"
#include "model/model_run.h"

/* Element i of a tensor as a number. */
double tensor_element(const struct st_tensor *t, size_t i);

extern const char histogram_columns[];

/* A row for each tensor of two elements and more: codes where the tensor holds codes of a layer's weights, else values
 * in 256 equal steps. model: the file as a model; fp32: the network that it was made from, or NULL. Error: out of
 * memory. */
bool fill_histogram(struct table *table, const struct st_file *file, const struct model *model,
                    const struct model *fp32, struct error *err);

/* The same for the activations of an integer model on a split. Error: out of memory. */
bool fill_activation_histogram(struct table *table, const struct model *model, const struct split *split,
                               struct error *err);

/* Layer 1's rows as pictures [rows][cols]: fp32's, the model's and its residual, int4's and int2's (round to nearest,
 * one scale a row) and theirs. An fp32 model, whose own residual would be 0, is shown in int8. Errors: out of memory, a
 * file that cannot be written. */
bool write_weights_picture(const struct model *fp32, const struct model *model, int rows, int cols, const char *path,
                           struct error *err);

#endif
