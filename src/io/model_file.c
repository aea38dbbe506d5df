#include "io/model_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *tensor_name(char name[ST_NAME], int layer, const char *part) {
    snprintf(name, ST_NAME, "fc%d.%s", layer + 1, part);
    return name;
}

/* A file to be written is large (its table of tensors): on the heap. */
static struct st_file *new_file(const struct mlp_shape *shape, const struct model_notes *notes, struct error *err) {
    struct st_file *file = calloc(1, sizeof *file);
    if (!file) {
        fail(err, "out of memory");
        return NULL;
    }
    char architecture[128];
    mlp_shape_print(shape, architecture, sizeof architecture);
    st_add_metadata(file, "architecture", "mlp %s", architecture);
    if (notes->seed[0]) st_add_metadata(file, "seed", "%s", notes->seed);
    if (notes->training[0]) st_add_metadata(file, "training", "%s", notes->training);
    return file;
}

bool model_write_mlp(const char *path, const struct mlp *mlp, const struct model_notes *notes, struct error *err) {
    struct st_file *file = new_file(&mlp->shape, notes, err);
    if (!file) return false;
    char name[ST_NAME];
    for (int i = 0; i < mlp->shape.layers; i++) {
        const struct dense *d = &mlp->layer[i];
        st_add(file, tensor_name(name, i, "weight"), ST_F32, (size_t)d->out, (size_t)d->in, d->weight);
        st_add(file, tensor_name(name, i, "bias"), ST_F32, (size_t)d->out, 0, d->bias);
    }
    bool ok = st_write(path, file, err);
    free(file);
    return ok;
}

bool model_write_qmlp(const char *path, const struct qmlp *q, const struct model_notes *notes, struct error *err) {
    struct st_file *file = new_file(&q->shape, notes, err);
    if (!file) return false;
    int last = q->shape.layers;
    char name[ST_NAME];
    uint8_t zero_point[MLP_MAX_LAYERS + 1];
    st_add_metadata(file, "scheme", q->per_channel ? "per-channel" : "per-tensor");
    st_add_metadata(file, "activations", q->symmetric_activations ? "symmetric" : "asymmetric");
    if (notes->observer[0]) st_add_metadata(file, "observer", "%s", notes->observer);
    if (notes->calibration[0]) st_add_metadata(file, "calibration", "%s", notes->calibration);
    for (int i = 0; i <= last; i++) zero_point[i] = (uint8_t)q->activation[i].zero_point;
    for (int i = 0; i < last; i++) {
        const struct qlinear *d = &q->layer[i];
        size_t out = (size_t)d->out;
        st_add(file, tensor_name(name, i, "weight"), ST_I8, out, (size_t)d->in, d->weight);
        st_add(file, tensor_name(name, i, "weight_scale"), ST_F32, q->per_channel ? out : 1, 0, q->weight_scale[i]);
        st_add(file, tensor_name(name, i, "bias"), ST_I32, out, 0, d->bias);
        st_add(file, tensor_name(name, i, "input_scale"), ST_F32, 1, 0, &q->activation[i].scale);
        st_add(file, tensor_name(name, i, "input_zero_point"), ST_U8, 1, 0, &zero_point[i]);
    }
    st_add(file, "output_scale", ST_F32, 1, 0, &q->activation[last].scale);
    st_add(file, "output_zero_point", ST_U8, 1, 0, &zero_point[last]);
    bool ok = st_write(path, file, err);
    free(file);
    return ok;
}

/* The tensor fcN.part, or the plain name when layer is negative, of the given dtype and shape [rows][cols]
 * (cols 0: one dimension). rows 0 takes what is there. */
