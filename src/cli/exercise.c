/* mnistq exercise: the whole lesson in one command. */
#include "cli/exercise.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/stats.h"
#include "base/text.h"
#include "cli/canvas.h"
#include "cli/commands.h"
#include "cli/fileset.h"
#include "cli/report.h"
#include "cli/speed.h"

/* ---- the run ---------------------------------------------------------------------------------------------------- */

/* Where a model goes. */
static const char *path_of(struct study *s, const char *folder, const char *name) {
    char file[128];
    snprintf(file, sizeof file, "%s/%s.safetensors", folder, name);
    return study_path(s, file);
}

/* The file there becomes the next model: what is evaluated is what a reader of the file gets. */
static bool read_back(struct study *s, const char *path, struct exercise *e) {
    int i = e->count++;
    return model_read(path, &e->models[i], NULL, &s->err) && file_size(path, &e->bytes[i], &s->err) &&
        evaluate(&e->models[i], &s->data.test, false, &e->evaluations[i], &s->err);
}

static bool run_fp32(struct study *s, const struct training_recipe *recipe, const char *folder,
                     const struct model_notes *notes, struct exercise *e) {
    struct mlp mlp;
    const char *path = path_of(s, folder, "fp32");
    if (!path || !train_model(&s->data, recipe, &mlp, &e->training, &s->err)) return false;
    bool ok = model_write_mlp(path, &mlp, notes, &s->err);
    mlp_free(&mlp);
    return ok && read_back(s, path, e);
}

static bool run_int8(struct study *s, const struct quantization_recipe *recipe, const char *folder,
                     const struct model_notes *notes, struct exercise *e) {
    struct qmlp q;
    size_t saturated;
    char name[64];
    snprintf(name, sizeof name, "int8-%s", scheme_names[recipe->scheme]);
    const char *path = path_of(s, folder, name);
    if (!path || !quantize_model(&e->models[0].mlp, &s->data.train, recipe, &q, &saturated, &s->err)) return false;
    e->saturated += saturated;
    bool ok = model_write_qmlp(path, &q, notes, &s->err);
    qmlp_free(&q);
    return ok && read_back(s, path, e);
}

bool exercise_run(struct study *s, const struct training_recipe *training,
                  const struct quantization_recipe *quantization, const char *folder, struct exercise *out) {
    struct model_notes notes = {0};
    *out = (struct exercise){0};
    describe_training(&s->data, training, &notes);
    bool ok = recipes_fit(&s->data, training, quantization, &s->err) && run_fp32(s, training, folder, &notes, out);
    describe_quantization(quantization, &notes);
    for (int scheme = 0; ok && scheme < SCHEMES; scheme++) {
        struct quantization_recipe one = *quantization;
        if (one.scheme != SCHEMES && one.scheme != scheme) continue;
        one.scheme = scheme;
        ok = run_int8(s, &one, folder, &notes, out);
    }
    return ok;
}

void exercise_free(struct exercise *e) {
    for (int i = 0; i < EXERCISE_MAX_MODELS; i++) {
        model_free(&e->models[i]);
        evaluation_free(&e->evaluations[i]);
    }
}

/* ---- the tables: both networks side by side, and what each layer became ---------------------------------------- */

static void note_exercise(struct table *t, const struct exercise *e, const struct dataset *data) {
    char shape[128];
    mlp_shape_print(&e->models[0].shape, shape, sizeof shape);
    table_note(t, "What to see: the bytes that int8 saves, the speed that it gains, and how few answers it changes.");
    table_note(t, "%s, %zu parameters; trained on %zu images of %s in %.2f s to a loss of %.4f nats.", shape,
               mlp_parameter_count(&e->models[0].shape), data->train.count, data->name, e->training.seconds,
               e->training.loss);
    for (int i = 1; i < e->count; i++)
        note_ties(t, granularity_name(&e->models[i]), &e->models[i], e->evaluations[i].ties);
    if (e->saturated)
        table_note(t,
                   "%zu biases are beyond the 2^30 steps that the engine takes, and were cut: those outputs are wrong.",
                   e->saturated);
}

