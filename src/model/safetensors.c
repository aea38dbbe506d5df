#include "model/safetensors.h"

#include <errno.h>
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static const size_t max_file = (size_t)1 << 32, max_header = (size_t)1 << 20;

enum { MAX_NESTING = 16 }; /* brackets; a header has three */

const struct st_type st_types[ST_DTYPES] = {{"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I32", 4}, {"I8", 1}, {"U8", 1}};

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

/* A JSON number that is a whole one in [0, 2^53]; cJSON keeps numbers as doubles. */
static bool whole_number(const cJSON *item, size_t *value) {
    if (!cJSON_IsNumber(item)) return false;
    double d = item->valuedouble;
    if (!(d >= 0 && d <= 0x1p53) || d != floor(d)) return false;
    *value = (size_t)d;
    return true;
}

static bool read_dtype(const cJSON *object, struct st_tensor *t, struct error *err) {
    const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(object, "dtype");
    if (!cJSON_IsString(dtype)) return fail(err, "tensor %s has no dtype", t->name);
    for (int i = 0; i < ST_DTYPES; i++)
        if (strcmp(dtype->valuestring, st_types[i].name) == 0) {
            t->dtype = (enum st_dtype)i;
            return true;
        }
    return fail(err, "tensor %s has the dtype %.20s: expected F32, F16, BF16, I32, I8 or U8", t->name,
                dtype->valuestring);
}

static bool read_shape(const cJSON *object, struct st_tensor *t, struct error *err) {
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(object, "shape"), *item;
    if (!cJSON_IsArray(shape)) return fail(err, "tensor %s has no shape", t->name);
    t->elements = 1;
    cJSON_ArrayForEach(item, shape) {
        size_t size;
        if (t->dimensions == ST_MAX_DIMENSIONS)
            return fail(err, "tensor %s has more than %d dimensions", t->name, ST_MAX_DIMENSIONS);
        if (!whole_number(item, &size)) return fail(err, "tensor %s: its shape is not of whole numbers", t->name);
        if (size && t->elements > max_file / size) return fail(err, "tensor %s: its shape is too large", t->name);
        t->shape[t->dimensions++] = size;
        t->elements *= size;
    }
    return true;
}

static bool read_offsets(const cJSON *object, struct st_file *file, struct st_tensor *t, size_t *begin,
                         struct error *err) {
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(object, "data_offsets");
    size_t end, available = file->file_bytes - 8 - file->header_bytes;
    if (!cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2 ||
        !whole_number(cJSON_GetArrayItem(offsets, 0), begin) || !whole_number(cJSON_GetArrayItem(offsets, 1), &end))
        return fail(err, "tensor %s has no data_offsets [begin, end]", t->name);
    if (*begin > end || end > available)
        return fail(err, "tensor %s: its bytes %zu to %zu are out of range, the data is %zu bytes long", t->name,
                    *begin, end, available);
    t->bytes = end - *begin;
    if (t->bytes != t->elements * st_types[t->dtype].bytes)
        return fail(err, "tensor %s: its shape needs %zu bytes, its offsets give %zu", t->name,
                    t->elements * st_types[t->dtype].bytes, t->bytes);
    t->data = file->bytes + 8 + file->header_bytes + *begin;
    return true;
}

static bool read_tensor(const cJSON *object, struct st_file *file, struct error *err) {
    if (strlen(object->string) >= ST_NAME)
        return fail(err, "a tensor's name is longer than %d bytes: %.40s...", ST_NAME - 1, object->string);
    if (file->tensor_count == ST_MAX_TENSORS) return fail(err, "more than %d tensors", ST_MAX_TENSORS);
    if (st_find(file, object->string)) return fail(err, "two tensors are called %s", object->string);
    struct st_tensor t = {0};
    size_t begin;
    strcpy(t.name, object->string);
    if (!cJSON_IsObject(object)) return fail(err, "tensor %s is not described by an object", t.name);
    if (!read_dtype(object, &t, err) || !read_shape(object, &t, err) || !read_offsets(object, file, &t, &begin, err))
        return false;
    file->tensors[file->tensor_count++] = t;
    return true;
}

static bool read_metadata(const cJSON *object, struct st_file *file, struct error *err) {
    const cJSON *item;
    if (!cJSON_IsObject(object)) return fail(err, "__metadata__ is not an object");
    cJSON_ArrayForEach(item, object) {
        if (!cJSON_IsString(item)) return fail(err, "metadata %.40s is not a text", item->string);
        if (file->metadata_count == ST_MAX_METADATA) return fail(err, "more than %d metadata texts", ST_MAX_METADATA);
        size_t i = file->metadata_count++;
        snprintf(file->metadata[i].key, ST_NAME, "%.*s", text_cut(item->string, ST_NAME - 1), item->string);
        snprintf(file->metadata[i].text, ST_TEXT, "%.*s", text_cut(item->valuestring, ST_TEXT - 1), item->valuestring);
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

/* How deep brackets nest; cJSON calls itself for each. Brackets in texts do not count: a text ends at the first quote
 * without a backslash before it. */
static int nesting(const char *text, size_t size) {
    int depth = 0, deepest = 0;
    bool in_text = false;
    for (size_t i = 0; i < size; i++) {
        if (in_text && text[i] == '\\') i++;
        else if (text[i] == '"') in_text = !in_text;
        else if (!in_text && (text[i] == '[' || text[i] == '{')) deepest = ++depth > deepest ? depth : deepest;
        else if (!in_text && (text[i] == ']' || text[i] == '}')) depth--;
    }
    return deepest;
}

static bool parse_header(struct st_file *file, struct error *err) {
    const char *end = NULL, *text = (const char *)file->bytes + 8;
    /* cJSON would end a name there: two programs would see two names */
    if (memchr(text, 0, file->header_bytes) || memmem(text, file->header_bytes, "\\u0000", 6))
        return fail(err, "its header holds a NUL character");
    if (!is_utf8(text, file->header_bytes)) return fail(err, "its header is not UTF-8");
    if (nesting(text, file->header_bytes) > MAX_NESTING)
        return fail(err, "its header nests deeper than %d: not one of safetensors", MAX_NESTING);
    errno = 0; /* cJSON does not tell why it stops */
    cJSON *root = cJSON_ParseWithLengthOpts(text, file->header_bytes, &end, 0);
    bool short_of_memory = !root && errno == ENOMEM;
    bool ok = cJSON_IsObject(root) ||
        fail(err, short_of_memory ? "out of memory for its header" : "its header is not a JSON object");
    for (; ok && end < text + file->header_bytes; end++)
        if (*end != ' ') ok = fail(err, "its JSON header is followed by something else");
    for (const cJSON *item = ok ? root->child : NULL; ok && item; item = item->next)
        ok = strcmp(item->string, "__metadata__") == 0 ? read_metadata(item, file, err) : read_tensor(item, file, err);
    cJSON_Delete(root);
    return ok && check_cover(file, err);
}

bool st_parse(const void *bytes, size_t size, struct st_file *out, struct error *err) {
    *out = (struct st_file){.bytes = bytes, .file_bytes = size};
    if (size < 8) return fail(err, "is %zu bytes long: too short for a safetensors file", size);
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--) length = length << 8 | out->bytes[i];
    if (length > size - 8 || length > max_header || length < 2)
        return fail(err,
                    "not a safetensors file, or cut short: its first 8 bytes promise a header of %llu bytes, "
                    "%zu bytes follow",
                    (unsigned long long)length, size - 8);
    out->header_bytes = (size_t)length;
    return parse_header(out, err);
}
