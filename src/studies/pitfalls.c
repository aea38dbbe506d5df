/* mnistq pitfalls: each failure that the lesson warns of, provoked, measured and repaired. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "studies/pitfalls_outlier.h"

/* ---- calibration ------------------------------------------------------------------------------------------------ */

enum { SHOWN_CLASSES = 10 };

/* What activation ranges are calibrated on, and what is done to the images, or to the ranges that they gave. */
static const struct calibration {
    const char *name;
    int images; /* 0: as many as --calibration says */
    bool each_class,
        repair; /* once for each class, with the first images of it alone; nothing that the summary warns of */
    double pixel_offset, pixel_factor; /* pixel -> offset + factor * pixel; a factor of 0 is 1, here and below */
    float input_factor;                /* the network is shown x * factor */
    float hidden_factor;               /* of the ranges of hidden layers */
} calibrations[] = {
    {.name = "representative", .repair = true},
    {.name = "representative", .images = 512, .repair = true},
    {.name = "representative", .images = 64, .repair = true},
    {.name = "representative", .images = 8, .repair = true},
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
    bool ok = images && mlp_copy(v->fp32, &mlp, err);
    for (size_t i = 0; ok && i < (size_t)*n * pixels; i++)
        images[i] = (uint8_t)(c->pixel_offset + or_1(c->pixel_factor) * images[i]);
    for (size_t i = 0; ok && i < pixels * (size_t)mlp.layer[0].out; i++) mlp.layer[0].weight[i] *= shown;
    ok = ok && ranges_over(&mlp, images, *n, ranges, err);
    ranges[0].hi *= shown; /* the lowest pixel is 0 */
    for (int l = 1; l < v->fp32->shape.layers; l++) ranges[l].hi *= (float)or_1((double)c->hidden_factor);
    mlp_free(&mlp);
    free(images);
    return ok;
}

/* A row of both tables. */
static const struct measurement *run_calibration(struct variants *v, struct table *t, struct table *brief,
                                                 const struct calibration *c, int label, const char *name) {
    int n = c->images ? c->images : v->calibration;
    double most = 0;
    struct range ranges[MLP_MAX_LAYERS + 1] = {{0}};
    struct model model;
    if (!calibrate_on(v, c, label, &n, ranges) || !int8_network(v->fp32, ranges, true, false, &model, &v->study->err))
        return NULL;
    const struct measurement *m = run_variant(v, &model, &faults[0], FAULTS_ALL_LAYERS, v->logits);
    if (m) {
        table_row(t, "%s | %d", name, n);
        for (int l = 0; l <= model.shape.layers; l++) {
            struct qparams a = model.qmlp.activation[l];
            table_row(t, "%.3f | %.3f", (double)dequantize(a.qmax, a), m->saturated_percent[l]);
            most = fmax(most, m->saturated_percent[l]);
        }
        add_network_cells(v, t, m, &v->evaluation);
        table_row(brief, "%s | %d | %.3f | %.2f | %.2f | %zu", name, n, most, m->logit_sqnr_db,
                  accuracy_percent(&m->evaluation),
                  compare(&v->evaluation, &m->evaluation, v->study->data.test.labels).changed);
    }
    model_free(&model);
    return m;
}

static bool pitfall_calibration(struct variants *v, struct table *t, struct table *brief,
                                const struct measurement *healthy) {
    const struct split *train = &v->study->data.train;
    int classes = v->study->data.classes < SHOWN_CLASSES ? v->study->data.classes : SHOWN_CLASSES;
    char repaired_by[64];
    snprintf(repaired_by, sizeof repaired_by, "%d images of all kinds", v->calibration);
    table_add_columns(t, "input_highest input_saturated_percent");
    for (int l = 1; l <= v->fp32->shape.layers; l++) table_add_columns(t, "fc%d_highest fc%d_saturated_percent", l, l);
    table_add_columns(t, NETWORK_COLUMNS);
    for (const struct calibration *c = calibrations; c < calibrations + CALIBRATIONS; c++) {
        const struct measurement *worst = NULL, *m;
        char name[64], worst_name[64] = "";
        if (c->images == v->calibration || (size_t)c->images > train->count) continue;
        for (int label = 0; label < (c->each_class ? classes : 1); label++) {
            if (c->each_class && !memchr(train->labels, label, train->count)) continue;
            if (c->each_class) snprintf(name, sizeof name, "only class %d", label);
            else snprintf(name, sizeof name, "%s", c->name);
            if (!(m = run_calibration(v, t, brief, c, label, name))) return false;
            if (worst && !(m->logit_sqnr_db < worst->logit_sqnr_db)) continue;
            worst = m;
            snprintf(worst_name, sizeof worst_name, "%s", c->images == 1 ? "1 image" : name);
        }
        if (worst && !c->repair) summarise(v, "calibration", worst_name, repaired_by, healthy, worst, healthy);
    }
    return true;
}

