/* One image's way through the integer engine along one neuron of each layer, as ONE list of steps, each with every
 * number on it. The page, the worksheet and the table of `mnistq trace` walk this list. */
#ifndef STUDIES_TRACE_STEPS_H
#define STUDIES_TRACE_STEPS_H

#include "data/dataset.h"
#include "model/model_run.h"

/* What a step is, in the order in which a layer's steps stand; the logits come after all layers. */
enum trace_kind {
    TRACE_S_X,
    TRACE_Z_X,
    TRACE_S_W,
    TRACE_TERM, /* (x_q - z_x) w_q of an input that is not 0 */
    TRACE_SUM,
    TRACE_BIAS,
    TRACE_ACC,        /* sum + b_q: eq. 5 */
    TRACE_WEIGHT_SUM, /* sum w_q */
    TRACE_FOLDED,     /* b_q - z_x sum w_q */
    TRACE_RAW,        /* sum x_q w_q: folded + raw is acc too */
    TRACE_S_Y,
    TRACE_M_REAL, /* s_x s_w / s_y */
    TRACE_M,      /* m of eq. 6 */
    TRACE_RIGHT,
    TRACE_SHIFT,
    TRACE_PRODUCT, /* acc m, 64 bits */
    TRACE_HALF,
    TRACE_ROUNDED, /* (acc m + half) >> right */
    TRACE_Z_Y,
    TRACE_Y_MIN,
    TRACE_Y_MAX,
    TRACE_CODE, /* y_q: clamped z_y + rounded, eq. 6 */
    TRACE_LOGIT,
    TRACE_PREDICTED, /* the highest logit */
    TRACE_KINDS
};

extern const struct trace_name {
    const char *name; /* in the table */
    const char *says; /* on the page; NULL: no line of its own */
    bool asked;       /* a blank on the worksheet */
    bool shows_real;  /* on the page; the table has all */
} trace_names[TRACE_KINDS];

struct trace_step {
    enum trace_kind kind;
    int layer, neuron;
    int k, x_q, w_q;   /* of a term */
    bool is_integer;   /* else only real counts */
    long long integer; /* of a term the product */
    int32_t running;   /* of a term: the sum up to here */
    double real, fp32; /* the integer times its scale; the same in the fp32 network. NAN: none */
};

struct trace {
    const struct qmlp *q;
    bool has_fp32;
    size_t image;
    int rows, cols, label;
    const uint8_t *pixels; /* [rows][cols] */
    uint8_t predicted;
    size_t ties;
    struct trace_step *steps;         /* [first[layers + 1]] */
    size_t first[MLP_MAX_LAYERS + 2]; /* of each layer; [layers]: the logits */
};

/* Runs the image through the reference, picks the path (the winning logit, and from each neuron back to the input that
 * adds most to it; with layer >= 0 the path leads through that neuron), computes each neuron on it by hand, and holds
 * that against the engine. fp32: NULL, or a network of the same shape. Errors: a code that is not the engine's; out of
 * memory. Release with trace_free, also after an error. */
bool trace_make(const struct model *model, const struct model *fp32, const struct split *split, size_t image, int layer,
                int neuron, struct trace *t, struct error *err);
void trace_free(struct trace *t);

/* The step of a layer that is there once: any but a term. */
const struct trace_step *trace_find(const struct trace *t, int layer, enum trace_kind kind);

#endif
