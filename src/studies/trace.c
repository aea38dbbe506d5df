/* mnistq trace: one image, one path, every number. */
#include "studies/trace.h"

#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/options.h"
#include "base/file.h"

struct trace_options {
    struct options o;
    const char *source, *fp32, *neuron, *key, *results;
    int image, row;
    bool worksheet, json;
};

/* "L:J" -> layer L - 1 and neuron J of the model's; false when it is no such neuron. */
static bool parse_neuron(const char *text, const struct mlp_shape *shape, int *layer, int *neuron) {
    char more;
    if (sscanf(text, "%9d:%9d%c", layer, neuron, &more) != 2) return false;
    *layer -= 1;
    return *layer >= 0 && *layer < shape->layers && *neuron >= 0 && *neuron < shape->widths[*layer + 1];
}

/* What cannot be known before the files are read. EXIT_DONE, or EXIT_USAGE after saying what is wrong. */
static int check(const struct trace_options *given, const struct model *model, const struct model *fp32,
                 const struct split *test, int *layer, int *neuron) {
    const char *path = given->o.files[0];
    if (model->kind != MODEL_INT8)
        return usage_error(&given->o, "%s: expected a model that runs in integers, found \"%s\"", path,
                           arithmetic_name(model));
    if (given->fp32 && fp32->kind != MODEL_FP32 && fp32->kind != MODEL_WEIGHT_ONLY)
        return usage_error(&given->o, "--fp32 %s: expected a model in fp32, found \"%s\"", given->fp32,
                           arithmetic_name(fp32));
    if (given->fp32 && memcmp(&model->shape, &fp32->shape, sizeof model->shape) != 0)
        return usage_error(&given->o, "--fp32 %s: its shape is not that of %s", given->fp32, path);
    if ((size_t)given->image >= test->count)
        return usage_error(&given->o, "--image %d: expected 0 to %zu, the test images of %s", given->image,
                           test->count - 1, given->source);
    if (given->row >= test->rows)
        return usage_error(&given->o, "--row %d: expected 0 to %d, the rows of an image", given->row, test->rows - 1);
    if (given->neuron && !parse_neuron(given->neuron, &model->shape, layer, neuron)) {
        char shape[128];
        mlp_shape_print(&model->shape, shape, sizeof shape);
        return usage_error(&given->o,
                           "--neuron %s: expected LAYER:NEURON of %s, layers from 1, neurons from 0, such as 1:0",
                           given->neuron, shape);
    }
    return EXIT_DONE;
}

/* The page, or the worksheet and its key, to files in folder. */
static bool save_page(const struct trace *t, const struct trace_page *page, bool worksheet, const char *folder,
                      struct error *err) {
    struct out_file out, key;
    char path[4096];
    snprintf(path, sizeof path, "%.3900s/%s.txt", folder, worksheet ? "worksheet" : "trace");
    if (!folder_create(folder, err) || !out_file_open(&out, path, err)) return false;
    snprintf(path, sizeof path, "%.3900s/worksheet-key.txt", folder);
    if (worksheet && !out_file_open(&key, path, err)) {
        out_file_discard(&out);
        return false;
    }
    trace_print(t, page, out.stream, worksheet ? key.stream : NULL);
    bool ok = out_file_commit(&out, err);
    if (worksheet && ok) ok = out_file_commit(&key, err);
    else if (worksheet) out_file_discard(&key);
    return ok;
}

/* The worksheet on the terminal; its key in a file, or below where it can be cut off. */
static bool print_worksheet(const struct trace *t, const struct trace_page *page, const char *key_path,
                            struct error *err) {
    char *key = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&key, &size);
    struct out_file out;
    if (!stream) return fail(err, "out of memory");
    trace_print(t, page, stdout, stream);
    bool ok = (fclose(stream) == 0 && key) || fail(err, "out of memory");
    if (ok && key_path) {
        ok = out_file_open(&out, key_path, err);
        if (ok) fputs(key, out.stream);
        ok = ok && out_file_commit(&out, err);
    } else if (ok) {
        printf("\n8< - - - - - - - - - - - - - - - - - - cut here, keep the key - - - - - - - - - - - - - - - - - - "
               "-\n\n%s",
               key);
    }
    free(key);
    return ok;
}