/* ---- accumulators ----------------------------------------------------------------------------------------------- */

enum { WIDEST = 32, STATISTICS_BATCH = 256 };

/* What the right sums of one layer would do to accumulators of so many bits, over all test images and outputs. */
struct sum_statistics {
    int32_t largest; /* |partial sum| */
    size_t sums, overflowing[WIDEST + 1];
    double k[WIDEST + 1], products[WIDEST + 1]; /* sums over those that overflow */
};

static bool is_width(int bits) {
    for (const struct fault *f = faults; f->name; f++)
        if (f->bits == bits && bits) return true;
    return false;
}

/* x [count][in]. All numbers are whole: the sums do not depend on how the threads share the images. */
static void look_at_layer(const struct qlinear *layer, const uint8_t *x, int count, struct sum_statistics *s) {
    int32_t most = s->largest;
    size_t *overflowing = s->overflowing;
    double *at = s->k, *terms = s->products;
    s->sums += (size_t)count * (size_t)layer->out;
#pragma omp parallel for schedule(static) reduction(max : most)                                                        \
    reduction(+ : overflowing[ : WIDEST + 1], at[ : WIDEST + 1], terms[ : WIDEST + 1])
    for (int i = 0; i < count; i++)
        for (int c = 0; c < layer->out; c++) {
            const uint8_t *row = x + (size_t)i * (size_t)layer->in;
            int32_t largest = largest_partial_sum(layer, c, row);
            most = largest > most ? largest : most;
            for (int bits = 1, products; bits <= WIDEST; bits++) {
                if (largest >> (bits - 1) == 0 || !is_width(bits)) continue;
                int k = first_overflow(layer, c, row, bits, &products);
                if (k == layer->in) continue;
                overflowing[bits]++;
                at[bits] += k;
                terms[bits] += products;
            }
        }
    s->largest = most;
}

static bool look_at_sums(const struct model *model, const struct split *test, struct sum_statistics *layers,
                         struct error *err) {
    struct model_run run;
    if (!model_run_create(model, STATISTICS_BATCH, 1, RUN_REFERENCE, &run, err)) return false;
    run.fault = &faults[0];
    for (size_t first = 0; first < test->count; first += STATISTICS_BATCH) {
        int n = test->count - first < STATISTICS_BATCH ? (int)(test->count - first) : STATISTICS_BATCH;
        model_run(&run, test->images + first * (size_t)model->shape.widths[0], n, NULL);
        for (int l = 0; l < model->shape.layers; l++) look_at_layer(&model->qmlp.layer[l], run.codes[l], n, &layers[l]);
    }
    model_run_free(&run);
    return true;
}

static int classes_answered(const struct evaluation *e) {
    bool answered[256] = {false};
    int classes = 0;
    for (size_t i = 0; i < e->count; i++) answered[e->predicted[i]] = true;
    for (int j = 0; j < 256; j++) classes += answered[j];
    return classes;
}

static void add_accumulator_row(const struct variants *v, struct table *t, const char *name, int layer, int bits,
                                const struct sum_statistics *layers, const struct measurement *m,
                                const struct measurement *healthy) {
    if (layer == FAULTS_ALL_LAYERS) {
        table_row(t, "%s | all | | | | | ", name);
    } else {
        const struct sum_statistics *s = &layers[layer];
        int needed = 1; /* bits of a signed number as large as that */
        while (s->largest >> (needed - 1)) needed++;
        double overflowing = (double)s->overflowing[bits]; /* where it is 0, no mean is a number */
        table_row(t, "%s | fc%d | %d | %d | %.3f | %.1f | %.1f", name, layer + 1, s->largest, needed,
                  100.0 * overflowing / (double)s->sums, s->k[bits] / overflowing, s->products[bits] / overflowing);
    }
    table_row(t, "%d", classes_answered(&m->evaluation));
    add_network_cells(v, t, m, &healthy->evaluation);
}

