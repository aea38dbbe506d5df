#include "data/idx.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { TYPE_U8 = 0x08, TYPE_I32 = 0x0c, QMNIST_COLUMNS = 8, RECORDS = 512 };
enum { FIRST_CHUNK = 1 << 16, BUFFER = 1 << 14, ANY_GZIP = 15 + 16 /* of inflateInit2 */ };
enum { GZIP_0 = 0x1f, GZIP_1 = 0x8b }; /* what a gzip member begins with */

/* A file being read, decompressed where it begins as gzip does: one member or several, one behind another (RFC 1952).
 */
struct source {
    const char *path;
    FILE *file;
    bool gzip, ended; /* ended: behind the last member */
    z_stream z;
    unsigned char buffer[BUFFER]; /* what z reads from */
};

static bool source_open(const char *path, struct source *s, struct error *err) {
    struct stat info;
    *s = (struct source){.path = path};
    int descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* of a pipe it would wait without O_NONBLOCK */
    if (descriptor < 0 || fstat(descriptor, &info) != 0) fail(err, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(info.st_mode)) fail(err, "%s: is not a regular file", path);
    else if (!(s->file = fdopen(descriptor, "rb"))) fail(err, "%s: out of memory", path);
    if (!s->file && descriptor >= 0) close(descriptor);
    if (!s->file) return false;
    s->z.next_in = s->buffer;
    s->z.avail_in = (uInt)fread(s->buffer, 1, 2, s->file);
    s->gzip = s->z.avail_in == 2 && s->buffer[0] == GZIP_0 && s->buffer[1] == GZIP_1;
    if (!s->gzip) rewind(s->file);
    return !s->gzip || inflateInit2(&s->z, ANY_GZIP) == Z_OK || fail(err, "%s: out of memory", path);
}

static void source_close(struct source *s) {
    if (s->gzip) inflateEnd(&s->z);
    if (s->file) fclose(s->file);
}

/* More compressed bytes where all are used up; false at the end of the file. */
static bool refill(struct source *s) {
    if (s->z.avail_in) return true;
    s->z.next_in = s->buffer;
    s->z.avail_in = (uInt)fread(s->buffer, 1, BUFFER, s->file);
    return s->z.avail_in > 0;
}

/* Reads up to size bytes; *got tells how many there were. zlib checks each member's checksum and length. */
static bool read_some(struct source *s, unsigned char *data, size_t size, size_t *got, struct error *err) {
    *got = s->gzip ? 0 : fread(data, 1, size, s->file);
    while (s->gzip && *got < size && !s->ended) {
        uInt room = size - *got > 1u << 30 ? 1u << 30 : (uInt)(size - *got);
        s->z.next_out = data + *got;
        s->z.avail_out = room;
        if (!refill(s)) {
            if (ferror(s->file)) break;
            return fail(err, "%s: the compressed file is cut short", s->path);
        }
        int code = inflate(&s->z, Z_NO_FLUSH);
        *got += room - s->z.avail_out;
        if (code == Z_STREAM_END) {
            s->ended = !refill(s) || inflateReset(&s->z) != Z_OK;
            if (!s->ended && s->z.next_in[0] != GZIP_0)
                return fail(err, "%s: the compressed file goes on after its end", s->path);
        } else if (code != Z_OK)
            return fail(err, "%s: cannot be read: %s", s->path, s->z.msg ? s->z.msg : zError(code));
    }
    return !ferror(s->file) || fail(err, "%s: cannot be read: %s", s->path, strerror(errno));
}

