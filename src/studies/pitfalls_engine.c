/* Pitfalls of the engine: accumulators that are too narrow, and the slips that pass unnoticed. */
#include <math.h>
#include <stdio.h>

#include "studies/pitfalls.h"

/* ---- accumulators ----------------------------------------------------------------------------------------------- */

/* What the right sums of one layer would do to a narrow accumulator, over all test images and outputs. */
struct sum_statistics {
    int32_t largest; /* |partial sum| */
    size_t sums, overflowing[FAULTS_MAX];
    double k[FAULTS_MAX], products[FAULTS_MAX]; /* sums over those that overflow */
};

/* x [count][in]. All numbers are whole: the sums do not depend on how the threads share the images. */
static void look_at_layer(const struct qlinear *layer, const uint8_t *x, int count, struct sum_statistics *s) {
    int32_t most = s->largest;
    size_t *overflowing = s->overflowing;
    double *at = s->k, *terms = s->products;
    s->sums += (size_t)count * (size_t)layer->out;
#pragma omp parallel for reduction(max : most)                                                                         \
    reduction(+ : overflowing[ : FAULTS_MAX], at[ : FAULTS_MAX], terms[ : FAULTS_MAX])
    for (int i = 0; i < count; i++)
        for (int c = 0; c < layer->out; c++) {
            const uint8_t *row = x + (size_t)i * (size_t)layer->in;
            int32_t largest = largest_partial_sum(layer, c, row);
            most = largest > most ? largest : most;
            for (int f = 0, products; faults[f].name; f++) {
                if (faults[f].kind != FAULT_ACCUMULATOR || largest >> (faults[f].bits - 1) == 0) continue;
                int k = first_overflow(layer, c, row, faults[f].bits, &products);
                if (k == layer->in) continue;
                overflowing[f]++;
                at[f] += k;
                terms[f] += products;
            }
        }
    s->largest = most;
}

