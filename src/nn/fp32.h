/* fp32 networks as they are run: weights packed once, and sums whose bits are the same on every CPU.
 *   eq. 9   s[0] = b[c]     s[k + 1] = fma(x[k], w[c][k], s[k])     y[c] = s[in] + 0, after ReLU max(y[c], 0)
 * fma rounds once. The order is part of the equation: each output is one chain through its inputs, and what a vector
 * holds are outputs side by side, so that one instruction set gives the bits of any other and of fp32_layer_ref. Since
 * weights are finite, an input of 0 adds a product of 0, which changes nothing but the sign of a sum that is 0 itself;
 * "+ 0" makes that 0 positive. So products of zeros may be left out, and kernels do: half of MNIST's pixels are 0 in
 * six images at once.
 * Training sums as BLAS does (nn/gemm.h), in another order: the last bits of a logit differ. */
#ifndef NN_FP32_H
#define NN_FP32_H

#include "nn/mlp.h"

/* One layer; the arrays are those of the network that it was made from. */
struct fp32_layer {
    int in, out;
    bool relu;           /* of all layers but the last */
    const float *weight; /* [out][in], finite */
    const float *bias;   /* [out] */
    float *packed;       /* | bias [out] | panel 0 [in][panel] | panel 1 | ..., zeros behind the last output */
};

/* Rows that are multiplied together, and what of them is not 0. */
struct fp32_inputs {
    const float *x; /* [rows], stride floats apart */
    size_t stride;
    int rows;
    const uint16_t *nonzero; /* [count] ascending: the k at which a row has another number than 0 */
    int count;
};

/* A fast path equal to fp32_layer_ref bit for bit. */
struct fp32_kernel {
    const char *name, *what;
    int (*supported)(void); /* by this CPU */
    int rows;               /* of inputs, at most */
    int panel, lanes;       /* outputs of a panel, and of a vector: the last panel has as many vectors as it needs */
    int together;           /* panels that it is best given at once */
    /* Panels first to end - 1 of y [rows], y_stride floats apart, of which every vector is written whole. */
    void (*run)(const struct fp32_layer *layer, const struct fp32_inputs *x, int first, int end, float *y,
                size_t y_stride);
};

/* All that were compiled in, the fastest first; ends with NULL. The last runs everywhere. */
extern const struct fp32_kernel *const fp32_kernels[];

/* The fastest that this CPU runs, or the one that was forced; fp32_kernel_force(NULL) ends that. Not for use while
 * another thread makes networks. */
const struct fp32_kernel *fp32_kernel_best(void);
void fp32_kernel_force(const struct fp32_kernel *kernel);

struct fp32_mlp {
    struct mlp_shape shape;
    struct fp32_layer layer[MLP_MAX_LAYERS];
    const struct fp32_kernel *kernel;
    struct block block;
};

/* Memory for the packed weights, and, by fp32_mlp_pack, the weights into it: once, and again when they change. The
 * network is kept by reference. Error: out of memory. Release with fp32_mlp_free. */
bool fp32_mlp_create(const struct mlp *mlp, const struct fp32_kernel *kernel, struct fp32_mlp *out, struct error *err);
void fp32_mlp_pack(struct fp32_mlp *net);
void fp32_mlp_free(struct fp32_mlp *net);

/* Images that walk through all layers together, so that their activations stay in L2: tiles of 6 rows. */
enum { FP32_BLOCK = 48 };

/* Scratch for fp32_mlp_forward on several threads. */
struct fp32_workspace {
    int threads;
    size_t stride;     /* of a row: the widest layer, padded */
    float *rows;       /* [threads][2][FP32_BLOCK][stride] */
    uint16_t *nonzero; /* [threads][FP32_BLOCK][stride], rows that are multiplied together sharing the first */
    uint8_t *any;      /* [threads][stride] */
    size_t *left_out;  /* where the forward pass adds the products that it left out; NULL: nowhere */
    struct block block;
};

bool fp32_workspace_create(const struct mlp_shape *shape, int threads, struct fp32_workspace *out, struct error *err);
void fp32_workspace_free(struct fp32_workspace *ws);

/* Outputs in whole vectors. */
static inline size_t fp32_padded(int out, int lanes) {
    return ((size_t)out + (size_t)lanes - 1) / (size_t)lanes * (size_t)lanes;
}

/* The specification of a layer, eq. 9 as it stands: x [rows][in] -> y [rows][out], both dense. */
void fp32_layer_ref(const struct fp32_layer *layer, const float *x, size_t rows, float *y);

/* Pixels [count][inputs] -> logits [count][classes], on ws->threads threads. layers, unless NULL: [layers] arrays that
 * get the pixels as floats and the outputs of the hidden layers, [count][widths[i]] each. Nothing is allocated. */
void fp32_mlp_forward(const struct fp32_mlp *net, const uint8_t *images, size_t count, struct fp32_workspace *ws,
                      float *const *layers, float *logits);

#endif
