#include "model/gguf.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "nn/mlp.h"

static const struct {
    const char *format;
    int type;
} types[] = {{"f32", 0},   {"f16", 1},   {"q4_0", 2},  {"q8_0", 8},    {"q2_K", 10}, {"q3_K", 11},
             {"q4_K", 12}, {"q5_K", 13}, {"q6_K", 14}, {"iq4_nl", 20}, {"bf16", 30}};
enum { TYPES = sizeof types / sizeof *types, TYPE_TEXT = 8, TYPE_ARRAY = 9, TYPE_U32 = 4 };

int gguf_type(const char *format) {
    for (int i = 0; i < TYPES; i++)
        if (strcmp(types[i].format, format) == 0) return types[i].type;
    return -1;
}

/* What is left of the header; at is NULL after a read beyond its end. */
struct reader {
    const uint8_t *at;
    size_t left;
};

static const uint8_t *take(struct reader *r, uint64_t bytes) {
    const uint8_t *at = r->at;
    if (!at || bytes > r->left) return r->at = NULL;
    r->at += bytes;
    r->left -= (size_t)bytes;
    return at;
}

static uint64_t take_number(struct reader *r, int bytes) {
    const uint8_t *at = take(r, (uint64_t)bytes);
    uint64_t value = 0;
    for (int i = bytes - 1; at && i >= 0; i--) value = value << 8 | at[i];
    return value;
}

/* A text into one of size bytes, cut; false when it is no text of UTF-8 without NUL, or longer than whole. */
static bool take_text(struct reader *r, char *text, size_t size, bool may_cut) {
    uint64_t length = take_number(r, 8);
    const char *at = (const char *)take(r, length);
    if (!at || memchr(at, 0, (size_t)length) || !is_utf8(at, (size_t)length)) return false;
    if (length >= size && !may_cut) return false;
    size_t used = length < size ? (size_t)length : size - 1;
    memcpy(text, at, used);
    text[used] = 0;
    text[text_cut(text, used)] = 0;
    return true;
}

