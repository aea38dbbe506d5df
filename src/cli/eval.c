/* mnistq eval: accuracy on the test images, and every prediction as CSV; with --break, of an engine that has a fault.
 */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/report.h"
#include "cli/study.h"
#include "base/file.h"
#include "model/evaluation.h"

static bool write_predictions(const char *path, const struct evaluation *e, const uint8_t *labels, struct error *err) {
    struct out_file out;
    if (!out_file_open(&out, path, err)) return false;
    fprintf(out.stream, "index,label,predicted\n");
    for (size_t i = 0; i < e->count; i++) fprintf(out.stream, "%zu,%d,%d\n", i, labels[i], e->predicted[i]);
    return out_file_commit(&out, err);
}

/* What the command line asks for. */
struct request {
    struct options o;
    const char *source, *predictions, *codes, *broken;
    const struct fault *fault; /* NULL: the engine as it is */
    bool json, reference;
};

enum { CODES_IMAGES = 100 };

/* A line an image, the codes of every layer in a row: what a broken run is told by, beside the same of a sound one. */
static void print_codes(const struct qmlp *q, const struct split *test, int count, uint8_t *const *codes, FILE *out) {
    fprintf(out, "index,label");
    for (int l = 1; l <= q->shape.layers; l++)
        for (int c = 0; c < q->shape.widths[l]; c++) fprintf(out, ",fc%d_%d", l, c);
    for (int i = 0; i < count; i++) {
        fprintf(out, "\n%d,%d", i, test->labels[i]);
        for (int l = 1; l <= q->shape.layers; l++)
            for (int c = 0; c < q->shape.widths[l]; c++) fprintf(out, ",%d", codes[l][i * q->shape.widths[l] + c]);
    }
    fprintf(out, "\n");
}

static bool write_codes(const struct request *r, const struct model *model, const struct split *test,
                        struct error *err) {
    int count = test->count < CODES_IMAGES ? (int)test->count : CODES_IMAGES;
    struct model_run run;
    struct out_file out;
    if (!model_run_create(model, count, 1, RUN_LAYERS, &run, err)) return false;
    run.fault = r->fault;
    model_run(&run, test->images, count, NULL);
    bool ok = out_file_open(&out, r->codes, err);
    if (ok) print_codes(&model->qmlp, test, count, run.codes, out.stream);
    model_run_free(&run);
    return ok && out_file_commit(&out, err);
}

/* The integer network with a fault; its predictions move to e. different_percent: of the logit codes. */
static bool evaluate_broken(const struct model *model, const struct split *test, const struct fault *fault,
                            struct evaluation *e, double *different_percent, struct error *err) {
    struct trial trial = {model, fault, FAULTS_ALL_LAYERS, NULL};
    struct measurement m;
    if (!measure(&trial, test, &m, err)) return false;
    *e = m.evaluation;
    *different_percent = m.different_percent;
    return true;
}

static const char *engine_name(const struct request *r, const struct model *model) {
    if (r->fault) return "reference, broken on purpose";
    return r->reference && (model->kind == MODEL_INT8 || runs_bf16(model)) ? "reference" : "fast";
}

static void fill(const struct request *r, const struct model *model, const struct evaluation *e, struct table *t) {
    table_row(t, "%s | %s | %zu | %zu | %.2f | %.2f | %zu", r->o.files[0], arithmetic_name(model), e->correct, e->count,
              accuracy_percent(e), standard_error_percent(e), e->ties);
    if (r->fault) table_note(t, "Broken on purpose, %s: %s.", r->fault->name, r->fault->what);
    if (e->ties) note_ties(t, NULL, model, e->ties);
}

