#include "cli/rung_recipe.h"

#include <stdlib.h>

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
    if ((size_t)recipe->images > train->count)
        return fail(err, "--images %d: there are only %zu training images", recipe->images, train->count);
    if (!recipes_fit(data, training, r, err)) return false;
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
