#include "model/safetensors.h"

#include <float.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "model/gguf.h"

static const uint64_t max_file = (uint64_t)1 << 32, max_header = (uint64_t)1 << 20;

const struct st_type st_types[ST_DTYPES] = {{"F32", 4}, {"F16", 2},     {"BF16", 2},    {"I32", 4}, {"I8", 1},
                                            {"U8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F64", 8}};

/* Files are little-endian whatever the machine: every number of more than a byte passes st_copy. */
_Static_assert(sizeof(float) == 4 && FLT_RADIX == 2 && FLT_MANT_DIG == 24 && FLT_MAX_EXP == 128, "IEEE 754 floats");
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__ && __BYTE_ORDER__ != __ORDER_BIG_ENDIAN__
#error "a byte order that st_copy does not know"
#endif

/* A machine whose first byte of 1 is 0 keeps its numbers the other way round than the file. */
void st_copy(void *to, const void *from, size_t elements, enum st_dtype dtype) {
    size_t width = st_types[dtype].bytes;
    const uint16_t one = 1;
    memcpy(to, from, elements * width);
    if (*(const uint8_t *)&one) return;
    for (uint8_t *x = to, *end = x + elements * width; x < end; x += width)
        for (size_t i = 0; i < width / 2; i++) {
            uint8_t byte = x[i];
            x[i] = x[width - 1 - i], x[width - 1 - i] = byte;
        }
}

const struct st_tensor *st_find(const struct st_file *file, const char *name) {
    for (size_t i = 0; i < file->tensor_count; i++)
        if (strcmp(file->tensors[i].name, name) == 0) return &file->tensors[i];
    return NULL;
}

const char *st_metadata(const struct st_file *file, const char *key) {
    for (size_t i = 0; i < file->metadata_count; i++)
        if (strcmp(file->metadata[i].key, key) == 0) return file->metadata[i].text;
    return NULL;
}

static bool read_dtype(struct json object, struct st_tensor *t, struct error *err) {
    struct json dtype;
    char name[64];
    if (!json_member(object, "dtype", &dtype) || json_kind(dtype) != JSON_TEXT)
        return fail(err, "tensor %s has no dtype", t->name);
    json_text(dtype, name, sizeof name);
    for (int i = 0; i < ST_DTYPES; i++)
        if (strcmp(name, st_types[i].name) == 0) {
            t->dtype = (enum st_dtype)i;
            return true;
        }
    return fail(err, "tensor %s has the dtype %.20s: expected F32, F16, BF16, I32, I8, U8, F8_E4M3, F8_E5M2 or F64",
                t->name, name);
}

/* 64 bits: a count of 2^32 would be 0 where size_t has 32. */
static bool read_shape(struct json object, struct st_tensor *t, uint64_t *elements, struct error *err) {
    struct json shape, name, item;
    if (!json_member(object, "shape", &shape) || json_kind(shape) != JSON_ARRAY)
        return fail(err, "tensor %s has no shape", t->name);
    *elements = 1;
    for (size_t at = 0; json_next(shape, &at, &name, &item);) {
        uint64_t size;
        if (t->dimensions == ST_MAX_DIMENSIONS)
            return fail(err, "tensor %s has more than %d dimensions", t->name, ST_MAX_DIMENSIONS);
        if (!json_whole(item, &size)) return fail(err, "tensor %s: its shape is not of whole numbers", t->name);
        if (size && *elements > max_file / size) return fail(err, "tensor %s: its shape is too large", t->name);
        t->shape[t->dimensions++] = (size_t)size;
        *elements *= size;
    }
    t->elements = (size_t)*elements;
    return true;
}

/* [begin, end] and nothing else. */
static bool read_pair(struct json object, uint64_t pair[2]) {
    struct json offsets, name, item;
    int count = 0;
    if (!json_member(object, "data_offsets", &offsets) || json_kind(offsets) != JSON_ARRAY) return false;
    for (size_t at = 0; json_next(offsets, &at, &name, &item);)
        if (count == 2 || !json_whole(item, &pair[count++])) return false;
    return count == 2;
}

static bool read_offsets(struct json object, struct st_file *file, uint64_t elements, struct st_tensor *t,
                         struct error *err) {
    uint64_t at[2], available = file->file_bytes - 8 - file->header_bytes;
    uint64_t needed = elements * st_types[t->dtype].bytes;
    if (!read_pair(object, at)) return fail(err, "tensor %s has no data_offsets [begin, end]", t->name);
    if (at[0] > at[1] || at[1] > available)
        return fail(err, "tensor %s: its bytes %llu to %llu are out of range, the data is %llu bytes long", t->name,
                    (unsigned long long)at[0], (unsigned long long)at[1], (unsigned long long)available);
    t->bytes = (size_t)(at[1] - at[0]);
    if (t->bytes != needed)
        return fail(err, "tensor %s: its shape needs %llu bytes, its offsets give %zu", t->name,
                    (unsigned long long)needed, t->bytes);
    t->data = file->bytes + 8 + file->header_bytes + at[0];
    return true;
}

static bool read_tensor(struct json name, struct json object, struct st_file *file, struct error *err) {
    struct st_tensor t = {0};
    if (json_text(name, t.name, sizeof t.name) >= ST_NAME)
        return fail(err, "a tensor's name is longer than %d bytes: %.40s...", ST_NAME - 1, t.name);
    if (file->tensor_count == ST_MAX_TENSORS) return fail(err, "more than %d tensors", ST_MAX_TENSORS);
    if (st_find(file, t.name)) return fail(err, "two tensors are called %s", t.name);
    if (json_kind(object) != JSON_OBJECT) return fail(err, "tensor %s is not described by an object", t.name);
    uint64_t elements = 0;
    if (!read_dtype(object, &t, err) || !read_shape(object, &t, &elements, err) ||
        !read_offsets(object, file, elements, &t, err))
        return false;
    file->tensors[file->tensor_count++] = t;
    return true;
}

