/* mnistq inspect: what is in a model file, and where every byte of it goes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/finite.h"
#include "cli/canvas.h"
#include "cli/commands.h"
#include "cli/inspect_histogram.h"
#include "cli/report.h"
#include "cli/study.h"
#include "model/gguf.h"
#include "data/picture.h"

/* ---- the tensors of a file -------------------------------------------------------------------------------------- */

/* A part of the file; lowest and highest: of its elements, NAN where it has none. */
static void add_part(struct table *t, const struct st_file *file, const char *what, const char *dtype,
                     const char *shape, size_t bytes, int digits, double lowest, double highest) {
    table_row(t, "%s | %s | %s | %zu | %.3f | %.*f | %.*f", what, dtype, shape, bytes,
              100.0 * (double)bytes / (double)file->file_bytes, digits, lowest, digits, highest);
}

static void add_tensor(struct table *t, const struct st_file *file, const struct st_tensor *tensor) {
    char shape[ST_MAX_DIMENSIONS * 20 + 8] = "["; /* a size is up to 2^53: 16 digits */
    for (int d = 0; d < tensor->dimensions; d++) {
        size_t used = strlen(shape);
        snprintf(shape + used, sizeof shape - used, "%s%zu", d ? ", " : "", tensor->shape[d]);
    }
    strcat(shape, "]");
    double lowest = INFINITY, highest = -INFINITY;
    for (size_t i = 0; i < tensor->elements; i++) {
        lowest = fmin(lowest, tensor_element(tensor, i));
        highest = fmax(highest, tensor_element(tensor, i));
    }
    int digits = tensor->dtype == ST_F32 || tensor->dtype == ST_F64 || tensor->dtype == ST_F16 ||
            tensor->dtype == ST_BF16
        ? 8
        : 0;
    add_part(t, file, tensor->name, st_types[tensor->dtype].name, shape, tensor->bytes, digits, lowest, highest);
}

static void fill_list(struct table *t, const struct st_file *file) {
    size_t total = 8 + file->header_bytes;
    if (gguf_is(file->bytes, file->file_bytes)) add_part(t, file, "header", "GGUF", "", total, 0, NAN, NAN);
    else {
        add_part(t, file, "length of the header", "U64", "", 8, 0, NAN, NAN);
        add_part(t, file, "header", "JSON", "", file->header_bytes, 0, NAN, NAN);
    }
    for (size_t i = 0; i < file->tensor_count; i++) {
        add_tensor(t, file, &file->tensors[i]);
        total += file->tensors[i].bytes;
    }
    if (total < file->file_bytes)
        add_part(t, file, "alignment", "", "", file->file_bytes - total, 0, NAN, NAN); /* of GGUF */
    add_part(t, file, "whole file", "", "", file->file_bytes, 0, NAN, NAN);
    for (size_t i = 0; i < file->metadata_count; i++)
        table_note(t, "%s: %s", file->metadata[i].key, file->metadata[i].text);
}

/* ---- the kernels ------------------------------------------------------------------------------------------------ */

static void add_kernel(struct table *t, const char *name, const char *what, bool supported, bool taken) {
    table_row(t, "%s | %s | %s | %s", name, what, supported ? "runs it" : "does not", taken ? "taken" : "");
}

static bool show_kernels(struct study *s) {
    struct table *t = study_table(s, "cpu", "Kernels of integer, bf16 and fp32 models, the fastest first of each",
                                  "kernel what this_cpu taken");
    const struct bf16_kernel *bf16 = bf16_kernel_best();
    for (int i = 0; qkernels[i]; i++)
        add_kernel(t, qkernels[i]->name, qkernels[i]->what, qkernels[i]->supported(), qkernels[i] == qkernel_best());
    for (int i = 0; bf16_kernels[i]; i++)
        add_kernel(t, bf16_kernels[i]->name, bf16_kernels[i]->what, bf16_kernels[i]->supported(),
                   bf16_kernels[i] == bf16);
    for (int i = 0; fp32_kernels[i]; i++) {
        const struct fp32_kernel *k = fp32_kernels[i];
        char name[32];
        snprintf(name, sizeof name, "fp32 %s", k->name);
        add_kernel(t, name, k->what, k->supported(), k == fp32_kernel_best());
    }
    table_note(t, "bf16 models: %s.", bf16 ? "bf16 products, fp32 sums" : "fp32 after decode");
    for (size_t i = 1; i < s->provenance.count; i++) /* all but the command */
        table_note(t, "%s: %s", s->provenance.facts[i].name, s->provenance.facts[i].value);
    return true;
}

