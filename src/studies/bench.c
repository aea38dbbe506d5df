/* mnistq bench: how fast, and how close to what this machine can do. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/stats.h"
#include "cli/commands.h"
#include "cli/recipe.h"
#include "cli/speed.h"
#include "nn/gemm.h"
#include "studies/bench.h"

enum { MOST_MODELS = 64, MOST_EPOCHS = 100 };

struct bench_options {
    struct int_list batches, threads, widths;
    int runs, epochs;
    uint64_t seed;
    bool no_training, scaling;
};

/* Files and JSON have all rows; the terminal, those of one number of threads. */
struct tables {
    struct table *all, *shown;
    int threads; /* of those shown */
};

/* name: what a terminal shows of the model's path. */
static void add_row(const struct tables *t, const char *name, const char *model, const char *arithmetic,
                    const struct speed *s, double accuracy) {
    if (s->threads == t->threads)
        table_row(t->shown, "%s | %d | %.0f | %.1f | %.1f | %.1f | %.1f | %.*f", name, s->batch, s->images_per_second,
                  s->spread_percent, s->skipped_percent, s->of_peak_percent[FROM_REGISTERS],
                  s->of_peak_percent[FROM_L1], s->p50_us < 100 ? 2 : 0, s->p50_us);
    table_row(t->all, "%s | %s | %s | %d | %d | %d | %.0f | %.1f | %.1f | %.1f | %.1f | %.1f | %.*f | %.*f | %.2f",
              name, model, arithmetic, s->batch, s->threads, s->runs, s->images_per_second, s->spread_percent, s->gops,
              s->skipped_percent, s->of_peak_percent[FROM_REGISTERS], s->of_peak_percent[FROM_L1],
              s->p50_us < 100 ? 2 : 0, s->p50_us, s->p99_us < 100 ? 2 : 0, s->p99_us, accuracy);
}

/* "int8-per-channel" of "results/mnist/models/int8-per-channel.safetensors" */
static void short_name(const char *path, char *name, size_t size) {
    const char *slash = strrchr(path, '/');
    snprintf(name, size, "%s", slash ? slash + 1 : path);
    char *ending = strstr(name, ".safetensors");
    if (ending) *ending = 0;
}

/* ---- inference ----------------------------------------------------------------------------------------------- */

/* Every model at every batch size on every number of threads, all taking turns. Small batches run more often. speeds
 * [models][batches][threads] */
static bool bench_models(struct study *s, const struct bench_options *o, const struct model *models,
                         struct speed *speeds, const struct tables *t) {
    int per_model = o->batches.count * o->threads.count, count = s->options.file_count * per_model;
    for (int i = 0; i < count; i++) {
        int batch = o->batches.values[i % per_model / o->threads.count];
        speeds[i] = (struct speed){.model = &models[i / per_model],
                                   .batch = batch,
                                   .threads = o->threads.values[i % o->threads.count],
                                   .runs = o->runs * (batch < 100 ? 100 / batch : 1),
                                   .against_peak = true};
    }
    bool ok = measure_speeds(speeds, count, &s->data.test, &s->err);
    for (int m = 0; ok && m < s->options.file_count; m++) {
        struct evaluation e;
        char name[256];
        short_name(s->options.files[m], name, sizeof name);
        ok = evaluate(&models[m], &s->data.test, false, &e, &s->err);
        for (int i = m * per_model; ok && i < (m + 1) * per_model; i++)
            add_row(t, name, s->options.files[m], arithmetic_name(&models[m]), &speeds[i], accuracy_percent(&e));
        evaluation_free(&e);
    }
    return ok;
}

/* ---- training ------------------------------------------------------------------------------------------------ */

/* Forward, weight gradients, and input gradients of all layers but the first. */
static double step_operations(const struct mlp_shape *s) {
    double operations = 0; /* of one image */
    for (int i = 0; i < s->layers; i++) operations += (i ? 6.0 : 4.0) * s->widths[i] * s->widths[i + 1];
    return operations;
}

