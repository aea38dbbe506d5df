#include "model/measure.h"

#include <math.h>
#include <stdlib.h>

#include "nn/gemm.h"

enum { BATCH = 1000 };

/* Two runs over the same images, and what was counted so far. */
struct meter {
    struct model_run run, right; /* right: without the fault, by the fast engine */
    struct similarity logits;
    size_t codes[MLP_MAX_LAYERS + 1], cut[MLP_MAX_LAYERS + 1], different;
    bool pixel_cut[256]; /* bytes whose code the clamp cut */
};

static bool meter_create(const struct trial *trial, struct meter *m, struct error *err) {
    const struct model *model = trial->model;
    bool integer = model->kind == MODEL_INT8;
    *m = (struct meter){0};
    for (int byte = 0; integer && byte < 256; byte++) {
        struct qparams x = model->qmlp.activation[0];
        double code = rint((double)((float)byte / 255.0f / x.scale)) + x.zero_point;
        m->pixel_cut[byte] = code < x.qmin || code > x.qmax;
    }
    int batch = model_batch(model, BATCH), threads = gemm_threads(0);
    if (!model_run_create(model, batch, threads, integer ? RUN_REFERENCE : RUN_FAST, &m->run, err)) return false;
    m->run.fault = integer ? trial->fault : NULL;
    m->run.fault_layer = trial->layer;
    return trial->fault->kind == FAULT_NONE || model_run_create(model, batch, threads, RUN_FAST, &m->right, err);
}

static void count_codes(const uint8_t *images, size_t n, struct meter *m, struct measurement *out) {
    const struct mlp_shape *shape = &m->run.model->shape;
    for (size_t i = 0; i < n * (size_t)shape->widths[0]; i++) m->cut[0] += m->pixel_cut[images[i]];
    for (int l = 0; l <= shape->layers; l++) {
        size_t count = n * (size_t)shape->widths[l];
        for (size_t i = 0; i < count; i++) histogram_add(&out->histogram[l], m->run.codes[l][i], 1);
        m->codes[l] += count;
        m->cut[l] += m->run.cut[l];
    }
}

static void count_differences(const uint8_t *images, size_t n, struct meter *m, struct measurement *out) {
    int last = m->run.model->shape.layers;
    model_run(&m->right, images, (int)n, NULL);
    for (size_t i = 0; i < n * (size_t)m->run.model->shape.widths[last]; i++) {
        int difference = abs(m->run.codes[last][i] - m->right.codes[last][i]);
        m->different += difference != 0;
        if (difference > out->largest_difference) out->largest_difference = difference;
    }
}

static void compare_logits(const float *fp32, size_t n, struct meter *m) {
    const struct mlp_shape *shape = &m->run.model->shape;
    size_t classes = (size_t)shape->widths[shape->layers];
    float logits[256];
    for (size_t i = 0; i < n; i++) {
        model_run_logits(&m->run, (int)i, logits);
        similarity_add(&m->logits, fp32 + i * classes, logits, classes);
    }
}

bool measure(const struct trial *trial, const struct split *split, struct measurement *out, struct error *err) {
    const struct mlp_shape *shape = &trial->model->shape;
    size_t inputs = (size_t)shape->widths[0], classes = (size_t)shape->widths[shape->layers];
    struct evaluation *e = &out->evaluation;
    struct meter m = {0};
    *out = (struct measurement){
        .evaluation = {.count = split->count, .predicted = aligned_array(split->count, 1, err)}};
    bool ok = e->predicted && meter_create(trial, &m, err);
    for (size_t first = 0, n; ok && first < split->count; first += n) {
        const uint8_t *images = split->images + first * inputs;
        n = split->count - first < (size_t)m.run.capacity ? split->count - first : (size_t)m.run.capacity;
        e->ties += model_run(&m.run, images, (int)n, e->predicted + first);
        if (m.run.fault) count_codes(images, n, &m, out);
        if (m.right.model) count_differences(images, n, &m, out);
        if (trial->fp32_logits) compare_logits(trial->fp32_logits + first * classes, n, &m);
    }
    for (size_t i = 0; ok && i < e->count; i++) e->correct += e->predicted[i] == split->labels[i];
    for (int l = 0; l <= shape->layers; l++) {
        out->histogram[l].levels = 256;
        out->saturated_percent[l] = 100.0 * (double)m.cut[l] / (double)m.codes[l];
    }
    out->logit_sqnr_db = trial->fp32_logits ? similarity_sqnr_db(&m.logits) : NAN;
    out->different_percent = 100.0 * (double)m.different / (double)m.codes[shape->layers];
    model_run_free(&m.run);
    model_run_free(&m.right);
    if (!ok) measurement_free(out);
    return ok;
}

void measurement_free(struct measurement *m) { evaluation_free(&m->evaluation); }
