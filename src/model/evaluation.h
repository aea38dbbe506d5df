/* A model's answers on labelled images, and two models' answers side by side. */
#ifndef MODEL_EVALUATION_H
#define MODEL_EVALUATION_H

#include "base/stats.h"
#include "data/dataset.h"
#include "model/model_run.h"

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

/* By the fast engines, and the logits [count][classes] that the answers come from. Error: out of memory. */
bool evaluate_keeping(const struct model *model, const struct split *split, float *logits, struct evaluation *out,
                      struct error *err);

/* How far b's logits [count][classes] are from a's: SQNR in dB, and KL divergence in nats a row, b's probabilities
 * against a's (base/stats). */
void logits_apart(const float *a, const float *b, size_t count, int classes, double *sqnr_db, double *kl);

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

/* Runs two models of one shape on images [count][inputs] and adds up how far each layer's outputs in b are from those
 * in a: outputs [layers + 1], 0 the pixels, layers the logits. rounding [layers + 1] or NULL, for an integer b: how far
 * a's outputs are from themselves, rounded to b's codes. logits: NULL, or where both models' [count][classes] go.
 * Error: out of memory. */
bool compare_outputs(const struct model *a, const struct model *b, const uint8_t *images, size_t count,
                     struct similarity *outputs, struct similarity *rounding, float *const *logits, struct error *err);

/* Digests (base/digest.h) of an integer model's codes on images [count][inputs]: of each layer over all images, layers
 * [layers], from layer 1 on; the caller begins with DIGEST_START and may go on with more images. Of each image over all
 * layers: per_image [count], or NULL. r: made with RUN_LAYERS; its fault stays. */
void model_digests(struct model_run *r, const uint8_t *images, size_t count, uint64_t *layers, uint64_t *per_image);

/* What a model gives on labelled images, a fault in it or not, and how far that is from what it should give. */
struct trial {
    const struct model *model;
    const struct fault *fault; /* integer models only, else faults[0] */
    int layer;                 /* that has the fault, or FAULTS_ALL_LAYERS */
    const float *fp32_logits;  /* [count][classes] to measure the logits against; NULL: not */
};

struct measurement {
    struct evaluation evaluation;
    double logit_sqnr_db; /* NaN without fp32_logits */
    /* Of integer models. Tensors: 0 the pixels, l the output of layer l. */
    struct histogram histogram[MLP_MAX_LAYERS + 1]; /* of all 256 codes */
    double saturated_percent[MLP_MAX_LAYERS + 1];   /* codes that the clamp cut, ReLU's zeros not counted */
    double different_percent;                       /* logit codes that the fault changed */
    int largest_difference;                         /* |code - right code|, logits */
};

/* Runs the trial over a split. Release with measurement_free. Error: out of memory. */
bool measure(const struct trial *trial, const struct split *split, struct measurement *out, struct error *err);
void measurement_free(struct measurement *m);

#endif
