/* mnistq train: fp32 training, written as safetensors. */
#include <stdio.h>

#include "cli/commands.h"
#include "cli/recipe.h"
#include "cli/study.h"
#include "base/file.h"

static void add_row(struct table *t, const char *name, const struct evaluation *e) {
    table_row(t, "%s | %zu | %zu | %.2f | %.2f", name, e->correct, e->count, accuracy_percent(e),
              standard_error_percent(e));
}

static bool fill(const struct dataset *data, const struct training_recipe *r, const struct mlp *mlp,
                 const struct train_report *report, struct table *t, struct error *err) {
    struct model model = {.kind = MODEL_FP32, .shape = mlp->shape, .mlp = *mlp};
    struct evaluation e;
    char shape[128];
    mlp_shape_print(&mlp->shape, shape, sizeof shape);
    if (r->validation) {
        if (!evaluate_validation(data, r, &model, &e, err)) return false;
        add_row(t, "validation", &e);
        evaluation_free(&e);
    }
    if (!evaluate(&model, &data->test, false, &e, err)) return false;
    add_row(t, "test", &e);
    evaluation_free(&e);
    table_note(t, "%s, %zu parameters: loss %.4f in the last epoch; %ld steps in %.2f s.", shape,
               mlp_parameter_count(&mlp->shape), report->loss, report->steps, report->seconds);
    return true;
}

static bool run(const char *source, const char *out, const struct training_recipe *r, struct table *t,
                struct provenance *p, struct error *err) {
    struct dataset data;
    struct mlp mlp;
    struct train_report report;
    struct model_notes notes = {0};
    if (!out_file_check(out, err) || !dataset_load(source, &data, err)) return false;
    bool ok = train_model(&data, r, &mlp, &report, err);
    if (ok) {
        describe_training(&data, r, &notes);
        provenance_dataset(p, &data);
        ok = fill(&data, r, &mlp, &report, t, err) && model_write_mlp(out, &mlp, &notes, err);
        if (ok) note_written(t, out);
        mlp_free(&mlp);
    }
    dataset_free(&data);
    return ok;
}

int command_train(int argc, char **argv) {
    static const char columns[] = "images correct n accuracy_percent standard_error";
    struct options o = {.command = argv[0],
                        .arguments = "",
                        .what = "Trains the fp32 network and writes it to --out.",
                        .examples = "mnistq train --out fp32.safetensors\nmnistq train --data digits --epochs 3 "
                                    "--validation 5000 --out small.safetensors"};
    struct training_recipe recipe = training_defaults();
    const char *source = "data/mnist", *out = NULL;
    bool json = false;
    option_data(&o, &source, "folder with the four IDX files, or the built-in digits");
    option_out_bytes(&o, "out", "FILE", &out, "model file to write (safetensors)");
    training_options(&o, &recipe);
    option_flag(&o, "json", &json, "print the result as JSON");
    int status = options_parse(&o, argc, argv, 0, 0);
    if (status != OPTIONS_GO_ON) return status;
    if (!out) return usage_error(&o, "--out is missing: where should the model go?");
    struct error err;
    struct table t;
    struct provenance p = {0};
    table_init(&t, "Trained fp32 model", columns);
    provenance_command(&p);
    bool ok = run(source, out, &recipe, &t, &p, &err);
    provenance_machine(&p);
    return report_table(&t, &p, json, ok, &err);
}