static void exercise_table(struct study *s, const struct exercise *e, const struct speed *speeds) {
    struct table *t = study_table(
        s, "exercise", "The exercise: fp32 against int8",
        "format granularity arithmetic- file_bytes:bytes ratio correct- n- accuracy_percent:accuracy_% standard_error- "
        "change changed- fixed- broken- images_per_second:images/s speed spread_percent:±_%");
    const struct evaluation *fp32 = &e->evaluations[0];
    for (int i = 0; i < e->count; i++) {
        const struct evaluation *ours = &e->evaluations[i];
        double rate = speeds[i].images_per_second;
        table_row(t, "%s | %s | %s | %zu | %.3f | %zu | %zu | %.2f | %.2f", i == 0 ? "fp32" : "int8",
                  granularity_name(&e->models[i]), arithmetic_name(&e->models[i]), e->bytes[i],
                  (double)e->bytes[0] / (double)e->bytes[i], ours->correct, ours->count, accuracy_percent(ours),
                  standard_error_percent(ours));
        add_changes(t, fp32, ours, s->data.test.labels);
        table_row(t, "%lld | %.2f | %.1f", (long long)rate, rate / speeds[0].images_per_second,
                  speeds[i].spread_percent);
    }
    note_exercise(t, e, &s->data);
    note_speeds(t, speeds, e->count);
}

/* ---- layers ----------------------------------------------------------------------------------------------------- */

/* real [in * out]: scratch. */
static void add_layer_row(struct table *t, const struct model *fp32, const struct model *int8, int l,
                          double output_sqnr, float *real) {
    const struct qmlp *q = &int8->qmlp;
    const struct dense *d = &fp32->mlp.layer[l];
    size_t n = (size_t)d->in * (size_t)d->out;
    struct sums weights = {0}, scales = {0};
    model_weights(int8, l, real);
    for (size_t i = 0; i < n; i++) sums_add(&weights, (double)d->weight[i]);
    for (int c = 0; c < d->out; c++) sums_add(&scales, (double)qmlp_weight_scale(q, l, c));
    table_row(t, "%s | fc%d | %d x %d | %.4f | %.4f | %.6f | %.6f | %.1f | %.6f | %d | %.6f | %d | %.1f",
              granularity_name(int8), l + 1, d->out, d->in, weights.lowest, weights.highest, scales.lowest,
              scales.highest, sqnr_db(d->weight, real, n), (double)q->activation[l].scale, q->activation[l].zero_point,
              (double)q->activation[l + 1].scale, q->activation[l + 1].zero_point, output_sqnr);
}

static bool layers_table(struct study *s, const struct exercise *e, int calibration) {
    struct table *t = study_table(
        s, "layers", "What each layer became",
        "granularity layer weight weight_min weight_max weight_scale_min weight_scale_max weight_sqnr_db input_scale "
        "input_zero_point output_scale output_zero_point output_sqnr_db");
    const struct model *fp32 = &e->models[0];
    size_t most = 0; /* weights of a layer */
    for (int l = 0; l < fp32->shape.layers; l++) {
        size_t n = (size_t)fp32->shape.widths[l] * (size_t)fp32->shape.widths[l + 1];
        most = n > most ? n : most;
    }
    uint8_t *images = calibration_images(&s->data.train, calibration, &s->err);
    float *real = images ? aligned_array(most, sizeof *real, &s->err) : NULL;
    bool ok = real != NULL;
    for (int i = 1; ok && i < e->count; i++) {
        struct similarity similar[MLP_MAX_LAYERS + 1] = {{0}}; /* on the calibration images */
        ok = compare_outputs(fp32, &e->models[i], images, (size_t)calibration, similar, NULL, NULL, &s->err);
        for (int l = 0; ok && l < fp32->shape.layers; l++)
            add_layer_row(t, fp32, &e->models[i], l, similarity_sqnr_db(&similar[l + 1]), real);
    }
    table_note(t, "What to see: scale and zero point of every layer, and what rounding cost it.");
    table_note(t,
               "SQNR of the weights: codes read back against fp32. Of the output: the integer engine's codes against "
               "the fp32 network's values on the %d calibration images, with the error of all layers up to there.",
               calibration);
    free(images);
    free(real);
    return ok;
}

