/* The ONE way to run a model, of any kind, on images: classes by the fast engines, or every layer's values, or an
 * integer engine with a fault in it. And what comes out: answers on labelled images, of two models side by side. */
#ifndef MODEL_MODEL_RUN_H
#define MODEL_MODEL_RUN_H

#include "data/dataset.h"
#include "model/faults.h"
#include "model/model_file.h"

enum model_run_how {
    RUN_FAST = 0,
    RUN_REFERENCE = 1, /* int8, bf16: the plain loops that the kernels must equal; the others know only one way */
    RUN_LAYERS = 2     /* values of every layer; integer models then run the reference */
};

struct model_run {
    const struct model *model;
    int capacity, threads; /* images of a batch; threads (of fp32: for the products alone) */
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
    struct mlp_workspace mlp_ws;
    struct qmlp_workspace qmlp_ws;
    struct dynamic_mlp_workspace dynamic_ws;
    struct bf16_workspace bf16_ws;
    struct block block;
};

/* Scratch for batches of up to capacity images. Error: out of memory. Release with model_run_free, also after an
 * error. The model is kept by reference. */
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
 * so.
 */
const char *arithmetic_name(const struct model *model);
/* "per-channel", "per-tensor", or "-" for all but integer models. */
const char *granularity_name(const struct model *model);

/* ---- evaluation -------------------------------------------------------------------------------------------------- */

struct evaluation {
    size_t count, correct, ties; /* ties: images whose highest logit two classes share */
    uint8_t *predicted;          /* [count] */
};

/* Two models on the same images: b's answers against a's. */
struct paired {
    size_t changed; /* other answers, right or wrong */
    size_t fixed;   /* a wrong, b right */
    size_t broken;  /* a right, b wrong */
};

/* Runs a model over a split, on all threads, by the fast engines or, with reference, by the plain ones (RUN_REFERENCE).
 * Release with evaluation_free. Error: out of memory. */
bool evaluate(const struct model *model, const struct split *split, bool reference, struct evaluation *out,
              struct error *err);

/* The same answers out of logits [count][classes] that are there already. Error: out of memory. */
bool evaluate_logits(const float *logits, int classes, const struct split *split, struct evaluation *out,
                     struct error *err);
void evaluation_free(struct evaluation *e);

double accuracy_percent(const struct evaluation *e);
double standard_error_percent(const struct evaluation *e); /* sqrt(p (1 - p) / n) */
struct paired compare(const struct evaluation *a, const struct evaluation *b, const uint8_t *labels);

/* The logits of a whole split, [count][classes], every layer in the order of RUN_LAYERS; release with free(). NULL when
 * out of memory. */
float *model_logits(const struct model *model, const struct split *split, struct error *err);

#endif
