#include "model/model_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "model/contents.h"
#include "model/foreign.h"

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static const struct note {
    const char *key;
    size_t at, size;
    bool integer_only;
} notes_written[] = {{"seed", offsetof(struct model_notes, seed), 32, false},
                     {"training", offsetof(struct model_notes, training), ST_TEXT, false},
                     {"images", offsetof(struct model_notes, images), 48, false},
                     {"method", offsetof(struct model_notes, method), 64, false},
                     {"observer", offsetof(struct model_notes, observer), 32, true},
                     {"calibration", offsetof(struct model_notes, calibration), 32, true}};
enum { NOTES = sizeof notes_written / sizeof *notes_written };

static void add_notes(struct st_file *file, const struct model_notes *notes, bool integer_only) {
    for (int i = 0; i < NOTES; i++) {
        const char *text = (const char *)notes + notes_written[i].at;
        if (*text && notes_written[i].integer_only == integer_only)
            st_add_metadata(file, notes_written[i].key, "%s", text);
    }
}

/* The checks of every reader, on what is about to be written. */
static bool reads_back(const struct st_file *file, struct error *err) {
    struct model model;
    bool ok = model_parse(file, &model, NULL, err);
    if (ok) model_free(&model);
    return ok;
}

/* Of an integer model's codes, as metadata weight_bits has them. */
static const struct {
    const char *text;
    int bits;
} weight_bits[] = {{"4", 4}, {"3", 3}, {"2", 2}, {"1.6", TRITS}, {"1", 1}};
enum { WEIGHT_BITS = sizeof weight_bits / sizeof *weight_bits };

static const char *bits_text(int bits) {
    int i = 0;
    while (i + 1 < WEIGHT_BITS && weight_bits[i].bits != bits) i++;
    return weight_bits[i].text;
}

/* 0 where text is none of them; 8 where there is none. */
int model_weight_bits(const struct st_file *file) {
    const char *text = st_metadata(file, "weight_bits");
    for (int i = 0; text && i < WEIGHT_BITS; i++)
        if (strcmp(text, weight_bits[i].text) == 0) return weight_bits[i].bits;
    return text ? 0 : 8;
}

static bool write_contents(const char *path, const struct contents *c, const struct model_notes *notes,
                           struct error *err) {
    struct st_file *file = calloc(1, sizeof *file); /* its table of tensors is too large for a stack */
    char architecture[128];
    if (!file) return fail(err, "%s: out of memory", path);
    mlp_shape_print(c->shape, architecture, sizeof architecture);
    st_add_metadata(file, "architecture", "mlp %s", architecture);
    add_notes(file, notes, false);
    if (c->q) {
        st_add_metadata(file, "scheme", c->q->per_channel ? "per-channel" : "per-tensor");
        st_add_metadata(file, "activations", c->q->symmetric_activations ? "symmetric" : "asymmetric");
        add_notes(file, notes, true);
        if (c->bits < 8) st_add_metadata(file, "weight_bits", "%s", bits_text(c->bits));
    }
    contents_add(c, file);
    bool ok = st_write_checked(path, file, reads_back, err);
    free(file);
    return ok;
}

bool model_write_mlp(const char *path, const struct mlp *mlp, const struct model_notes *notes, struct error *err) {
    return write_contents(path, &(struct contents){.shape = &mlp->shape, .mlp = mlp}, notes, err);
}

bool model_write_coded(const char *path, const struct weight_only *c, const struct model_notes *notes,
                       struct error *err) {
    return write_contents(path, &(struct contents){.shape = &c->shape, .coded = c}, notes, err);
}

bool model_write_dynamic(const char *path, const struct dynamic_mlp *q, const struct model_notes *notes,
                         struct error *err) {
    return write_contents(path, &(struct contents){.shape = &q->shape, .dynamic = q}, notes, err);
}

