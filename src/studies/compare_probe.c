#include "studies/compare_probe.h"

#include <stdlib.h>
#include <string.h>

#include "nn/gemm.h"
#include "lowbit/half.h"

static void carve(struct probe *p) {
    const struct mlp_shape *shape = &p->model->shape;
    for (int i = 0; i <= shape->layers; i++) {
        p->activation[i] = block_take(&p->block, PROBE_BATCH * (size_t)shape->widths[i], sizeof(float));
        p->code[i] = block_take(&p->block, PROBE_BATCH * (size_t)shape->widths[i], 1);
    }
}

bool probe_create(const struct model *model, struct probe *p, struct error *err) {
    *p = (struct probe){.model = model};
    carve(p);
    if (!block_reserve(&p->block, err)) return false;
    carve(p);
    if (runs_bf16(model)) return bf16_workspace_create(&model->shape, gemm_threads(0), &p->bf16_ws, err);
    if (model->kind == MODEL_DYNAMIC) return dynamic_workspace_create(&model->shape, PROBE_BATCH, &p->dynamic_ws, err);
    return model->kind == MODEL_INT8 || mlp_workspace_create(&model->shape, PROBE_BATCH, false, &p->mlp_ws, err);
}

void probe_free(struct probe *p) {
    mlp_workspace_free(&p->mlp_ws);
    dynamic_workspace_free(&p->dynamic_ws);
    bf16_workspace_free(&p->bf16_ws);
    block_free(&p->block);
}

size_t probe_batch(const struct model *model) { return model->kind == MODEL_DYNAMIC ? 64 : PROBE_BATCH; }

static void run_mlp(struct probe *p, const uint8_t *images, int count) {
    const struct mlp_shape *shape = &p->model->shape;
    mlp_load_images(&p->model->mlp, images, count, &p->mlp_ws);
    mlp_forward(&p->model->mlp, count, &p->mlp_ws);
    for (int i = 0; i <= shape->layers; i++)
        memcpy(p->activation[i], p->mlp_ws.activation[i], (size_t)count * (size_t)shape->widths[i] * sizeof(float));
}

static void run_integer(struct probe *p, const uint8_t *images, int count) {
    const struct qmlp *q = &p->model->qmlp;
    for (size_t i = 0; i < (size_t)count * (size_t)q->shape.widths[0]; i++) p->code[0][i] = q->pixel_code[images[i]];
    for (int l = 0; l < q->shape.layers; l++) {
        size_t in = (size_t)q->layer[l].in, out = (size_t)q->layer[l].out;
#pragma omp parallel for schedule(static)
        for (int i = 0; i < count; i++)
            qlinear_ref(&q->layer[l], p->code[l] + (size_t)i * in, 1, p->code[l + 1] + (size_t)i * out);
    }
    for (int i = 0; i <= q->shape.layers; i++)
        for (size_t k = 0; k < (size_t)count * (size_t)q->shape.widths[i]; k++)
            p->activation[i][k] = dequantize(p->code[i][k], q->activation[i]);
}

/* The engine keeps only the last layer's output, so each layer is run as the last one of a shorter network; it then
 * lacks its ReLU. */
static void run_dynamic(struct probe *p, const uint8_t *images, int count) {
    int layers = p->model->shape.layers;
    for (size_t i = 0; i < (size_t)count * (size_t)p->model->shape.widths[0]; i++)
        p->activation[0][i] = (float)images[i] / 255.0f;
    for (int l = 1; l <= layers; l++) {
        struct dynamic_mlp shorter = p->model->dynamic;
        shorter.shape.layers = l;
        const float *y = dynamic_forward(&shorter, images, count, &p->dynamic_ws);
        for (size_t i = 0; i < (size_t)count * (size_t)p->model->shape.widths[l]; i++)
            p->activation[l][i] = l < layers && y[i] < 0 ? 0 : y[i];
    }
}

