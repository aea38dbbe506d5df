/* The way from fp32 to the integer engine in steps, each a network that can be run: every step takes over one more
 * thing from the quantized network and leaves the rest as fp32 has it. What a step costs is what changes when it is
 * taken. Offline and floating point, as convert.h: nothing here runs when the quantized network does. */
#ifndef STUDIES_WATERFALL_H
#define STUDIES_WATERFALL_H

#include "base/table.h"
#include "studies/pair.h"

enum waterfall_step {
    WATERFALL_FP32,
    WATERFALL_WEIGHTS,
    WATERFALL_ACTIVATIONS, /* sums are exact from here on */
    WATERFALL_LOGITS,
    WATERFALL_BIAS,
    WATERFALL_REQUANTIZE, /* the integer engine itself, bit for bit */
    WATERFALL_STEPS
};

extern const struct waterfall_row {
    const char *name, *takes; /* "+ weights", "read back from their codes" */
} waterfall_rows[WATERFALL_STEPS];

struct waterfall {
    const struct mlp *fp32;
    const struct qmlp *q;
    int capacity;
    struct mlp weights;                                 /* fp32 with the weights read back */
    struct mlp_workspace ws;                            /* of the first two steps */
    uint8_t *code[WATERFALL_STEPS][MLP_MAX_LAYERS + 1]; /* [capacity][widths[i]] from WATERFALL_ACTIVATIONS on */
    struct block block;
};

/* The steps between two networks of one shape, for batches of up to capacity images. Both are kept by reference.
 * Error: out of memory. Release with waterfall_free, also after an error. */
bool waterfall_create(const struct mlp *fp32, const struct qmlp *q, int capacity, struct waterfall *w,
                      struct error *err);
void waterfall_free(struct waterfall *w);

/* One step on images [count][inputs], count <= capacity -> logits [count][classes] in real numbers; where a step has
 * codes, they stay in w->code[step] (those of the logits only from WATERFALL_LOGITS on). */
void waterfall_run(struct waterfall *w, enum waterfall_step step, const uint8_t *images, int count, float *logits);

/* The table of the steps from fp32 a to integer b. Error: out of memory; the last step is not the integer engine bit
 * for bit. */
bool fill_waterfall(struct table *t, const struct pair *p, struct error *err);

#endif
