/* Pitfalls of the engine: accumulators that are too narrow, and the slips that pass unnoticed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "studies/pitfalls.h"

/* ---- accumulators --------------------------------------------------------------------------------------------- */

enum { WIDTHS = 2, STATISTICS_BATCH = 256 };
static const int narrow_bits[WIDTHS] = {8, 16};

/* What the right sums of one layer would do to narrow accumulators, over all test images and outputs. */
struct sum_statistics {
    int32_t largest; /* |partial sum| */
    size_t sums;
    size_t overflowing[WIDTHS];
    double k[WIDTHS], products[WIDTHS]; /* sums over those that overflow */
};

static void look_at_sum(const struct qlinear *layer, int c, const uint8_t *x, struct sum_statistics *s) {
    int32_t largest = largest_partial_sum(layer, c, x);
    if (largest > s->largest) s->largest = largest;
    s->sums++;
    for (int i = 0; i < WIDTHS; i++) {
        int products, bits = narrow_bits[i], k = layer->in;
        if (largest >> (bits - 1)) k = first_overflow(layer, c, x, bits, &products);
        if (k == layer->in) continue;
        s->overflowing[i]++;
        s->k[i] += k;
        s->products[i] += products;
    }
}

static void merge(const struct sum_statistics *from, struct sum_statistics *to) {
    to->largest = from->largest > to->largest ? from->largest : to->largest;
    to->sums += from->sums;
    for (int i = 0; i < WIDTHS; i++) {
        to->overflowing[i] += from->overflowing[i];
        to->k[i] += from->k[i];
        to->products[i] += from->products[i];
    }
}

/* x [count][in]. All numbers are whole: the sums do not depend on how the threads share the images. */
static void look_at_layer(const struct qlinear *layer, const uint8_t *x, int count, struct sum_statistics *total) {
#pragma omp parallel
    {
        struct sum_statistics s = {0};
#pragma omp for schedule(static)
        for (int i = 0; i < count; i++)
            for (int c = 0; c < layer->out; c++) look_at_sum(layer, c, x + (size_t)i * (size_t)layer->in, &s);
#pragma omp critical
        merge(&s, total);
    }
}

static bool look_at_sums(const struct qmlp *q, const struct split *test, struct sum_statistics *layers,
                         struct error *err) {
    struct model model = {.kind = MODEL_INT8, .shape = q->shape, .qmlp = *q};
    struct model_run run;
    if (!model_run_create(&model, STATISTICS_BATCH, 1, RUN_REFERENCE, &run, err)) return false;
    for (size_t first = 0; first < test->count; first += STATISTICS_BATCH) {
        int n = test->count - first < STATISTICS_BATCH ? (int)(test->count - first) : STATISTICS_BATCH;
        model_run(&run, test->images + first * (size_t)q->shape.widths[0], n, NULL);
        for (int l = 0; l < q->shape.layers; l++) look_at_layer(&q->layer[l], run.codes[l], n, &layers[l]);
    }
    model_run_free(&run);
    return true;
}

/* Of a signed number as large as this. */
static int bits_needed(int32_t largest) {
    int bits = 1;
    while (largest >> (bits - 1)) bits++;
    return bits;
}

/* s: NULL in the rows of all layers together. */
static void add_sum_cells(struct table *t, const struct sum_statistics *s, int bits) {
    int i = bits == narrow_bits[0] ? 0 : 1;
    if (!s) {
        add_empty_cells(t, 5);
        return;
    }
    table_row(t, "%d | %d", s->largest, bits_needed(s->largest));
    if (bits == 32) {
        table_row(t, "%.3f", 0.0);
        add_empty_cells(t, 2);
        return;
    }
    table_row(t, "%.3f | %.1f", 100.0 * (double)s->overflowing[i] / (double)s->sums,
              s->k[i] / (double)s->overflowing[i]); /* empty where none does */
    table_row(t, "%.1f", s->products[i] / (double)s->overflowing[i]);
}

static int classes_answered(const struct evaluation *e) {
    bool answered[256] = {false};
    int classes = 0;
    for (size_t i = 0; i < e->count; i++) answered[e->predicted[i]] = true;
    for (int j = 0; j < 256; j++) classes += answered[j];
    return classes;
}

static void add_accumulator_row(const struct pitfalls *p, struct table *t, const char *name, int layer, int bits,
                                const struct sum_statistics *s, const struct measurement *m) {
    table_row(t, "%s", name);
    if (layer == FAULTS_ALL_LAYERS) table_row(t, "all");
    else table_row(t, "fc%d", layer + 1);
    add_sum_cells(t, s, bits);
    table_row(t, "%d", classes_answered(&m->evaluation));
    add_network_cells(t, m, &p->measured.evaluation, p->data->test.labels);
}

