/* Pitfall: a symmetric range for activations that are never negative. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/stats.h"
#include "studies/pitfalls.h"

static const int bit_widths[] = {8, 6, 4, 3, 2};
enum { BIT_WIDTHS = sizeof bit_widths / sizeof bit_widths[0], BATCH = 256 };

/* eq. 3 or 4 with codes of so many bits, the symmetric ones shifted so that they are unsigned. */
static struct qparams hidden_qparams(struct range range, int bits, bool symmetric) {
    if (!symmetric) return qparams_asymmetric(range.lo, range.hi, 0, (1 << bits) - 1);
    int32_t middle = 1 << (bits - 1);
    struct qparams p = qparams_symmetric(fmaxf(fabsf(range.lo), fabsf(range.hi)), middle - 1);
    return (struct qparams){p.scale, middle, 1, 2 * middle - 1};
}

/* Only what follows a ReLU changes: pixels and logits keep their 8 bits. */
static bool build(const struct pitfalls *p, int bits, bool symmetric, struct qmlp *q, struct error *err) {
    if (!quantize_with(p->fp32, p->ranges, true, false, q, err)) return false;
    for (int l = 1; l < q->shape.layers; l++) q->activation[l] = hidden_qparams(p->ranges[l], bits, symmetric);
    if (requantize_network(p->fp32, q, err)) return true;
    qmlp_free(q);
    return false;
}

/* What rounding the fp32 activations of a layer alone costs: no other error in it. */
static bool rounding_sqnr(const struct pitfalls *p, const struct qmlp *q, double *sqnr, struct error *err) {
    double signal[MLP_MAX_LAYERS + 1] = {0}, noise[MLP_MAX_LAYERS + 1] = {0};
    const struct split *test = &p->data->test;
    struct mlp_workspace ws;
    if (!mlp_workspace_create(&q->shape, BATCH, false, &ws, err)) return false;
    for (size_t first = 0; first < test->count; first += BATCH) {
        int n = test->count - first < BATCH ? (int)(test->count - first) : BATCH;
        mlp_load_images(p->fp32, test->images + first * (size_t)q->shape.widths[0], n, &ws);
        mlp_forward(p->fp32, n, &ws);
        for (int l = 1; l < q->shape.layers; l++)
            for (size_t i = 0; i < (size_t)n * (size_t)q->shape.widths[l]; i++) {
                double x = (double)ws.activation[l][i],
                       e = x - (double)fake_quantize(ws.activation[l][i], q->activation[l]);
                signal[l] += x * x;
                noise[l] += e * e;
            }
    }
    mlp_workspace_free(&ws);
    for (int l = 1; l < q->shape.layers; l++) sqnr[l] = decibels(signal[l], noise[l]);
    return true;
}

static void add_name_cells(struct table *t, int bits, bool symmetric) {
    table_row(t, "%d | %s", bits, symmetric ? "symmetric" : "asymmetric");
}

static void add_tensor_row(struct table *t, const struct qmlp *q, int bits, bool symmetric, int l,
                           const struct measurement *m, double rounding) {
    int codes = 1 << bits, used = histogram_used(&m->histogram[l]);
    add_name_cells(t, bits, symmetric);
    table_row(t, "fc%d | %.6f | %d | %d | %d | %.1f | %.2f | %.3f | %.2f | %.2f", l, (double)q->activation[l].scale,
              q->activation[l].zero_point, codes, codes - used, 100.0 * (codes - used) / codes, log2(used),
              histogram_entropy_bits(&m->histogram[l]), rounding, m->sqnr_db[l]);
    add_empty_cells(t, NETWORK_COLUMN_COUNT);
}

static bool add_network(struct pitfalls *p, struct table *t, int bits, bool symmetric, struct measurement *m,
                        struct error *err) {
    struct qmlp q;
    double rounding[MLP_MAX_LAYERS + 1];
    if (!build(p, bits, symmetric, &q, err)) return false;
    struct trial trial = {&q, &faults[0], FAULTS_ALL_LAYERS, p->fp32};
    bool ok = rounding_sqnr(p, &q, rounding, err) && measure(&trial, &p->data->test, m, err);
    for (int l = 1; ok && l < q.shape.layers; l++) add_tensor_row(t, &q, bits, symmetric, l, m, rounding[l]);
    if (ok) {
        add_name_cells(t, bits, symmetric);
        table_row(t, "all");
        add_empty_cells(t, 9);
        add_network_cells(t, m, &p->evaluation, p->data->test.labels);
    }
    qmlp_free(&q);
    return ok;
}

static bool add_width(struct pitfalls *p, struct table *t, int bits, struct error *err) {
    struct measurement asymmetric = {0}, symmetric = {0};
    char provoked[64], repaired[64];
    snprintf(provoked, sizeof provoked, "symmetric %d-bit activations after ReLU", bits);
    snprintf(repaired, sizeof repaired, "asymmetric %d-bit activations", bits);
    bool ok = add_network(p, t, bits, false, &asymmetric, err) && add_network(p, t, bits, true, &symmetric, err);
    if (ok) summarise(p, "symmetric", provoked, repaired, &p->measured, &symmetric, &asymmetric);
    measurement_free(&asymmetric);
    measurement_free(&symmetric);
    return ok;
}

bool pitfall_symmetric(struct pitfalls *p, struct table *t, struct error *err) {
    static const char columns[] = "bits activations layer scale zero_point codes never_used never_used_percent "
                                  "effective_bits entropy_bits rounding_sqnr_db output_sqnr_db " NETWORK_COLUMNS;
    table_init(t, "Pitfall: symmetric activations after ReLU", columns);
    table_note(
        t,
        "See: half of the codes stand for negative values that never come. That is one bit of effective_bits, or "
        "6 dB of rounding noise: the fewer bits there are, the more that one counts. Symmetric codes of n bits "
        "give the very network of asymmetric codes of n - 1.");
    table_note(
        t,
        "Weights are 8-bit per-channel throughout, pixels and logits 8-bit asymmetric; only the outputs of hidden "
        "layers change. never_used: codes that no test image gives. effective_bits: log2 of the codes that are "
        "used. entropy_bits: information in a code, -sum p log2 p; ReLU's zeros keep it low, so it falls by less "
        "than the bit. rounding_sqnr_db: fp32 activations rounded to these codes, nothing else; output_sqnr_db: "
        "the integer engine's codes, with the error of all layers up to there.");
    note_paired(t, "fp32");
    if (p->fp32->shape.layers == 1)
        table_note(t,
                   "This network has no hidden layer, so there is no ReLU and nothing to "
                   "lose.");
    for (int i = 0; i < BIT_WIDTHS; i++)
        if (!add_width(p, t, bit_widths[i], err)) return false;
    return true;
}
