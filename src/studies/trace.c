/* mnistq trace: one image, one path, every number. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/report.h"
#include "cli/commands.h"
#include "cli/study.h"
#include "quant/neuron.h"
#include "studies/trace.h"

/* ---- the path --------------------------------------------------------------------------------------------------- */

/* path [layers]: the neuron of each layer. Backwards the input that adds most, forwards the neuron it adds most to. */
static void choose_path(const struct qmlp *q, uint8_t *const *codes, int predicted, int layer, int neuron, int *path) {
    int last = q->shape.layers - 1;
    if (layer < 0) layer = last, neuron = predicted;
    path[layer] = neuron;
    for (int l = layer; l > 0; l--) {
        path[l - 1] = 0;
        for (int k = 1; k < q->layer[l].in; k++)
            if (neuron_term(&q->layer[l], codes[l], path[l], k) >
                neuron_term(&q->layer[l], codes[l], path[l], path[l - 1]))
                path[l - 1] = k;
    }
    for (int l = layer + 1; l <= last; l++) {
        int k = path[l - 1];
        path[l] = l == last ? predicted : 0;
        for (int c = 1; l < last && c < q->layer[l].out; c++)
            if (neuron_term(&q->layer[l], codes[l], c, k) > neuron_term(&q->layer[l], codes[l], path[l], k))
                path[l] = c;
    }
}

/* ---- the steps -------------------------------------------------------------------------------------------------- */

/* Where the next step goes, and what the steps of a layer share. */
struct writer {
    struct trace_step *at;
    int layer, neuron;
};

/* says, page: of its line on the page; "": none. */
static struct trace_step *add(struct writer *w, const char *name, long long integer, double real, double fp32,
                              const char *says, int page) {
    *w->at = (struct trace_step){.name = name, .layer = w->layer, .neuron = w->neuron, .page = page};
    w->at->integer = integer, w->at->real = real, w->at->fp32 = fp32;
    snprintf(w->at->says, sizeof w->at->says, "%s", says);
    return w->at++;
}

/* Eq. 5 and 6 of one neuron spelled out. x [in]: the layer's input codes. fp32: NULL, or the layer of the fp32 network,
 * with its inputs fp32_x [in] and what it makes of them, fp32_y. */
static void add_neuron(struct writer *w, const struct qmlp *q, const uint8_t *x, const struct dense *fp32,
                       const float *fp32_x, double fp32_y) {
    int l = w->layer, c = w->neuron;
    const struct qlinear *layer = &q->layer[l];
    const int8_t *row = layer->weight + (size_t)c * (size_t)layer->in;
    const float *fp32_row = fp32 ? fp32->weight + (size_t)c * (size_t)fp32->in : NULL;
    const struct neuron n = neuron_of_layer(q, l, c, x);
    double s = n.s_x * n.s_w, fp32_sum = fp32 ? 0 : NAN, fp32_bias = fp32 ? (double)fp32->bias[c] : NAN;
    int32_t running = 0;
    add(w, "s_x", TRACE_NO_INTEGER, n.s_x, NAN, "", 0);
    add(w, "z_x", n.z_x, NAN, NAN, "", 0);
    add(w, "s_w", TRACE_NO_INTEGER, n.s_w, NAN, "", 0);
    for (int k = 0; k < layer->in; k++) {
        int32_t product = neuron_term(layer, x, c, k);
        double exact = fp32 ? (double)fp32_x[k] * (double)fp32_row[k] : NAN;
        running += product, fp32_sum += exact;
        if (x[k] == n.z_x) continue;
        struct trace_step *term = add(w, "term", product, s * product, exact, "", 0);
        term->k = k, term->x_q = x[k], term->w_q = row[k], term->running = running;
    }
    add(w, "sum", n.sum, s * n.sum, fp32_sum, "sum of products", TRACE_ASKED | TRACE_SHOWS_REAL);
    add(w, "b_q", n.bias, s * n.bias, fp32_bias, "+ bias b_q = round(b / (s_x s_w))", TRACE_SHOWS_REAL);
    add(w, "acc", n.acc, s * n.acc, fp32_sum + fp32_bias, "= acc", TRACE_ASKED | TRACE_SHOWS_REAL);
    add(w, "sum w_q", n.weight_sum, NAN, NAN, "", 0);
    struct trace_step *step = add(w, "folded bias", n.folded, NAN, NAN, "folded bias b_q - z_x sum w_q", TRACE_ASKED);
    snprintf(step->note, sizeof step->note, "= %d - %d * %d", n.bias, n.z_x, n.weight_sum);
    add(w, "sum x_q w_q", n.raw_sum, NAN, NAN, "+ sum of x_q w_q", 0);
    add(w, "s_y", TRACE_NO_INTEGER, n.s_y, NAN, "", 0);
    add(w, "M", TRACE_NO_INTEGER, s / n.s_y, NAN, "", 0);
    add(w, "m", n.by.m, NAN, NAN, "", 0);
    add(w, "right", n.by.right, NAN, NAN, "", 0);
    add(w, "shift", 31 - n.by.right, NAN, NAN, "", 0);
    add(w, "acc m", n.product, n.exact, NAN, "acc m, 64 bits", TRACE_ASKED);
    add(w, "half", n.half, NAN, NAN, "+ half: 2^(right - 1)", 0);
    step = add(w, "rounded", n.rounded, NAN, NAN, ">> right: rounded once, ties up", TRACE_ASKED | TRACE_NOTE_TELLS);
    snprintf(step->note, sizeof step->note, "from %.6f", n.exact);
    add(w, "z_y", n.z_y, NAN, NAN, "+ z_y", 0);
    add(w, "y_min", n.y_min, NAN, NAN, "", 0);
    add(w, "y_max", n.y_max, NAN, NAN, "", 0);
    step = add(w, "y_q", n.code, n.y, fp32_y, "", TRACE_ASKED | TRACE_SHOWS_REAL | TRACE_ASKS_REAL | TRACE_NOTE_TELLS);
    snprintf(step->says, sizeof step->says, "= y_q, clamped to [%d, %d]%s", n.y_min, n.y_max,
             l + 1 < q->shape.layers ? ": ReLU" : "");
    if (n.code != n.rounded + n.z_y) strcpy(step->note, "cut off");
}

