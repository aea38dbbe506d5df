/* Models as safetensors files that one line of Python reads. N counts layers from 1.
 *
 * fp32      fcN.weight F32 [out][in], fcN.bias F32 [out]: what nn.Linear of a PyTorch module of those names loads.
 *           A file without metadata may have other names and floats: model/foreign.h.
 * int8      fcN.weight I8 [out][in], fcN.weight_scale F32 [out] or [1], fcN.bias I32 [out] (eq. 5, before the zero
 *           point is folded in), fcN.input_scale F32 [1], fcN.input_zero_point U8 [1]; output_scale F32 [1] and
 *           output_zero_point U8 [1] of the last layer.
 * int4 ...  the same, but fcN.weight U8 [out][bytes of a row], codes packed as lowbit/formats.h says, and metadata
 *           weight_bits "4", "3", "2", "1.6" or "1".
 * coded     fcN.weight in the format that metadata fcN.format names ("q4_0", "int4/row", "int4/49", "f16"): F16, BF16
 *           or F32 [out][in] for those, else U8 [out][bytes of a row], or U8 [bytes] where blocks run through rows;
 *           fcN.bias F32 [out]; fc1.input_divisor F16 [in] of AWQ.
 * dynamic   fcN.weight I8 [out][in], fcN.weight_scale F32 [out], fcN.bias F32 [out]; of LLM.int8() also
 *           fcN.outlier_columns I32 [n] and fcN.outlier_weight F16 [out][n] where n > 0. Metadata activations:
 *           "dynamic" or "vector-wise".
 * Metadata says how a file was made; architecture ("mlp 784-256-256-10") gives the shape of all but the first two. */
#ifndef MODEL_MODEL_FILE_H
#define MODEL_MODEL_FILE_H

#include "lowbit/bf16.h"
#include "lowbit/dynamic.h"
#include "lowbit/weight_only.h"
#include "model/safetensors.h"
#include "quant/qmlp.h"

enum model_kind {
    MODEL_FP32,
    MODEL_INT8,        /* integer arithmetic from pixels to logits */
    MODEL_WEIGHT_ONLY, /* weights in a format of the ladder, decoded; fp32 arithmetic, or bf16's own (runs_bf16) */
    MODEL_DYNAMIC      /* int8 products, activations quantized at run time */
};

struct model {
    enum model_kind kind;
    struct mlp_shape shape;
    struct mlp mlp;             /* MODEL_FP32, MODEL_WEIGHT_ONLY */
    struct bf16_mlp bf16;       /* MODEL_WEIGHT_ONLY whose layers are all bf16, where bf16_kernel_best gave a kernel */
    struct qmlp qmlp;           /* MODEL_INT8 */
    struct dynamic_mlp dynamic; /* MODEL_DYNAMIC */
    size_t file_bytes;          /* of the file that it was read from */
    double bits_per_weight;     /* scales, zero points and padding counted in; biases and header not */
};

/* Whether a model computes with products of bf16, and not in fp32 after decoding. */
static inline bool runs_bf16(const struct model *model) { return model->bf16.kernel != NULL; }

/* What the writer knows and the file should tell; seed, training: how the weights came to be. */
struct model_notes {
    char seed[32], training[ST_TEXT], observer[32], calibration[32], method[64];
    char images[48]; /* what images it takes, as data/picture.h prints a form; empty: as MNIST's */
    int weight_bits; /* of an integer model's codes: 8, 4, 3, 2, 1 or TRITS; 0 means 8 */
};

bool model_write_mlp(const char *path, const struct mlp *mlp, const struct model_notes *notes, struct error *err);
bool model_write_qmlp(const char *path, const struct qmlp *q, const struct model_notes *notes, struct error *err);
bool model_write_coded(const char *path, const struct weight_only *c, const struct model_notes *notes,
                       struct error *err);
bool model_write_dynamic(const char *path, const struct dynamic_mlp *q, const struct model_notes *notes,
                         struct error *err);

/* Reads any kind and makes it ready to run. Errors: what st_read refuses; tensors missing, too many, of the
 * wrong dtype or shape; layers that do not fit together; values that are not finite; what qmlp_finish refuses.
 * notes may be NULL. Release with model_free. */
bool model_read(const char *path, struct model *out, struct model_notes *notes, struct error *err);

/* Whether a container may be a network's, by its header: a st_check for st_read_checked, before the rest is read. */
bool model_needs_its_bytes(const struct st_file *file, struct error *err);

/* The same from a container that is in memory; it may go afterwards. */
int model_weight_bits(const struct st_file *file); /* as in the notes, 8 without; 0: not of this program */
bool model_parse(const struct st_file *file, struct model *out, struct model_notes *notes, struct error *err);
void model_free(struct model *model);

#endif
