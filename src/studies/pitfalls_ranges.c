/* Pitfalls of activation ranges: calibrated on what production does not look like, and symmetric where nothing is
 * negative. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "studies/pitfalls.h"

/* ---- calibration ------------------------------------------------------------------------------------------------ */

enum { SHOWN_CLASSES = 10 };

/* What activation ranges are calibrated on, and what is done to the images, or to the ranges that they gave. */
static const struct calibration {
    const char *name;
    int images;                        /* 0: as many as --calibration says */
    bool each_class;                   /* a row for each class, with the first images of it alone */
    bool harmless;                     /* no line of the summary */
    double pixel_offset, pixel_factor; /* pixel -> offset + factor * pixel; a factor of 0 is 1, here and below */
    float input_factor;                /* the network is shown x * factor */
    float hidden_factor;               /* of the ranges of hidden layers */
} calibrations[] = {
    {.name = "representative", .harmless = true},
    {.name = "representative", .images = 512, .harmless = true},
    {.name = "representative", .images = 64, .harmless = true},
    {.name = "representative", .images = 8, .harmless = true},
    {.name = "representative", .images = 1},
    {.name = "only class %d", .each_class = true},
    {.name = "inverted images", .pixel_offset = 255, .pixel_factor = -1},
    {.name = "bytes 0 to 255, not divided by 255", .input_factor = 255},
    {.name = "images dimmed to 6/20", .pixel_offset = 0.5, .pixel_factor = 6.0 / 20},
    {.name = "[0, 6], run on [0, 20]: hidden ranges x 6/20", .hidden_factor = (float)(6.0 / 20)},
};
enum { CALIBRATIONS = sizeof calibrations / sizeof calibrations[0] };

static double or_1(double factor) { return factor != 0 ? factor : 1; }

/* The first *n images of a class; *n becomes how many there are. */
static uint8_t *images_of_class(const struct split *train, int label, int *n, struct error *err) {
    size_t pixels = (size_t)train->rows * (size_t)train->cols, found = 0;
    uint8_t *images = aligned_array((size_t)*n, pixels, err);
    for (size_t i = 0; images && i < train->count && found < (size_t)*n; i++)
        if (train->labels[i] == label) memcpy(images + found++ * pixels, train->images + i * pixels, pixels);
    *n = (int)found;
    return images;
}

/* To show a network x * factor is to show x to one whose first weights are times the factor. */
static bool calibrate_on(struct variants *v, const struct calibration *c, int label, int *n, struct range *ranges) {
    const struct split *train = &v->study->data.train;
    struct error *err = &v->study->err;
    size_t pixels = (size_t)train->rows * (size_t)train->cols;
    float shown = (float)or_1((double)c->input_factor);
    struct mlp mlp = {0};
    uint8_t *images = c->each_class ? images_of_class(train, label, n, err) : calibration_images(train, *n, err);
    bool ok = images && mlp_copy(&v->base.fp32, &mlp, err);
    for (size_t i = 0; ok && i < (size_t)*n * pixels; i++)
        images[i] = (uint8_t)(c->pixel_offset + or_1(c->pixel_factor) * images[i]);
    for (size_t i = 0; ok && i < pixels * (size_t)mlp.layer[0].out; i++) mlp.layer[0].weight[i] *= shown;
    ok = ok && ranges_over(&mlp, images, *n, ranges, err);
    ranges[0].hi *= shown; /* the lowest pixel is 0 */
    for (int l = 1; l < v->base.fp32.shape.layers; l++) ranges[l].hi *= (float)or_1((double)c->hidden_factor);
    mlp_free(&mlp);
    free(images);
    return ok;
}

