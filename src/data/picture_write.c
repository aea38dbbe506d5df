/* Pictures that the program writes: gray pixels as PNG, and text on them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "data/decoders.h"
#include "data/picture.h"

#define STBI_WRITE_NO_STDIO
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb/stb_easy_font.h>
#include <stb/stb_image_write.h>
#pragma GCC diagnostic pop

/* In stb.c: stbi_write_png_to_func of gray pixels, which also returns 0 when memory is short. */
int stb_write_png(stbi_write_func *write, void *stream, int width, int height, const uint8_t *gray);

/* A file in memory. */
struct bytes {
    unsigned char *data; /* [size]; release with free */
    size_t size;
    bool lost; /* memory was short */
};

static void add_bytes(void *file, void *data, int size) {
    struct bytes *b = file;
    unsigned char *larger = realloc(b->data, b->size + (size_t)size);
    b->lost = b->lost || !larger;
    if (!larger) return;
    b->data = larger;
    memcpy(b->data + b->size, data, (size_t)size);
    b->size += (size_t)size;
}

/* Whether a reader of the file gets these pixels. */
static bool reads_back(const struct bytes *file, const uint8_t *gray, int width, int height, struct error *err) {
    struct pixels p = {0};
    bool ok = png_decode(file->data, file->size, &p, err) &&
        ((p.width == width && p.height == height) || fail(err, "its size is %d x %d", p.width, p.height));
    for (size_t i = 0, n = (size_t)width * (size_t)height; ok && i < n; i++)
        if (p.gray[2 * i] != gray[i]) ok = fail(err, "a pixel differs");
    free(p.gray);
    return ok || fail_in(err, "not written, since it could not be read");
}

bool picture_write_png(const char *path, const uint8_t *gray, int width, int height, struct error *err) {
    struct out_file out;
    struct bytes file = {0};
    if (!picture_check_sides(width, height, err)) return fail_in(err, path);
    if (!out_file_open(&out, path, err)) return false;
    bool ok = (stb_write_png(add_bytes, &file, width, height, gray) && !file.lost) ||
        fail(err, "%s: out of memory for a PNG of %d x %d pixels", path, width, height);
    ok = ok && (reads_back(&file, gray, width, height, err) || fail_in(err, path));
    if (ok) fwrite(file.data, 1, file.size, out.stream);
    free(file.data);
    if (ok) return out_file_commit(&out, err);
    out_file_discard(&out);
    return false;
}

/* ---- Text ---- */

/* Fills rows y0 .. y1 - 1, columns x0 .. x1 - 1 of gray [height][width], as far as they are in it. */
static void fill_white(uint8_t *gray, int width, int height, long x0, long y0, long x1, long y1) {
    for (long y = y0 < 0 ? 0 : y0; y < y1 && y < height; y++)
        for (long x = x0 < 0 ? 0 : x0; x < x1 && x < width; x++) gray[(size_t)y * (size_t)width + (size_t)x] = 255;
}

void picture_draw_text(uint8_t *gray, int width, int height, int x, int y, const char *text) {
    struct {
        float x, y, z;
        unsigned char color[4];
    } corner[64][4]; /* as stb_easy_font writes them, 4 to a stroke; its largest character has 19 strokes */
    long column = x, row = y;
    for (; *text; text++) {
        if (*text == '\n') {
            column = x, row += 12;
            continue;
        }
        char one[2] = {*text >= 32 && *text < 127 ? *text : '?', 0}; /* the font's tables end there */
        int strokes = stb_easy_font_print(0, 0, one, NULL, corner, sizeof corner);
        for (int i = 0; i < strokes; i++)
            fill_white(gray, width, height, column + (long)corner[i][0].x, row + (long)corner[i][0].y,
                       column + (long)corner[i][2].x, row + (long)corner[i][2].y);
        column += stb_easy_font_width(one);
    }
}
