/* The page's engine: models, images through them, what is in every layer. */
#include "page/engine.h"

#include <stdlib.h>
#include <string.h>

#include "model/evaluation.h"

struct error page_failure;

/* ---- memory and errors ------------------------------------------------------------------------------------------- */

void *EXPORT(page_alloc)(size_t size) {
    void *memory = malloc(size ? size : 1);
    if (!memory) fail(&page_failure, "out of memory");
    return memory;
}

void EXPORT(page_free)(void *memory) { free(memory); }

const char *EXPORT(page_error)(void) { return page_failure.text; }

/* ---- models ------------------------------------------------------------------------------------------------------ */

void EXPORT(page_close)(struct page_model *m) {
    model_run_free(&m->answers);
    model_run_free(&m->layers);
    model_free(&m->model);
    free(m);
}

struct page_model *page_new(void) {
    struct page_model *m = calloc(1, sizeof *m);
    if (!m) fail(&page_failure, "out of memory");
    return m;
}

struct page_model *page_ready(struct page_model *m, bool ok) {
    if (!m) return NULL;
    ok = ok &&
        model_run_create(&m->model, model_batch(&m->model, QMLP_BLOCK), 1, RUN_FAST, &m->answers, &page_failure) &&
        model_run_create(&m->model, PAGE_BATCH, 1, RUN_LAYERS, &m->layers, &page_failure);
    m->layers.fault = faults; /* none: every layer's codes by the fast kernel, not by the reference */
    if (ok) return m;
    page_close(m);
    return NULL;
}

/* The bytes of a model file, which may go afterwards. */
struct page_model *EXPORT(page_open)(const void *bytes, size_t size) {
    struct page_model *m = page_new();
    struct st_file *file = calloc(1, sizeof *file);
    struct model_notes notes;
    bool ok = m && (file || fail(&page_failure, "out of memory")) && st_parse(bytes, size, file, &page_failure) &&
        model_parse(file, &m->model, &notes, &page_failure) &&
        picture_form_parse(notes.images, &m->form, &page_failure);
    free(file);
    return page_ready(m, ok);
}

int EXPORT(page_kind)(const struct page_model *m) { return (int)m->model.kind; }
int EXPORT(page_layers)(const struct page_model *m) { return m->model.shape.layers; }
int EXPORT(page_width)(const struct page_model *m, int layer) { return m->model.shape.widths[layer]; }
double EXPORT(page_bits)(const struct page_model *m) { return m->model.bits_per_weight; }
const char *EXPORT(page_arithmetic)(const struct page_model *m) { return arithmetic_name(&m->model); }
const char *EXPORT(page_granularity)(const struct page_model *m) { return granularity_name(&m->model); }

/* ---- images through a model -------------------------------------------------------------------------------------- */

/* images [count][inputs] -> classes [count] and, unless NULL, logits [count][classes]. Returns the ties. */
size_t EXPORT(page_run)(struct page_model *m, const uint8_t *images, int count, uint8_t *classes, float *logits) {
    const struct mlp_shape *shape = &m->model.shape;
    size_t inputs = (size_t)shape->widths[0], outputs = (size_t)shape->widths[shape->layers], ties = 0;
    for (int first = 0, n; first < count; first += n) {
        n = count - first < m->answers.capacity ? count - first : m->answers.capacity;
        ties += model_run(&m->answers, images + (size_t)first * inputs, n, classes + first);
        for (int i = 0; logits && i < n; i++) model_run_logits(&m->answers, i, logits + (size_t)(first + i) * outputs);
    }
    return ties;
}

/* What count images are behind a layer (0: the pixels): values [count][width]; codes, unless NULL, of integer models,
 * the same. */
void EXPORT(page_layer)(struct page_model *m, const uint8_t *images, int count, int layer, float *values,
                        uint8_t *codes) {
    size_t inputs = (size_t)m->model.shape.widths[0], width = (size_t)m->model.shape.widths[layer];
    for (int first = 0, n; first < count; first += n) {
        n = count - first < PAGE_BATCH ? count - first : PAGE_BATCH;
        model_run(&m->layers, images + (size_t)first * inputs, n, NULL);
        memcpy(values + (size_t)first * width, m->layers.values[layer], (size_t)n * width * sizeof *values);
        if (codes) memcpy(codes + (size_t)first * width, m->layers.codes[layer], (size_t)n * width);
    }
}

/* As model_digests; false for a model without codes. */
bool EXPORT(page_digests)(struct page_model *m, const uint8_t *images, int count, uint64_t *layers,
                          uint64_t *per_image) {
    if (m->model.kind != MODEL_INT8) return fail(&page_failure, "only integer models have codes");
    model_digests(&m->layers, images, (size_t)count, layers, per_image);
    return true;
}

/* ---- what is in a model ------------------------------------------------------------------------------------------ */

/* The weights of a layer as they work, [out][in]; the biases [out]. */
void EXPORT(page_weights)(const struct page_model *m, int layer, float *weights) {
    model_weights(&m->model, layer, weights);
}

bool EXPORT(page_biases)(const struct page_model *m, int layer, float *biases) {
    struct mlp mlp;
    if (!model_as_mlp(&m->model, &mlp, &page_failure)) return false;
    memcpy(biases, mlp.layer[layer].bias, (size_t)mlp.layer[layer].out * sizeof *biases);
    mlp_free(&mlp);
    return true;
}

/* Of integer models: the codes of a layer's weights [out][in], its scales [out] or [1], and how many those are. */
const int8_t *EXPORT(page_weight_codes)(const struct page_model *m, int layer) {
    return m->model.kind == MODEL_INT8 ? m->model.qmlp.layer[layer].weight : NULL;
}

const float *EXPORT(page_weight_scales)(const struct page_model *m, int layer) {
    return m->model.kind == MODEL_INT8 ? m->model.qmlp.weight_scale[layer] : NULL;
}

int EXPORT(page_weight_scale_count)(const struct page_model *m, int layer) {
    return m->model.kind != MODEL_INT8 ? 0 : m->model.qmlp.per_channel ? m->model.shape.widths[layer + 1] : 1;
}

/* Of integer models: what the codes behind a layer stand for. */
const struct qparams *EXPORT(page_activation)(const struct page_model *m, int layer) {
    return m->model.kind == MODEL_INT8 ? &m->model.qmlp.activation[layer] : NULL;
}
