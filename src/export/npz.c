/* Every tensor of a model file as a NumPy array: a ZIP archive of NAME.npy, uncompressed, as numpy.savez writes it (NEP
 * 1; APPNOTE.TXT 6.3.3 of PKWARE). */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "export/export.h"
#include "model/model_run.h"

enum { MAX_ARRAYS = ST_MAX_TENSORS + 2 * MLP_MAX_LAYERS + 2, NPY_HEADER = 128 };

struct archive {
    struct export_stream out;
    struct table *t;
    int count;
    struct {
        char name[ST_NAME + 8];
        uint32_t crc, bytes, at;
    } entries[MAX_ARRAYS];
};

/* What the local header and the central directory have alike: version 2.0, stored, 1 January 1980. */
static void put_entry(struct archive *z, int i) {
    export_number(&z->out, 20, 2);
    export_number(&z->out, 0, 2);
    export_number(&z->out, 0, 2);
    export_number(&z->out, 0, 2);
    export_number(&z->out, 0x21, 2);
    export_number(&z->out, z->entries[i].crc, 4);
    export_number(&z->out, z->entries[i].bytes, 4);
    export_number(&z->out, z->entries[i].bytes, 4);
    export_number(&z->out, (uint32_t)strlen(z->entries[i].name), 2);
    export_number(&z->out, 0, 2);
}

/* data: little-endian elements of a NumPy type such as "<f4". */
static bool put_array(struct archive *z, const char *name, const char *type, const size_t *shape, int dimensions,
                      const void *data, size_t bytes, struct error *err) {
    char header[NPY_HEADER + 1], dims[64] = "";
    if (z->out.at + bytes > UINT32_MAX / 2 || z->count == MAX_ARRAYS)
        return fail(err, "more than 2 GiB or %d arrays: too large for an .npz of this program", MAX_ARRAYS);
    for (int d = 0; d < dimensions; d++)
        snprintf(dims + strlen(dims), sizeof dims - strlen(dims), d ? " %zu," : "%zu,", shape[d]);
    if (dimensions > 1) dims[strlen(dims) - 1] = 0; /* (2, 3), but (2,) */
    memcpy(header, "\x93NUMPY\x01\x00v\x00", 10);   /* version 1.0; 118 bytes follow */
    int used = 10 +
        snprintf(header + 10, sizeof header - 10, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", type,
                 dims);
    memset(header + used, ' ', (size_t)(NPY_HEADER - used));
    header[NPY_HEADER - 1] = '\n';

    int i = z->count++;
    snprintf(z->entries[i].name, sizeof z->entries[i].name, "%s.npy", name);
    uLong crc = crc32(crc32(0, NULL, 0), (const Bytef *)header, NPY_HEADER);
    z->entries[i].crc = (uint32_t)crc32_z(crc, data, bytes);
    z->entries[i].bytes = (uint32_t)(NPY_HEADER + bytes);
    z->entries[i].at = (uint32_t)z->out.at;
    export_bytes(&z->out, "PK\3\4", 4);
    put_entry(z, i);
    export_bytes(&z->out, z->entries[i].name, strlen(z->entries[i].name));
    export_bytes(&z->out, header, NPY_HEADER);
    export_bytes(&z->out, data, bytes);
    table_row(z->t, "%s | %s | (%s) | %zu", name, type, dims, bytes);
    return true;
}

static void put_directory(struct archive *z) {
    size_t begin = z->out.at;
    for (int i = 0; i < z->count; i++) {
        export_bytes(&z->out, "PK\1\2\24\0", 6);
        put_entry(z, i);
        export_number(&z->out, 0, 2);
        export_number(&z->out, 0, 4);
        export_number(&z->out, 0, 4);
        export_number(&z->out, z->entries[i].at, 4);
        export_bytes(&z->out, z->entries[i].name, strlen(z->entries[i].name));
    }
    size_t bytes = z->out.at - begin;
    export_bytes(&z->out, "PK\5\6\0\0\0\0", 8);
    export_number(&z->out, (uint32_t)z->count, 2);
    export_number(&z->out, (uint32_t)z->count, 2);
    export_number(&z->out, (uint32_t)bytes, 4);
    export_number(&z->out, (uint32_t)begin, 4);
    export_number(&z->out, 0, 2);
}

