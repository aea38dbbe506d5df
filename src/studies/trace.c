/* mnistq trace: one image, one path, every number. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/study.h"
#include "studies/trace.h"

struct trace_options {
    const char *fp32, *neuron, *key;
    int image, row;
    bool worksheet;
};

/* ---- the table: every step of the list -------------------------------------------------------------------------- */

static void fill_table(struct table *table, const struct trace *t) {
    const struct trace_step *logits = t->steps + t->first[t->q->shape.layers];
    for (const struct trace_step *s = t->steps; s < t->steps + t->first[t->q->shape.layers + 1]; s++) {
        bool is_term = strcmp(s->name, "term") == 0;
        int digits = is_term || s >= logits ? 8 : 12;
        if (is_term && s->integer == 0) continue; /* a weight of 0 */
        table_row(table, "fc%d | %d | %s", s->layer + 1, s->neuron, s->name);
        if (!is_term) table_row(table, "| | |");
        else if (s->layer > 0) table_row(table, "%d | | %d | %d", s->k, s->x_q, s->w_q);
        else table_row(table, "%d | %d | %d | %d", s->k, t->pixels[s->k], s->x_q, s->w_q);
        if (s->integer == TRACE_NO_INTEGER) table_row(table, " | ");
        else if (is_term) table_row(table, "%lld | %d", s->integer, s->running);
        else table_row(table, "%lld | ", s->integer);
        table_row(table, "%.*f | %.*f", digits, s->real, digits, s->fp32);
    }
    table_note(table,
               "What to see: from byte to logit nothing but integers; every row follows from those above it. Image "
               "%zu, a %d, predicted %d. term: the inputs whose product is not 0; integer: (x_q - z_x) w_q, its "
               "running sum is int32 (eq. 5). M = s_x s_w / s_y = m / 2^right, shift = 31 - right; rounded = (acc m + "
               "half) >> right in 64 bits; y_q = clamp(z_y + rounded) to [y_min, y_max] (eq. 6). real: the integer "
               "times its scale (of acc m: before rounding). fp32: the same quantity in the fp32 network.",
               t->image, t->label, t->predicted);
}

/* ---- the page, on the terminal and in files --------------------------------------------------------------------- */

/* Writes a text file whole or not at all. */
static bool save_text(const char *path, const char *text, struct error *err) {
    struct out_file out;
    if (!path || !out_file_open(&out, path, err)) return false;
    fputs(text, out.stream);
    return out_file_commit(&out, err);
}

/* The worksheet's key goes to its file, or below the page where it can be cut off. */
static bool print_page(struct study *s, const struct trace_options *given, const char *page, const char *key) {
    fputs(page, stdout);
    if (!given->worksheet) return true;
    if (given->key) return save_text(given->key, key, &s->err);
    printf(
        "\n8< - - - - - - - - - - - - - - - - - - cut here, keep the key - - - - - - - - - - - - - - - - - - -\n\n%s",
        key);
    return true;
}

static bool report(struct study *s, const struct trace_options *given, const struct trace *t) {
    struct trace_page page = {s->options.files[0], given->fp32, s->data.name, s->provenance.facts[0].value, given->row};
    char *text[2] = {NULL, NULL}; /* the page, the key */
    size_t size[2];
    FILE *out = open_memstream(&text[0], &size[0]), *key = open_memstream(&text[1], &size[1]);
    if (out && key) trace_print(t, &page, out, given->worksheet ? key : NULL);
    bool ok = out && fclose(out) == 0;
    ok = key && fclose(key) == 0 && ok;
    ok = (ok && text[0] && text[1]) || fail(&s->err, "out of memory");
    if (ok && s->results)
        ok = save_text(study_path(s, given->worksheet ? "worksheet.txt" : "trace.txt"), text[0], &s->err) &&
            (!given->worksheet || save_text(study_path(s, "worksheet-key.txt"), text[1], &s->err));
    if (ok && !s->json) ok = print_page(s, given, text[0], text[1]);
    free(text[0]);
    free(text[1]);
    if (given->worksheet) return ok;
    struct table *table = study_table(s, "trace", "One image, one path, every number",
                                      "layer neuron step k byte x_q w_q integer running_sum real fp32");
    s->tables[0].shown = false; /* the page is */
    fill_table(table, t);
    return ok;
}

