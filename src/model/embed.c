/* include/mnistq.h on model_run.h: two runs of one model, one for answers and one for layers. */
#include "mnistq.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "model/model_run.h"

struct mnistq_model {
    struct model model;
    struct model_run answers; /* batches of up to BATCH images */
    struct model_run layers;  /* one image */
};
enum { BATCH = QMLP_BLOCK };

const char *mnistq_version(void) { return MNISTQ_VERSION; }

static bool open_parsed(const void *bytes, size_t size, struct st_file *file, mnistq_model *m, struct error *err) {
    return st_parse(bytes, size, file, err) && model_parse(file, &m->model, NULL, err) &&
        model_run_create(&m->model, model_batch(&m->model, BATCH), 1, RUN_FAST, &m->answers, err) &&
        model_run_create(&m->model, 1, 1, RUN_LAYERS, &m->layers, err);
}

mnistq_model *mnistq_open_memory(const void *bytes, size_t size, char *error, size_t error_size) {
    struct error err = {"out of memory"};
    struct st_file *file = calloc(1, sizeof *file);
    mnistq_model *m = calloc(1, sizeof *m);
    bool ok = file && m && open_parsed(bytes, size, file, m, &err);
    free(file);
    if (ok) return m;
    mnistq_close(m);
    if (error_size) text_format(error, error_size, "%s", err.text);
    return NULL;
}

void mnistq_close(mnistq_model *m) {
    if (!m) return;
    model_run_free(&m->answers);
    model_run_free(&m->layers);
    model_free(&m->model);
    free(m);
}

int mnistq_inputs(const mnistq_model *m) { return m->model.shape.widths[0]; }
int mnistq_classes(const mnistq_model *m) { return m->model.shape.widths[m->model.shape.layers]; }
int mnistq_layers(const mnistq_model *m) { return m->model.shape.layers; }
int mnistq_is_integer(const mnistq_model *m) { return m->model.kind == MODEL_INT8; }

int mnistq_width(const mnistq_model *m, int layer) {
    return layer >= 0 && layer <= m->model.shape.layers ? m->model.shape.widths[layer] : 0;
}

/* Images in the batches that the model runs in; predicted or logits may be NULL. */
static size_t run_batches(mnistq_model *m, const uint8_t *images, size_t count, uint8_t *predicted, float *logits) {
    size_t inputs = (size_t)mnistq_inputs(m), classes = (size_t)mnistq_classes(m), most = (size_t)m->answers.capacity,
           ties = 0;
    for (size_t first = 0, n; first < count; first += n) {
        n = count - first < most ? count - first : most;
        ties += model_run(&m->answers, images + first * inputs, (int)n, predicted ? predicted + first : NULL);
        for (size_t i = 0; logits && i < n; i++) model_run_logits(&m->answers, (int)i, logits + (first + i) * classes);
    }
    return ties;
}

size_t mnistq_classify(mnistq_model *m, const uint8_t *images, size_t count, uint8_t *classes) {
    return run_batches(m, images, count, classes, NULL);
}

void mnistq_logits(mnistq_model *m, const uint8_t *images, size_t count, float *logits) {
    run_batches(m, images, count, NULL, logits);
}

int mnistq_values(mnistq_model *m, const uint8_t *image, int layer, float *values) {
    int width = mnistq_width(m, layer);
    if (width) model_run(&m->layers, image, 1, NULL);
    for (int i = 0; i < width; i++) values[i] = m->layers.values[layer][i];
    return width;
}

int mnistq_codes(mnistq_model *m, const uint8_t *image, int layer, uint8_t *codes) {
    int width = mnistq_is_integer(m) ? mnistq_width(m, layer) : 0;
    if (width) model_run(&m->layers, image, 1, NULL);
    for (int i = 0; i < width; i++) codes[i] = m->layers.codes[layer][i];
    return width;
}

int mnistq_scale(const mnistq_model *m, int layer, float *scale, int *zero_point) {
    if (!mnistq_is_integer(m) || !mnistq_width(m, layer)) return 0;
    if (scale) *scale = m->model.qmlp.activation[layer].scale;
    if (zero_point) *zero_point = m->model.qmlp.activation[layer].zero_point;
    return 1;
}