static bool look_at_sums(const struct model *model, const struct split *test, struct sum_statistics *layers,
                         struct error *err) {
    enum { BATCH = 256 };
    struct model_run run;
    if (!model_run_create(model, BATCH, 1, RUN_REFERENCE, &run, err)) return false;
    run.fault = &faults[0];
    for (size_t first = 0; first < test->count; first += BATCH) {
        int n = test->count - first < BATCH ? (int)(test->count - first) : BATCH;
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

/* f: faults[0] where the accumulator is wide enough. */
static void add_accumulator_row(const struct variants *v, struct table *t, const struct fault *f, int layer,
                                const struct sum_statistics *s, const struct measurement *m) {
    const char *name = f == faults ? "int32" : f->name;
    if (layer == FAULTS_ALL_LAYERS) {
        table_row(t, "%s | all | | | | | ", name);
    } else {
        double overflowing = (double)s[layer].overflowing[f - faults]; /* where it is 0, no mean is a number */
        int needed = 1; /* bits of a signed number as large as the largest */
        while (s[layer].largest >> (needed - 1)) needed++;
        table_row(t, "%s | fc%d | %d | %d | %.3f | %.1f | %.1f", name, layer + 1, s[layer].largest, needed,
                  100.0 * overflowing / (double)s[layer].sums, s[layer].k[f - faults] / overflowing,
                  s[layer].products[f - faults] / overflowing);
    }
    table_row(t, "%d", classes_answered(&m->evaluation));
    add_network_cells(v, t, m, &v->healthy->evaluation);
}

static bool fill_accumulator(struct variants *v, struct table *t) {
    struct sum_statistics layers[MLP_MAX_LAYERS] = {{0}};
    int count = v->base.fp32.shape.layers;
    if (!look_at_sums(&v->int8, &v->study->data.test, layers, &v->study->err)) return false;
    for (int l = 0; l < count; l++) add_accumulator_row(v, t, faults, l, layers, v->healthy);
    for (const struct fault *f = faults; f->name; f++)
        for (int i = 0; f->kind == FAULT_ACCUMULATOR && i <= count; i++) {
            int layer = i < count ? i : FAULTS_ALL_LAYERS;
            const struct measurement *m = run_variant(v, &v->int8, f, layer, v->base.logits);
            if (!m) return false;
            add_accumulator_row(v, t, f, layer, layers, m);
            if (i < count) continue;
            table_row(v->summary, "accumulator | %s | sums in int32", f->what);
            summarise(v, v->healthy, m, v->healthy);
        }
    return true;
}

const struct part pitfall_accumulator = {
    "pitfalls-accumulator",
    "Pitfall: accumulators that are too narrow",
    "accumulator layer largest_sum bits_needed overflowing_percent first_overflow_k first_overflow_products "
    "classes_answered " NETWORK_COLUMNS,
    fill_accumulator,
    {"See: in int8 the first products that are not 0 are already too much, since a product of two codes may need 16 "
     "bits; int16 holds more of them (first_overflow_products), and int32 all, with bits to spare. A wrapped sum lands "
     "anywhere, a saturated one stops at the end it ran into: compare the two in int16. A sum in int8 is next to "
     "nothing beside the bias, which stays in int32: where classes_answered is 1, a layer gave its bias to every "
     "image, and all got the same answer.",
     "fcN: only this layer has the narrow accumulator; all: every layer. largest_sum: the largest |partial sum| of "
     "(x_q - z_x) * w_q on the test images, k = 0 on; bits_needed: to hold it with its sign. overflowing_percent: of "
     "all sums. first_overflow_k: index of the input at which the sum first leaves the accumulator, and "
     "first_overflow_products: the products that are not 0 up to there; means over the sums that overflow. "
     "classes_answered: how many classes are the answer for any image at all. change to p: against the same int8 "
     "network with int32 accumulators."}};

/* ---- the quieter ones ------------------------------------------------------------------------------------------- */

enum { ASYMMETRIC, SYMMETRIC, POWERS_OF_TWO, NETWORKS };
static const char *const network_names[NETWORKS] = {"asymmetric", "symmetric", "powers of two"};

static float power_of_two_above(float scale) { return (float)exp2(ceil(log2((double)scale))); }

/* Scales as on a processor that can only shift: exact ties, of which other networks have none, are common here. */
static bool use_powers_of_two(const struct variants *v, struct model *out) {
    struct qmlp *q = &out->qmlp;
    for (int l = 0; l <= q->shape.layers; l++) {
        struct qparams *a = &q->activation[l];
        a->scale = power_of_two_above(a->scale);
        a->zero_point = quantize(-fminf(v->base.ranges[l].lo, 0), (struct qparams){a->scale, 0, a->qmin, a->qmax});
    }
    for (int l = 0; l < q->shape.layers; l++)
        for (int c = 0; c < q->layer[l].out; c++) q->weight_scale[l][c] = power_of_two_above(q->weight_scale[l][c]);
    return requantize_network(&v->base.fp32, out, &v->study->err);
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
            if (!(m[i] = run_variant(v, &networks[i], f, FAULTS_ALL_LAYERS, v->base.logits))) return false;
            if (f->kind == FAULT_NONE) healthy[i] = m[i];
            table_row(t, "%s | %s | %.3f | %d", f->name, network_names[i], m[i]->different_percent,
                      m[i]->largest_difference);
            add_network_cells(v, t, m[i], &healthy[i]->evaluation);
            if (harms_more(m[i], healthy[i], m[where], healthy[where])) where = i;
            rows += f->kind == FAULT_QUIET;
            kept += f->kind == FAULT_QUIET &&
                fabs(accuracy_percent(&m[i]->evaluation) - accuracy_percent(&healthy[i]->evaluation)) < 0.1;
        }
        if (f->kind == FAULT_NONE) continue;
        table_row(v->summary, "quiet | %s, %s network | the same without it", f->name, network_names[where]);
        summarise(v, healthy[where], m[where], healthy[where]);
    }
    table_note(t,
               "See: %d of these %d broken runs keep the accuracy to less than 0.1 points, so that only a comparison "
               "of codes with a reference shows them; and many faults need the right network to show at all: where z_x "
               "= 0 nobody misses the zero point.",
               kept, rows);
    return true;
}

static bool fill_quiet(struct variants *v, struct table *t) {
    struct model networks[NETWORKS] = {{0}};
    bool ok = true;
    for (int i = 0; ok && i < NETWORKS; i++)
        ok = int8_network(&v->base.fp32, v->base.ranges, true, i == SYMMETRIC, &networks[i], &v->study->err) &&
            (i != POWERS_OF_TWO || use_powers_of_two(v, &networks[i]));
    ok = ok && run_quiet(v, t, networks);
    for (int i = 0; i < NETWORKS; i++) qmlp_free(&networks[i].qmlp);
    for (const struct fault *f = faults; f->name; f++)
        if (f->kind == FAULT_QUIET) table_note(t, "%s: %s. To be told by: %s.", f->name, f->what, f->signature);
    return ok;
}

const struct part pitfall_quiet = {
    "pitfalls-quiet",
    "Pitfalls that pass unnoticed",
    "fault network different_percent largest_difference " NETWORK_COLUMNS,
    fill_quiet,
    {"asymmetric: per-channel, as the exercise makes it; its pixels and hidden activations have zero point 0. "
     "symmetric: the same with symmetric activations, whose zero point is 128. powers of two: asymmetric with every "
     "scale raised to a power of two, so that requantization meets exact ties; M of any other network hardly ever "
     "gives one.",
     "different_percent: logit codes that are not the unbroken network's; largest_difference: by how many codes at "
     "most; change to p: against the same network unbroken. To be told by: how the codes of one layer differ whose "
     "inputs are right. `mnistq eval QMODEL --break NAME --codes FILE` runs any of them and writes the codes."}};
