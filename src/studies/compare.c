/* mnistq compare: two models on the same images, and where they part. */
#include "studies/compare.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "studies/cells.h"
#include "cli/commands.h"
#include "model/model_run.h"
#include "nn/gemm.h"
#include "cli/options.h"
#include "base/progress.h"

enum { SHOWN_CHANGES = 20 }; /* on the terminal; --results and --json have all */

/* ---- measuring ------------------------------------------------------------------------------------------------ */

static bool measure_weights(struct comparison *c, struct error *err) {
    const struct mlp_shape *shape = &c->models[0].shape;
    for (int l = 0; l < shape->layers; l++) {
        size_t n = (size_t)shape->widths[l] * (size_t)shape->widths[l + 1];
        float *weights = aligned_array(2 * n, sizeof *weights, err); /* [2][out][in] */
        if (!weights) return false;
        model_weights(&c->models[0], l, weights);
        model_weights(&c->models[1], l, weights + n);
        similarity_add(&c->weights[l], weights, weights + n, n);
        free(weights);
    }
    return true;
}

enum { LAYERS_BATCH = 512 };

/* All test images through both models: similarity of every layer's output, and the logits. */
static void measure_outputs(struct comparison *c, struct model_run *a, struct model_run *b) {
    const struct mlp_shape *shape = &c->models[0].shape;
    const struct split *test = &c->data.test;
    size_t inputs = (size_t)shape->widths[0], classes = (size_t)comparison_classes(c);
    struct progress bar;
    progress_begin(&bar, "comparing", "images");
    size_t batch = (size_t)(a->capacity < b->capacity ? a->capacity : b->capacity);
    for (size_t first = 0; first < test->count; first += batch) {
        size_t n = test->count - first < batch ? test->count - first : batch;
        model_run(a, test->images + first * inputs, (int)n, NULL);
        model_run(b, test->images + first * inputs, (int)n, NULL);
        for (int i = 0; i <= shape->layers; i++)
            similarity_add(&c->outputs[i], a->values[i], b->values[i], n * (size_t)shape->widths[i]);
        memcpy(c->logits[0] + first * classes, a->values[shape->layers], n * classes * sizeof(float));
        memcpy(c->logits[1] + first * classes, b->values[shape->layers], n * classes * sizeof(float));
        progress_update(&bar, first + n, test->count);
    }
    progress_end(&bar);
}

static bool measure(struct comparison *c, struct error *err) {
    size_t logits = c->data.test.count * (size_t)comparison_classes(c);
    struct model_run a = {0}, b = {0};
    bool ok = measure_weights(c, err) && (c->logits[0] = aligned_array(logits, sizeof(float), err)) &&
        (c->logits[1] = aligned_array(logits, sizeof(float), err)) &&
        model_run_create(&c->models[0], model_batch(&c->models[0], LAYERS_BATCH), gemm_threads(0), RUN_LAYERS, &a,
                         err) &&
        model_run_create(&c->models[1], model_batch(&c->models[1], LAYERS_BATCH), gemm_threads(0), RUN_LAYERS, &b, err);
    if (ok) measure_outputs(c, &a, &b);
    model_run_free(&a);
    model_run_free(&b);
    for (int i = 0; ok && i < 2; i++)
        ok = evaluate_logits(c->logits[i], comparison_classes(c), &c->data.test, &c->evaluations[i], err);
    return ok && find_changes(c, err);
}

static void comparison_free(struct comparison *c) {
    for (int i = 0; i < 2; i++) {
        model_free(&c->models[i]);
        evaluation_free(&c->evaluations[i]);
        free(c->logits[i]);
    }
    dataset_free(&c->data);
    free(c->changes);
}

/* ---- the tables: summary and layers ---------------------------------------------------------------------------- */

static void fill_summary(struct table *t, const struct comparison *c) {
    const struct similarity *logits = &c->outputs[c->models[0].shape.layers];
    for (int i = 0; i < 2; i++) {
        table_row(t, "%s | %s | %s | %.3f | %zu", i ? "b" : "a", c->paths[i], arithmetic_name(&c->models[i]),
                  c->models[i].bits_per_weight, c->evaluations[i].count);
        add_accuracy(t, &c->evaluations[i]);
        table_row(t, "%.2f", standard_error_percent(&c->evaluations[i]));
        add_paired(t, &c->evaluations[0], &c->evaluations[i], c->data.test.labels);
        table_row(t, "%.2f | %.5f | %.5f", i ? similarity_sqnr_db(logits) : NAN,
                  i ? similarity_mean_error(logits) : NAN, i ? logits->highest : NAN);
    }
    note_paired(t, "a");
    table_note(t,
               "logit sqnr, mean and max drift: b's logits, in real numbers, against a's: 10 log10(sum a^2 / sum (a - "
               "b)^2), mean and highest |a - b|. An empty SQNR: no difference at all.");
    for (int i = 0; i < 2; i++)
        if (c->evaluations[i].ties)
            table_note(t,
                       "%s: %zu images have two classes on the same highest logit; the lowest class is taken (eq. 7).",
                       i ? "b" : "a", c->evaluations[i].ties);
}

