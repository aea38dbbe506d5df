/* The predictions that two models do not share: the margin of each, and the digits themselves. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/canvas.h"
#include "studies/compare.h"

static double gap(const struct comparison *c, int model, size_t image, int winner, int other) {
    const float *logits = c->logits[model] + image * (size_t)comparison_classes(c);
    return (double)logits[winner] - (double)logits[other];
}

static int by_margin(const void *a, const void *b) {
    const struct change *x = a, *y = b;
    if (x->margin_a != y->margin_a) return x->margin_a < y->margin_a ? 1 : -1;
    return x->image < y->image ? -1 : 1;
}

bool find_changes(struct comparison *c, struct error *err) {
    const uint8_t *a = c->evaluations[0].predicted, *b = c->evaluations[1].predicted;
    if (!(c->changes = aligned_array(c->data.test.count, sizeof *c->changes, err))) return false;
    for (size_t i = 0; i < c->data.test.count; i++)
        if (a[i] != b[i])
            c->changes[c->change_count++] = (struct change){i, gap(c, 0, i, a[i], b[i]), gap(c, 1, i, b[i], a[i])};
    qsort(c->changes, c->change_count, sizeof *c->changes, by_margin);
    return true;
}

static const char *verdict(int label, int a, int b) {
    return a == label ? "broken" : b == label ? "fixed" : "wrong both times";
}

/* The median margin of count changes in their order. */
static double middle_margin(const struct change *sorted, size_t count) {
    return (sorted[(count - 1) / 2].margin_a + sorted[count / 2].margin_a) / 2;
}

/* The median over all images of a's gap between its first and its second class: how far from the border a usual image
 * is. */
static bool median_margin(const struct comparison *c, double *median) {
    size_t n = c->data.test.count;
    struct change *all = calloc(n, sizeof *all);
    if (!all) return false;
    for (size_t i = 0; i < n; i++) {
        int winner = c->evaluations[0].predicted[i];
        all[i] = (struct change){i, INFINITY, 0};
        for (int j = 0; j < comparison_classes(c); j++)
            if (j != winner) all[i].margin_a = fmin(all[i].margin_a, gap(c, 0, i, winner, j));
    }
    qsort(all, n, sizeof *all, by_margin);
    *median = middle_margin(all, n);
    free(all);
    return true;
}

static void add_notes(struct table *t, const struct comparison *c, size_t shown) {
    double median;
    table_note(
        t,
        "margin a: a's logit of its own class less that of b's class, what the difference had to overcome; margin "
        "b: the same gap in b, the other way (0: a tie, and the lowest class is taken).");
    if (c->models[1].kind == MODEL_INT8)
        table_note(t,
                   "margin in codes: margin a in steps of b's logit codes, %.6f each: below 1, both may round to "
                   "one code.",
                   (double)c->models[1].qmlp.activation[c->models[1].shape.layers].scale);
    if (c->change_count && median_margin(c, &median))
        table_note(t,
                   "%zu of %zu images changed, at a median margin of %.3f; the median image is %.3f from its second "
                   "class.",
                   c->change_count, c->data.test.count, middle_margin(c->changes, c->change_count), median);
    if (c->change_count == 0) table_note(t, "No prediction changed.");
    if (shown < c->change_count)
        table_note(t, "%zu more changes, of smaller margins, are in what --results and --json write.",
                   c->change_count - shown);
}

void fill_changes(struct table *t, const struct comparison *c, size_t limit) {
    const struct model *b = &c->models[1];
    double step = b->kind == MODEL_INT8 ? (double)b->qmlp.activation[b->shape.layers].scale : NAN;
    size_t shown = c->change_count < limit ? c->change_count : limit;
    for (size_t i = 0; i < shown; i++) {
        const struct change *change = &c->changes[i];
        int label = c->data.test.labels[change->image];
        int answers[2] = {c->evaluations[0].predicted[change->image], c->evaluations[1].predicted[change->image]};
        table_row(t, "%lld | %d | %d | %d | %s | %.4f | %.4f | %.2f", (long long)change->image, label, answers[0],
                  answers[1], verdict(label, answers[0], answers[1]), change->margin_a, change->margin_b,
                  change->margin_a / step);
    }
    add_notes(t, c, shown);
}

/* ---- the picture ------------------------------------------------------------------------------------------------ */

static void tile_text(const void *context, size_t image, int line, char *text, size_t size) {
    const struct comparison *c = context;
    int label = c->data.test.labels[image], a = c->evaluations[0].predicted[image],
        b = c->evaluations[1].predicted[image];
    if (line == 0) snprintf(text, size, "#%zu is a %d", image, label);
    if (line == 1) snprintf(text, size, "a: %d  b: %d", a, b);
    if (line == 2) snprintf(text, size, "%s", verdict(label, a, b));
    if (line == 3) snprintf(text, size, "margin %.3f", gap(c, 0, image, a, b));
}

bool write_compare_picture(const struct comparison *c, const char *folder, struct error *err) {
    size_t *images = aligned_array(c->change_count + 1, sizeof *images, err);
    char head[200];
    if (!images) return false;
    for (size_t i = 0; i < c->change_count; i++) images[i] = c->changes[i].image;
    snprintf(head, sizeof head, "%zu of %zu test images are answered differently; the widest margin of a first",
             c->change_count, c->data.test.count);
    struct tiles tiles = {&c->data.test, images, c->change_count, 4, tile_text, c};
    bool ok = tiles_write(&tiles, head, folder, "compare.png", err);
    free(images);
    return ok;
}