static bool pitfall_accumulator(struct variants *v, struct table *t, const struct model *model,
                                const struct measurement *healthy) {
    struct sum_statistics layers[MLP_MAX_LAYERS] = {{0}};
    int count = model->shape.layers;
    if (!look_at_sums(model, &v->study->data.test, layers, &v->study->err)) return false;
    for (int l = 0; l < count; l++) add_accumulator_row(v, t, "int32", l, WIDEST, layers, healthy, healthy);
    for (const struct fault *f = faults; f->name; f++)
        for (int i = 0; f->kind == FAULT_ACCUMULATOR && i <= count; i++) {
            int layer = i < count ? i : FAULTS_ALL_LAYERS;
            const struct measurement *m = run_variant(v, model, f, layer, v->logits);
            if (!m) return false;
            add_accumulator_row(v, t, f->name, layer, f->bits, layers, m, healthy);
            if (i == count) summarise(v, "accumulator", f->what, "sums in int32", healthy, m, healthy);
        }
    return true;
}

/* ---- symmetric activations -------------------------------------------------------------------------------------- */

static const int bit_widths[] = {8, 6, 4, 3, 2};
enum { BIT_WIDTHS = sizeof bit_widths / sizeof bit_widths[0], HIDDEN_BATCH = 256 };

/* eq. 3 or 4 with codes of so many bits, the symmetric ones shifted so that they are unsigned. */
static struct qparams hidden_qparams(struct range range, int bits, bool symmetric) {
    if (!symmetric) return qparams_asymmetric(range.lo, range.hi, 0, (1 << bits) - 1);
    int32_t middle = 1 << (bits - 1);
    struct qparams p = qparams_symmetric(fmaxf(fabsf(range.lo), fabsf(range.hi)), middle - 1);
    return (struct qparams){p.scale, middle, 1, 2 * middle - 1};
}

/* Only what follows a ReLU changes: pixels and logits keep their 8 bits. */
static bool hidden_network(const struct variants *v, int bits, bool symmetric, struct model *out) {
    if (!int8_network(v->fp32, v->ranges, true, false, out, &v->study->err)) return false;
    for (int l = 1; l < out->shape.layers; l++) out->qmlp.activation[l] = hidden_qparams(v->ranges[l], bits, symmetric);
    if (requantize_network(v->fp32, &out->qmlp, &v->study->err)) return true;
    model_free(out);
    return false;
}

/* Outputs of hidden layers against fp32's: as the integer engine has them, and fp32's own, rounded to the same codes.
 */
static bool compare_hidden(const struct variants *v, const struct model *model, struct similarity *engine,
                           struct similarity *rounding) {
    const struct split *test = &v->study->data.test;
    const struct mlp_shape *shape = &model->shape;
    struct model fp32 = {.kind = MODEL_FP32, .shape = *shape, .mlp = *v->fp32};
    struct model_run a = {0}, b = {0};
    bool ok = model_run_create(&fp32, HIDDEN_BATCH, 1, RUN_LAYERS, &a, &v->study->err) &&
        model_run_create(model, HIDDEN_BATCH, 1, RUN_LAYERS, &b, &v->study->err);
    b.fault = &faults[0];
    for (size_t first = 0; ok && first < test->count; first += HIDDEN_BATCH) {
        int n = test->count - first < HIDDEN_BATCH ? (int)(test->count - first) : HIDDEN_BATCH;
        model_run(&a, test->images + first * (size_t)shape->widths[0], n, NULL);
        model_run(&b, test->images + first * (size_t)shape->widths[0], n, NULL);
        for (int l = 1; l < shape->layers; l++) {
            size_t count = (size_t)n * (size_t)shape->widths[l];
            similarity_add(&engine[l], a.values[l], b.values[l], count);
            for (size_t i = 0; i < count; i++)
                b.values[l][i] = fake_quantize(a.values[l][i], model->qmlp.activation[l]);
            similarity_add(&rounding[l], a.values[l], b.values[l], count);
        }
    }
    model_run_free(&a);
    model_run_free(&b);
    return ok;
}

