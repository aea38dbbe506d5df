#include "data/idx.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "base/file.h"

enum { TYPE_U8 = 0x08, FIRST_CHUNK = 64 << 20 };

static uint32_t big_endian_32(const unsigned char b[4]) {
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* What zlib says, without the name that it puts before it. */
static bool fail_to_read(gzFile file, const char *path, struct error *err) {
    int code;
    const char *what = gzerror(file, &code);
    size_t length = strlen(path);
    if (code == Z_ERRNO) what = strerror(errno);
    if (strncmp(what, path, length) == 0 && strncmp(what + length, ": ", 2) == 0) what += length + 2;
    return fail(err, "%s: cannot be read: %s", path, what);
}

/* Reads up to size bytes; *got tells how many there were. False when the compression is broken or cut short. */
static bool read_some(gzFile file, unsigned char *data, size_t size, size_t *got, const char *path, struct error *err) {
    *got = 0;
    while (*got < size) {
        unsigned want = size - *got > 1u << 30 ? 1u << 30 : (unsigned)(size - *got);
        int n = gzread(file, data + *got, want);
        if (n < 0) return fail_to_read(file, path, err);
        if (n == 0) break;
        *got += (size_t)n;
    }
    /* gzread ends a cut .gz quietly at its last whole block; only its error code tells */
    int code = Z_OK;
    if (*got < size) gzerror(file, &code);
    return code != Z_BUF_ERROR || fail(err, "%s: the compressed file is cut short", path);
}

static bool read_header(gzFile file, int dimensions, struct idx *out, const char *path, struct error *err) {
    unsigned char header[16] = {0};
    size_t want = 4 + 4 * (size_t)dimensions, got;
    if (!read_some(file, header, want, &got, path, err)) return false;
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
static bool read_body(gzFile file, struct idx *out, const char *path, struct error *err) {
    size_t total = out->count * out->rows * out->cols, have = 0, capacity = 0;
    while (have < total) {
        capacity = capacity ? 2 * capacity : FIRST_CHUNK;
        if (capacity > total) capacity = total;
        unsigned char *grown = realloc(out->data, capacity);
        if (!grown) return fail(err, "%s: out of memory for %zu bytes", path, capacity);
        out->data = grown;
        size_t got;
        if (!read_some(file, out->data + have, capacity - have, &got, path, err)) return false;
        have += got;
        if (have < capacity)
            return fail(err, "%s: is cut short: the header promises %zu bytes of data, %zu are there", path, total,
                        have);
    }
    unsigned char extra;
    size_t got;
    if (!read_some(file, &extra, 1, &got, path, err)) return false;
    if (got) return fail(err, "%s: goes on after the %zu bytes of data that its header promises", path, total);
    return true;
}

static void put_big_endian_32(uint32_t value, unsigned char b[4]) {
    for (int i = 0; i < 4; i++) b[i] = (unsigned char)(value >> (24 - 8 * i));
}

/* What an IDX file begins with; returns how many bytes. */
static size_t make_header(const struct idx *idx, unsigned char header[16]) {
    put_big_endian_32(TYPE_U8 << 8 | (uint32_t)idx->dimensions, header);
    put_big_endian_32((uint32_t)idx->count, header + 4);
    put_big_endian_32((uint32_t)idx->rows, header + 8);
    put_big_endian_32((uint32_t)idx->cols, header + 12);
    return idx->dimensions == 3 ? 16 : 8;
}

/* A .gz ends with |CRC-32 of what was compressed 4|its length 4|, low bytes first. gzread does not miss them when they
 * are cut off, nor mind what comes after them: so they are looked at here. */
static bool check_end_of_gzip(const char *path, const struct idx *idx, struct error *err) {
    unsigned char header[16], end[8] = {0};
    size_t header_size = make_header(idx, header), size = idx->count * idx->rows * idx->cols;
    uLong crc = crc32_z(crc32(0, header, (uInt)header_size), idx->data, size);
    uint32_t expected[2] = {(uint32_t)crc, (uint32_t)(header_size + size)};
    FILE *file = fopen(path, "rb");
    bool ok = file && fseek(file, -8, SEEK_END) == 0 && fread(end, 1, 8, file) == 8;
    if (file) fclose(file);
    for (int i = 0; i < 8; i++) ok = ok && end[i] == (unsigned char)(expected[i / 4] >> (8 * (i % 4)));
    return ok ||
        fail(err,
             "%s: the compressed file is cut short, or goes on after its end: its last 8 bytes are not the "
             "checksum and the length of what it holds",
             path);
}

bool idx_read(const char *path, int dimensions, struct idx *out, struct error *err) {
    *out = (struct idx){0};
    struct stat info;
    if (stat(path, &info) != 0) return fail(err, "%s: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode)) return fail(err, "%s: is not a regular file", path);
    gzFile file = gzopen(path, "rb");
    if (!file) return fail(err, "%s: %s", path, errno ? strerror(errno) : "out of memory");
    gzbuffer(file, 1 << 17);
    bool ok = read_header(file, dimensions, out, path, err) && read_body(file, out, path, err) &&
        (gzdirect(file) || check_end_of_gzip(path, out, err));
    gzclose_r(file);
    if (!ok) idx_free(out);
    return ok;
}

bool idx_write(const char *path, const struct idx *idx, struct error *err) {
    uint32_t fields[4] = {TYPE_U8 << 8 | (uint32_t)idx->dimensions, (uint32_t)idx->count, (uint32_t)idx->rows,
                          (uint32_t)idx->cols};
    struct out_file out;
    if (!out_file_open(&out, path, err)) return false;
    for (int i = 0; i <= idx->dimensions; i++)
        for (int shift = 24; shift >= 0; shift -= 8) fputc((int)(fields[i] >> shift & 0xff), out.stream);
    fwrite(idx->data, idx->rows * idx->cols, idx->count, out.stream);
    return out_file_commit(&out, err);
}

void idx_free(struct idx *idx) {
    free(idx->data);
    *idx = (struct idx){0};
}
