/* The integer engine once more, slow, with mistakes to switch on: what happens to eq. 5 and 6 when one step of them
 * goes wrong. Nothing here is in the way of qlinear.h or qmlp.h; with faults[0], "none", the codes are those of
 * qmlp_forward_ref bit for bit.
 *
 * A code is made in four steps, and a fault replaces one of them:
 *   sum    sum_k (x_q[k] - z_x) * w_q[c][k]          eq. 5
 *   bias   b_q[c]                                    eq. 5
 *   scale  round((sum + bias) * M[c])                eq. 6
 *   clamp  clamp(z_y + that)                         eq. 6, with the ReLU */
#ifndef MODEL_FAULTS_H
#define MODEL_FAULTS_H

#include "quant/qmlp.h"

struct fault_steps { /* of output c of layer l; NULL: as eq. 5 and 6 say */
    int32_t (*sum)(const struct qmlp *q, int l, int c, const uint8_t *x); /* |result| <= 2^30 */
    int32_t (*bias)(const struct qmlp *q, int l, int c);                  /* |result| <= 2^30 */
    int64_t (*scale)(const struct qmlp *q, int l, int c, int32_t acc);
    uint8_t (*clamp)(const struct qlinear *layer, int64_t value);
};

enum fault_kind {
    FAULT_NONE,
    FAULT_ACCUMULATOR, /* too narrow */
    FAULT_RANGE,       /* codes spent on the wrong range: outlier, calibration, symmetric activations */
    FAULT_QUIET        /* a slip in a line of code, which often passes unnoticed */
};

struct fault {
    const char *name;      /* for --break */
    const char *what;      /* the mistake, in one line */
    const char *signature; /* how its wrong codes differ from those of any other fault */
    enum fault_kind kind;
    int accumulator_bits; /* of FAULT_ACCUMULATOR; 0 */
    struct fault_steps steps;
};

/* Every fault; the first is "none", the last has a NULL name. */
extern const struct fault faults[];
const struct fault *fault_find(const char *name); /* NULL: there is none */

enum { FAULTS_ALL_LAYERS = -1 };

/* Images [count][inputs] through all layers, on all threads; only layer has the fault, or all have with
 * FAULTS_ALL_LAYERS. codes [layers + 1]: each [count][widths[i]], 0 the pixels, layers the logits. cut [layers + 1]:
 * codes that the clamp cut; ReLU's zeros are not counted, nor the pixels ([0] is 0). */
void faults_forward(const struct qmlp *q, const struct fault *fault, int layer, const uint8_t *images, int count,
                    uint8_t *const *codes, size_t *cut);

/* Where the sum of output c, products added one by one from k = 0 on, first leaves a signed accumulator of so many
 * bits: returns that k, or layer->in when it never does. *products: the products that are not 0 up to there. */
int first_overflow(const struct qlinear *layer, int c, const uint8_t *x, int bits, int *products);

/* The largest |sum| on the way, over all partial sums of output c. */
int32_t largest_partial_sum(const struct qlinear *layer, int c, const uint8_t *x);

#endif
