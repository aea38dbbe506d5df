/* Two models of one shape on the same images, measured: what every table of `mnistq compare` is made of. */
#ifndef STUDIES_COMPARE_H
#define STUDIES_COMPARE_H

#include "base/stats.h"
#include "base/table.h"
#include "model/evaluation.h"

/* An image that b answers differently. */
struct change {
    size_t image;
    int label, a, b;     /* the image's, and the two answers */
    const char *verdict; /* "broken", "fixed", "wrong both times" */
    double margin_a;     /* a's logit gap between its class and b's: what the difference had to overcome */
    double margin_b;     /* b's gap between its class and a's; 0 is a tie, decided for the lowest class */
};

/* Begin with a zeroed struct. Index 0 is a, 1 is b. */
struct pair {
    const char *paths[2];
    struct model models[2];
    struct model_notes notes[2];
    const struct split *test;
    float *logits[2]; /* [test images][classes], in real numbers */
    struct evaluation evaluations[2];
    struct similarity weights[MLP_MAX_LAYERS];
    struct similarity outputs[MLP_MAX_LAYERS + 1]; /* 0 the pixels, layers the logits */
    double median_margin;                          /* of all images, between a's first and second class */
    struct change *changes;                        /* [change_count] the widest margin of a first */
    size_t change_count;
};

static inline size_t pair_classes(const struct pair *p) {
    return (size_t)p->models[0].shape.widths[p->models[0].shape.layers];
}

/* ---- the way from fp32 to the integer engine -------------------------------------------------------------------- */

/* Each step is a network that can be run: it takes over one more thing from the quantized network and leaves the rest
 * as fp32 has it. What a step costs is what changes when it is taken. */
enum waterfall_step {
    WATERFALL_FP32,
    WATERFALL_WEIGHTS,
    WATERFALL_ACTIVATIONS, /* sums are exact from here on */
    WATERFALL_LOGITS,
    WATERFALL_BIAS,
    WATERFALL_REQUANTIZE, /* the integer engine itself, bit for bit */
    WATERFALL_STEPS
};

/* The logits of a step between two networks of one shape, [count][classes] in real numbers; release with free(). From
 * WATERFALL_ACTIVATIONS on also codes [count][sum of the widths], of an image the pixels, then each layer's outputs
 * (those of the logits only from WATERFALL_LOGITS on). NULL when out of memory. */
float *waterfall_logits(const struct mlp *fp32, const struct qmlp *q, enum waterfall_step step,
                        const struct split *split, uint8_t *codes, struct error *err);

/* The table of the steps from fp32 a to integer b. Error: out of memory; the last step is not the integer engine bit
 * for bit. */
bool fill_waterfall(struct table *t, const struct pair *p, struct error *err);

#endif
