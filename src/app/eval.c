/* mnistq eval: accuracy on the test images, and every prediction as CSV; with --break, of an engine that has a fault. */
#include <stdio.h>
#include <string.h>

#include "app/commands.h"
#include "app/options.h"
#include "app/pitfalls.h"
#include "app/report.h"
#include "base/file.h"

static bool write_predictions(const char *path, const struct evaluation *e, const uint8_t *labels, struct error *err) {
    struct out_file out;
    if (!out_file_open(&out, path, err)) return false;
    fprintf(out.stream, "index,label,predicted\n");
    for (size_t i = 0; i < e->count; i++) fprintf(out.stream, "%zu,%d,%d\n", i, labels[i], e->predicted[i]);
    return out_file_commit(&out, err);
}

/* The integer network with a fault; its predictions move to e. */
static bool evaluate_broken(const char *path, const struct model *model, const struct split *test, const struct fault *fault,
                            struct evaluation *e, struct error *err) {
    struct trial trial = {&model->qmlp, fault, FAULTS_ALL_LAYERS, NULL};
    struct measurement m;
    if (model->kind != MODEL_INT8) return fail(err, "%s: --break needs an int8 model in integer arithmetic", path);
    if (!measure(&trial, test, &m, err)) return false;
    *e = m.evaluation;
    return true;
}

/* fault: NULL for the engine as it is. */
static bool run(const char *model_path, const char *source, const char *predictions, bool reference,
                const struct fault *fault, struct table *t, struct provenance *p, struct error *err) {
    struct model model;
    struct split test = {0};
    struct evaluation e = {0};
    if (!model_read(model_path, &model, NULL, err)) return false;
    bool ok = dataset_load_test(source, &test, err) &&
              split_fits(&test, model.shape.widths[0], model.shape.widths[model.shape.layers], source, err) &&
              (fault ? evaluate_broken(model_path, &model, &test, fault, &e, err)
                     : evaluate(&model, &test, reference, &e, err)) &&
              (!predictions || write_predictions(predictions, &e, test.labels, err));
    if (ok) {
        table_text(t, "%s", model_path);
        table_text(t, "%s", arithmetic_name(&model));
        table_integer(t, (long long)e.correct);
        table_integer(t, (long long)e.count);
        table_number(t, accuracy_percent(&e), 2);
        table_number(t, standard_error_percent(&e), 2);
        table_integer(t, (long long)e.ties);
        provenance_add(p, "data", "%s, %zu test images", source, test.count);
        provenance_add(p, "engine", "%s", fault ? "reference, broken" : reference && model.kind == MODEL_INT8 ? "reference (eq. 5 and 6)" : "fast");
        if (fault) table_note(t, "Broken on purpose, %s: %s.", fault->name, fault->what);
        if (e.ties) table_note(t, "%zu images have two highest logits of the same code; the lowest class is taken.", e.ties);
    }
    evaluation_free(&e);
    split_free(&test);
    model_free(&model);
    return ok;
}

static int list_faults(bool json) {
    static const char *const columns[] = {"name", "what"};
    struct error err;
    struct table t;
    table_init(&t, "What --break can break", columns, 2);
    for (const struct fault *f = faults; f->name; f++) {
        table_text(&t, "%s", f->name);
        table_text(&t, "%s", f->what);
    }
    return report_table(&t, NULL, json, true, &err);
}

int command_eval(int argc, char **argv) {
    static const char *const columns[] = {"model",          "arithmetic", "correct", "n", "accuracy_percent",
                                          "standard_error", "ties"};
    struct options o = {.command = argv[0], .arguments = "MODEL",
                        .what = "Runs a model, fp32 or int8, over the test images."};
    const char *source = "data/mnist", *predictions = NULL, *broken = NULL;
    bool json = false, reference = false;
    option_data(&o, &source, "folder with the four IDX files, or the built-in digits");
    option_text(&o, "predictions", "FILE", &predictions, "write index,label,predicted of every image as CSV");
    option_flag(&o, "reference", &reference, "int8, bf16: run the plain reference instead of the fast kernel");
    option_text(&o, "break", "NAME|list", &broken, "int8: run a reference with this fault in it; list: what faults there are");
    option_flag(&o, "json", &json, "print the result as JSON");
    int status = options_parse(&o, argc, argv, 0, 1);
    if (status != OPTIONS_GO_ON) return status;
    if (broken && strcmp(broken, "list") == 0) return list_faults(json);
    if (o.file_count == 0) return usage_error(&o, "expected %s", o.arguments);
    const struct fault *fault = broken ? fault_find(broken) : NULL;
    if (broken && !fault) return usage_error(&o, "--break: there is no fault \"%s\" (--break list names them)", broken);
    if (broken && reference) return usage_error(&o, "--break and --reference: one engine at a time");
    struct error err;
    struct table t;
    struct provenance p = {0};
    table_init(&t, "Accuracy on the test images", columns, 7);
    provenance_command(&p);
    provenance_machine(&p);
    bool ok = run(o.files[0], source, predictions, reference, fault, &t, &p, &err);
    return report_table(&t, &p, json, ok, &err);
}
