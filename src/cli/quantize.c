/* mnistq quantize: calibration and conversion to the integer engine, or to any other rung of the ladder. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/stats.h"
#include "cli/commands.h"
#include "cli/study.h"
#include "cli/recipe.h"

/* What was asked for. */
struct request {
    const char *model, *source, *out, *format, *method;
    size_t fp32_bytes; /* of model */
    bool told;         /* the file tells how activations were calibrated */
    struct rung rung;
    struct rung_recipe recipe;
    struct quantization_recipe calibration;
};

/* The formats with short names: the exercise's int8, one scale an output row or a layer, which has no method to tell;
 * and 4-bit weights in the same engine. */
static const char *full_format(const struct request *r) {
    if (strcmp(r->format, "int8") == 0) return r->calibration.scheme == SCHEME_PER_CHANNEL ? "int8/row" : "int8/tensor";
    return strcmp(r->format, "int4") == 0 ? "int4/row" : r->format;
}

static bool resolve(struct request *r) {
    bool int8 = strcmp(r->format, "int8") == 0, int4 = strcmp(r->format, "int4") == 0;
    const char *format = full_format(r), *method = r->method;
    if (int4 && !method) method = "w4a8-gptq";
    if (int4 && !r->recipe.images) r->recipe.images = r->calibration.calibration;
    const struct rung *found = rung_find(format, method, &r->recipe.group);
    if (!found) return false;
    r->rung = *found;
    if (int8 && !method) r->rung.method = "";
    struct quantization_recipe usual = quantization_defaults(), *c = &r->calibration;
    r->told = int8 || int4 || c->observer != usual.observer || c->activations != usual.activations ||
        c->calibration != usual.calibration;
    return true;
}

/* As it is typed: "q4_K+q6_K" needs no quotes. */
static void type_format(const struct rung *rung, char format[64]) {
    rung_format(rung, 56, format, 64);
    char *to = format;
    for (const char *from = format; *from; from++)
        if (*from != ' ') *to++ = *from;
    *to = 0;
}

static void list_rungs(struct table *t) {
    char format[64];
    for (const struct rung *r = rungs; r < rungs + rung_count; r++) {
        type_format(r, format);
        table_row(t, "%s | %s | %s", format, r->option, r->method);
    }
    table_note(t,
               "The first method of a format is its default; in place of 56, any group that divides a layer's inputs. "
               "int8 is int8/row, or int8/tensor with --scheme per-tensor; int4 is int4/row by w4a8-gptq.");
}

/* Of an integer model, what its codes stand for. */
static void add_scales(const struct qmlp *q, struct table *t) {
    table_init(t, "Activation scales of the quantized model", "tensor scale zero_point lowest highest");
    for (int i = 0; i <= q->shape.layers; i++) {
        struct qparams p = q->activation[i];
        if (i < q->shape.layers) table_row(t, "input of fc%d", i + 1);
        else table_row(t, "output");
        table_row(t, "%.8f | %d | %.4f | %.4f", p.scale, p.zero_point, dequantize(p.qmin, p), dequantize(p.qmax, p));
    }
}

/* Of any other model, how far its weights moved; effective: as in struct rung_made. */
static bool add_weights(const struct model *model, const struct mlp *fp32, const struct mlp *effective, struct table *t,
                        struct error *err) {
    struct mlp there;
    if (!model_as_mlp(model, &there, err)) return false;
    table_init(t, "Weights of the quantized model", "layer inputs outputs weight_sqnr_db");
    for (int i = 0; i < fp32->shape.layers; i++) {
        const struct dense *a = &fp32->layer[i], *b = effective->shape.layers ? &effective->layer[i] : &there.layer[i];
        table_row(t, "fc%d | %d | %d | %.1f", i + 1, a->in, a->out,
                  sqnr_db(a->weight, b->weight, (size_t)a->in * (size_t)a->out));
    }
    mlp_free(&there);
    return true;
}

/* Reads the file back and says what it is. */
static bool report(const struct request *r, const struct rung_source *s, const struct rung_made *made, struct table *t,
                   struct error *err) {
    struct model model;
    struct stat file;
    if (strcmp(r->out, "-") == 0 || (stat(r->out, &file) == 0 && !S_ISREG(file.st_mode))) { /* cannot be read back */
        table_init(t, "The quantized model", "written_to");
        table_row(t, "%s", r->out);
        return true;
    }
    if (!model_read(r->out, &model, NULL, err)) return false;
    bool ok = true;
    size_t before = r->fp32_bytes, after = model.file_bytes; /* of what was read: others may write there meanwhile */
    if (model.kind == MODEL_INT8) add_scales(&model.qmlp, t);
    else ok = add_weights(&model, s->fp32, &made->effective, t, err);
    if (ok)
        table_note(
            t,
            "Written to %s: %zu bytes, %.2f times smaller than the %zu of fp32; %.3f bits per weight; arithmetic: %s.",
            r->out, after, (double)before / (double)after, before, model.bits_per_weight, arithmetic_name(&model));
    if (r->rung.how == METHOD_GPTQ || r->rung.how == METHOD_GPTQ_ACT_ORDER) note_gptq_rank(t, s);
    if (made->saturated)
        table_note(t,
                   "%zu biases are beyond the 2^30 steps that the engine takes, and were cut: those outputs are wrong.",
                   made->saturated);
    model_free(&model);
    return ok;
}

