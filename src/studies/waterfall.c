#include "studies/waterfall.h"

#include <math.h>
#include <string.h>


const struct waterfall_row waterfall_rows[WATERFALL_STEPS] = {
    {"fp32", "y = relu(W x + b)"},
    {"+ weights", "W read back from its codes, s_w w_q"},
    {"+ activations", "pixels and hidden layers rounded to codes (eq. 2)"},
    {"+ logits", "the last outputs too"},
    {"+ bias", "b as b_q (eq. 5)"},
    {"+ requantize", "M as (m, right) with one rounding (eq. 6)"},
};

static void carve(struct waterfall *w) {
    for (int step = WATERFALL_ACTIVATIONS; step < WATERFALL_STEPS; step++)
        for (int i = 0; i <= w->q->shape.layers; i++)
            w->code[step][i] = block_take(&w->block, (size_t)w->capacity * (size_t)w->q->shape.widths[i], 1);
}

bool waterfall_create(const struct mlp *fp32, const struct qmlp *q, int capacity, struct waterfall *w,
                      struct error *err) {
    *w = (struct waterfall){.fp32 = fp32, .q = q, .capacity = capacity};
    carve(w);
    if (!block_reserve(&w->block, err) || !mlp_copy(fp32, &w->weights, err) ||
        !mlp_workspace_create(&fp32->shape, capacity, false, &w->ws, err))
        return false;
    carve(w);
    for (int l = 0; l < q->shape.layers; l++) qmlp_read_weights(q, l, w->weights.layer[l].weight);
    return true;
}

void waterfall_free(struct waterfall *w) {
    mlp_free(&w->weights);
    mlp_workspace_free(&w->ws);
    block_free(&w->block);
}

/* Output c of layer l for one image x: its code, and its real value in *real where the step leaves it one. */
static uint8_t neuron(const struct waterfall *w, enum waterfall_step step, int l, int c, const uint8_t *x,
                      double *real) {
    const struct qlinear *layer = &w->q->layer[l];
    const struct qparams *y = &w->q->activation[l + 1];
    int32_t acc = dot_codes(x, layer->x_zero_point, layer->weight + (size_t)c * (size_t)layer->in, layer->in);
    double scale = (double)w->q->activation[l].scale * (double)qmlp_weight_scale(w->q, l, c);
    if (step >= WATERFALL_BIAS) acc += layer->bias[c];
    *real = scale * acc + (step >= WATERFALL_BIAS ? 0 : (double)w->fp32->layer[l].bias[c]);
    if (step == WATERFALL_REQUANTIZE)
        return requantize(acc, layer->multiplier[c], layer->y_zero_point, layer->y_min, layer->y_max);
    double code = rint(*real / (double)y->scale) + y->zero_point; /* eq. 2: ties to even */
    return (uint8_t)fmax(layer->y_min, fmin(layer->y_max, code));
}

static void run_image(struct waterfall *w, enum waterfall_step step, const uint8_t *pixels, int i, float *logits) {
    const struct qmlp *q = w->q;
    uint8_t *x = w->code[step][0] + (size_t)i * (size_t)q->shape.widths[0];
    for (int k = 0; k < q->shape.widths[0]; k++) x[k] = q->pixel_code[pixels[k]];
    for (int l = 0; l < q->shape.layers; l++) {
        bool last = l + 1 == q->shape.layers;
        uint8_t *y = w->code[step][l + 1] + (size_t)i * (size_t)q->layer[l].out;
        for (int c = 0; c < q->layer[l].out; c++) {
            double real;
            y[c] = neuron(w, step, l, c, x, &real);
            if (last) logits[c] = step < WATERFALL_LOGITS ? (float)real : dequantize(y[c], q->activation[l + 1]);
        }
        x = y;
    }
}

void waterfall_run(struct waterfall *w, enum waterfall_step step, const uint8_t *images, int count, float *logits) {
    size_t inputs = (size_t)w->q->shape.widths[0], classes = (size_t)w->q->shape.widths[w->q->shape.layers];
    if (step <= WATERFALL_WEIGHTS) {
        mlp_load_images(w->fp32, images, count, &w->ws);
        mlp_forward(step == WATERFALL_FP32 ? w->fp32 : &w->weights, count, &w->ws);
        memcpy(logits, w->ws.activation[w->q->shape.layers], (size_t)count * classes * sizeof(float));
        return;
    }
#pragma omp parallel for schedule(static)
    for (int i = 0; i < count; i++) run_image(w, step, images + (size_t)i * inputs, i, logits + (size_t)i * classes);
}
