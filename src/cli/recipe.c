#include "cli/recipe.h"

#include "base/stats.h"
#include "data/idx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const scheme_names[SCHEMES] = {"per-channel", "per-tensor"};
static const char *const optimizer_names[] = {"adam", "sgd"};
static const char *const activation_names[] = {"asymmetric", "symmetric"};

/* Rate, warm-up and smoothing were chosen on the last 5,000 training images (--validation 5000), never on the test set.
 */
struct training_recipe training_defaults(void) {
    return (struct training_recipe){.hidden = {2, {256, 256}},
                                    .epochs = 1,
                                    .batch = 64,
                                    .optimizer = OPTIMIZER_ADAM,
                                    .validation = 0,
                                    .rate = 0.006,
                                    .warmup = 0.1,
                                    .smoothing = 0.05,
                                    .seed = 1};
}

struct quantization_recipe quantization_defaults(void) {
    return (struct quantization_recipe){SCHEME_PER_CHANNEL, OBSERVER_MINMAX, 0, 512};
}

void training_options(struct options *o, struct training_recipe *r) {
    option_ints(o, "hidden", &r->hidden, 1, MLP_MAX_WIDTH, "neurons of each hidden layer");
    option_int(o, "epochs", &r->epochs, 1, 1000, "passes over the training images");
    option_seed(o, "seed", &r->seed, "of initialisation and shuffling: the same seed gives the same file");
    option_int(o, "batch", &r->batch, 1, 4096, "images a step");
    option_choice(o, "optimizer", &r->optimizer, optimizer_names, 2, "adam, or sgd with momentum 0.9 (try --rate 0.1)");
    option_real(o, "rate", &r->rate, 1e-8, 10,
                "peak learning rate, after a linear warm-up and before a linear decay to 0");
    option_real(o, "warmup", &r->warmup, 0, 1, "share of all steps that the rate rises");
    option_real(o, "smoothing", &r->smoothing, 0, 0.9,
                "of the labels: each target gives this share to all classes alike");
    option_int(o, "validation", &r->validation, 0, IDX_MAX_COUNT,
               "last training images to keep out of training, and to report accuracy on");
}

void quantization_options(struct options *o, struct quantization_recipe *r) {
    option_choice(o, "observer", &r->observer, observer_names, OBSERVER_KINDS, "how activation ranges are found");
    option_choice(o, "activations", &r->activations, activation_names, 2,
                  "zero point anywhere, or in the middle of the codes");
    option_int(o, "calibration", &r->calibration, 1, IDX_MAX_COUNT, "training images to calibrate on");
}

/* most: of all training images, those that the option may name. */
static bool fits(const char *option, int images, size_t most, const struct split *train, struct error *err) {
    return (size_t)images <= most ||
        fail(err, "--%s %d: there are only %zu training images", option, images, train->count);
}

bool recipes_fit(const struct dataset *data, const struct training_recipe *training,
                 const struct quantization_recipe *quantization, struct error *err) {
    const struct split *train = &data->train;
    return fits("validation", training->validation, train->count - 1, train, err) &&
        fits("calibration", quantization->calibration, train->count, train, err);
}

bool evaluate_validation(const struct dataset *data, const struct training_recipe *r, const struct mlp *mlp,
                         struct evaluation *out, struct error *err) {
    const struct split *train = &data->train;
    size_t count = (size_t)r->validation, first = train->count - count;
    struct split held_out = {count, train->rows, train->cols,
                             train->images + first * (size_t)train->rows * (size_t)train->cols, train->labels + first};
    struct model model = {.kind = MODEL_FP32, .shape = mlp->shape, .mlp = *mlp};
    return evaluate(&model, &held_out, false, out, err);
}

static struct sums validated; /* percent, of every network trained so far */
static int validation_images;

static bool keep_validation(const struct dataset *data, const struct training_recipe *r, const struct mlp *mlp,
                            struct error *err) {
    struct evaluation e;
    if (!evaluate_validation(data, r, mlp, &e, err)) return false;
    sums_add(&validated, accuracy_percent(&e));
    validation_images = r->validation;
    evaluation_free(&e);
    return true;
}