static const struct measurement *run_hidden(struct variants *v, struct table *t, int bits, bool symmetric) {
    struct similarity engine[MLP_MAX_LAYERS] = {{0}}, rounding[MLP_MAX_LAYERS] = {{0}};
    const char *name = symmetric ? "symmetric" : "asymmetric";
    struct model model;
    if (!hidden_network(v, bits, symmetric, &model)) return NULL;
    const struct measurement *m = compare_hidden(v, &model, engine, rounding)
        ? run_variant(v, &model, &faults[0], FAULTS_ALL_LAYERS, v->logits)
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
        add_network_cells(v, t, m, &v->evaluation);
    }
    model_free(&model);
    return m;
}

static bool pitfall_symmetric(struct variants *v, struct table *t, const struct measurement *healthy) {
    if (v->fp32->shape.layers == 1)
        table_note(t, "This network has no hidden layer, so there is no ReLU and nothing to lose.");
    for (int i = 0; i < BIT_WIDTHS; i++) {
        const struct measurement *asymmetric = run_hidden(v, t, bit_widths[i], false);
        const struct measurement *symmetric = asymmetric ? run_hidden(v, t, bit_widths[i], true) : NULL;
        char provoked_by[64], repaired_by[64];
        if (!symmetric) return false;
        snprintf(provoked_by, sizeof provoked_by, "symmetric %d-bit activations after ReLU", bit_widths[i]);
        snprintf(repaired_by, sizeof repaired_by, "asymmetric %d-bit activations", bit_widths[i]);
        summarise(v, "symmetric", provoked_by, repaired_by, healthy, symmetric, asymmetric);
    }
    return true;
}

/* ---- the quieter ones ------------------------------------------------------------------------------------------- */

enum { ASYMMETRIC, SYMMETRIC, POWERS_OF_TWO, NETWORKS };
static const char *const network_names[NETWORKS] = {"asymmetric", "symmetric", "powers of two"};

static float power_of_two_above(float scale) { return (float)exp2(ceil(log2((double)scale))); }

/* Scales as on a processor that can only shift: exact ties, of which other networks have none, are common here. */
static bool use_powers_of_two(const struct variants *v, struct qmlp *q) {
    for (int l = 0; l <= q->shape.layers; l++) {
        struct qparams *a = &q->activation[l];
        a->scale = power_of_two_above(a->scale);
        a->zero_point = quantize(-fminf(v->ranges[l].lo, 0), (struct qparams){a->scale, 0, a->qmin, a->qmax});
    }
    for (int l = 0; l < q->shape.layers; l++)
        for (int c = 0; c < q->layer[l].out; c++) q->weight_scale[l][c] = power_of_two_above(q->weight_scale[l][c]);
    return requantize_network(v->fp32, q, &v->study->err);
}

/* Accuracy would not do: a few lucky answers, and a fault harms least where it does most. */
static bool harms_more(const struct measurement *a, const struct measurement *a_healthy, const struct measurement *b,
                       const struct measurement *b_healthy) {
    double a_lost = a_healthy->logit_sqnr_db - a->logit_sqnr_db, b_lost = b_healthy->logit_sqnr_db - b->logit_sqnr_db;
    return fabs(a_lost - b_lost) > 0.005 ? a_lost > b_lost : a->different_percent > b->different_percent;
}

