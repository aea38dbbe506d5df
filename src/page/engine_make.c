/* The page's engine: the affine map, models made from fp32 while one watches, and what is measured. */
#include "page/engine.h"

#include <stdlib.h>
#include <string.h>

#include "lowbit/formats.h"
#include "model/contents.h"
#include "model/evaluation.h"
#include "model/residual.h"
#include "quant/convert.h"

/* ---- eq. 1 to 4 -------------------------------------------------------------------------------------------------- */

/* Codes of so many bits: unsigned by eq. 3, symmetric signed by eq. 4. */
void EXPORT(page_affine)(float lo, float hi, int bits, bool symmetric, struct qparams *out) {
    float ends[2] = {lo, hi};
    *out = symmetric ? qparams_symmetric(absolute_maximum(ends, 2), (1 << (bits - 1)) - 1)
                     : qparams_asymmetric(lo, hi, 0, (1 << bits) - 1);
}

/* The grid on which the format of so many bits stores a block of weights. */
void EXPORT(page_grid)(const float *w, int count, int bits, struct qparams *out) {
    *out = grid_of(w, count, bits, true);
}

void EXPORT(page_quantize)(const float *values, int count, const struct qparams *p, int32_t *codes, float *back) {
    for (int i = 0; i < count; i++) {
        codes[i] = quantize(values[i], *p);
        back[i] = dequantize(codes[i], *p);
    }
}

/* ---- models from fp32 -------------------------------------------------------------------------------------------- */

static const struct mlp *floats_of(const struct page_model *m) {
    if (m->model.kind == MODEL_FP32 || m->model.kind == MODEL_WEIGHT_ONLY) return &m->model.mlp;
    fail(&page_failure, "expected an fp32 model, found \"%s\"", arithmetic_name(&m->model));
    return NULL;
}

/* int8 with the activations' scales and zero points as given, [layers + 1] each. */
struct page_model *EXPORT(page_convert)(const struct page_model *from, const float *scales, const int32_t *zero_points,
                                        bool per_channel, bool symmetric) {
    const struct mlp *mlp = floats_of(from);
    struct qparams activations[MLP_MAX_LAYERS + 1];
    struct convert_config config = {
        .per_channel = per_channel, .symmetric_activations = symmetric, .activations = activations};
    size_t saturated;
    struct page_model *m = mlp ? page_new() : NULL;
    if (!m) return NULL;
    for (int i = 0; i <= mlp->shape.layers; i++)
        activations[i] = (struct qparams){scales[i], zero_points[i], symmetric, 255};
    m->model.kind = MODEL_INT8;
    m->model.shape = mlp->shape;
    bool ok = convert(mlp, NULL, &config, &m->model.qmlp, &saturated, &page_failure);
    struct contents contents = {.shape = &mlp->shape, .q = &m->model.qmlp, .bits = 8};
    if (ok) m->model.bits_per_weight = contents_bits_per_weight(&contents);
    return page_ready(m, ok);
}

/* What int8 codes of an activation over a range stand for. */
void EXPORT(page_activation_affine)(float lo, float hi, bool symmetric, struct qparams *out) {
    *out = activation_qparams((struct range){lo, hi}, symmetric);
}

/* ranges [layers + 1] of the activations over images [count][inputs]. outside: see struct convert_config. */
bool EXPORT(page_calibrate)(const struct page_model *m, const uint8_t *images, int count, const char *observer,
                            double outside, bool symmetric, struct range *ranges) {
    const struct mlp *mlp = floats_of(m);
    struct convert_config config = {.symmetric_activations = symmetric, .observer = OBSERVER_KINDS, .outside = outside};
    struct mlp_workspace ws;
    for (int i = 0; i < OBSERVER_KINDS; i++)
        if (strcmp(observer, observer_names[i]) == 0) config.observer = (enum observer_kind)i;
    if (config.observer == OBSERVER_KINDS) return fail(&page_failure, "there is no observer \"%.40s\"", observer);
    if (!mlp || !mlp_workspace_create(&mlp->shape, CALIBRATION_BATCH, false, &ws, &page_failure)) return false;
    bool ok = calibrate(mlp, images, (size_t)count, &config, &ws, ranges, &page_failure);
    mlp_workspace_free(&ws);
    return ok;
}

/* A copy whose weights and biases JavaScript may change through page_floats, before the copy is run. */
struct page_model *EXPORT(page_copy)(const struct page_model *from) {
    const struct mlp *mlp = floats_of(from);
    struct page_model *m = mlp ? page_new() : NULL;
    if (!m) return NULL;
    m->model.kind = MODEL_FP32;
    m->model.shape = mlp->shape;
    m->model.bits_per_weight = 32;
    return page_ready(m, mlp_copy(mlp, &m->model.mlp, &page_failure));
}

