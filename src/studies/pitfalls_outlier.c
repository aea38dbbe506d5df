/* Pitfall: one weight far beyond the others sets the scale for all that share it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "studies/pitfalls.h"
#include "cli/recipe.h"
#include "lowbit/half.h"

enum repair { REPAIR_NONE, REPAIR_PERCENTILE, REPAIR_MSE, REPAIR_APART, REPAIRS };
static const char *const repair_names[REPAIRS] = {"none", "clip at percentile 99.99", "clip for least squared error",
                                                  "column apart in fp16"};
static const double factors[] = {1, 2, 5, 10, 20, 50, 100};
enum { FACTORS = sizeof factors / sizeof factors[0], LESSON_ROWS = 64, LESSON_COLS = 1024 };

/* A matrix, the place of its outlier, and what its codes came to. */
struct victim {
    struct dense weights; /* with the outlier */
    int row, col;
    float *scale;     /* [out] */
    float *read_back; /* [out][in] the codes as real numbers */
};

/* RMS errors, the outlier itself left out. */
struct errors {
    double all, own_row, other_rows;
};

/* ---- choosing scales ------------------------------------------------------------------------------------------ */

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The |w| that 99.99% of n values do not exceed. In a row of less than 10,000 that is the largest: nothing is cut. */
static float percentile(float *sizes, size_t n) {
    qsort(sizes, n, sizeof *sizes, by_size);
    size_t rank = (size_t)ceil(0.9999 * (double)n);
    return sizes[(rank < 1 ? 1 : rank) - 1];
}

static double squared_error(const float *sizes, size_t n, float clip) {
    struct qparams p = qparams_symmetric(clip, 127);
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double e = (double)sizes[i] - (double)fake_quantize(sizes[i], p);
        sum += e * e;
    }
    return sum;
}

/* From the largest value down to 1/256 of it, eight steps an octave. */
static float least_error_clip(const float *sizes, size_t n) {
    float highest = absolute_maximum(sizes, n), best_clip = highest;
    double best = INFINITY;
    for (int i = 0; i <= 64; i++) {
        float clip = highest * (float)exp2(-i / 8.0);
        double error = squared_error(sizes, n, clip);
        if (error < best) best = error, best_clip = clip;
    }
    return best_clip;
}

/* One scale for rows [first, first + rows). sizes: scratch for as many weights. */
static float choose_scale(const struct victim *v, int first, int rows, enum repair repair, float *sizes) {
    size_t n = 0;
    for (int c = first; c < first + rows; c++)
        for (int k = 0; k < v->weights.in; k++)
            if (repair != REPAIR_APART || k != v->col)
                sizes[n++] = fabsf(v->weights.weight[(size_t)c * (size_t)v->weights.in + (size_t)k]);
    float clip = n == 0               ? 0
        : repair == REPAIR_PERCENTILE ? percentile(sizes, n)
        : repair == REPAIR_MSE        ? least_error_clip(sizes, n)
                                      : absolute_maximum(sizes, n);
    return qparams_symmetric(clip, 127).scale;
}

/* Scales and codes of the whole matrix. */
static bool encode(struct victim *v, bool per_channel, enum repair repair, struct error *err) {
    int out = v->weights.out, in = v->weights.in;
    float *sizes = aligned_array((size_t)(per_channel ? 1 : out) * (size_t)in, sizeof *sizes, err);
    if (!sizes) return false;
    for (int c = 0; c < out; c++)
        v->scale[c] = c > 0 && !per_channel ? v->scale[0] : choose_scale(v, c, per_channel ? 1 : out, repair, sizes);
    for (int c = 0; c < out; c++)
        for (int k = 0; k < in; k++) {
            size_t at = (size_t)c * (size_t)in + (size_t)k;
            float w = v->weights.weight[at];
            bool apart = repair == REPAIR_APART && k == v->col;
            struct qparams p = {v->scale[c], 0, -127, 127};
            v->read_back[at] = apart ? float_from_half(half_from_float(w)) : fake_quantize(w, p);
        }
    free(sizes);
    return true;
}

static struct errors errors_of(const struct victim *v) {
    double own = 0, others = 0, in = v->weights.in, out = v->weights.out;
    for (int c = 0; c < v->weights.out; c++)
        for (int k = 0; k < v->weights.in; k++) {
            size_t at = (size_t)c * (size_t)v->weights.in + (size_t)k;
            double e = (double)v->weights.weight[at] - (double)v->read_back[at];
            if (c != v->row) others += e * e;
            if (c == v->row && k != v->col) own += e * e;
        }
    return (struct errors){sqrt((own + others) / (in * out - 1)), sqrt(own / (in - 1)),
                           sqrt(others / (in * (out - 1)))};
}

