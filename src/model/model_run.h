/* The ONE way to run a model, of any kind, on images: classes by the fast engines, or every layer's values, or an
 * integer engine with a fault in it. And what comes out: answers on labelled images, of two models side by side. */
#ifndef MODEL_MODEL_RUN_H
#define MODEL_MODEL_RUN_H

#include "model/faults.h"
#include "model/model_file.h"
#include "nn/fp32.h"

enum model_run_how {
    RUN_FAST = 0,
    RUN_REFERENCE = 1, /* int8, bf16: the plain loops that the kernels must equal; the others know only one way */
    RUN_LAYERS = 2     /* values of every layer; integer models then run the reference */
};

struct model_run {
    const struct model *model;
    int capacity, threads; /* images of a batch */
    int how;               /* enum model_run_how, or-ed */

    /* Integer models only, to be set between runs: the engine with this fault in fault_layer, or in all layers
     * (FAULTS_ALL_LAYERS). NULL: none. Needs RUN_REFERENCE or RUN_LAYERS. */
    const struct fault *fault;
    int fault_layer;

    /* What the last run left: 0 the pixels, layers the logits.
     * RUN_LAYERS: values of every layer in real numbers (codes read back by eq. 1) and, of an integer model, its codes.
     * Else: codes[layers] of an integer model; float models keep their logits where model_run_logits finds them. */
    float *values[MLP_MAX_LAYERS + 1];  /* [capacity][widths[i]] */
    uint8_t *codes[MLP_MAX_LAYERS + 1]; /* [capacity][widths[i]] */
    size_t cut[MLP_MAX_LAYERS + 1];     /* with a fault set: codes that the clamp cut, as faults_forward counts them */

    const float *logits; /* [count][classes] of a float model */
    struct fp32_mlp fp32;
    bool packed; /* the weights of fp32, at the first run */
    struct fp32_workspace fp32_ws;
    struct qmlp_workspace qmlp_ws;
    struct dynamic_mlp_workspace dynamic_ws;
    struct bf16_workspace bf16_ws;
    struct block block;
};

/* Scratch for batches of up to capacity images. Error: out of memory. Release with model_run_free, also after an
 * error. The model is kept by reference, and its weights stay as they are from the first run on. */
bool model_run_create(const struct model *model, int capacity, int threads, int how, struct model_run *out,
                      struct error *err);
void model_run_free(struct model_run *r);

/* Images a time that give the model its published answers: where ranges are taken at run time they are those of 64
 * images; else as many as asked for. */
int model_batch(const struct model *model, int wanted);

/* Runs images [count][inputs], count <= capacity. predicted [count]: the class of each, the lowest on a tie (eq. 7);
 * NULL where only the layers matter. Returns the number of ties. Nothing is allocated. */
size_t model_run(struct model_run *r, const uint8_t *images, int count, uint8_t *predicted);

/* The logits [classes] of image i of the last run in real numbers. */
void model_run_logits(const struct model_run *r, int i, float *logits);

/* The weights of a layer as they work, [out][in]: codes read back (eq. 1), outlier columns put in their place. */
void model_weights(const struct model *model, int layer, float *weights);

/* Any model as an fp32 network: its weights as above, its biases read back (eq. 5). Error: out of memory. Release with
 * mlp_free. */
bool model_as_mlp(const struct model *model, struct mlp *out, struct error *err);

/* "fp32", "integer", "fp32 after decode", "bf16 products, fp32 sums", ...: never mix these in a table without saying
 * so. */
const char *arithmetic_name(const struct model *model);
/* "per-channel", "per-tensor", or "-" for all but integer models. */
const char *granularity_name(const struct model *model);

#endif
