/* changed.png: the test digits whose prediction differs between fp32 and int8, each with what every model says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/exercise.h"
#include "data/picture.h"

enum { ZOOM = 3, LINE = 12, MARGIN = 8, TILE_COLUMNS = 6, MAX_TILES = 120, HEAD = 28 };

static bool any_change(const struct exercise *e, size_t image) {
    for (int i = 1; i < e->count; i++)
        if (e->evaluations[i].predicted[image] != e->evaluations[0].predicted[image]) return true;
    return false;
}

struct canvas {
    int width, height;
    uint8_t *gray; /* [height][width] */
};

static void draw_image(struct canvas *c, const uint8_t *image, int rows, int cols, int x, int y) {
    for (int r = 0; r < rows * ZOOM; r++)
        for (int k = 0; k < cols * ZOOM; k++)
            c->gray[(size_t)(y + r) * (size_t)c->width + (size_t)(x + k)] = image[r / ZOOM * cols + k / ZOOM];
}

/* One digit with its lines of text below: the image and its label, then each model's answer and its verdict. */
static void draw_tile(struct canvas *c, const struct exercise *e, const struct split *test, size_t image, int x, int y) {
    char text[64];
    size_t pixels = (size_t)test->rows * (size_t)test->cols;
    draw_image(c, test->images + image * pixels, test->rows, test->cols, x, y);
    y += test->rows * ZOOM + 4;
    snprintf(text, sizeof text, "#%zu is a %d", image, test->labels[image]);
    picture_draw_text(c->gray, c->width, c->height, x, y, text);
    for (int i = 0; i < e->count; i++) {
        int answer = e->evaluations[i].predicted[image];
        snprintf(text, sizeof text, "%s: %d %s", i ? granularity_name(&e->models[i]) : "fp32", answer,
                 answer == test->labels[image] ? "right" : "wrong");
        picture_draw_text(c->gray, c->width, c->height, x, y + (i + 1) * LINE, text);
    }
}

bool write_changed(const struct exercise *e, const struct split *test, const char *folder, struct error *err) {
    size_t changed[MAX_TILES], total = 0;
    for (size_t i = 0; i < test->count; i++)
        if (any_change(e, i) && total++ < MAX_TILES) changed[total - 1] = i;
    int tiles = total < MAX_TILES ? (int)total : MAX_TILES, tile_rows = (tiles + TILE_COLUMNS - 1) / TILE_COLUMNS;
    int wide = test->cols * ZOOM > 116 ? test->cols * ZOOM : 116;
    int high = test->rows * ZOOM + 4 + (e->count + 1) * LINE;
    struct canvas c = {MARGIN + TILE_COLUMNS * (wide + MARGIN), HEAD + MARGIN + tile_rows * (high + MARGIN), NULL};
    if (!(c.gray = aligned_array((size_t)c.width * (size_t)c.height, 1, err))) return false;
    memset(c.gray, 48, (size_t)c.width * (size_t)c.height);
    char text[160], path[4096];
    snprintf(text, sizeof text, "%zu of %zu test images are answered differently by fp32 and int8%s", total, test->count,
             total > MAX_TILES ? "; the first 120:" : "");
    picture_draw_text(c.gray, c.width, c.height, MARGIN, MARGIN, text);
    for (int i = 0; i < tiles; i++)
        draw_tile(&c, e, test, changed[i], MARGIN + i % TILE_COLUMNS * (wide + MARGIN),
                  HEAD + i / TILE_COLUMNS * (high + MARGIN));
    snprintf(path, sizeof path, "%.4000s/changed.png", folder);
    bool ok = picture_write_png(path, c.gray, c.width, c.height, err);
    free(c.gray);
    return ok;
}
