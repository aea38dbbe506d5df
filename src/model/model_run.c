#include "model/model_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lowbit/half.h"

static int classes_of(const struct model *m) { return m->shape.widths[m->shape.layers]; }

static size_t values_of(const struct model_run *r, int layer, int count) {
    return (size_t)count * (size_t)r->model->shape.widths[layer];
}

bool model_run_create(const struct model *model, int capacity, int threads, int how, struct model_run *out,
                      struct error *err) {
    const struct mlp_shape *shape = &model->shape;
    *out = (struct model_run){.model = model, .capacity = capacity, .threads = threads, .how = how};
    out->fault_layer = FAULTS_ALL_LAYERS;
    bool integer = model->kind == MODEL_INT8, every_code = integer && (how & (RUN_LAYERS | RUN_REFERENCE));
    do
        for (int i = 0; i <= shape->layers; i++) {
            size_t n = values_of(out, i, capacity);
            bool last = i == shape->layers, values = how & RUN_LAYERS || (last && !integer);
            out->values[i] = values ? block_take(&out->block, n, sizeof(float)) : NULL;
            out->codes[i] = every_code || (integer && last) ? block_take(&out->block, n, 1) : NULL;
        }
    while (block_again(&out->block, err));
    if (!out->block.memory) return false;
    if (runs_bf16(model)) return bf16_workspace_create(shape, threads, &out->bf16_ws, err);
    switch (model->kind) {
    case MODEL_FP32:
    case MODEL_WEIGHT_ONLY:
        return fp32_mlp_create(&model->mlp, fp32_kernel_best(), &out->fp32, err) &&
            fp32_workspace_create(shape, threads, &out->fp32_ws, err);
    case MODEL_DYNAMIC: return dynamic_workspace_create(shape, capacity, &out->dynamic_ws, err);
    case MODEL_INT8: return qmlp_workspace_create(shape, threads, &out->qmlp_ws, err);
    }
    return false;
}

void model_run_free(struct model_run *r) {
    fp32_mlp_free(&r->fp32);
    fp32_workspace_free(&r->fp32_ws);
    qmlp_workspace_free(&r->qmlp_ws);
    dynamic_workspace_free(&r->dynamic_ws);
    bf16_workspace_free(&r->bf16_ws);
    block_free(&r->block);
    *r = (struct model_run){0};
}

int model_batch(const struct model *model, int wanted) { return model->kind == MODEL_DYNAMIC ? 64 : wanted; }

static void run_fp32(struct model_run *r, const uint8_t *images, int count) {
    float *logits = r->values[r->model->shape.layers];
    if (!r->packed) fp32_mlp_pack(&r->fp32);
    r->packed = true;
    fp32_mlp_forward(&r->fp32, images, (size_t)count, &r->fp32_ws, r->how & RUN_LAYERS ? r->values : NULL, logits);
    r->logits = logits;
}

/* Eq. 5 and 6 as they stand, layer by layer, or with the fault. */
static void run_reference(struct model_run *r, const uint8_t *images, int count) {
    const struct qmlp *q = &r->model->qmlp;
    if (r->fault) faults_forward(q, r->fault, r->fault_layer, images, count, &r->qmlp_ws, r->codes, r->cut);
    else {
        for (size_t i = 0; i < values_of(r, 0, count); i++) r->codes[0][i] = q->pixel_code[images[i]];
        for (int l = 0; l < q->shape.layers; l++) {
            size_t in = (size_t)q->layer[l].in, out = (size_t)q->layer[l].out;
#pragma omp parallel for schedule(static)
            for (int i = 0; i < count; i++)
                qlinear_ref(&q->layer[l], r->codes[l] + (size_t)i * in, 1, r->codes[l + 1] + (size_t)i * out);
        }
    }
    for (int i = 0; r->how & RUN_LAYERS && i <= q->shape.layers; i++) {
        float value[256];
        for (int code = 0; code < 256; code++) value[code] = dequantize(code, q->activation[i]);
        for (size_t k = 0; k < values_of(r, i, count); k++) r->values[i][k] = value[r->codes[i][k]];
    }
}