/* ---- the command ------------------------------------------------------------------------------------------------ */

/* "L:J" -> layer L - 1 and neuron J of the model's; false when it is no such neuron. */
static bool parse_neuron(const char *text, const struct mlp_shape *shape, int *layer, int *neuron) {
    char more;
    if (sscanf(text, "%9d:%9d%c", layer, neuron, &more) != 2) return false;
    *layer -= 1;
    return *layer >= 0 && *layer < shape->layers && *neuron >= 0 && *neuron < shape->widths[*layer + 1];
}

/* What the model's and the images' files must hold for these options. */
static bool check(struct study *s, const struct trace_options *given, const struct mlp_shape *shape, int *layer,
                  int *neuron) {
    const struct split *test = &s->data.test;
    char text[128];
    mlp_shape_print(shape, text, sizeof text);
    if (given->neuron && !parse_neuron(given->neuron, shape, layer, neuron))
        return study_wrong_use(s,
                               "--neuron %s: expected LAYER:NEURON of %s, layers from 1, neurons from 0, such as 1:0",
                               given->neuron, text);
    if ((size_t)given->image >= test->count)
        return study_wrong_use(s, "--image %d: expected 0 to %zu, the test images of %s", given->image, test->count - 1,
                               s->source);
    if (given->row >= test->rows)
        return study_wrong_use(s, "--row %d: expected 0 to %d, the rows of an image", given->row, test->rows - 1);
    return split_fits(test, shape->widths[0], shape->widths[shape->layers], s->source, &s->err);
}

static bool run(struct study *s, const struct trace_options *given) {
    struct model model = {0}, fp32 = {0};
    struct model_notes notes;
    struct trace t = {0};
    const char *path = s->options.files[0];
    int layer = -1, neuron = 0;
    bool ok = model_read(path, &model, &notes, &s->err) &&
        (model.kind == MODEL_INT8 ||
         fail(&s->err, "%s: expected a model that runs in integers, found \"%s\"", path, arithmetic_name(&model))) &&
        (!given->fp32 || origin_read(given->fp32, &model, &notes, &fp32, &s->err)) && study_begin(s) &&
        check(s, given, &model.shape, &layer, &neuron) &&
        trace_make(&model, given->fp32 ? &fp32 : NULL, &s->data.test, (size_t)given->image, layer, neuron, &t,
                   &s->err) &&
        report(s, given, &t);
    trace_free(&t);
    model_free(&model);
    model_free(&fp32);
    return ok;
}

int command_trace(int argc, char **argv) {
    struct study s;
    struct trace_options given = {.row = -1};
    study_init(&s, argv[0], "QMODEL",
               "Follows one test image through the integer engine, along one neuron of each layer: byte, code,\n"
               "product, sum, bias, multiplier, rounding, code, down to the logit. Without\n"
               "--neuron, the path of the winning logit.");
    s.options.examples = "mnistq trace results/mnist/models/int8-per-channel.safetensors --image 7\n"
                         "mnistq trace results/mnist/models/int8-per-channel.safetensors --image 7 --worksheet";
    study_shows(&s, "also write trace.txt, .md and .csv there, or worksheet.txt and worksheet-key.txt");
    option_int(&s.options, "image", &given.image, 0, 10000000, "which test image, from 0");
    option_text(&s.options, "neuron", "L:J", &given.neuron,
                "lead the path through neuron J of layer L; layers from 1, neurons from 0");
    option_int(&s.options, "row", &given.row, -1, 4095, "the pixel row shown in full; -1: the one that adds most");
    option_text(&s.options, "fp32", "MODEL", &given.fp32, "show what this fp32 model has for each number");
    option_flag(&s.options, "worksheet", &given.worksheet,
                "leave blanks for a class; the key is printed below, or goes to --key");
    option_text(&s.options, "key", "FILE", &given.key, "of --worksheet: where the answers go");
    int status = study_parse(&s, argc, argv, 1, 1);
    if (status != OPTIONS_GO_ON) return status;
    if (given.key && !given.worksheet) return usage_error(&s.options, "--key goes with --worksheet");
    if (s.json && given.worksheet) return usage_error(&s.options, "--json or --worksheet, not both");
    return study_end(&s, run(&s, &given));
}
