/* Decoders of picture files in memory: libjpeg-turbo, libpng, and stb_image for the two plain formats. Whatever the
 * bytes hold, each returns pixels or one line that says what is wrong. */
#ifndef DATA_DECODERS_H
#define DATA_DECODERS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct pixels {
    uint8_t *gray; /* [height * width][2]: shade and opacity; release with free, also after an error */
    int width, height;
    int orientation; /* as Exif numbers it, 1 upright to 8 */
};

/* Errors: damaged, cut short, beyond the limits of picture.h, out of memory, more work than a picture needs. */
bool jpeg_decode(const unsigned char *data, size_t size, struct pixels *out, struct error *err);
bool png_decode(const unsigned char *data, size_t size, struct pixels *out, struct error *err);

/* PGM and PPM (P2, P5, P6), BMP. */
bool pnm_decode(const unsigned char *data, size_t size, struct pixels *out, struct error *err);
bool bmp_decode(const unsigned char *data, size_t size, struct pixels *out, struct error *err);

/* Checks the size that a file claims and takes its memory. Errors: out of range, more pixels than PICTURE_MAX_PIXELS,
 * out of memory. */
bool pixels_create(long long width, long long height, struct pixels *out, struct error *err);

/* The shade that an eye sees in red, green and blue: 0.30, 0.59 and 0.11 of them (BT.601), in 256ths. */
static inline uint8_t luma(unsigned red, unsigned green, unsigned blue) {
    return (uint8_t)((77 * red + 150 * green + 29 * blue) >> 8);
}

/* The number in 2 or 4 bytes, the low byte first or last. */
static inline uint32_t number(const unsigned char *b, int bytes, bool low_first) {
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++) value = value << 8 | b[low_first ? bytes - 1 - i : i];
    return value;
}

#endif
