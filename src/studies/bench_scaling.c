#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/progress.h"
#include "cli/recipe.h"
#include "cli/speed.h"
#include "data/digits.h"
#include "lowbit/gptq.h"
#include "studies/bench.h"
#include "studies/chart.h"

static const int batches[] = {1, 10, 100, 1000, 10000};
enum kind { FP32, BF16, INT4, INT8, KINDS };
static const char *const kind_names[KINDS] = {"fp32", "bf16", "int4", "int8"};
enum { BATCHES = sizeof batches / sizeof batches[0], MOST = 10000, LEAST_RUNS = 3, MOST_RUNS = 2100 };
static const double RUN_OPERATIONS = 5e9; /* of a case, all its runs together: about 0.05 s */

/* Speeds do not depend on what the weights are, only pixels that are 0 can be skipped: random weights, drawn digits. */
static bool make_integers(const struct mlp *mlp, const struct split *digits, struct model *int8, struct model *int4,
                          struct error *err) {
    struct quantization_recipe recipe = quantization_defaults();
    struct coding_config config = {.format = format_find("int4"), .block = CODEC_ROW, .method = METHOD_RTN};
    struct coded_matrix codes[MLP_MAX_LAYERS] = {{0}};
    struct range ranges[MLP_MAX_LAYERS + 1];
    size_t saturated;
    bool ok = calibrate_model(mlp, digits, &recipe, ranges, err) &&
        quantize_model(mlp, digits, &recipe, &int8->qmlp, &saturated, err) &&
        weight_only_codes(mlp, NULL, 0, &config, codes, err) &&
        convert_codes(mlp, codes, ranges, false, &int4->qmlp, &saturated, err);
    for (int i = 0; i < MLP_MAX_LAYERS; i++) coded_matrix_free(&codes[i]);
    return ok;
}

/* bf16 is left without a kernel where it would be decoded to fp32. */
static bool make_models(int hidden, const struct split *digits, struct model models[KINDS], struct error *err) {
    static const enum model_kind kinds[KINDS] = {MODEL_FP32, MODEL_WEIGHT_ONLY, MODEL_INT8, MODEL_INT8};
    const struct bf16_kernel *kernel = bf16_kernel_best();
    struct rng rng = rng_seeded(1);
    struct mlp_shape shape;
    struct mlp *mlp = &models[FP32].mlp;
    if (!mlp_shape_make(DIGITS_PIXELS, (int[]){hidden, hidden}, 2, 10, &shape, err) || !mlp_create(&shape, mlp, err))
        return false;
    for (int k = 0; k < KINDS; k++) models[k].kind = kinds[k], models[k].shape = shape;
    mlp_initialise(mlp, &rng);
    return make_integers(mlp, digits, &models[INT8], &models[INT4], err) &&
        (!kernel || bf16_mlp_create(mlp, kernel, &models[BF16].bf16, err));
}

/* All batch sizes of all networks take turns. speeds [BATCHES][KINDS]; of what does not run, NaN. */
static bool measure_width(int hidden, const struct split *digits, struct speed *speeds, struct error *err) {
    struct model models[KINDS] = {{0}};
    struct speed measured[BATCHES * KINDS];
    double operations = 2.0 * (784.0 * hidden + (double)hidden * hidden + 10.0 * hidden);
    bool ok = make_models(hidden, digits, models, err);
    int count = 0;
    for (int i = 0; i < BATCHES * KINDS; i++) {
        int batch = batches[i / KINDS];
        double runs = fmin(fmax(RUN_OPERATIONS / (operations * batch), LEAST_RUNS), MOST_RUNS);
        speeds[i] = (struct speed){.images_per_second = NAN, .gops = NAN, .of_peak_percent = {NAN, NAN}};
        if (i % KINDS == BF16 && !runs_bf16(&models[BF16])) continue;
        measured[count++] = (struct speed){
            .model = &models[i % KINDS], .batch = batch, .threads = 1, .runs = (int)runs, .against_peak = true};
    }
    ok = ok && measure_speeds(measured, count, digits, err);
    for (int i = 0, next = 0; i < BATCHES * KINDS; i++)
        if (next < count && measured[next].model == &models[i % KINDS]) speeds[i] = measured[next++];
    for (int k = 0; k < KINDS; k++) model_free(&models[k]);
    return ok;
}