static bool report(const struct trace *t, const struct trace_options *given, const struct dataset *data,
                   struct provenance *p, struct error *err) {
    struct trace_page page = {given->o.files[0], given->fp32, data->name, p->facts[0].value, given->row};
    struct table table;
    table_init(&table, "One image, one path, every number", trace_columns);
    fill_trace(&table, t);
    provenance_dataset(p, data);
    bool ok = true;
    if (given->results)
        ok = save_page(t, &page, given->worksheet, given->results, err) &&
            (given->worksheet || table_save(&table, p, given->results, "trace", err));
    if (ok && given->json) ok = table_print_json(&table, p, stdout, err);
    else if (ok && given->worksheet) ok = print_worksheet(t, &page, given->key, err);
    else if (ok) trace_print(t, &page, stdout, NULL);
    table_free(&table);
    return ok;
}

static int run(const struct trace_options *given, struct provenance *p) {
    struct model model = {0}, fp32 = {0};
    struct dataset data = {0};
    struct trace t = {0};
    struct error err;
    const struct mlp_shape *shape = &model.shape;
    int layer = -1, neuron = 0, status = EXIT_FAILED;
    bool ok = model_read(given->o.files[0], &model, NULL, &err) &&
        (!given->fp32 || model_read(given->fp32, &fp32, NULL, &err)) && dataset_load(given->source, &data, &err);
    if (ok) {
        status = check(given, &model, &fp32, &data.test, &layer, &neuron);
        if (status == EXIT_DONE)
            ok = split_fits(&data.test, shape->widths[0], shape->widths[shape->layers], given->source, &err) &&
                trace_make(&model.qmlp, given->fp32 ? &fp32.mlp : NULL, &data.test, (size_t)given->image, layer, neuron,
                           &t, &err) &&
                report(&t, given, &data, p, &err);
    }
    if (!ok) status = report_error(&err);
    trace_free(&t);
    dataset_free(&data);
    model_free(&model);
    model_free(&fp32);
    return status;
}

int command_trace(int argc, char **argv) {
    struct trace_options given = {
        .o = {.command = argv[0],
              .arguments = "QMODEL",
              .what = "Follows one test image through the integer engine, along one neuron of each layer: byte, code,\n"
                      "product, sum, bias, multiplier, rounding, code, down to the logit. Without\n"
                      "--neuron, the path of the winning logit."},
        .source = "data/mnist",
        .row = -1};
    option_int(&given.o, "image", &given.image, 0, 10000000, "which test image, from 0");
    option_text(&given.o, "neuron", "L:J", &given.neuron,
                "lead the path through neuron J of layer L; layers from 1, neurons from 0");
    option_int(&given.o, "row", &given.row, -1, 4095, "the pixel row shown in full; -1: the one that adds most");
    option_text(&given.o, "fp32", "MODEL", &given.fp32, "show what this fp32 model has for each number");
    option_data(&given.o, &given.source, "folder with the four IDX files, or the built-in digits");
    option_flag(&given.o, "worksheet", &given.worksheet,
                "leave blanks for a class; the key is printed below, or goes to --key");
    option_text(&given.o, "key", "FILE", &given.key, "of --worksheet: where the answers go");
    option_text(&given.o, "results", "DIR", &given.results,
                "also write trace.txt, .md and .csv there, or worksheet.txt and worksheet-key.txt");
    option_flag(&given.o, "json", &given.json, "print every number as JSON");
    int status = options_parse(&given.o, argc, argv, 1, 1);
    if (status != OPTIONS_GO_ON) return status;
    if (given.key && !given.worksheet) return usage_error(&given.o, "--key goes with --worksheet");
    if (given.json && given.worksheet) return usage_error(&given.o, "--json or --worksheet, not both");
    struct provenance p = {0};
    provenance_command(&p);
    return run(&given, &p);
}
