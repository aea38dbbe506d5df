/* Learned step sizes (LSQ, Esser et al. 2020): quantization-aware training in which the scale of each row is a
 * parameter that the gradient moves along with the weights, in place of one that is searched for. */
#ifndef LOWBIT_LSQ_H
#define LOWBIT_LSQ_H

#include "lowbit/gptq.h"
#include "nn/train.h"

/* The steps of all rows of a network, layer after layer. */
struct lsq {
    size_t rows;
    float *first;    /* [rows] where they began */
    float *ratio;    /* [rows] what is learned: step = first * ratio, so that Adam's rate is a share of the step */
    float *gradient; /* [rows] */
    struct optimizer optimizer;
    struct block block;
};

/* step = 2 mean |w| / sqrt(Q_p) of each row (section 2.1). Error: out of memory. Release with lsq_free. */
bool lsq_create(const struct mlp *mlp, int bits, struct lsq *out, struct error *err);
void lsq_free(struct lsq *s);

/* Puts the steps into the grids of codes [layers], one block a row. */
void lsq_grids(const struct lsq *s, struct coded_matrix *codes, int layers);

/* gradient holds that of the loss by the quantized weights. Moves the steps by
 *   d w_hat / d s = round(w / s) - w / s, or the end -Q_n, Q_p that w / s lies beyond              (eq. 3)
 * times 1 / sqrt(in Q_p) (section 2.2), and cuts off the gradient of weights that lie beyond             (eq. 5). */
void lsq_step(struct lsq *s, const struct mlp *latent, const struct coded_matrix *codes, float rate,
              struct mlp *gradient);

/* The integer network of weights on grids of the learned steps (convert_codes). Errors: its; out of memory. */
bool lsq_convert(const struct mlp *mlp, const struct lsq *s, int bits, const struct range *ranges, struct qmlp *out,
                 size_t *saturated, struct error *err);

#endif