bool model_write_qmlp(const char *path, const struct qmlp *q, const struct model_notes *notes, struct error *err) {
    struct contents c = {.shape = &q->shape, .q = q, .bits = notes->weight_bits ? notes->weight_bits : 8};
    uint8_t *row = contents_reserve_packed(&c, err);
    for (int i = 0; i <= q->shape.layers; i++) c.zero_point[i] = (uint8_t)q->activation[i].zero_point;
    if (row && c.bits < 8) contents_pack(&c, row);
    bool ok = row && write_contents(path, &c, notes, err);
    block_free(&c.block);
    return ok;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* The widths of the layers from the shapes of fc1.weight, fc2.weight, ... */
static bool shape_of_weights(const struct st_file *file, struct mlp_shape *shape, struct error *err) {
    char name[ST_NAME];
    const struct st_tensor *t;
    int widths[MLP_MAX_LAYERS + 1], layers = 0;
    for (; (t = st_find(file, layer_tensor(name, layers, "weight"))); layers++) {
        if (layers == MLP_MAX_LAYERS) return fail(err, "more than %d layers", MLP_MAX_LAYERS);
        if (t->dimensions != 2 || t->shape[0] < 1 || t->shape[1] < 1 || t->shape[0] > MLP_MAX_WIDTH ||
            t->shape[1] > MLP_MAX_WIDTH)
            return fail(err, "tensor %s: expected a matrix of 1 to %d rows and columns", name, MLP_MAX_WIDTH);
        if (layers > 0 && t->shape[1] != (size_t)widths[layers])
            return fail(err, "tensor %s takes %zu inputs, the layer before gives %d", name, t->shape[1],
                        widths[layers]);
        widths[layers] = (int)t->shape[1];
        widths[layers + 1] = (int)t->shape[0];
    }
    if (layers == 0) return fail(err, "tensor fc1.weight is missing: not a model of this program");
    return mlp_shape_make(widths[0], widths + 1, layers - 1, widths[layers], shape, err);
}

static bool metadata_is(const struct st_file *file, const char *key, const char *expected) {
    const char *text = st_metadata(file, key);
    return text && strcmp(text, expected) == 0;
}

/* Of weights in other forms than a matrix of numbers, the metadata tell the shape. */
static bool read_shape(const struct st_file *file, struct mlp_shape *shape, struct error *err) {
    bool told = st_metadata(file, "fc1.format") || st_metadata(file, "weight_bits") ||
        metadata_is(file, "activations", "dynamic") || metadata_is(file, "activations", "vector-wise");
    return told ? st_architecture(file, shape, err) : shape_of_weights(file, shape, err);
}

static bool read_fp32(const struct st_file *file, struct model *out, struct error *err) {
    struct contents c = {.shape = &out->shape, .mlp = &out->mlp};
    out->kind = MODEL_FP32;
    out->bits_per_weight = contents_bits_per_weight(&c);
    return contents_check_weights(&c, file, err) && mlp_create(&out->shape, &out->mlp, err) &&
        contents_read(&c, file, err);
}

static bool set_zero_points(struct qmlp *q, const uint8_t *zero_point, struct error *err) {
    for (int i = 0; i <= q->shape.layers; i++) {
        struct qparams *p = &q->activation[i];
        *p = (struct qparams){p->scale, zero_point[i], q->symmetric_activations, 255};
        if (q->symmetric_activations && p->zero_point != 128) {
            char name[ST_NAME] = "output_zero_point";
            if (i < q->shape.layers) layer_tensor(name, i, "input_zero_point");
            return fail(err, "tensor %s is %d: symmetric activations have 128", name, p->zero_point);
        }
    }
    return true;
}

/* The granularity is read off fc1.weight_scale; with one output both are the same thing. */
static bool read_integer(const struct st_file *file, int bits, struct model *out, struct error *err) {
    const struct st_tensor *scale = st_find(file, "fc1.weight_scale");
    bool per_channel = (scale && scale->elements != 1) || metadata_is(file, "scheme", "per-channel");
    struct contents c = {.shape = &out->shape, .q = &out->qmlp, .bits = bits};
    uint8_t *row = NULL;
    out->kind = MODEL_INT8;
    bool ok = contents_check_weights(&c, file, err) &&
        qmlp_create(&out->shape, per_channel, metadata_is(file, "activations", "symmetric"), &out->qmlp, err) &&
        (row = contents_reserve_packed(&c, err)) && contents_read(&c, file, err);
    if (ok && bits < 8) contents_unpack(&c, &out->qmlp, row);
    for (int i = 0; i < out->shape.layers; i++) out->qmlp.layer[i].four_bit = bits <= 4;
    if (ok) out->bits_per_weight = contents_bits_per_weight(&c);
    block_free(&c.block);
    return ok && set_zero_points(&out->qmlp, c.zero_point, err) && qmlp_finish(&out->qmlp, err);
}

static bool read_codecs(const struct st_file *file, const struct mlp_shape *shape, struct weight_only *c,
                        struct error *err) {
    char name[ST_NAME];
    for (int i = 0; i < shape->layers; i++) {
        const char *text = st_metadata(file, layer_tensor(name, i, "format"));
        if (!text) return fail(err, "metadata %s is missing", name);
        if (!codec_parse(text, &c->layer[i].codec))
            return fail(err, "metadata %s is \"%.60s\": not a format of this program", name, text);
    }
    return true;
}

/* bf16 in every layer, and no divisor that would make other weights of them. */
static bool is_plain_bf16(const struct weight_only *c) {
    for (int i = 0; i < c->shape.layers; i++)
        if (strcmp(c->layer[i].codec.format->name, "bf16") != 0 || c->layer[i].divisor) return false;
    return true;
}

static bool read_coded(const struct st_file *file, struct model *out, struct error *err) {
    struct weight_only coded = {0};
    struct codec codecs[MLP_MAX_LAYERS];
    struct contents c = {.shape = &out->shape, .coded = &coded};
    const struct bf16_kernel *kernel = bf16_kernel_best();
    out->kind = MODEL_WEIGHT_ONLY;
    if (!read_codecs(file, &out->shape, &coded, err) || !contents_check_weights(&c, file, err)) return false;
    for (int i = 0; i < out->shape.layers; i++) codecs[i] = coded.layer[i].codec;
    bool ok = weight_only_create(&out->shape, codecs, st_find(file, "fc1.input_divisor") != NULL, &coded, err) &&
        contents_read(&c, file, err) && weight_only_decode(&coded, &out->mlp, err) &&
        (!kernel || !is_plain_bf16(&coded) || bf16_mlp_create(&out->mlp, kernel, &out->bf16, err));
    if (ok) out->bits_per_weight = contents_bits_per_weight(&c);
    weight_only_free(&coded);
    return ok;
}

/* How many columns of each layer stand apart. */
static bool read_outlier_counts(const struct st_file *file, const struct mlp_shape *shape, bool vector_wise,
                                int *outliers, struct error *err) {
    char name[ST_NAME];
    for (int i = 0; i < shape->layers; i++) {
        const struct st_tensor *t = st_find(file, layer_tensor(name, i, "outlier_columns"));
        if (t && (t->elements < 1 || t->elements > (size_t)shape->widths[i] || !vector_wise))
            return fail(err, "tensor %s has %zu columns: expected 1 to %d, in a vector-wise model", name, t->elements,
                        shape->widths[i]);
        outliers[i] = t ? (int)t->elements : 0;
    }
    return true;
}

static bool check_outlier_columns(const struct dynamic_mlp *q, struct error *err) {
    for (int l = 0; l < q->shape.layers; l++)
        for (int j = 0, before = -1; j < q->layer[l].outliers; before = q->layer[l].outlier_columns[j++]) {
            int column = q->layer[l].outlier_columns[j];
            if (column <= before || column >= q->layer[l].in)
                return fail(err, "tensor fc%d.outlier_columns: element %d is %d: expected rising columns below %d",
                            l + 1, j, column, q->layer[l].in);
        }
    return true;
}

static bool read_dynamic(const struct st_file *file, struct model *out, struct error *err) {
    struct dynamic_mlp *q = &out->dynamic;
    struct contents c = {.shape = &out->shape, .dynamic = q};
    bool vector_wise = metadata_is(file, "activations", "vector-wise");
    int outliers[MLP_MAX_LAYERS];
    out->kind = MODEL_DYNAMIC;
    if (!contents_check_weights(&c, file, err) || !read_outlier_counts(file, &out->shape, vector_wise, outliers, err) ||
        !dynamic_create(&out->shape, vector_wise, outliers, q, err) || !contents_read(&c, file, err) ||
        !check_outlier_columns(q, err) || !dynamic_finish(q, err))
        return false;
    out->bits_per_weight = contents_bits_per_weight(&c);
    return true;
}

static bool read_kind(const struct st_file *file, struct model *out, struct error *err) {
    int bits = model_weight_bits(file);
    if (st_metadata(file, "fc1.format")) return read_coded(file, out, err);
    if (metadata_is(file, "activations", "dynamic") || metadata_is(file, "activations", "vector-wise"))
        return read_dynamic(file, out, err);
    if (bits == 0)
        return fail(err, "metadata weight_bits is \"%.20s\": expected 1, 1.6, 2, 3 or 4",
                    st_metadata(file, "weight_bits"));
    return bits < 8 || st_find(file, "fc1.weight_scale") ? read_integer(file, bits, out, err)
                                                         : read_fp32(file, out, err);
}

/* Finite weights may still have sums that are not: then every answer is the first class, with no word of why. Integers
 * cannot leave int32 (QLINEAR_MAX_BIAS). bf16 kernels multiply bytes and scale the sum; for other formats that asks no
 * more than of them. */
static bool is_bounded(const struct model *m) {
    if (m->kind == MODEL_INT8) return true;
    if (m->kind == MODEL_DYNAMIC) return dynamic_is_bounded(&m->dynamic);
    return mlp_is_bounded(&m->mlp, m->kind == MODEL_WEIGHT_ONLY ? 255 : 1);
}

static bool check_bounded(const struct model *m, struct error *err) {
    return is_bounded(m) || fail(err, "its weights are so large that sums of a layer can leave fp32");
}

static bool parse_ours(const struct st_file *file, struct model *out, struct model_notes *notes, struct error *err) {
    *out = (struct model){0};
    if (!read_shape(file, &out->shape, err) || !read_kind(file, out, err) || !check_bounded(out, err)) {
        model_free(out);
        return false;
    }
    out->file_bytes = file->file_bytes;
    if (notes) *notes = (struct model_notes){.weight_bits = model_weight_bits(file)};
    for (int i = 0; notes && i < NOTES; i++) {
        const char *text = st_metadata(file, notes_written[i].key);
        text_format((char *)notes + notes_written[i].at, notes_written[i].size, "%s", text ? text : "");
    }
    return true;
}

static bool parse_foreign(const struct st_file *file, struct model *out, struct model_notes *notes, struct error *err) {
    struct st_file *copy = calloc(1, sizeof *copy);
    if (!copy) return fail(err, "out of memory");
    *copy = *file;
    copy->owned = NULL; /* the bytes stay the other's */
    bool ok = foreign_convert(copy, err) && parse_ours(copy, out, notes, err);
    st_free(copy);
    free(copy);
    return ok;
}

bool model_parse(const struct st_file *file, struct model *out, struct model_notes *notes, struct error *err) {
    *out = (struct model){0};
    return (foreign_is(file) ? parse_foreign : parse_ours)(file, out, notes, err);
}

/* A network has no use for more than 8 bytes a parameter, whatever its kind (weights in fp32; or codes, scales and
 * outliers), with rows filled up to blocks of 256. */
bool model_needs_its_bytes(const struct st_file *file, struct error *err) {
    struct mlp_shape shape;
    size_t bytes = file->file_bytes - 8 - file->header_bytes, most = 0;
    if (!(foreign_is(file) ? foreign_shape : read_shape)(file, &shape, err)) return false;
    for (int l = 0; l < shape.layers; l++) most += 8 * (size_t)shape.widths[l + 1] * ((size_t)shape.widths[l] + 256);
    return bytes <= most ||
        fail(err, "holds %zu bytes of tensors: expected at most %zu for its %d layers", bytes, most, shape.layers);
}

bool model_read(const char *path, struct model *out, struct model_notes *notes, struct error *err) {
    *out = (struct model){0};
    if (notes) *notes = (struct model_notes){0};
    struct st_file *file = calloc(1, sizeof *file);
    if (!file) return fail(err, "%s: out of memory", path);
    bool ok = st_read_checked(path, model_needs_its_bytes, file, err) &&
        (model_parse(file, out, notes, err) || fail_in(err, path));
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