/* A row of both tables. */
static const struct measurement *run_calibration(struct variants *v, struct table *t, const struct calibration *c,
                                                 int label, const char *name) {
    int n = c->images ? c->images : v->calibration;
    double most = 0;
    struct range ranges[MLP_MAX_LAYERS + 1] = {{0}};
    struct model model;
    if (!calibrate_on(v, c, label, &n, ranges) ||
        !int8_network(&v->base.fp32, ranges, true, false, &model, &v->study->err))
        return NULL;
    const struct measurement *m = run_variant(v, &model, &faults[0], FAULTS_ALL_LAYERS, v->base.logits);
    if (m) {
        table_row(t, "%s | %d", name, n);
        for (int l = 0; l <= model.shape.layers; l++) {
            struct qparams a = model.qmlp.activation[l];
            table_row(t, "%.3f | %.3f", (double)dequantize(a.qmax, a), m->saturated_percent[l]);
            most = fmax(most, m->saturated_percent[l]);
        }
        add_network_cells(v, t, m, &v->base.evaluation);
        table_row(v->brief, "%s | %d | %.3f | %.2f | %.2f | %zu", name, n, most, m->logit_sqnr_db,
                  accuracy_percent(&m->evaluation),
                  compare(&v->base.evaluation, &m->evaluation, v->study->data.test.labels).changed);
    }
    model_free(&model);
    return m;
}

static bool fill_calibration(struct variants *v, struct table *t) {
    const struct split *train = &v->study->data.train;
    int classes = v->study->data.classes < SHOWN_CLASSES ? v->study->data.classes : SHOWN_CLASSES;
    char name[64];
    table_add_columns(t, "input_highest input_saturated_percent");
    for (int l = 1; l <= v->base.fp32.shape.layers; l++)
        table_add_columns(t, "fc%d_highest fc%d_saturated_percent", l, l);
    table_add_columns(t, NETWORK_COLUMNS);
    for (const struct calibration *c = calibrations; c < calibrations + CALIBRATIONS; c++) {
        const struct measurement *worst = NULL, *m;
        char worst_name[64] = "1 image";
        if (c->images == v->calibration || (size_t)c->images > train->count) continue;
        for (int label = 0; label < (c->each_class ? classes : 1); label++) {
            if (c->each_class && !memchr(train->labels, label, train->count)) continue;
            if (c->each_class) snprintf(name, sizeof name, "only class %d", label);
            else snprintf(name, sizeof name, "%s", c->name);
            if (!(m = run_calibration(v, t, c, label, name))) return false;
            if (worst && !(m->logit_sqnr_db < worst->logit_sqnr_db)) continue;
            worst = m;
            if (c->images != 1) snprintf(worst_name, sizeof worst_name, "%s", name);
        }
        if (!worst || c->harmless) continue;
        table_row(v->summary, "calibration | %s | %d images of all kinds", worst_name, v->calibration);
        summarise(v, v->healthy, worst, v->healthy);
    }
    return true;
}

const struct part pitfall_calibration = {
    "pitfalls-calibration",
    "Pitfall: calibration that does not look like production",
    "calibration images",
    fill_calibration,
    {"See: where a range seen is too narrow, codes saturate (saturated_percent); where it is too wide (highest beyond "
     "that of the first row), few codes are left for what really comes. The repair is the first row: images that look "
     "like production. Accuracy alone hardly tells, since the highest logit often stays the highest: read it beside "
     "logit_sqnr_db. pitfalls-calibration-brief has the essential columns.",
     "highest: the largest real value that the codes of a tensor hold; input: the pixels, fcN: the output of that "
     "layer.",
     "representative: evenly spaced training images. only class N: the first images of that class. dimmed: it is then "
     "production's pixels that saturate, which keeps all that follows in its range. hidden ranges x 6/20: what an "
     "observer that saw [0, 6] knows of activations in [0, 20]."}};

const struct part pitfall_calibration_brief = {
    "pitfalls-calibration-brief",
    "Calibration that does not look like production, in short",
    "calibration images most_saturated_percent:saturated_% logit_sqnr_db:logit_dB accuracy_percent:int8_% changed",
    NULL,
    {"See: accuracy forgives what the SQNR of the logits shows. saturated: of the tensor that the clamp cuts most."}};

/* ---- symmetric activations -------------------------------------------------------------------------------------- */

static const int bit_widths[] = {8, 6, 4, 3, 2};
enum { BIT_WIDTHS = sizeof bit_widths / sizeof bit_widths[0] };

/* eq. 3 or 4 with codes of so many bits, the symmetric ones shifted so that they are unsigned. */
static struct qparams hidden_qparams(struct range range, int bits, bool symmetric) {
    if (!symmetric) return qparams_asymmetric(range.lo, range.hi, 0, (1 << bits) - 1);
    int32_t middle = 1 << (bits - 1);
    struct qparams p = qparams_symmetric(fmaxf(fabsf(range.lo), fabsf(range.hi)), middle - 1);
    return (struct qparams){p.scale, middle, 1, 2 * middle - 1};
}