/* Epochs of the recipe's defaults on a network of this shape, each from another seed. */
static bool bench_training(struct study *s, const struct bench_options *o, const struct mlp_shape *shape, int threads,
                           struct speed *speed, const struct tables *t) {
    double seconds[MOST_EPOCHS], wall[MOST_EPOCHS], accuracy[MOST_EPOCHS], peak[YARDSTICKS] = {0};
    struct training_recipe recipe = training_defaults();
    *speed = (struct speed){.batch = recipe.batch, .threads = threads, .runs = o->epochs, .p99_us = NAN};
    size_t n = (size_t)o->epochs;
    int before = gemm_threads(0);
    char name[64];
    bool ok = true;
    recipe.hidden.count = shape->layers - 1;
    memcpy(recipe.hidden.values, shape->widths + 1, (size_t)recipe.hidden.count * sizeof(int));
    gemm_threads(threads);
    for (int i = 0; ok && i < o->epochs; i++) {
        struct model trained = {.kind = MODEL_FP32, .shape = *shape};
        struct train_report report;
        struct evaluation e = {0};
        recipe.seed = o->seed + (uint64_t)i;
        for (enum yardstick y = 0; y < YARDSTICKS; y++)
            peak[y] = fmax(peak[y], peak_measure(PEAK_FP32, y, threads, 0.02));
        double started = speed_clock(threads);
        ok = train_model(&s->data, &recipe, &trained.mlp, &report, &s->err);
        seconds[i] = speed_clock(threads) - started;
        if (ok) {
            wall[i] = report.seconds;
            ok = evaluate(&trained, &s->data.test, false, &e, &s->err);
            accuracy[i] = ok ? accuracy_percent(&e) : NAN;
            mlp_free(&trained.mlp);
        }
        evaluation_free(&e);
    }
    gemm_threads(before);
    if (!ok) return false;
    speed_sum_up(speed, (double)s->data.train.count, step_operations(shape), seconds, n, peak);
    speed->p50_us = 1e6 * percentile_of(wall, n, 0.5);
    snprintf(name, sizeof name, "training epoch, batch %d, Adam", recipe.batch);
    add_row(t, "training epoch", name, "fp32", speed, percentile_of(accuracy, n, 0.5));
    return true;
}

/* ---- the command --------------------------------------------------------------------------------------------- */

/* Each on one thread and, where there are more, on all that are used. */
static void note_peaks(struct table *t, const struct int_list *threads) {
    for (int i = 0; i < threads->count; i++) {
        char text[256];
        size_t used = 0;
        for (enum peak peak = 0; peak < PEAKS; peak++)
            if (peak_name(peak))
                used += (size_t)snprintf(
                    text + used, sizeof text - used, "%s %s %.0f (l1 %.0f) G%s/s", used ? "," : "", peak_name(peak),
                    peak_measure(peak, FROM_REGISTERS, threads->values[i], 0.05) / 1e9,
                    peak_measure(peak, FROM_L1, threads->values[i], 0.05) / 1e9, peak == PEAK_INT8 ? "OP" : "FLOP");
        if (used)
            table_note(t, "Peak of this machine in this run on %d thread%s:%s.", threads->values[i],
                       threads->values[i] == 1 ? "" : "s", text);
    }
}

static bool read_models(struct study *s, struct model *models) {
    bool ok = true;
    for (int i = 0; ok && i < s->options.file_count; i++) {
        const struct mlp_shape *shape = &models[i].shape;
        ok = model_read(s->options.files[i], &models[i], NULL, &s->err) &&
            split_fits(&s->data.test, shape->widths[0], shape->widths[shape->layers], s->source, &s->err);
    }
    return ok;
}