static void add_similarity(struct table *t, const struct similarity *s) {
    table_row(t, "%.2f | %.6f | %.8f", s ? similarity_sqnr_db(s) : NAN, s ? s->highest : NAN,
              s ? similarity_cosine(s) : NAN);
}

static void fill_layers(struct table *t, const struct comparison *c) {
    const struct mlp_shape *shape = &c->models[0].shape;
    for (int i = 0; i <= shape->layers; i++) {
        if (i == 0) table_row(t, "pixels");
        else table_row(t, "fc%d", i);
        if (i == 0) table_row(t, " ");
        else table_row(t, "%d x %d", shape->widths[i], shape->widths[i - 1]);
        add_similarity(t, i ? &c->weights[i - 1] : NULL);
        add_similarity(t, &c->outputs[i]);
    }
    table_note(t,
               "weights: b's, codes read back, against a's. output: the layer's activations on the test images, codes "
               "read back, after ReLU (the last layer: logits); each holds the error of all layers up to there. max "
               "error: the highest |a - b|. An empty cell: no difference at all, or nothing to compare. Codes that are "
               "the bytes themselves give back byte / 255 but for the last bit of a float: pixels then stand at about "
               "145 dB.");
    table_note(
        t,
        "Two models that were not made from the same weights, or AWQ's, whose scales are folded into the layers, "
        "are comparable by their logits only.");
}

/* ---- the command ------------------------------------------------------------------------------------------------ */

enum { SUMMARY, LAYERS, CHANGES, WATERFALL, SENSITIVITY, TABLES };

static const char summary_columns[] = "model file arithmetic bits_per_weight n " ACCURACY_COLUMNS
                                      " standard_error " PAIRED_COLUMNS
                                      " logit_sqnr_db logit_mean_drift logit_max_drift";
static const char layer_columns[] =
    "layer weight weight_sqnr_db weight_max_error weight_cosine output_sqnr_db output_max_error output_cosine";
static const char change_columns[] = "image label a b verdict margin_a margin_b margin_in_codes";
static const char waterfall_columns[] =
    "step " ACCURACY_COLUMNS " " PAIRED_COLUMNS
    " logit_sqnr_db sqnr_change_db step_changed step_sqnr_db step_max_drift step_codes";
static const char sensitivity_columns[] = "layer format bits_per_weight weight_sqnr_db " ACCURACY_COLUMNS
                                          " " PAIRED_COLUMNS " logit_sqnr_db";

static const struct {
    const char *name, *title, *columns;
} kinds[TABLES] = {
    {"compare", "Two models on the same images", summary_columns},
    {"compare-layers", "Where they part, layer by layer", layer_columns},
    {"compare-changes", "The predictions that changed, the widest margin first", change_columns},
    {"waterfall", "The way from fp32 to integers: what each step costs", waterfall_columns},
    {"sensitivity", "One layer at a time in fewer bits", sensitivity_columns},
};

struct compare_options {
    struct options o;
    const char *source, *results;
    bool waterfall, sensitivity, json;
};

/* Made from a: the same training, as the files tell. */
static bool same_training(const struct comparison *c) {
    return c->notes[0].training[0] && strcmp(c->notes[0].training, c->notes[1].training) == 0 &&
        strcmp(c->notes[0].seed, c->notes[1].seed) == 0;
}

static bool runs_in_floats(const struct model *m) { return m->kind == MODEL_FP32 || m->kind == MODEL_WEIGHT_ONLY; }

/* EXIT_DONE, or the status of what is wrong with the two models, which has been printed. */
static int check_models(struct comparison *c, struct compare_options *given) {
    const struct mlp_shape *a = &c->models[0].shape, *b = &c->models[1].shape;
    if (memcmp(a, b, sizeof *a) != 0) {
        char shapes[2][128];
        mlp_shape_print(a, shapes[0], sizeof shapes[0]);
        mlp_shape_print(b, shapes[1], sizeof shapes[1]);
        return usage_error(&given->o, "%s is %s and %s is %s: expected two models of one shape", c->paths[0], shapes[0],
                           c->paths[1], shapes[1]);
    }
    if (given->waterfall && !(runs_in_floats(&c->models[0]) && c->models[1].kind == MODEL_INT8))
        return usage_error(&given->o, "--waterfall: expected A in fp32 and B in integers, found \"%s\" and \"%s\"",
                           arithmetic_name(&c->models[0]), arithmetic_name(&c->models[1]));
    if (given->sensitivity && !runs_in_floats(&c->models[0]))
        return usage_error(&given->o, "--sensitivity: expected A in fp32, found \"%s\"",
                           arithmetic_name(&c->models[0]));
    given->waterfall |= c->models[0].kind == MODEL_FP32 && c->models[1].kind == MODEL_INT8 && same_training(c);
    return EXIT_DONE;
}

