#include "model/evaluation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/gemm.h"

enum { EVALUATION_BATCH = 2000, LAYERS_BATCH = 512 };

void evaluation_free(struct evaluation *e) {
    free(e->predicted);
    *e = (struct evaluation){0};
}

static size_t batch_at(size_t count, size_t first, size_t most) { return count - first < most ? count - first : most; }

static void count_correct(const struct split *split, struct evaluation *e) {
    for (size_t i = 0; i < split->count; i++) e->correct += e->predicted[i] == split->labels[i];
}

bool evaluate(const struct model *model, const struct split *split, bool reference, struct evaluation *out,
              struct error *err) {
    size_t pixels = (size_t)split->rows * (size_t)split->cols;
    struct model_run r = {0};
    *out = (struct evaluation){.count = split->count, .predicted = aligned_array(split->count, 1, err)};
    bool ok = out->predicted &&
        model_run_create(model, model_batch(model, EVALUATION_BATCH), gemm_threads(0),
                         reference ? RUN_REFERENCE : RUN_FAST, &r, err);
    for (size_t first = 0, n; ok && first < split->count; first += n) {
        n = batch_at(split->count, first, (size_t)r.capacity);
        out->ties += model_run(&r, split->images + first * pixels, (int)n, out->predicted + first);
    }
    model_run_free(&r);
    if (ok) count_correct(split, out);
    else evaluation_free(out);
    return ok;
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
