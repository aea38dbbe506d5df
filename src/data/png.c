/* PNG by libpng: every kind becomes 8 bits of shade and 8 of opacity. */
#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "data/decoders.h"
#include "data/picture.h"

struct source {
    const unsigned char *data;
    size_t size, at;
    struct error *err;
};

/* libpng asks its caller not to return from an error: it is left by longjmp. */
static void leave(png_structp png, png_const_charp text) {
    struct source *s = png_get_error_ptr(png);
    if (strcmp(text, "Out of memory") == 0) fail(s->err, "out of memory to decode the picture");
    else if (s->at < s->size || s->size == 0 || strcmp(text, "end") != 0)
        fail(s->err, "the picture is a damaged PNG: %s", text);
    else fail(s->err, "the picture ends too early (a PNG's IEND expected behind %zu bytes)", s->size);
    png_longjmp(png, 1);
}

static void ignore_warning(png_structp png, png_const_charp text) { (void)png, (void)text; }

static void read_bytes(png_structp png, png_bytep to, size_t count) {
    struct source *s = png_get_io_ptr(png);
    if (count > s->size - s->at) png_error(png, "end");
    memcpy(to, s->data + s->at, count);
    s->at += count;
}

/* Rows [height][width][channels] of 8 bits -> shade and opacity. */
static void take_rows(const uint8_t *rows, int channels, struct pixels *out) {
    for (size_t i = 0; i < (size_t)out->width * (size_t)out->height; i++) {
        const uint8_t *s = rows + i * (size_t)channels;
        out->gray[2 * i] = channels < 3 ? s[0] : luma(s[0], s[1], s[2]);
        out->gray[2 * i + 1] = channels % 2 ? 255 : s[channels - 1];
    }
}

static bool decode(png_structp png, png_infop info, uint8_t *volatile *rows, struct pixels *out, struct error *err) {
    png_read_info(png, info);
    if (!pixels_create(png_get_image_width(png, info), png_get_image_height(png, info), out, err)) return false;
    png_set_expand(png); /* palettes, fewer than 8 bits, one transparent colour */
    png_set_strip_16(png);
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    size_t row = png_get_rowbytes(png, info);
    *rows = calloc((size_t)out->height, row);
    if (!*rows) return fail(err, "out of memory to decode the picture");
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < out->height; y++) png_read_row(png, *rows + (size_t)y * row, NULL);
    png_read_end(png, NULL); /* fails where the end is missing */
    take_rows(*rows, png_get_channels(png, info), out);
    return true;
}

bool png_decode(const unsigned char *data, size_t size, struct pixels *out, struct error *err) {
    struct source source = {data, size, 0, err};
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &source, leave, ignore_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    uint8_t *volatile rows = NULL; /* written between setjmp and longjmp */
    volatile bool ok = false;
    if (!info) fail(err, "out of memory to decode the picture");
    else if (setjmp(png_jmpbuf(png)) == 0) {
        png_set_read_fn(png, &source, read_bytes);
        png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* pixels_create says which are too large */
        png_set_chunk_malloc_max(png, 1 << 20);
        png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1); /* texts and profiles can be bombs */
        ok = decode(png, info, &rows, out, err);
    }
    free(rows);
    png_destroy_read_struct(&png, &info, NULL);
    return ok;
}
