/* Two models of one shape on the same test images: what compare.c measures, and the tables made of it. */
#ifndef STUDIES_COMPARE_H
#define STUDIES_COMPARE_H

#include "cli/report.h"
#include "base/stats.h"

/* An image that b answers differently. */
struct change {
    size_t image;
    double margin_a; /* a's logit gap between its class and b's: what the difference had to overcome */
    double margin_b; /* b's gap between its class and a's; 0 is a tie, decided for the lowest class */
};

struct comparison {
    const char *paths[2]; /* a, b */
    struct model models[2];
    struct model_notes notes[2];
    struct dataset data;
    float *logits[2]; /* [test images][classes] */
    struct evaluation evaluations[2];
    struct similarity weights[MLP_MAX_LAYERS],
        outputs[MLP_MAX_LAYERS + 1]; /* outputs: 0 the pixels, layers the logits */
    struct change *changes;          /* [change_count] the widest margin of a first */
    size_t change_count;
};

static inline int comparison_classes(const struct comparison *c) {
    return c->models[0].shape.widths[c->models[0].shape.layers];
}

/* The changed predictions: found (in c->changes), as a table of at most limit rows, and as FOLDER/compare.png. */
bool find_changes(struct comparison *c, struct error *err);
void fill_changes(struct table *t, const struct comparison *c, size_t limit);
bool write_compare_picture(const struct comparison *c, const char *folder, struct error *err);

/* The steps from fp32 a to integer b. Error: out of memory; the last step is not the integer engine bit for bit. */
bool fill_waterfall(struct table *t, const struct comparison *c, struct error *err);

/* a with one layer at a time, then all, in int8, int4 and int2. Error: out of memory. */
bool fill_sensitivity(struct table *t, const struct comparison *c, struct error *err);

#endif
