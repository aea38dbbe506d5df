/* Networks whose activations are quantized at run time: int8 weights and integer products, but the range of each
 * layer's input is measured on the batch that is there, and what passes between the layers is fp32.
 *   dynamic     one asymmetric range a batch and layer (eq. 3), as PyTorch's dynamic quantization
 *   LLM.int8()  one symmetric scale for each image and layer (vector-wise), and the input columns whose size reached
 *               a threshold on the calibration images apart, in fp16 (Dettmers et al. 2022, section 3) */
#ifndef LOWBIT_DYNAMIC_H
#define LOWBIT_DYNAMIC_H

#include "nn/mlp.h"
#include "quant/affine.h"

struct dynamic_mlp_layer {
    int in, out, outliers;
    int8_t *weight;           /* [out][in] eq. 4 per row; outlier columns hold 0 */
    float *weight_scale;      /* [out] */
    float *bias;              /* [out] */
    int32_t *outlier_columns; /* [outliers] rising */
    uint16_t *outlier_weight; /* [out][outliers] fp16 */
};

struct dynamic_mlp {
    struct mlp_shape shape;
    bool vector_wise; /* LLM.int8() */
    struct dynamic_mlp_layer layer[MLP_MAX_LAYERS];
    struct block block;
};

struct dynamic_mlp_workspace {
    int capacity;                          /* images of a batch */
    float *activation[MLP_MAX_LAYERS + 1]; /* [capacity][widths[i]]: 0 the pixels, layers the logits */
    int16_t *codes;                        /* [capacity][widest] q - zero_point */
    float *scale;                          /* [capacity] of each image's codes */
    struct block block;
};

/* Memory, all zero; outliers [layers] columns each. */
bool dynamic_create(const struct mlp_shape *shape, bool vector_wise, const int *outliers, struct dynamic_mlp *out,
                    struct error *err);
void dynamic_free(struct dynamic_mlp *q);

/* Quantizes a trained network. vector_wise: input columns in which any calibration image [count][inputs] reaches
 * threshold are outliers. Else images are not looked at. Error: out of memory, a weight that is not finite. */
bool dynamic_convert(const struct mlp *mlp, bool vector_wise, float threshold, const uint8_t *images, size_t count,
                     struct dynamic_mlp *out, struct error *err);

/* As mlp_is_bounded, of the sums and of the products of scales that they are multiplied by. */
bool dynamic_is_bounded(const struct dynamic_mlp *q);

bool dynamic_workspace_create(const struct mlp_shape *shape, int capacity, struct dynamic_mlp_workspace *ws,
                              struct error *err);
void dynamic_workspace_free(struct dynamic_mlp_workspace *ws);

/* One batch, count <= ws->capacity, whose size matters: ranges are those of a batch. Images [count][inputs] as bytes ->
 * every layer's output in ws->activation. Returns the logits [count][classes]. */
const float *dynamic_forward(const struct dynamic_mlp *q, const uint8_t *images, int count,
                             struct dynamic_mlp_workspace *ws);

#endif
