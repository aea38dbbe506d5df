/* Picture files -> digits: which decoder reads a file, transparent parts, which side is up. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "data/decoders.h"
#include "data/picture.h"

enum { MAX_FILE = 1 << 28 }; /* bytes, 256 MiB */

bool pixels_create(long long width, long long height, struct pixels *out, struct error *err) {
    if (!picture_check_sides(width, height, err)) return false;
    if (width * height > PICTURE_MAX_PIXELS)
        return fail(err, "the picture is too large (at most %d pixels expected, found %lld x %lld)", PICTURE_MAX_PIXELS,
                    width, height);
    *out = (struct pixels){malloc((size_t)(width * height) * 2), (int)width, (int)height, 1};
    return out->gray ? true : fail(err, "out of memory for its %lld x %lld pixels", width, height);
}

/* The decoder is chosen by the first bytes, and it alone decides what the rest means: a check in front of it that
 * read the file in another way would be one that a hostile file can walk past. */
static const struct format {
    const char *magic;
    size_t length;
    bool (*decode)(const unsigned char *data, size_t size, struct pixels *out, struct error *err);
} formats[] = {{"\x89PNG\r\n\x1a\n", 8, png_decode},
               {"\xff\xd8", 2, jpeg_decode},
               {"BM", 2, bmp_decode},
               {"P2", 2, pnm_decode},
               {"P5", 2, pnm_decode},
               {"P6", 2, pnm_decode}};

static bool decode(const unsigned char *data, size_t size, struct pixels *out, struct error *err) {
    if (size == 0) return fail(err, "is empty (a PNG, JPEG, BMP or PGM picture expected)");
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (size > formats[i].length && memcmp(data, formats[i].magic, formats[i].length) == 0)
            return formats[i].decode(data, size, out, err);
    return fail(err, "not a picture that can be read (PNG, JPEG, BMP or PGM expected)");
}

/* The shade of the paper under a picture with transparent parts. Mostly one shade: that is the ink, and the
 * paper is whatever shows it up. Else ink and paper were both drawn, and paper is what there is most of. */
static int paper_shade(const uint8_t *pixels, size_t count) {
    uint64_t histogram[256] = {0}, total = 0, below = 0, far = 0;
    for (size_t i = 0; i < count; i++) {
        histogram[pixels[2 * i]] += pixels[2 * i + 1];
        total += pixels[2 * i + 1];
    }
    int median = 0;
    while (median < 255 && (below += histogram[median]) <= total / 2) median++;
    for (int shade = 0; shade < 256; shade++)
        if (abs(shade - median) > 64) far += histogram[shade];
    return far > total / 50 ? median : median < 128 ? 255 : 0;
}

/* Pixels [count][2] of gray and opacity -> gray [count] on paper, in the same memory. */
static void flatten(uint8_t *pixels, size_t count) {
    int paper = paper_shade(pixels, count);
    for (size_t i = 0; i < count; i++) {
        int shade = pixels[2 * i], opacity = pixels[2 * i + 1];
        pixels[i] = (uint8_t)((shade * opacity + paper * (255 - opacity) + 127) / 255);
    }
}

/* Turns gray [*height][*width] upright as Exif numbers it: 5 to 8 lie on their side. The caller frees *turned. */
static bool turn_upright(const uint8_t *gray, int *width, int *height, int orientation, uint8_t **turned,
                         struct error *err) {
    int w = *width, h = *height;
    bool sideways = orientation >= 5;
    bool mirror_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    bool mirror_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    *turned = malloc((size_t)w * h);
    if (!*turned) return fail(err, "out of memory for its %d x %d pixels", w, h);
    *width = sideways ? h : w, *height = sideways ? w : h;
    for (int y = 0; y < *height; y++)
        for (int x = 0; x < *width; x++) {
            int stored_x = sideways ? y : x, stored_y = sideways ? x : y;
            if (mirror_x) stored_x = w - 1 - stored_x;
            if (mirror_y) stored_y = h - 1 - stored_y;
            /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): a picture has a pixel */
            (*turned)[(size_t)y * *width + x] = gray[(size_t)stored_y * w + stored_x];
        }
    return true;
}

/* A picture file in memory, data[size] -> digit. */
static bool digit_from_file(const unsigned char *data, size_t size, struct picture_form form, uint8_t digit[28 * 28],
                            unsigned *doubts, struct error *err) {
    struct pixels p = {0};
    uint8_t *turned = NULL;
    bool ok = decode(data, size, &p, err);
    if (ok) flatten(p.gray, (size_t)p.width * (size_t)p.height);
    if (ok && p.orientation > 1) ok = turn_upright(p.gray, &p.width, &p.height, p.orientation, &turned, err);
    ok = ok && picture_to_digit(turned ? turned : p.gray, p.width, p.height, form, digit, doubts, err);
    free(turned);
    free(p.gray);
    return ok;
}

bool picture_read_digit(const char *path, struct picture_form form, uint8_t digit[28 * 28], unsigned *doubts,
                        struct error *err) {
    unsigned char *data;
    size_t size;
    if (!file_read_all(path, MAX_FILE, &data, &size, err)) return false;
    errno = 0; /* a decoder may take a picture that it has no memory for to be damaged */
    bool ok = digit_from_file(data, size, form, digit, doubts, err), short_of_memory = !ok && errno == ENOMEM;
    free(data);
    if (short_of_memory) return fail(err, "%s: out of memory to decode the picture", path);
    return ok ? true : fail_in(err, path);
}
