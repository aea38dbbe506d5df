/* mnistq exercise: the whole lesson in one command. */
#include <stdio.h>

#include "cli/commands.h"
#include "cli/exercise.h"

static const char *const scheme_choices[] = {"per-channel", "per-tensor", "both"};

static void add_row(struct table *t, const struct exercise *e, int i, const uint8_t *labels, const double *speeds) {
    const struct evaluation *fp32 = &e->evaluations[0], *ours = &e->evaluations[i];
    struct paired paired = compare(fp32, ours, labels);
    table_row(t, "%s | %s | %s | %zu | %.3f | %zu | %zu | %.2f | %.2f | %+.2f | %zu | %zu | %zu | %lld | %.2f",
              i == 0 ? "fp32" : "int8", granularity_name(&e->models[i]), arithmetic_name(&e->models[i]), e->bytes[i],
              (double)e->bytes[0] / (double)e->bytes[i], ours->correct, ours->count, accuracy_percent(ours),
              standard_error_percent(ours), accuracy_percent(ours) - accuracy_percent(fp32), paired.changed,
              paired.fixed, paired.broken, (long long)speeds[i], speeds[i] / speeds[0]);
}

static void add_notes(struct table *t, const struct exercise *e, const struct dataset *data) {
    char shape[128];
    mlp_shape_print(&e->models[0].shape, shape, sizeof shape);
    table_note(t, "%s: %zu training images, %zu test images.", data->name, data->train.count, data->test.count);
    table_note(t, "%s, %zu parameters; trained in %.2f s to a loss of %.4f nats.", shape,
               mlp_parameter_count(&e->models[0].shape), e->training.seconds, e->training.loss);
    table_note(t,
               "change: accuracy against fp32, in points. changed, fixed, broken: predictions against fp32 on the same "
               "images (wrong to right is fixed, right to wrong is broken).");
    table_note(t,
               "images per second: batches of 1000 on one thread, median of 21 runs that take turns; speed: the ratio "
               "to fp32.");
    for (int i = 1; i < e->count; i++)
        table_note(t, "%s: %zu images have two classes on the same highest code; the lowest class is taken (eq. 7).",
                   granularity_name(&e->models[i]), e->evaluations[i].ties);
    if (e->saturated)
        table_note(t,
                   "%zu biases are beyond the 2^30 steps that the engine takes, and were cut: those outputs are wrong.",
                   e->saturated);
}

static bool fill(struct table *t, const struct exercise *e, const struct dataset *data, struct error *err) {
    const struct model *models[EXERCISE_MAX_MODELS];
    double speeds[EXERCISE_MAX_MODELS];
    for (int i = 0; i < e->count; i++) models[i] = &e->models[i];
    if (!measure_speeds(models, e->count, &data->test, speeds, err)) return false;
    for (int i = 0; i < e->count; i++) add_row(t, e, i, data->test.labels, speeds);
    add_notes(t, e, data);
    return true;
}

static bool run(const char *source, const char *results, const struct training_recipe *training,
                const struct quantization_recipe *quantization, struct table *t, struct provenance *p,
                struct error *err) {
    struct dataset data;
    struct exercise e = {0};
    char models[4096];
    snprintf(models, sizeof models, "%.4000s/models", results);
    if (!dataset_load(source, &data, err)) return false;
    provenance_add(p, "seed", "%llu", (unsigned long long)training->seed);
    provenance_dataset(p, &data);
    provenance_machine(p);
    bool ok = exercise_run(&data, training, quantization, models, &e, err) && fill(t, &e, &data, err) &&
        table_save(t, p, results, "exercise", err) &&
        write_layers(&e, &data, quantization->calibration, p, results, err) &&
        write_confusion(&e, &data, p, results, err) && write_changed(&e, &data.test, results, err);
    exercise_free(&e);
    dataset_free(&data);
    return ok;
}

int command_exercise(int argc, char **argv) {
    static const char columns[] = "format granularity arithmetic file_bytes ratio correct n accuracy_percent "
                                  "standard_error change changed fixed broken images_per_second speed";
    struct options o = {
        .command = argv[0],
        .arguments = "",
        .what = "Trains, calibrates, converts to int8, runs all in their own arithmetic, and writes the tables\n"
                "exercise, layers, confusion and the picture changed.png to --results, the models to its models/."};
    struct training_recipe training = training_defaults();
    struct quantization_recipe quantization = quantization_defaults();
    const char *source = "data/mnist", *results = NULL;
    bool json = false;
    quantization.scheme = SCHEMES;
    option_data(&o, &source, "folder with the four IDX files, or the built-in digits");
    option_results(&o, &results, "folder for the tables");
    option_choice(&o, "scheme", &quantization.scheme, scheme_choices, SCHEMES + 1,
                  "weight scales: one per output row, or per layer");
    training_options(&o, &training);
    quantization_options(&o, &quantization);
    option_flag(&o, "json", &json, "print the table as JSON");
    int status = options_parse(&o, argc, argv, 0, 0);
    if (status != OPTIONS_GO_ON) return status;
    struct error err;
    struct table t;
    struct provenance p = {0};
    table_init(&t, "The exercise: fp32 against int8", columns);
    provenance_command(&p);
    bool ok = run(source, results, &training, &quantization, &t, &p, &err);
    status = report_table(&t, &p, json, ok, &err);
    if (ok && !json)
        printf("\nWritten to %s: exercise, layers and confusion as .md and .csv, changed.png, models/\n", results);
    return status;
}
