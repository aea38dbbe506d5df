/* The pitfalls of the lesson: each is provoked on a network, measured and repaired. What the tables share. */
#ifndef STUDIES_PITFALLS_H
#define STUDIES_PITFALLS_H

#include "studies/cells.h"
#include "model/faults.h"
#include "base/stats.h"

/* One run of an integer network over the test images. */
struct trial {
    const struct qmlp *q;
    const struct fault *fault;
    int layer;              /* that has the fault, or FAULTS_ALL_LAYERS */
    const struct mlp *fp32; /* to measure against; NULL: not */
};

/* What it gave. Tensors: 0 the pixels, l the output of layer l. */
struct measurement {
    struct evaluation evaluation;
    double sqnr_db[MLP_MAX_LAYERS + 1]; /* codes read back against the fp32 network's values */
    double logit_sqnr_db;
    double saturated_percent[MLP_MAX_LAYERS + 1];   /* codes that the clamp cut, ReLU's zeros not counted */
    struct histogram histogram[MLP_MAX_LAYERS + 1]; /* of all 256 codes */
    double different_percent;                       /* logit codes that the fault changed */
    int largest_difference;                         /* |code - right code|, logits */
};

/* Release with measurement_free. Error: out of memory. */
bool measure(const struct trial *trial, const struct split *test, struct measurement *out, struct error *err);
bool measure_dynamic(const struct dynamic_mlp *q, const struct mlp *fp32, const struct split *test,
                     struct measurement *out, struct error *err);
void measurement_free(struct measurement *m);

/* What all five start from, and the summary that they add to. */
struct pitfalls {
    const struct dataset *data;
    const struct mlp *fp32;
    int calibration;                         /* images */
    struct evaluation evaluation;            /* of fp32 */
    struct range ranges[MLP_MAX_LAYERS + 1]; /* seen on the calibration images */
    struct qmlp healthy;                     /* per-channel, asymmetric: what nothing is wrong with */
    struct measurement measured;             /* of healthy */
    struct table summary;
};

/* Each fills a table, which it initialises, and adds its lines to the summary. */
bool pitfall_outlier(struct pitfalls *p, struct table *t, struct error *err);
bool pitfall_calibration(struct pitfalls *p, struct table *t, struct error *err);
bool pitfall_accumulator(struct pitfalls *p, struct table *t, struct error *err);
bool pitfall_symmetric(struct pitfalls *p, struct table *t, struct error *err);
bool pitfall_quiet(struct pitfalls *p, struct table *t, struct error *err);

/* A line of the summary. provoked, repaired: "accumulators of int8, wrapping", "of int32". */
void summarise(struct pitfalls *p, const char *pitfall, const char *provoked, const char *repaired,
               const struct measurement *before, const struct measurement *after, const struct measurement *repair);

/* The columns that end a row of every table: how the network fares, changes against the answers of base. */
#define NETWORK_COLUMNS "logit_sqnr_db " ACCURACY_COLUMNS " " PAIRED_COLUMNS
enum { NETWORK_COLUMN_COUNT = 3 + PAIRED_COLUMN_COUNT };
void add_network_cells(struct table *t, const struct measurement *m, const struct evaluation *base,
                       const uint8_t *labels);
void add_empty_cells(struct table *t, int count);

/* The ranges of all activations over images [count][inputs], lowest and highest. */
bool ranges_over(const struct mlp *mlp, const uint8_t *images, size_t count, struct range *ranges, struct error *err);

/* An int8 network with these ranges, nothing lost: an error when a bias does not fit. */
bool quantize_with(const struct mlp *mlp, const struct range *ranges, bool per_channel, bool symmetric,
                   struct qmlp *out, struct error *err);

/* Weights and biases once more from mlp, after weight_scale or activation of q were changed by hand. */
bool requantize_network(const struct mlp *mlp, struct qmlp *q, struct error *err);

#endif
