/* mnistq bench: how fast, and how close to what this machine can do. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/stats.h"
#include "studies/bench.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "studies/peak.h"
#include "cli/recipe.h"
#include "cli/report.h"
#include "model/model_run.h"
#include "base/file.h"
#include "nn/gemm.h"

/* ---- inference ----------------------------------------------------------------------------------------------- */

/* One line of the table: a model at a batch size on some threads. */
struct bench_case {
    const char *path;
    const struct model *model;
    int batch, threads, runs, used;
    struct model_run run;
    double *seconds; /* [runs] */
    double *of_peak; /* [runs] against the peak measured just before */
};

static double case_operations(const struct model *m) {
    double operations = 0; /* of one image */
    for (int i = 0; i < m->shape.layers; i++) operations += 2.0 * m->shape.widths[i] * m->shape.widths[i + 1];
    return operations;
}

static bool case_create(struct bench_case *c, struct error *err) {
    return model_run_create(c->model, c->batch, c->threads, RUN_FAST, &c->run, err) &&
        (c->seconds = aligned_array((size_t)c->runs, sizeof *c->seconds, err)) &&
        (c->of_peak = aligned_array((size_t)c->runs, sizeof *c->of_peak, err));
}

static void case_free(struct bench_case *c) {
    model_run_free(&c->run);
    free(c->seconds);
    free(c->of_peak);
}

/* What the instruction that a model runs on can do at most. */
static double peak_of(const struct model *m, struct peak peak) {
    return m->kind == MODEL_INT8 ? peak.int8_ops : runs_bf16(m) ? peak.bf16_flops : peak.fp32_flops;
}

/* Runs the case once on the images that come next; images [total][pixels] holds a batch at least. */
static void case_run(struct bench_case *c, const uint8_t *images, size_t total, struct peak peak, uint8_t *predicted) {
    size_t places = total / (size_t)c->batch, pixels = (size_t)c->model->shape.widths[0];
    const uint8_t *from = images + (size_t)c->used % places * (size_t)c->batch * pixels;
    double started = seconds_now();
    model_run(&c->run, from, c->batch, predicted);
    double seconds = seconds_now() - started;
    double limit = peak_of(c->model, peak);
    c->of_peak[c->used] = limit > 0 ? c->batch * case_operations(c->model) / seconds / limit : NAN;
    c->seconds[c->used++] = seconds;
}

static void case_row(struct bench_case *c, struct table *t) {
    double low = percentile_of(c->seconds, c->runs, 0.1), middle = percentile_of(c->seconds, c->runs, 0.5),
           high = percentile_of(c->seconds, c->runs, 0.9), p99 = percentile_of(c->seconds, c->runs, 0.99);
    table_row(t, "%s | %s | %d | %d | %d | %.0f | %.1f | %.1f | %.1f | %.*f | %.*f", c->path, arithmetic_name(c->model),
              c->batch, c->threads, c->runs, c->batch / middle, 100 * (high - low) / middle,
              c->batch * case_operations(c->model) / middle / 1e9, 100 * percentile_of(c->of_peak, c->runs, 0.5),
              middle < 1e-4 ? 2 : 0, middle * 1e6, p99 < 1e-4 ? 2 : 0, p99 * 1e6);
}

/* All cases take turns, run after run, each beside a peak measured on as many threads in the same moment. */
static bool run_cases(struct bench_case *cases, int count, const uint8_t *images, size_t total, struct error *err) {
    uint8_t *predicted = aligned_array(total, 1, err);
    struct progress bar;
    int most = 0;
    if (!predicted) return false;
    for (int i = 0; i < count; i++) most = cases[i].runs > most ? cases[i].runs : most;
    progress_begin(&bar, "bench", "rounds");
    for (int round = 0; round < BENCH_ROUNDS; round++) {
        for (int i = 0; i < count; i++) {
            struct bench_case *c = &cases[i];
            int until = (int)((long)c->runs * (round + 1) / BENCH_ROUNDS);
            struct peak peak = measure_peak(c->threads, 0.004);
            struct bench_case warm =
                *c; /* a run that is not counted: the peak loop has emptied nothing, but others have */
            case_run(&warm, images, total, peak, predicted);
            while (c->used < until) case_run(c, images, total, peak, predicted);
        }
        progress_update(&bar, (size_t)round + 1, BENCH_ROUNDS);
    }
    progress_end(&bar);
    free(predicted);
    return true;
}