static void victim_free(struct victim *v) {
    free(v->scale);
    free(v->read_back);
}

static bool victim_create(struct dense weights, int row, int col, struct victim *v, struct error *err) {
    *v = (struct victim){.weights = weights, .row = row, .col = col};
    if ((v->scale = aligned_array((size_t)weights.out, sizeof(float), err)) &&
        (v->read_back = aligned_array((size_t)weights.out * (size_t)weights.in, sizeof(float), err)))
        return true;
    victim_free(v);
    return false;
}

/* ---- rows ----------------------------------------------------------------------------------------------------- */

/* One way to quantize, and what it gave at k = 1 without repair, which its errors are compared with. */
struct way {
    bool per_channel;
    enum repair repair;
    struct errors errors;
    float scale;
};

static void add_weight_cells(struct table *t, const char *weights, double k, const struct way *way,
                             const char *arithmetic, const struct victim *v) {
    struct errors e = errors_of(v);
    table_row(t, "%s | %.0f | %s | %s | %s | %.6f | %.2f | %.6f | %.2f | %.2f | %.2f", weights, k,
              scheme_names[way->per_channel ? SCHEME_PER_CHANNEL : SCHEME_PER_TENSOR], repair_names[way->repair],
              arithmetic, (double)v->scale[v->row], (double)(v->scale[v->row] / way->scale), e.all,
              e.all / way->errors.all, e.own_row / way->errors.own_row, e.other_rows / way->errors.other_rows);
}

/* Sets way->errors and way->scale from the matrix as it is. */
static bool set_baseline(struct victim *v, struct way *way, struct error *err) {
    if (!encode(v, way->per_channel, REPAIR_NONE, err)) return false;
    way->errors = errors_of(v);
    way->scale = v->scale[v->row];
    return true;
}

/* The lesson's own case: weights even in [-0.5, 0.5], of which one becomes 5.0. */
static bool add_lesson_rows(struct table *t, struct error *err) {
    struct victim v;
    struct rng rng = rng_seeded(1);
    size_t n = (size_t)LESSON_ROWS * LESSON_COLS;
    float *w = aligned_array(n, sizeof *w, err);
    if (!w ||
        !victim_create((struct dense){LESSON_COLS, LESSON_ROWS, w, NULL}, LESSON_ROWS / 2, LESSON_COLS / 2, &v, err)) {
        free(w);
        return false;
    }
    bool ok = true;
    float *outlier = &w[(size_t)v.row * LESSON_COLS + (size_t)v.col];
    for (size_t i = 0; i < n; i++) w[i] = (float)(rng_uniform(&rng) - 0.5);
    for (int i = 0; ok && i < 2 * REPAIRS; i++) {
        struct way way = {.per_channel = i % 2, .repair = (enum repair)(i / 2)};
        *outlier = 0.5f;
        ok = set_baseline(&v, &way, err);
        *outlier = 5.0f;
        ok = ok && encode(&v, way.per_channel, way.repair, err);
        if (!ok) break;
        add_weight_cells(t, "the lesson's", 10, &way, "-", &v);
        add_empty_cells(t, 1 + NETWORK_COLUMN_COUNT);
    }
    victim_free(&v);
    free(w);
    return ok;
}

/* ---- the network ---------------------------------------------------------------------------------------------- */

