#include "studies/trace_steps.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the path --------------------------------------------------------------------------------------------------- */

/* What input k adds to a neuron of layer l: one term of eq. 5. x [in]: the layer's input codes. */
static int32_t product_at(const struct qlinear *layer, const uint8_t *x, int neuron, int k) {
    return (x[k] - layer->x_zero_point) * layer->weight[(size_t)neuron * (size_t)layer->in + (size_t)k];
}

/* path [layers]: the neuron of each layer. Backwards the input that adds most, forwards the neuron it adds most to. */
static void choose_path(const struct qmlp *q, uint8_t *const *codes, int predicted, int layer, int neuron, int *path) {
    int last = q->shape.layers - 1;
    if (layer < 0) layer = last, neuron = predicted;
    path[layer] = neuron;
    for (int l = layer; l > 0; l--) {
        path[l - 1] = 0;
        for (int k = 1; k < q->layer[l].in; k++)
            if (product_at(&q->layer[l], codes[l], path[l], k) >
                product_at(&q->layer[l], codes[l], path[l], path[l - 1]))
                path[l - 1] = k;
    }
    for (int l = layer + 1; l <= last; l++) {
        int k = path[l - 1];
        path[l] = l == last ? predicted : 0;
        for (int c = 1; l < last && c < q->layer[l].out; c++)
            if (product_at(&q->layer[l], codes[l], c, k) > product_at(&q->layer[l], codes[l], path[l], k)) path[l] = c;
    }
}

/* ---- the steps -------------------------------------------------------------------------------------------------- */

/* Where the next step goes, and what the steps of a layer share. */
struct writer {
    struct trace_step *at;
    int layer, neuron;
};

/* says, page: of its line on the page; "": none. */
static struct trace_step *add(struct writer *w, const char *name, long long integer, double real, double fp32,
                              const char *says, int page) {
    *w->at = (struct trace_step){.name = name, .layer = w->layer, .neuron = w->neuron, .page = page};
    w->at->integer = integer, w->at->real = real, w->at->fp32 = fp32;
    snprintf(w->at->says, sizeof w->at->says, "%s", says);
    return w->at++;
}

/* Eq. 5 and 6 of one neuron spelled out. x [in]: the layer's input codes. fp32: NULL, or the layer of the fp32 network,
 * with its inputs fp32_x [in] and what it makes of them, fp32_y. */
static void add_neuron(struct writer *w, const struct qmlp *q, const uint8_t *x, const struct dense *fp32,
                       const float *fp32_x, double fp32_y) {
    int l = w->layer, c = w->neuron;
    const struct qlinear *layer = &q->layer[l];
    const int8_t *row = layer->weight + (size_t)c * (size_t)layer->in;
    const float *fp32_row = fp32 ? fp32->weight + (size_t)c * (size_t)fp32->in : NULL;
    double s_x = (double)q->activation[l].scale, s_w = (double)qmlp_weight_scale(q, l, c), s = s_x * s_w;
    double s_y = (double)q->activation[l + 1].scale;
    double fp32_sum = fp32 ? 0 : NAN, fp32_bias = fp32 ? (double)fp32->bias[c] : NAN;
    int32_t z_x = layer->x_zero_point, z_y = layer->y_zero_point, sum = 0, raw = 0, weight_sum = 0;
    add(w, "s_x", TRACE_NO_INTEGER, s_x, NAN, "", 0);
    add(w, "z_x", z_x, NAN, NAN, "", 0);
    add(w, "s_w", TRACE_NO_INTEGER, s_w, NAN, "", 0);
    for (int k = 0; k < layer->in; k++) {
        int32_t product = product_at(layer, x, c, k);
        double exact = fp32 ? (double)fp32_x[k] * (double)fp32_row[k] : NAN;
        sum += product, raw += x[k] * row[k], weight_sum += row[k], fp32_sum += exact;
        if (x[k] == z_x) continue;
        struct trace_step *term = add(w, "term", product, s * product, exact, "", 0);
        term->k = k, term->x_q = x[k], term->w_q = row[k], term->running = sum;
    }
    struct multiplier by = layer->multiplier[c];
    int32_t bias = layer->bias[c], acc = sum + bias, folded = bias - z_x * weight_sum;
    int64_t product = (int64_t)acc * by.m, half = (int64_t)1 << (by.right - 1), rounded = (product + half) >> by.right;
    int64_t q_y = rounded + z_y, code = q_y < layer->y_min ? layer->y_min : q_y > layer->y_max ? layer->y_max : q_y;
    double before_rounding = ldexp((double)product, -by.right);
    double y = (double)dequantize((int32_t)code, q->activation[l + 1]);
    add(w, "sum", sum, s * sum, fp32_sum, "sum of products", TRACE_ASKED | TRACE_SHOWS_REAL);
    add(w, "b_q", bias, s * bias, fp32_bias, "+ bias b_q = round(b / (s_x s_w))", TRACE_SHOWS_REAL);
    add(w, "acc", acc, s * acc, fp32_sum + fp32_bias, "= acc", TRACE_ASKED | TRACE_SHOWS_REAL);
    add(w, "sum w_q", weight_sum, NAN, NAN, "", 0);
    struct trace_step *step = add(w, "folded bias", folded, NAN, NAN, "folded bias b_q - z_x sum w_q", TRACE_ASKED);
    snprintf(step->note, sizeof step->note, "= %d - %d * %d", bias, z_x, weight_sum);
    add(w, "sum x_q w_q", raw, NAN, NAN, "+ sum of x_q w_q", 0);
    add(w, "s_y", TRACE_NO_INTEGER, s_y, NAN, "", 0);
    add(w, "M", TRACE_NO_INTEGER, s / s_y, NAN, "", 0);
    add(w, "m", by.m, NAN, NAN, "", 0);
    add(w, "right", by.right, NAN, NAN, "", 0);
    add(w, "shift", 31 - by.right, NAN, NAN, "", 0);
    add(w, "acc m", product, before_rounding, NAN, "acc m, 64 bits", TRACE_ASKED);
    add(w, "half", half, NAN, NAN, "+ half: 2^(right - 1)", 0);
    step = add(w, "rounded", rounded, NAN, NAN, ">> right: rounded once, ties up", TRACE_ASKED | TRACE_NOTE_TELLS);
    snprintf(step->note, sizeof step->note, "from %.6f", before_rounding);
    add(w, "z_y", z_y, NAN, NAN, "+ z_y", 0);
    add(w, "y_min", layer->y_min, NAN, NAN, "", 0);
    add(w, "y_max", layer->y_max, NAN, NAN, "", 0);
    step = add(w, "y_q", code, y, fp32_y, "", TRACE_ASKED | TRACE_SHOWS_REAL | TRACE_ASKS_REAL | TRACE_NOTE_TELLS);
    snprintf(step->says, sizeof step->says, "= y_q, clamped to [%d, %d]%s", layer->y_min, layer->y_max,
             l + 1 < q->shape.layers ? ": ReLU" : "");
    if (code != q_y) strcpy(step->note, "cut off");
}