/* Each fault in all networks; the summary gets the network that it harms most. */
static bool run_quiet(struct variants *v, struct table *t, const struct model *networks) {
    const struct measurement *healthy[NETWORKS] = {0}, *m[NETWORKS];
    int rows = 0, kept = 0; /* kept: accuracy to 0.1 points */
    for (const struct fault *f = faults; f->name; f++) {
        int where = 0;
        if (f->kind != FAULT_NONE && f->kind != FAULT_QUIET) continue;
        for (int i = 0; i < NETWORKS; i++) {
            if (!(m[i] = run_variant(v, &networks[i], f, FAULTS_ALL_LAYERS, v->logits))) return false;
            if (f->kind == FAULT_NONE) healthy[i] = m[i];
            table_row(t, "%s | %s | %.3f | %d", f->name, network_names[i], m[i]->different_percent,
                      m[i]->largest_difference);
            add_network_cells(v, t, m[i], &healthy[i]->evaluation);
            if (harms_more(m[i], healthy[i], m[where], healthy[where])) where = i;
            rows += f->kind == FAULT_QUIET;
            kept += f->kind == FAULT_QUIET &&
                fabs(accuracy_percent(&m[i]->evaluation) - accuracy_percent(&healthy[i]->evaluation)) < 0.1;
        }
        char name[64];
        snprintf(name, sizeof name, "%s, %s network", f->name, network_names[where]);
        if (f->kind == FAULT_QUIET)
            summarise(v, "quiet", name, "the same without it", healthy[where], m[where], healthy[where]);
    }
    table_note(t,
               "See: %d of these %d broken runs keep the accuracy to less than 0.1 points, so that only a comparison "
               "of codes with a reference shows them; and many faults need the right network to show at all: where "
               "z_x = 0 nobody misses the zero point.",
               kept, rows);
    return true;
}

static bool pitfall_quiet(struct variants *v, struct table *t) {
    struct model networks[NETWORKS] = {{0}};
    bool ok = true;
    for (int i = 0; ok && i < NETWORKS; i++)
        ok = int8_network(v->fp32, v->ranges, true, i == SYMMETRIC, &networks[i], &v->study->err) &&
            (i != POWERS_OF_TWO || use_powers_of_two(v, &networks[i].qmlp));
    ok = ok && run_quiet(v, t, networks);
    for (int i = 0; i < NETWORKS; i++) qmlp_free(&networks[i].qmlp);
    return ok;
}

/* ---- the tables ---------------------------------------------------------------------------------------------------
 */

enum { SUMMARY, OUTLIER, OUTLIER_SEEDS, CALIBRATION, CALIBRATION_BRIEF, ACCUMULATOR, SYMMETRIC_RANGE, QUIET, TABLES };

