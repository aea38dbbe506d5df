/* Gray pictures for results/: digits and weights enlarged, with text; and pages of test digits in tiles. */
#ifndef CLI_CANVAS_H
#define CLI_CANVAS_H

#include "data/dataset.h"

enum { CANVAS_LINE = 12, CANVAS_MARGIN = 8, CANVAS_HEAD = 28, CANVAS_LETTER = 6 }; /* pixels */

struct canvas {
    int width, height;
    uint8_t *gray; /* [height][width] */
};

/* A dark page. Error: out of memory. Released by canvas_write. */
bool canvas_create(int width, int height, struct canvas *c, struct error *err);

/* image [rows][cols], each pixel zoom x zoom, its upper left corner at (x, y). */
void canvas_image(struct canvas *c, const uint8_t *image, int rows, int cols, int zoom, int x, int y);
void canvas_text(struct canvas *c, int x, int y, const char *text);

/* Writes a PNG, with path NULL none, and frees the page, done or not. */
bool canvas_write(struct canvas *c, const char *path, struct error *err);

/* A page of test images, each with lines of text below it. */
struct tiles {
    const struct split *split;
    const size_t *images; /* [count] indices into split; TILES_MAX at most are shown, of large images fewer */
    size_t count;
    int lines;                                                                       /* below each image */
    void (*text)(const void *context, size_t at, int line, char *text, size_t size); /* of images[at] */
    const void *context;
};
enum { TILES_MAX = 120 };

/* head: above the tiles; "; the first 120:" is added where there are more. Writes a PNG. */
bool tiles_write(const struct tiles *tiles, const char *head, const char *path, struct error *err);

#endif
