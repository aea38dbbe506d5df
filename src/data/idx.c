#include "data/idx.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { TYPE_U8 = 0x08, FIRST_CHUNK = 64 << 20, BUFFER = 1 << 14, ANY_GZIP = 15 + 16 /* of inflateInit2 */ };
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

static bool read_header(struct source *s, int dimensions, struct idx *out, struct error *err) {
    const char *path = s->path;
    unsigned char header[16] = {0};
    size_t want = 4 + 4 * (size_t)dimensions, got;
    if (!read_some(s, header, want, &got, err)) return false;
    uint32_t magic = big_endian_32(header), expected = TYPE_U8 << 8 | (uint32_t)dimensions;
    if (got < 4) return fail(err, "%s: is only %zu bytes long, too short for an IDX file", path, got);
    if (magic != expected)
        return fail(err, "%s: wrong magic number: expected 0x%08x (IDX, unsigned bytes, %s), found 0x%08x", path,
                    expected, dimensions == 3 ? "3 dimensions: images" : "1 dimension: labels", magic);
    if (got < want) return fail(err, "%s: the header ends after %zu of %zu bytes", path, got, want);
    uint32_t count = big_endian_32(header + 4);
    uint32_t rows = dimensions == 3 ? big_endian_32(header + 8) : 1;
    uint32_t cols = dimensions == 3 ? big_endian_32(header + 12) : 1;
    if (count == 0) return fail(err, "%s: holds no %s", path, dimensions == 3 ? "images" : "labels");
    if (count > IDX_MAX_COUNT)
        return fail(err, "%s: the header claims %u items, more than the %d that are read", path, count, IDX_MAX_COUNT);
    if (rows == 0 || cols == 0 || (uint64_t)rows * cols > IDX_MAX_PIXELS)
        return fail(err, "%s: images of %u x %u pixels: expected 1 to %d pixels", path, rows, cols, IDX_MAX_PIXELS);
    *out = (struct idx){dimensions, count, rows, cols, NULL};
    return true;
}

/* The bytes behind the header. The buffer doubles as they arrive: a lying count costs no memory. */
static bool read_body(struct source *s, struct idx *out, struct error *err) {
    const char *path = s->path;
    size_t total = idx_bytes(out), have = 0, capacity = 0;
    while (have < total) {
        capacity = capacity ? 2 * capacity : FIRST_CHUNK;
        if (capacity > total) capacity = total;
        unsigned char *grown = realloc(out->data, capacity);
        if (!grown) return fail(err, "%s: out of memory for %zu bytes", path, capacity);
        out->data = grown;
        size_t got;
        if (!read_some(s, out->data + have, capacity - have, &got, err)) return false;
        have += got;
        if (have < capacity)
            return fail(err, "%s: is cut short: the header promises %zu bytes of data, %zu are there", path, total,
                        have);
    }
    unsigned char extra;
    size_t got;
    if (!read_some(s, &extra, 1, &got, err)) return false;
    if (got) return fail(err, "%s: goes on after the %zu bytes of data that its header promises", path, total);
    return true;
}

bool idx_header(const char *path, int dimensions, struct idx *out, struct error *err) {
    struct source s;
    *out = (struct idx){0};
    bool ok = source_open(path, &s, err) && read_header(&s, dimensions, out, err);
    source_close(&s);
    return ok;
}

bool idx_read(const char *path, int dimensions, size_t most, struct idx *out, struct error *err) {
    struct source s;
    *out = (struct idx){0};
    bool ok = source_open(path, &s, err) && read_header(&s, dimensions, out, err) &&
        (idx_bytes(out) <= most ||
         fail(err, "%s: holds %zu bytes of data, more than the %zu that are read", path, idx_bytes(out), most)) &&
        read_body(&s, out, err);
    source_close(&s);
    if (!ok) idx_free(out);
    return ok;
}

void idx_free(struct idx *idx) {
    free(idx->data);
    *idx = (struct idx){0};
}
