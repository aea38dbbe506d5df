#include "studies/trace_steps.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct trace_name trace_names[TRACE_KINDS] = {
    [TRACE_S_X] = {"s_x"},
    [TRACE_Z_X] = {"z_x"},
    [TRACE_S_W] = {"s_w"},
    [TRACE_TERM] = {"term"},
    [TRACE_SUM] = {"sum", "sum of products", .asked = true, .shows_real = true},
    [TRACE_BIAS] = {"b_q", "+ bias b_q = round(b / (s_x s_w))", .shows_real = true},
    [TRACE_ACC] = {"acc", "= acc", .asked = true, .shows_real = true},
    [TRACE_WEIGHT_SUM] = {"sum w_q"},
    [TRACE_FOLDED] = {"folded bias", "folded bias b_q - z_x sum w_q", .asked = true},
    [TRACE_RAW] = {"sum x_q w_q", "+ sum of x_q w_q"},
    [TRACE_S_Y] = {"s_y"},
    [TRACE_M_REAL] = {"M"},
    [TRACE_M] = {"m"},
    [TRACE_RIGHT] = {"right"},
    [TRACE_SHIFT] = {"shift"},
    [TRACE_PRODUCT] = {"acc m", "acc m, 64 bits", .asked = true},
    [TRACE_HALF] = {"half", "+ half: 2^(right - 1)"},
    [TRACE_ROUNDED] = {"rounded", ">> right: rounded once, ties up", .asked = true},
    [TRACE_Z_Y] = {"z_y", "+ z_y"},
    [TRACE_Y_MIN] = {"y_min"},
    [TRACE_Y_MAX] = {"y_max"},
    [TRACE_CODE] = {"y_q", "= y_q, clamped to", .asked = true, .shows_real = true},
    [TRACE_LOGIT] = {"logit"},
    [TRACE_PREDICTED] = {"logit, predicted"},
};

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
    bool has_fp32;
};

static struct trace_step *add(struct writer *w, enum trace_kind kind, double real, double fp32) {
    *w->at = (struct trace_step){
        .kind = kind, .layer = w->layer, .neuron = w->neuron, .real = real, .fp32 = w->has_fp32 ? fp32 : NAN};
    return w->at++;
}

static void add_integer(struct writer *w, enum trace_kind kind, long long integer, double real, double fp32) {
    struct trace_step *step = add(w, kind, real, fp32);
    step->is_integer = true;
    step->integer = integer;
}

/* Eq. 5 and 6 of one neuron spelled out; returns its code, *acc by the other way, from the folded bias, in *other. */
static uint8_t add_neuron(struct writer *w, const struct qmlp *q, const uint8_t *x, const struct dense *fp32,
                          float *const *fp32_values, int64_t *other) {
    int l = w->layer, c = w->neuron;
    const struct qlinear *layer = &q->layer[l];
    const int8_t *row = layer->weight + (size_t)c * (size_t)layer->in;
    const float *fp32_row = fp32 ? fp32->weight + (size_t)c * (size_t)fp32->in : NULL;
    double s_x = (double)q->activation[l].scale, s_w = (double)qmlp_weight_scale(q, l, c),
           s_y = (double)q->activation[l + 1].scale, s = s_x * s_w, fp32_sum = 0;
    int32_t sum = 0, raw = 0, weight_sum = 0;
    add(w, TRACE_S_X, s_x, NAN);
    add_integer(w, TRACE_Z_X, layer->x_zero_point, NAN, NAN);
    add(w, TRACE_S_W, s_w, NAN);
    for (int k = 0; k < layer->in; k++) {
        int32_t product = product_at(layer, x, c, k);
        double exact = fp32 ? (double)fp32_values[l][k] * (double)fp32_row[k] : NAN;
        sum += product;
        raw += x[k] * row[k];
        weight_sum += row[k];
        fp32_sum += exact;
        if (x[k] == layer->x_zero_point) continue;
        add_integer(w, TRACE_TERM, product, s * product, exact);
        w->at[-1].k = k, w->at[-1].x_q = x[k], w->at[-1].w_q = row[k], w->at[-1].running = sum;
    }
    struct multiplier by = layer->multiplier[c];
    int32_t bias = layer->bias[c], acc = sum + bias, folded = bias - layer->x_zero_point * weight_sum;
    int64_t product = (int64_t)acc * by.m, half = (int64_t)1 << (by.right - 1), rounded = (product + half) >> by.right;
    int64_t code = rounded + layer->y_zero_point;
    code = code < layer->y_min ? layer->y_min : code > layer->y_max ? layer->y_max : code;
    double fp32_bias = fp32 ? (double)fp32->bias[c] : NAN;
    add_integer(w, TRACE_SUM, sum, s * sum, fp32_sum);
    add_integer(w, TRACE_BIAS, bias, s * bias, fp32_bias);
    add_integer(w, TRACE_ACC, acc, s * acc, fp32_sum + fp32_bias);
    add_integer(w, TRACE_WEIGHT_SUM, weight_sum, NAN, NAN);
    add_integer(w, TRACE_FOLDED, folded, NAN, NAN);
    add_integer(w, TRACE_RAW, raw, NAN, NAN);
    add(w, TRACE_S_Y, s_y, NAN);
    add(w, TRACE_M_REAL, s / s_y, NAN);
    add_integer(w, TRACE_M, by.m, NAN, NAN);
    add_integer(w, TRACE_RIGHT, by.right, NAN, NAN);
    add_integer(w, TRACE_SHIFT, 31 - by.right, NAN, NAN);
    add_integer(w, TRACE_PRODUCT, product, ldexp((double)product, -by.right), NAN);
    add_integer(w, TRACE_HALF, half, NAN, NAN);
    add_integer(w, TRACE_ROUNDED, rounded, NAN, NAN);
    add_integer(w, TRACE_Z_Y, layer->y_zero_point, NAN, NAN);
    add_integer(w, TRACE_Y_MIN, layer->y_min, NAN, NAN);
    add_integer(w, TRACE_Y_MAX, layer->y_max, NAN, NAN);
    add_integer(w, TRACE_CODE, code, (double)dequantize((int32_t)code, q->activation[l + 1]),
                fp32 ? (double)fp32_values[l + 1][c] : NAN);
    *other = (int64_t)folded + raw - acc;
    return (uint8_t)code;
}

