/* Any picture file -> a digit the way MNIST was made: white ink on black, bounding box scaled to 20x20 with
 * its proportions kept, centred in 28x28 by its centre of mass (LeCun, Cortes, Burges 1998). */
#ifndef DATA_PICTURE_H
#define DATA_PICTURE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "data/doubts.h"

enum {
    PICTURE_MAX_SIDE = 16384,
    PICTURE_MAX_PIXELS = 1 << 26 /* 64 Mi: a 60 megapixel photograph */
};

/* What the images look like that a model was trained on; a picture becomes such an image. All zero: MNIST's. */
struct picture_form {
    bool dark_ink; /* dark ink on light ground: digits are written 255 paper to 0 ink */
    int side;      /* 0: centred as MNIST's are. Else what is drawn has about this many pixels on its longer side */
};

/* The form that most of images [count][28 * 28] have. */
struct picture_form picture_form_measure(const uint8_t *images, size_t count);

enum { PICTURE_FORM_TEXT = 48 };
/* As the metadata "images" of a model file tells it; "" for MNIST's own, of which the file says nothing. */
void picture_form_print(struct picture_form form, char text[PICTURE_FORM_TEXT]);
/* Back from that text. Error: another text. */
bool picture_form_parse(const char *text, struct picture_form *form, struct error *err);

/* Reads PNG, JPEG (turned upright as its Exif block says), BMP, 8-bit PGM and PPM and writes digit [28][28] in the
 * given form: of MNIST's, 0 paper to 255 ink. A 28x28 picture that has this form already, and any of 28x28 for a form
 * that is not MNIST's, is used as it is, byte for byte. doubts gets the bits of data/doubts.h. Errors: not a picture,
 * cut short, larger than 16384 on a side or 2^26 pixels, nothing drawn on it, more than one digit. */
bool picture_read_digit(const char *path, struct picture_form form, uint8_t digit[28 * 28], unsigned *doubts,
                        struct error *err);

/* The same from gray pixels [height][width] already in memory. */
bool picture_to_digit(const uint8_t *gray, int width, int height, struct picture_form form, uint8_t digit[28 * 28],
                      unsigned *doubts, struct error *err);

/* Copies image [28][28] into digit where it, or its negative, has the form already; else returns false. */
bool picture_take(const uint8_t *image, struct picture_form form, uint8_t digit[28 * 28]);

/* Whether a picture of this size is taken at all. Error: a side below 1 or above PICTURE_MAX_SIDE. */
bool picture_check_sides(long long width, long long height, struct error *err);

/* Writes gray pixels [height][width] as an 8-bit PNG, whole or not at all. */
bool picture_write_png(const char *path, const uint8_t *gray, int width, int height, struct error *err);

/* Draws text in white at (x, y) into gray pixels [height][width]; what falls outside is clipped. About 6
 * pixels a character, 12 high (stb_easy_font). */
void picture_draw_text(uint8_t *gray, int width, int height, int x, int y, const char *text);

#endif
