/* Picture files: what stb_image is not told of a hostile file, and what it leaves undone of a good one. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "data/picture.h"

#define STBI_NO_STDIO
#include <stb/stb_image.h>

enum { MAX_FILE = 1 << 28 }; /* bytes, 256 MiB */

/* The number in 2 or 4 bytes, the low byte first or last. */
static uint32_t number(const unsigned char *b, int bytes, bool low_first) {
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++) value = value << 8 | b[low_first ? bytes - 1 - i : i];
    return value;
}

/* stb_image fills what is missing of a JPEG, BMP or PGM with gray or black and says nothing: a wrong digit
 * without a word. So each is checked to be whole before it is decoded; of a PNG stb_image says it itself. */
static bool fail_truncated(uint64_t expected, size_t size, struct error *err) {
    return fail(err, "the picture ends too early (%llu bytes expected, found %zu)", (unsigned long long)expected, size);
}

/* A number of a PGM or PPM header, after white space and comments; -1 where there is none below 2^24. */
static long header_number(const unsigned char *data, size_t size, size_t *at) {
    long value = -1;
    while (*at < size && (strchr(" \t\n\v\f\r#", data[*at]) && data[*at]))
        if (data[(*at)++] == '#')
            while (*at < size && data[*at] != '\n' && data[*at] != '\r') ++*at;
    while (*at < size && data[*at] >= '0' && data[*at] <= '9' && value < 1 << 24)
        value = (value < 0 ? 0 : value) * 10 + (data[(*at)++] - '0');
    return value < 1 << 24 ? value : -1;
}

/* |P5 or P6|width|height|maximum|one white space|samples, width * height * (1 or 3) bytes| */
static bool check_pnm(const unsigned char *data, size_t size, struct error *err) {
    size_t at = 2;
    long width = header_number(data, size, &at), height = header_number(data, size, &at);
    long maximum = header_number(data, size, &at);
    if (width < 0 || height < 0 || maximum < 0) return fail(err, "not a PGM or PPM (width, height, maximum expected)");
    if (!picture_check_sides(width, height, err)) return false;
    if (maximum != 255) return fail(err, "a PGM or PPM of 8 bits expected (maximum 255), found maximum %ld", maximum);
    uint64_t needed = at + 1 + (uint64_t)width * (uint64_t)height * (data[1] == '6' ? 3 : 1);
    return size >= needed ? true : fail_truncated(needed, size, err);
}

/* |BM|file bytes 4|0 4|offset of pixels 4|header bytes 4|width 4|height 4|planes 2|bits 2|...; the oldest
 * header, of 12 bytes, has width and height in 2 each. Rows fill up to 4 bytes; some writers cut the last. */
static bool check_bmp(const unsigned char *data, size_t size, struct error *err) {
    if (size < 30) return fail_truncated(30, size, err);
    bool oldest = number(data + 14, 4, true) == 12;
    long long width = number(data + 18, oldest ? 2 : 4, true);
    long long height = (int32_t)number(data + (oldest ? 20 : 22), oldest ? 2 : 4, true);
    height = height < 0 ? -height : height; /* negative: the first row is on top */
    if (!picture_check_sides(width, height, err)) return false;
    uint64_t row = (number(data + (oldest ? 24 : 28), 2, true) * (uint64_t)width + 31) / 32 * 4;
    uint64_t needed = number(data + 10, 4, true) + row * (uint64_t)height;
    return size + 3 >= needed ? true : fail_truncated(needed, size, err);
}

/* The orientation that a camera notes in a JPEG's Exif block tiff[size], 1 (upright) to 8. */
static int exif_orientation(const unsigned char *tiff, size_t size) {
    if (size < 8) return 1;
    bool little = tiff[0] == 'I'; /* |II or MM|42, 2 bytes|offset of the directory 4|... */
    size_t directory = number(tiff + 4, 4, little);
    if (directory > size - 2) return 1;
    size_t entries = number(tiff + directory, 2, little);
    for (size_t i = 0, at = directory + 2; i < entries && at + 12 <= size; i++, at += 12)
        if (number(tiff + at, 2, little) == 0x112) { /* |tag 2|type 2|count 4|value 2|0 2| */
            uint32_t value = number(tiff + at + 8, 2, little);
            return value >= 1 && value <= 8 ? (int)value : 1;
        }
    return 1;
}

/* |signature 8|IHDR's length 4|IHDR 4|width 4|height 4|... */
static bool check_png(const unsigned char *data, size_t size, struct error *err) {
    if (size < 24) return fail_truncated(24, size, err);
    return picture_check_sides(number(data + 16, 4, false), number(data + 20, 4, false), err);
}

/* |FF C4|length 2|table's number 1|how many codes of 1 to 16 bits, 16|their values ...|table's number 1|...: stb_image
 * writes all codes of a table into room for 256. */
