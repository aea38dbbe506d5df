/* A multi-layer perceptron in fp32: x -> fc1 -> ReLU -> fc2 -> ReLU -> ... -> fcL -> logits. */
#ifndef NN_MLP_H
#define NN_MLP_H

#include <float.h>
#include <stdint.h>

#include "base/block.h"
#include "base/rng.h"

enum { MLP_MAX_LAYERS = 16, MLP_MAX_WIDTH = 16384 };

/* The widths of a network: widths[0] inputs, widths[layers] classes, hidden layers between. */
struct mlp_shape {
    int layers; /* 1 to MLP_MAX_LAYERS */
    int widths[MLP_MAX_LAYERS + 1];
};

struct dense {
    int in, out;
    float *weight; /* [out][in] */
    float *bias;   /* [out] */
};

/* The parameters; their gradient has the same form. One block of memory; between the arrays there is only
 * zero padding, so that an optimizer may walk the whole block as one array of floats. */
struct mlp {
    struct mlp_shape shape;
    struct dense layer[MLP_MAX_LAYERS];
    struct block block;
};

/* What a forward pass writes and a backward pass reads, for batches of up to capacity images. */
struct mlp_workspace {
    int capacity;
    float origin;                          /* what mlp_load_images takes off each pixel: 0, but in training */
    struct sparse_input *sparse;           /* in training: layer 1's weights lie transposed; NULL: they do not */
    float *activation[MLP_MAX_LAYERS + 1]; /* [capacity][widths[i]]: 0 the input, layers the logits */
    float *gradient[MLP_MAX_LAYERS + 1];   /* the same shapes; NULL when made for inference */
    float *rectified[MLP_MAX_LAYERS + 1]; /* where ReLU's outputs are changed afterwards (quantized), what they were, by
                                             whose sign the gradient passes; NULL: activation. The caller's own. */
    struct block block;
};

/* inputs -> hidden[0..count) -> classes. Error: a width or the number of layers out of range. */
bool mlp_shape_make(int inputs, const int *hidden, int count, int classes, struct mlp_shape *out, struct error *err);

/* "784-256-256-10" */
void mlp_shape_print(const struct mlp_shape *shape, char *text, size_t size);
size_t mlp_parameter_count(const struct mlp_shape *shape);

/* The largest of its widths, inputs and classes among them. Here, so that the integer engine links without mlp.c. */
static inline int mlp_widest(const struct mlp_shape *shape) {
    int widest = 0;
    for (int i = 0; i <= shape->layers; i++) widest = shape->widths[i] > widest ? shape->widths[i] : widest;
    return widest;
}

/* Parameters set to zero. Error: out of memory. Release with mlp_free. */
bool mlp_create(const struct mlp_shape *shape, struct mlp *out, struct error *err);
void mlp_free(struct mlp *mlp);

/* A network of the same shape with the same parameters, in the same way. */
bool mlp_copy(const struct mlp *from, struct mlp *to, struct error *err);

/* Weights normal with variance 2 / in (He et al. 2015, eq. 10), biases 0. */
void mlp_initialise(struct mlp *mlp, struct rng *rng);

/* The whole block as one array, padding included. */
float *mlp_parameters(const struct mlp *mlp);
size_t mlp_padded_count(const struct mlp *mlp);

/* No NaN and no infinity among count numbers. */
bool all_finite(const float *x, size_t count);

bool mlp_workspace_create(const struct mlp_shape *shape, int capacity, bool with_gradient, struct mlp_workspace *out,
                          struct error *err);
void mlp_workspace_free(struct mlp_workspace *ws);

/* Rewrites layer 1's bias, b -= shift * sum_k w[k], so that the network answers x + shift as it did x. */
void mlp_shift_inputs(struct mlp *mlp, float shift);

/* n pixels as bytes -> x = byte / 255 - origin. */
void bytes_to_floats(const uint8_t *bytes, size_t n, float origin, float *x);

/* Pixels [count][inputs] as bytes -> x = byte / 255 - ws->origin in ws->activation[0]. */
void mlp_load_images(const struct mlp *mlp, const uint8_t *images, int count, struct mlp_workspace *ws);

/* Runs the first count rows of ws->activation[0] through all layers; count <= ws->capacity. The forward pass of
 * training, and of what is made from its activations; models are run by nn/fp32.h. */
void mlp_forward(const struct mlp *mlp, int count, struct mlp_workspace *ws);

/* One layer of mlp_forward: ws->activation[layer] -> ws->activation[layer + 1]. */
void mlp_forward_layer(const struct mlp *mlp, int layer, int count, struct mlp_workspace *ws);

/* Softmax and cross-entropy of logits [count][classes] against labels [count]; returns the mean loss in nats.
 * The target of a row is (1 - smoothing) one_hot + smoothing / classes (label smoothing, Szegedy et al. 2016,
 * section 7; 0 for none). gradient [count][classes] = (softmax - target) / count. */
double softmax_cross_entropy(const float *logits, const uint8_t *labels, int count, int classes, float smoothing,
                             float *gradient);

/* In place: p_i = exp(x_i - max) / sum. */
void softmax(float *x, int classes);

/* After mlp_forward: the mean loss, and its derivative by every parameter in gradient (overwritten), but for layer 1's
 * weights where ws->sparse is there: sparse_input_backward gives those. */
double mlp_backward(const struct mlp *mlp, const uint8_t *labels, int count, float smoothing, struct mlp_workspace *ws,
                    struct mlp *gradient);

/* The class of the highest of logits [classes], the lowest class on a tie, which is then counted in *ties. */
uint8_t highest_class(const float *logits, int classes, size_t *ties);

/* The same for each row of logits [count][classes]; returns how many had a tie. */
size_t highest_classes(const float *logits, size_t count, int classes, uint8_t *predicted);

/* What no sum of a float network may reach: half of what fp32 holds, since each rounding may add to it. */
#define MLP_LARGEST_SUM (FLT_MAX / 2)

/* Whether no image can drive a sum, of any layer, to MLP_LARGEST_SUM: bounds grow by sum |w| + |b| from layer to layer.
 * pixel: the largest that the first layer multiplies, 1, or 255 where it takes bytes and is scaled afterwards. */
bool mlp_is_bounded(const struct mlp *mlp, double pixel);

#endif