static const struct part {
    const char *name, *title, *columns, *notes[4];
} parts[TABLES] = {
    [SUMMARY] =
        {"pitfalls",
         "The pitfalls: before, provoked, repaired",
         "pitfall provoked_by repaired_by accuracy_before accuracy_provoked accuracy_repaired "
         "logit_sqnr_db_before logit_sqnr_db_provoked logit_sqnr_db_repaired",
         {"See: what a mistake costs, and that the accuracy often hides it: an SQNR of 0 dB is as much noise as "
          "signal.",
          "outlier: clipping that ends above the fp32 network with the same outlier has taken the outlier out "
          "of the network. quiet: each on that of three networks where it costs the logits most dB; on another "
          "it may leave no trace."}},
    [OUTLIER] = {"pitfalls-outlier", "Pitfall: an outlier weight", outlier_columns, {0}},
    [OUTLIER_SEEDS] = {"pitfalls-outlier-seeds",
                       "An outlier weight, over several networks",
                       outlier_seeds_columns,
                       {0}},
    [CALIBRATION] =
        {"pitfalls-calibration",
         "Pitfall: calibration that does not look like production",
         "calibration images",
         {"See: where a range seen is too narrow, codes saturate (saturated_percent); where it is too wide (highest "
          "beyond that of the first row), few codes are left for what really comes. The repair is the first row: "
          "images that look like production. Accuracy alone hardly tells, since the highest logit often stays the "
          "highest: read it beside logit_sqnr_db. pitfalls-calibration-brief has the essential columns.",
          "highest: the largest real value that the codes of that tensor hold; input: the pixels, fcN: the output of "
          "that layer, after ReLU, on the integer engine. saturated_percent: share of its codes over the test images "
          "that the clamp cut; ReLU's zeros are not counted. change to p: against fp32.",
          "representative: evenly spaced training images. only class N: the first images of that class, at most as "
          "many. images dimmed to 6/20: the calibration images' pixels times 6/20; it is then production's pixels that "
          "saturate, which keeps all that follows in its range. hidden ranges x 6/20: every hidden layer's range is "
          "cut to what an observer that saw [0, 6] knows of activations in [0, 20]; pixels and logits keep theirs."}},
    [CALIBRATION_BRIEF] = {"pitfalls-calibration-brief",
                           "Calibration that does not look like production, in short",
                           "calibration images most_saturated_percent:saturated_% logit_sqnr_db:logit_dB "
                           "accuracy_percent:int8_% changed",
                           {"See: accuracy forgives what the SQNR of the logits shows. saturated: of the tensor that "
                            "the clamp cuts most."}},
    [ACCUMULATOR] =
        {"pitfalls-accumulator",
         "Pitfall: accumulators that are too narrow",
         "accumulator layer largest_sum bits_needed overflowing_percent first_overflow_k first_overflow_products "
         "classes_answered " NETWORK_COLUMNS,
         {"See: in int8 the first products that are not 0 are already too much, since a product of two codes may need "
          "16 bits; int16 holds more of them (first_overflow_products), and int32 all, with bits to spare. A wrapped "
          "sum lands anywhere, a saturated one stops at the end it ran into: compare the two in int16. A sum in int8 "
          "is next to nothing beside the bias, which stays in int32: where classes_answered is 1, a layer gave its "
          "bias to every image, and all got the same answer.",
          "fcN: only this layer has the narrow accumulator; all: every layer. largest_sum: the largest |partial sum| "
          "of (x_q - z_x) * w_q on the test images, k = 0 on; bits_needed: to hold it with its sign. The bias is added "
          "in int32 after.",
          "overflowing_percent: of all sums. first_overflow_k: index of the input at which the sum first leaves the "
          "accumulator, and first_overflow_products: the products that are not 0 up to there; means over the sums that "
          "overflow. classes_answered: how many classes are the answer for any image at all. change to p: against the "
          "same int8 network with int32 accumulators."}},
    [SYMMETRIC_RANGE] =
        {"pitfalls-symmetric",
         "Pitfall: symmetric activations after ReLU",
         "bits activations layer scale zero_point codes never_used never_used_percent effective_bits entropy_bits "
         "rounding_sqnr_db output_sqnr_db " NETWORK_COLUMNS,
         {"See: half of the codes stand for negative values that never come. That is one bit of effective_bits, or 6 "
          "dB of rounding noise: the fewer bits there are, the more that one counts. Symmetric codes of n bits give "
          "the very network of asymmetric codes of n - 1.",
          "Weights are 8-bit per-channel throughout, pixels and logits 8-bit asymmetric; only the outputs of hidden "
          "layers change. never_used: codes that no test image gives. effective_bits: log2 of the codes that are used. "
          "entropy_bits: information in a code, -sum p log2 p; ReLU's zeros keep it low, so it falls by less than the "
          "bit. rounding_sqnr_db: fp32 activations rounded to these codes, nothing else; output_sqnr_db: the integer "
          "engine's codes, with the error of all layers up to there. change to p: against fp32."}},
    [QUIET] = {"pitfalls-quiet",
               "Pitfalls that pass unnoticed",
               "fault network different_percent largest_difference " NETWORK_COLUMNS,
               {"asymmetric: per-channel, as the exercise makes it; its pixels and hidden activations have zero point "
                "0. symmetric: the same with symmetric activations, whose zero point is 128. powers of two: asymmetric "
                "with every scale raised to a power of two, so that requantization meets exact ties; M of any other "
                "network hardly ever gives one.",
                "different_percent: logit codes that are not the unbroken network's; largest_difference: by how many "
                "codes at most; change to p: against the same network unbroken. To be told by: how the codes of one "
                "layer differ whose inputs are right; through several layers the differences add up. `mnistq eval "
                "QMODEL --break NAME --codes FILE` runs any of them and writes the codes."}},
};

/* ---- the command --------------------------------------------------------------------------------------------------
 */

/* The network that everything is tried on: a given model of any kind, its codes read back, or a trained one. */
static bool take_network(struct study *s, const char *path, const struct training_recipe *training, struct mlp *out) {
    struct train_report report;
    struct model model;
    if (!path) return train_model(&s->data, training, out, &report, &s->err);
    if (!model_read(path, &model, NULL, &s->err)) return false;
    provenance_add(&s->provenance, "model", "%s%s", path, model.kind == MODEL_FP32 ? "" : ", read back to fp32");
    bool ok = split_fits(&s->data.test, model.shape.widths[0], model.shape.widths[model.shape.layers], s->source,
                         &s->err) &&
        model_as_mlp(&model, out, &s->err);
    model_free(&model);
    return ok;
}

