#include "cli/recipe.h"

#include "base/stats.h"
#include "base/text.h"
#include "data/idx.h"
#include "data/picture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const scheme_names[SCHEMES] = {"per-channel", "per-tensor"};
static const char *const optimizer_names[] = {"adam", "sgd"};
static const char *const activation_names[] = {"asymmetric", "symmetric"};

/* The best of `make recipe`: chosen on the last 5,000 training images, never on the test set. */
struct training_recipe training_defaults(void) {
    return (struct training_recipe){.hidden = {2, {256, 256}},
                                    .epochs = 1,
                                    .batch = 32,
                                    .optimizer = OPTIMIZER_ADAM,
                                    .validation = 0,
                                    .rate = 0.004,
                                    .warmup = 0.1,
                                    .smoothing = 0.2,
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

bool evaluate_validation(const struct dataset *data, const struct training_recipe *r, const struct model *model,
                         struct evaluation *out, struct error *err) {
    const struct split *train = &data->train;
    size_t count = (size_t)r->validation, first = train->count - count;
    struct split held_out = {count, train->rows, train->cols,
                             train->images + first * (size_t)train->rows * (size_t)train->cols, train->labels + first};
    return evaluate(model, &held_out, false, out, err);
}

static struct sums validated; /* percent, of every network trained so far */
static int validation_images;

static bool keep_validation(const struct dataset *data, const struct training_recipe *r, const struct mlp *mlp,
                            struct error *err) {
    struct model model = {.kind = MODEL_FP32, .shape = mlp->shape, .mlp = *mlp};
    struct evaluation e;
    if (!evaluate_validation(data, r, &model, &e, err)) return false;
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
    validated = (struct sums){0}; /* the next study of this process has its own */
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
    struct train_data learn = {train->images,           train->labels,   train->count - (size_t)r->validation,
                               (size_t)shape.widths[0], progress_update, &bar};
    mlp_shift_inputs(out, train_origin(&learn));
    progress_begin(&bar, "training", "images");
    bool ok = mlp_train(out, &learn, &config, report, err);
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
        memcpy(images + i * pixels, train->images + calibration_image(train, calibration, i) * pixels, pixels);
    return images;
}

static struct convert_config convert_config_of(const struct quantization_recipe *r) {
    return (struct convert_config){.per_channel = r->scheme == SCHEME_PER_CHANNEL,
                                   .symmetric_activations = r->activations == 1,
                                   .observer = (enum observer_kind)r->observer};
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
    text_format(notes->training, sizeof notes->training, "%s, %d epoch%s, %s, batch %d, rate %g", data->name, r->epochs,
                r->epochs == 1 ? "" : "s", optimizer_names[r->optimizer], r->batch, r->rate);
    if (data->train.rows == 28 && data->train.cols == 28)
        picture_form_print(picture_form_measure(data->train.images, data->train.count), notes->images);
}

void describe_quantization(const struct quantization_recipe *r, struct model_notes *notes) {
    snprintf(notes->observer, sizeof notes->observer, "%s", observer_names[r->observer]);
    snprintf(notes->calibration, sizeof notes->calibration, "%d", r->calibration);
}

/* ---- rungs of the ladder ----------------------------------------------------------------------------------------- */

struct rung_recipe rung_defaults(void) {
    return (struct rung_recipe){.damping = 0.01, .threshold = 6.0, .qat_rate = 0.002, .qat_epochs = 1};
}

void rung_options(struct options *o, struct rung_recipe *r) {
    option_int(o, "images", &r->images, 1, 1000000,
               "training images that GPTQ, AWQ and LLM.int8() look at: 4096, or all there are");
    option_real(o, "damping", &r->damping, 1e-6, 10, "GPTQ: share of the Hessian's mean diagonal that is added to it");
    option_real(o, "threshold", &r->threshold, 0.01, 1e6, "LLM.int8(): input columns that reach it stay fp16");
    option_int(o, "qat-epochs", &r->qat_epochs, 1, 1000, "epochs of quantization-aware training");
    option_real(o, "qat-rate", &r->qat_rate, 1e-8, 10, "its peak learning rate");
}

static int largest_divisor(int n, int least, int most) {
    while (most >= least && n % most) most--;
    return most < least ? 0 : most;
}

void rung_recipe_fit(struct rung_recipe *r, const struct mlp_shape *shape, const struct split *train) {
    static const int least[] = {8, 2, 1}; /* a prime number of pixels leaves the hidden layers, or small groups */
    for (int i = 0; !r->group; i++)
        for (int l = 0; !r->group && l < shape->layers; l++)
            r->group = shape->widths[l] % 56 == 0 ? 56 : largest_divisor(shape->widths[l], least[i], 64);
    if (!r->images) r->images = train->count < 4096 ? (int)train->count : 4096;
}

bool rung_source_create(const struct dataset *data, const struct mlp *fp32, const struct model_notes *notes,
                        const struct rung_recipe *recipe, const struct quantization_recipe *r,
                        const struct training_recipe *training, struct rung_source *out, struct error *err) {
    const struct split *train = &data->train;
    bool divides = false; /* before the files of an earlier run are written over */
    for (int i = 0; i < fp32->shape.layers; i++) divides = divides || fp32->shape.widths[i] % recipe->group == 0;
    if (!divides)
        return fail(err, "--group %d: a group of %d weights divides the inputs of no layer", recipe->group,
                    recipe->group);
    if (!fits("images", recipe->images, train->count, train, err) || !recipes_fit(data, training, r, err)) return false;
    *out = (struct rung_source){
        .fp32 = fp32,
        .notes = *notes,
        .group = recipe->group,
        .count = recipe->images,
        .symmetric_activations = r->activations == 1,
        .damping = recipe->damping,
        .threshold = recipe->threshold,
        .learn = {.images = train->images,
                  .labels = train->labels,
                  .count = train->count - (size_t)training->validation,
                  .inputs = (size_t)fp32->shape.widths[0]},
        .training = {.epochs = recipe->qat_epochs,
                     .batch = training->batch,
                     .optimizer = (enum optimizer_kind)training->optimizer,
                     .rate = (float)recipe->qat_rate,
                     .warmup = training->warmup,
                     .smoothing = (float)training->smoothing,
                     .seed = training->seed + 1000003},
    };
    if ((out->images = calibration_images(train, recipe->images, err)) &&
        calibrate_model(fp32, train, r, out->ranges, err))
        return true;
    rung_source_free(out);
    return false;
}

void rung_source_free(struct rung_source *s) {
    free(s->images);
    *s = (struct rung_source){0};
}

/* Begins with the first report: a rung that does not train shows nothing. */
struct training_bar {
    struct progress bar;
    const char *label;
    bool begun;
};

static void show_training(void *context, size_t done, size_t total) {
    struct training_bar *b = context;
    if (!b->begun) progress_begin(&b->bar, b->label, "images");
    b->begun = true;
    progress_update(&b->bar, done, total);
}

bool rung_make_shown(struct rung_source *s, const struct rung *rung, const char *path, struct rung_made *made,
                     struct error *err) {
    struct training_bar b = {.label = rung->method};
    s->learn.progress = show_training;
    s->learn.progress_context = &b;
    bool ok = rung_make(s, rung, path, made, err);
    if (b.begun) progress_end(&b.bar);
    return ok;
}

void note_gptq_rank(struct table *t, const struct rung_source *s) {
    for (int i = 0; i < s->fp32->shape.layers; i++)
        if (s->count < s->fp32->shape.widths[i])
            table_note(
                t,
                "Warning: %d images for the %d inputs of fc%d: GPTQ's Hessian has not full rank and rests on its "
                "damping of %g.",
                s->count, s->fp32->shape.widths[i], i + 1, s->damping);
}