/* A network with an outlier in one layer. */
struct case_k {
    double k;
    int layer;
    size_t at; /* in the layer's weights */
    struct mlp fp32;
    struct evaluation evaluation;
    struct range ranges[MLP_MAX_LAYERS + 1];
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

static bool evaluate_fp32(const struct mlp *mlp, const struct split *test, struct evaluation *out, struct error *err) {
    struct model model = {.kind = MODEL_FP32, .shape = mlp->shape, .mlp = *mlp};
    return evaluate(&model, test, false, out, err);
}

static void case_free(struct case_k *c) {
    mlp_free(&c->fp32);
    evaluation_free(&c->evaluation);
}

/* The network with its outlier times k, calibrated anew. */
static bool case_create(const struct pitfalls *p, int sign, double k, struct case_k *c, struct error *err) {
    *c = (struct case_k){.k = k, .layer = outlier_layer(p->fp32)};
    c->at = find_outlier(&p->fp32->layer[c->layer], sign);
    if (!mlp_copy(p->fp32, &c->fp32, err)) return false;
    c->fp32.layer[c->layer].weight[c->at] *= (float)k;
    uint8_t *images = calibration_images(&p->data->train, p->calibration, err);
    bool ok = images && ranges_over(&c->fp32, images, (size_t)p->calibration, c->ranges, err) &&
        evaluate_fp32(&c->fp32, &p->data->test, &c->evaluation, err);
    free(images);
    if (!ok) case_free(c);
    return ok;
}

static bool measure_static(const struct case_k *c, const struct way *way, const struct victim *v,
                           const struct split *test, struct measurement *m, struct error *err) {
    struct qmlp q;
    if (!quantize_with(&c->fp32, c->ranges, way->per_channel, false, &q, err)) return false;
    for (int row = 0; row < (way->per_channel ? v->weights.out : 1); row++)
        q.weight_scale[c->layer][row] = v->scale[row];
    struct trial trial = {&q, &faults[0], FAULTS_ALL_LAYERS, &c->fp32};
    bool ok = requantize_network(&c->fp32, &q, err) && measure(&trial, test, m, err);
    qmlp_free(&q);
    return ok;
}

/* Layer l of a network whose other layers have no outlier: weights by scale [out], column col (or none, -1) in fp16. */
static void fill_dynamic(const struct dense *d, const float *scale, int col, struct dynamic_mlp_layer *q) {
    if (col >= 0) q->outlier_columns[0] = col;
    for (int c = 0; c < d->out; c++) {
        size_t row = (size_t)c * (size_t)d->in;
        struct qparams p = {scale[c], 0, -127, 127};
        q->weight_scale[c] = scale[c];
        q->bias[c] = d->bias[c];
        for (int k = 0; k < d->in; k++)
            q->weight[row + (size_t)k] = k == col ? 0 : (int8_t)quantize(d->weight[row + (size_t)k], p);
        if (col >= 0) q->outlier_weight[c] = half_from_float(d->weight[row + (size_t)col]);
    }
}

/* LLM.int8(): int8 products with a scale for each image, and the outlier's column as a product in floating point. */
static bool measure_apart(const struct case_k *c, const struct way *way, const struct victim *v,
                          const struct split *test, struct measurement *m, struct error *err) {
    struct dynamic_mlp q;
    int outliers[MLP_MAX_LAYERS] = {0};
    outliers[c->layer] = 1;
    if (!dynamic_create(&c->fp32.shape, true, outliers, &q, err)) return false;
    bool ok = true;
    for (int l = 0; ok && l < c->fp32.shape.layers; l++) {
        struct victim plain;
        const struct dense *d = &c->fp32.layer[l];
        if (l == c->layer) {
            fill_dynamic(d, v->scale, v->col, &q.layer[l]);
        } else if ((ok = victim_create(*d, 0, 0, &plain, err))) {
            ok = encode(&plain, way->per_channel, REPAIR_NONE, err);
            fill_dynamic(d, plain.scale, -1, &q.layer[l]);
            victim_free(&plain);
        }
    }
    dynamic_finish(&q);
    ok = ok && measure_dynamic(&q, &c->fp32, test, m, err);
    dynamic_free(&q);
    return ok;
}

static bool add_network_row(const struct pitfalls *p, struct table *t, const struct case_k *c, struct way *way,
                            struct measurement *m, struct error *err) {
    struct victim v;
    const struct dense *d = &c->fp32.layer[c->layer];
    char name[64];
    snprintf(name, sizeof name, "fc%d, %s", c->layer + 1, d->weight[c->at] < 0 ? "negative" : "positive");
    if (!victim_create(*d, (int)(c->at / (size_t)d->in), (int)(c->at % (size_t)d->in), &v, err)) return false;
    bool apart = way->repair == REPAIR_APART;
    bool ok = (c->k != 1 || set_baseline(&v, way, err)) && encode(&v, way->per_channel, way->repair, err) &&
        (apart ? measure_apart : measure_static)(c, way, &v, &p->data->test, m, err);
    if (ok) {
        add_weight_cells(t, name, c->k, way, apart ? "int8 products, fp32 between" : "integer", &v);
        table_row(t, "%.2f", accuracy_percent(&c->evaluation));
        add_network_cells(t, m, &c->evaluation, p->data->test.labels);
    }
    victim_free(&v);
    return ok;
}

/* One way, over all k of cases [FACTORS]. first, last: the networks at both ends. */
static bool add_way(const struct pitfalls *p, struct table *t, const struct case_k *cases, struct way way,
                    struct measurement *first, struct measurement *last, struct error *err) {
    for (int i = 0; i < FACTORS; i++) {
        struct measurement m;
        if (!add_network_row(p, t, &cases[i], &way, &m, err)) return false;
        if (i == 0) *first = m;
        else if (i == FACTORS - 1) *last = m;
        else measurement_free(&m);
    }
    return true;
}

enum { WAYS = 2 * REPAIRS };

static bool add_ways(struct pitfalls *p, struct table *t, const struct case_k *cases, struct error *err) {
    bool negative = cases[0].fp32.layer[cases[0].layer].weight[cases[0].at] < 0;
    struct measurement *ends = aligned_array(2 * WAYS, sizeof *ends, err); /* [WAYS][k = 1, k = 100] */
    bool ok = ends != NULL;
    for (int i = 0; ok && i < WAYS; i++) /* per tensor and per channel in turn, one repair after another */
        ok = add_way(p, t, cases, (struct way){.per_channel = i % 2, .repair = (enum repair)(i / 2)}, &ends[2 * i],
                     &ends[2 * i + 1], err);
    for (int i = 1; ok && i < WAYS; i++) {
        char how[96];
        snprintf(how, sizeof how, "%s%s%s", scheme_names[i % 2 ? SCHEME_PER_CHANNEL : SCHEME_PER_TENSOR],
                 i / 2 ? ", " : "", i / 2 ? repair_names[i / 2] : "");
        if (i == 1 || i % 2 == 0)
            summarise(p, "outlier",
                      negative ? "most negative weight x 100, per-tensor" : "most positive weight x 100, per-tensor",
                      how, &ends[0], &ends[1], &ends[2 * i + 1]);
    }
    if (ok)
        table_note(&p->summary,
                   "outlier: with its most %s weight x 100 the fp32 network itself has %.2f%%, which is what "
                   "int8 is repaired for; clipping that ends above it has taken the outlier out of the "
                   "network.",
                   negative ? "negative" : "positive", accuracy_percent(&cases[FACTORS - 1].evaluation));
    for (int i = 0; ends && i < 2 * WAYS; i++) measurement_free(&ends[i]);
    free(ends);
    return ok;
}

static bool add_network_rows(struct pitfalls *p, struct table *t, int sign, struct error *err) {
    struct case_k *cases = aligned_array(FACTORS, sizeof *cases, err);
    bool ok = cases != NULL;
    for (int i = 0; ok && i < FACTORS; i++) ok = case_create(p, sign, factors[i], &cases[i], err);
    ok = ok && add_ways(p, t, cases, err);
    for (int i = 0; cases && i < FACTORS; i++) case_free(&cases[i]);
    free(cases);
    return ok;
}

static void add_notes(const struct pitfalls *p, struct table *t) {
    int l = outlier_layer(p->fp32);
    const struct dense *d = &p->fp32->layer[l];
    size_t lowest = find_outlier(d, -1), highest = find_outlier(d, 1), in = (size_t)d->in;
    table_note(t,
               "See: per-tensor, the error of all other weights grows with k (first row: 10 times the scale, 10 times "
               "the error); per-channel, only the outlier's own row suffers and the other rows stay at 1.00.");
    table_note(t,
               "the lesson's: %d x %d weights even in [-0.5, 0.5], of which one is 5.0. fc%d, negative: the most "
               "negative weight of that layer, %.4f in row %zu, column %zu, times k. It switches its neuron off and "
               "makes no activation larger, so what is lost beyond the fp32 network with the same outlier is what the "
               "scale costs, and clipping the weight takes little away.",
               LESSON_ROWS, LESSON_COLS, l + 1, (double)d->weight[lowest], lowest / in, lowest % in);
    table_note(
        t,
        "fc%d, positive: the most positive weight, %.4f in row %zu, column %zu, times k. The network feels its "
        "size: the fp32 network changes, its neuron's activation grows with k and stretches the activation scale "
        "of that layer for all neurons (per-channel weights do not help against that), and clipping it is another "
        "network.",
        l + 1, (double)d->weight[highest], highest / in, highest % in);
    table_note(
        t,
        "weight_scale: of the outlier's row. error_rms: of every weight but the outlier; the ratios compare with "
        "k = 1 of the same granularity without repair. fp32_accuracy_percent: of the fp32 network with the same "
        "outlier; activations are calibrated anew for each.");
    note_paired(t, "the fp32 network with the same outlier");
    table_note(
        t,
        "Clipping at a percentile needs many weights: a row of %d has no 0.01%% to cut, so per-channel nothing "
        "happens. The least squared error does not clip a large outlier to the size of the others either: losing "
        "it would cost more than they do together. Column apart: LLM.int8()'s way, its column in fp16, the rest "
        "in int8 with a scale for each image.",
        d->in);
}

bool pitfall_outlier(struct pitfalls *p, struct table *t, struct error *err) {
    static const char columns[] =
        "weights k granularity repair arithmetic weight_scale scale_ratio error_rms error_ratio own_row_error_ratio "
        "other_rows_error_ratio fp32_accuracy_percent " NETWORK_COLUMNS;
    table_init(t, "Pitfall: an outlier weight", columns);
    add_notes(p, t);
    return add_lesson_rows(t, err) && add_network_rows(p, t, -1, err) && add_network_rows(p, t, 1, err);
}
