#include "model/model_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/ladder_file.h"
#include "model/layer_tensors.h"

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
    if (notes->method[0]) st_add_metadata(file, "method", "%s", notes->method);
    return file;
}

/* Writes and frees a file made by new_file. */
static bool finish_file(const char *path, struct st_file *file, struct error *err) {
    bool ok = st_write(path, file, err);
    free(file);
    return ok;
}

bool model_write_mlp(const char *path, const struct mlp *mlp, const struct model_notes *notes, struct error *err) {
    struct st_file *file = new_file(&mlp->shape, notes, err);
    if (!file) return false;
    char name[ST_NAME];
    for (int i = 0; i < mlp->shape.layers; i++) {
        const struct dense *d = &mlp->layer[i];
        st_add(file, layer_tensor(name, i, "weight"), ST_F32, (size_t)d->out, (size_t)d->in, d->weight);
        st_add(file, layer_tensor(name, i, "bias"), ST_F32, (size_t)d->out, 0, d->bias);
    }
    return finish_file(path, file, err);
}

/* All weights of q in rows of packed codes, layer after layer: offsets [layers]. Release with free. */
static uint8_t *pack_weights(const struct qmlp *q, int bits, size_t *offsets, struct error *err) {
    size_t total = 0;
    for (int i = 0; i < q->shape.layers; i++) {
        offsets[i] = total;
        total += (size_t)q->layer[i].out * packed_bytes((size_t)q->layer[i].in, bits);
    }
    uint8_t *bytes = aligned_array(total, 1, err), shifted[MLP_MAX_WIDTH];
    for (int i = 0; bytes && i < q->shape.layers; i++)
        for (int c = 0; c < q->layer[i].out; c++) {
            const int8_t *row = q->layer[i].weight + (size_t)c * (size_t)q->layer[i].in;
            for (int k = 0; k < q->layer[i].in; k++) shifted[k] = (uint8_t)(row[k] + (1 << (bits - 1)));
            size_t size = packed_bytes((size_t)q->layer[i].in, bits);
            pack_bits(shifted, (size_t)q->layer[i].in, bits, bytes + offsets[i] + (size_t)c * size);
        }
    return bytes;
}

static void add_qlayer(struct st_file *file, const struct qmlp *q, int i, int bits, const uint8_t *packed,
                       const uint8_t *zero_point) {
    const struct qlinear *d = &q->layer[i];
    size_t out = (size_t)d->out, in = (size_t)d->in;
    char name[ST_NAME];
    if (packed) st_add(file, layer_tensor(name, i, "weight"), ST_U8, out, packed_bytes(in, bits), packed);
    else st_add(file, layer_tensor(name, i, "weight"), ST_I8, out, in, d->weight);
    st_add(file, layer_tensor(name, i, "weight_scale"), ST_F32, q->per_channel ? out : 1, 0, q->weight_scale[i]);
    st_add(file, layer_tensor(name, i, "bias"), ST_I32, out, 0, d->bias);
    st_add(file, layer_tensor(name, i, "input_scale"), ST_F32, 1, 0, &q->activation[i].scale);
    st_add(file, layer_tensor(name, i, "input_zero_point"), ST_U8, 1, 0, zero_point);
}

bool model_write_qmlp(const char *path, const struct qmlp *q, const struct model_notes *notes, struct error *err) {
    int last = q->shape.layers, bits = notes->weight_bits ? notes->weight_bits : 8;
    size_t offsets[MLP_MAX_LAYERS] = {0};
    uint8_t zero_point[MLP_MAX_LAYERS + 1], *packed = NULL;
    if (bits < 8 && !(packed = pack_weights(q, bits, offsets, err))) return false;
    struct st_file *file = new_file(&q->shape, notes, err);
    if (!file) {
        free(packed);
        return false;
    }
    st_add_metadata(file, "scheme", q->per_channel ? "per-channel" : "per-tensor");
    st_add_metadata(file, "activations", q->symmetric_activations ? "symmetric" : "asymmetric");
    if (notes->observer[0]) st_add_metadata(file, "observer", "%s", notes->observer);
    if (notes->calibration[0]) st_add_metadata(file, "calibration", "%s", notes->calibration);
    if (packed) st_add_metadata(file, "weight_bits", "%d", bits);
    for (int i = 0; i <= last; i++) zero_point[i] = (uint8_t)q->activation[i].zero_point;
    for (int i = 0; i < last; i++) add_qlayer(file, q, i, bits, packed ? packed + offsets[i] : NULL, &zero_point[i]);
    st_add(file, "output_scale", ST_F32, 1, 0, &q->activation[last].scale);
    st_add(file, "output_zero_point", ST_U8, 1, 0, &zero_point[last]);
    bool ok = finish_file(path, file, err);
    free(packed);
    return ok;
}