/* ---- weights.png: what quantization does to the first layer, where every weight has its place in the image ------ */

enum { NEURONS = 8, COLUMNS = 7, LABEL = 72, TEXT = 640, ZERO = 128, TOP = CANVAS_MARGIN + 3 * CANVAS_LINE };

struct weights_page {
    struct canvas canvas;
    int out, in, rows, cols, zoom;
    int count;              /* rows of pictures: neurons, evenly over the layer; fewer of high images */
    int columns;            /* COLUMNS, or fewer of wide images */
    float *fp32, *version;  /* [out][in] */
    double *shown;          /* [count][in]: the column being drawn */
    double absmax[NEURONS]; /* of fp32's rows */
};

static int neuron_at(const struct weights_page *p, int i) { return i * p->out / p->count; }
static int top_of(const struct weights_page *p, int i) { return TOP + i * (p->rows * p->zoom + CANVAS_MARGIN); }

/* What is shown, times gain, as gray: 0 is mid gray, the row's absmax in fp32 black or white. */
static void draw_column(struct weights_page *p, int column, const char *name, double gain) {
    uint8_t gray[4096]; /* [rows][cols] */
    int x = LABEL + column * (p->cols * p->zoom + CANVAS_MARGIN);
    canvas_text(&p->canvas, x, CANVAS_MARGIN + CANVAS_LINE + 4, name);
    for (int i = 0; i < p->count; i++) {
        for (int k = 0; k < p->in; k++) {
            double w = p->shown[i * p->in + k] * gain;
            double level = p->absmax[i] > 0 ? ZERO + 127 * w / p->absmax[i] : ZERO;
            gray[k] = (uint8_t)rint(fmax(0, fmin(255, level)));
        }
        canvas_image(&p->canvas, gray, p->rows, p->cols, p->zoom, x, top_of(p, i));
    }
}

/* Takes the shown rows of weights, less those of other (NULL: nothing), into p->shown. Returns how much they can be
 * enlarged before one of them passes its row's absmax; 1 when all are 0. */
static double take_rows(struct weights_page *p, const float *weights, const float *other) {
    double gain = INFINITY;
    for (int i = 0; i < p->count; i++) {
        double worst = 0;
        for (int k = 0; k < p->in; k++) {
            size_t at = (size_t)neuron_at(p, i) * (size_t)p->in + (size_t)k;
            double w = (double)weights[at] - (other ? (double)other[at] : 0);
            p->shown[i * p->in + k] = w;
            worst = fmax(worst, fabs(w));
        }
        if (worst > 0) gain = fmin(gain, p->absmax[i] / worst);
    }
    return is_finite(gain) ? gain : 1;
}

static void draw_labels(struct weights_page *p) {
    char text[64];
    canvas_text(&p->canvas, CANVAS_MARGIN, CANVAS_MARGIN,
                "fc1: 0 is gray, a row's largest weight white or black. Residual: less fp32, enlarged; shapes in it "
                "are what got lost");
    for (int i = 0; i < p->count; i++) {
        const float *row = p->fp32 + (size_t)neuron_at(p, i) * (size_t)p->in;
        p->absmax[i] = (double)absolute_maximum(row, (size_t)p->in);
        snprintf(text, sizeof text, "neuron %d", neuron_at(p, i));
        canvas_text(&p->canvas, CANVAS_MARGIN, top_of(p, i), text);
        snprintf(text, sizeof text, "max %.3f", p->absmax[i]);
        canvas_text(&p->canvas, CANVAS_MARGIN, top_of(p, i) + CANVAS_LINE, text);
    }
}