static bool run(const struct request *r, const struct model *model, struct table *t, struct provenance *p,
                struct error *err) {
    struct split test = {0};
    struct evaluation e = {0};
    double different = 0;
    bool ok = dataset_load_test(r->source, &test, err) &&
        split_fits(&test, model->shape.widths[0], model->shape.widths[model->shape.layers], r->source, err) &&
        (r->fault ? evaluate_broken(model, &test, r->fault, &e, &different, err)
                  : evaluate(model, &test, r->reference, &e, err)) &&
        (!r->predictions || write_predictions(r->predictions, &e, test.labels, err)) &&
        (!r->codes || write_codes(r, model, &test, err));
    if (ok) fill(r, model, &e, t);
    if (ok && r->predictions) note_written(t, r->predictions);
    if (ok && r->codes) note_written(t, r->codes);
    if (ok && r->fault)
        table_note(t,
                   different > 0
                       ? "%.2f%% of the logits' codes are not what they should be."
                       : "%.2f%% of the logits' codes differ: on this network the fault leaves no trace in them (make "
                         "pitfalls shows which networks feel it).",
                   different);
    if (ok) provenance_add(p, "data", "%s, %zu test image%s", r->source, test.count, plural(test.count));
    if (ok) provenance_add(p, "engine", "%s", engine_name(r, model));
    evaluation_free(&e);
    split_free(&test);
    return ok;
}

static int list_faults(bool json) {
    static const char columns[] = "name what";
    struct error err;
    struct table t;
    table_init(&t, "What --break can break", columns);
    for (const struct fault *f = faults; f->name; f++) { table_row(&t, "%s | %s", f->name, f->what); }
    return report_table(&t, NULL, json, true, &err);
}

/* What can be told before a file is read. EXIT_DONE, or the status of what is wrong, which has been printed. */
static int check(struct request *r) {
    if (r->o.file_count == 0) return usage_error(&r->o, "expected %s", r->o.arguments);
    r->fault = r->broken ? fault_find(r->broken) : NULL;
    if (r->broken && !r->fault) {
        const char *meant = NULL;
        for (const struct fault *f = faults; f->name; f++) meant = likelier(r->broken, f->name, meant);
        return no_such(&r->o, "--break", "fault", r->broken, meant, "--break list names them");
    }
    if (r->broken && r->reference) return usage_error(&r->o, "--break and --reference: one engine at a time");
    return EXIT_DONE;
}

static int evaluate_model(const struct request *r) {
    static const char columns[] = "model arithmetic correct n accuracy_percent standard_error ties";
    struct error err;
    struct table t;
    struct model model;
    struct provenance p = {0};
    if (!model_read(r->o.files[0], &model, NULL, &err)) return report_error(&err);
    if ((r->fault || r->codes) && model.kind != MODEL_INT8) {
        fail(&err, "%s: %s needs a model that runs in integers, found \"%s\"", r->o.files[0],
             r->fault ? "--break" : "--codes", arithmetic_name(&model));
        model_free(&model);
        return report_error(&err);
    }
    table_init(&t, "Accuracy on the test images", columns);
    provenance_command(&p);
    provenance_machine(&p);
    bool ok = run(r, &model, &t, &p, &err);
    model_free(&model);
    return report_table(&t, &p, r->json, ok, &err);
}

int command_eval(int argc, char **argv) {
    struct request r = {.o = {.command = argv[0],
                              .arguments = "MODEL",
                              .what = "Runs a model, fp32 or int8, over the test images.",
                              .examples = "mnistq eval int8-per-channel.safetensors\n"
                                          "mnistq eval int8-per-channel.safetensors --predictions - >predictions.csv"},
                        .source = "data/mnist"};
    option_data(&r.o, &r.source, "folder with the four IDX files, or the built-in digits");
    option_out(&r.o, "predictions", "FILE", &r.predictions, "write index,label,predicted of every image as CSV");
    option_flag(&r.o, "reference", &r.reference, "int8, bf16: run the plain reference instead of the fast kernel");
    option_text(&r.o, "break", "NAME|list", &r.broken,
                "int8: run a reference with this fault in it; list: what faults there are");
    option_out(&r.o, "codes", "FILE", &r.codes, "int8: write the codes of every layer for the first 100 images as CSV");
    option_flag(&r.o, "json", &r.json, "print the result as JSON");
    int status = options_parse(&r.o, argc, argv, 0, 1);
    if (status != OPTIONS_GO_ON) return status;
    if (r.broken && strcmp(r.broken, "list") == 0) return list_faults(r.json);
    status = check(&r);
    return status == EXIT_DONE ? evaluate_model(&r) : status;
}