/* ---- confusion -------------------------------------------------------------------------------------------------- */

static void confusion_table(struct study *s, const struct exercise *e) {
    struct table *t = study_table(s, "confusion", "Confusion: rows are the true class, columns what it was taken for",
                                  "format granularity label");
    const struct dataset *data = &s->data;
    const uint8_t *labels = data->test.labels;
    for (int j = 0; j < data->classes; j++) table_add_columns(t, "as_%d", j);
    table_add_columns(t, "recall_percent");
    table_note(t, "What to see: quantization does not change which digits are taken for which.");
    for (int i = 0; i < e->count; i++)
        for (int truth = 0; truth < data->classes; truth++) {
            size_t counts[256] = {0}, total = 0;
            for (size_t k = 0; k < data->test.count; k++)
                if (labels[k] == truth) {
                    counts[e->evaluations[i].predicted[k]]++;
                    total++;
                }
            table_row(t, "%s | %s | %d", i ? "int8" : "fp32", granularity_name(&e->models[i]), truth);
            for (int j = 0; j < data->classes; j++) table_row(t, "%zu", counts[j]);
            table_row(t, "%.2f", 100.0 * (double)counts[truth] / (double)total); /* empty without such images */
        }
}

/* ---- changed.png: the digits whose prediction differs, each with what every model says --------------------------- */

struct changed {
    const struct exercise *e;
    const struct split *test;
    size_t *images, count;
};

/* The image and its label, then each model's answer and its verdict. */
static void tile_text(const void *context, size_t at, int line, char *text, size_t size) {
    const struct changed *c = context;
    size_t image = c->images[at];
    int label = c->test->labels[image], i = line - 1;
    int answer = line ? c->e->evaluations[i].predicted[image] : label;
    if (line == 0) snprintf(text, size, "#%zu is a %d", image, label);
    else
        snprintf(text, size, "%s: %d %s", i ? granularity_name(&c->e->models[i]) : "fp32", answer,
                 answer == label ? "right" : "wrong");
}

/* Writes changed.png: the test digits that fp32 and int8 answer differently. */
static bool write_changed(struct study *s, const struct exercise *e) {
    const struct split *test = &s->data.test;
    const char *path = study_path(s, "changed.png");
    struct changed c = {e, test, path ? aligned_array(test->count, sizeof *c.images, &s->err) : NULL, 0};
    char head[160];
    if (!c.images) return false;
    for (size_t image = 0; image < test->count; image++) {
        bool differs = false;
        for (int i = 1; i < e->count; i++)
            differs |= e->evaluations[i].predicted[image] != e->evaluations[0].predicted[image];
        if (differs) c.images[c.count++] = image;
    }
    snprintf(head, sizeof head, "%zu of %zu test image%s %s answered differently by fp32 and int8", c.count,
             test->count, plural(test->count), c.count == 1 ? "is" : "are");
    struct tiles tiles = {test, c.images, c.count, e->count + 1, tile_text, &c};
    bool ok = tiles_write(&tiles, head, path, &s->err);
    free(c.images);
    return ok;
}

/* ---- the command ------------------------------------------------------------------------------------------------ */

/* All that the command can write, and what make bench and make page make from it: looked at before the long work, and
 * removed where this run does not write it. */