static bool run_accumulator(struct pitfalls *p, struct table *t, const struct fault *fault, int layer,
                            const struct sum_statistics *s, struct error *err) {
    struct trial trial = {&p->healthy, fault, layer, p->fp32};
    struct measurement m;
    if (!measure(&trial, &p->data->test, &m, err)) return false;
    add_accumulator_row(p, t, fault->name, layer, fault->accumulator_bits, s, &m);
    if (layer == FAULTS_ALL_LAYERS)
        summarise(p, "accumulator", fault->what, "sums in int32", &p->measured, &m, &p->measured);
    measurement_free(&m);
    return true;
}

static void add_accumulator_notes(struct table *t) {
    table_note(t,
               "See: in int8 the first products that are not 0 are already too much, since a product of two codes may "
               "need 16 bits; int16 holds more of them (first_overflow_products), and int32 all, with bits to spare. A "
               "wrapped sum lands anywhere, a saturated one stops at the end it ran into: compare the two in int16. A "
               "sum in int8 is next to nothing beside the bias, which stays in int32: where classes_answered is 1, a "
               "layer gave its bias to every image, and all got the same answer.");
    table_note(
        t,
        "fcN: only this layer has the narrow accumulator; all: every layer. largest_sum: the largest |partial "
        "sum| of (x_q - z_x) * w_q on the test images, k = 0 on; bits_needed: to hold it with its sign. The bias "
        "is added in int32 after.");
    table_note(
        t,
        "overflowing_percent: of all sums. first_overflow_k: index of the input at which the sum first leaves the "
        "accumulator, and first_overflow_products: the products that are not 0 up to there; means over the sums "
        "that overflow. classes_answered: how many classes are the answer for any image at all.");
    note_paired(t, "the same int8 network with int32 accumulators");
}

bool pitfall_accumulator(struct pitfalls *p, struct table *t, struct error *err) {
    static const char columns[] = "accumulator layer largest_sum bits_needed overflowing_percent first_overflow_k "
                                  "first_overflow_products classes_answered " NETWORK_COLUMNS;
    struct sum_statistics layers[MLP_MAX_LAYERS] = {{0}};
    int count = p->healthy.shape.layers;
    table_init(t, "Pitfall: accumulators that are too narrow", columns);
    add_accumulator_notes(t);
    bool ok = look_at_sums(&p->healthy, &p->data->test, layers, err);
    for (int l = 0; ok && l < count; l++) add_accumulator_row(p, t, "int32", l, 32, &layers[l], &p->measured);
    for (const struct fault *f = faults; ok && f->name; f++) {
        if (f->kind != FAULT_ACCUMULATOR) continue;
        for (int l = 0; ok && l < count; l++) ok = run_accumulator(p, t, f, l, &layers[l], err);
        ok = ok && run_accumulator(p, t, f, FAULTS_ALL_LAYERS, NULL, err);
    }
    return ok;
}

/* ---- the quieter ones ----------------------------------------------------------------------------------------- */

enum { ASYMMETRIC, SYMMETRIC, POWERS_OF_TWO, NETWORKS };
static const char *const network_names[NETWORKS] = {"asymmetric", "symmetric", "powers of two"};

static float power_of_two_above(float scale) { return (float)exp2(ceil(log2((double)scale))); }

/* Scales as on a processor that can only shift: exact ties, of which other networks have none, are common here. */
static bool use_powers_of_two(const struct pitfalls *p, struct qmlp *q, struct error *err) {
    for (int l = 0; l <= q->shape.layers; l++) {
        struct qparams *a = &q->activation[l];
        a->scale = power_of_two_above(a->scale);
        a->zero_point = quantize(-fminf(p->ranges[l].lo, 0), (struct qparams){a->scale, 0, a->qmin, a->qmax});
    }
    for (int l = 0; l < q->shape.layers; l++)
        for (int c = 0; c < q->layer[l].out; c++) q->weight_scale[l][c] = power_of_two_above(q->weight_scale[l][c]);
    return requantize_network(p->fp32, q, err);
}

/* A network, and how it does when nothing is broken. */
struct network {
    struct qmlp q;
    struct measurement healthy;
};

static void networks_free(struct network *networks) {
    for (int i = 0; i < NETWORKS; i++) {
        qmlp_free(&networks[i].q);
        measurement_free(&networks[i].healthy);
    }
}

static bool networks_create(const struct pitfalls *p, struct network *networks, struct error *err) {
    bool ok = true;
    for (int i = 0; ok && i < NETWORKS; i++) {
        struct trial trial = {&networks[i].q, &faults[0], FAULTS_ALL_LAYERS, p->fp32};
        ok = quantize_with(p->fp32, p->ranges, true, i == SYMMETRIC, &networks[i].q, err) &&
            (i != POWERS_OF_TWO || use_powers_of_two(p, &networks[i].q, err)) &&
            measure(&trial, &p->data->test, &networks[i].healthy, err);
    }
    return ok;
}

