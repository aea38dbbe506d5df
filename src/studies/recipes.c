/* mnistq recipe: which recipe to train by. A grid, then single changes of its best, judged on training images that are
 * kept out of training; or, of the rungs, QAT's rate and the weights of a group. The test images are never looked at.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/recipe.h"
#include "cli/study.h"
#include "base/progress.h"
#include "base/stats.h"

/* ---- of the training --------------------------------------------------------------------------------------------- */

/* One recipe's results over the seeds. */
struct tried {
    struct training_recipe recipe;
    struct sums percent; /* right of the validation images */
    double seconds;      /* the fastest epoch */
};

/* The rates go with the batch: Adam's steps are of the rate's size whatever the gradient's, and half the batch takes
 * twice as many. */
static const struct {
    int batch;
    double rates[4];
} grid[] = {
    {32, {0.002, 0.003, 0.004, 0.006}},
    {64, {0.004, 0.006, 0.008, 0.012}},
    {128, {0.006, 0.008, 0.012, 0.016}},
};
static const double smoothings[] = {0.05, 0.1, 0.2, 0.3}, warmups[] = {0, 0.05, 0.2, 0.3};

enum {
    BATCHES = sizeof grid / sizeof grid[0],
    RATES = 4,
    SMOOTHINGS = sizeof smoothings / sizeof smoothings[0],
    WARMUPS = sizeof warmups / sizeof warmups[0],
    GRID = BATCHES * RATES * SMOOTHINGS,
    TRIES = GRID + WARMUPS
};

struct choice {
    struct study *s;
    struct training_recipe base; /* what every recipe has in common */
    int seeds, count, runs;      /* runs: networks trained so far */
    struct progress bar;
    struct tried tried[TRIES];
};

static bool run_seed(struct choice *c, struct tried *t, int seed) {
    struct training_recipe r = t->recipe;
    struct train_report report;
    struct evaluation e;
    struct model model = {.kind = MODEL_FP32};
    r.seed += (uint64_t)seed;
    if (!train_model(&c->s->data, &r, &model.mlp, &report, &c->s->err)) return false;
    model.shape = model.mlp.shape;
    bool ok = evaluate_validation(&c->s->data, &r, &model, &e, &c->s->err);
    if (ok) {
        sums_add(&t->percent, accuracy_percent(&e));
        t->seconds = fmin(t->seconds, report.seconds / r.epochs);
        evaluation_free(&e);
    }
    mlp_free(&model.mlp);
    return ok;
}

static bool try_recipe(struct choice *c, int batch, double rate, double smoothing, double warmup) {
    struct tried *t = &c->tried[c->count++];
    *t = (struct tried){.recipe = c->base, .seconds = INFINITY};
    t->recipe.batch = batch;
    t->recipe.rate = rate;
    t->recipe.smoothing = smoothing;
    t->recipe.warmup = warmup;
    bool ok = true;
    for (int seed = 0; ok && seed < c->seeds; seed++) {
        ok = run_seed(c, t, seed);
        progress_update(&c->bar, (size_t)++c->runs, (size_t)(TRIES * c->seeds));
    }
    return ok;
}

/* The highest mean, the first of those that are equal. */
static const struct tried *best_of(const struct choice *c) {
    const struct tried *best = &c->tried[0];
    for (int i = 1; i < c->count; i++)
        if (sums_mean(&c->tried[i].percent) > sums_mean(&best->percent)) best = &c->tried[i];
    return best;
}

static bool try_all(struct choice *c) {
    bool ok = true;
    for (int i = 0; ok && i < GRID; i++)
        ok = try_recipe(c, grid[i / (RATES * SMOOTHINGS)].batch,
                        grid[i / (RATES * SMOOTHINGS)].rates[i / SMOOTHINGS % RATES], smoothings[i % SMOOTHINGS],
                        c->base.warmup);
    struct training_recipe best = ok ? best_of(c)->recipe : c->base;
    for (int i = 0; ok && i < WARMUPS; i++) ok = try_recipe(c, best.batch, best.rate, best.smoothing, warmups[i]);
    return ok;
}

