/* The page's engine: one neuron with every number, faults, drawings, and the bits of a float. */
#include "page/engine.h"

#include <stdlib.h>
#include <string.h>

#include "base/stats.h"
#include "data/picture.h"
#include "lowbit/float8.h"
#include "lowbit/half.h"
#include "model/faults.h"
#include "quant/neuron.h"

/* ---- one neuron -------------------------------------------------------------------------------------------------- */

/* numbers [24] of struct neuron, in its order; codes [in]: what the layer before gives for the image; terms [in]. A sum
 * of 64 bits is below 2^62: a double may round it, so product goes as two halves. */
bool EXPORT(page_neuron)(struct page_model *m, const uint8_t *image, int layer, int neuron, double *numbers,
                         uint8_t *codes, int32_t *terms) {
    if (m->model.kind != MODEL_INT8) return fail(&page_failure, "only integer models have codes");
    const struct qmlp *q = &m->model.qmlp;
    size_t in = (size_t)q->layer[layer].in;
    model_run(&m->layers, image, 1, NULL);
    memcpy(codes, m->layers.codes[layer], in);
    struct neuron n = neuron_of_layer(q, layer, neuron, codes);
    for (size_t k = 0; k < in; k++) terms[k] = neuron_term(&q->layer[layer], codes, neuron, (int)k);
    double list[] = {n.s_x,
                     n.s_w,
                     n.s_y,
                     n.z_x,
                     n.z_y,
                     n.y_min,
                     n.y_max,
                     n.sum,
                     n.bias,
                     n.acc,
                     n.weight_sum,
                     n.folded,
                     n.raw_sum,
                     n.by.m,
                     n.by.right,
                     (double)(n.product >> 32),
                     (double)(n.product & 0xffffffff),
                     (double)n.half,
                     (double)n.rounded,
                     (double)n.code,
                     n.exact,
                     n.y};
    memcpy(numbers, list, sizeof list);
    return true;
}

/* ---- faults ------------------------------------------------------------------------------------------------------ */

/* The name, the mistake and the signature (part 0 to 2) of a fault; NULL behind the last. */
const char *EXPORT(page_fault)(int index, int part) {
    const struct fault *f = &faults[index];
    return part == 0 ? f->name : part == 1 ? f->what : f->signature;
}

/* Compares the codes of n images of both runs; fills difference [5] with the first one in the order of images, layers
 * and neurons: image, layer, neuron, code, expected code. */
static bool find_difference(const struct model_run *broken, const struct model_run *sound, int n, int32_t *difference) {
    const struct mlp_shape *shape = &sound->model->shape;
    for (int i = 0; i < n; i++)
        for (int l = 1; l <= shape->layers; l++)
            for (int c = 0; c < shape->widths[l]; c++) {
                int at = i * shape->widths[l] + c;
                if (broken->codes[l][at] == sound->codes[l][at]) continue;
                int32_t found[] = {i, l, c, broken->codes[l][at], sound->codes[l][at]};
                memcpy(difference, found, sizeof found);
                return true;
            }
    return false;
}

/* page_run with a fault in a layer, or in all (-1). difference [5]: the first code that is wrong, image -1 where none
 * is. */
bool EXPORT(page_faulty)(struct page_model *m, const char *name, int layer, const uint8_t *images, int count,
                         uint8_t *classes, float *logits, int32_t *difference) {
    const struct mlp_shape *shape = &m->model.shape;
    const struct fault *fault = fault_find(name);
    struct model_run broken;
    if (!fault) return fail(&page_failure, "there is no fault \"%.40s\"", name);
    if (m->model.kind != MODEL_INT8) return fail(&page_failure, "only integer models take faults");
    bool ok = model_run_create(&m->model, PAGE_BATCH, 1, RUN_REFERENCE, &broken, &page_failure);
    broken.fault = fault;
    broken.fault_layer = layer;
    difference[0] = -1;
    for (int first = 0, n; ok && first < count; first += n) {
        const uint8_t *batch = images + (size_t)first * (size_t)shape->widths[0];
        n = count - first < PAGE_BATCH ? count - first : PAGE_BATCH;
        model_run(&broken, batch, n, classes + first);
        for (int i = 0; i < n; i++)
            model_run_logits(&broken, i, logits + (size_t)(first + i) * (size_t)shape->widths[shape->layers]);
        if (difference[0] >= 0) continue;
        model_run(&m->layers, batch, n, NULL);
        if (find_difference(&broken, &m->layers, n, difference)) difference[0] += first;
    }
    model_run_free(&broken);
    return ok;
}

/* ---- drawings and bits ------------------------------------------------------------------------------------------- */

bool EXPORT(page_digit)(const uint8_t *gray, int width, int height, uint8_t *digit) {
    return picture_to_digit(gray, width, height, digit, &page_failure);
}

/* The bits of x in a format, and in *value what they stand for. */
uint32_t EXPORT(page_float_bits)(const char *format, float x, float *value) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    *value = x;
    const struct float8 *f8 = float8_find(format);
    if (f8) *value = float_from_float8(f8, (uint8_t)(bits = float8_from_float(f8, x)));
    if (strcmp(format, "fp16") == 0) *value = float_from_half((uint16_t)(bits = half_from_float(x)));
    if (strcmp(format, "bf16") == 0) *value = float_from_bfloat((uint16_t)(bits = bfloat_from_float(x)));
    return bits;
}
