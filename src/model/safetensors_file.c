/* Containers as files; what stands in them is parsed in safetensors.c. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "model/gguf.h"
#include "model/safetensors.h"

static const size_t max_file = (size_t)1 << 32;

struct head {
    struct st_file *file;
    st_check check;
};

/* Before memory is filled with what follows: a file of 4 GiB may begin with no header. */
static bool judge_head(void *context, const unsigned char *data, size_t have, size_t whole, struct error *err) {
    const struct head *h = context;
    size_t header;
    if (have < FILE_HEAD) whole = have; /* all of it */
    if (whole == SIZE_MAX) return gguf_is(data, have) || st_header_bytes(data, whole, &header, err);
    return st_parse(data, whole, h->file, err) && (!h->check || h->check(h->file, err));
}

bool st_read_checked(const char *path, st_check check, struct st_file *out, struct error *err) {
    unsigned char *bytes;
    size_t size;
    struct head head = {out, check};
    *out = (struct st_file){0};
    bool ok = file_read_judged(path, max_file, judge_head, &head, &bytes, &size, err);
    *out = (struct st_file){0};
    if (!ok) return false;
    ok = st_parse(bytes, size, out, err) || fail_in(err, path);
    out->owned = bytes;
    if (!ok) st_free(out);
    return ok;
}

bool st_read(const char *path, struct st_file *out, struct error *err) { return st_read_checked(path, NULL, out, err); }

/* The order of the bytes in the file: position i holds tensors[order[i]]. */
static void order_by_width(const struct st_file *file, size_t *order) {
    size_t used = 0;
    for (size_t width = 8; width >= 1; width /= 2)
        for (size_t i = 0; i < file->tensor_count; i++)
            if (st_types[file->tensors[i].dtype].bytes == width) order[used++] = i;
}

/* In quotes; what JSON does not take as it is, escaped. */
static void write_text(const char *text, FILE *stream) {
    static const char escaped[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    fputc('"', stream);
    for (; *text; text++) {
        const char *found = strchr(escaped, *text);
        if (found) fprintf(stream, "\\%c", letters[found - escaped]);
        else fprintf(stream, (unsigned char)*text < ' ' ? "\\u%04x" : "%c", *text);
    }
    fputc('"', stream);
}

/* NULL when memory is short. Release with free. */
static char *make_header(const struct st_file *file, const size_t *order) {
    size_t metadata = file->metadata_count * 6 * (ST_NAME + ST_TEXT),
           tensors = file->tensor_count * (6 * ST_NAME + 200);
    size_t enough = 64 + metadata + tensors, offset = 0; /* 6: \u0001 for a byte */
    char *header = malloc(enough);
    FILE *out = header ? fmemopen(header, enough, "w") : NULL;
    if (!out) {
        free(header);
        return NULL;
    }
    fprintf(out, "{\"__metadata__\":{");
    for (size_t i = 0; i < file->metadata_count; i++) {
        if (i) fputc(',', out);
        write_text(file->metadata[i].key, out);
        fputc(':', out);
        write_text(file->metadata[i].text, out);
    }
    fputc('}', out);
    for (size_t i = 0; i < file->tensor_count; i++) {
        const struct st_tensor *t = &file->tensors[order[i]];
        fputc(',', out);
        write_text(t->name, out);
        fprintf(out, ":{\"dtype\":\"%s\",\"shape\":[%zu", st_types[t->dtype].name, t->shape[0]);
        if (t->dimensions == 2) fprintf(out, ",%zu", t->shape[1]);
        fprintf(out, "],\"data_offsets\":[%zu,%zu]}", offset, offset + t->bytes);
        offset += t->bytes;
    }
    fputc('}', out);
    bool ok = !ferror(out);
    if (fclose(out) == 0 && ok) return header;
    free(header);
    return NULL;
}

/* The whole file; release with free. NULL when memory is short. */
static unsigned char *make_file(const struct st_file *file, size_t *size) {
    size_t order[ST_MAX_TENSORS];
    order_by_width(file, order);
    char *header = make_header(file, order);
    if (!header) return NULL;
    size_t length = strlen(header), padded = (length + 7) / 8 * 8; /* the data begins at a multiple of 8 */
    *size = 8 + padded;
    for (size_t i = 0; i < file->tensor_count; i++) *size += file->tensors[i].bytes;
    unsigned char *bytes = malloc(*size), *at = bytes;
    for (int i = 0; bytes && i < 8; i++) *at++ = (unsigned char)((uint64_t)padded >> (8 * i));
    if (bytes) {
        memset(at, ' ', padded);
        memcpy(at, header, length);
        at += padded;
    }
    for (size_t i = 0; bytes && i < file->tensor_count; i++) {
        const struct st_tensor *t = &file->tensors[order[i]];
        st_copy(at, t->data, t->elements, t->dtype);
        at += t->bytes;
    }
    free(header);
    return bytes;
}

/* Whether a reader takes these bytes. */
static bool reads_back(const unsigned char *bytes, size_t size, st_reader *reader, struct error *err) {
    struct st_file *file = calloc(1, sizeof *file); /* its table of tensors is too large for a stack */
    bool ok = (file || fail(err, "out of memory")) && st_parse(bytes, size, file, err) &&
        (!reader || reader(file, err));
    free(file);
    return ok;
}

bool st_write_checked(const char *path, const struct st_file *file, st_reader *reader, struct error *err) {
    struct out_file out;
    size_t size = 0;
    if (!out_file_open(&out, path, err)) return false;
    unsigned char *bytes = make_file(file, &size);
    if (!bytes) fail(err, "%s: out of memory for the header and data", path);
    else if (!reads_back(bytes, size, reader, err)) {
        fail_in(err, "not written, since it could not be read");
        fail_in(err, path);
    } else {
        fwrite(bytes, 1, size, out.stream);
        free(bytes);
        return out_file_commit(&out, err);
    }
    free(bytes);
    out_file_discard(&out);
    return false;
}

bool st_write(const char *path, const struct st_file *file, struct error *err) {
    return st_write_checked(path, file, NULL, err);
}