static void add_rows(struct table *t, const struct choice *c) {
    const struct tried *best = best_of(c);
    for (int i = 0; i < c->count; i++) {
        const struct tried *r = &c->tried[i];
        table_row(t, "%d | %g | %g | %g | %.3f | %.3f | %.2f | %s", r->recipe.batch, r->recipe.rate,
                  r->recipe.smoothing, r->recipe.warmup, sums_mean(&r->percent), sums_deviation(&r->percent),
                  r->seconds, r == best ? "best" : "");
    }
    table_note(t, "Best of %d recipes: batch %d, rate %g, smoothing %g, warm-up %g.", c->count, best->recipe.batch,
               best->recipe.rate, best->recipe.smoothing, best->recipe.warmup);
    if (c->seeds > 1)
        table_note(t, "The standard error of its mean is %.3f points: a neighbour may be as good.",
                   sums_deviation(&best->percent) / sqrt(c->seeds));
}

static bool choose_training(struct choice *c, struct table *t) {
    progress_begin(&c->bar, "recipe", "networks");
    bool ok = try_all(c);
    progress_end(&c->bar);
    if (ok) add_rows(t, c);
    return ok;
}

/* ---- of the rungs ------------------------------------------------------------------------------------------------ */

/* What is tried of a rung: QAT's peak rate, or how many weights share a scale. */
static const double rates_of_qat[] = {0.0005, 0.001, 0.002, 0.004, 0.008}, groups[] = {28, 49, 56, 98, 196};
enum { VALUES = 5 };

/* Groups are judged where they matter most: up to 3 bits. NULL: nothing of this rung is chosen. */
static const double *values_of(const struct rung *rung) {
    if (strcmp(rung->option, "qat") == 0) return rates_of_qat;
    return rung->block == BLOCK_GROUP && rung->bits <= 3 ? groups : NULL;
}

static bool try_rung(struct choice *c, struct rung_source *source, const struct rung *rung, double value,
                     struct sums *percent) {
    const char *path = study_path(c->s, "models/recipe.safetensors");
    struct error *err = &c->s->err;
    struct rung_made made = {0};
    struct model model;
    struct model_notes notes;
    struct evaluation e;
    if (values_of(rung) == groups) source->group = (int)value;
    else source->training.rate = (float)value;
    bool made_it = path && rung_make_shown(source, rung, path, &made, err);
    mlp_free(&made.effective);
    if (!made_it || !model_read(path, &model, &notes, err)) return false;
    bool ok = evaluate_validation(&c->s->data, &c->base, &model, &e, err);
    if (ok) {
        sums_add(percent, accuracy_percent(&e));
        evaluation_free(&e);
    }
    model_free(&model);
    return ok;
}

/* Whether a group fits into the rows of some layer. */
static bool divides(int group, const struct mlp_shape *shape) {
    bool found = false;
    for (int i = 0; i < shape->layers; i++) found = found || shape->widths[i] % group == 0;
    return found;
}

/* All rungs of one network; nothing of them has seen the images kept aside. percent [rung_count][VALUES]. */
static bool try_rungs(struct choice *c, const struct mlp *fp32, int tries, struct sums *percent) {
    struct rung_recipe recipe = rung_defaults();
    struct dataset seen = c->s->data; /* by reference */
    struct training_recipe all = c->base;
    struct quantization_recipe calibration = quantization_defaults();
    struct rung_source source;
    struct model_notes notes = {0};
    seen.train.count -= (size_t)c->base.validation;
    all.validation = 0;
    rung_recipe_fit(&recipe, &fp32->shape, &seen.train);
    describe_training(&seen, &all, &notes);
    if (!rung_source_create(&seen, fp32, &notes, &recipe, &calibration, &all, &source, &c->s->err)) return false;
    bool ok = true;
    for (int i = 0; ok && i < rung_count * VALUES; i++) {
        const double *values = values_of(&rungs[i / VALUES]);
        if (!values || (values == groups && !divides((int)values[i % VALUES], &fp32->shape))) continue;
        ok = try_rung(c, &source, &rungs[i / VALUES], values[i % VALUES], &percent[i]);
        progress_update(&c->bar, (size_t)++c->runs, (size_t)(tries * c->seeds));
    }
    rung_source_free(&source);
    return ok;
}