static uint32_t big_endian_32(const unsigned char b[4]) {
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* What a file holds for each item of out: bytes; one pixel or label each, or a record of numbers that begins with it.
 */
struct layout {
    size_t record; /* bytes of an item */
    bool plain;    /* unsigned bytes, as out has them */
};

static bool read_images_header(const char *path, const unsigned char *header, struct idx *out, struct error *err) {
    uint32_t rows = big_endian_32(header + 8), cols = big_endian_32(header + 12);
    if (rows == 0 || cols == 0 || (uint64_t)rows * cols > IDX_MAX_PIXELS)
        return fail(err, "%s: images of %u x %u pixels: expected 1 to %d pixels", path, rows, cols, IDX_MAX_PIXELS);
    out->rows = rows, out->cols = cols;
    return true;
}

/* QMNIST's labels have eight columns of int32 (Yadav and Bottou 2019). Of more columns in other files nobody knows what
 * the first one means: rows of a 1 and 0s would be taken for two classes. */
static bool read_labels_header(const char *path, uint32_t magic, const unsigned char *header, struct layout *layout,
                               struct error *err) {
    uint32_t columns = (magic & 0xff) == 2 ? big_endian_32(header + 8) : 1;
    layout->plain = magic >> 8 == TYPE_U8;
    layout->record = columns * (layout->plain ? 1u : 4u);
    return columns == 1 || (columns == QMNIST_COLUMNS && !layout->plain) ||
        fail(err, "%s: labels of %u columns: expected 1, or the %d of int32 that QMNIST has", path, columns,
             QMNIST_COLUMNS);
}

static bool read_header(struct source *s, int dimensions, struct idx *out, struct layout *layout, struct error *err) {
    const char *path = s->path;
    unsigned char header[16] = {0};
    size_t got, more;
    if (!read_some(s, header, 4, &got, err)) return false;
    uint32_t magic = big_endian_32(header), stored = magic & 0xff, type = magic >> 8;
    bool labels = dimensions == 1 && (stored == 1 || stored == 2) && (type == TYPE_U8 || type == TYPE_I32);
    if (got < 4) return fail(err, "%s: is only %zu bytes long, too short for an IDX file", path, got);
    if (!labels && magic != (TYPE_U8 << 8 | (uint32_t)dimensions))
        return fail(err, "%s: wrong magic number: expected 0x%08x (IDX, unsigned bytes, %s), found 0x%08x", path,
                    TYPE_U8 << 8 | (uint32_t)dimensions,
                    dimensions == 3 ? "3 dimensions: images" : "1 dimension: labels", magic);
    size_t want = 4 + 4 * (size_t)stored;
    if (!read_some(s, header + 4, want - 4, &more, err)) return false;
    if (got + more < want) return fail(err, "%s: the header ends after %zu of %zu bytes", path, got + more, want);
    uint32_t count = big_endian_32(header + 4);
    if (count == 0) return fail(err, "%s: holds no %s", path, labels ? "labels" : "images");
    if (count > IDX_MAX_COUNT)
        return fail(err, "%s: the header claims %u items, more than the %d that are read", path, count, IDX_MAX_COUNT);
    *out = (struct idx){dimensions, count, 1, 1, NULL};
    if (labels) return read_labels_header(path, magic, header, layout, err);
    if (!read_images_header(path, header, out, err)) return false;
    *layout = (struct layout){out->rows * out->cols, true};
    return true;
}

/* Labels of int32 into bytes: up to count, *got of them whole; have: read before. */
static bool read_records(struct source *s, size_t record, size_t have, uint8_t *labels, size_t count, size_t *got,
                         size_t *bytes, struct error *err) {
    unsigned char records[RECORDS * 4 * QMNIST_COLUMNS];
    for (*got = 0; *got < count;) {
        size_t n = count - *got < RECORDS ? count - *got : RECORDS, read;
        if (!read_some(s, records, n * record, &read, err)) return false;
        *bytes += read;
        for (size_t i = 0; i < read / record; i++, ++*got) {
            uint32_t label = big_endian_32(records + i * record);
            if (label > UINT8_MAX)
                return fail(err, "%s: label %d of item %zu: expected 0 to 255", s->path, (int32_t)label, have + *got);
            labels[*got] = (uint8_t)label;
        }
        if (read < n * record) break;
    }
    return true;
}

/* The bytes behind the header. The buffer doubles as they arrive: a lying count costs no memory. */
static bool read_body(struct source *s, const struct layout *layout, struct idx *out, struct error *err) {
    const char *path = s->path;
    size_t total = idx_bytes(out), have = 0, capacity = 0, bytes = 0, promised = out->count * layout->record;
    while (have < total) {
        capacity = capacity ? 2 * capacity : FIRST_CHUNK;
        if (capacity > total) capacity = total;
        unsigned char *grown = realloc(out->data, capacity), *at = grown + have;
        if (!grown) return fail(err, "%s: out of memory for %zu bytes", path, capacity);
        out->data = grown;
        size_t got;
        bool ok = layout->plain ? read_some(s, at, capacity - have, &got, err)
                                : read_records(s, layout->record, have, at, capacity - have, &got, &bytes, err);
        if (!ok) return false;
        have += got;
        if (layout->plain) bytes = have;
        if (have < capacity)
            return fail(err, "%s: is cut short: the header promises %zu bytes of data, %zu are there", path, promised,
                        bytes);
    }
    unsigned char extra;
    size_t got;
    if (!read_some(s, &extra, 1, &got, err)) return false;
    if (got) return fail(err, "%s: goes on after the %zu bytes of data that its header promises", path, promised);
    return true;
}

bool idx_header(const char *path, int dimensions, struct idx *out, struct error *err) {
    struct source s;
    struct layout layout;
    *out = (struct idx){0};
    bool ok = source_open(path, &s, err) && read_header(&s, dimensions, out, &layout, err);
    source_close(&s);
    return ok;
}

bool idx_read(const char *path, int dimensions, size_t most, struct idx *out, struct error *err) {
    struct source s;
    struct layout layout;
    *out = (struct idx){0};
    bool ok = source_open(path, &s, err) && read_header(&s, dimensions, out, &layout, err) &&
        (idx_bytes(out) <= most ||
         fail(err, "%s: holds %zu bytes of data, more than the %zu that are read", path, idx_bytes(out), most)) &&
        read_body(&s, &layout, out, err);
    source_close(&s);
    if (!ok) idx_free(out);
    return ok;
}

void idx_free(struct idx *idx) {
    free(idx->data);
    *idx = (struct idx){0};
}
