/* Pitfall: ranges calibrated on data that production does not look like. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "studies/pitfalls.h"
#include "cli/recipe.h"

/* What is done to the calibration images, or to the ranges that they gave. */
enum change {
    CHANGE_NONE,
    CHANGE_INVERT, /* ink and paper change places */
    CHANGE_BYTES,  /* the network is shown bytes, 0 to 255, where production shows bytes / 255 */
    CHANGE_DIM,    /* pixels times 6/20 */
    CHANGE_NARROW  /* ranges of the hidden layers times 6/20 */
};

/* What activation ranges are calibrated on. */
struct calibration {
    const char *name;
    int images;
    int label; /* only images of this class; ANY_LABEL */
    enum change change;
};
enum { ANY_LABEL = -1, SHOWN_CLASSES = 10, NAME_SIZE = 48 };

static const double seen_share = 6.0 / 20.0; /* calibrated on [0, 6], run on [0, 20] */

/* The first n images of a class. *n becomes how many there are. */
static uint8_t *images_of_class(const struct split *train, int label, int *n, struct error *err) {
    size_t pixels = (size_t)train->rows * (size_t)train->cols, found = 0;
    uint8_t *images = aligned_array((size_t)*n, pixels, err);
    for (size_t i = 0; images && i < train->count && found < (size_t)*n; i++)
        if (train->labels[i] == label) memcpy(images + found++ * pixels, train->images + i * pixels, pixels);
    *n = (int)found;
    return images;
}

static void change_images(enum change change, uint8_t *images, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        if (change == CHANGE_INVERT) images[i] = (uint8_t)(255 - images[i]);
        if (change == CHANGE_DIM) images[i] = (uint8_t)(images[i] * seen_share + 0.5);
    }
}

/* Bytes are x = 255 * (byte / 255): first-layer weights times 255 give every layer what bytes would give it. */
static bool ranges_over_bytes(const struct mlp *mlp, const uint8_t *images, size_t count, struct range *ranges,
                              struct error *err) {
    struct mlp wide;
    if (!mlp_copy(mlp, &wide, err)) return false;
    for (size_t i = 0; i < (size_t)wide.layer[0].in * (size_t)wide.layer[0].out; i++) wide.layer[0].weight[i] *= 255;
    bool ok = ranges_over(&wide, images, count, ranges, err);
    ranges[0].lo *= 255;
    ranges[0].hi *= 255;
    mlp_free(&wide);
    return ok;
}

/* *images becomes how many were shown. */
static bool calibrate_on(const struct pitfalls *p, struct calibration *c, struct range *ranges, struct error *err) {
    const struct split *train = &p->data->train;
    uint8_t *images = c->label == ANY_LABEL ? calibration_images(train, c->images, err)
                                            : images_of_class(train, c->label, &c->images, err);
    if (!images) return false;
    change_images(c->change, images, (size_t)c->images * (size_t)train->rows * (size_t)train->cols);
    bool ok = (c->change == CHANGE_BYTES ? ranges_over_bytes : ranges_over)(p->fp32, images, (size_t)c->images, ranges,
                                                                            err);
    for (int l = 1; c->change == CHANGE_NARROW && l < p->fp32->shape.layers; l++) ranges[l].hi *= (float)seen_share;
    free(images);
    return ok;
}

static void add_row(const struct pitfalls *p, struct table *t, const struct calibration *c, const struct qmlp *q,
                    const struct measurement *m) {
    table_row(t, "%s | %d", c->name, c->images);
    for (int l = 0; l <= q->shape.layers; l++) {
        table_row(t, "%.3f | %.3f", (double)dequantize(q->activation[l].qmax, q->activation[l]),
                  m->saturated_percent[l]);
    }
    add_network_cells(t, m, &p->evaluation, p->data->test.labels);
}

static void add_to_summary(struct pitfalls *p, const char *provoked, const struct measurement *m) {
    char repaired[64];
    snprintf(repaired, sizeof repaired, "%d images of all kinds", p->calibration);
    summarise(p, "calibration", provoked, repaired, &p->measured, m, &p->measured);
}

/* *m: what it gave, to be freed by the caller. */
static bool run_calibration(const struct pitfalls *p, struct table *t, struct calibration c, struct measurement *m,
                            struct error *err) {
    struct range ranges[MLP_MAX_LAYERS + 1];
    struct qmlp q;
    if (!calibrate_on(p, &c, ranges, err) || !quantize_with(p->fp32, ranges, true, false, &q, err)) return false;
    struct trial trial = {&q, &faults[0], FAULTS_ALL_LAYERS, p->fp32};
    bool ok = measure(&trial, &p->data->test, m, err);
    if (ok) add_row(p, t, &c, &q, m);
    qmlp_free(&q);
    return ok;
}

