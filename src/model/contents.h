/* The tensors of a model as its file holds them (model_file.h says which): ONE list for each kind, which reading and
 * writing walk through. */
#ifndef MODEL_CONTENTS_H
#define MODEL_CONTENTS_H

#include "lowbit/dynamic.h"
#include "lowbit/weight_only.h"
#include "model/safetensors.h"
#include "quant/qmlp.h"

/* A model of one kind, the others NULL; before memory is taken for it only its shape (and formats) are there. */
struct contents {
    const struct mlp_shape *shape;
    const struct mlp *mlp;
    const struct qmlp *q;
    const struct weight_only *coded;
    const struct dynamic_mlp *dynamic;

    /* What q holds in another form than the file */
    int bits;                        /* of its codes */
    uint8_t *packed[MLP_MAX_LAYERS]; /* [out][bytes of a row] codes of fewer than 8 bits */
    uint8_t zero_point[MLP_MAX_LAYERS + 1];
    struct block block;
};

/* Adds the tensors to a file to be written, and the metadata fcN.format of coded ones, activations of dynamic ones. */
void contents_add(const struct contents *c, struct st_file *file);

/* Weights must be there, of the size that shape and format ask for, before memory is taken for them. */
bool contents_check_weights(const struct contents *c, const struct st_file *file, struct error *err);

/* Reads every tensor into its place. Errors: one is missing, or of another dtype or shape; a number that is not finite,
 * or not > 0 where it has to be; more tensors than that. */
bool contents_read(const struct contents *c, const struct st_file *file, struct error *err);

/* Bits that a weight takes with its scales, zero points, padding, divisors and outliers; biases, the activations'
 * scales and the file's header aside. */
double contents_bits_per_weight(const struct contents *c);

/* Memory for the packed codes of an integer model of fewer than 8 bits, and for one row of them unpacked, which is
 * returned; NULL when there is none. Release c->block with block_free. */
uint8_t *contents_reserve_packed(struct contents *c, struct error *err);

/* Between q's signed codes and the packed ones, code + 2^(bits-1), through that row. */
void contents_pack(const struct contents *c, uint8_t *row);
void contents_unpack(const struct contents *c, struct qmlp *q, uint8_t *row);

/* "fcN.part" for layer N - 1, and part itself for a negative one; returns name. */
const char *layer_tensor(char name[ST_NAME], int layer, const char *part);

/* The shape in the metadata "architecture": "mlp 784-256-256-10". Errors: missing, not of that form, a width out
 * of range. */
bool st_architecture(const struct st_file *file, struct mlp_shape *shape, struct error *err);

#endif
