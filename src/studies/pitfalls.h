/* The pitfalls of the lesson: each is provoked on a network, measured and repaired. Networks with something wrong in
 * them run one after another; each is measured against its fp32 network and shown in a row that ends as all others. */
#ifndef STUDIES_PITFALLS_H
#define STUDIES_PITFALLS_H

#include "base/progress.h"
#include "cli/recipe.h"
#include "cli/study.h"
#include "model/evaluation.h"

/* An fp32 network, and what is measured of it. */
struct network {
    struct mlp fp32;
    struct range ranges[MLP_MAX_LAYERS + 1]; /* of all activations, over the calibration images */
    float *logits;                           /* on the test images */
    struct evaluation evaluation;            /* of them */
};

struct variants {
    struct study *study;
    int calibration;
    uint8_t *images;                        /* [calibration][inputs] */
    struct network base;                    /* what all are made of */
    struct model int8;                      /* per-channel, asymmetric: nothing is wrong with it */
    const struct measurement *healthy;      /* of int8 */
    const struct training_recipe *training; /* of fp32, and for more networks like it */
    int seeds;                              /* networks to try; 1 where fp32 came from a file */
    struct table *summary, *brief;          /* brief: of the calibration */
    struct progress bar;
    size_t done, total; /* runs */
    struct kept {
        struct measurement m;
        struct kept *next;
    } * kept; /* what was measured */
};

/* A table, and what fills it. */
struct part {
    const char *name, *title, *columns;
    bool (*fill)(struct variants *v, struct table *t); /* NULL: another part does */
    const char *notes[4];                              /* after those that fill adds */
};

extern const struct part pitfall_outlier, pitfall_outlier_seeds; /* one weight sets the scale for all */
extern const struct part pitfall_calibration, pitfall_calibration_brief, pitfall_symmetric; /* ranges that do not fit */
extern const struct part pitfall_accumulator, pitfall_quiet; /* mistakes in the engine, of model/faults.h */

/* All of n but n->fp32. Error: out of memory. Release with network_free, also after an error. */
bool network_measure(const struct variants *v, struct network *n);
void network_free(struct network *n);

/* Runs a model over the test images, with the fault in a layer or in all. fp32_logits: of the network that it was made
 * from. The result stays until all are done. NULL: an error, in study->err. */
const struct measurement *run_variant(struct variants *v, const struct model *model, const struct fault *fault,
                                      int layer, const float *fp32_logits);

/* A row of the summary, after its cells "pitfall | provoked by | repaired by": the network before, between and after.
 */
void summarise(struct variants *v, const struct measurement *before, const struct measurement *provoked,
               const struct measurement *repaired);

/* The columns that end a row of every table: how the network fares; changes are against the answers of base. */
#define NETWORK_COLUMNS "logit_sqnr_db correct accuracy_percent change changed fixed broken p"
#define NO_NETWORK " | | | | | | | "
void add_network_cells(const struct variants *v, struct table *t, const struct measurement *m,
                       const struct evaluation *base);

/* The lowest and highest value of all activations over images [count][inputs]. Error: out of memory. */
bool ranges_over(const struct mlp *mlp, const uint8_t *images, int count, struct range *ranges, struct error *err);

/* An int8 network with these ranges. Errors: as convert, and a bias that does not fit. Release with model_free. */
bool int8_network(const struct mlp *mlp, const struct range *ranges, bool per_channel, bool symmetric,
                  struct model *out, struct error *err);

/* Weights and biases once more from mlp, after weight_scale or activation of out were changed by hand. Errors: the
 * same; out is then freed. */
bool requantize_network(const struct mlp *mlp, struct model *out, struct error *err);

#endif
