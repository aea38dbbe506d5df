/* changed.png: the test digits whose prediction differs between fp32 and int8, each with what every model says. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/canvas.h"
#include "cli/exercise.h"

static bool any_change(const struct exercise *e, size_t image) {
    for (int i = 1; i < e->count; i++)
        if (e->evaluations[i].predicted[image] != e->evaluations[0].predicted[image]) return true;
    return false;
}

struct changed {
    const struct exercise *e;
    const struct split *test;
};

/* The image and its label, then each model's answer and its verdict. */
static void tile_text(const void *context, size_t image, int line, char *text, size_t size) {
    const struct changed *c = context;
    int label = c->test->labels[image], i = line - 1;
    if (line == 0) {
        snprintf(text, size, "#%zu is a %d", image, label);
        return;
    }
    int answer = c->e->evaluations[i].predicted[image];
    snprintf(text, size, "%s: %d %s", i ? granularity_name(&c->e->models[i]) : "fp32", answer,
             answer == label ? "right" : "wrong");
}

bool write_changed(const struct exercise *e, const struct split *test, const char *folder, struct error *err) {
    size_t *changed = aligned_array(test->count, sizeof *changed, err), total = 0;
    if (!changed) return false;
    for (size_t i = 0; i < test->count; i++)
        if (any_change(e, i)) changed[total++] = i;
    struct changed context = {e, test};
    struct tiles tiles = {test, changed, total, e->count + 1, tile_text, &context};
    char head[160];
    snprintf(head, sizeof head, "%zu of %zu test images are answered differently by fp32 and int8", total, test->count);
    bool ok = tiles_write(&tiles, head, folder, "changed.png", err);
    free(changed);
    return ok;
}
