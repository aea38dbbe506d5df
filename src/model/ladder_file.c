#include "model/ladder_file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/layer_tensors.h"
#include "lowbit/half.h"

/* ---- coded --------------------------------------------------------------------------------------------------- */

/* How the bytes of a layer's weight stand in the file. */
struct weight_form {
    enum st_dtype dtype;
    size_t rows, cols; /* cols 0: one dimension */
};

static struct weight_form weight_form(struct codec c, int out, int in) {
    size_t bytes = codec_bytes(c, out, in), rows = (size_t)out;
    enum st_dtype dtype = 0;
    while (strcmp(st_types[dtype].name, c.format->dtype) != 0) dtype++;
    if (dtype != ST_U8) return (struct weight_form){dtype, rows, (size_t)in};
    if (c.format->layout == LAYOUT_FLAT || (c.format->block == 0 && c.block == CODEC_TENSOR))
        return (struct weight_form){ST_U8, bytes, 0};
    return (struct weight_form){ST_U8, rows, bytes / rows};
}

void st_add_coded(struct st_file *file, const struct weight_only *c) {
    char name[ST_NAME], format[64];
    for (int i = 0; i < c->shape.layers; i++) {
        const struct coded_layer *layer = &c->layer[i];
        size_t in = (size_t)c->shape.widths[i], out = (size_t)c->shape.widths[i + 1];
        struct weight_form form = weight_form(layer->codec, (int)out, (int)in);
        codec_print(layer->codec, format, sizeof format);
        st_add_metadata(file, layer_tensor(name, i, "format"), "%s", format);
        st_add(file, layer_tensor(name, i, "weight"), form.dtype, form.rows, form.cols, layer->bytes);
        st_add(file, layer_tensor(name, i, "bias"), ST_F32, out, 0, layer->bias);
        if (layer->divisor) st_add(file, layer_tensor(name, i, "input_divisor"), ST_F16, in, 0, layer->divisor);
    }
}

bool st_is_coded(const struct st_file *file) { return st_metadata(file, "fc1.format") != NULL; }

static bool read_codecs(const struct st_file *file, const struct mlp_shape *shape, struct codec *codecs,
                        struct error *err) {
    char name[ST_NAME];
    for (int i = 0; i < shape->layers; i++) {
        const char *text = st_metadata(file, layer_tensor(name, i, "format"));
        if (!text) return fail(err, "metadata %s is missing", name);
        if (!codec_parse(text, &codecs[i]))
            return fail(err, "metadata %s is \"%.60s\": not a format of this program", name, text);
    }
    return true;
}

/* The weights must be there, of the size that shape and format ask for, before memory is taken for them. */
static bool check_weights(const struct st_file *file, const struct mlp_shape *shape, const struct codec *codecs,
                          struct error *err) {
    for (int i = 0; i < shape->layers; i++) {
        struct weight_form form = weight_form(codecs[i], shape->widths[i + 1], shape->widths[i]);
        if (!st_expect(file, i, "weight", form.dtype, form.rows, form.cols, err)) return false;
    }
    return true;
}

static bool read_coded_layer(const struct st_file *file, const struct mlp_shape *shape, int i,
                             struct coded_layer *layer, struct error *err) {
    int in = shape->widths[i], out = shape->widths[i + 1];
    struct weight_form form = weight_form(layer->codec, out, in);
    const struct st_tensor *w = st_expect(file, i, "weight", form.dtype, form.rows, form.cols, err);
    const struct st_tensor *b = w ? st_expect(file, i, "bias", ST_F32, (size_t)out, 0, err) : NULL;
    const struct st_tensor *d = b && layer->divisor ? st_expect(file, i, "input_divisor", ST_F16, (size_t)in, 0, err)
                                                    : NULL;
    if (!b || (layer->divisor && !d) || !st_copy_floats(layer->bias, b, err)) return false;
    memcpy(layer->bytes, w->data, w->bytes);
    if (!layer->divisor) return true;
    memcpy(layer->divisor, d->data, d->bytes);
    for (int k = 0; k < in; k++) {
        float divisor = float_from_half(layer->divisor[k]);
        if (!isfinite(divisor) || !(divisor > 0))
            return fail(err, "tensor %s: element %d is %g: expected a finite number > 0", d->name, k, (double)divisor);
    }
    return true;
}

bool st_read_coded(const struct st_file *file, struct weight_only *out, struct error *err) {
    struct mlp_shape shape;
    struct codec codecs[MLP_MAX_LAYERS];
    bool with_divisor = st_find(file, "fc1.input_divisor") != NULL;
    if (!st_architecture(file, &shape, err) || !read_codecs(file, &shape, codecs, err) ||
        !check_weights(file, &shape, codecs, err) || !weight_only_create(&shape, codecs, with_divisor, out, err))
        return false;
    bool ok = true;
    for (int i = 0; ok && i < shape.layers; i++) ok = read_coded_layer(file, &shape, i, &out->layer[i], err);
    size_t expected = 2 * (size_t)shape.layers + with_divisor;
    if (ok && file->tensor_count != expected) ok = fail(err, "%zu tensors: expected %zu", file->tensor_count, expected);
    if (!ok) weight_only_free(out);
    return ok;
}

/* ---- dynamic ------------------------------------------------------------------------------------------------- */

