/* What a model gives on labelled images, a fault in it or not, and how far that is from what it should give. */
#ifndef MODEL_MEASURE_H
#define MODEL_MEASURE_H

#include "base/stats.h"
#include "model/model_run.h"

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
