#include "cli/report.h"

#include <math.h>
#include <string.h>

#include "base/stats.h"

void add_changes(struct table *t, const struct evaluation *base, const struct evaluation *ours, const uint8_t *labels) {
    struct paired paired = compare(base, ours, labels);
    table_row(t, "%+.2f | %zu | %zu | %zu", accuracy_percent(ours) - accuracy_percent(base), paired.changed,
              paired.fixed, paired.broken);
}

void add_paired(struct table *t, const struct evaluation *base, const struct evaluation *ours, const uint8_t *labels) {
    struct paired paired = compare(base, ours, labels);
    add_changes(t, base, ours, labels);
    table_row(t, "%.4f", base == ours ? NAN : mcnemar_exact_p(paired.fixed, paired.broken));
}

void note_ties(struct table *t, const char *name, const struct model *model, size_t ties) {
    table_note(t, "%s%s%zu image%s two classes on the same highest %s; the lowest class is taken (eq. 7).",
               name ? name : "", name ? ": " : "", ties, ties == 1 ? " has" : "s have",
               model->kind == MODEL_INT8 ? "code" : "logit");
}

bool same_training(const struct model_notes *a, const struct model_notes *b) {
    return strcmp(a->training, b->training) == 0 && strcmp(a->seed, b->seed) == 0;
}

static const char *told(const char *text) { return *text ? text : "not told"; }

bool origin_read(const char *path, const struct model *model, const struct model_notes *notes, struct model *out,
                 struct error *err) {
    struct model_notes theirs;
    char shapes[2][128];
    if (!model_read(path, out, &theirs, err)) return false;
    if (out->kind != MODEL_FP32 && out->kind != MODEL_WEIGHT_ONLY)
        return fail(err, "--fp32 %s: expected a model in fp32, found \"%s\"", path, arithmetic_name(out));
    mlp_shape_print(&model->shape, shapes[0], sizeof shapes[0]);
    mlp_shape_print(&out->shape, shapes[1], sizeof shapes[1]);
    if (memcmp(&model->shape, &out->shape, sizeof out->shape) != 0)
        return fail(err, "--fp32 %s: expected the shape of the model, %s, found %s", path, shapes[0], shapes[1]);
    return same_training(notes, &theirs) ||
        fail(err, "--fp32 %s: expected the network that the model was made from, seed %s (%s), found seed %s (%s)",
             path, told(notes->seed), told(notes->training), told(theirs.seed), told(theirs.training));
}
