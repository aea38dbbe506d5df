/* mnistq inspect: what is in a model file, and where every byte of it goes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/commands.h"
#include "app/inspect.h"
#include "app/options.h"
#include "quant/half.h"

double tensor_element(const struct st_tensor *t, size_t i) {
    const unsigned char *at = (const unsigned char *)t->data + i * st_types[t->dtype].bytes;
    float f32;
    int32_t i32;
    uint16_t half;
    switch (t->dtype) {
    case ST_F32: memcpy(&f32, at, 4); return (double)f32;
    case ST_F16: memcpy(&half, at, 2); return (double)float_from_half(half);
    case ST_BF16: memcpy(&half, at, 2); return (double)float_from_bfloat(half);
    case ST_I32: memcpy(&i32, at, 4); return i32;
    case ST_I8: return (int8_t)*at;
    case ST_U8: return *at;
    default: return NAN;
    }
}

static void add_bytes(struct table *t, const char *what, const char *dtype, const char *shape, size_t bytes,
                      size_t file_bytes) {
    table_text(t, "%s", what);
    table_text(t, "%s", dtype);
    table_text(t, "%s", shape);
    table_integer(t, (long long)bytes);
    table_number(t, 100.0 * (double)bytes / (double)file_bytes, 3);
}

static void add_tensor(struct table *t, const struct st_file *file, const struct st_tensor *tensor) {
    char shape[ST_MAX_DIMENSIONS * 20 + 8] = "["; /* a size is up to 2^53: 16 digits */
    for (int d = 0; d < tensor->dimensions; d++) {
        size_t used = strlen(shape);
        snprintf(shape + used, sizeof shape - used, "%s%zu", d ? ", " : "", tensor->shape[d]);
    }
    strcat(shape, "]");
    add_bytes(t, tensor->name, st_types[tensor->dtype].name, shape, tensor->bytes, file->file_bytes);
    double lowest = INFINITY, highest = -INFINITY;
    for (size_t i = 0; i < tensor->elements; i++) {
        lowest = fmin(lowest, tensor_element(tensor, i));
        highest = fmax(highest, tensor_element(tensor, i));
    }
    bool real = tensor->dtype == ST_F32 || tensor->dtype == ST_F16 || tensor->dtype == ST_BF16;
    table_number(t, lowest, real ? 8 : 0);
    table_number(t, highest, real ? 8 : 0);
}

static void fill(const struct st_file *file, struct table *t) {
    size_t tensor_bytes = 0;
    add_bytes(t, "length of the header", "U64", "", 8, file->file_bytes);
    table_empty(t), table_empty(t);
    add_bytes(t, "header", "JSON", "", file->header_bytes, file->file_bytes);
    table_empty(t), table_empty(t);
    for (size_t i = 0; i < file->tensor_count; i++) {
        add_tensor(t, file, &file->tensors[i]);
        tensor_bytes += file->tensors[i].bytes;
    }
    add_bytes(t, "whole file", "", "", 8 + file->header_bytes + tensor_bytes, file->file_bytes);
    table_empty(t), table_empty(t);
    for (size_t i = 0; i < file->metadata_count; i++)
        table_note(t, "%s: %s", file->metadata[i].key, file->metadata[i].text);
}

struct inspect_options {
    struct options o;
    const char *source, *results, *fp32, *picture;
    bool histogram, json;
};

/* --weights-png: whose rows have the pixels' places. Without --data the images are taken to be square. */
static int image_shape(const struct inspect_options *given, const struct model *model, const struct split *split, int *rows,
                       int *cols) {
    int inputs = model->shape.widths[0], side = (int)lround(sqrt(inputs));
    *rows = given->source ? split->rows : side;
    *cols = given->source ? split->cols : side;
    if (*rows * *cols == inputs && inputs <= 4096) return EXIT_DONE;
    return usage_error(&given->o, "--weights-png: %d inputs are no square image of at most 4096 pixels: expected --data to tell its rows",
                       inputs);
}

static int check_fp32(const struct inspect_options *given, const struct model *model, const struct model *fp32) {
    if (fp32->kind != MODEL_FP32)
        return given->fp32 ? usage_error(&given->o, "--fp32 %s: expected a model in fp32, found \"%s\"", given->fp32, arithmetic_name(fp32))
                           : usage_error(&given->o, "--weights-png: expected --fp32 MODEL to compare %s with", given->o.files[0]);
    return memcmp(&fp32->shape, &model->shape, sizeof fp32->shape) == 0
               ? EXIT_DONE
               : usage_error(&given->o, "--fp32 %s: its shape is not that of %s", given->fp32, given->o.files[0]);
}

