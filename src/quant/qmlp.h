/* The quantized network: integer codes in, integer codes out, nothing but integers between. */
#ifndef QUANT_QMLP_H
#define QUANT_QMLP_H

#include "nn/mlp.h"
#include "quant/affine.h"
#include "quant/qlinear.h"

/* What a model file holds, plus what qmlp_finish derives from it. */
struct qmlp {
    struct mlp_shape shape;
    bool per_channel;                              /* one weight scale per output, else one per layer */
    bool symmetric_activations;                    /* zero point 128, codes 1 to 255 */
    struct qparams activation[MLP_MAX_LAYERS + 1]; /* 0: the pixels; i: the output of layer i */
    float *weight_scale[MLP_MAX_LAYERS];           /* [out], or [1] per tensor */
    struct qlinear layer[MLP_MAX_LAYERS];
    uint8_t pixel_code[256];      /* the code of each byte value: eq. 2 on byte / 255 */
    const struct qkernel *kernel; /* that the weights are packed for */
    struct block block, packed;
    bool pixels_are_codes; /* pixel_code is the identity, as it is for scale 1/255 and zero point 0 */
};

/* Scratch for qmlp_forward on several threads. */
struct qmlp_workspace {
    int threads;
    size_t stride; /* of a row: the widest layer, padded */
    uint8_t *rows; /* [threads][QMLP_ROWS][stride]: two sides of QMLP_MOST_ROWS rows, and the kernel's scratch */
    size_t
        *left_out; /* where qmlp_forward adds the products that the kernel left out, which takes time; NULL: nowhere */
};

/* Images that walk through all layers together, so that their activations stay in L1 and L2. A multiple of
 * the 12 rows of the widest tile, and of 6 and 4. A kernel may ask for more. */
enum { QMLP_BLOCK = 96, QMLP_MOST_ROWS = 384, QMLP_ROWS = 2 * QMLP_MOST_ROWS + QLINEAR_SCRATCH };

/* Memory for weights, scales and biases of a shape; all zero. Release with qmlp_free. */
bool qmlp_create(const struct mlp_shape *shape, bool per_channel, bool symmetric_activations, struct qmlp *out,
                 struct error *err);
void qmlp_free(struct qmlp *q);

/* Derives what the integer engine runs on (folded biases, multipliers, pixel codes, packed weights) from what a
 * model file holds: shape, weight codes and scales, biases, activation scales and zero points. Errors: a scale
 * that is not finite and > 0, a bias beyond QLINEAR_MAX_BIAS, a multiplier of 2^30 or more. */
bool qmlp_finish(struct qmlp *q, struct error *err);

/* The scale of output c of a layer. */
static inline float qmlp_weight_scale(const struct qmlp *q, int layer, int c) {
    return q->weight_scale[layer][q->per_channel ? c : 0];
}

/* The weights of a layer read back from their codes, [out][in]: s_w w_q (eq. 1). */
void qmlp_read_weights(const struct qmlp *q, int layer, float *weights);

/* Packs the weights for a kernel that this CPU supports, in place of what was packed before. */
bool qmlp_use_kernel(struct qmlp *q, const struct qkernel *kernel, struct error *err);

bool qmlp_workspace_create(const struct mlp_shape *shape, int threads, struct qmlp_workspace *out, struct error *err);
void qmlp_workspace_free(struct qmlp_workspace *ws);

/* The specification: pixels [count][inputs] -> logit codes [count][classes], layer by layer with qlinear_ref. Takes two
 * rows of the widest layer from the stack: not for small ones. */
void qmlp_forward_ref(const struct qmlp *q, const uint8_t *images, size_t count, uint8_t *codes);

/* The same codes from the kernel, on ws->threads threads. */
void qmlp_forward(const struct qmlp *q, const uint8_t *images, size_t count, struct qmlp_workspace *ws, uint8_t *codes);

/* eq. 7: the highest code of each row [count][classes], the lowest class on a tie; returns the number of rows
 * with such a tie. */
size_t qmlp_classify(const uint8_t *codes, size_t count, int classes, uint8_t *predicted);

#endif