/* Only what follows a ReLU changes: pixels and logits keep their 8 bits. */
static bool hidden_network(const struct variants *v, int bits, bool symmetric, struct model *out) {
    if (!int8_network(&v->base.fp32, v->base.ranges, true, false, out, &v->study->err)) return false;
    for (int l = 1; l < out->shape.layers; l++)
        out->qmlp.activation[l] = hidden_qparams(v->base.ranges[l], bits, symmetric);
    return requantize_network(&v->base.fp32, out, &v->study->err);
}

static const struct measurement *run_hidden(struct variants *v, struct table *t, int bits, bool symmetric) {
    struct similarity engine[MLP_MAX_LAYERS + 1] = {{0}}, rounding[MLP_MAX_LAYERS + 1] = {{0}};
    const struct split *test = &v->study->data.test;
    struct model fp32 = {.kind = MODEL_FP32, .shape = v->base.fp32.shape, .mlp = v->base.fp32};
    const char *name = symmetric ? "symmetric" : "asymmetric";
    struct model model;
    if (!hidden_network(v, bits, symmetric, &model)) return NULL;
    const struct measurement *m = compare_outputs(&fp32, &model, test->images, test->count, engine, rounding, NULL,
                                                  &v->study->err)
        ? run_variant(v, &model, &faults[0], FAULTS_ALL_LAYERS, v->base.logits)
        : NULL;
    for (int l = 1; m && l < model.shape.layers; l++) {
        struct qparams a = model.qmlp.activation[l];
        int codes = 1 << bits, used = histogram_used(&m->histogram[l]);
        table_row(t, "%d | %s | fc%d | %.6f | %d | %d | %d | %.1f | %.2f | %.3f | %.2f | %.2f | " NO_NETWORK, bits,
                  name, l, (double)a.scale, a.zero_point, codes, codes - used, 100.0 * (codes - used) / codes,
                  log2(used), histogram_entropy_bits(&m->histogram[l]), similarity_sqnr_db(&rounding[l]),
                  similarity_sqnr_db(&engine[l]));
    }
    if (m) {
        table_row(t, "%d | %s | all | | | | | | | | | ", bits, name);
        add_network_cells(v, t, m, &v->base.evaluation);
    }
    model_free(&model);
    return m;
}

static bool fill_symmetric(struct variants *v, struct table *t) {
    if (v->base.fp32.shape.layers == 1)
        table_note(t, "This network has no hidden layer, so there is no ReLU and nothing to lose.");
    for (int i = 0; i < BIT_WIDTHS; i++) {
        const struct measurement *asymmetric = run_hidden(v, t, bit_widths[i], false);
        const struct measurement *symmetric = asymmetric ? run_hidden(v, t, bit_widths[i], true) : NULL;
        if (!symmetric) return false;
        table_row(v->summary, "symmetric | symmetric %d-bit activations after ReLU | asymmetric %d-bit activations",
                  bit_widths[i], bit_widths[i]);
        summarise(v, v->healthy, symmetric, asymmetric);
    }
    return true;
}

const struct part pitfall_symmetric = {
    "pitfalls-symmetric",
    "Pitfall: symmetric activations after ReLU",
    "bits activations layer scale zero_point codes never_used never_used_percent effective_bits entropy_bits "
    "rounding_sqnr_db output_sqnr_db " NETWORK_COLUMNS,
    fill_symmetric,
    {"See: half of the codes stand for negative values that never come. That is one bit of effective_bits, or 6 dB of "
     "rounding noise: the fewer bits there are, the more that one counts. Symmetric codes of n bits give the very "
     "network of asymmetric codes of n - 1.",
     "Only the outputs of hidden layers change. never_used: codes that no test image gives. effective_bits: log2 of "
     "the codes that are used. entropy_bits: information in a code; ReLU's zeros keep it low, so it falls by less than "
     "the bit. rounding_sqnr_db: fp32 activations rounded to these codes, nothing else; output_sqnr_db: the integer "
     "engine's codes, with the error of all layers up to there. change to p: against fp32."}};
