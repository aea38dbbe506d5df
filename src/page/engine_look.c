/* The page's engine: one neuron with every number, faults, drawings, and the bits of a float. */
#include "page/engine.h"

#include <stdlib.h>
#include <string.h>

#include "base/stats.h"
#include "data/doubts.h"
#include "lowbit/minifloat.h"
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

/* What a fault left behind the layers, [layers + 1], over some images: numbers that add up over slices of them, but for
 * lowest and highest, of code - right code. The signal is the right codes, counted from their zero point. */
struct symptoms {
    double codes, wrong, lowest, highest, cut, signal, noise; /* cut: by the clamp, ReLU's zeros not counted */
    double right[256], broken[256];                           /* how often each code comes */
};

static void compare_codes(const uint8_t *broken, const uint8_t *right, size_t count, int zero_point,
                          struct symptoms *s) {
    s->codes += (double)count;
    for (size_t i = 0; i < count; i++) {
        int apart = broken[i] - right[i], size = right[i] - zero_point;
        s->right[right[i]]++;
        s->broken[broken[i]]++;
        s->wrong += apart != 0;
        s->lowest = apart < s->lowest ? apart : s->lowest;
        s->highest = apart > s->highest ? apart : s->highest;
        s->signal += size * size;
        s->noise += apart * apart;
    }
}

/* Fills difference [5] with the first code of n images that is wrong, in the order of images, layers and neurons:
 * image, layer, neuron, code, right code. */
static bool find_difference(const struct model_run *broken, const struct model_run *right, int n, int32_t *difference) {
    const struct mlp_shape *shape = &right->model->shape;
    for (int i = 0; i < n; i++)
        for (int l = 1; l <= shape->layers; l++)
            for (int c = 0; c < shape->widths[l]; c++) {
                int at = i * shape->widths[l] + c;
                if (broken->codes[l][at] == right->codes[l][at]) continue;
                int32_t found[] = {i, l, c, broken->codes[l][at], right->codes[l][at]};
                memcpy(difference, found, sizeof found);
                return true;
            }
    return false;
}

/* page_run with a fault in a layer, or in all (-1). difference [5]: the first code that is wrong, image -1 where none
 * is. symptoms [layers + 1]: what is compared of these images with the sound engine. */
bool EXPORT(page_faulty)(struct page_model *m, const char *name, int layer, const uint8_t *images, int count,
                         uint8_t *classes, float *logits, int32_t *difference, struct symptoms *symptoms) {
    const struct mlp_shape *shape = &m->model.shape;
    const struct fault *fault = fault_find(name);
    struct model_run broken;
    if (!fault) return fail(&page_failure, "there is no fault \"%.40s\"", name);
    if (m->model.kind != MODEL_INT8) return fail(&page_failure, "only integer models take faults");
    bool ok = model_run_create(&m->model, PAGE_BATCH, 1, RUN_REFERENCE, &broken, &page_failure);
    broken.fault = fault;
    broken.fault_layer = layer;
    difference[0] = -1;
    memset(symptoms, 0, (size_t)(shape->layers + 1) * sizeof *symptoms);
    for (int first = 0, n; ok && first < count; first += n) {
        const uint8_t *batch = images + (size_t)first * (size_t)shape->widths[0];
        n = count - first < PAGE_BATCH ? count - first : PAGE_BATCH;
        model_run(&broken, batch, n, classes + first);
        model_run(&m->layers, batch, n, NULL);
        for (int i = 0; i < n; i++)
            model_run_logits(&broken, i, logits + (size_t)(first + i) * (size_t)shape->widths[shape->layers]);
        for (int l = 0; l <= shape->layers; l++) {
            compare_codes(broken.codes[l], m->layers.codes[l], (size_t)n * (size_t)shape->widths[l],
                          m->model.qmlp.activation[l].zero_point, &symptoms[l]);
            symptoms[l].cut += (double)broken.cut[l];
        }
        if (difference[0] < 0 && find_difference(&broken, &m->layers, n, difference)) difference[0] += first;
    }
    model_run_free(&broken);
    return ok;
}

double EXPORT(page_decibels)(double signal, double noise) { return decibels(signal, noise); }

/* ---- drawings and bits ------------------------------------------------------------------------------------------- */

/* m: the model that the digit is for, whose form it gets; NULL: MNIST's. *doubts: bits of data/doubts.h. */
bool EXPORT(page_digit)(const struct page_model *m, const uint8_t *gray, int width, int height, uint8_t *digit,
                        unsigned *doubts) {
    struct picture_form mnist = {0};
    return picture_to_digit(gray, width, height, m ? m->form : mnist, digit, doubts, &page_failure);
}

/* What `mnistq predict` doubts about an answer; picture: what page_digit doubts, which is not told again. */
unsigned EXPORT(page_doubts)(const struct page_model *m, const float *logits, unsigned picture) {
    int layers = m->model.shape.layers;
    float step = m->model.kind == MODEL_INT8 ? m->model.qmlp.activation[layers].scale : 0;
    return answer_doubts(picture, logits, m->model.shape.widths[layers], step) & ~picture;
}

const char *EXPORT(page_doubt_text)(int doubt) { return doubt < DOUBTS ? doubt_texts[doubt] : NULL; }

/* The bits of x in a format, and in *value what they stand for. */
uint32_t EXPORT(page_float_bits)(const char *format, float x, float *value) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    *value = x;
    const struct minifloat *f8 = minifloat_find(format);
    if (f8) *value = float_from_minifloat(f8, (uint8_t)(bits = minifloat_from_float(f8, x)));
    if (strcmp(format, "fp16") == 0) *value = float_from_half((uint16_t)(bits = half_from_float(x)));
    if (strcmp(format, "bf16") == 0) *value = float_from_bfloat((uint16_t)(bits = bfloat_from_float(x)));
    return bits;
}