static bool quantize_to_file(struct request *r, const struct mlp *mlp, struct model_notes *notes,
                             const struct dataset *data, double started, struct table *t, struct error *err) {
    struct training_recipe training = training_defaults();
    struct rung_source source;
    struct rung_made made;
    double read = seconds_now();
    if (notes->seed[0]) training.seed = strtoull(notes->seed, NULL, 10); /* QAT's, as in the model's own ladder */
    if (r->told) describe_quantization(&r->calibration, notes);
    rung_recipe_fit(&r->recipe, &mlp->shape, &data->train);
    if (!rung_source_create(data, mlp, notes, &r->recipe, &r->calibration, &training, &source, err)) return false;
    double calibrated = seconds_now();
    bool ok = rung_make_shown(&source, &r->rung, r->out, &made, err);
    double made_at = seconds_now();
    ok = ok && report(r, &source, &made, t, err);
    if (ok)
        table_note(t, "%.2f s: %.2f to read model and data, %.2f to calibrate, %.2f to quantize and write.",
                   made_at - started, read - started, calibrated - read, made_at - calibrated);
    mlp_free(&made.effective);
    rung_source_free(&source);
    return ok;
}

static bool run(struct request *r, struct table *t, struct provenance *p, struct error *err) {
    struct model model;
    struct model_notes notes;
    struct dataset data = {0};
    double started = seconds_now();
    if (!out_file_check(r->out, err) || !model_read(r->model, &model, &notes, err)) return false;
    r->fp32_bytes = model.file_bytes;
    bool ok = model.kind == MODEL_FP32 || fail(err, "%s: is quantized already; an fp32 model is needed", r->model);
    ok = ok && dataset_load(r->source, &data, err) &&
        split_fits(&data.test, model.shape.widths[0], model.shape.widths[model.shape.layers], r->source, err) &&
        quantize_to_file(r, &model.mlp, &notes, &data, started, t, err);
    if (ok) provenance_dataset(p, &data);
    dataset_free(&data);
    model_free(&model);
    return ok;
}

/* A format that is not there, or one that is, with a method that it has not. */
static int no_rung(const struct options *o, const struct request *r) {
    static char names[128][64]; /* of formats, as they are typed */
    const char *meant = NULL;
    int group = r->recipe.group;
    const struct rung *known = rung_find(full_format(r), NULL, &group);
    for (int i = 0; i < rung_count && i < 128; i++) {
        type_format(&rungs[i], names[i]);
        if (!known) meant = likelier(r->format, names[i], meant);
        else if (strcmp(rungs[i].format, known->format) == 0) meant = likelier(r->method, rungs[i].option, meant);
    }
    return known ? no_such(o, "--method", "method of this format", r->method, meant, "--format list names them")
                 : no_such(o, "--format", "format", r->format, meant, "--format list names them all");
}

int command_quantize(int argc, char **argv) {
    struct options o = {
        .command = argv[0],
        .arguments = "MODEL",
        .what = "Calibrates an fp32 MODEL on training images and converts it to integers, or to another rung of the "
                "ladder.",
        .examples = "mnistq quantize fp32.safetensors --out int8.safetensors\n"
                    "mnistq quantize fp32.safetensors --format int4/56 --method gptq --out q.st\n"
                    "mnistq quantize --format list"};
    struct request r = {
        .source = "data/mnist", .format = "int8", .recipe = rung_defaults(), .calibration = quantization_defaults()};
    bool json = false;
    option_data(&o, &r.source, "folder with the four IDX files, or the built-in digits");
    option_out_bytes(&o, "out", "FILE", &r.out, "quantized model file to write (safetensors)");
    option_text(&o, "format", "NAME", &r.format,
                "int8; int4: 4-bit weights by GPTQ, 8-bit activations; bf16; int4/56, q4_K, ...; list: names them all");
    option_text(&o, "method", "NAME", &r.method,
                "how the codes of a format are chosen: rtn, gptq, awq, qat, ...; "
                "--format list names them");
    option_choice(&o, "scheme", &r.calibration.scheme, scheme_names, SCHEMES,
                  "int8: one weight scale per output row, or per layer");
    quantization_options(&o, &r.calibration);
    rung_options(&o, &r.recipe);
    option_flag(&o, "json", &json, "print the activation scales as JSON");
    int status = options_parse(&o, argc, argv, 0, 1);
    if (status != OPTIONS_GO_ON) return status;
    struct error err;
    struct table t = {0};
    struct provenance p = {0};
    provenance_command(&p);
    if (strcmp(r.format, "list") == 0) {
        table_init(&t, "Formats and methods of quantize", "format method name_in_the_ladder");
        list_rungs(&t);
        return report_table(&t, &p, json, true, &err);
    }
    if (o.file_count == 0) return usage_error(&o, "expected MODEL");
    if (!r.out) return usage_error(&o, "--out is missing: where should the quantized model go?");
    if (strcmp(r.format, "int8") != 0 && r.calibration.scheme != SCHEME_PER_CHANNEL)
        return usage_error(&o, "--scheme per-tensor goes with --format int8");
    if (!resolve(&r)) return no_rung(&o, &r);
    r.model = o.files[0];
    return report_table(&t, &p, json, run(&r, &t, &p, &err), &err);
}
