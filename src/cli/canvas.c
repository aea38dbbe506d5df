#include "cli/canvas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/block.h"
#include "data/picture.h"

enum { ZOOM = 3, TILE_COLUMNS = 6, TILE_TEXT = 116, PAGE_GRAY = 48 };

bool canvas_create(int width, int height, struct canvas *c, struct error *err) {
    *c = (struct canvas){width, height, aligned_array((size_t)width * (size_t)height, 1, err)};
    if (c->gray) memset(c->gray, PAGE_GRAY, (size_t)width * (size_t)height);
    return c->gray != NULL;
}

void canvas_image(struct canvas *c, const uint8_t *image, int rows, int cols, int zoom, int x, int y) {
    for (int r = 0; r < rows * zoom; r++)
        for (int k = 0; k < cols * zoom; k++)
            c->gray[(size_t)(y + r) * (size_t)c->width + (size_t)(x + k)] = image[r / zoom * cols + k / zoom];
}

void canvas_text(struct canvas *c, int x, int y, const char *text) {
    picture_draw_text(c->gray, c->width, c->height, x, y, text);
}

bool canvas_write(struct canvas *c, const char *path, struct error *err) {
    bool ok = path && picture_write_png(path, c->gray, c->width, c->height, err);
    free(c->gray);
    return ok;
}

static void draw_tile(struct canvas *c, const struct tiles *tiles, size_t at, int x, int y) {
    char text[64];
    int rows = tiles->split->rows, cols = tiles->split->cols;
    canvas_image(c, tiles->split->images + tiles->images[at] * (size_t)rows * (size_t)cols, rows, cols, ZOOM, x, y);
    for (int line = 0; line < tiles->lines; line++) {
        tiles->text(tiles->context, at, line, text, sizeof text);
        canvas_text(c, x, y + rows * ZOOM + 4 + line * CANVAS_LINE, text);
    }
}

/* How many of at most most parts of a size, each with a margin, a side of a picture has room for besides extra. */
static int room_for(int size, int extra, int most) {
    int room = (PICTURE_MAX_SIDE - extra) / (size + CANVAS_MARGIN);
    return room < most ? room : most;
}

bool tiles_write(const struct tiles *tiles, const char *head, const char *path, struct error *err) {
    int wide = tiles->split->cols * ZOOM > TILE_TEXT ? tiles->split->cols * ZOOM : TILE_TEXT;
    int high = tiles->split->rows * ZOOM + 4 + tiles->lines * CANVAS_LINE;
    int columns = room_for(wide, CANVAS_MARGIN, TILE_COLUMNS);
    int most = columns * room_for(high, CANVAS_HEAD + CANVAS_MARGIN, TILES_MAX / TILE_COLUMNS);
    int shown = tiles->count < (size_t)most ? (int)tiles->count : most, rows = (shown + columns - 1) / columns;
    struct canvas c;
    if (!canvas_create(CANVAS_MARGIN + columns * (wide + CANVAS_MARGIN),
                       CANVAS_HEAD + CANVAS_MARGIN + rows * (high + CANVAS_MARGIN), &c, err))
        return false;
    char text[256], more[32] = "";
    if (tiles->count > (size_t)shown) snprintf(more, sizeof more, "; the first %d:", shown);
    snprintf(text, sizeof text, "%.200s%s", head, more);
    canvas_text(&c, CANVAS_MARGIN, CANVAS_MARGIN, text);
    for (int i = 0; i < shown; i++)
        draw_tile(&c, tiles, (size_t)i, CANVAS_MARGIN + i % columns * (wide + CANVAS_MARGIN),
                  CANVAS_HEAD + i / columns * (high + CANVAS_MARGIN));
    return canvas_write(&c, path, err);
}
