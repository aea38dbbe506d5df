#include "cli/report.h"

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
