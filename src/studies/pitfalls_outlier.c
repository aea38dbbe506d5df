/* Pitfall: one weight far beyond the others sets the scale for all that share it. */
#include "studies/outlier.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "lowbit/equalize.h"
#include "lowbit/hadamard.h"
#include "lowbit/half.h"

static const double factors[] = {1, 2, 5, 10, 20, 50, 100};
enum { FACTORS = sizeof factors / sizeof factors[0], LAST = FACTORS - 1, LESSON_ROWS = 64, LESSON_COLS = 1024 };

static void add_weight_cells(struct table *t, const char *weights, double k, int way, const char *arithmetic,
                             const struct fit *fit, const struct fit *base) {
    table_row(t, "%s | %.0f | %s | %s | %s | %.6f | %.2f | %.6f | %.2f | %.2f | %.2f", weights, k, granularity(way),
              repair_names[repair_of(way)], arithmetic, fit->scale, (double)((float)fit->scale / (float)base->scale),
              fit->all, fit->all / base->all, fit->own_row / base->own_row, fit->other_rows / base->other_rows);
}

/* The lesson's own case: weights even in [-0.5, 0.5], of which one becomes 5.0. */
static bool add_lesson_rows(struct table *t, struct error *err) {
    struct rng rng = rng_seeded(1);
    size_t n = (size_t)LESSON_ROWS * LESSON_COLS, at = LESSON_ROWS / 2 * LESSON_COLS + LESSON_COLS / 2;
    float *w = aligned_array(n, sizeof *w, err), scale[LESSON_ROWS];
    struct dense d = {LESSON_COLS, LESSON_ROWS, w, NULL};
    bool ok = w != NULL;
    for (size_t i = 0; ok && i < n; i++) w[i] = (float)(rng_uniform(&rng) - 0.5);
    if (ok) w[at] = 5.0f;
    for (int way = 0; ok && way < 2 * REPAIR_EQUALIZE; way++) { /* those that need no network */
        struct fit fit, base;
        ok = compare_fits(&d, &d, at, 0.5f, way, scale, &fit, &base, err);
        if (ok) add_weight_cells(t, "the lesson's", 10, way, "-", &fit, &base);
        if (ok) table_row(t, " | " NO_NETWORK);
    }
    free(w);
    return ok;
}

/* ---- a network with an outlier ---------------------------------------------------------------------------------- */

struct outlier {
    char name[32]; /* "fc2, negative" */
    double k;
    int layer;
    size_t at;    /* in the layer's weights */
    float before; /* the weight there before it was multiplied */
    struct network n;
};

/* The second layer where there is one: its inputs are activations, and all of them are in use. */
static int outlier_layer(const struct mlp *mlp) { return mlp->shape.layers > 1 ? 1 : 0; }

/* sign < 0: the most negative weight. Made more negative it switches its neuron off, so that the fp32 network loses one
 * neuron and no activation grows: what the int8 network loses beyond that, the weight's scale has cost. sign > 0: the
 * most positive weight, whose size the network feels: its neuron grows with it. */
static size_t find_outlier(const struct dense *d, int sign) {
    size_t at = 0;
    for (size_t i = 0; i < (size_t)d->in * (size_t)d->out; i++)
        if ((float)sign * d->weight[i] > (float)sign * d->weight[at]) at = i;
    return at;
}

/* The network with its outlier times k, calibrated anew. Release with network_free, also after an error. */
static bool outlier_create(const struct variants *v, const struct mlp *from, int sign, double k, struct outlier *o) {
    int layer = outlier_layer(from);
    *o = (struct outlier){.k = k, .layer = layer, .at = find_outlier(&from->layer[layer], sign)};
    if (!mlp_copy(from, &o->n.fp32, &v->study->err)) return false;
    o->before = o->n.fp32.layer[layer].weight[o->at];
    o->n.fp32.layer[layer].weight[o->at] *= (float)k;
    snprintf(o->name, sizeof o->name, "fc%d, %s", layer + 1, o->before < 0 ? "negative" : "positive");
    return network_measure(v, &o->n);
}

