#include "model/evaluation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "nn/gemm.h"

enum { EVALUATION_BATCH = 2000, LAYERS_BATCH = 512, MEASURE_BATCH = 1000 };

void evaluation_free(struct evaluation *e) {
    free(e->predicted);
    *e = (struct evaluation){0};
}

static size_t batch_at(size_t count, size_t first, size_t most) { return count - first < most ? count - first : most; }

static void count_correct(const struct split *split, struct evaluation *e) {
    for (size_t i = 0; i < split->count; i++) e->correct += e->predicted[i] == split->labels[i];
}

static bool run_over(const struct model *model, const struct split *split, int how, float *logits,
                     struct evaluation *out, struct error *err) {
    size_t pixels = (size_t)split->rows * (size_t)split->cols;
    size_t classes = (size_t)model->shape.widths[model->shape.layers];
    struct model_run r = {0};
    *out = (struct evaluation){.count = split->count, .predicted = aligned_array(split->count, 1, err)};
    bool ok = out->predicted &&
        model_run_create(model, model_batch(model, EVALUATION_BATCH), gemm_threads(0), how, &r, err);
    for (size_t first = 0, n; ok && first < split->count; first += n) {
        n = batch_at(split->count, first, (size_t)r.capacity);
        out->ties += model_run(&r, split->images + first * pixels, (int)n, out->predicted + first);
        for (size_t i = 0; logits && i < n; i++) model_run_logits(&r, (int)i, logits + (first + i) * classes);
    }
    model_run_free(&r);
    if (ok) count_correct(split, out);
    else evaluation_free(out);
    return ok;
}

bool evaluate(const struct model *model, const struct split *split, bool reference, struct evaluation *out,
              struct error *err) {
    return run_over(model, split, reference ? RUN_REFERENCE : RUN_FAST, NULL, out, err);
}

bool evaluate_keeping(const struct model *model, const struct split *split, float *logits, struct evaluation *out,
                      struct error *err) {
    return run_over(model, split, RUN_FAST, logits, out, err);
}

void logits_apart(const float *a, const float *b, size_t count, int classes, double *sqnr_db, double *kl) {
    struct similarity s = {0};
    double sum = 0;
    size_t row = (size_t)classes;
    similarity_add(&s, a, b, count * row);
    for (size_t i = 0; i < count; i++) sum += kl_divergence(a + i * row, b + i * row, classes);
    *sqnr_db = similarity_sqnr_db(&s);
    *kl = sum / (double)count;
}

bool evaluate_logits(const float *logits, int classes, const struct split *split, struct evaluation *out,
                     struct error *err) {
    *out = (struct evaluation){.count = split->count, .predicted = aligned_array(split->count, 1, err)};
    if (!out->predicted) return false;
    out->ties = highest_classes(logits, split->count, classes, out->predicted);
    count_correct(split, out);
    return true;
}

float *model_logits(const struct model *model, const struct split *split, struct error *err) {
    size_t classes = (size_t)model->shape.widths[model->shape.layers], inputs = (size_t)model->shape.widths[0];
    struct model_run r = {0};
    float *logits = aligned_array(split->count * classes, sizeof *logits, err);
    if (logits && !model_run_create(model, model_batch(model, LAYERS_BATCH), gemm_threads(0), RUN_LAYERS, &r, err)) {
        free(logits);
        logits = NULL;
    }
    for (size_t first = 0, n; logits && first < split->count; first += n) {
        n = batch_at(split->count, first, (size_t)r.capacity);
        model_run(&r, split->images + first * inputs, (int)n, NULL);
        for (size_t i = 0; i < n; i++) model_run_logits(&r, (int)i, logits + (first + i) * classes);
    }
    model_run_free(&r);
    return logits;
}

double accuracy_percent(const struct evaluation *e) { return 100.0 * (double)e->correct / (double)e->count; }

double standard_error_percent(const struct evaluation *e) {
    double p = (double)e->correct / (double)e->count;
    return 100.0 * sqrt(p * (1 - p) / (double)e->count);
}

struct paired compare(const struct evaluation *a, const struct evaluation *b, const uint8_t *labels) {
    struct paired paired = {0};
    for (size_t i = 0; i < a->count; i++) {
        bool a_right = a->predicted[i] == labels[i], b_right = b->predicted[i] == labels[i];
        paired.changed += a->predicted[i] != b->predicted[i];
        paired.fixed += !a_right && b_right;
        paired.broken += a_right && !b_right;
    }
    return paired;
}