bool model_write_coded(const char *path, const struct weight_only *c, const struct model_notes *notes,
                       struct error *err) {
    struct st_file *file = new_file(&c->shape, notes, err);
    if (!file) return false;
    st_add_coded(file, c);
    return finish_file(path, file, err);
}

bool model_write_dynamic(const char *path, const struct dynamic_mlp *q, const struct model_notes *notes,
                         struct error *err) {
    struct st_file *file = new_file(&q->shape, notes, err);
    if (!file) return false;
    st_add_dynamic(file, q);
    return finish_file(path, file, err);
}

/* The widths of the layers from the shapes of fc1.weight, fc2.weight, ... */
static bool read_mlp_shape(const struct st_file *file, struct mlp_shape *shape, struct error *err) {
    char name[ST_NAME];
    const struct st_tensor *t;
    *shape = (struct mlp_shape){0};
    int hidden[MLP_MAX_LAYERS], inputs = 0, width = 0;
    for (int i = 0; (t = st_find(file, layer_tensor(name, i, "weight"))); i++) {
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

static bool read_mlp(const struct st_file *file, struct mlp *out, struct error *err) {
    for (int i = 0; i < out->shape.layers; i++) {
        const struct dense *d = &out->layer[i];
        const struct st_tensor *w = st_expect(file, i, "weight", ST_F32, (size_t)d->out, (size_t)d->in, err);
        const struct st_tensor *b = w ? st_expect(file, i, "bias", ST_F32, (size_t)d->out, 0, err) : NULL;
        if (!b || !st_copy_floats(d->weight, w, err) || !st_copy_floats(d->bias, b, err)) return false;
    }
    if (file->tensor_count != 2 * (size_t)out->shape.layers)
        return fail(err, "%zu tensors: expected %d, a weight and a bias a layer", file->tensor_count,
                    2 * out->shape.layers);
    return true;
}

/* Scale and zero point of one activation tensor. */
static bool read_qparams(const struct st_file *file, int layer, const char *scale_name, const char *zero_point_name,
                         bool symmetric, struct qparams *out, struct error *err) {
    const struct st_tensor *scale = st_expect(file, layer, scale_name, ST_F32, 1, 0, err);
    const struct st_tensor *zero_point = scale ? st_expect(file, layer, zero_point_name, ST_U8, 1, 0, err) : NULL;
    if (!zero_point || !st_copy_floats(&out->scale, scale, err)) return false;
    out->zero_point = *(const uint8_t *)zero_point->data;
    out->qmin = symmetric ? 1 : 0;
    out->qmax = 255;
    if (symmetric && out->zero_point != 128)
        return fail(err, "tensor %s is %d: symmetric activations have 128", zero_point->name, out->zero_point);
    return true;
}

/* Weight codes: I8, or packed U8 where bits is less than 8. */
static bool read_codes(const struct st_file *file, int i, int bits, struct qlinear *d, struct error *err) {
    size_t in = (size_t)d->in, out = (size_t)d->out, size = packed_bytes(in, bits);
    const struct st_tensor *w = bits == 8 ? st_expect(file, i, "weight", ST_I8, out, in, err)
                                          : st_expect(file, i, "weight", ST_U8, out, size, err);
    if (!w) return false;
    if (bits == 8) {
        memcpy(d->weight, w->data, w->bytes);
        return true;
    }
    for (size_t c = 0; c < out; c++) {
        uint8_t shifted[MLP_MAX_WIDTH];
        unpack_bits((const uint8_t *)w->data + c * size, in, bits, shifted);
        for (size_t k = 0; k < in; k++) d->weight[c * in + k] = (int8_t)(shifted[k] - (1 << (bits - 1)));
    }
    return true;
}

static bool read_qlayer(const struct st_file *file, int i, int bits, struct qmlp *q, struct error *err) {
    struct qlinear *d = &q->layer[i];
    size_t out = (size_t)d->out;
    if (!read_codes(file, i, bits, d, err)) return false;
    const struct st_tensor *s = st_expect(file, i, "weight_scale", ST_F32, q->per_channel ? out : 1, 0, err);
    const struct st_tensor *b = s ? st_expect(file, i, "bias", ST_I32, out, 0, err) : NULL;
    if (!b || !st_copy_floats(q->weight_scale[i], s, err)) return false;
    memcpy(d->bias, b->data, b->bytes);
    return read_qparams(file, i, "input_scale", "input_zero_point", q->symmetric_activations, &q->activation[i], err);
}

static bool read_qmlp(const struct st_file *file, int bits, struct qmlp *q, struct error *err) {
    int last = q->shape.layers;
    for (int i = 0; i < last; i++)
        if (!read_qlayer(file, i, bits, q, err)) return false;
    if (!read_qparams(file, -1, "output_scale", "output_zero_point", q->symmetric_activations, &q->activation[last],
                      err))
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

static bool text_is(const char *text, const char *expected) { return text && strcmp(text, expected) == 0; }

/* Bits a weight of rows [out][in] of packed codes takes with its scales. */
static double weight_bits_of(const struct mlp_shape *shape, int bits, bool per_channel) {
    double total = 0, weights = 0;
    for (int i = 0; i < shape->layers; i++) {
        double out = shape->widths[i + 1];
        total += out * 8.0 * (double)packed_bytes((size_t)shape->widths[i], bits) + 32.0 * (per_channel ? out : 1);
        weights += out * shape->widths[i];
    }
    return total / weights;
}

static bool read_fp32(const struct st_file *file, struct model *out, struct error *err) {
    out->kind = MODEL_FP32;
    out->bits_per_weight = 32;
    return mlp_create(&out->shape, &out->mlp, err) && read_mlp(file, &out->mlp, err);
}

/* The granularity is read off fc1.weight_scale; with one output both are the same thing. */
static bool read_integer(const struct st_file *file, int bits, struct model *out, struct error *err) {
    const struct st_tensor *scale = st_find(file, "fc1.weight_scale");
    bool per_channel = (scale && scale->elements != 1) || text_is(st_metadata(file, "scheme"), "per-channel");
    bool symmetric = text_is(st_metadata(file, "activations"), "symmetric");
    out->kind = MODEL_INT8;
    if (!qmlp_create(&out->shape, per_channel, symmetric, &out->qmlp, err)) return false;
    for (int i = 0; i < out->shape.layers; i++) out->qmlp.layer[i].four_bit = bits <= 4;
    if (!read_qmlp(file, bits, &out->qmlp, err)) return false;
    out->bits_per_weight = weight_bits_of(&out->shape, bits, per_channel);
    return true;
}

/* bf16 in every layer, and no divisor that would make other weights of them. */
static bool is_plain_bf16(const struct weight_only *c) {
    for (int i = 0; i < c->shape.layers; i++)
        if (strcmp(c->layer[i].codec.format->name, "bf16") != 0 || c->layer[i].divisor) return false;
    return true;
}

static bool read_coded(const struct st_file *file, struct model *out, struct error *err) {
    const struct bf16_kernel *kernel = bf16_kernel_best();
    struct weight_only coded;
    if (!st_read_coded(file, &coded, err)) return false;
    out->kind = MODEL_WEIGHT_ONLY;
    out->shape = coded.shape;
    out->bits_per_weight = weight_only_bits_per_weight(&coded);
    bool ok = weight_only_decode(&coded, &out->mlp, err);
    if (ok && kernel && is_plain_bf16(&coded)) ok = bf16_mlp_create(&out->mlp, kernel, &out->bf16, err);
    weight_only_free(&coded);
    return ok;
}

static bool read_dynamic(const struct st_file *file, struct model *out, struct error *err) {
    if (!st_read_dynamic(file, &out->dynamic, err)) return false;
    const struct dynamic_mlp *q = &out->dynamic;
    double apart = 0, weights = 0;
    out->kind = MODEL_DYNAMIC;
    out->shape = q->shape;
    for (int i = 0; i < q->shape.layers; i++) {
        weights += (double)q->layer[i].in * q->layer[i].out;
        apart += q->layer[i].outliers * (32.0 + 16.0 * q->layer[i].out);
    }
    out->bits_per_weight = weight_bits_of(&q->shape, 8, true) + apart / weights;
    return true;
}

/* The weights must be there, of the size that the shape asks for, before memory is taken for them. */
static bool check_packed(const struct st_file *file, const struct mlp_shape *shape, int bits, struct error *err) {
    for (int i = 0; i < shape->layers; i++)
        if (!st_expect(file, i, "weight", ST_U8, (size_t)shape->widths[i + 1],
                       packed_bytes((size_t)shape->widths[i], bits), err))
            return false;
    return true;
}

static bool read_parsed(const struct st_file *file, struct model *out, struct error *err) {
    const char *bits = st_metadata(file, "weight_bits");
    if (st_is_coded(file)) return read_coded(file, out, err);
    if (st_is_dynamic(file)) return read_dynamic(file, out, err);
    if (bits) {
        if (strlen(bits) != 1 || !strchr("234", *bits))
            return fail(err, "metadata weight_bits is \"%.20s\": expected 2, 3 or 4", bits);
        return st_architecture(file, &out->shape, err) && check_packed(file, &out->shape, *bits - '0', err) &&
            read_integer(file, *bits - '0', out, err);
    }
    if (!read_mlp_shape(file, &out->shape, err)) return false;
    return st_find(file, "fc1.weight_scale") ? read_integer(file, 8, out, err) : read_fp32(file, out, err);
}

/* Finite weights may still have sums that are not: then every answer is the first class, with no word of why. */
static bool check_bounded(const struct model *m, struct error *err) {
    return (m->kind != MODEL_FP32 && m->kind != MODEL_WEIGHT_ONLY) || mlp_is_bounded(&m->mlp) ||
        fail(err, "its weights are so large that sums of a layer can leave fp32");
}

bool model_read(const char *path, struct model *out, struct model_notes *notes, struct error *err) {
    *out = (struct model){0};
    if (notes) *notes = (struct model_notes){0};
    struct st_file *file = calloc(1, sizeof *file);
    if (!file) return fail(err, "%s: out of memory", path);
    bool ok = st_read(path, file, err);
    if (ok && !(read_parsed(file, out, err) && check_bounded(out, err))) {
        model_free(out);
        ok = fail_in(err, path);
    }
    if (ok && notes) {
        read_note(file, "seed", notes->seed, sizeof notes->seed);
        read_note(file, "training", notes->training, sizeof notes->training);
        read_note(file, "observer", notes->observer, sizeof notes->observer);
        read_note(file, "calibration", notes->calibration, sizeof notes->calibration);
        read_note(file, "method", notes->method, sizeof notes->method);
        const char *bits = st_metadata(file, "weight_bits");
        notes->weight_bits = bits ? *bits - '0' : 0;
    }
    st_free(file);
    free(file);
    return ok;
}

void model_free(struct model *model) {
    mlp_free(&model->mlp);
    bf16_mlp_free(&model->bf16);
    qmlp_free(&model->qmlp);
    dynamic_free(&model->dynamic);
    *model = (struct model){0};
}
