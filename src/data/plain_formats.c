/* The plain formats, PGM, PPM and BMP, by stb_image, with the checks that it leaves out: it fills what is missing of a
 * picture with black and says nothing, a wrong digit without a word. */
#include <string.h>

#include "data/decoders.h"
#include "data/picture.h"

#define STBI_NO_STDIO
#include <stb/stb_image.h>

static bool fail_truncated(uint64_t expected, size_t size, struct error *err) {
    return fail(err, "the picture ends too early (%llu bytes expected, found %zu)", (unsigned long long)expected, size);
}

static bool fail_truncated_text(size_t expected, size_t found, struct error *err) {
    return fail(err, "the picture ends too early (%zu samples expected, found %zu)", expected, found);
}

/* Its size has been checked, as the decoder is about to read it. */
static bool decode(const unsigned char *data, size_t size, long long width, long long height, struct pixels *out,
                   struct error *err) {
    int found_width, found_height, channels;
    if (!pixels_create(width, height, out, err)) return false;
    uint8_t *pixels = stbi_load_from_memory(data, (int)size, &found_width, &found_height, &channels, 2);
    if (!pixels) return fail(err, "the picture cannot be read (%s)", stbi_failure_reason());
    bool ok = found_width == width && found_height == height;
    if (ok) memcpy(out->gray, pixels, (size_t)width * (size_t)height * 2);
    stbi_image_free(pixels);
    return ok ||
        fail(err, "the picture is damaged (%lld x %lld pixels expected, found %d x %d)", width, height, found_width,
             found_height);
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

/* P2 in text: each sample is a number, and lighter the larger, up to maximum. */
static bool read_text(const unsigned char *data, size_t size, size_t at, long maximum, struct pixels *out,
                      struct error *err) {
    size_t count = (size_t)out->width * (size_t)out->height;
    for (size_t i = 0; i < count; i++) {
        long sample = header_number(data, size, &at);
        if (sample < 0 && at >= size) return fail_truncated_text(count, i, err);
        if (sample < 0 || sample > maximum)
            return fail(err, "the picture is damaged (samples of 0 to %ld expected, found another as number %zu)",
                        maximum, i + 1);
        out->gray[2 * i] = (uint8_t)(sample * 255 / maximum);
        out->gray[2 * i + 1] = 255;
    }
    return true;
}

/* |P2, P5 or P6|width|height|maximum|one white space|samples: of P5 and P6 width * height * (1 or 3) bytes| */
bool pnm_decode(const unsigned char *data, size_t size, struct pixels *out, struct error *err) {
    size_t at = 2;
    long width = header_number(data, size, &at), height = header_number(data, size, &at);
    long maximum = header_number(data, size, &at);
    bool text = data[1] == '2';
    if (width < 0 || height < 0 || maximum < 0) return fail(err, "not a PGM or PPM (width, height, maximum expected)");
    if (!picture_check_sides(width, height, err)) return false;
    if (text && maximum >= 1 && maximum <= 65535)
        return pixels_create(width, height, out, err) && read_text(data, size, at, maximum, out, err);
    if (maximum != 255) return fail(err, "a PGM or PPM of 8 bits expected (maximum 255), found maximum %ld", maximum);
    uint64_t needed = at + 1 + (uint64_t)width * (uint64_t)height * (data[1] == '6' ? 3 : 1);
    return size >= needed ? decode(data, size, width, height, out, err) : fail_truncated(needed, size, err);
}

/* |BM|file bytes 4|0 4|offset of pixels 4|header bytes 4|width 4|height 4|planes 2|bits 2|compression 4|...; the oldest
 * header, of 12 bytes, has width and height in 2 each and no compression. Rows fill up to 4 bytes; some writers cut the
 * last. */
bool bmp_decode(const unsigned char *data, size_t size, struct pixels *out, struct error *err) {
    if (size < 34) return fail_truncated(34, size, err);
    bool oldest = number(data + 14, 4, true) == 12;
    uint32_t compression = oldest ? 0 : number(data + 30, 4, true);
    long long width = number(data + 18, oldest ? 2 : 4, true);
    long long height = (int32_t)number(data + (oldest ? 20 : 22), oldest ? 2 : 4, true);
    height = height < 0 ? -height : height; /* negative: the first row is on top */
    if (!picture_check_sides(width, height, err)) return false;
    if (compression != 0 && compression != 3) /* 3: masks tell which bits are which colour */
        return fail(err, "a BMP without compression expected, found one with %s",
                    compression <= 2 ? "run-length encoding (RLE)" : "another file in it");
    uint64_t row = (number(data + (oldest ? 24 : 28), 2, true) * (uint64_t)width + 31) / 32 * 4;
    uint64_t needed = number(data + 10, 4, true) + row * (uint64_t)height;
    return size + 3 >= needed ? decode(data, size, width, height, out, err) : fail_truncated(needed, size, err);
}
