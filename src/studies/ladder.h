/* What the ladder found over the seeds, and the tables and the picture that are made of it. */
#ifndef STUDIES_LADDER_H
#define STUDIES_LADDER_H

#include "base/table.h"
#include "model/rungs.h"

/* A rung of one network, on the test images. */
struct rung_value {
    double accuracy, change, bits, sqnr; /* percent; points against fp32; of a weight; dB of the weights */
    double logit_sqnr, kl;               /* dB; nats a image: the logits against fp32's */
    double output_error[MLP_MAX_LAYERS]; /* relative, of each layer; NaN where weights were trained on or split */
};

enum { MOST_SEEDS = 1000 };

struct ladder_values {
    int seeds, layers;     /* at most MOST_SEEDS */
    struct rung_value *of; /* [rung_count][seeds] */
    int group;             /* weights of BLOCK_GROUP */
    char about[320];       /* network, data, seeds: the subtitle of the picture */
};

/* The mean over seeds of what a function finds in a rung. */
struct sums ladder_sums(const struct ladder_values *v, const struct rung *rung,
                        double (*of)(const struct rung_value *value));

/* Of the rungs with as many bits, not those that train on, the one whose KL divergence is the least. */
bool ladder_is_best(const struct ladder_values *v, const struct rung *rung);

/* "mnistq ladder"'s second table: means over seeds. Columns are those of the table's head, then the layers' errors. */
void fill_means(struct table *t, const struct ladder_values *v);

/* The third: what each method's paper claims, and whether that shows here. */
extern const char methods_columns[];
void fill_methods(struct table *t, const struct ladder_values *v);

/* A panel for each number of bits, a row for each rung. Error: the file cannot be written. */
bool draw_ladder(const char *path, const struct ladder_values *v, struct error *err);

#endif
