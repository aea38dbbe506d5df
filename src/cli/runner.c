#include "cli/runner.h"

#include <stdlib.h>
#include <string.h>

#include "nn/gemm.h"

bool runner_create(const struct model *model, int capacity, int threads, struct runner *r, struct error *err) {
    const struct mlp_shape *shape = &model->shape;
    *r = (struct runner){.model = model, .capacity = capacity, .threads = threads};
    if (runs_bf16(model))
        return bf16_workspace_create(shape, threads, &r->bf16_ws, err) &&
            (r->logits = aligned_array((size_t)capacity * (size_t)shape->widths[shape->layers], sizeof *r->logits,
                                       err));
    switch (model->kind) {
    case MODEL_FP32:
    case MODEL_WEIGHT_ONLY: return mlp_workspace_create(shape, capacity, false, &r->mlp_ws, err);
    case MODEL_DYNAMIC: return dynamic_workspace_create(shape, capacity, &r->dynamic_ws, err);
    case MODEL_INT8:
        return qmlp_workspace_create(shape, threads, &r->qmlp_ws, err) &&
            (r->codes = aligned_array((size_t)capacity, (size_t)shape->widths[shape->layers], err));
    }
    return false;
}

void runner_free(struct runner *r) {
    mlp_workspace_free(&r->mlp_ws);
    qmlp_workspace_free(&r->qmlp_ws);
    dynamic_workspace_free(&r->dynamic_ws);
    bf16_workspace_free(&r->bf16_ws);
    free(r->logits);
    free(r->codes);
    *r = (struct runner){0};
}

size_t runner_predict(struct runner *r, const uint8_t *images, size_t count, uint8_t *predicted) {
    const struct model *m = r->model;
    if (runs_bf16(m)) {
        bf16_mlp_forward(&m->bf16, images, count, &r->bf16_ws, r->logits);
        return highest_classes(r->logits, count, m->shape.widths[m->shape.layers], predicted);
    }
    switch (m->kind) {
    case MODEL_FP32:
    case MODEL_WEIGHT_ONLY: {
        int before = gemm_threads(0);
        gemm_threads(r->threads);
        size_t ties = mlp_predict(&m->mlp, images, count, &r->mlp_ws, predicted);
        gemm_threads(before);
        return ties;
    }
    case MODEL_DYNAMIC: return dynamic_predict(&m->dynamic, images, count, &r->dynamic_ws, predicted);
    case MODEL_INT8:
        qmlp_forward(&m->qmlp, images, count, &r->qmlp_ws, r->codes);
        return qmlp_classify(r->codes, count, m->shape.widths[m->shape.layers], predicted);
    }
    return 0;
}

int runner_logits(struct runner *r, const uint8_t *image, float *logits) {
    const struct model *m = r->model;
    int last = m->shape.layers, classes = m->shape.widths[last];
    const float *from = runs_bf16(m) ? r->logits : r->mlp_ws.activation[last];
    uint8_t predicted;
    size_t ties = 0;
    if (m->kind == MODEL_INT8) {
        runner_predict(r, image, 1, &predicted);
        for (int j = 0; j < classes; j++) logits[j] = dequantize(r->codes[j], m->qmlp.activation[last]);
        return predicted;
    }
    if (m->kind == MODEL_DYNAMIC) from = dynamic_forward(&m->dynamic, image, 1, &r->dynamic_ws);
    else runner_predict(r, image, 1, &predicted);
    memcpy(logits, from, (size_t)classes * sizeof *logits);
    return highest_class(logits, classes, &ties);
}