/* Bytes of a value of this type; 0: text, array, or none that there is. */
static int width_of(uint64_t type) {
    static const uint8_t widths[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type < sizeof widths ? widths[type] : 0;
}

static bool skip_value(struct reader *r, uint64_t type) {
    char text[8];
    if (type == TYPE_TEXT) return take_text(r, text, sizeof text, true);
    if (type != TYPE_ARRAY) return width_of(type) && take(r, (uint64_t)width_of(type));
    uint64_t of = take_number(r, 4), count = take_number(r, 8);
    if (of != TYPE_TEXT) return width_of(of) && count <= r->left && take(r, count * (uint64_t)width_of(of));
    for (uint64_t i = 0; i < count; i++)
        if (!take_text(r, text, sizeof text, true)) return false;
    return r->at != NULL;
}

static bool read_pair(struct reader *r, uint64_t *alignment, struct st_file *file, struct error *err) {
    char key[ST_NAME + sizeof GGUF_PREFIX], text[ST_TEXT];
    size_t prefix = strlen(GGUF_PREFIX);
    if (!take_text(r, key, sizeof key, true)) return fail(err, "a key of its header is cut, or no text");
    uint64_t type = take_number(r, 4);
    if (strcmp(key, "general.alignment") == 0 && type == TYPE_U32) {
        *alignment = take_number(r, 4);
        return (*alignment >= 1 && *alignment <= 1 << 16 && (*alignment & (*alignment - 1)) == 0) ||
            fail(err, "general.alignment is %llu: expected a power of 2", (unsigned long long)*alignment);
    }
    if (type != TYPE_TEXT || strncmp(key, GGUF_PREFIX, prefix) != 0)
        return skip_value(r, type) || fail(err, "the value of %s is cut, or of no type that is known", key);
    if (!take_text(r, text, sizeof text, true)) return fail(err, "the value of %s is cut, or no text", key);
    if (file->metadata_count == ST_MAX_METADATA - MLP_MAX_LAYERS - 1)
        return fail(err, "more than %d metadata texts", ST_MAX_METADATA - MLP_MAX_LAYERS - 1);
    st_add_metadata(file, key + prefix, "%s", text);
    return true;
}

/* Rows, and weights of a row with those that fill it up; a vector is one row. */
static bool read_sizes(struct reader *r, const char *name, size_t *rows, size_t *cols, int *dimensions,
                       struct error *err) {
    uint64_t n = take_number(r, 4), sizes[2] = {1, 1};
    if (n < 1 || n > 2) return fail(err, "tensor %s has %llu dimensions: expected 1 or 2", name, (unsigned long long)n);
    for (uint64_t i = 0; i < n; i++) sizes[i] = take_number(r, 8);
    for (int i = 0; i < 2; i++)
        if (sizes[i] < 1 || sizes[i] > 1 << 24)
            return fail(err, "tensor %s has a dimension of %llu: expected 1 to 2^24", name,
                        (unsigned long long)sizes[i]);
    *cols = (size_t)sizes[0];
    *rows = (size_t)sizes[1];
    *dimensions = (int)n;
    return true;
}

/* format: of the tensor, among formats[]. */
static bool read_tensor(struct reader *r, struct st_tensor *t, const struct format **format, uint64_t *offset,
                        struct error *err) {
    size_t rows = 0, cols = 0;
    if (!take_text(r, t->name, sizeof t->name, false)) return fail(err, "the name of a tensor is cut, or no text");
    if (!read_sizes(r, t->name, &rows, &cols, &t->dimensions, err)) return false;
    uint64_t type = take_number(r, 4);
    *offset = take_number(r, 8);
    *format = NULL;
    for (int i = 0; i < TYPES; i++)
        if ((uint64_t)types[i].type == type) *format = format_find(types[i].format);
    if (!*format)
        return fail(err, "tensor %s has ggml's type %llu: not a format of this program", t->name,
                    (unsigned long long)type);
    if (cols % (size_t)(*format)->block)
        return fail(err, "tensor %s has rows of %zu: expected a multiple of %d", t->name, cols, (*format)->block);
    for (t->dtype = 0; strcmp(st_types[t->dtype].name, (*format)->dtype) != 0;) t->dtype++;
    if (t->dtype == ST_U8) cols = cols / (size_t)(*format)->block * format_bytes(*format, (*format)->block);
    t->shape[0] = t->dimensions == 2 ? rows : cols;
    t->shape[1] = cols;
    t->elements = rows * cols;
    t->bytes = t->elements * st_types[t->dtype].bytes;
    return true;
}

/* Where a layer has another format than fp32, the metadata tell all formats and the shape, as in a file of ours. */
static void describe_layers(struct st_file *file, const struct format *const *format, const size_t *inputs) {
    char name[ST_NAME], shape[16 * MLP_MAX_LAYERS + 32] = "mlp ";
    bool plain = true;
    int layers = 0;
    for (; layers < MLP_MAX_LAYERS; layers++) {
        snprintf(name, sizeof name, "fc%d.weight", layers + 1);
        const struct st_tensor *t = st_find(file, name);
        if (!t) break;
        size_t i = (size_t)(t - file->tensors), used = strlen(shape);
        plain &= t->dtype == ST_F32;
        if (layers == 0) snprintf(shape + used, sizeof shape - used, "%zu-%zu", inputs[i], t->shape[0]);
        else snprintf(shape + used, sizeof shape - used, "-%zu", t->shape[0]);
    }
    for (int l = 0; !plain && l < layers; l++) {
        snprintf(name, sizeof name, "fc%d.weight", l + 1);
        const struct format *f = format[st_find(file, name) - file->tensors];
        snprintf(name, sizeof name, "fc%d.format", l + 1);
        st_add_metadata(file, name, "%s", f->name);
    }
    if (!plain && !st_metadata(file, "architecture")) st_add_metadata(file, "architecture", "%s", shape);
}

static bool read_tensors(struct reader *r, uint64_t count, uint64_t alignment, struct st_file *file,
                         struct error *err) {
    const struct format *format[ST_MAX_TENSORS];
    size_t inputs[ST_MAX_TENSORS];
    uint64_t offset[ST_MAX_TENSORS], end = 0;
    for (uint64_t i = 0; i < count; i++) {
        struct st_tensor t = {0};
        if (!read_tensor(r, &t, &format[i], &offset[i], err)) return false;
        if (st_find(file, t.name)) return fail(err, "two tensors are called %s", t.name);
        inputs[i] = t.dtype == ST_U8 ? t.shape[1] / format_bytes(format[i], format[i]->block) * (size_t)format[i]->block
                                     : t.shape[1];
        file->tensors[file->tensor_count++] = t;
    }
    if (!r->at) return fail(err, "not a GGUF file, or its header is longer than 1 MiB");
    size_t header = (size_t)(r->at - file->bytes);
    size_t begin = (header + (size_t)alignment - 1) / (size_t)alignment * (size_t)alignment;
    file->header_bytes = begin - 8;
    for (uint64_t i = 0; i < count; i++) {
        struct st_tensor *t = &file->tensors[i];
        if (offset[i] != (end + alignment - 1) / alignment * alignment)
            return fail(err, "tensor %s begins at %llu: expected behind the one before, at a multiple of %llu", t->name,
                        (unsigned long long)offset[i], (unsigned long long)alignment);
        end = offset[i] + t->bytes;
        if (begin > file->file_bytes || end > file->file_bytes - begin)
            return fail(err, "cut short: tensor %s ends beyond the file", t->name);
        t->data = file->bytes + begin + offset[i];
    }
    if (file->file_bytes - begin - end >= alignment)
        return fail(err, "%zu bytes after the last tensor belong to nothing", (size_t)(file->file_bytes - begin - end));
    describe_layers(file, format, inputs);
    return true;
}

bool gguf_parse(const void *bytes, size_t size, struct st_file *out, struct error *err) {
    enum { MOST = 1 << 20 };
    struct reader r = {bytes, size < MOST ? size : MOST};
    uint64_t alignment = GGUF_ALIGNMENT;
    *out = (struct st_file){.bytes = bytes, .file_bytes = size};
    take(&r, 4);
    uint64_t version = take_number(&r, 4), tensors = take_number(&r, 8), pairs = take_number(&r, 8);
    if (!r.at) return fail(err, "is %zu bytes long: too short for a GGUF file", size);
    if (version != 2 && version != 3)
        return fail(err, "is a GGUF file of version %llu: expected 2 or 3", (unsigned long long)version);
    if (tensors < 1 || tensors > ST_MAX_TENSORS)
        return fail(err, "has %llu tensors: expected 1 to %d", (unsigned long long)tensors, ST_MAX_TENSORS);
    for (uint64_t i = 0; i < pairs; i++)
        if (!read_pair(&r, &alignment, out, err)) return false;
    return read_tensors(&r, tensors, alignment, out, err);
}