/* The weights [out][in] of a layer of such a copy. */
float *EXPORT(page_floats)(struct page_model *m, int layer) {
    return floats_of(m) ? m->model.mlp.layer[layer].weight : NULL;
}

/* residual_add (model/residual.h) on a file in the engine's memory. */
bool EXPORT(page_restore)(const struct page_model *from, unsigned char *bytes, size_t size) {
    const struct mlp *mlp = floats_of(from);
    return mlp && residual_add(mlp, bytes, size, 1, &page_failure);
}

/* A copy whose weights of a layer are cut to [-limit, limit]. */
struct page_model *EXPORT(page_clip)(const struct page_model *from, int layer, float limit) {
    struct page_model *m = page_copy(from);
    const struct dense *d = m ? &m->model.mlp.layer[layer] : NULL;
    for (size_t i = 0; m && i < (size_t)d->in * (size_t)d->out; i++) {
        float *w = &d->weight[i];
        *w = *w > limit ? limit : *w < -limit ? -limit : *w;
    }
    return m;
}

/* Encodes the weights of a network in a codec and reads them back in place; returns the bytes that they took. */
static size_t code_weights(struct codec codec, struct mlp *mlp) {
    size_t bytes = 0;
    for (int i = 0; i < mlp->shape.layers; i++) {
        struct dense *d = &mlp->layer[i];
        size_t size = codec_bytes(codec, d->out, d->in);
        uint8_t *coded = aligned_array(size, 1, &page_failure);
        if (!coded) return 0;
        codec_encode(codec, d->weight, NULL, d->out, d->in, coded);
        codec_decode(codec, coded, d->out, d->in, d->weight);
        free(coded);
        bytes += size;
    }
    return bytes;
}

/* Round to nearest in a format of the ladder: "int4/row", "int2/56", ... */
struct page_model *EXPORT(page_coded)(const struct page_model *from, const char *format) {
    const struct mlp *mlp = floats_of(from);
    struct codec codec;
    if (!mlp) return NULL;
    if (!codec_parse(format, &codec)) {
        fail(&page_failure, "\"%.40s\" is not a format of this program", format);
        return NULL;
    }
    struct page_model *m = page_copy(from);
    if (!m) return NULL;
    size_t bytes = code_weights(codec, &m->model.mlp), weights = 0;
    for (int i = 0; i < mlp->shape.layers; i++) weights += (size_t)mlp->layer[i].in * (size_t)mlp->layer[i].out;
    m->model.kind = MODEL_WEIGHT_ONLY;
    m->model.bits_per_weight = 8.0 * (double)bytes / (double)weights;
    if (bytes) return m;
    page_close(m);
    return NULL;
}

/* ---- measures ---------------------------------------------------------------------------------------------------- */

/* out [6]: correct, accuracy in percent, its standard error, and against reference [count], unless NULL: changed,
 * fixed, broken. */
void EXPORT(page_score)(const uint8_t *labels, uint8_t *predicted, uint8_t *reference, int count, double *out) {
    struct evaluation e = {.count = (size_t)count, .predicted = predicted};
    struct evaluation before = {.count = (size_t)count, .predicted = reference};
    for (int i = 0; i < count; i++) e.correct += predicted[i] == labels[i];
    struct paired p = reference ? compare(&before, &e, labels) : (struct paired){0};
    double values[] = {(double)e.correct, accuracy_percent(&e), standard_error_percent(&e),
                       (double)p.changed, (double)p.fixed,      (double)p.broken};
    memcpy(out, values, sizeof values);
}

double EXPORT(page_sqnr)(const float *x, const float *x_hat, int count) { return sqnr_db(x, x_hat, (size_t)count); }

void EXPORT(page_softmax)(float *x, int count) { softmax(x, count); }

/* How many of values [count] fall into each of so many equal steps from the lowest to the highest, ends [2]. */
void EXPORT(page_histogram)(const float *values, int count, int bins, float *ends, uint32_t *counts) {
    memset(counts, 0, (size_t)bins * sizeof *counts);
    ends[0] = ends[1] = count ? values[0] : 0;
    for (int i = 0; i < count; i++) {
        ends[0] = values[i] < ends[0] ? values[i] : ends[0];
        ends[1] = values[i] > ends[1] ? values[i] : ends[1];
    }
    float width = (ends[1] - ends[0]) / (float)bins;
    for (int i = 0; i < count; i++) {
        int bin = width > 0 ? (int)((values[i] - ends[0]) / width) : 0;
        counts[bin < bins ? bin : bins - 1]++;
    }
}