/* All layers' steps and the logits; the page must show what the engine does, or nothing. */
static bool write_steps(struct trace *t, uint8_t *const *codes, const int *path, const struct model *fp32,
                        float *const *fp32_values, struct error *err) {
    int layers = t->q->shape.layers, classes = t->q->shape.widths[layers];
    struct writer w = {.at = t->steps, .has_fp32 = fp32 != NULL};
    uint8_t logits[256];
    qmlp_forward_ref(t->q, t->pixels, 1, logits);
    if (memcmp(logits, codes[layers], (size_t)classes) != 0)
        return fail(err, "image %zu: the logit codes are not those of the integer engine", t->image);
    for (int l = 0; l < layers; l++) {
        int64_t other;
        w.layer = l, w.neuron = path[l];
        t->first[l] = (size_t)(w.at - t->steps);
        uint8_t code = add_neuron(&w, t->q, codes[l], fp32 ? &fp32->mlp.layer[l] : NULL, fp32_values, &other);
        if (code != codes[l + 1][path[l]] || other != 0 ||
            trace_find(t, l, TRACE_FOLDED)->integer != t->q->layer[l].folded_bias[path[l]])
            return fail(err, "image %zu, fc%d neuron %d: code %d by hand, %d by the integer engine", t->image, l + 1,
                        path[l], code, codes[l + 1][path[l]]);
    }
    t->first[layers] = (size_t)(w.at - t->steps);
    for (w.neuron = 0; w.neuron < classes; w.neuron++)
        add_integer(&w, w.neuron == t->predicted ? TRACE_PREDICTED : TRACE_LOGIT, logits[w.neuron],
                    (double)dequantize(logits[w.neuron], t->q->activation[layers]),
                    fp32 ? (double)fp32_values[layers][w.neuron] : NAN);
    t->first[layers + 1] = (size_t)(w.at - t->steps);
    return true;
}

bool trace_make(const struct model *model, const struct model *fp32, const struct split *split, size_t image, int layer,
                int neuron, struct trace *t, struct error *err) {
    const struct mlp_shape *shape = &model->shape;
    struct model_run run = {0}, fp32_run = {0};
    int path[MLP_MAX_LAYERS] = {0};
    size_t most = (size_t)shape->widths[shape->layers];
    for (int l = 0; l < shape->layers; l++) most += (size_t)shape->widths[l] + TRACE_KINDS;
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

const struct trace_step *trace_find(const struct trace *t, int layer, enum trace_kind kind) {
    const struct trace_step *step = t->steps + t->first[layer];
    while (step->kind != kind) step++;
    return step;
}
