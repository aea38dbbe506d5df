/* mnistq quantize: calibration and conversion to int8. */
#include <stdio.h>

#include "app/commands.h"
#include "app/recipe.h"
#include "app/report.h"

static void add_rows(const struct qmlp *q, struct table *t) {
    for (int i = 0; i <= q->shape.layers; i++) {
        if (i < q->shape.layers)
            table_text(t, "input of fc%d", i + 1);
        else
            table_text(t, "output");
        struct qparams p = q->activation[i];
        table_number(t, p.scale, 8);
        table_integer(t, p.zero_point);
        table_number(t, dequantize(p.qmin, p), 4);
        table_number(t, dequantize(p.qmax, p), 4);
    }
}

static bool quantize_and_write(const struct model *model, const struct dataset *data, const char *out,
                               const struct quantization_recipe *r, struct model_notes *notes, struct table *t,
                               struct error *err) {
    struct qmlp q;
    size_t saturated;
    if (!quantize_model(&model->mlp, &data->train, r, &q, &saturated, err)) return false;
    describe_quantization(r, notes);
    add_rows(&q, t);
    if (saturated) table_note(t, "%zu biases are beyond the 2^30 steps that the engine takes, and were cut: those outputs are wrong.", saturated);
    bool ok = model_write_qmlp(out, &q, notes, err);
    qmlp_free(&q);
    return ok;
}

static bool run(const char *model_path, const char *source, const char *out, const struct quantization_recipe *r,
                struct table *t, struct provenance *p, struct error *err) {
    struct model model;
    struct model_notes notes;
    struct dataset data = {0};
    if (!model_read(model_path, &model, &notes, err)) return false;
    bool ok = model.kind == MODEL_FP32 || fail(err, "%s: is quantized already; an fp32 model is needed", model_path);
    ok = ok && dataset_load(source, &data, err) &&
         split_fits(&data.test, model.shape.widths[0], model.shape.widths[model.shape.layers], source, err) &&
         quantize_and_write(&model, &data, out, r, &notes, t, err);
    if (ok) provenance_dataset(p, &data);
    dataset_free(&data);
    model_free(&model);
    return ok;
}

int command_quantize(int argc, char **argv) {
    static const char *const columns[] = {"tensor", "scale", "zero_point", "lowest", "highest"};
    struct options o = {.command = argv[0], .arguments = "MODEL",
                        .what = "Calibrates an fp32 MODEL on training images and converts it to int8."};
    struct quantization_recipe recipe = quantization_defaults();
    const char *source = "data/mnist", *out = NULL;
    bool json = false;
    option_data(&o, &source, "folder with the four IDX files, or the built-in digits");
    option_text(&o, "out", "FILE", &out, "quantized model file to write (safetensors)");
    option_choice(&o, "scheme", &recipe.scheme, scheme_names, SCHEMES, "one weight scale per output row, or per layer");
    quantization_options(&o, &recipe);
    option_flag(&o, "json", &json, "print the activation scales as JSON");
    int status = options_parse(&o, argc, argv, 1, 1);
    if (status != OPTIONS_GO_ON) return status;
    if (!out) return usage_error(&o, "--out is missing: where should the quantized model go?");
    struct error err;
    struct table t;
    struct provenance p = {0};
    table_init(&t, "Activation scales of the int8 model", columns, 5);
    provenance_command(&p);
    bool ok = run(o.files[0], source, out, &recipe, &t, &p, &err);
    return report_table(&t, &p, json, ok, &err);
}