/* The integer network, with these scales [out] in the outlier's layer. */
static bool static_network(const struct outlier *o, int way, float *scale, struct model *out, struct error *err) {
    if (!int8_network(&o->n.fp32, o->n.ranges, per_channel(way), false, out, err)) return false;
    for (int c = 0; c < (per_channel(way) ? out->qmlp.layer[o->layer].out : 1); c++)
        out->qmlp.weight_scale[o->layer][c] = scale[c];
    return requantize_network(&o->n.fp32, out, err);
}

/* LLM.int8(): int8 products with a scale for each image, and the outlier's column as a product in floating point.
 * scale [MLP_MAX_WIDTH]: scratch. */
static bool network_apart(const struct outlier *o, int way, float *scale, struct model *out, struct error *err) {
    int outliers[MLP_MAX_LAYERS] = {0};
    outliers[o->layer] = 1;
    *out = (struct model){.kind = MODEL_DYNAMIC, .shape = o->n.fp32.shape};
    if (!dynamic_create(&out->shape, true, outliers, &out->dynamic, err)) return false;
    for (int l = 0; l < out->shape.layers; l++) {
        const struct dense *d = &o->n.fp32.layer[l];
        struct dynamic_mlp_layer *q = &out->dynamic.layer[l];
        bool here = l == o->layer;
        int col = here ? column_apart(d, o->at, way) : -1;
        if (!scales_of(d, here ? o->at : 0, here ? way : way % 2, scale, err)) {
            model_free(out);
            return false;
        }
        if (here) q->outlier_columns[0] = col;
        for (int c = 0; c < d->out; c++) {
            const float *row = d->weight + (size_t)c * (size_t)d->in;
            struct qparams p = {scale[c], 0, -127, 127};
            q->weight_scale[c] = scale[c];
            q->bias[c] = d->bias[c];
            for (int k = 0; k < d->in; k++)
                q->weight[(size_t)c * (size_t)d->in + (size_t)k] = k == col ? 0 : (int8_t)quantize(row[k], p);
            if (here) q->outlier_weight[c] = half_from_float(row[col]);
        }
    }
    if (dynamic_finish(&out->dynamic, err)) return true;
    model_free(out);
    return false;
}

/* A network that computes what the outlier's does, with other weights. Release with mlp_free. */
static bool rewrite(const struct variants *v, const struct outlier *o, enum repair repair, struct mlp *out) {
    struct error *err = &v->study->err;
    if (repair == REPAIR_ROTATE) return hadamard_insert(&o->n.fp32, o->layer, out, err);
    if (!mlp_copy(&o->n.fp32, out, err)) return false;
    if (repair == REPAIR_EQUALIZE) equalize(out);
    else if (!smooth_quant(out, v->images, v->calibration, 0.5, err)) {
        mlp_free(out);
        return false;
    }
    return true;
}

/* The model of a way, its scales [out] and fits. scale: [MLP_MAX_WIDTH] */
static bool make_way(const struct variants *v, const struct outlier *o, int way, float *scale, struct fit *fit,
                     struct fit *base, struct model *model) {
    struct error *err = &v->study->err;
    enum repair repair = repair_of(way);
    const struct dense *d = &o->n.fp32.layer[o->layer];
    struct range ranges[MLP_MAX_LAYERS + 1];
    struct mlp mlp;
    if (repair < REPAIR_ROTATE)
        return compare_fits(d, d, o->at, o->before, way, scale, fit, base, err) &&
            (repair == REPAIR_APART ? network_apart : static_network)(o, way, scale, model, err);
    if (!rewrite(v, o, repair, &mlp)) return false;
    bool ok = ranges_over(&mlp, v->images, v->calibration, ranges, err) &&
        compare_fits(d, &mlp.layer[o->layer], o->at, o->before, way, scale, fit, base, err) &&
        int8_network(&mlp, ranges, per_channel(way), false, model, err);
    mlp_free(&mlp);
    return ok;
}

