/* The files of the ladder's rungs: weights in a format of lowbit/formats.h, and int8 models whose activations are
 * quantized at run time.
 *
 * Coded: fcN.weight in the format that the metadata fcN.format names ("q4_0", "int4/row", "int4/49", "f16"): F16,
 * BF16 or F32 [out][in] for those, else U8 [out][bytes of a row], or U8 [bytes] where blocks run through rows;
 * fcN.bias F32 [out]; fc1.input_divisor F16 [in] of AWQ.
 * Dynamic: fcN.weight I8 [out][in], fcN.weight_scale F32 [out], fcN.bias F32 [out]; of LLM.int8() also
 * fcN.outlier_columns I32 [n] and fcN.outlier_weight F16 [out][n] where n > 0. Metadata activations: "dynamic" or
 * "vector-wise".
 * Both take the shape from the metadata architecture. */
#ifndef MODEL_LADDER_FILE_H
#define MODEL_LADDER_FILE_H

#include "model/safetensors.h"
#include "lowbit/weight_only.h"
#include "lowbit/dynamic.h"

/* Add a model's tensors and metadata to a file to be written; what they point to must live until st_write. */
void st_add_coded(struct st_file *file, const struct weight_only *c);
void st_add_dynamic(struct st_file *file, const struct dynamic_mlp *q);

bool st_is_coded(const struct st_file *file);
bool st_is_dynamic(const struct st_file *file);

/* Errors: metadata or tensors missing, of another dtype or size than the format needs, too many; an unknown format;
 * values that are not finite; outlier columns out of order or range. Release with the models' own free. */
bool st_read_coded(const struct st_file *file, struct weight_only *out, struct error *err);
bool st_read_dynamic(const struct st_file *file, struct dynamic_mlp *out, struct error *err);

#endif