static void add_rows(struct table *t, int hidden, const struct speed *speeds) {
    for (int b = 0; b < BATCHES; b++, speeds += KINDS) {
        table_row(t, "%d | %d", hidden, batches[b]);
        for (int kind = 0; kind < KINDS; kind++)
            table_row(t, "%.0f | %.1f | %.1f", speeds[kind].images_per_second, speeds[kind].gops,
                      speeds[kind].of_peak_percent[FROM_REGISTERS]);
        table_row(t, "%.2f", speeds[INT8].images_per_second / speeds[FP32].images_per_second);
    }
}

static const struct chart scaling_chart = {
    .title = "How speed grows: 784-H-H-10 networks, one thread",
    .x = {.label = "hidden neurons H (log scale)",
          .log = true,
          .from = 56,
          .to = 4680,
          .ticks = {64, 128, 256, 512, 1024, 2048, 4096}},
    .y = {.label = "billion operations a second, without those skipped (log scale)",
          .log = true,
          .from = 5,
          .to = 5000,
          .ticks = {5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000}},
    .cycle = KINDS,
    .columns = 3};

/* A panel for each batch size; int8 last, over int4, which stands close to it. speeds [widths][BATCHES][KINDS] */
static bool draw(const char *path, const struct int_list *widths, const struct speed *speeds, struct error *err) {
    char panels[BATCHES][32];
    struct plot_point points[OPTIONS_MAX_INTS * BATCHES * KINDS];
    int count = 0;
    for (int b = 0; b < BATCHES; b++) {
        snprintf(panels[b], sizeof panels[b], "batch %d", batches[b]);
        for (int kind = 0; kind < KINDS; kind++)
            for (int w = 0; w < widths->count; w++) {
                double gops = speeds[(w * BATCHES + b) * KINDS + kind].gops;
                if (gops > 0)
                    points[count++] = (struct plot_point){kind_names[kind], widths->values[w], gops, panels[b]};
            }
    }
    return chart_write(path, &scaling_chart, points, count, err);
}

bool bench_scaling(struct study *s, const struct int_list *widths) {
    struct table *t = study_table(s, "scaling", "How speed grows: 784-H-H-10 networks, one thread",
                                  "hidden batch "
                                  "fp32_images_per_second:fp32/s fp32_gops- fp32_of_peak_percent:%_of_peak "
                                  "bf16_images_per_second:bf16/s bf16_gops- bf16_of_peak_percent:%_of_peak "
                                  "int4_images_per_second:int4/s int4_gops- int4_of_peak_percent:%_of_peak "
                                  "int8_images_per_second:int8/s int8_gops- int8_of_peak_percent:%_of_peak "
                                  "int8_over_fp32:int8/fp32");
    int per_width = BATCHES * KINDS, count = widths->count * per_width;
    struct split digits = {.count = MOST, .rows = DIGITS_ROWS, .cols = DIGITS_COLS};
    struct speed *speeds = aligned_array((size_t)count, sizeof *speeds, &s->err);
    struct progress bar;
    const char *path = study_path(s, "scaling.svg");
    digits.images = aligned_array(MOST, DIGITS_PIXELS, &s->err);
    digits.labels = aligned_array(MOST, 1, &s->err);
    bool ok = speeds && path && digits.images && digits.labels;
    if (ok) digits_draw(1, 0, MOST, digits.images, digits.labels);
    progress_begin(&bar, "scaling", "hidden sizes");
    for (int w = 0; ok && w < widths->count; w++) {
        ok = measure_width(widths->values[w], &digits, speeds + w * per_width, &s->err);
        if (ok) add_rows(t, widths->values[w], speeds + w * per_width);
        progress_update(&bar, (size_t)w + 1, (size_t)widths->count);
    }
    progress_end(&bar);
    if (ok) {
        table_note(
            t,
            "What to see: how much the larger networks and batches gain, and that int8 is ahead in all: of one "
            "image it needs a fourth of fp32's bytes of weights. Images a second and the share of the peak, as in "
            "the table bench; int4: 4-bit weights in the integer engine. Random weights, drawn digits.");
        note_speeds(t, speeds, count);
        ok = draw(path, widths, speeds, &s->err);
    }
    split_free(&digits);
    free(speeds);
    return ok;
}