void st_add_dynamic(struct st_file *file, const struct dynamic_mlp *q) {
    char name[ST_NAME];
    st_add_metadata(file, "activations", q->vector_wise ? "vector-wise" : "dynamic");
    for (int i = 0; i < q->shape.layers; i++) {
        const struct dynamic_mlp_layer *d = &q->layer[i];
        size_t out = (size_t)d->out, n = (size_t)d->outliers;
        st_add(file, layer_tensor(name, i, "weight"), ST_I8, out, (size_t)d->in, d->weight);
        st_add(file, layer_tensor(name, i, "weight_scale"), ST_F32, out, 0, d->weight_scale);
        st_add(file, layer_tensor(name, i, "bias"), ST_F32, out, 0, d->bias);
        if (n == 0) continue;
        st_add(file, layer_tensor(name, i, "outlier_columns"), ST_I32, n, 0, d->outlier_columns);
        st_add(file, layer_tensor(name, i, "outlier_weight"), ST_F16, out, n, d->outlier_weight);
    }
}

static bool is_vector_wise(const struct st_file *file) {
    const char *text = st_metadata(file, "activations");
    return text && strcmp(text, "vector-wise") == 0;
}

bool st_is_dynamic(const struct st_file *file) {
    const char *text = st_metadata(file, "activations");
    return text && (strcmp(text, "dynamic") == 0 || is_vector_wise(file));
}

/* How many columns of each layer stand apart. */
static bool read_outlier_counts(const struct st_file *file, const struct mlp_shape *shape, int *outliers,
                                struct error *err) {
    char name[ST_NAME];
    for (int i = 0; i < shape->layers; i++) {
        const struct st_tensor *t = st_find(file, layer_tensor(name, i, "outlier_columns"));
        if (t && (t->elements < 1 || t->elements > (size_t)shape->widths[i] || !is_vector_wise(file)))
            return fail(err, "tensor %s has %zu columns: expected 1 to %d, in a vector-wise model", name, t->elements,
                        shape->widths[i]);
        outliers[i] = t ? (int)t->elements : 0;
    }
    return true;
}

static bool read_outliers(const struct st_file *file, int i, struct dynamic_mlp_layer *d, struct error *err) {
    size_t n = (size_t)d->outliers;
    const struct st_tensor *columns = st_expect(file, i, "outlier_columns", ST_I32, n, 0, err);
    const struct st_tensor *weight = columns ? st_expect(file, i, "outlier_weight", ST_F16, (size_t)d->out, n, err)
                                             : NULL;
    if (!weight) return false;
    memcpy(d->outlier_columns, columns->data, columns->bytes);
    memcpy(d->outlier_weight, weight->data, weight->bytes);
    for (int j = 0; j < d->outliers; j++)
        if (d->outlier_columns[j] < 0 || d->outlier_columns[j] >= d->in ||
            (j > 0 && d->outlier_columns[j] <= d->outlier_columns[j - 1]))
            return fail(err, "tensor %s: element %d is %d: expected rising columns below %d", columns->name, j,
                        d->outlier_columns[j], d->in);
    for (size_t j = 0; j < weight->elements; j++)
        if (!isfinite(float_from_half(d->outlier_weight[j])))
            return fail(err, "tensor %s: element %zu is not a finite number", weight->name, j);
    return true;
}

static bool read_dynamic_layer(const struct st_file *file, int i, struct dynamic_mlp_layer *d, struct error *err) {
    size_t out = (size_t)d->out;
    const struct st_tensor *w = st_expect(file, i, "weight", ST_I8, out, (size_t)d->in, err);
    const struct st_tensor *s = w ? st_expect(file, i, "weight_scale", ST_F32, out, 0, err) : NULL;
    const struct st_tensor *b = s ? st_expect(file, i, "bias", ST_F32, out, 0, err) : NULL;
    if (!b || !st_copy_floats(d->weight_scale, s, err) || !st_copy_floats(d->bias, b, err)) return false;
    memcpy(d->weight, w->data, w->bytes);
    for (int c = 0; c < d->out; c++)
        if (!(d->weight_scale[c] > 0))
            return fail(err, "tensor %s: element %d is %g: expected a finite number > 0", s->name, c,
                        (double)d->weight_scale[c]);
    return d->outliers == 0 || read_outliers(file, i, d, err);
}

bool st_read_dynamic(const struct st_file *file, struct dynamic_mlp *out, struct error *err) {
    struct mlp_shape shape;
    int outliers[MLP_MAX_LAYERS];
    if (!st_architecture(file, &shape, err)) return false;
    for (int i = 0; i < shape.layers; i++)
        if (!st_expect(file, i, "weight", ST_I8, (size_t)shape.widths[i + 1], (size_t)shape.widths[i], err))
            return false;
    if (!read_outlier_counts(file, &shape, outliers, err) ||
        !dynamic_create(&shape, is_vector_wise(file), outliers, out, err))
        return false;
    bool ok = true;
    size_t expected = 3 * (size_t)shape.layers;
    for (int i = 0; ok && i < shape.layers; i++) {
        ok = read_dynamic_layer(file, i, &out->layer[i], err);
        expected += outliers[i] ? 2 : 0;
    }
    if (ok && file->tensor_count != expected) ok = fail(err, "%zu tensors: expected %zu", file->tensor_count, expected);
    if (ok) dynamic_finish(out);
    else dynamic_free(out);
    return ok;
}