void note_validation(struct table *t) {
    if (validated.n == 1)
        table_note(t, "Validation: the network got %.2f%% of the last %d training images right, kept out of training.",
                   validated.sum, validation_images);
    if (validated.n > 1)
        table_note(t,
                   "Validation: %zu networks got %.2f%% to %.2f%% (mean %.3f%%) of the last %d training images right, "
                   "kept out of training.",
                   validated.n, validated.lowest, validated.highest, sums_mean(&validated), validation_images);
}

bool train_model(const struct dataset *data, const struct training_recipe *r, struct mlp *out,
                 struct train_report *report, struct error *err) {
    struct mlp_shape shape;
    const struct split *train = &data->train;
    if (!fits("validation", r->validation, train->count - 1, train, err) ||
        !mlp_shape_make(train->rows * train->cols, r->hidden.values, r->hidden.count, data->classes, &shape, err) ||
        !mlp_create(&shape, out, err))
        return false;
    struct rng rng = rng_seeded(r->seed);
    mlp_initialise(out, &rng);
    struct train_config config = {r->epochs,      r->batch,  (enum optimizer_kind)r->optimizer,
                                  (float)r->rate, r->warmup, (float)r->smoothing,
                                  rng_next(&rng)};
    struct progress bar;
    progress_begin(&bar, "training", "images");
    bool ok = mlp_train(out, train->images, train->labels, train->count - (size_t)r->validation, &config,
                        progress_update, &bar, report, err);
    progress_end(&bar);
    if (ok && r->validation) ok = keep_validation(data, r, out, err);
    if (!ok) mlp_free(out);
    return ok;
}

uint8_t *calibration_images(const struct split *train, int calibration, struct error *err) {
    size_t pixels = (size_t)train->rows * (size_t)train->cols, n = (size_t)calibration;
    if (!fits("calibration", calibration, train->count, train, err)) return NULL;
    uint8_t *images = aligned_array(n, pixels, err);
    for (size_t i = 0; images && i < n; i++)
        memcpy(images + i * pixels, train->images + i * train->count / n * pixels, pixels);
    return images;
}

static struct convert_config convert_config_of(const struct quantization_recipe *r) {
    return (struct convert_config){r->scheme == SCHEME_PER_CHANNEL, r->activations == 1,
                                   (enum observer_kind)r->observer};
}

bool calibrate_model(const struct mlp *mlp, const struct split *train, const struct quantization_recipe *r,
                     struct range *ranges, struct error *err) {
    struct convert_config config = convert_config_of(r);
    struct mlp_workspace ws = {0};
    uint8_t *images = calibration_images(train, r->calibration, err);
    bool ok = images && mlp_workspace_create(&mlp->shape, CALIBRATION_BATCH, false, &ws, err) &&
        calibrate(mlp, images, (size_t)r->calibration, &config, &ws, ranges, err);
    mlp_workspace_free(&ws);
    free(images);
    return ok;
}

bool quantize_model(const struct mlp *mlp, const struct split *train, const struct quantization_recipe *r,
                    struct qmlp *out, size_t *saturated, struct error *err) {
    struct convert_config config = convert_config_of(r);
    struct range ranges[MLP_MAX_LAYERS + 1];
    return calibrate_model(mlp, train, r, ranges, err) && convert(mlp, ranges, &config, out, saturated, err);
}

void describe_training(const struct dataset *data, const struct training_recipe *r, struct model_notes *notes) {
    snprintf(notes->seed, sizeof notes->seed, "%llu", (unsigned long long)r->seed);
    snprintf(notes->training, sizeof notes->training, "%s, %d epoch%s, %s, batch %d, rate %g", data->name, r->epochs,
             r->epochs == 1 ? "" : "s", optimizer_names[r->optimizer], r->batch, r->rate);
}

void describe_quantization(const struct quantization_recipe *r, struct model_notes *notes) {
    snprintf(notes->observer, sizeof notes->observer, "%s", observer_names[r->observer]);
    snprintf(notes->calibration, sizeof notes->calibration, "%d", r->calibration);
}