static const struct st_tensor *expect(const struct st_file *file, int layer, const char *part, enum st_dtype dtype,
                                      size_t rows, size_t cols, struct error *err) {
    char name[ST_NAME];
    const struct st_tensor *t = st_find(file, layer < 0 ? part : tensor_name(name, layer, part));
    const char *full = layer < 0 ? part : name;
    if (!t)
        fail(err, "tensor %s is missing", full);
    else if (t->dtype != dtype)
        fail(err, "tensor %s is %s: expected %s", full, st_types[t->dtype].name, st_types[dtype].name);
    else if (t->dimensions != (cols ? 2 : 1))
        fail(err, "tensor %s has %d dimensions: expected %d", full, t->dimensions, cols ? 2 : 1);
    else if (t->shape[0] != rows || (cols && t->shape[1] != cols))
        fail(err, "tensor %s has the shape [%zu%s%.0zu]: expected [%zu%s%.0zu]", full, t->shape[0], cols ? ", " : "",
             cols ? t->shape[1] : 0, rows, cols ? ", " : "", cols);
    else
        return t;
    return NULL;
}

/* The widths of the layers from the shapes of fc1.weight, fc2.weight, ... */
static bool read_mlp_shape(const struct st_file *file, struct mlp_shape *shape, struct error *err) {
    char name[ST_NAME];
    const struct st_tensor *t;
    *shape = (struct mlp_shape){0};
    int hidden[MLP_MAX_LAYERS], inputs = 0, width = 0;
    for (int i = 0; (t = st_find(file, tensor_name(name, i, "weight"))); i++) {
        if (i == MLP_MAX_LAYERS) return fail(err, "more than %d layers", MLP_MAX_LAYERS);
        if (t->dimensions != 2 || t->shape[0] < 1 || t->shape[1] < 1 || t->shape[0] > MLP_MAX_WIDTH ||
            t->shape[1] > MLP_MAX_WIDTH)
            return fail(err, "tensor %s: expected a matrix of 1 to %d rows and columns", name, MLP_MAX_WIDTH);
        if (i > 0 && t->shape[1] != (size_t)width)
            return fail(err, "tensor %s takes %zu inputs, the layer before gives %d", name, t->shape[1], width);
        if (i == 0) inputs = (int)t->shape[1];
        if (i > 0) hidden[i - 1] = width;
        width = (int)t->shape[0];
        shape->layers = i + 1;
    }
    if (shape->layers == 0) return fail(err, "tensor fc1.weight is missing: not a model of this program");
    return mlp_shape_make(inputs, hidden, shape->layers - 1, width, shape, err);
}

static bool copy_floats(float *to, const struct st_tensor *t, struct error *err) {
    memcpy(to, t->data, t->bytes);
    for (size_t i = 0; i < t->elements; i++)
        if (!isfinite(to[i])) return fail(err, "tensor %s: element %zu is not a finite number", t->name, i);
    return true;
}

static bool read_mlp(const struct st_file *file, struct mlp *out, struct error *err) {
    for (int i = 0; i < out->shape.layers; i++) {
        const struct dense *d = &out->layer[i];
        const struct st_tensor *w = expect(file, i, "weight", ST_F32, (size_t)d->out, (size_t)d->in, err);
        const struct st_tensor *b = w ? expect(file, i, "bias", ST_F32, (size_t)d->out, 0, err) : NULL;
        if (!b || !copy_floats(d->weight, w, err) || !copy_floats(d->bias, b, err)) return false;
    }
    if (file->tensor_count != 2 * (size_t)out->shape.layers)
        return fail(err, "%zu tensors: expected %d, a weight and a bias a layer", file->tensor_count,
                    2 * out->shape.layers);
    return true;
}

/* Scale and zero point of one activation tensor. */
static bool read_qparams(const struct st_file *file, int layer, const char *scale_name, const char *zero_point_name,
                         bool symmetric, struct qparams *out, struct error *err) {
    const struct st_tensor *scale = expect(file, layer, scale_name, ST_F32, 1, 0, err);
    const struct st_tensor *zero_point = scale ? expect(file, layer, zero_point_name, ST_U8, 1, 0, err) : NULL;
    if (!zero_point || !copy_floats(&out->scale, scale, err)) return false;
    out->zero_point = *(const uint8_t *)zero_point->data;
    out->qmin = symmetric ? 1 : 0;
    out->qmax = 255;
    if (symmetric && out->zero_point != 128)
        return fail(err, "tensor %s is %d: symmetric activations have 128", zero_point->name, out->zero_point);
    return true;
}

