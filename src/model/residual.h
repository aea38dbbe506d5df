/* An int8 model file without what is known from the fp32 network that it was made from: where round to nearest chose
 * the codes, nothing is left of its weights. So the page carries both for the size of one. */
#ifndef MODEL_RESIDUAL_H
#define MODEL_RESIDUAL_H

#include "nn/mlp.h"

/* Adds (sign 1) to each I8 weight of the file in bytes [size], or takes from it (-1), the code that eq. 2 gives mlp's
 * weight with the file's own fcN.weight_scale, modulo 256. Errors: what st_parse refuses; out of memory. Weights of
 * another form or shape stay. */
bool residual_add(const struct mlp *mlp, unsigned char *bytes, size_t size, int sign, struct error *err);

#endif
