#include "cli/report.h"

#include <math.h>
#include <string.h>

#include "base/stats.h"
#include "cli/options.h"

const char *arithmetic_name(const struct model *model) {
    switch (model->kind) {
    case MODEL_FP32: return "fp32";
    case MODEL_INT8: return "integer";
    case MODEL_WEIGHT_ONLY: return runs_bf16(model) ? "bf16 products, fp32 sums" : "fp32 after decode";
    case MODEL_DYNAMIC: return "int8 products, fp32 between";
    }
    return "";
}

const char *granularity_name(const struct model *model) {
    return model->kind != MODEL_INT8 ? "-" : model->qmlp.per_channel ? "per-channel" : "per-tensor";
}

int report_error(const struct error *err) {
    fprintf(stderr, "mnistq: %s\n", err->text);
    return EXIT_FAILED;
}

int report_table(struct table *t, const struct provenance *p, bool json, bool ok, struct error *err) {
    struct provenance own = {0};
    provenance_command(&own);
    if (!p) p = &own;
    if (ok && json) ok = table_print_json(t, p, stdout, err);
    else if (ok) table_print(t, stdout, terminal_width(stdout));
    table_free(t);
    return ok ? EXIT_DONE : report_error(err);
}

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
