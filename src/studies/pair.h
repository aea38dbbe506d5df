/* Two models of one shape on the same images, measured: what every table of `mnistq compare` is made of. */
#ifndef STUDIES_PAIR_H
#define STUDIES_PAIR_H

#include "base/stats.h"
#include "model/model_run.h"

/* An image that b answers differently. */
struct change {
    size_t image;
    double margin_a; /* a's logit gap between its class and b's: what the difference had to overcome */
    double margin_b; /* b's gap between its class and a's; 0 is a tie, decided for the lowest class */
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

/* Reads both files, the layers' weights compared. Errors: what model_read refuses; two shapes. */
bool pair_read(const char *const *paths, struct pair *p, struct error *err);

/* Runs both on all images of test, which fits them and is kept by reference. Error: out of memory. */
bool pair_measure(struct pair *p, const struct split *test, struct error *err);
void pair_free(struct pair *p);

#endif