/* The mean of all rungs for which these values were tried, by value, and the best. */
static void note_best(struct table *t, const char *what, const double *values, const struct sums *percent) {
    char text[256] = "";
    size_t used = 0;
    double highest = 0, best = 0;
    for (int v = 0; v < VALUES; v++) {
        struct sums all = {0};
        for (int i = v; i < rung_count * VALUES; i += VALUES)
            if (values_of(&rungs[i / VALUES]) == values && percent[i].n) sums_add(&all, sums_mean(&percent[i]));
        if (!all.n || used >= sizeof text) continue;
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%.3f%% at %g", used ? ", " : "", sums_mean(&all),
                                 values[v]);
        if (sums_mean(&all) > highest) highest = sums_mean(&all), best = values[v];
    }
    if (used) table_note(t, "%s, mean of all rungs: %s; best: %g.", what, text, best);
}

static void add_rung_rows(struct table *t, const struct sums *percent) {
    char format[64];
    for (int i = 0; i < rung_count * VALUES; i++) {
        const struct rung *rung = &rungs[i / VALUES];
        const double *values = values_of(rung);
        if (!percent[i].n) continue;
        rung_format(rung, (int)values[i % VALUES], format, sizeof format);
        table_row(t, "%s | %s | %s | %g | %.3f | %.3f", format, rung->method, values == groups ? "group" : "rate",
                  values[i % VALUES], sums_mean(&percent[i]), sums_deviation(&percent[i]));
    }
    note_best(t, "QAT's rate", rates_of_qat, percent);
    note_best(t, "Weights of a group", groups, percent);
}

static bool choose_rungs(struct choice *c, struct table *t) {
    struct sums *percent = aligned_array((size_t)rung_count * VALUES, sizeof *percent, &c->s->err);
    uint64_t first = c->base.seed;
    int tries = 0;
    for (int i = 0; i < rung_count; i++) tries += values_of(&rungs[i]) ? VALUES : 0;
    bool ok = percent;
    progress_begin(&c->bar, "recipe", "models");
    for (int seed = 0; ok && seed < c->seeds; seed++) {
        struct train_report report;
        struct mlp mlp;
        c->base.seed = first + (uint64_t)seed;
        ok = train_model(&c->s->data, &c->base, &mlp, &report, &c->s->err);
        if (!ok) break;
        ok = try_rungs(c, &mlp, tries, percent);
        mlp_free(&mlp);
    }
    progress_end(&c->bar);
    if (ok) add_rung_rows(t, percent);
    free(percent);
    return ok;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

int command_recipe(int argc, char **argv) {
    static const char *const kinds[] = {"training", "rungs"};
    struct study s;
    struct choice c = {.s = &s, .base = training_defaults(), .seeds = 5};
    int of = 0;
    c.base.validation = 5000;
    study_init(&s, argv[0], "",
               "Trains by every recipe of a grid, then with other warm-ups by the best of it, each for --seeds seeds "
               "from --seed on, and says how many of the last --validation training images come out right.");
    s.options.examples = "mnistq recipe --seeds 1\nmnistq recipe --of rungs --seeds 3";
    option_choice(&s.options, "of", &of, kinds, 2, "the training, or QAT's rate and the groups of up to 3 bits");
    option_ints(&s.options, "hidden", &c.base.hidden, 1, MLP_MAX_WIDTH, "neurons of each hidden layer");
    option_int(&s.options, "epochs", &c.base.epochs, 1, 1000, "passes over the training images");
    option_seed(&s.options, "seed", &c.base.seed, "the first of the seeds");
    option_int(&s.options, "seeds", &c.seeds, 1, 1000, "how many seeds");
    option_int(&s.options, "validation", &c.base.validation, 1, 1000000, "last training images, kept out of training");
    int status = study_parse(&s, argc, argv, 0, 0);
    if (status != OPTIONS_GO_ON) return status;
    provenance_add(&s.provenance, "seeds", "%llu to %llu", (unsigned long long)c.base.seed,
                   (unsigned long long)c.base.seed + (uint64_t)c.seeds - 1);
    struct table *t = of
        ? study_table(&s, "recipe-rungs", "QAT's rate and groups, on training images kept out of training",
                      "format method of value validation_percent:validation_% sd")
        : study_table(&s, "recipe", "Training recipes, by accuracy on training images kept out of training",
                      "batch rate smoothing warmup:warm-up validation_percent:validation_% sd "
                      "seconds:epoch_s choice");
    return study_end(&s, study_begin(&s) && (of ? choose_rungs : choose_training)(&c, t));
}