bool compare_outputs(const struct model *a, const struct model *b, const uint8_t *images, size_t count,
                     struct similarity *outputs, struct similarity *rounding, float *const *logits, struct error *err) {
    const struct model *models[2] = {a, b};
    const int *widths = a->shape.widths, layers = a->shape.layers;
    size_t classes = (size_t)widths[layers], batch = (size_t)model_batch(a, model_batch(b, LAYERS_BATCH));
    struct model_run runs[2] = {{0}};
    bool ok = true;
    for (int i = 0; ok && i < 2; i++)
        ok = model_run_create(models[i], (int)batch, gemm_threads(0), RUN_LAYERS, &runs[i], err);
    for (size_t first = 0, n; ok && first < count; first += n) {
        n = batch_at(count, first, batch);
        for (int i = 0; i < 2; i++) {
            model_run(&runs[i], images + first * (size_t)widths[0], (int)n, NULL);
            if (logits) memcpy(logits[i] + first * classes, runs[i].values[layers], n * classes * sizeof(float));
        }
        for (int l = 0; l <= layers; l++) {
            size_t values = n * (size_t)widths[l];
            similarity_add(&outputs[l], runs[0].values[l], runs[1].values[l], values);
            for (size_t k = 0; rounding && k < values; k++)
                runs[1].values[l][k] = fake_quantize(runs[0].values[l][k], b->qmlp.activation[l]);
            if (rounding) similarity_add(&rounding[l], runs[0].values[l], runs[1].values[l], values);
        }
    }
    for (int i = 0; i < 2; i++) model_run_free(&runs[i]);
    return ok;
}

void model_digests(struct model_run *r, const uint8_t *images, size_t count, uint64_t *layers, uint64_t *per_image) {
    const struct mlp_shape *shape = &r->model->shape;
    for (size_t first = 0, n; first < count; first += n) {
        n = batch_at(count, first, (size_t)r->capacity);
        model_run(r, images + first * (size_t)shape->widths[0], (int)n, NULL);
        for (int l = 1; l <= shape->layers; l++)
            layers[l - 1] = digest_add(layers[l - 1], r->codes[l], n * (size_t)shape->widths[l]);
        for (size_t i = 0; per_image && i < n; i++) {
            uint64_t digest = DIGEST_START;
            for (int l = 1; l <= shape->layers; l++) {
                size_t width = (size_t)shape->widths[l];
                digest = digest_add(digest, r->codes[l] + i * width, width);
            }
            per_image[first + i] = digest;
        }
    }
}

/* ---- with a fault ------------------------------------------------------------------------------------------------ */

/* Two runs over the same images, and what was counted so far. */
struct meter {
    struct model_run run, right; /* right: without the fault, by the fast engine */
    struct similarity logits;
    size_t cut[MLP_MAX_LAYERS + 1], different;
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
    int batch = model_batch(model, MEASURE_BATCH), threads = gemm_threads(0);
    if (!model_run_create(model, batch, threads, integer ? RUN_REFERENCE : RUN_FAST, &m->run, err)) return false;
    m->run.fault = integer ? trial->fault : NULL;
    m->run.fault_layer = trial->layer;
    return trial->fault->kind == FAULT_NONE || model_run_create(model, batch, threads, RUN_FAST, &m->right, err);
}

static void count_codes(const uint8_t *images, size_t n, struct meter *m, struct measurement *out) {
    const struct mlp_shape *shape = &m->run.model->shape;
    for (size_t i = 0; i < n * (size_t)shape->widths[0]; i++) m->cut[0] += m->pixel_cut[images[i]];
    for (int l = 0; l <= shape->layers; l++) {
        for (size_t i = 0; i < n * (size_t)shape->widths[l]; i++)
            histogram_add(&out->histogram[l], m->run.codes[l][i], 1);
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
        n = batch_at(split->count, first, (size_t)m.run.capacity);
        e->ties += model_run(&m.run, images, (int)n, e->predicted + first);
        if (m.run.fault) count_codes(images, n, &m, out);
        if (m.right.model) count_differences(images, n, &m, out);
        if (trial->fp32_logits) compare_logits(trial->fp32_logits + first * classes, n, &m);
    }
    if (ok) count_correct(split, e);
    for (int l = 0; l <= shape->layers; l++) {
        out->histogram[l].levels = 256;
        out->saturated_percent[l] = 100.0 * (double)m.cut[l] / (double)out->histogram[l].count;
    }
    out->logit_sqnr_db = trial->fp32_logits ? similarity_sqnr_db(&m.logits) : NAN;
    out->different_percent = 100.0 * (double)m.different / (double)out->histogram[shape->layers].count;
    model_run_free(&m.run);
    model_run_free(&m.right);
    if (!ok) measurement_free(out);
    return ok;
}

void measurement_free(struct measurement *m) { evaluation_free(&m->evaluation); }
