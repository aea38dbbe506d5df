#include <string.h>

#include "studies/trace.h"

static void carve(struct trace *t) {
    for (int i = 0; i <= t->q->shape.layers; i++) t->codes[i] = block_take(&t->block, (size_t)t->q->shape.widths[i], 1);
}

static void run_reference(struct trace *t) {
    const struct qmlp *q = t->q;
    for (int k = 0; k < q->shape.widths[0]; k++) t->codes[0][k] = q->pixel_code[t->pixels[k]];
    for (int l = 0; l < q->shape.layers; l++) qlinear_ref(&q->layer[l], t->codes[l], 1, t->codes[l + 1]);
    t->ties = qmlp_classify(t->codes[q->shape.layers], 1, q->shape.widths[q->shape.layers], &t->predicted);
}

static int32_t product_at(const struct trace *t, int l, int neuron, int k) {
    const struct qlinear *layer = &t->q->layer[l];
    return (t->codes[l][k] - layer->x_zero_point) * layer->weight[(size_t)neuron * (size_t)layer->in + (size_t)k];
}

/* The input of layer l that adds most to a neuron. */
static int strongest_input(const struct trace *t, int l, int neuron) {
    int best = 0;
    for (int k = 1; k < t->q->layer[l].in; k++)
        if (product_at(t, l, neuron, k) > product_at(t, l, neuron, best)) best = k;
    return best;
}

/* The neuron of layer l to which input k adds most. */
static int strongest_output(const struct trace *t, int l, int k) {
    int best = 0;
    for (int c = 1; c < t->q->layer[l].out; c++)
        if (product_at(t, l, c, k) > product_at(t, l, best, k)) best = c;
    return best;
}

static void choose_path(struct trace *t, int layer, int neuron) {
    int last = t->q->shape.layers - 1;
    if (layer < 0) layer = last, neuron = t->predicted;
    t->layer[layer].neuron = neuron;
    for (int l = layer; l > 0; l--) t->layer[l - 1].neuron = strongest_input(t, l, t->layer[l].neuron);
    for (int l = layer + 1; l <= last; l++)
        t->layer[l].neuron = l == last ? t->predicted : strongest_output(t, l, t->layer[l - 1].neuron);
}

/* Eq. 5 and 6 spelled out for one neuron. */
static void compute_neuron(const struct trace *t, int l, struct trace_layer *n) {
    const struct qlinear *layer = &t->q->layer[l];
    n->in = layer->in, n->out = layer->out;
    n->x = t->codes[l];
    n->w = layer->weight + (size_t)n->neuron * (size_t)layer->in;
    n->s_x = t->q->activation[l].scale, n->s_y = t->q->activation[l + 1].scale;
    n->s_w = qmlp_weight_scale(t->q, l, n->neuron);
    n->z_x = layer->x_zero_point, n->z_y = layer->y_zero_point;
    n->y_min = layer->y_min, n->y_max = layer->y_max;
    n->bias = layer->bias[n->neuron];
    n->by = layer->multiplier[n->neuron];
    for (int k = 0; k < n->in; k++) {
        n->sum += trace_product(n, k);
        n->raw += n->x[k] * n->w[k];
        n->weight_sum += n->w[k];
    }
    n->acc = n->sum + n->bias;
    n->folded = n->bias - n->z_x * n->weight_sum;
    n->product = (int64_t)n->acc * n->by.m;
    n->rounded = (n->product + ((int64_t)1 << (n->by.right - 1))) >> n->by.right;
    int64_t code = n->rounded + n->z_y;
    n->code = (uint8_t)(code < n->y_min ? n->y_min : code > n->y_max ? n->y_max : code);
}

static void read_fp32(const struct trace *t, int l, struct trace_layer *n) {
    const struct dense *d = &t->fp32->layer[l];
    n->fp32_x = t->fp32_ws.activation[l];
    n->fp32_w = d->weight + (size_t)n->neuron * (size_t)d->in;
    for (int k = 0; k < n->in; k++) n->fp32_sum += (double)n->fp32_x[k] * (double)n->fp32_w[k];
    n->fp32_bias = (double)d->bias[n->neuron];
    n->fp32_y = (double)t->fp32_ws.activation[l + 1][n->neuron];
}

/* The page must show what the engine does, or nothing. */
static bool check(const struct trace *t, struct error *err) {
    uint8_t logits[256];
    int last = t->q->shape.layers;
    qmlp_forward_ref(t->q, t->pixels, 1, logits);
    if (memcmp(logits, t->codes[last], (size_t)t->q->shape.widths[last]) != 0)
        return fail(err, "image %zu: the logit codes are not those of the integer engine", t->image);
    for (int l = 0; l < last; l++) {
        const struct trace_layer *n = &t->layer[l];
        if (n->code != t->codes[l + 1][n->neuron] || n->folded + n->raw != n->acc ||
            n->folded != t->q->layer[l].folded_bias[n->neuron])
            return fail(err, "image %zu, fc%d neuron %d: code %d by hand, %d by the integer engine", t->image, l + 1,
                        n->neuron, n->code, t->codes[l + 1][n->neuron]);
    }
    return true;
}

bool trace_make(const struct qmlp *q, const struct mlp *fp32, const struct split *split, size_t image, int layer,
                int neuron, struct trace *t, struct error *err) {
    *t = (struct trace){.q = q,
                        .fp32 = fp32,
                        .image = image,
                        .rows = split->rows,
                        .cols = split->cols,
                        .label = split->labels[image],
                        .pixels = split->images + image * (size_t)split->rows * (size_t)split->cols};
    carve(t);
    if (!block_reserve(&t->block, err)) return false;
    carve(t);
    if (fp32) {
        if (!mlp_workspace_create(&fp32->shape, 1, false, &t->fp32_ws, err)) return false;
        mlp_load_images(fp32, t->pixels, 1, &t->fp32_ws);
        mlp_forward(fp32, 1, &t->fp32_ws);
    }
    run_reference(t);
    choose_path(t, layer, neuron);
    for (int l = 0; l < q->shape.layers; l++) {
        compute_neuron(t, l, &t->layer[l]);
        if (fp32) read_fp32(t, l, &t->layer[l]);
    }
    return check(t, err);
}

void trace_free(struct trace *t) {
    mlp_workspace_free(&t->fp32_ws);
    block_free(&t->block);
}

int trace_group(const struct trace *t, int layer) {
    if (layer == 0) return t->cols;
    int group = 16;
    while (t->layer[layer].in > 32 * group) group *= 2; /* at most 32 lines a layer */
    return group;
}