/* What needs the file as a model: activations on --data, and the picture. EXIT_DONE, or the status to exit with. */
static int look_at_model(const struct inspect_options *given, struct model *model, struct model *fp32, struct split *split,
                         struct table *t) {
    struct error err;
    int rows, cols, status = EXIT_DONE;
    if (!model_read(given->o.files[0], model, NULL, &err) || (given->fp32 && !model_read(given->fp32, fp32, NULL, &err)) ||
        (given->source && (!dataset_load_test(given->source, split, &err) ||
                           !split_fits(split, model->shape.widths[0], model->shape.widths[model->shape.layers], given->source, &err))))
        return report_error(&err);
    if (given->picture) {
        const struct model *original = given->fp32 ? fp32 : model;
        status = check_fp32(given, model, original);
        if (status == EXIT_DONE) status = image_shape(given, model, split, &rows, &cols);
        if (status == EXIT_DONE && !write_weights_picture(original, model, rows, cols, given->picture, &err)) status = report_error(&err);
    }
    if (status == EXIT_DONE && given->histogram && given->source && model->kind == MODEL_INT8 &&
        !fill_activation_histogram(t, model, split, &err))
        status = report_error(&err);
    return status;
}

static int run_models(const struct inspect_options *given, struct table *t) {
    struct model model = {0}, fp32 = {0};
    struct split split = {0};
    if (!given->picture && !given->source) return EXIT_DONE;
    int status = look_at_model(given, &model, &fp32, &split, t);
    split_free(&split);
    model_free(&model);
    model_free(&fp32);
    return status;
}

static int run(const struct inspect_options *given, const struct provenance *p) {
    static const char *const columns[] = {"part", "dtype", "shape", "bytes", "percent", "lowest", "highest"};
    struct error err;
    struct table t;
    char title[256];
    struct st_file *file = aligned_array(1, sizeof *file, &err);
    if (!file) return report_error(&err);
    bool ok = st_read(given->o.files[0], file, &err);
    if (ok) snprintf(title, sizeof title, "%.200s, %zu bytes", given->o.files[0], file->file_bytes);
    if (given->histogram) table_init(&t, title, histogram_columns, HISTOGRAM_COLUMNS);
    else table_init(&t, title, columns, 7);
    if (ok && given->histogram) ok = fill_histogram(&t, file, &err);
    else if (ok) fill(file, &t);
    st_free(file);
    free(file);
    int status = ok ? run_models(given, &t) : EXIT_DONE;
    if (status != EXIT_DONE) {
        table_free(&t);
        return status;
    }
    ok = ok && (!given->results || table_save(&t, p, given->results, "histogram", &err));
    return report_table(&t, given->histogram ? p : NULL, given->json, ok, &err);
}

int command_inspect(int argc, char **argv) {
    struct inspect_options given = {
        .o = {.command = argv[0], .arguments = "FILE",
              .what = "Lists the tensors of a safetensors file and where every byte of it goes; or how its tensors use their codes."}};
    option_flag(&given.o, "histogram", &given.histogram, "for each tensor: codes used, clipped, never used, entropy, a histogram");
    option_data(&given.o, &given.source, "with --histogram: also an integer model's activations on these test images");
    option_text(&given.o, "results", "DIR", &given.results, "with --histogram: write the table histogram there");
    option_text(&given.o, "weights-png", "FILE.png", &given.picture, "write layer 1's rows as pictures with their residuals, in int4 and int2 too");
    option_text(&given.o, "fp32", "MODEL", &given.fp32, "of --weights-png: the network that FILE was made from");
    bool cpu = false;
    option_flag(&given.o, "cpu", &cpu, "without FILE: the kernels, which this CPU runs, and which are taken");
    option_flag(&given.o, "json", &given.json, "print the list as JSON");
    int status = options_parse(&given.o, argc, argv, 0, 1);
    if (status != OPTIONS_GO_ON) return status;
    if (cpu && given.o.file_count == 0) return inspect_cpu(given.json);
    if (given.o.file_count != 1 || cpu) return usage_error(&given.o, cpu ? "--cpu takes no file" : "expected FILE");
    if (given.results && !given.histogram) return usage_error(&given.o, "--results goes with --histogram");
    if (given.source && !given.histogram && !given.picture)
        return usage_error(&given.o, "--data goes with --histogram or --weights-png");
    if (given.fp32 && !given.picture) return usage_error(&given.o, "--fp32 goes with --weights-png");
    struct provenance p = {0};
    provenance_command(&p);
    provenance_add(&p, "file", "%s", given.o.files[0]);
    return run(&given, &p);
}
