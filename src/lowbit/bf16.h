/* The network in bf16: products of 16-bit floats, two at a time, summed in fp32, where the CPU has instructions
 * for that (AVX512-BF16). Weights are stored in bf16 and activations rounded to it (nearest even) between layers;
 * sums, biases and logits are fp32.
 *   y[c] = relu(scale * sum_k x[k] * w[c][k] + bias[c])          the last layer without relu
 * Pixels enter as the bytes themselves, which bf16 holds exactly (integers up to 256), and the first layer's scale
 * is 1/255; byte / 255 would not be exact in 8 bits. (So that layer's sums are 255 times as large and overflow at
 * weights of 1e33.) A CPU without such instructions runs the decoded weights in fp32: weight_only.h. */
#ifndef LOWBIT_BF16_H
#define LOWBIT_BF16_H

#include <stdint.h>

#include "nn/mlp.h"
#include "quant/qlinear.h"

struct bf16_layer {
    int in, out;
    float scale;      /* of the sums: 1/255 in the first layer, else 1 */
    bool last;        /* no ReLU, and y stays fp32 */
    uint16_t *weight; /* [out][in] bf16, finite */
    float *bias;      /* [out] */
    void *packed;     /* weight and bias once more, in the layout of a kernel; NULL without one */
};

/* A fast path for layers. The rows of x begin x_stride elements apart, a multiple of BF16_STRIDE and at least in; the
 * elements behind the last of them, up to a multiple of BF16_STRIDE, are finite: they are multiplied by 0. */
struct bf16_kernel {
    const char *name, *what;
    int (*supported)(void);       /* by this CPU */
    const struct qkernel *beside; /* the integer kernel of the same instruction set */
    bool in_order;                /* adds in the order of bf16_layer_ref: the same bits */
    /* A hidden layer's y is uint16_t [rows][y_stride], y_stride as for x; zeros are written behind the outputs up
     * to a multiple of 16 at least, of which the kernel itself needs no more. The last layer's is float
     * [rows][y_stride], y_stride any from out on. */
    void (*run)(const struct bf16_layer *layer, const uint16_t *x, size_t x_stride, size_t rows, void *y,
                size_t y_stride);
    size_t (*layer_bytes)(const struct bf16_layer *layer);
    void (*pack_layer)(const struct bf16_layer *layer); /* into layer->packed: zeroed, aligned to 64 */
};

enum { BF16_STRIDE = 32 }; /* elements: 64 bytes */

/* All that were compiled in; ends with NULL. */
extern const struct bf16_kernel *const bf16_kernels[];

/* The one to use, NULL where bf16 networks are to be decoded to fp32: this CPU has none that is faster than that, or
 * qkernel_force has chosen an integer kernel of an older instruction set, which is meant for all engines. That a CPU
 * has the instruction does not make it fast (vdpbf16ps at half of FMA's rate on a Sapphire Rapids, 1.2 to 1.3 times as
 * fast as fp32 on a Zen 4): so each is timed against fp32 once a process, 5 ms or so. */
const struct bf16_kernel *bf16_kernel_best(void);

/* The rule: the fastest, of those at least BF16_WORTH percent as fast as fp32, which no noise then undoes; else NULL.
 * percent, one for each of bf16_kernels: its speed, 100 is that of fp32. 0: not to be used. */
enum { BF16_WORTH = 110 };
const struct bf16_kernel *bf16_kernel_worth(const int *percent);

struct bf16_mlp {
    struct mlp_shape shape;
    struct bf16_layer layer[MLP_MAX_LAYERS];
    const struct bf16_kernel *kernel; /* NULL: only the reference can run */
    struct block block;
};

/* Scratch for bf16_mlp_forward on several threads. */
struct bf16_workspace {
    int threads;
    size_t stride;  /* of a row: the widest layer, padded */
    uint16_t *rows; /* [threads][2][BF16_BLOCK][stride] */
    struct block block;
};

/* Images that walk through all layers together, so that their activations stay in L2. A multiple of 12, the rows
 * of a tile. */
enum { BF16_BLOCK = 96 };

/* Rounds weights to bf16 (nearest even; nothing changes where they come from bf16) and packs them for a kernel that
 * this CPU supports, or for none. Errors: a weight that is not finite in bf16; out of memory. Release with
 * bf16_mlp_free. */
bool bf16_mlp_create(const struct mlp *mlp, const struct bf16_kernel *kernel, struct bf16_mlp *out, struct error *err);
void bf16_mlp_free(struct bf16_mlp *b);

bool bf16_workspace_create(const struct mlp_shape *shape, int threads, struct bf16_workspace *out, struct error *err);
void bf16_workspace_free(struct bf16_workspace *ws);

/* The specification of a layer, before its output is rounded: x [rows][in] -> y [rows][out], both dense. The sum
 * goes through pairs of inputs, of each pair the second product first, each addition rounded to fp32: what Intel's
 * manual says of VDPBF16PS. A kernel that follows it gives the same bits but where numbers below 2^-126 (subnormals)
 * turn up, which the instruction takes for 0. Tiles add in another order (bf16_amx.c says which). Any order of the
 * additions is within |difference| <= |scale| (2.01 n 2^-24 sum |x w| + 2^-126 sum (1 + |x| + |w|)) + 2^-22 |y|,      n
 * = in: n roundings of at most 2^-24 in either sum (Higham 2002, section 4.2; 2.01 covers their products up to 16384
 * inputs), then what subnormal sums, weights and inputs lose as 0, and the rounding of y. */
void bf16_layer_ref(const struct bf16_layer *layer, const uint16_t *x, size_t rows, float *y);

/* Pixels [count][inputs] -> logits [count][classes], on ws->threads threads, the same bits whatever their number.
 * reference: by bf16_layer_ref, else by the kernel, where there is one. layers, unless NULL: [layers + 1] arrays, of
 * which those of the hidden layers 1 .. layers - 1 get their outputs [count][widths[i]]. Nothing is allocated. */
void bf16_mlp_forward(const struct bf16_mlp *b, bool reference, const uint8_t *images, size_t count,
                      struct bf16_workspace *ws, float *const *layers, float *logits);

#endif