/* Floats of this machine as "<f4". */
static bool put_floats(struct archive *z, const char *name, float *values, size_t rows, size_t cols,
                       struct error *err) {
    st_copy(values, values, rows * cols, ST_F32);
    return put_array(z, name, "<f4", (size_t[]){rows, cols}, 2, values, rows * cols * sizeof *values, err);
}

/* NumPy has no bf16: its numbers become the same ones in fp32; nor floats of 8 bits: their bits come as bytes. */
static bool put_tensor(struct archive *z, const struct st_tensor *tensor, struct error *err) {
    static const char *const types[ST_DTYPES] = {"<f4", "<f2", NULL, "<i4", "|i1", "|u1", "|u1", "|u1", "<f8"};
    if (tensor->dtype != ST_BF16)
        return put_array(z, tensor->name, types[tensor->dtype], tensor->shape, tensor->dimensions, tensor->data,
                         tensor->bytes, err);
    uint8_t *wide = malloc(2 * tensor->bytes + 1);
    if (!wide) return fail(err, "out of memory");
    for (size_t i = 0; i < tensor->elements; i++) {
        memset(wide + 4 * i, 0, 2);
        memcpy(wide + 4 * i + 2, (const uint8_t *)tensor->data + 2 * i, 2);
    }
    bool ok = put_array(z, tensor->name, "<f4", tensor->shape, tensor->dimensions, wide, 2 * tensor->bytes, err);
    free(wide);
    return ok;
}

/* fcN.weight_values: weights that the file has in a format of its own, as they work. */
static bool put_weight_values(struct archive *z, const struct model *model, struct error *err) {
    for (int l = 0; l < model->shape.layers; l++) {
        char name[ST_NAME];
        size_t in = (size_t)model->shape.widths[l], out = (size_t)model->shape.widths[l + 1];
        float *values = aligned_array(in * out, sizeof *values, err);
        if (!values) return false;
        model_weights(model, l, values);
        snprintf(name, sizeof name, "fc%d.weight_values", l + 1);
        bool ok = put_floats(z, name, values, out, in, err);
        free(values);
        if (!ok) return false;
    }
    return true;
}

/* fcN.input of each image, and output: codes of an integer model, else numbers. */
static bool put_inputs(struct archive *z, const struct export_source *source, struct error *err) {
    const struct model *model = source->model;
    const struct mlp_shape *shape = &model->shape;
    struct model_run run;
    bool ok = model_run_create(model, source->count, 1, RUN_LAYERS, &run, err);
    if (ok) model_run(&run, source->images, source->count, NULL);
    for (int i = 0; ok && i <= shape->layers; i++) {
        char name[ST_NAME] = "output";
        size_t rows = (size_t)source->count, cols = (size_t)shape->widths[i];
        if (i < shape->layers) snprintf(name, sizeof name, "fc%d.input", i + 1);
        ok = model->kind == MODEL_INT8
            ? put_array(z, name, "|u1", (size_t[]){rows, cols}, 2, run.codes[i], rows * cols, err)
            : put_floats(z, name, run.values[i], rows, cols, err);
    }
    model_run_free(&run);
    return ok;
}

bool export_npz(const struct export_source *source, FILE *to, struct table *t, struct error *err) {
    struct archive *z = calloc(1, sizeof *z);
    if (!z) return fail(err, "out of memory");
    z->out.to = to;
    z->t = t;
    bool ok = true;
    for (size_t i = 0; ok && i < source->file->tensor_count; i++) ok = put_tensor(z, &source->file->tensors[i], err);
    if (ok && (source->model->kind == MODEL_WEIGHT_ONLY || source->model->kind == MODEL_DYNAMIC))
        ok = put_weight_values(z, source->model, err);
    if (ok && source->count) ok = put_inputs(z, source, err);
    if (ok) put_directory(z);
    free(z);
    return ok;
}