/* All layers' steps and the logits; the page must show what the engine does, or nothing. */
static bool write_steps(struct trace *t, uint8_t *const *codes, const int *path, const struct model *fp32,
                        float *const *values, struct error *err) {
    int layers = t->q->shape.layers, classes = t->q->shape.widths[layers];
    struct writer w = {.at = t->steps};
    uint8_t logits[256];
    qmlp_forward_ref(t->q, t->pixels, 1, logits);
    if (memcmp(logits, codes[layers], (size_t)classes) != 0)
        return fail(err, "image %zu: the logit codes are not those of the integer engine", t->image);
    for (int l = 0; l < layers; l++) {
        int c = w.neuron = path[l];
        w.layer = l;
        t->first[l] = (size_t)(w.at - t->steps);
        add_neuron(&w, t->q, codes[l], fp32 ? &fp32->mlp.layer[l] : NULL, values[l],
                   fp32 ? (double)values[l + 1][c] : NAN);
        long long code = trace_find(t, l, "y_q")->integer, folded = trace_find(t, l, "folded bias")->integer;
        if (code != codes[l + 1][c] || folded != t->q->layer[l].folded_bias[c] ||
            folded + trace_find(t, l, "sum x_q w_q")->integer != trace_find(t, l, "acc")->integer)
            return fail(err, "image %zu, fc%d neuron %d: code %lld by hand, %d by the integer engine", t->image, l + 1,
                        c, code, codes[l + 1][c]);
    }
    t->first[layers] = (size_t)(w.at - t->steps);
    for (int j = w.neuron = 0; j < classes; w.neuron = ++j)
        add(&w, j == t->predicted ? "logit, predicted" : "logit", logits[j],
            (double)dequantize(logits[j], t->q->activation[layers]), fp32 ? (double)values[layers][j] : NAN, "", 0);
    t->first[layers + 1] = (size_t)(w.at - t->steps);
    return true;
}

bool trace_make(const struct model *model, const struct model *fp32, const struct split *split, size_t image, int layer,
                int neuron, struct trace *t, struct error *err) {
    const struct mlp_shape *shape = &model->shape;
    struct model_run run = {0}, fp32_run = {0};
    int path[MLP_MAX_LAYERS] = {0};
    size_t most = (size_t)shape->widths[shape->layers];
    for (int l = 0; l < shape->layers; l++) most += (size_t)shape->widths[l] + 32; /* terms, and the others */
    *t = (struct trace){.q = &model->qmlp,
                        .has_fp32 = fp32,
                        .image = image,
                        .rows = split->rows,
                        .cols = split->cols,
                        .label = split->labels[image],
                        .pixels = split->images + image * (size_t)split->rows * (size_t)split->cols,
                        .steps = aligned_array(most, sizeof *t->steps, err)};
    bool ok = t->steps && model_run_create(model, 1, 1, RUN_LAYERS, &run, err) &&
        (!fp32 || model_run_create(fp32, 1, 1, RUN_LAYERS, &fp32_run, err));
    if (ok) {
        t->ties = model_run(&run, t->pixels, 1, &t->predicted);
        if (fp32) model_run(&fp32_run, t->pixels, 1, NULL);
        choose_path(t->q, run.codes, t->predicted, layer, neuron, path);
        ok = write_steps(t, run.codes, path, fp32, fp32_run.values, err);
    }
    model_run_free(&run);
    model_run_free(&fp32_run);
    return ok;
}

void trace_free(struct trace *t) { free(t->steps); }

const struct trace_step *trace_find(const struct trace *t, int layer, const char *name) {
    const struct trace_step *step = t->steps + t->first[layer];
    while (strcmp(step->name, name) != 0) step++;
    return step;
}

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

struct trace_options {
    const char *fp32, *neuron, *key;
    int image, row;
    bool worksheet;
};

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
    printf("\n8< - - - - - - - - - - - - - cut here, keep the key - - - - - - - - - - - - - -\n\n%s", key);
    return true;
}

static bool report(struct study *s, const struct trace_options *given, const struct trace *t) {
    char model[1024], fp32[1024]; /* names that the page can show */
    text_format(model, sizeof model, "%s", s->options.files[0]);
    text_format(fp32, sizeof fp32, "%s", given->fp32 ? given->fp32 : "");
    struct trace_page page = {model, given->fp32 ? fp32 : NULL, s->data.name, s->provenance.facts[0].value, given->row};
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
    s.options.examples = "mnistq trace int8-per-channel.safetensors --image 7\n"
                         "mnistq trace int8-per-channel.safetensors --image 7 --worksheet";
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