/* About how many runs there will be, for the progress bar. */
static size_t runs_ahead(const struct mlp *mlp, int seeds) {
    int runs = 1 + OUTLIER_RUNS + (seeds - 1) * OUTLIER_RUNS_A_SEED + CALIBRATIONS - 1 + SHOWN_CLASSES + 2 * BIT_WIDTHS;
    for (const struct fault *f = faults; f->name; f++)
        runs += f->kind == FAULT_ACCUMULATOR        ? mlp->shape.layers + 1
            : f->kind == FAULT_QUIET || f == faults ? NETWORKS
                                                    : 0;
    return (size_t)runs;
}

static bool fill(struct variants *v, struct table *const *t, const struct training_recipe *training, int seeds) {
    struct study *s = v->study;
    struct model model;
    char shape[128];
    const struct measurement *healthy = NULL;
    if (!variants_begin(v) || !int8_network(v->fp32, v->ranges, true, false, &model, &s->err)) return false;
    bool ok = (healthy = run_variant(v, &model, &faults[0], FAULTS_ALL_LAYERS, v->logits)) &&
        pitfall_outlier(v, t[OUTLIER], t[OUTLIER_SEEDS], training, seeds) &&
        pitfall_calibration(v, t[CALIBRATION], t[CALIBRATION_BRIEF], healthy) &&
        pitfall_accumulator(v, t[ACCUMULATOR], &model, healthy) && pitfall_symmetric(v, t[SYMMETRIC_RANGE], healthy) &&
        pitfall_quiet(v, t[QUIET]);
    model_free(&model);
    for (int i = 0; i < TABLES; i++)
        for (int n = 0; n < 4 && parts[i].notes[n]; n++) table_note(t[i], "%s", parts[i].notes[n]);
    for (const struct fault *f = faults; f->name; f++)
        if (f->kind == FAULT_QUIET) table_note(t[QUIET], "%s: %s. To be told by: %s.", f->name, f->what, f->signature);
    mlp_shape_print(&v->fp32->shape, shape, sizeof shape);
    if (ok)
        provenance_add(&s->provenance, "network",
                       "%s, fp32 %.2f%%; int8 per-channel, asymmetric, calibrated on %d images %.2f%%", shape,
                       accuracy_percent(&v->evaluation), v->calibration, accuracy_percent(&healthy->evaluation));
    return ok;
}

int command_pitfalls(int argc, char **argv) {
    struct study s;
    struct training_recipe training = training_defaults();
    struct table *tables[TABLES];
    int calibration = 512, seeds = 5;
    study_init(&s, argv[0], "[MODEL]",
               "Provokes each failure that the lesson warns of, measures it, repairs it, and writes the\n"
               "tables pitfalls and pitfalls-outlier, -calibration, -accumulator, -symmetric, -quiet.\n"
               "Without MODEL, trains a network first.");
    option_int(&s.options, "calibration", &calibration, 1, 1000000, "training images for the ranges of activations");
    option_int(&s.options, "seeds", &seeds, 1, 100,
               "networks for pitfalls-outlier-seeds, trained from --seed on (with MODEL: that one)");
    training_options(&s.options, &training);
    int status = study_parse(&s, argc, argv, 0, 1);
    if (status != OPTIONS_GO_ON) return status;
    const char *path = s.options.file_count ? s.options.files[0] : NULL;
    if (path) seeds = 1;
    else provenance_add(&s.provenance, "seed", "%llu", (unsigned long long)training.seed);
    for (int i = 0; i < TABLES; i++) tables[i] = study_table(&s, parts[i].name, parts[i].title, parts[i].columns);
    struct mlp fp32 = {0};
    struct variants v = {.study = &s, .fp32 = &fp32, .calibration = calibration, .summary = tables[SUMMARY]};
    bool ok = study_begin(&s) && take_network(&s, path, &training, &fp32);
    if (ok) {
        v.total = runs_ahead(&fp32, seeds);
        progress_begin(&v.bar, "pitfalls", "runs");
        ok = fill(&v, tables, &training, seeds);
        progress_end(&v.bar);
    }
    variants_free(&v);
    mlp_free(&fp32);
    return study_end(&s, ok);
}
