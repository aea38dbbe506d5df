/* A model as a GGUF file, see model/gguf.h: the very bytes of the tensors, which have ggml's own layouts. */
#include <string.h>

#include "export/export.h"
#include "model/gguf.h"
#include "model/model_run.h"

enum { TEXT = 8, U32 = 4 };

static void put_number(FILE *to, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) fputc((int)(value >> (8 * i) & 255), to);
}

static void put_text(FILE *to, const char *text) {
    put_number(to, strlen(text), 8);
    fputs(text, to);
}

static void put_pair(FILE *to, const char *prefix, const char *key, const char *text) {
    put_number(to, strlen(prefix) + strlen(key), 8);
    fprintf(to, "%s%s", prefix, key);
    put_number(to, TEXT, 4);
    put_text(to, text);
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

static size_t padding(size_t at) { return (GGUF_ALIGNMENT - at % GGUF_ALIGNMENT) % GGUF_ALIGNMENT; }
static void put_zeros(FILE *to, size_t count) {
    while (count--) fputc(0, to);
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
    fputs("GGUF", to);
    put_number(to, 3, 4);
    put_number(to, file->tensor_count, 8);
    put_number(to, pairs, 8);
    put_pair(to, "", "general.architecture", "mnistq");
    put_text(to, "general.alignment");
    put_number(to, U32, 4);
    put_number(to, GGUF_ALIGNMENT, 4);
    put_text(to, "general.quantization_version");
    put_number(to, U32, 4);
    put_number(to, 2, 4);
    for (size_t i = 0; i < file->metadata_count; i++)
        if (is_told(file->metadata[i].key)) put_pair(to, GGUF_PREFIX, file->metadata[i].key, file->metadata[i].text);
    for (size_t i = 0; i < file->tensor_count; i++) {
        const struct st_tensor *tensor = &file->tensors[i];
        const struct format *f = format[i];
        size_t cols = tensor->shape[tensor->dimensions - 1];
        if (tensor->dtype == ST_U8) cols = cols / format_bytes(f, f->block) * (size_t)f->block;
        put_text(to, tensor->name);
        put_number(to, (uint64_t)tensor->dimensions, 4);
        put_number(to, cols, 8);
        if (tensor->dimensions == 2) put_number(to, tensor->shape[0], 8);
        put_number(to, (uint64_t)gguf_type(f->name), 4);
        put_number(to, offset, 8);
        offset += tensor->bytes + padding(tensor->bytes);
        table_row(t, "%s | %s | %zu | %zu | %zu", tensor->name, f->name, tensor->dimensions == 2 ? tensor->shape[0] : 1,
                  cols, tensor->bytes);
    }
    put_zeros(to, padding((size_t)ftello(to)));
    for (size_t i = 0; i < file->tensor_count; i++) {
        fwrite(file->tensors[i].data, 1, file->tensors[i].bytes, to);
        put_zeros(to, padding(file->tensors[i].bytes));
    }
    table_note(t,
               "Rows are whole blocks of their type, filled up with zeros; mnistq.architecture has the true widths.");
    return true;
}
