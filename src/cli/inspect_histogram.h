/* How a model's tensors use their codes: `mnistq inspect --histogram`. */
#ifndef CLI_INSPECT_HISTOGRAM_H
#define CLI_INSPECT_HISTOGRAM_H

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

#endif
