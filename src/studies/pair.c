#include "studies/pair.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "nn/gemm.h"

enum { BATCH = 512 };

static bool measure_weights(struct pair *p, struct error *err) {
    const struct mlp_shape *shape = &p->models[0].shape;
    for (int l = 0; l < shape->layers; l++) {
        size_t n = (size_t)shape->widths[l] * (size_t)shape->widths[l + 1];
        float *weights = aligned_array(2 * n, sizeof *weights, err); /* [2][out][in] */
        if (!weights) return false;
        for (int i = 0; i < 2; i++) model_weights(&p->models[i], l, weights + (size_t)i * n);
        similarity_add(&p->weights[l], weights, weights + n, n);
        free(weights);
    }
    return true;
}

bool pair_read(const char *const *paths, struct pair *p, struct error *err) {
    char shapes[2][128];
    for (int i = 0; i < 2; i++) {
        p->paths[i] = paths[i];
        if (!model_read(paths[i], &p->models[i], &p->notes[i], err)) return false;
        mlp_shape_print(&p->models[i].shape, shapes[i], sizeof shapes[i]);
    }
    if (memcmp(&p->models[0].shape, &p->models[1].shape, sizeof p->models[0].shape) != 0)
        return fail(err, "%s is %s and %s is %s: expected two models of one shape", paths[0], shapes[0], paths[1],
                    shapes[1]);
    return measure_weights(p, err);
}

/* All images through both models: similarity of every layer's output, and the logits. */
static void measure_outputs(struct pair *p, struct model_run runs[2]) {
    const struct mlp_shape *shape = &p->models[0].shape;
    size_t classes = pair_classes(p), count = p->test->count;
    size_t batch = (size_t)(runs[0].capacity < runs[1].capacity ? runs[0].capacity : runs[1].capacity);
    struct progress bar;
    progress_begin(&bar, "comparing", "images");
    for (size_t first = 0; first < count; first += batch) {
        size_t n = count - first < batch ? count - first : batch;
        for (int i = 0; i < 2; i++) {
            model_run(&runs[i], p->test->images + first * (size_t)shape->widths[0], (int)n, NULL);
            memcpy(p->logits[i] + first * classes, runs[i].values[shape->layers], n * classes * sizeof(float));
        }
        for (int l = 0; l <= shape->layers; l++)
            similarity_add(&p->outputs[l], runs[0].values[l], runs[1].values[l], n * (size_t)shape->widths[l]);
        progress_update(&bar, first + n, count);
    }
    progress_end(&bar);
}

/* ---- the predictions that changed ------------------------------------------------------------------------------- */

static double gap(const struct pair *p, int model, size_t image, int winner, int other) {
    const float *logits = p->logits[model] + image * pair_classes(p);
    return (double)logits[winner] - (double)logits[other];
}

static int by_margin(const void *a, const void *b) {
    const struct change *x = a, *y = b;
    if (x->margin_a != y->margin_a) return x->margin_a < y->margin_a ? 1 : -1;
    return x->image < y->image ? -1 : 1;
}

static bool find_changes(struct pair *p, struct error *err) {
    const uint8_t *a = p->evaluations[0].predicted, *b = p->evaluations[1].predicted;
    size_t n = p->test->count;
    double *margins = aligned_array(n, sizeof *margins, err);
    if (!margins || !(p->changes = aligned_array(n, sizeof *p->changes, err))) {
        free(margins);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        margins[i] = INFINITY;
        for (int j = 0; j < (int)pair_classes(p); j++)
            if (j != a[i]) margins[i] = fmin(margins[i], gap(p, 0, i, a[i], j));
        if (a[i] != b[i])
            p->changes[p->change_count++] = (struct change){i, gap(p, 0, i, a[i], b[i]), gap(p, 1, i, b[i], a[i])};
    }
    qsort(p->changes, p->change_count, sizeof *p->changes, by_margin);
    percentile_of(margins, n, 0.5); /* sorts them */
    p->median_margin = (margins[(n - 1) / 2] + margins[n / 2]) / 2;
    free(margins);
    return true;
}

bool pair_measure(struct pair *p, const struct split *test, struct error *err) {
    struct model_run runs[2] = {{0}};
    bool ok = true;
    p->test = test;
    for (int i = 0; ok && i < 2; i++) {
        p->logits[i] = aligned_array(test->count * pair_classes(p), sizeof(float), err);
        ok = p->logits[i] &&
            model_run_create(&p->models[i], model_batch(&p->models[i], BATCH), gemm_threads(0), RUN_LAYERS, &runs[i],
                             err);
    }
    if (ok) measure_outputs(p, runs);
    for (int i = 0; i < 2; i++) {
        model_run_free(&runs[i]);
        ok = ok && evaluate_logits(p->logits[i], (int)pair_classes(p), test, &p->evaluations[i], err);
    }
    return ok && find_changes(p, err);
}

void pair_free(struct pair *p) {
    for (int i = 0; i < 2; i++) {
        model_free(&p->models[i]);
        evaluation_free(&p->evaluations[i]);
        free(p->logits[i]);
    }
    free(p->changes);
}