/* ---- training ------------------------------------------------------------------------------------------------ */

/* Forward, weight gradients, and input gradients of all layers but the first. */
static double step_operations(const struct mlp_shape *s, double images) {
    double operations = 0;
    for (int i = 0; i < s->layers; i++) operations += (i ? 6.0 : 4.0) * s->widths[i] * s->widths[i + 1];
    return operations * images;
}

static bool bench_training(const struct dataset *data, int threads, struct table *t, struct error *err) {
    double seconds[5], of_peak[5];
    struct training_recipe recipe = training_defaults();
    struct train_report report;
    double operations = 0;
    int before = gemm_threads(0);
    bool ok = true;
    gemm_threads(threads);
    for (int run = 0; ok && run < 5; run++) {
        struct mlp mlp;
        struct peak peak = measure_peak(threads, 0.02);
        recipe.seed = (uint64_t)run + 1;
        if (!(ok = train_model(data, &recipe, &mlp, &report, err))) break;
        operations = step_operations(&mlp.shape, (double)data->train.count);
        seconds[run] = report.seconds;
        of_peak[run] = operations / report.seconds / peak.fp32_flops;
        mlp_free(&mlp);
    }
    gemm_threads(before);
    if (!ok) return false;
    double middle = percentile_of(seconds, 5, 0.5);
    table_row(t, "training epoch, batch %d, Adam | fp32 | %d | %d | %d | %.0f | %.1f | %.1f | %.1f | %.0f | ",
              recipe.batch, recipe.batch, threads, 5, (double)data->train.count / middle,
              100 * (percentile_of(seconds, 5, 1) - percentile_of(seconds, 5, 0)) / middle, operations / middle / 1e9,
              100 * percentile_of(of_peak, 5, 0.5), middle * 1e6);
    return true;
}

/* ---- the command --------------------------------------------------------------------------------------------- */

struct bench_run {
    const char *source, *results;
    struct int_list batches;
    int runs;
    bool training, scaling;
};

static const struct bench_run defaults = {"data/mnist", NULL, {5, {1, 8, 64, 1000, 10000}}, 21, true, false};

/* A set smaller than the largest batch is repeated. Release with free. */
static uint8_t *enough_images(const struct split *test, size_t wanted, size_t *total, struct error *err) {
    size_t pixels = (size_t)test->rows * (size_t)test->cols;
    *total = test->count > wanted ? test->count : wanted;
    uint8_t *images = aligned_array(*total, pixels, err);
    for (size_t i = 0; images && i < *total; i++)
        memcpy(images + i * pixels, test->images + i % test->count * pixels, pixels);
    return images;
}

static bool bench_models(const struct bench_run *run, char **paths, int model_count, const struct split *test,
                         struct table *t, struct error *err) {
    int all = gemm_threads(0), levels = all > 1 ? 2 : 1, count = 0;
    int most = model_count * run->batches.count * levels, largest = 1;
    struct model *models = aligned_array((size_t)model_count, sizeof *models, err);
    struct bench_case *cases = aligned_array((size_t)most, sizeof *cases, err);
    for (int i = 0; i < run->batches.count; i++)
        largest = run->batches.values[i] > largest ? run->batches.values[i] : largest;
    size_t total;
    uint8_t *images = enough_images(test, (size_t)largest, &total, err);
    bool ok = models && cases && images;
    for (int m = 0; ok && m < model_count; m++) {
        ok = model_read(paths[m], &models[m], NULL, err) &&
            split_fits(test, models[m].shape.widths[0], models[m].shape.widths[models[m].shape.layers], run->source,
                       err);
        for (int b = 0; ok && b < run->batches.count; b++)
            for (int level = 0; ok && level < levels; level++) {
                int batch = run->batches.values[b], runs = batch == 1 ? 100 * run->runs : run->runs;
                cases[count] = (struct bench_case){
                    .path = paths[m], .model = &models[m], .batch = batch, .threads = level ? all : 1, .runs = runs};
                ok = case_create(&cases[count++], err);
            }
    }
    ok = ok && run_cases(cases, count, images, total, err);
    for (int i = 0; ok && i < count; i++) case_row(&cases[i], t);
    for (int i = 0; i < count; i++) case_free(&cases[i]);
    for (int m = 0; models && m < model_count; m++) model_free(&models[m]);
    free(models);
    free(cases);
    free(images);
    return ok;
}