/* A line of the table, and perhaps of the summary. */
static bool show_calibration(struct pitfalls *p, struct table *t, struct calibration c, bool summary,
                             struct error *err) {
    struct measurement m;
    if (!run_calibration(p, t, c, &m, err)) return false;
    if (summary) add_to_summary(p, c.images == 1 ? "1 image" : c.name, &m);
    measurement_free(&m);
    return true;
}

static bool run_sizes(struct pitfalls *p, struct table *t, struct error *err) {
    static const int sizes[] = {1, 8, 64, 512};
    bool ok = show_calibration(p, t, (struct calibration){"representative", p->calibration, ANY_LABEL, CHANGE_NONE},
                               false, err);
    for (int i = 3; ok && i >= 0; i--)
        if (sizes[i] != p->calibration && (size_t)sizes[i] <= p->data->train.count)
            ok = show_calibration(p, t, (struct calibration){"representative", sizes[i], ANY_LABEL, CHANGE_NONE},
                                  sizes[i] == 1, err);
    return ok;
}

static bool has_label(const struct split *train, int label) {
    return memchr(train->labels, label, train->count) != NULL;
}

/* Each class alone; the summary gets the one that leaves the most noise. */
static bool run_classes(struct pitfalls *p, struct table *t, struct error *err) {
    struct measurement worst = {.logit_sqnr_db = INFINITY};
    char name[32], worst_name[32] = "";
    bool ok = true;
    for (int label = 0; ok && label < p->data->classes && label < SHOWN_CLASSES; label++) {
        struct measurement m;
        snprintf(name, sizeof name, "only class %d", label);
        if (!has_label(&p->data->train, label)) continue;
        ok = run_calibration(p, t, (struct calibration){name, p->calibration, label, CHANGE_NONE}, &m, err);
        if (ok && m.logit_sqnr_db < worst.logit_sqnr_db) {
            struct measurement milder = worst;
            worst = m;
            m = milder;
            memcpy(worst_name, name, sizeof name);
        }
        if (ok) measurement_free(&m);
    }
    if (ok && *worst_name) add_to_summary(p, worst_name, &worst);
    measurement_free(&worst);
    return ok;
}

static bool run_changes(struct pitfalls *p, struct table *t, struct error *err) {
    const struct calibration changed[] = {
        {"inverted images", p->calibration, ANY_LABEL, CHANGE_INVERT},
        {"bytes 0 to 255, not divided by 255", p->calibration, ANY_LABEL, CHANGE_BYTES},
        {"images dimmed to 6/20", p->calibration, ANY_LABEL, CHANGE_DIM},
        {"[0, 6], run on [0, 20]: hidden ranges x 6/20", p->calibration, ANY_LABEL, CHANGE_NARROW},
    };
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof changed / sizeof changed[0]; i++)
        ok = show_calibration(p, t, changed[i], true, err);
    return ok;
}

static void add_notes(struct table *t) {
    table_note(
        t,
        "See: where a range seen is too narrow, codes saturate (saturated_percent); where it is too wide (highest "
        "beyond that of the first row), few codes are left for what really comes. The repair is the first row: "
        "images that look like production. Accuracy alone hardly tells, since the highest logit often stays the "
        "highest: read it beside logit_sqnr_db.");
    table_note(t,
               "highest: the largest real value that the codes of that tensor hold; input: the pixels, fcN: the output "
               "of that layer, after ReLU, on the integer engine. saturated_percent: share of its codes over the test "
               "images that the clamp cut; ReLU's zeros are not counted.");
    note_paired(t, "fp32");
    table_note(
        t,
        "representative: evenly spaced training images. only class N: the first images of that class, at most as "
        "many. images dimmed to 6/20: the calibration images' pixels times 6/20; it is then production's pixels "
        "that saturate, which keeps all that follows in its range. hidden ranges x 6/20: every hidden layer's "
        "range is cut to what an observer that saw [0, 6] knows of activations in [0, 20]; pixels and logits keep "
        "theirs.");
}

bool pitfall_calibration(struct pitfalls *p, struct table *t, struct error *err) {
    table_init(t, "Pitfall: calibration that does not look like production", "calibration images");
    for (int l = 0; l <= p->fp32->shape.layers; l++) {
        char tensor[16] = "input";
        if (l > 0) snprintf(tensor, sizeof tensor, "fc%d", l);
        table_add_columns(t, "%s_highest %s_saturated_percent", tensor, tensor);
    }
    table_add_columns(t, NETWORK_COLUMNS);
    add_notes(t);
    return run_sizes(p, t, err) && run_classes(p, t, err) && run_changes(p, t, err);
}