static bool read_metadata(struct json object, struct st_file *file, struct error *err) {
    struct json name, item;
    if (json_kind(object) != JSON_OBJECT) return fail(err, "__metadata__ is not an object");
    for (size_t at = 0; json_next(object, &at, &name, &item);) {
        char key[ST_NAME];
        json_text(name, key, sizeof key);
        if (json_kind(item) != JSON_TEXT) return fail(err, "metadata %.40s is not a text", key);
        if (file->metadata_count == ST_MAX_METADATA) return fail(err, "more than %d metadata texts", ST_MAX_METADATA);
        size_t i = file->metadata_count++;
        memcpy(file->metadata[i].key, key, sizeof key);
        json_text(item, file->metadata[i].text, ST_TEXT);
    }
    return true;
}

static int by_position(const void *a, const void *b) {
    const struct st_tensor *s = a, *t = b;
    if (s->data != t->data) return (const char *)s->data < (const char *)t->data ? -1 : 1;
    return (s->bytes > t->bytes) - (s->bytes < t->bytes); /* an empty tensor stands before the next one */
}

/* Sorted by position each tensor must begin where the one before ended, and the last end with the file. */
static bool check_cover(struct st_file *file, struct error *err) {
    const unsigned char *at = file->bytes + 8 + file->header_bytes, *end = file->bytes + file->file_bytes;
    qsort(file->tensors, file->tensor_count, sizeof file->tensors[0], by_position);
    for (size_t i = 0; i < file->tensor_count; i++) {
        const struct st_tensor *t = &file->tensors[i];
        if ((const unsigned char *)t->data < at) return fail(err, "tensor %s overlaps the one before", t->name);
        if ((const unsigned char *)t->data > at) return fail(err, "bytes before tensor %s belong to nothing", t->name);
        at += t->bytes;
    }
    if (at != end) return fail(err, "%zu bytes after the last tensor belong to nothing", (size_t)(end - at));
    return true;
}

static bool read_header(struct json root, struct st_file *file, struct error *err) {
    struct json name, item;
    for (size_t at = 0; json_next(root, &at, &name, &item);) {
        char key[ST_NAME];
        json_text(name, key, sizeof key);
        if (!(strcmp(key, "__metadata__") == 0 ? read_metadata(item, file, err) : read_tensor(name, item, file, err)))
            return false;
    }
    return true;
}

static bool parse_header(struct st_file *file, struct error *err) {
    const char *text = (const char *)file->bytes + 8, *end = text + file->header_bytes;
    struct json root;
    /* A name would end there: two programs would see two names. */
    if (memchr(text, 0, file->header_bytes) || memmem(text, file->header_bytes, "\\u0000", 6))
        return fail(err, "its header holds a NUL character");
    if (!is_utf8(text, file->header_bytes)) return fail(err, "its header is not UTF-8");
    enum json_status status = json_parse(text, file->header_bytes, &root);
    if (status == JSON_TOO_DEEP)
        return fail(err, "its header nests deeper than %d: not one of safetensors", JSON_MAX_NESTING);
    if (status == JSON_BROKEN || json_kind(root) != JSON_OBJECT) return fail(err, "its header is not a JSON object");
    for (const char *at = root.text + root.size; at < end; at++)
        if (!strchr(" \t\n\r", *at)) return fail(err, "its JSON header is followed by something else");
    return read_header(root, file, err) && check_cover(file, err);
}

bool st_header_bytes(const unsigned char *bytes, size_t size, size_t *header, struct error *err) {
    if (size < 8) return fail(err, "is %zu bytes long: too short for a safetensors file", size);
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--) length = length << 8 | bytes[i];
    if (length > size - 8 || length > max_header || length < 2)
        return fail(err,
                    "not a safetensors file, or cut short: its first 8 bytes promise a header of %llu bytes, "
                    "%s%zu bytes follow",
                    (unsigned long long)length, size == SIZE_MAX ? "at most " : "",
                    size == SIZE_MAX ? (size_t)max_header : size - 8);
    *header = (size_t)length;
    return true;
}

bool st_parse(const void *bytes, size_t size, struct st_file *out, struct error *err) {
    if (gguf_is(bytes, size)) return gguf_parse(bytes, size, out, err);
    *out = (struct st_file){.bytes = bytes, .file_bytes = size};
    return st_header_bytes(bytes, size, &out->header_bytes, err) && parse_header(out, err);
}

void st_free(struct st_file *file) {
    free(file->owned);
    *file = (struct st_file){0};
}

void st_add(struct st_file *file, const char *name, enum st_dtype dtype, size_t rows, size_t cols, const void *data) {
    struct st_tensor *t = &file->tensors[file->tensor_count++];
    *t = (struct st_tensor){.dtype = dtype, .dimensions = cols ? 2 : 1, .shape = {rows, cols}, .data = data};
    t->elements = rows * (cols ? cols : 1);
    t->bytes = t->elements * st_types[dtype].bytes;
    snprintf(t->name, sizeof t->name, "%s", name);
}

void st_add_metadata(struct st_file *file, const char *key, const char *format, ...) {
    size_t i = file->metadata_count++;
    char text[ST_TEXT + 4]; /* longer by a character: whether it has to be cut */
    snprintf(file->metadata[i].key, ST_NAME, "%s", key);
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(file->metadata[i].text, ST_TEXT, "%.*s", text_cut(text, ST_TEXT - 1), text);
}
