/* changed.png: the test digits whose prediction differs between fp32 and int8, each with what every model says. */
#include <stdio.h>
#include <stdlib.h>

#include "base/block.h"
#include "base/file.h"
#include "cli/canvas.h"
#include "cli/exercise.h"

struct changed {
    const struct exercise *e;
    const struct split *test;
    size_t *images, count;
};

/* The image and its label, then each model's answer and its verdict. */
static void tile_text(const void *context, size_t at, int line, char *text, size_t size) {
    const struct changed *c = context;
    size_t image = c->images[at];
    int label = c->test->labels[image], i = line - 1;
    int answer = line ? c->e->evaluations[i].predicted[image] : label;
    if (line == 0) snprintf(text, size, "#%zu is a %d", image, label);
    else
        snprintf(text, size, "%s: %d %s", i ? granularity_name(&c->e->models[i]) : "fp32", answer,
                 answer == label ? "right" : "wrong");
}

bool write_changed(const struct exercise *e, const struct split *test, const char *folder, struct error *err) {
    struct changed c = {e, test, aligned_array(test->count, sizeof *c.images, err), 0};
    char head[160], path[4096];
    if (!c.images) return false;
    for (size_t image = 0; image < test->count; image++) {
        bool differs = false;
        for (int i = 1; i < e->count; i++)
            differs |= e->evaluations[i].predicted[image] != e->evaluations[0].predicted[image];
        if (differs) c.images[c.count++] = image;
    }
    snprintf(head, sizeof head, "%zu of %zu test images are answered differently by fp32 and int8", c.count,
             test->count);
    snprintf(path, sizeof path, "%.4000s/changed.png", folder);
    struct tiles tiles = {test, c.images, c.count, e->count + 1, tile_text, &c};
    bool ok = folder_create(folder, err) && tiles_write(&tiles, head, path, err);
    free(c.images);
    return ok;
}