/* Quantizes in one way and runs it: a row of t, unless it is NULL. error_ratio: as in the table. */
static const struct measurement *run_way(struct variants *v, struct table *t, const struct outlier *o, int way,
                                         double *error_ratio) {
    const struct measurement *m = NULL;
    struct fit fit, base;
    struct model model;
    float *scale = aligned_array(MLP_MAX_WIDTH, sizeof *scale, &v->study->err);
    if (scale && make_way(v, o, way, scale, &fit, &base, &model)) {
        m = run_variant(v, &model, &faults[0], FAULTS_ALL_LAYERS, o->n.logits);
        *error_ratio = fit.all / base.all;
        model_free(&model);
    }
    free(scale);
    if (m && t) {
        bool apart = repair_of(way) == REPAIR_APART;
        add_weight_cells(t, o->name, o->k, way, apart ? "int8 products, fp32 between" : "integer", &fit, &base);
        table_row(t, "%.2f", accuracy_percent(&o->n.evaluation));
        add_network_cells(v, t, m, &o->n.evaluation);
    }
    return m;
}

/* ---- the tables ------------------------------------------------------------------------------------------------- */

/* All rows of the network's most negative or positive weight, and its lines of the summary. */
static bool run_network(struct variants *v, struct table *t, int sign) {
    struct outlier *o = aligned_array(FACTORS, sizeof *o, &v->study->err); /* one for each k */
    const struct measurement *m[WAYS][FACTORS];
    const char *name = sign < 0 ? "negative" : "positive";
    double ignored;
    bool ok = o != NULL;
    for (int i = 0; ok && i < FACTORS; i++) ok = outlier_create(v, &v->base.fp32, sign, factors[i], &o[i]);
    for (int way = 0; ok && way < WAYS; way++)
        for (int i = 0; ok && i < FACTORS; i++) ok = (m[way][i] = run_way(v, t, &o[i], way, &ignored));
    for (int r = 0; ok && r < REPAIRS; r++) { /* per channel alone, then the repairs per tensor */
        int way = r ? 2 * r : 1;
        table_row(v->summary, "outlier | most %s weight x 100, per-tensor | %s%s%s", name, granularity(way),
                  r ? ", " : "", r ? repair_names[r] : "");
        summarise(v, m[0][0], m[0][LAST], m[way][LAST]);
    }
    if (ok)
        table_note(v->summary,
                   "outlier: with its most %s weight x 100 the fp32 network itself has %.2f%%, which is what int8 is "
                   "repaired for.",
                   name, accuracy_percent(&o[LAST].n.evaluation));
    for (int i = 0; o && i < FACTORS; i++) network_free(&o[i].n);
    free(o);
    return ok;
}

static bool fill_outlier(struct variants *v, struct table *t) {
    int l = outlier_layer(&v->base.fp32);
    const struct dense *d = &v->base.fp32.layer[l];
    size_t lowest = find_outlier(d, -1), highest = find_outlier(d, 1), in = (size_t)d->in;
    table_note(t,
               "See: per-tensor, the error of all other weights grows with k (first row: 10 times the scale, 10 times "
               "the error); per-channel, only the outlier's own row suffers and the other rows stay at 1.00. "
               "pitfalls-outlier-seeds has the rows of k = 100, over several networks.");
    table_note(t,
               "the lesson's: %d x %d weights even in [-0.5, 0.5], of which one is 5.0. fc%d, negative: the most "
               "negative weight of that layer, %.4f in row %zu, column %zu, times k. It switches its neuron off and "
               "makes no activation larger: what is lost beyond the fp32 network with the same outlier, the scale "
               "costs. positive: the most positive weight, %.4f in row %zu, column %zu. The network feels its size: "
               "its neuron's activation grows with k and stretches the activation scale of that layer for all neurons "
               "(per-channel weights do not help against that), and clipping it is another network.",
               LESSON_ROWS, LESSON_COLS, l + 1, (double)d->weight[lowest], lowest / in, lowest % in,
               (double)d->weight[highest], highest / in, highest % in);
    table_note(t,
               "Clipping at a percentile needs many weights: a row of %d has no 0.01%% to cut, so per-channel nothing "
               "happens. The least squared error does not clip a large outlier to the size of the others either: "
               "losing it would cost more than they do together. Column apart: LLM.int8()'s way, its column in fp16, "
               "the rest in int8 with a scale for each image.",
               d->in);
    table_note(
        t,
        "Three repairs leave what the network computes as it is and change its weights. Hadamard rotation (QuaRot): "
        "W x = (W H)(H x), so that the outlier becomes a little of each weight of its row; H x is a layer more of "
        "codes +-127, in the same integer engine. Cross-layer equalization: a neuron divided by s, what reads it "
        "times s, until both ranges are equal. SmoothQuant: the same with s from the ranges of activations and "
        "weights, for the large activations of the positive outlier. They are calibrated anew.");
    return add_lesson_rows(t, &v->study->err) && run_network(v, t, -1) && run_network(v, t, 1);
}

