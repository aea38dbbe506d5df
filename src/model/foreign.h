/* Networks that other programs saved: fp32 layers under names of PyTorch's kind, taken as if they were ours.
 *
 * Each name is one pattern of the file with a number in it, and ".weight" or ".bias": "fc1.weight", "0.weight",
 * "net.2.weight", "module.layers.0.weight", "linear3.weight". The numbers give the order: steps of 1 where they end a
 * word ("fc1"), else equal steps of 1 to 3, as nn.Sequential counts what stands between (net.0, net.2, net.4). Weights
 * are [out][in], as nn.Linear has them; a bias that is missing is zero; F32, F16, BF16 and F64 become fp32. */
#ifndef MODEL_FOREIGN_H
#define MODEL_FOREIGN_H

#include "model/safetensors.h"
#include "nn/mlp.h"

/* Whether nothing in the container says that this program wrote it. */
bool foreign_is(const struct st_file *file);

/* The shape of a foreign network, by names and shapes alone. Errors: names that do not tell the order of layers, or
 * that a layer is missing (with the list of what was found); a dtype that is no float; shapes that do not fit. */
bool foreign_shape(const struct st_file *file, struct mlp_shape *shape, struct error *err);

/* Turns a foreign network into the file that model_write_mlp would have written: fcN.weight, fcN.bias in F32, and the
 * metadata architecture. Its memory is the file's; st_free releases it. file_bytes stay. Errors: the same; a number
 * that is not finite, or not in fp32. On an error the file is as it was. */
bool foreign_convert(struct st_file *file, struct error *err);

#endif
