/* One image's way through the integer engine, along one neuron of each layer, with every number on it. */
#ifndef STUDIES_TRACE_H
#define STUDIES_TRACE_H

#include "cli/report.h"

/* Layer by layer: eq. 5 and 6 of one neuron, and what fp32 has for it where an fp32 model was given. */
struct trace_layer {
    int in, out, neuron;
    const uint8_t *x; /* [in] codes */
    const int8_t *w;  /* [in] codes of the neuron's row */
    float s_x, s_w, s_y;
    int32_t z_x, z_y, y_min, y_max;
    int32_t sum;                        /* of (x_q - z_x) w_q */
    int32_t bias, acc;                  /* b_q; sum + b_q: eq. 5 */
    int32_t weight_sum;                 /* of w_q */
    int32_t folded, raw;                /* b_q - z_x weight_sum; sum of x_q w_q: folded + raw is acc too */
    struct multiplier by;               /* M */
    int64_t product;                    /* acc m */
    int64_t rounded;                    /* (product + half) >> right */
    uint8_t code;                       /* y_q: clamped z_y + rounded */
    const float *fp32_x, *fp32_w;       /* [in], or NULL */
    double fp32_sum, fp32_bias, fp32_y; /* W x, b, and after ReLU */
};

struct trace {
    const struct qmlp *q;
    const struct mlp *fp32; /* or NULL */
    struct mlp_workspace fp32_ws;
    size_t image;
    int rows, cols, label;
    const uint8_t *pixels;              /* [rows][cols] */
    uint8_t *codes[MLP_MAX_LAYERS + 1]; /* [widths[i]] */
    struct trace_layer layer[MLP_MAX_LAYERS];
    uint8_t predicted;
    size_t ties;
    struct block block;
};

/* Runs the image through the reference, picks the path (the winning logit, and from each neuron back to the input that
 * adds most to it; with layer >= 0 the path leads through that neuron), computes each neuron on it by hand, and holds
 * that against qmlp_forward_ref. Errors: a code that is not the engine's; out of memory. Release with trace_free, also
 * after an error. */
bool trace_make(const struct qmlp *q, const struct mlp *fp32, const struct split *split, size_t image, int layer,
                int neuron, struct trace *t, struct error *err);
void trace_free(struct trace *t);

/* One term of eq. 5. */
static inline int32_t trace_product(const struct trace_layer *l, int k) { return (l->x[k] - l->z_x) * l->w[k]; }

/* eq. 1 on the output code. */
static inline double trace_output(const struct trace_layer *l) { return (double)(l->s_y * (float)(l->code - l->z_y)); }

/* Terms that belong together: a pixel row of the image in layer 1, else a run of neighbouring inputs. */
int trace_group(const struct trace *t, int layer);

/* The page for people. key NULL: with all numbers; else a worksheet with blanks, and the answers in key. */
struct trace_page {
    const char *model, *fp32, *data, *command;
    int row; /* the pixel row shown in full; -1: the one that adds most */
};
void trace_print(const struct trace *t, const struct trace_page *page, FILE *out, FILE *key);

/* Every number as a table. */
extern const char trace_columns[];
void fill_trace(struct table *table, const struct trace *t);

#endif
