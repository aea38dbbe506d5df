/* mnistq inspect: what is in a model file, and where every byte of it goes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/inspect.h"
#include "cli/options.h"
#include "lowbit/half.h"

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
    table_row(t, "%s | %s | %s | %zu | %.3f", what, dtype, shape, bytes, 100.0 * (double)bytes / (double)file_bytes);
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
    table_row(t, "%.*f | %.*f", real ? 8 : 0, lowest, real ? 8 : 0, highest);
}

static void fill(const struct st_file *file, struct table *t) {
    size_t tensor_bytes = 0;
    add_bytes(t, "length of the header", "U64", "", 8, file->file_bytes);
    table_row(t, " | ");
    add_bytes(t, "header", "JSON", "", file->header_bytes, file->file_bytes);
    table_row(t, " | ");
    for (size_t i = 0; i < file->tensor_count; i++) {
        add_tensor(t, file, &file->tensors[i]);
        tensor_bytes += file->tensors[i].bytes;
    }
    add_bytes(t, "whole file", "", "", 8 + file->header_bytes + tensor_bytes, file->file_bytes);
    table_row(t, " | ");
    for (size_t i = 0; i < file->metadata_count; i++)
        table_note(t, "%s: %s", file->metadata[i].key, file->metadata[i].text);
}

struct inspect_options {
    struct options o;
    const char *source, *results, *fp32, *picture;
    bool histogram, json;
};

/* --weights-png: whose rows have the pixels' places. Without --data the images are taken to be square. */
static int image_shape(const struct inspect_options *given, const struct model *model, const struct split *split,
                       int *rows, int *cols) {
    int inputs = model->shape.widths[0], side = (int)lround(sqrt(inputs));
    *rows = given->source ? split->rows : side;
    *cols = given->source ? split->cols : side;
    if (*rows * *cols == inputs && inputs <= 4096) return EXIT_DONE;
    return usage_error(&given->o,
                       "--weights-png: %d inputs are no square image of at most 4096 pixels: expected --data to "
                       "tell its rows",
                       inputs);
}

static int check_fp32(const struct inspect_options *given, const struct model *model, const struct model *fp32) {
    if (fp32->kind != MODEL_FP32 && !given->fp32)
        return usage_error(&given->o, "--weights-png: expected --fp32 MODEL to compare %s with", given->o.files[0]);
    if (fp32->kind != MODEL_FP32)
        return usage_error(&given->o, "--fp32 %s: expected a model in fp32, found \"%s\"", given->fp32,
                           arithmetic_name(fp32));
    return memcmp(&fp32->shape, &model->shape, sizeof fp32->shape) == 0
        ? EXIT_DONE
        : usage_error(&given->o, "--fp32 %s: its shape is not that of %s", given->fp32, given->o.files[0]);
}

/* What is read beside the file itself; which of it, the options tell. */
struct inspected {
    struct st_file *file;
    struct model model, fp32;
    struct dataset data;
};

/* EXIT_DONE, or the status to exit with, after saying what is wrong. */
static int load(const struct inspect_options *given, struct inspected *x) {
    struct error err; /* codes are walked by what the metadata say, so the file has to hold as a model first */
    if (!(x->file = aligned_array(1, sizeof *x->file, &err)) || !st_read(given->o.files[0], x->file, &err))
        return report_error(&err);
    if (!given->picture && !given->source && !given->fp32 && !given->histogram) return EXIT_DONE;
    if (!model_read(given->o.files[0], &x->model, NULL, &err) ||
        (given->fp32 && !model_read(given->fp32, &x->fp32, NULL, &err)))
        return report_error(&err);
    const struct mlp_shape *shape = &x->model.shape;
    if (given->source &&
        (!dataset_load(given->source, &x->data, &err) ||
         !split_fits(&x->data.test, shape->widths[0], shape->widths[shape->layers], given->source, &err)))
        return report_error(&err);
    return given->fp32 || given->picture ? check_fp32(given, &x->model, given->fp32 ? &x->fp32 : &x->model) : EXIT_DONE;
}

static int draw(const struct inspect_options *given, const struct inspected *x) {
    struct error err;
    int rows, cols, status = image_shape(given, &x->model, &x->data.test, &rows, &cols);
    if (status != EXIT_DONE) return status;
    const struct model *original = given->fp32 ? &x->fp32 : &x->model;
    bool ok = write_weights_picture(original, &x->model, rows, cols, given->picture, &err);
    return ok ? EXIT_DONE : report_error(&err);
}

static bool fill_histograms(const struct inspect_options *given, const struct inspected *x, struct table *t,
                            struct error *err) {
    struct origin origin = {&x->model, given->fp32 ? &x->fp32 : NULL};
    return fill_histogram(t, x->file, &origin, err) &&
        (!given->source || x->model.kind != MODEL_INT8 || fill_activation_histogram(t, &x->model, &x->data.test, err));
}

static int report(const struct inspect_options *given, const struct inspected *x, struct provenance *p) {
    static const char columns[] = "part dtype shape bytes percent lowest highest";
    struct error err;
    struct table t;
    char title[256];
    bool ok = true;
    if (given->source) provenance_dataset(p, &x->data);
    provenance_machine(p);
    snprintf(title, sizeof title, given->histogram ? "How %.150s, %zu bytes, uses its codes" : "%.200s, %zu bytes",
             given->o.files[0], x->file->file_bytes);
    if (given->histogram) {
        table_init(&t, title, histogram_columns);
        ok = fill_histograms(given, x, &t, &err);
    } else {
        table_init(&t, title, columns);
        fill(x->file, &t);
    }
    ok = ok && (!given->results || table_save(&t, p, given->results, "histogram", &err));
    return report_table(&t, given->histogram ? p : NULL, given->json, ok, &err);
}

static int run(const struct inspect_options *given, struct provenance *p) {
    struct inspected x = {0};
    int status = load(given, &x);
    if (status == EXIT_DONE && given->picture) status = draw(given, &x);
    if (status == EXIT_DONE) status = report(given, &x, p);
    if (x.file) st_free(x.file);
    free(x.file);
    dataset_free(&x.data);
    model_free(&x.model);
    model_free(&x.fp32);
    return status;
}

int command_inspect(int argc, char **argv) {
    struct inspect_options given = {
        .o = {.command = argv[0],
              .arguments = "FILE",
              .what = "Lists the tensors of a safetensors file and where every byte of it goes; or how its tensors use "
                      "their codes."}};
    option_flag(&given.o, "histogram", &given.histogram,
                "for each tensor: codes used, clipped, never used, entropy, a histogram");
    option_data(&given.o, &given.source, "with --histogram: also an integer model's activations on these test images");
    option_text(&given.o, "results", "DIR", &given.results, "with --histogram: write the table histogram there");
    option_out(&given.o, "weights-png", "FILE.png", &given.picture,
                "write layer 1's rows as pictures with their residuals, in int4 and int2 too");
    option_text(&given.o, "fp32", "MODEL", &given.fp32,
                "of --weights-png and --histogram: the network that FILE was made from");
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
    if (given.fp32 && !given.histogram && !given.picture)
        return usage_error(&given.o, "--fp32 goes with --histogram or --weights-png");
    struct provenance p = {0};
    provenance_command(&p);
    provenance_add(&p, "file", "%s", given.o.files[0]);
    return run(&given, &p);
}
