/* Any picture file -> a digit the way MNIST was made: white ink on black, bounding box scaled to 20x20 with
 * its proportions kept, centred in 28x28 by its centre of mass (LeCun, Cortes, Burges 1998). */
#ifndef DATA_PICTURE_H
#define DATA_PICTURE_H

#include <stdint.h>

#include "base/error.h"

enum {
    PICTURE_MAX_SIDE = 16384,
    PICTURE_MAX_PIXELS = 1 << 26 /* 64 Mi: a 60 megapixel photograph */
};

/* Reads PNG, JPEG (turned upright as its Exif block says), BMP, 8-bit PGM and PPM and writes digit [28][28],
 * 0 paper to 255 ink. A 28x28 picture with light ink on a dark ground is used as it is, byte for byte.
 * Errors: not a picture, cut short, larger than 16384 on a side or 2^26 pixels, nothing drawn on it. */
bool picture_read_digit(const char *path, uint8_t digit[28 * 28], struct error *err);

/* The same from gray pixels [height][width] already in memory. */
bool picture_to_digit(const uint8_t *gray, int width, int height, uint8_t digit[28 * 28], struct error *err);

/* Whether a picture of this size is taken at all. Error: a side below 1 or above PICTURE_MAX_SIDE. */
bool picture_check_sides(long long width, long long height, struct error *err);

/* Writes gray pixels [height][width] as an 8-bit PNG, whole or not at all. */
bool picture_write_png(const char *path, const uint8_t *gray, int width, int height, struct error *err);

/* Draws text in white at (x, y) into gray pixels [height][width]; what falls outside is clipped. About 6
 * pixels a character, 12 high (stb_easy_font). */
void picture_draw_text(uint8_t *gray, int width, int height, int x, int y, const char *text);

#endif
