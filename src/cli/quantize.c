/* mnistq quantize: calibration and conversion to the integer engine, or to bf16. The other precisions: mnistq ladder.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/recipe.h"
#include "cli/report.h"
#include "base/file.h"

static void add_rows(const struct qmlp *q, struct table *t) {
    for (int i = 0; i <= q->shape.layers; i++) {
        if (i < q->shape.layers) table_row(t, "input of fc%d", i + 1);
        else table_row(t, "output");
        struct qparams p = q->activation[i];
        table_row(t, "%.8f | %d | %.4f | %.4f", p.scale, p.zero_point, dequantize(p.qmin, p), dequantize(p.qmax, p));
    }
}

enum target { TARGET_INT8, TARGET_INT4, TARGET_BF16, TARGETS };
static const char *const target_names[TARGETS] = {"int8", "int4", "bf16"};

/* What was asked for. */
struct request {
    const char *model, *source, *out;
    int target;
    struct quantization_recipe recipe;
};

/* W4A8: codes by GPTQ, one grid a row, in the integer engine. */
static bool make_int4(const struct mlp *mlp, const struct split *train, const struct quantization_recipe *r,
                      struct qmlp *out, size_t *saturated, struct error *err) {
    struct coding_config config = {
        .format = format_find("int4"), .block = CODEC_ROW, .method = METHOD_GPTQ, .rule = GRID_MINMAX, .damping = 0.01};
    struct coded_matrix codes[MLP_MAX_LAYERS] = {{0}};
    struct range ranges[MLP_MAX_LAYERS + 1];
    uint8_t *images = calibration_images(train, r->calibration, err);
    bool ok = images && calibrate_model(mlp, train, r, ranges, err) &&
        weight_only_codes(mlp, images, (size_t)r->calibration, &config, codes, err) &&
        convert_codes(mlp, codes, ranges, r->activations == 1, out, saturated, err);
    for (int i = 0; i < MLP_MAX_LAYERS; i++) coded_matrix_free(&codes[i]);
    free(images);
    return ok;
}

static bool write_integer(const struct request *r, const struct mlp *mlp, const struct split *train,
                          struct model_notes *notes, struct table *t, struct error *err) {
    struct qmlp q;
    size_t saturated;
    bool four = r->target == TARGET_INT4;
    if (!(four ? make_int4 : quantize_model)(mlp, train, &r->recipe, &q, &saturated, err)) return false;
    describe_quantization(&r->recipe, notes);
    notes->weight_bits = four ? 4 : 8;
    if (four) snprintf(notes->method, sizeof notes->method, "W4A8, GPTQ");
    add_rows(&q, t);
    for (int i = 0; four && i < mlp->shape.layers; i++)
        if (r->recipe.calibration < mlp->shape.widths[i])
            table_note(t,
                       "Warning: %d images for the %d inputs of fc%d: GPTQ's Hessian has not full rank and rests on "
                       "its damping.",
                       r->recipe.calibration, mlp->shape.widths[i], i + 1);
    if (saturated)
        table_note(t,
                   "%zu biases are beyond the 2^30 steps that the engine takes, and were cut: those outputs are wrong.",
                   saturated);
    bool ok = model_write_qmlp(r->out, &q, notes, err);
    qmlp_free(&q);
    return ok;
}

/* Only the weights change: there is nothing to calibrate. */
static bool write_bf16(const struct request *r, const struct mlp *mlp, struct model_notes *notes, struct table *t,
                       struct error *err) {
    struct coding_config config = {.format = format_find("bf16"), .method = METHOD_RTN};
    struct weight_only coded;
    if (!weight_only_encode(mlp, NULL, 0, &config, &coded, NULL, err)) return false;
    snprintf(notes->method, sizeof notes->method, "round to nearest");
    table_note(t, "bf16: the weights were rounded to 16 bits; activations have no scales.");
    bool ok = model_write_coded(r->out, &coded, notes, err);
    weight_only_free(&coded);
    return ok;
}

static bool run(const struct request *r, struct table *t, struct provenance *p, struct error *err) {
    struct model model;
    struct model_notes notes;
    struct dataset data = {0};
    if (!out_file_check(r->out, err) || !model_read(r->model, &model, &notes, err)) return false;
    bool ok = model.kind == MODEL_FP32 || fail(err, "%s: is quantized already; an fp32 model is needed", r->model);
    ok = ok && dataset_load(r->source, &data, err) &&
        split_fits(&data.test, model.shape.widths[0], model.shape.widths[model.shape.layers], r->source, err) &&
        (r->target == TARGET_BF16 ? write_bf16(r, &model.mlp, &notes, t, err)
                                  : write_integer(r, &model.mlp, &data.train, &notes, t, err));
    if (ok) provenance_dataset(p, &data);
    dataset_free(&data);
    model_free(&model);
    return ok;
}

int command_quantize(int argc, char **argv) {
    static const char columns[] = "tensor scale zero_point lowest highest";
    struct options o = {.command = argv[0],
                        .arguments = "MODEL",
                        .what = "Calibrates an fp32 MODEL on training images and converts it to integers."};
    struct request r = {.source = "data/mnist", .recipe = quantization_defaults()};
    bool json = false;
    option_data(&o, &r.source, "folder with the four IDX files, or the built-in digits");
    option_out(&o, "out", "FILE", &r.out, "quantized model file to write (safetensors)");
    option_choice(&o, "format", &r.target, target_names, TARGETS,
                  "int8; int4: 4-bit weights by GPTQ, 8-bit activations; bf16: only the weights, nothing to calibrate");
    option_choice(&o, "scheme", &r.recipe.scheme, scheme_names, SCHEMES,
                  "int8: one weight scale per output row, or per layer");
    quantization_options(&o, &r.recipe);
    option_flag(&o, "json", &json, "print the activation scales as JSON");
    int status = options_parse(&o, argc, argv, 1, 1);
    if (status != OPTIONS_GO_ON) return status;
    if (!r.out) return usage_error(&o, "--out is missing: where should the quantized model go?");
    if (r.target != TARGET_INT8 && r.recipe.scheme != SCHEME_PER_CHANNEL)
        return usage_error(&o, "--scheme per-tensor goes with --format int8");
    struct error err;
    struct table t;
    struct provenance p = {0};
    r.model = o.files[0];
    table_init(&t, "Activation scales of the quantized model", columns);
    provenance_command(&p);
    bool ok = run(&r, &t, &p, &err);
    return report_table(&t, &p, json, ok, &err);
}