static bool fill(struct table *tables, const struct comparison *c, const struct compare_options *given,
                 struct error *err) {
    fill_summary(&tables[SUMMARY], c);
    fill_layers(&tables[LAYERS], c);
    fill_changes(&tables[CHANGES], c, c->change_count);
    return (!given->waterfall || fill_waterfall(&tables[WATERFALL], c, err)) &&
        (!given->sensitivity || fill_sensitivity(&tables[SENSITIVITY], c, err));
}

static bool save(const struct table *tables, const struct comparison *c, const struct provenance *p, const char *folder,
                 struct error *err) {
    for (int i = 0; i < TABLES; i++)
        if (tables[i].column_count && table_row_count(&tables[i]) + tables[i].note_count > 0 &&
            !table_save(&tables[i], p, folder, kinds[i].name, err))
            return false;
    return write_compare_picture(c, folder, err);
}

/* {"compare": {...}, "compare-layers": {...}, ...} */
static bool print_json(const struct table *tables, const struct provenance *p, struct error *err) {
    const char *between = "{";
    for (int i = 0; i < TABLES; i++) {
        if (table_row_count(&tables[i]) + tables[i].note_count == 0) continue;
        printf("%s\"%s\": ", between, kinds[i].name);
        if (!table_print_json(&tables[i], p, stdout, err)) return false;
        between = ", ";
    }
    printf("}\n");
    return true;
}

static void print_changes(const struct comparison *c) {
    struct table t;
    table_init(&t, kinds[CHANGES].title, change_columns);
    fill_changes(&t, c, SHOWN_CHANGES);
    table_print(&t, stdout, terminal_width(stdout));
    table_free(&t);
}

static void print(const struct table *tables, const struct comparison *c) {
    for (int i = 0; i < TABLES; i++) {
        if (table_row_count(&tables[i]) + tables[i].note_count == 0) continue;
        if (i > 0) printf("\n");
        if (i == CHANGES) print_changes(c);
        else table_print(&tables[i], stdout, terminal_width(stdout));
    }
}

static bool report(struct comparison *c, const struct compare_options *given, struct provenance *p, struct error *err) {
    struct table tables[TABLES];
    for (int i = 0; i < TABLES; i++) table_init(&tables[i], kinds[i].title, kinds[i].columns);
    provenance_dataset(p, &c->data);
    provenance_machine(p);
    bool ok = measure(c, err) && fill(tables, c, given, err) &&
        (!given->results || save(tables, c, p, given->results, err));
    if (ok && given->json) ok = print_json(tables, p, err);
    else if (ok) print(tables, c);
    for (int i = 0; i < TABLES; i++) table_free(&tables[i]);
    return ok;
}

static int run(struct comparison *c, struct compare_options *given, struct provenance *p) {
    struct error err;
    const struct mlp_shape *shape = &c->models[0].shape;
    for (int i = 0; i < 2; i++)
        if (!model_read(c->paths[i], &c->models[i], &c->notes[i], &err)) return report_error(&err);
    int status = check_models(c, given);
    if (status != EXIT_DONE) return status;
    bool ok = dataset_load(given->source, &c->data, &err) &&
        split_fits(&c->data.test, shape->widths[0], shape->widths[shape->layers], given->source, &err) &&
        report(c, given, p, &err);
    return ok ? EXIT_DONE : report_error(&err);
}

int command_compare(int argc, char **argv) {
    struct compare_options given = {
        .o =
            {.command = argv[0],
             .arguments = "A B",
             .what =
                 "Two models of one shape on the same test images: error of every layer, drift of the logits, and the\n"
                 "predictions that changed. For an fp32 A and an integer B made from it, also what each step between "
                 "cost."},
        .source = "data/mnist"};
    option_data(&given.o, &given.source, "folder with the four IDX files, or the built-in digits");
    option_text(&given.o, "results", "DIR", &given.results,
                "write the tables compare*, waterfall, sensitivity and compare.png there");
    option_flag(&given.o, "waterfall", &given.waterfall,
                "the steps from A to B also where B's file does not say that it was made from A");
    option_flag(&given.o, "sensitivity", &given.sensitivity, "also A with one layer at a time in int8, int4 and int2");
    option_flag(&given.o, "json", &given.json, "print all tables as one JSON object");
    int status = options_parse(&given.o, argc, argv, 2, 2);
    if (status != OPTIONS_GO_ON) return status;
    struct comparison *c = calloc(1, sizeof *c);
    struct provenance p = {0};
    if (!c) return report_error(&(struct error){"out of memory"});
    provenance_command(&p);
    for (int i = 0; i < 2; i++) c->paths[i] = given.o.files[i];
    status = run(c, &given, &p);
    comparison_free(c);
    free(c);
    return status;
}