const struct part pitfall_outlier = {
    "pitfalls-outlier",
    "Pitfall: an outlier weight",
    "weights k granularity repair arithmetic weight_scale scale_ratio error_rms error_ratio own_row_error_ratio "
    "other_rows_error_ratio fp32_accuracy_percent " NETWORK_COLUMNS,
    fill_outlier,
    {"weight_scale: of the outlier's row. error_rms: of every weight but the outlier; the ratios compare with k = 1 of "
     "the same granularity without repair. fp32_accuracy_percent: of the fp32 network with the same outlier, which "
     "change to p compare with; activations are calibrated anew for each."}};

enum { ERROR_RATIO, FP32_PERCENT, PERCENT, CHANGE, SQNR_DB, QUANTITIES };

/* The largest k of one network: sums [2][WAYS][QUANTITIES], negative and positive. */
static bool add_network(struct variants *v, const struct mlp *mlp, struct sums *sums) {
    for (int positive = 0; positive < 2; positive++) {
        struct outlier o;
        bool ok = outlier_create(v, mlp, positive ? 1 : -1, factors[LAST], &o);
        for (int way = 0; ok && way < WAYS; way++) {
            double error_ratio = 0, fp32 = accuracy_percent(&o.n.evaluation);
            const struct measurement *m = run_way(v, NULL, &o, way, &error_ratio);
            if (!(ok = m)) break;
            double ours = accuracy_percent(&m->evaluation);
            const double values[QUANTITIES] = {error_ratio, fp32, ours, ours - fp32, m->logit_sqnr_db};
            for (int i = 0; i < QUANTITIES; i++) sums_add(sums++, values[i]);
        }
        network_free(&o.n);
        if (!ok) return false;
    }
    return true;
}

static bool fill_seeds(struct variants *v, struct table *t) {
    struct sums sums[2 * WAYS * QUANTITIES] = {{0}}, *s = sums;
    struct training_recipe training = *v->training;
    bool ok = add_network(v, &v->base.fp32, sums);
    for (int i = 1; ok && i < v->seeds; i++) {
        struct train_report report;
        struct mlp mlp;
        training.seed++;
        if (!train_model(&v->study->data, &training, &mlp, &report, &v->study->err)) return false;
        ok = add_network(v, &mlp, sums);
        mlp_free(&mlp);
    }
    for (int row = 0; ok && row < 2 * WAYS; row++) {
        table_row(t, "fc%d, %s | %.0f | %s | %s", outlier_layer(&v->base.fp32) + 1,
                  row < WAYS ? "negative" : "positive", factors[LAST], granularity(row % WAYS),
                  repair_names[repair_of(row % WAYS)]);
        for (int i = 0; i < QUANTITIES; i++, s++)
            table_row(t, i == CHANGE ? "%+.2f | %.2f" : "%.2f | %.2f", sums_mean(s), sums_deviation(s));
    }
    table_note(t,
               "See: whatever the seed, one weight ruins per-tensor int8 and costs per-channel int8 next to nothing; "
               "the column apart repairs both.");
    table_note(t, "Mean and standard deviation (sd) over %d network%s, k = %.0f; change: against fp32_percent.",
               v->seeds, v->seeds == 1 ? "" : "s", factors[LAST]);
    return ok;
}

const struct part pitfall_outlier_seeds = {
    "pitfalls-outlier-seeds",
    "An outlier weight, over several networks",
    "weights k- granularity repair error_ratio- error_ratio_sd- fp32_percent:fp32_% fp32_percent_sd- accuracy_percent- "
    "accuracy_percent_sd- change change_sd:sd logit_sqnr_db- logit_sqnr_db_sd-",
    fill_seeds,
    {0}};