static void run_bf16(struct model_run *r, const uint8_t *images, int count) {
    float *logits = r->values[r->model->shape.layers];
    bool layers = r->how & RUN_LAYERS;
    for (size_t i = 0; layers && i < values_of(r, 0, count); i++) r->values[0][i] = (float)images[i] / 255.0f;
    bf16_mlp_forward(&r->model->bf16, r->how & RUN_REFERENCE, images, (size_t)count, &r->bf16_ws,
                     layers ? r->values : NULL, logits);
    r->logits = logits;
}

static void run_dynamic(struct model_run *r, const uint8_t *images, int count) {
    dynamic_forward(&r->model->dynamic, images, count, &r->dynamic_ws);
    float *const *activation = r->dynamic_ws.activation;
    int layers = r->model->shape.layers;
    r->logits = activation[layers];
    for (int i = 0; r->how & RUN_LAYERS && i <= layers; i++)
        memcpy(r->values[i], activation[i], values_of(r, i, count) * sizeof(float));
}

size_t model_run(struct model_run *r, const uint8_t *images, int count, uint8_t *predicted) {
    const struct model *m = r->model;
    if (runs_bf16(m)) run_bf16(r, images, count);
    else if (m->kind == MODEL_DYNAMIC) run_dynamic(r, images, count);
    else if (m->kind == MODEL_INT8 && r->how) run_reference(r, images, count);
    else if (m->kind == MODEL_INT8)
        qmlp_forward(&m->qmlp, images, (size_t)count, &r->qmlp_ws, r->codes[m->shape.layers]);
    else run_fp32(r, images, count);
    if (!predicted) return 0;
    return m->kind == MODEL_INT8 ? qmlp_classify(r->codes[m->shape.layers], (size_t)count, classes_of(m), predicted)
                                 : highest_classes(r->logits, (size_t)count, classes_of(m), predicted);
}

void model_run_logits(const struct model_run *r, int i, float *logits) {
    const struct model *m = r->model;
    int classes = classes_of(m), last = m->shape.layers;
    for (int j = 0; j < classes; j++)
        logits[j] = m->kind == MODEL_INT8 ? dequantize(r->codes[last][i * classes + j], m->qmlp.activation[last])
                                          : r->logits[(size_t)i * (size_t)classes + (size_t)j];
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

void model_weights(const struct model *model, int layer, float *weights) {
    size_t n = (size_t)model->shape.widths[layer] * (size_t)model->shape.widths[layer + 1];
    switch (model->kind) {
    case MODEL_FP32:
    case MODEL_WEIGHT_ONLY: memcpy(weights, model->mlp.layer[layer].weight, n * sizeof *weights); break;
    case MODEL_INT8: qmlp_read_weights(&model->qmlp, layer, weights); break;
    case MODEL_DYNAMIC: dynamic_weights(&model->dynamic.layer[layer], weights); break;
    }
}

static float bias_of(const struct model *model, int l, int c) {
    const struct qmlp *q = &model->qmlp;
    switch (model->kind) {
    case MODEL_INT8: return q->activation[l].scale * qmlp_weight_scale(q, l, c) * (float)q->layer[l].bias[c];
    case MODEL_DYNAMIC: return model->dynamic.layer[l].bias[c];
    default: return model->mlp.layer[l].bias[c];
    }
}

bool model_as_mlp(const struct model *model, struct mlp *out, struct error *err) {
    if (!mlp_create(&model->shape, out, err)) return false;
    for (int l = 0; l < model->shape.layers; l++) {
        model_weights(model, l, out->layer[l].weight);
        for (int c = 0; c < out->layer[l].out; c++) out->layer[l].bias[c] = bias_of(model, l, c);
    }
    return true;
}

const char *arithmetic_name(const struct model *model) {
    switch (model->kind) {
    case MODEL_FP32: return "fp32";
    case MODEL_INT8: return "integer";
    case MODEL_WEIGHT_ONLY: return runs_bf16(model) ? "bf16 products, fp32 sums" : "fp32 after decode";
    case MODEL_DYNAMIC: return "int8 products, fp32 between";
    }
    return "";
}

const char *granularity_name(const struct model *model) {
    return model->kind != MODEL_INT8 ? "-" : model->qmlp.per_channel ? "per-channel" : "per-tensor";
}
