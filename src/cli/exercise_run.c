#include "cli/exercise.h"

#include <stdio.h>

#include "base/file.h"

/* The file at e->paths[i] becomes model i: what is evaluated is what a reader of the file gets. */
static bool read_back(struct exercise *e, int i, const struct split *test, struct error *err) {
    return model_read(e->paths[i], &e->models[i], NULL, err) && file_size(e->paths[i], &e->bytes[i], err) &&
        evaluate(&e->models[i], test, false, &e->evaluations[i], err);
}

static bool path_in(struct exercise *e, int i, const char *folder, const char *name, struct error *err) {
    if (snprintf(e->paths[i], sizeof e->paths[i], "%s/%s.safetensors", folder, name) < (int)sizeof e->paths[i])
        return true;
    return fail(err, "%.60s...: the name is too long", folder);
}

static bool train_and_write(const struct dataset *data, const struct training_recipe *training, const char *folder,
                            const struct model_notes *notes, struct exercise *e, struct error *err) {
    struct mlp mlp;
    if (!path_in(e, 0, folder, "fp32", err) || !train_model(data, training, &mlp, &e->training, err)) return false;
    bool ok = model_write_mlp(e->paths[0], &mlp, notes, err);
    mlp_free(&mlp);
    e->count = 1;
    return ok && read_back(e, 0, &data->test, err);
}

static bool quantize_and_write(const struct dataset *data, const struct quantization_recipe *recipe, const char *folder,
                               const struct model_notes *notes, struct exercise *e, struct error *err) {
    struct qmlp q;
    size_t saturated;
    char name[64];
    int i = e->count++;
    snprintf(name, sizeof name, "int8-%s", scheme_names[recipe->scheme]);
    if (!path_in(e, i, folder, name, err) ||
        !quantize_model(&e->models[0].mlp, &data->train, recipe, &q, &saturated, err))
        return false;
    e->saturated += saturated;
    bool ok = model_write_qmlp(e->paths[i], &q, notes, err);
    qmlp_free(&q);
    return ok && read_back(e, i, &data->test, err);
}

bool exercise_run(const struct dataset *data, const struct training_recipe *training,
                  const struct quantization_recipe *quantization, const char *folder, struct exercise *out,
                  struct error *err) {
    struct model_notes notes = {0};
    *out = (struct exercise){0};
    describe_training(data, training, &notes);
    if (!recipes_fit(data, training, quantization, err) || !folder_create(folder, err) ||
        !train_and_write(data, training, folder, &notes, out, err))
        return false;
    describe_quantization(quantization, &notes);
    for (int scheme = 0; scheme < SCHEMES; scheme++) {
        struct quantization_recipe one = *quantization;
        if (quantization->scheme != SCHEMES && quantization->scheme != scheme) continue;
        one.scheme = scheme;
        if (!quantize_and_write(data, &one, folder, &notes, out, err)) return false;
    }
    return true;
}

void exercise_free(struct exercise *e) {
    for (int i = 0; i < EXERCISE_MAX_MODELS; i++) {
        model_free(&e->models[i]);
        evaluation_free(&e->evaluations[i]);
    }
}