/* All layers' steps and the logits; the page must show what the engine does, or nothing. */
static bool write_steps(struct trace *t, uint8_t *const *codes, const int *path, const struct model *fp32,
                        float *const *values, struct error *err) {
    int layers = t->q->shape.layers, classes = t->q->shape.widths[layers];
    struct writer w = {.at = t->steps};
    uint8_t logits[256];
    qmlp_forward_ref(t->q, t->pixels, 1, logits);
    if (memcmp(logits, codes[layers], (size_t)classes) != 0)
        return fail(err, "image %zu: the logit codes are not those of the integer engine", t->image);
    for (int l = 0; l < layers; l++) {
        int c = w.neuron = path[l];
        w.layer = l;
        t->first[l] = (size_t)(w.at - t->steps);
        add_neuron(&w, t->q, codes[l], fp32 ? &fp32->mlp.layer[l] : NULL, values[l],
                   fp32 ? (double)values[l + 1][c] : NAN);
        long long code = trace_find(t, l, "y_q")->integer, folded = trace_find(t, l, "folded bias")->integer;
        if (code != codes[l + 1][c] || folded != t->q->layer[l].folded_bias[c] ||
            folded + trace_find(t, l, "sum x_q w_q")->integer != trace_find(t, l, "acc")->integer)
            return fail(err, "image %zu, fc%d neuron %d: code %lld by hand, %d by the integer engine", t->image, l + 1,
                        c, code, codes[l + 1][c]);
    }
    t->first[layers] = (size_t)(w.at - t->steps);
    for (int j = w.neuron = 0; j < classes; w.neuron = ++j)
        add(&w, j == t->predicted ? "logit, predicted" : "logit", logits[j],
            (double)dequantize(logits[j], t->q->activation[layers]), fp32 ? (double)values[layers][j] : NAN, "", 0);
    t->first[layers + 1] = (size_t)(w.at - t->steps);
    return true;
}

bool trace_make(const struct model *model, const struct model *fp32, const struct split *split, size_t image, int layer,
                int neuron, struct trace *t, struct error *err) {
    const struct mlp_shape *shape = &model->shape;
    struct model_run run = {0}, fp32_run = {0};
    int path[MLP_MAX_LAYERS] = {0};
    size_t most = (size_t)shape->widths[shape->layers];
    for (int l = 0; l < shape->layers; l++) most += (size_t)shape->widths[l] + 32; /* terms, and the others */
    *t = (struct trace){.q = &model->qmlp,
                        .has_fp32 = fp32,
                        .image = image,
                        .rows = split->rows,
                        .cols = split->cols,
                        .label = split->labels[image],
                        .pixels = split->images + image * (size_t)split->rows * (size_t)split->cols,
                        .steps = aligned_array(most, sizeof *t->steps, err)};
    bool ok = t->steps && model_run_create(model, 1, 1, RUN_LAYERS, &run, err) &&
        (!fp32 || model_run_create(fp32, 1, 1, RUN_LAYERS, &fp32_run, err));
    if (ok) {
        t->ties = model_run(&run, t->pixels, 1, &t->predicted);
        if (fp32) model_run(&fp32_run, t->pixels, 1, NULL);
        choose_path(t->q, run.codes, t->predicted, layer, neuron, path);
        ok = write_steps(t, run.codes, path, fp32, fp32_run.values, err);
    }
    model_run_free(&run);
    model_run_free(&fp32_run);
    return ok;
}

void trace_free(struct trace *t) { free(t->steps); }

const struct trace_step *trace_find(const struct trace *t, int layer, const char *name) {
    const struct trace_step *step = t->steps + t->first[layer];
    while (strcmp(step->name, name) != 0) step++;
    return step;
}