static bool run(struct study *s, const struct bench_options *o) {
    struct table *t = study_table(
        s, "bench", "Speed, and how close it comes to what the machine can do",
        "name:model model- arithmetic batch threads runs- images_per_second:images/s spread_percent:±_% "
        "gops- skipped_percent:%_skipped of_peak_percent:%_of_peak of_l1_percent:%_of_l1 p50_us p99_us- "
        "accuracy_percent-");
    struct table *shown = study_table(
        s, NULL, t->title,
        "model batch images_per_second:images/s spread_percent:±_% "
        "skipped_percent:%_skipped of_peak_percent:%_of_peak of_l1_percent:%_of_l1 p50_us");
    struct tables both = {t, shown, o->threads.values[0]};
    s->tables[0].shown = false;
    s->tables[1].shown = true;
    struct model *models = aligned_array(MOST_MODELS, sizeof *models, &s->err);
    int count = s->options.file_count * o->batches.count * o->threads.count;
    struct speed *speeds = aligned_array((size_t)(count + o->threads.count), sizeof *speeds, &s->err);
    bool ok = models && speeds && read_models(s, models);
    if (ok) {
        table_note(t,
                   "What to see: on one thread int8 and fp32 come near what their instructions can do, of the products "
                   "that are not zero; fp32 needs larger batches for it.");
        note_peaks(t, &o->threads);
        table_note(
            t,
            "skipped: products of pixels and activations that are 0, left out where all rows of a tile have zeros, in "
            "int8 by groups. of peak: the others, against a loop of nothing but the fastest instruction that this "
            "machine has for such numbers, on registers; of l1: the same with an operand of each from L1. Both take "
            "their turns just before. runs: of a batch under 100 more often.");
    }
    ok = ok && bench_models(s, o, models, speeds, &both);
    for (int i = 0; ok && !o->no_training && i < o->threads.count; i++)
        ok = bench_training(s, o, &models[0].shape, o->threads.values[i], &speeds[count++], &both);
    if (ok) note_speeds(t, speeds, count);
    for (size_t i = 0; i < t->note_count; i++) table_note(shown, "%s", t->notes[i].text);
    table_note(
        shown,
        "On %d thread%s. %s arithmetic, runs, gops, p99_us and accuracy_percent are in the files and with --json.",
        both.threads, both.threads == 1 ? "" : "s",
        o->threads.count > 1 ? "The rows of other numbers of threads and the columns" : "The columns");
    ok = ok && (!o->scaling || bench_scaling(s, &o->widths));
    for (int i = 0; models && i < s->options.file_count; i++) model_free(&models[i]);
    free(models);
    free(speeds);
    return ok;
}

int command_bench(int argc, char **argv) {
    struct study s;
    int all = gemm_threads(0);
    struct bench_options o = {.batches = {5, {1, 8, 64, 1000, 10000}},
                              .threads = {all > 1 ? 2 : 1, {1, all}},
                              .widths = {7, {64, 128, 256, 512, 1024, 2048, 4096}},
                              .runs = 21,
                              .epochs = 5,
                              .seed = 1};
    study_init(&s, argv[0], "MODEL...",
               "Times models on the test images at several batch sizes, on one thread and on all, and training, as\n"
               "fractions of the machine's peak in the same run. Writes the table bench to --results.");
    s.options.examples = "mnistq bench fp32.safetensors int8-per-channel.safetensors\n"
                         "mnistq bench int8-per-channel.safetensors --json --quiet";
    option_ints(&s.options, "batch", &o.batches, 1, 100000, "batch sizes");
    option_ints(&s.options, "threads", &o.threads, 1, 256, "numbers of threads");
    option_int(&s.options, "runs", &o.runs, SPEED_TURNS, 10000,
               "timed batches of each (under 100 images: 100 / batch as many)");
    option_int(&s.options, "epochs", &o.epochs, 1, MOST_EPOCHS,
               "timed training epochs, of networks like the first model");
    option_seed(&s.options, "seed", &o.seed, "of the first of them");
    option_flag(&s.options, "no-training", &o.no_training, "leave out the training epochs");
    option_flag(&s.options, "scaling", &o.scaling,
                "also how speed grows with hidden size and batch: scaling.{md,csv,svg}");
    option_ints(&s.options, "widths", &o.widths, 1, MLP_MAX_WIDTH, "hidden sizes of --scaling");
    int status = study_parse(&s, argc, argv, 1, MOST_MODELS);
    if (status != OPTIONS_GO_ON) return status;
    return study_end(&s, study_begin(&s) && run(&s, &o));
}