static const char *const files[] = {"exercise.md",
                                    "exercise.csv",
                                    "layers.md",
                                    "layers.csv",
                                    "confusion.md",
                                    "confusion.csv",
                                    "changed.png",
                                    "models/fp32.safetensors",
                                    "models/int8-per-channel.safetensors",
                                    "models/int8-per-tensor.safetensors",
                                    "models/int4.safetensors",
                                    "models/bf16.safetensors",
                                    "models/int2.safetensors",
                                    "models/int2-qat.safetensors"};

static bool declare_files(struct study *s) {
    bool ok = file_set_begin(s->results, &s->err) != NULL;
    for (size_t i = 0; ok && i < sizeof files / sizeof files[0]; i++) ok = file_set_path(files[i], &s->err) != NULL;
    return ok;
}

static bool run(struct study *s, const struct training_recipe *training,
                const struct quantization_recipe *quantization) {
    struct exercise e = {0};
    struct speed speeds[EXERCISE_MAX_MODELS];
    bool ok = exercise_run(s, training, quantization, "models", &e);
    for (int i = 0; i < e.count; i++) speeds[i] = speed_of(&e.models[i]);
    ok = ok && measure_speeds(speeds, e.count, &s->data.test, &s->err);
    if (ok) {
        exercise_table(s, &e, speeds);
        confusion_table(s, &e);
        ok = layers_table(s, &e, quantization->calibration) && write_changed(s, &e);
    }
    exercise_free(&e);
    return ok;
}

/* Says which command made the files that are there, and what becomes of them. first: of the options that count. */
static bool reusable(const struct study *s, int first) {
    static const char *const fates[] = {"nothing to do", "made anew with other options",
                                        "made anew, as program, machine, data or a file is another"};
    char given[sizeof s->stamp_options], command[1200], text[2600];
    options_values(&s->options, first, true, given, sizeof given);
    enum file_set_state state = file_set_look(s->results, s->stamp, &s->provenance, given, command, sizeof command);
    if (!*command) return false;
    text_format(text, sizeof text, "%s: %s; there by `%s`", s->results, fates[state], command);
    print_wrapped(stdout, text, 0, terminal_width(stdout));
    if (state != FILE_SET_CURRENT) printf("\n");
    fflush(stdout); /* before the bar of training */
    return state == FILE_SET_CURRENT;
}

int command_exercise(int argc, char **argv) {
    static const char *const schemes[] = {"per-channel", "per-tensor", "both"};
    struct study s;
    struct training_recipe training = training_defaults();
    struct quantization_recipe quantization = quantization_defaults();
    bool reuse = false;
    quantization.scheme = SCHEMES;
    study_init(&s, argv[0], "",
               "Trains, calibrates, converts to int8, runs all in their own arithmetic, and writes the tables\n"
               "exercise, layers, confusion and the picture changed.png to --results, the models to its models/.");
    s.options.examples = "mnistq exercise\n"
                         "mnistq exercise --data digits --scheme per-tensor --results /tmp/try";
    s.stamp = ".exercise";
    option_flag(&s.options, "reuse", &reuse,
                "leave results as they are that this program made from this data with the options given here");
    int first = s.options.count; /* of those that the models depend on */
    option_choice(&s.options, "scheme", &quantization.scheme, schemes, SCHEMES + 1,
                  "weight scales: one per output row, or per layer");
    training_options(&s.options, &training);
    quantization_options(&s.options, &quantization);
    int status = study_parse(&s, argc, argv, 0, 0);
    if (status != OPTIONS_GO_ON) return status;
    provenance_add(&s.provenance, "seed", "%llu", (unsigned long long)training.seed);
    bool ok = study_begin(&s);
    options_values(&s.options, first, false, s.stamp_options, sizeof s.stamp_options);
    if (ok && reuse && !s.json && reusable(&s, first)) {
        dataset_free(&s.data);
        return EXIT_DONE;
    }
    ok = ok && recipes_fit(&s.data, &training, &quantization, &s.err) && declare_files(&s) &&
        run(&s, &training, &quantization);
    return study_end(&s, ok);
}
