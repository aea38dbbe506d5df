/* Networks whose activations are quantized at run time: int8 weights and integer products, but the range of each
 * layer's input is measured on the batch that is there, and what passes between the layers is fp32.
 *   dynamic     one asymmetric range a batch and layer (eq. 3), as PyTorch's dynamic quantization
 *   LLM.int8()  one symmetric scale for each image and layer (vector-wise), and the input columns whose size reached
 *               a threshold on the calibration images apart, in fp16 (Dettmers et al. 2022, section 3) */
#ifndef LOWBIT_DYNAMIC_H
#define LOWBIT_DYNAMIC_H

#include "nn/mlp.h"
#include "quant/affine.h"
#include "quant/qlinear.h"

struct dynamic_mlp_layer {
    int in, out, outliers;
    int8_t *weight;           /* [out][in] eq. 4 per row; outlier columns hold 0 */
    float *weight_scale;      /* [out] */
    float *bias;              /* [out] */
    int32_t *outlier_columns; /* [outliers] rising */
    uint16_t *outlier_weight; /* [out][outliers] fp16 */
    /* What dynamic_finish derives: weight packed for a kernel, sum_k w_q[k] [out], outlier_weight [outliers][out]. */
    struct qlinear products;
    int32_t *weight_sum;
    float *outlier_float;
};

struct dynamic_mlp {
    struct mlp_shape shape;
    bool vector_wise; /* LLM.int8() */
    struct dynamic_mlp_layer layer[MLP_MAX_LAYERS];
    const struct qkernel *kernel; /* of products; NULL: none that gives sums, so plain loops */
    struct block block, packed;
};

struct dynamic_mlp_workspace {
    int capacity;                          /* images of a batch */
    size_t stride;                         /* of a row of codes */
    float *activation[MLP_MAX_LAYERS + 1]; /* [capacity][widths[i]]: 0 the pixels, layers the logits */
    uint8_t *codes;                        /* [capacity][stride] */
    int32_t *acc;                          /* [capacity][widest] */
    float *scale;                          /* [capacity] of each image's codes */
    void *scratch;                         /* the kernel's */
    struct block block;
};

/* Memory, all zero; outliers [layers] columns each. */
bool dynamic_create(const struct mlp_shape *shape, bool vector_wise, const int *outliers, struct dynamic_mlp *out,
                    struct error *err);
void dynamic_free(struct dynamic_mlp *q);

/* Quantizes a trained network, and finishes. vector_wise: input columns in which any calibration image [count][inputs]
 * reaches threshold are outliers. Else images are not looked at. Error: out of memory, a weight that is not finite. */
bool dynamic_convert(const struct mlp *mlp, bool vector_wise, float threshold, const uint8_t *images, size_t count,
                     struct dynamic_mlp *out, struct error *err);

/* Derives what dynamic_forward runs on from what a model file holds. The sums are exact, with any kernel and without.
 * Error: out of memory. */
bool dynamic_finish(struct dynamic_mlp *q, struct error *err);

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
