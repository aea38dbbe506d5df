/* mnistq exercise: the whole lesson in one command. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/exercise.h"
#include "cli/fileset.h"

/* ---- the run ---------------------------------------------------------------------------------------------------- */

/* Where the next model goes. */
static bool next_path(struct exercise *e, const char *folder, const char *name, struct error *err) {
    char *path = e->paths[e->count];
    return snprintf(path, sizeof e->paths[0], "%s/%s.safetensors", folder, name) < (int)sizeof e->paths[0] ||
        fail(err, "%.60s...: the name is too long", folder);
}

/* The file there becomes the next model: what is evaluated is what a reader of the file gets. */
static bool read_back(struct exercise *e, const struct split *test, struct error *err) {
    int i = e->count++;
    return model_read(e->paths[i], &e->models[i], NULL, err) && file_size(e->paths[i], &e->bytes[i], err) &&
        evaluate(&e->models[i], test, false, &e->evaluations[i], err);
}

static bool run_fp32(const struct dataset *data, const struct training_recipe *recipe, const char *folder,
                     const struct model_notes *notes, struct exercise *e, struct error *err) {
    struct mlp mlp;
    if (!next_path(e, folder, "fp32", err) || !train_model(data, recipe, &mlp, &e->training, err)) return false;
    bool ok = model_write_mlp(e->paths[0], &mlp, notes, err);
    mlp_free(&mlp);
    return ok && read_back(e, &data->test, err);
}

static bool run_int8(const struct dataset *data, const struct quantization_recipe *recipe, const char *folder,
                     const struct model_notes *notes, struct exercise *e, struct error *err) {
    struct qmlp q;
    size_t saturated;
    char name[64];
    snprintf(name, sizeof name, "int8-%s", scheme_names[recipe->scheme]);
    if (!next_path(e, folder, name, err) ||
        !quantize_model(&e->models[0].mlp, &data->train, recipe, &q, &saturated, err))
        return false;
    e->saturated += saturated;
    bool ok = model_write_qmlp(e->paths[e->count], &q, notes, err);
    qmlp_free(&q);
    return ok && read_back(e, &data->test, err);
}

bool exercise_run(const struct dataset *data, const struct training_recipe *training,
                  const struct quantization_recipe *quantization, const char *folder, struct exercise *out,
                  struct error *err) {
    struct model_notes notes = {0};
    *out = (struct exercise){0};
    describe_training(data, training, &notes);
    bool ok = recipes_fit(data, training, quantization, err) && folder_create(folder, err) &&
        run_fp32(data, training, folder, &notes, out, err);
    describe_quantization(quantization, &notes);
    for (int scheme = 0; ok && scheme < SCHEMES; scheme++) {
        struct quantization_recipe one = *quantization;
        if (one.scheme != SCHEMES && one.scheme != scheme) continue;
        one.scheme = scheme;
        ok = run_int8(data, &one, folder, &notes, out, err);
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

static const struct file_set files = {
    .stamp = ".exercise",
    .names = {"exercise.md", "exercise.csv", "layers.md", "layers.csv", "confusion.md", "confusion.csv", "changed.png",
              "models/fp32.safetensors", "models/int8-per-channel.safetensors", "models/int8-per-tensor.safetensors"},
    .derived = {"models/int4.safetensors", "models/bf16.safetensors", "models/int2.safetensors",
                "models/int2-qat.safetensors"}}; /* by make bench, make page */

static bool run(struct study *s, const struct training_recipe *training,
                const struct quantization_recipe *quantization) {
    struct exercise e = {0};
    struct speed speeds[EXERCISE_MAX_MODELS];
    char models[4096];
    snprintf(models, sizeof models, "%.4000s/models", s->results);
    bool ok = exercise_run(&s->data, training, quantization, models, &e, &s->err);
    for (int i = 0; i < e.count; i++) speeds[i] = speed_of(&e.models[i]);
    ok = ok && measure_speeds(speeds, e.count, &s->data.test, &s->err);
    if (ok) {
        exercise_table(s, &e, speeds);
        confusion_table(s, &e);
        ok = layers_table(s, &e, quantization->calibration) && study_path(s, "changed.png") &&
            write_changed(&e, &s->data.test, s->results, &s->err) && study_path(s, "models/");
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
    if (ok && reuse && !s.json && file_set_is_current(&files, s.results, &s.provenance)) {
        printf("%s: as this program wrote it for the same command and data; nothing to do\n", s.results);
        dataset_free(&s.data);
        return EXIT_DONE;
    }
    ok = ok && recipes_fit(&s.data, &training, &quantization, &s.err) && study_as_set(&s, &files) &&
        run(&s, &training, &quantization);
    return study_end(&s, ok);
}