static bool read_qlayer(const struct st_file *file, int i, struct qmlp *q, struct error *err) {
    const struct qlinear *d = &q->layer[i];
    size_t out = (size_t)d->out;
    const struct st_tensor *w = expect(file, i, "weight", ST_I8, out, (size_t)d->in, err);
    const struct st_tensor *s = w ? expect(file, i, "weight_scale", ST_F32, q->per_channel ? out : 1, 0, err) : NULL;
    const struct st_tensor *b = s ? expect(file, i, "bias", ST_I32, out, 0, err) : NULL;
    if (!b || !copy_floats(q->weight_scale[i], s, err)) return false;
    memcpy(d->weight, w->data, w->bytes);
    memcpy(d->bias, b->data, b->bytes);
    return read_qparams(file, i, "input_scale", "input_zero_point", q->symmetric_activations, &q->activation[i], err);
}

static bool read_qmlp(const struct st_file *file, struct qmlp *q, struct error *err) {
    int last = q->shape.layers;
    for (int i = 0; i < last; i++)
        if (!read_qlayer(file, i, q, err)) return false;
    if (!read_qparams(file, -1, "output_scale", "output_zero_point", q->symmetric_activations, &q->activation[last], err))
        return false;
    if (file->tensor_count != 5 * (size_t)last + 2)
        return fail(err, "%zu tensors: expected %d, five a layer and two for the output", file->tensor_count,
                    5 * last + 2);
    return qmlp_finish(q, err);
}

static void read_note(const struct st_file *file, const char *key, char *to, size_t size) {
    const char *text = st_metadata(file, key);
    snprintf(to, size, "%s", text ? text : "");
}

static bool text_is(const char *text, const char *expected) {
    return text && strcmp(text, expected) == 0;
}

/* The granularity is read off fc1.weight_scale; with one output both are the same thing. */
static bool read_parsed(const struct st_file *file, struct model *out, struct error *err) {
    if (!read_mlp_shape(file, &out->shape, err)) return false;
    const struct st_tensor *scale = st_find(file, "fc1.weight_scale");
    if (!scale) {
        out->kind = MODEL_FP32;
        return mlp_create(&out->shape, &out->mlp, err) && read_mlp(file, &out->mlp, err);
    }
    out->kind = MODEL_INT8;
    bool per_channel = scale->elements != 1 || text_is(st_metadata(file, "scheme"), "per-channel");
    bool symmetric = text_is(st_metadata(file, "activations"), "symmetric");
    return qmlp_create(&out->shape, per_channel, symmetric, &out->qmlp, err) && read_qmlp(file, &out->qmlp, err);
}

bool model_read(const char *path, struct model *out, struct model_notes *notes, struct error *err) {
    *out = (struct model){0};
    struct st_file *file = calloc(1, sizeof *file);
    if (!file) return fail(err, "%s: out of memory", path);
    bool ok = st_read(path, file, err);
    if (ok && !read_parsed(file, out, err)) {
        model_free(out);
        ok = fail_in(err, path);
    }
    if (ok && notes) {
        read_note(file, "seed", notes->seed, sizeof notes->seed);
        read_note(file, "training", notes->training, sizeof notes->training);
        read_note(file, "observer", notes->observer, sizeof notes->observer);
        read_note(file, "calibration", notes->calibration, sizeof notes->calibration);
    }
    st_free(file);
    free(file);
    return ok;
}

void model_free(struct model *model) {
    mlp_free(&model->mlp);
    qmlp_free(&model->qmlp);
    *model = (struct model){0};
}