/* As run_dynamic; a hidden layer is given its ReLU and its rounding to bf16 here. */
static void run_bf16(struct probe *p, const uint8_t *images, int count) {
    int layers = p->model->shape.layers;
    for (size_t i = 0; i < (size_t)count * (size_t)p->model->shape.widths[0]; i++)
        p->activation[0][i] = (float)images[i] / 255.0f;
    for (int l = 1; l <= layers; l++) {
        struct bf16_mlp shorter = p->model->bf16;
        float *y = p->activation[l];
        shorter.shape.layers = l;
        shorter.layer[l - 1].last = true;
        bf16_mlp_forward(&shorter, images, (size_t)count, &p->bf16_ws, y);
        for (size_t i = 0; l < layers && i < (size_t)count * (size_t)p->model->shape.widths[l]; i++)
            y[i] = y[i] < 0 ? 0 : float_from_bfloat(bfloat_from_float(y[i]));
    }
}

void probe_run(struct probe *p, const uint8_t *images, int count) {
    if (runs_bf16(p->model)) {
        run_bf16(p, images, count);
        return;
    }
    switch (p->model->kind) {
    case MODEL_FP32:
    case MODEL_WEIGHT_ONLY: run_mlp(p, images, count); break;
    case MODEL_INT8: run_integer(p, images, count); break;
    case MODEL_DYNAMIC: run_dynamic(p, images, count); break;
    }
}

float *probe_logits(const struct model *model, const struct split *split, struct error *err) {
    int layers = model->shape.layers;
    size_t classes = (size_t)model->shape.widths[layers], inputs = (size_t)model->shape.widths[0];
    struct probe p = {0};
    float *logits = aligned_array(split->count * classes, sizeof *logits, err);
    if (!logits || !probe_create(model, &p, err)) {
        probe_free(&p);
        free(logits);
        return NULL;
    }
    for (size_t first = 0, batch = probe_batch(model); first < split->count; first += batch) {
        size_t n = split->count - first < batch ? split->count - first : batch;
        probe_run(&p, split->images + first * inputs, (int)n);
        memcpy(logits + first * classes, p.activation[layers], n * classes * sizeof *logits);
    }
    probe_free(&p);
    return logits;
}

bool evaluate_logits(const float *logits, int classes, const struct split *split, struct evaluation *out,
                     struct error *err) {
    *out = (struct evaluation){.count = split->count, .predicted = aligned_array(split->count, 1, err)};
    for (size_t i = 0; out->predicted && i < split->count; i++) {
        out->predicted[i] = highest_class(logits + i * (size_t)classes, classes, &out->ties);
        out->correct += out->predicted[i] == split->labels[i];
    }
    return out->predicted != NULL;
}

static void dynamic_weights(const struct dynamic_mlp_layer *d, float *weights) {
    for (int c = 0; c < d->out; c++) {
        float *row = weights + (size_t)c * (size_t)d->in;
        for (int k = 0; k < d->in; k++)
            row[k] = d->weight_scale[c] * (float)d->weight[(size_t)c * (size_t)d->in + (size_t)k];
        for (int j = 0; j < d->outliers; j++)
            row[d->outlier_columns[j]] = float_from_half(d->outlier_weight[c * d->outliers + j]);
    }
}

void probe_weights(const struct model *model, int layer, float *weights) {
    size_t n = (size_t)model->shape.widths[layer] * (size_t)model->shape.widths[layer + 1];
    switch (model->kind) {
    case MODEL_FP32:
    case MODEL_WEIGHT_ONLY: memcpy(weights, model->mlp.layer[layer].weight, n * sizeof *weights); break;
    case MODEL_INT8: qmlp_read_weights(&model->qmlp, layer, weights); break;
    case MODEL_DYNAMIC: dynamic_weights(&model->dynamic.layer[layer], weights); break;
    }
}

static void probe_biases(const struct model *model, int l, float *biases) {
    const struct qmlp *q = &model->qmlp;
    for (int c = 0; c < model->shape.widths[l + 1]; c++) switch (model->kind) {
        case MODEL_FP32:
        case MODEL_WEIGHT_ONLY: biases[c] = model->mlp.layer[l].bias[c]; break;
        case MODEL_INT8:
            biases[c] = q->activation[l].scale * qmlp_weight_scale(q, l, c) * (float)q->layer[l].bias[c];
            break;
        case MODEL_DYNAMIC: biases[c] = model->dynamic.layer[l].bias[c]; break;
        }
}

bool probe_mlp(const struct model *model, struct mlp *out, struct error *err) {
    if (!mlp_create(&model->shape, out, err)) return false;
    for (int l = 0; l < model->shape.layers; l++) {
        probe_weights(model, l, out->layer[l].weight);
        probe_biases(model, l, out->layer[l].bias);
    }
    return true;
}
