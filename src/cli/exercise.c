/* mnistq exercise: the whole lesson in one command. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/exercise.h"
#include "cli/fileset.h"

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

int command_exercise(int argc, char **argv) {
    static const char *const schemes[] = {"per-channel", "per-tensor", "both"};
    static const char reuse_option[] = " --reuse";
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
    option_choice(&s.options, "scheme", &quantization.scheme, schemes, SCHEMES + 1,
                  "weight scales: one per output row, or per layer");
    training_options(&s.options, &training);
    quantization_options(&s.options, &quantization);
    option_flag(&s.options, "reuse", &reuse, "leave results as they are that this program wrote for the same options");
    int status = study_parse(&s, argc, argv, 0, 0);
    if (status != OPTIONS_GO_ON) return status;
    /* The results are those of the command without --reuse. */
    char *told = strstr(s.provenance.facts[0].value, reuse_option);
    if (told) memmove(told, told + strlen(reuse_option), strlen(told + strlen(reuse_option)) + 1);
    provenance_add(&s.provenance, "seed", "%llu", (unsigned long long)training.seed);
    bool ok = study_begin(&s);
    if (ok && reuse && !s.json && file_set_is_current(s.results, s.stamp, &s.provenance)) {
        text_plain(s.results, stdout);
        printf(": as this program wrote it for the same command and data; nothing to do\n");
        dataset_free(&s.data);
        return EXIT_DONE;
    }
    ok = ok && recipes_fit(&s.data, &training, &quantization, &s.err) && declare_files(&s) &&
        run(&s, &training, &quantization);
    return study_end(&s, ok);
}