/* fp32, then three versions of the weights, each followed by its residual. */
static bool draw_page(struct weights_page *p, const struct model *fp32, const struct model *model, struct error *err) {
    static const char *const formats[] = {"fp32", "int8", "int4", "int2"};
    model_weights(fp32, 0, p->fp32);
    draw_labels(p);
    take_rows(p, p->fp32, NULL);
    draw_column(p, 0, formats[0], 1);
    for (int i = 1; 2 * i < p->columns; i++) {
        char text[64];
        struct codec codec = {format_find(formats[i]), CODEC_ROW};
        snprintf(text, sizeof text, "%s", formats[i]);
        if (i == 1 && model->kind != MODEL_FP32) {
            model_weights(model, 0, p->version);
            snprintf(text, sizeof text, "file: %.2f bits", model->bits_per_weight);
        } else {
            uint8_t *bytes = aligned_array(codec_bytes(codec, p->out, p->in), 1, err);
            if (!bytes) return false;
            codec_encode(codec, p->fp32, NULL, p->out, p->in, bytes);
            codec_decode(codec, bytes, p->out, p->in, p->version);
            free(bytes);
        }
        take_rows(p, p->version, NULL);
        draw_column(p, 2 * i - 1, text, 1);
        double gain = take_rows(p, p->version, p->fp32);
        snprintf(text, sizeof text, "residual x%.*f", gain < 10, gain);
        draw_column(p, 2 * i, text, gain);
    }
    return true;
}

/* Layer 1's rows as pictures [rows][cols]: fp32's, the model's and its residual, int4's and int2's (round to nearest,
 * one scale a row) and theirs, as far as they fit. An fp32 model, whose own residual would be 0, is shown in int8.
 * Errors: out of memory, a file that cannot be written. */
static bool write_weights_picture(const struct model *fp32, const struct model *model, int rows, int cols,
                                  const char *path, struct error *err) {
    struct weights_page p = {.in = fp32->shape.widths[0], .out = fp32->shape.widths[1], .rows = rows, .cols = cols};
    size_t weights = (size_t)p.in * (size_t)p.out;
    p.zoom = cols <= 32 && rows <= 32 ? 3 : cols <= 64 && rows <= 64 ? 2 : 1;
    int most = (PICTURE_MAX_SIDE - TOP) / (rows * p.zoom + CANVAS_MARGIN); /* three of the largest images */
    p.count = p.out < NEURONS ? p.out : NEURONS;
    if (p.count > most) p.count = most;
    p.columns = COLUMNS;
    while (LABEL + p.columns * (cols * p.zoom + CANVAS_MARGIN) > PICTURE_MAX_SIDE) p.columns -= 2;
    int width = p.columns * (cols * p.zoom + CANVAS_MARGIN);
    bool ok = (p.fp32 = aligned_array(weights, sizeof(float), err)) &&
        (p.version = aligned_array(weights, sizeof(float), err)) &&
        (p.shown = aligned_array((size_t)(p.count * p.in), sizeof(double), err)) &&
        canvas_create(LABEL + (width > TEXT ? width : TEXT), top_of(&p, p.count), &p.canvas, err) &&
        draw_page(&p, fp32, model, err);
    ok = canvas_write(&p.canvas, ok ? path : NULL, err) && ok;
    free(p.fp32);
    free(p.version);
    free(p.shown);
    return ok;
}

/* ---- the command ------------------------------------------------------------------------------------------------ */

struct inspected {
    const char *fp32_path, *picture;
    bool histogram, cpu;
    struct st_file *file;
    struct model model, fp32; /* the file as a model, where codes are walked; --fp32's */
    char title[256];
};

static bool load(struct study *s, struct inspected *x) {
    const char *path = s->options.files[0];
    struct model_notes notes;
    if (!(x->file = aligned_array(1, sizeof *x->file, &s->err)) || !st_read(path, x->file, &s->err)) return false;
    if (!x->picture && !x->histogram) return study_begin(s);
    /* codes are walked by what the metadata say, so the file has to hold as a model first */
    if (!model_read(path, &x->model, &notes, &s->err) ||
        (x->fp32_path && !origin_read(x->fp32_path, &x->model, &notes, &x->fp32, &s->err)) || !study_begin(s))
        return false;
    if (x->fp32_path && x->fp32.kind != MODEL_FP32)
        return fail(&s->err, "--fp32 %s: expected a model in fp32, found \"%s\"", x->fp32_path,
                    arithmetic_name(&x->fp32));
    const struct mlp_shape *shape = &x->model.shape;
    return !s->source || split_fits(&s->data.test, shape->widths[0], shape->widths[shape->layers], s->source, &s->err);
}

