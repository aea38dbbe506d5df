/* Tensors named after layers, "fcN.part", found and checked: what every kind of model file shares. */
#ifndef MODEL_LAYER_TENSORS_H
#define MODEL_LAYER_TENSORS_H

#include "model/safetensors.h"
#include "nn/mlp.h"

/* "fcN.part" for layer N - 1; returns name. */
const char *layer_tensor(char name[ST_NAME], int layer, const char *part);

/* The tensor fcN.part, or part itself when layer is negative, of the given dtype and shape [rows][cols] (cols 0:
 * one dimension). NULL and an error when it is missing or another. */
const struct st_tensor *st_expect(const struct st_file *file, int layer, const char *part, enum st_dtype dtype,
                                  size_t rows, size_t cols, struct error *err);

/* The elements of an F32 tensor, which must be finite numbers. */
bool st_copy_floats(float *to, const struct st_tensor *t, struct error *err);

/* The shape in the metadata "architecture": "mlp 784-256-256-10". Errors: missing, not of that form, a width out
 * of range. */
bool st_architecture(const struct st_file *file, struct mlp_shape *shape, struct error *err);

#endif