static bool run_bench(const struct bench_run *run, char **paths, int count, struct table *t, struct provenance *p,
                      struct error *err) {
    struct dataset data;
    int all = gemm_threads(0);
    if (!dataset_load(run->source, &data, err)) return false;
    struct peak one = measure_peak(1, 0.3), every = measure_peak(all, 0.3);
    provenance_dataset(p, &data);
    provenance_machine(p);
    table_note(
        t, "Peak of this machine in this run: %s %.0f GFLOP/s and %s %.0f GOP/s on one thread, %.0f and %.0f on %d.",
        one.fp32_name, one.fp32_flops / 1e9, one.int8_name, one.int8_ops / 1e9, every.fp32_flops / 1e9,
        every.int8_ops / 1e9, all);
    if (one.bf16_name)
        table_note(t, "bf16: %s %.0f GFLOP/s on one thread, %.0f on %d.", one.bf16_name, one.bf16_flops / 1e9,
                   every.bf16_flops / 1e9, all);
    table_note(t,
               "median of the runs, spread from the 10th to the 90th percentile; of_peak: against the peak loop run "
               "just before "
               "on as many threads, int8 and bf16 products each against their instruction, the rest against fp32. A "
               "batch of 1 "
               "runs 100 times as often.");
    bool ok = bench_models(run, paths, count, &data.test, t, err);
    if (ok && run->training) ok = bench_training(&data, 1, t, err) && (all == 1 || bench_training(&data, all, t, err));
    ok = ok && table_save(t, p, run->results, "bench", err);
    dataset_free(&data);
    return ok && (!run->scaling || bench_scaling(run->results, p, err));
}

int command_bench(int argc, char **argv) {
    static const char columns[] =
        "model arithmetic batch threads runs images_per_second spread_percent gops of_peak_percent p50_us p99_us";
    struct options o = {
        .command = argv[0],
        .arguments = "MODEL...",
        .what = "Times models on the test images at several batch sizes, on one thread and on all, and training, as\n"
                "fractions of the machine's peak in the same run. Writes the table bench to --results."};
    struct bench_run run = defaults;
    bool json = false, no_training = false;
    option_data(&o, &run.source, "folder with the four IDX files, or the built-in digits");
    option_results(&o, &run.results, "folder for the tables");
    option_ints(&o, "batch", &run.batches, 1, 100000, "batch sizes");
    option_int(&o, "runs", &run.runs, BENCH_ROUNDS, 10000, "timed runs of each (a batch of 1: 100 times as many)");
    option_flag(&o, "no-training", &no_training, "leave out the training epochs");
    option_flag(&o, "scaling", &run.scaling, "also how speed grows with hidden size and batch: scaling.{md,csv,svg}");
    option_flag(&o, "json", &json, "print the table as JSON");
    int status = options_parse(&o, argc, argv, 1, 64);
    if (status != OPTIONS_GO_ON) return status;
    struct error err;
    struct table t;
    struct provenance p = {0};
    run.training = !no_training;
    table_init(&t, "Speed, and how close it comes to what the machine can do", columns);
    provenance_command(&p);
    bool ok = run_bench(&run, o.files, o.file_count, &t, &p, &err);
    return report_table(&t, &p, json, ok, &err);
}
