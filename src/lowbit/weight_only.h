/* Weight-only quantization: weights stored in a format of the ladder, decoded to fp32 when the network is loaded,
 * run in fp32 arithmetic. Biases stay fp32. */
#ifndef LOWBIT_WEIGHT_ONLY_H
#define LOWBIT_WEIGHT_ONLY_H

#include "nn/mlp.h"
#include "lowbit/formats.h"
#include "lowbit/gptq.h"

/* How codes are chosen. The integer formats know more than round to nearest; those that search for their scales
 * (ggml's) may weigh errors by an importance matrix. */
enum method {
    METHOD_RTN,
    METHOD_IMATRIX,
    METHOD_RTN_MSE,
    METHOD_GPTQ,
    METHOD_GPTQ_ACT_ORDER,
    METHOD_AWQ,
    METHOD_ADAROUND,
    METHODS
};
extern const char *const method_names[METHODS]; /* "rtn", "imatrix", "rtn-mse", "gptq", "gptq-act-order", ... */

struct coded_layer {
    struct codec codec;
    size_t size;
    uint8_t *bytes;    /* [size] = codec_bytes(codec, out, in) */
    float *bias;       /* [out] */
    uint16_t *divisor; /* [in] fp16: the decoded column k is divided by it (AWQ's first layer); NULL: none */
};

struct weight_only {
    struct mlp_shape shape;
    struct coded_layer layer[MLP_MAX_LAYERS];
    struct block block;
};

/* What the encoder knows beside the weights. */
struct coding_config {
    const struct format *format;      /* of every layer, unless mixed */
    const struct format *more_format; /* of the layers to which llama.cpp's Q4_K_M gives more bits; NULL: of none */
    int block;                        /* of formats that leave it open: CODEC_TENSOR, CODEC_ROW or a group */
    enum method method;
    enum grid_rule rule;               /* of GPTQ's grids and of rtn-mse's, where it is not GRID_MINMAX */
    double damping;                    /* GPTQ */
    bool correct_bias;                 /* lowbit/bias_correction.h, with any method but AWQ */
    const struct format *const *mixed; /* [layers] a format for each layer (lowbit/mixed.h), rule then only for those of
                                          2 bits; NULL: those above */
};

/* Memory for the layers' bytes; all zero. codecs [layers]; with_divisor adds one to the first layer. */
bool weight_only_create(const struct mlp_shape *shape, const struct codec *codecs, bool with_divisor,
                        struct weight_only *out, struct error *err);
void weight_only_free(struct weight_only *c);

/* Encodes a trained network. images [count][inputs] are looked at by GPTQ, AWQ and the importance matrix only: GPTQ
 * takes each layer's inputs from the layers before as already quantized, AWQ from the fp32 network; its scales are
 * folded through ReLU into the layer before, and the first layer keeps a divisor. Errors: a group that divides no
 * layer's inputs; a method that the format does not know; a weight that is not finite; out of memory. effective, unless
 * NULL, is a network of the same shape: its weights become the decoded ones with AWQ's folding undone, to be compared
 * with those of mlp one by one. */
bool weight_only_encode(const struct mlp *mlp, const uint8_t *images, size_t count, const struct coding_config *config,
                        struct weight_only *out, struct mlp *effective, struct error *err);

/* Only the codes of an integer format, codes [layers] (zeroed by the caller; release each with coded_matrix_free, also
 * after an error), for the integer engine: any method but AWQ, whose scales are no codes. Errors as above. */
bool weight_only_codes(const struct mlp *mlp, const uint8_t *images, size_t count, const struct coding_config *config,
                       struct coded_matrix *codes, struct error *err);

/* The network as it will run: weights decoded. Error: out of memory; a weight that is not finite. */
bool weight_only_decode(const struct weight_only *c, struct mlp *out, struct error *err);

/* X^T X [in][in] of x [count][in], in double from fp32 products. Error: out of memory. */
bool gram_matrix(const float *x, size_t count, int in, double *gram, struct error *err);

#endif
