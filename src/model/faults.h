/* The integer engine with mistakes to switch on: what happens to eq. 5 and 6 when one step of them goes wrong.
 *
 * A code is made in four steps, and a fault replaces one of them:
 *   sum    sum_k (x_q[k] - z_x) * w_q[c][k]          eq. 5
 *   bias   b_q[c]                                    eq. 5
 *   scale  round((sum + bias) * M[c])                eq. 6
 *   clamp  clamp(z_y + that)                         eq. 6, with the ReLU
 *
 * A new fault is a function for its step and a row of the table faults[]: eval --break, pitfalls and the tests then
 * have it. */
#ifndef MODEL_FAULTS_H
#define MODEL_FAULTS_H

#include "quant/qmlp.h"

/* The output that a step works on. */
struct output {
    const struct qmlp *q;
    const struct qlinear *layer; /* &q->layer[l] */
    int l, c;                    /* output c of layer l */
    const int8_t *w;             /* [layer->in] its weights */
    int bits;                    /* of the fault's accumulator */
    const uint16_t *term;        /* [terms] the inputs k that are not z_x: all others add 0 to eq. 5 */
    int terms;
};

struct fault_steps {                                          /* NULL: as eq. 5 and 6 say */
    int32_t (*sum)(const struct output *o, const uint8_t *x); /* |result| <= 2^30 */
    int32_t (*bias)(const struct output *o);                  /* |result| <= 2^30 */
    int64_t (*scale)(const struct output *o, int32_t acc);
    uint8_t (*clamp)(const struct output *o, int64_t value);
};

enum fault_kind {
    FAULT_NONE,
    FAULT_ACCUMULATOR, /* too narrow */
    FAULT_RANGE,       /* codes spent on the wrong range: outlier, calibration, symmetric activations */
    FAULT_QUIET        /* a slip in a line of code, which often passes unnoticed */
};

struct fault {
    const char *name; /* for --break */
    enum fault_kind kind;
    int bits; /* of the accumulator of FAULT_ACCUMULATOR; 0 */
    struct fault_steps steps;
    const char *what;      /* the mistake, in one line */
    const char *signature; /* how its wrong codes differ from those of any other fault */
};

/* Every fault; the first is "none", the last has a NULL name. */
extern const struct fault faults[];
const struct fault *fault_find(const char *name); /* NULL: there is none */

enum { FAULTS_ALL_LAYERS = -1, FAULTS_MAX = 64 };

/* Output c of layer l, for a call of one step; its terms are for the caller to set. */
struct output fault_output(const struct qmlp *q, int l, int c, const struct fault *fault);
int fault_terms(const struct qlinear *layer, const uint8_t *x, uint16_t *term); /* term [in]; returns how many */

/* Images [count][inputs] through all layers, on the threads of ws; only layer has the fault, or all have with
 * FAULTS_ALL_LAYERS. Layers without fault run on the network's fast kernel. codes [layers + 1]: each
 * [count][widths[i]], 0 the pixels, layers the logits. cut [layers + 1]: codes that the clamp cut; ReLU's zeros are not
 * counted, nor the pixels ([0] is 0). */
void faults_forward(const struct qmlp *q, const struct fault *fault, int layer, const uint8_t *images, int count,
                    struct qmlp_workspace *ws, uint8_t *const *codes, size_t *cut);

/* Where the sum of output c, products added one by one from k = 0 on, first leaves a signed accumulator of so many
 * bits: returns that k, or layer->in when it never does. *products: the products that are not 0 up to there. */
int first_overflow(const struct qlinear *layer, int c, const uint8_t *x, int bits, int *products);

/* The largest |sum| on the way, over all partial sums of output c. */
int32_t largest_partial_sum(const struct qlinear *layer, int c, const uint8_t *x);

#endif