/* Without --data the rows are taken to be square images. */
static bool draw(struct study *s, const struct inspected *x) {
    int inputs = x->model.shape.widths[0], side = (int)lround(sqrt(inputs));
    int rows = s->source ? s->data.test.rows : side, cols = s->source ? s->data.test.cols : side;
    if (x->model.kind != MODEL_FP32 && !x->fp32_path)
        return study_wrong_use(s, "--weights-png: expected --fp32 MODEL to compare %s with", s->options.files[0]);
    if (rows * cols != inputs || inputs > 4096)
        return study_wrong_use(
            s, "--weights-png: %d inputs are no square image of at most 4096 pixels: expected --data to tell its rows",
            inputs);
    if (!write_weights_picture(x->fp32_path ? &x->fp32 : &x->model, &x->model, rows, cols, x->picture, &s->err))
        return false;
    study_wrote(s, x->picture);
    return true;
}

static bool run(struct study *s, struct inspected *x) {
    if (x->cpu) return study_begin(s) && show_kernels(s);
    provenance_add(&s->provenance, "file", "%s", s->options.files[0]);
    if (!load(s, x) || (x->picture && !draw(s, x))) return false;
    text_format(x->title, sizeof x->title, x->histogram ? "How %.*s, %zu bytes, uses its codes" : "%.*s, %zu bytes",
                text_cut(s->options.files[0], 150), s->options.files[0], x->file->file_bytes);
    if (!x->histogram) {
        fill_list(study_table(s, "inspect", x->title, "part dtype shape bytes percent- lowest highest"), x->file);
        return true;
    }
    struct table *t = study_table(s, "histogram", x->title, histogram_columns);
    return fill_histogram(t, x->file, &x->model, x->fp32_path ? &x->fp32 : NULL, &s->err) &&
        (!s->source || x->model.kind != MODEL_INT8 || fill_activation_histogram(t, &x->model, &s->data.test, &s->err));
}

/* What goes only with other options; NULL: nothing is wrong. */
static const char *wrong_options(const struct study *s, const struct inspected *x) {
    bool views = x->histogram || x->picture;
    if (x->cpu)
        return s->options.file_count ? "--cpu takes no file" : s->results ? "--results goes with --histogram" : NULL;
    if (s->options.file_count != 1) return "expected FILE";
    if (s->results && !x->histogram) return "--results goes with --histogram";
    if (s->source && !views) return "--data goes with --histogram or --weights-png";
    return x->fp32_path && !views ? "--fp32 goes with --histogram or --weights-png" : NULL;
}

int command_inspect(int argc, char **argv) {
    struct study s;
    struct inspected x = {0};
    study_init(
        &s, argv[0], "FILE",
        "Lists the tensors of a safetensors file and where every byte of it goes; or how its tensors use their codes.");
    s.options.examples = "mnistq inspect int8.safetensors\n"
                         "mnistq inspect int8.safetensors --histogram --fp32 "
                         "fp32.safetensors\n"
                         "mnistq inspect --cpu";
    study_shows(&s, "with --histogram: also write the table histogram there");
    s.source = NULL;
    option_flag(&s.options, "histogram", &x.histogram,
                "for each tensor: codes used, clipped, never used, entropy, a histogram; with --data also an integer "
                "model's activations on its test images");
    option_out_bytes(&s.options, "weights-png", "FILE.png", &x.picture,
                     "write layer 1's rows as pictures with their residuals, in int4 and int2 too");
    option_text(&s.options, "fp32", "MODEL", &x.fp32_path,
                "of --weights-png and --histogram: the network that FILE was made from");
    option_flag(&s.options, "cpu", &x.cpu, "without FILE: the kernels, which this CPU runs, and which are taken");
    int status = study_parse(&s, argc, argv, 0, 1);
    if (status != OPTIONS_GO_ON) return status;
    const char *wrong = wrong_options(&s, &x);
    if (wrong) return usage_error(&s.options, "%s", wrong);
    status = study_end(&s, run(&s, &x));
    if (x.file) st_free(x.file);
    free(x.file);
    model_free(&x.model);
    model_free(&x.fp32);
    return status;
}
