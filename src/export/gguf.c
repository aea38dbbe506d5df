/* A model as a GGUF file, see model/gguf.h: the very bytes of the tensors, which have ggml's own layouts. */
#include <string.h>

#include "export/export.h"
#include "model/gguf.h"
#include "model/model_run.h"

enum { TEXT = 8, U32 = 4 };

static void put_text(struct export_stream *out, const char *text) {
    export_number(out, strlen(text), 8);
    export_bytes(out, text, strlen(text));
}

static void put_text_pair(struct export_stream *out, const char *key, const char *text) {
    put_text(out, key);
    export_number(out, TEXT, 4);
    put_text(out, text);
}

static void put_number_pair(struct export_stream *out, const char *key, uint64_t value) {
    put_text(out, key);
    export_number(out, U32, 4);
    export_number(out, value, 4);
}

/* The format of a tensor, by the metadata of its layer or by its dtype; NULL: one that ggml has not. */
static const struct format *format_of(const struct st_file *file, const struct st_tensor *t) {
    char key[ST_NAME] = "";
    struct codec codec = {0};
    if (t->dtype == ST_F32) return format_find("f32");
    if (t->dtype == ST_F16) return format_find("f16");
    if (t->dtype == ST_BF16) return format_find("bf16");
    snprintf(key, sizeof key, "%.*s.format", (int)strcspn(t->name, "."), t->name);
    const char *text = st_metadata(file, key);
    return text && codec_parse(text, &codec) && gguf_type(codec.format->name) >= 0 ? codec.format : NULL;
}

/* In the file each tensor begins at a multiple of the alignment, as offsets do. */
static size_t aligned(size_t at) { return (at + GGUF_ALIGNMENT - 1) / GGUF_ALIGNMENT * GGUF_ALIGNMENT; }

static void align(struct export_stream *out) {
    static const uint8_t zeros[GGUF_ALIGNMENT];
    export_bytes(out, zeros, aligned(out->at) - out->at);
}

static bool is_told(const char *key) { return !strstr(key, ".format"); } /* the tensors' own types tell formats */

bool export_gguf(const struct export_source *source, FILE *to, struct table *t, struct error *err) {
    const struct st_file *file = source->file;
    const struct format *format[ST_MAX_TENSORS];
    size_t pairs = 3, offset = 0;
    if (source->model->kind != MODEL_FP32 && source->model->kind != MODEL_WEIGHT_ONLY)
        return fail(err, "GGUF has no models with activations in integers, as this one (%s): expected weights alone",
                    arithmetic_name(source->model));
    for (size_t i = 0; i < file->tensor_count; i++)
        if (!(format[i] = format_of(file, &file->tensors[i]))) {
            char key[ST_NAME];
            snprintf(key, sizeof key, "%.*s.format", (int)strcspn(file->tensors[i].name, "."), file->tensors[i].name);
            const char *text = st_metadata(file, key);
            return fail(err, "GGUF has no type for %s in %s: expected f32, f16, bf16, q8_0, q4_0, iq4_nl, q2_K to q6_K",
                        file->tensors[i].name, text ? text : st_types[file->tensors[i].dtype].name);
        }
    for (size_t i = 0; i < file->metadata_count; i++) pairs += is_told(file->metadata[i].key);
    struct export_stream out = {to, 0};
    export_bytes(&out, "GGUF", 4);
    export_number(&out, 3, 4);
    export_number(&out, file->tensor_count, 8);
    export_number(&out, pairs, 8);
    put_text_pair(&out, "general.architecture", "mnistq");
    put_number_pair(&out, "general.alignment", GGUF_ALIGNMENT);
    put_number_pair(&out, "general.quantization_version", 2);
    for (size_t i = 0; i < file->metadata_count; i++) {
        char key[ST_NAME + sizeof GGUF_PREFIX];
        snprintf(key, sizeof key, GGUF_PREFIX "%s", file->metadata[i].key);
        if (is_told(file->metadata[i].key)) put_text_pair(&out, key, file->metadata[i].text);
    }
    for (size_t i = 0; i < file->tensor_count; i++) {
        const struct st_tensor *tensor = &file->tensors[i];
        const struct format *f = format[i];
        size_t cols = tensor->shape[tensor->dimensions - 1], rows = tensor->dimensions == 2 ? tensor->shape[0] : 1;
        if (tensor->dtype == ST_U8) cols = cols / format_bytes(f, f->block) * (size_t)f->block;
        put_text(&out, tensor->name);
        export_number(&out, (uint64_t)tensor->dimensions, 4);
        export_number(&out, cols, 8);
        if (tensor->dimensions == 2) export_number(&out, rows, 8);
        export_number(&out, (uint64_t)gguf_type(f->name), 4);
        export_number(&out, offset, 8);
        offset = aligned(offset + tensor->bytes);
        table_row(t, "%s | %s | %zu | %zu | %zu", tensor->name, f->name, rows, cols, tensor->bytes);
    }
    for (size_t i = 0; i < file->tensor_count; i++) {
        align(&out);
        export_bytes(&out, file->tensors[i].data, file->tensors[i].bytes);
    }
    align(&out);
    table_note(t,
               "Rows are whole blocks of their type, filled up with zeros; mnistq.architecture has the true widths.");
    return true;
}