static bool check_huffman(const unsigned char *segment, size_t size, struct error *err) {
    size_t length = size >= 4 ? number(segment + 2, 2, false) + 2 : 0, at = 4;
    while (at + 17 <= length && at + 17 <= size) {
        int codes = 0;
        for (int i = 1; i <= 16; i++) codes += segment[at + (size_t)i];
        if (codes > 256)
            return fail(err, "the picture is damaged (a JPEG's table of %d codes, expected at most 256)", codes);
        at += 17 + (size_t)codes;
    }
    return true;
}

/* |FF D8|FF marker, length 2, ...|...|FF DA ... the coded pixels ... |FF D9| */
static bool check_jpeg(const unsigned char *data, size_t size, int *orientation, struct error *err) {
    size_t at = 2;
    while (at + 4 <= size && data[at] == 0xff && data[at + 1] != 0xda) {
        size_t length = number(data + at + 2, 2, false);
        if (data[at + 1] == 0xff) { /* fill byte */
            at++;
            continue;
        }
        if (data[at + 1] == 0xe1 && length >= 8 && length <= size - at - 2 && !memcmp(data + at + 4, "Exif\0", 6))
            *orientation = exif_orientation(data + at + 10, length - 8);
        if (data[at + 1] == 0xc4 && !check_huffman(data + at, size - at, err)) return false;
        at += 2 + length;
    }
    for (; at + 2 <= size; at++) { /* coded pixels hold no FF but before a 0 or a marker */
        if (data[at] == 0xff && data[at + 1] == 0xd9) return true;
        if (data[at] == 0xff && data[at + 1] == 0xc4 && !check_huffman(data + at, size - at, err)) return false;
    }
    return fail(err, "the picture ends too early (a JPEG's end marker expected, none in %zu bytes)", size);
}

/* Checks what has to hold before any decoder runs on the file. */
static bool check_picture(const unsigned char *data, size_t size, int *orientation, struct error *err) {
    int width, height, channels;
    *orientation = 1;
    if (size == 0) return fail(err, "is empty (a PNG, JPEG, BMP or PGM picture expected)");
    bool pnm = size > 2 && (!memcmp(data, "P5", 2) || !memcmp(data, "P6", 2));
    if (pnm && !check_pnm(data, size, err)) return false;
    if (size > 2 && !memcmp(data, "BM", 2) && !check_bmp(data, size, err)) return false;
    if (size > 2 && !memcmp(data, "\xff\xd8", 2) && !check_jpeg(data, size, orientation, err)) return false;
    if (size > 8 && !memcmp(data, "\x89PNG\r\n\x1a\n", 8) && !check_png(data, size, err)) return false;
    if (!stbi_info_from_memory(data, (int)size, &width, &height, &channels))
        return fail(err, "not a picture that can be read (PNG, JPEG, BMP or PGM expected)");
    long long rows = llabs((long long)height); /* negative in a BMP whose first row is on top */
    if (!picture_check_sides(width, rows, err)) return false;
    if (width * rows > PICTURE_MAX_PIXELS)
        return fail(err, "the picture is too large (at most %d pixels expected, found %d x %lld)", PICTURE_MAX_PIXELS,
                    width, rows);
    return true;
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
            (*turned)[(size_t)y * *width + x] = gray[(size_t)stored_y * w + stored_x];
        }
    return true;
}

/* A picture file in memory, data[size] -> digit. */
static bool digit_from_file(const unsigned char *data, size_t size, struct picture_form form, uint8_t digit[28 * 28],
                            unsigned *doubts, struct error *err) {
    int width, height, channels, orientation;
    if (!check_picture(data, size, &orientation, err)) return false;
    uint8_t *pixels = stbi_load_from_memory(data, (int)size, &width, &height, &channels, 2), *turned = NULL;
    if (!pixels) return fail(err, "the picture is damaged or too large to decode (%s)", stbi_failure_reason());
    bool ok = picture_check_sides(width, height, err);
    if (ok) flatten(pixels, (size_t)width * height);
    if (ok && orientation > 1) ok = turn_upright(pixels, &width, &height, orientation, &turned, err);
    ok = ok && picture_to_digit(turned ? turned : pixels, width, height, form, digit, doubts, err);
    free(turned);
    stbi_image_free(pixels);
    return ok;
}

bool picture_read_digit(const char *path, struct picture_form form, uint8_t digit[28 * 28], unsigned *doubts,
                        struct error *err) {
    unsigned char *data;
    size_t size;
    if (!file_read_all(path, MAX_FILE, &data, &size, err)) return false;
    errno = 0; /* stb_image takes a picture that it has no memory for to be damaged, or to be none */
    bool ok = digit_from_file(data, size, form, digit, doubts, err), short_of_memory = !ok && errno == ENOMEM;
    free(data);
    if (short_of_memory) return fail(err, "%s: out of memory to decode the picture", path);
    return ok ? true : fail_in(err, path);
}