/* Rows of the table, and those that an accuracy alone would not show. */
struct quiet_counts {
    int rows, kept; /* kept: accuracy to 0.1 points */
};

static void add_quiet_row(const struct pitfalls *p, struct table *t, const struct fault *fault, int i,
                          const struct network *network, const struct measurement *m) {
    table_row(t, "%s | %s | %.3f | %d", fault->name, network_names[i], m->different_percent, m->largest_difference);
    add_network_cells(t, m, &network->healthy.evaluation, p->data->test.labels);
}

/* Accuracy would not do: a few lucky answers, and a fault harms least where it does most. */
static bool harms_more(const struct measurement *a, const struct measurement *a_healthy, const struct measurement *b,
                       const struct measurement *b_healthy) {
    double a_lost = a_healthy->logit_sqnr_db - a->logit_sqnr_db, b_lost = b_healthy->logit_sqnr_db - b->logit_sqnr_db;
    return fabs(a_lost - b_lost) > 0.005 ? a_lost > b_lost : a->different_percent > b->different_percent;
}

/* One fault in all networks; the summary gets the one that it harms most. */
static bool run_quiet(struct pitfalls *p, struct table *t, const struct fault *fault, const struct network *networks,
                      struct quiet_counts *counts, struct error *err) {
    struct measurement worst = {0};
    int where = 0;
    for (int i = 0; i < NETWORKS; i++) {
        struct measurement m;
        struct trial trial = {&networks[i].q, fault, FAULTS_ALL_LAYERS, p->fp32};
        if (!measure(&trial, &p->data->test, &m, err)) {
            measurement_free(&worst);
            return false;
        }
        add_quiet_row(p, t, fault, i, &networks[i], &m);
        counts->rows++;
        counts->kept += fabs(accuracy_percent(&m.evaluation) - accuracy_percent(&networks[i].healthy.evaluation)) < 0.1;
        if (i == 0 || harms_more(&m, &networks[i].healthy, &worst, &networks[where].healthy)) {
            struct measurement milder = worst;
            worst = m;
            m = milder;
            where = i;
        }
        measurement_free(&m);
    }
    char name[64];
    snprintf(name, sizeof name, "%s, %s network", fault->name, network_names[where]);
    summarise(p, "quiet", name, "the same without it", &networks[where].healthy, &worst, &networks[where].healthy);
    measurement_free(&worst);
    return true;
}

static void add_quiet_notes(struct table *t, const struct quiet_counts *counts) {
    table_note(
        t,
        "See: %d of these %d broken runs keep the accuracy to less than 0.1 points, so that only a comparison of "
        "codes with a reference shows them; and many faults need the right network to show at all: where z_x = 0 "
        "nobody misses the zero point.",
        counts->kept, counts->rows);
    table_note(
        t,
        "asymmetric: per-channel, as the exercise makes it; its pixels and hidden activations have zero point 0. "
        "symmetric: the same with symmetric activations, whose zero point is 128. powers of two: asymmetric with "
        "every scale raised to a power of two, so that requantization meets exact ties; M of any other network "
        "hardly ever gives one.");
    table_note(
        t,
        "different_percent: logit codes that are not the unbroken network's; largest_difference: by how many "
        "codes at most. To be told by: how the codes of one layer differ whose inputs are right; through several "
        "layers the differences add up. `mnistq eval QMODEL --break NAME --codes FILE` runs any of them and "
        "writes the codes.");
    note_paired(t, "the same network unbroken");
    for (const struct fault *f = faults; f->name; f++)
        if (f->kind == FAULT_QUIET) table_note(t, "%s: %s. To be told by: %s.", f->name, f->what, f->signature);
}

bool pitfall_quiet(struct pitfalls *p, struct table *t, struct error *err) {
    static const char columns[] = "fault network different_percent largest_difference " NETWORK_COLUMNS;
    struct network *networks = aligned_array(NETWORKS, sizeof *networks, err);
    table_init(t, "Pitfalls that pass unnoticed", columns);
    struct quiet_counts counts = {0};
    bool ok = networks && networks_create(p, networks, err);
    for (int i = 0; ok && i < NETWORKS; i++) add_quiet_row(p, t, &faults[0], i, &networks[i], &networks[i].healthy);
    for (const struct fault *f = faults; ok && f->name; f++)
        if (f->kind == FAULT_QUIET) ok = run_quiet(p, t, f, networks, &counts, err);
    add_quiet_notes(t, &counts);
    if (networks) networks_free(networks);
    free(networks);
    return ok;
}
