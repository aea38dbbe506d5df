#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/progress.h"
#include "cli/recipe.h"
#include "cli/speed.h"
#include "data/digits.h"
#include "studies/bench.h"
#include "studies/chart.h"

static const int batches[] = {1, 10, 100, 1000, 10000};
enum {
    BATCHES = sizeof batches / sizeof batches[0],
    MOST = 10000,
    FP32 = 0,
    INT8,
    KINDS,
    LEAST_RUNS = 3,
    MOST_RUNS = 2100
};
static const double RUN_OPERATIONS = 5e9; /* of a case, all its runs together: about 0.05 s */

/* Speeds do not depend on what the weights are, only pixels that are 0 can be skipped: random weights, drawn digits. */
static bool make_pair(int hidden, const struct split *digits, struct model pair[KINDS], struct error *err) {
    struct quantization_recipe recipe = quantization_defaults();
    struct rng rng = rng_seeded(1);
    struct mlp *mlp = &pair[FP32].mlp;
    size_t saturated;
    if (!mlp_shape_make(DIGITS_PIXELS, (int[]){hidden, hidden}, 2, 10, &pair[FP32].shape, err) ||
        !mlp_create(&pair[FP32].shape, mlp, err))
        return false;
    mlp_initialise(mlp, &rng);
    pair[INT8].shape = pair[FP32].shape;
    return quantize_model(mlp, digits, &recipe, &pair[INT8].qmlp, &saturated, err);
}

/* All batch sizes of both networks take turns. speeds [BATCHES][KINDS] */
static bool measure_width(int hidden, const struct split *digits, struct speed *speeds, struct error *err) {
    struct model pair[KINDS] = {{.kind = MODEL_FP32}, {.kind = MODEL_INT8}};
    double operations = 2.0 * (784.0 * hidden + (double)hidden * hidden + 10.0 * hidden);
    bool ok = make_pair(hidden, digits, pair, err);
    for (int i = 0; i < BATCHES * KINDS; i++) {
        int batch = batches[i / KINDS];
        double runs = fmin(fmax(RUN_OPERATIONS / (operations * batch), LEAST_RUNS), MOST_RUNS);
        speeds[i] = (struct speed){
            .model = &pair[i % KINDS], .batch = batch, .threads = 1, .runs = (int)runs, .against_peak = true};
    }
    ok = ok && measure_speeds(speeds, BATCHES * KINDS, digits, err);
    for (int i = 0; i < KINDS; i++) model_free(&pair[i]);
    return ok;
}

static void add_rows(struct table *t, int hidden, const struct speed *speeds) {
    for (const struct speed *s = speeds; s < speeds + BATCHES * KINDS; s += KINDS) {
        table_row(t, "%d | %d", hidden, s->batch);
        for (int kind = 0; kind < KINDS; kind++)
            table_row(t, "%.0f | %.1f | %.1f", s[kind].images_per_second, s[kind].gops,
                      s[kind].of_peak_percent[FROM_REGISTERS]);
        table_row(t, "%.2f", s[INT8].images_per_second / s[FP32].images_per_second);
    }
}

static const struct chart scaling_chart = {.title = "How speed grows: 784-H-H-10 networks, one thread",
                                           .x = {.label = "hidden neurons H (log scale)",
                                                 .log = true,
                                                 .from = 56,
                                                 .to = 4680,
                                                 .ticks = {64, 128, 256, 512, 1024, 2048, 4096}},
                                           .y = {.label = "billion operations a second (log scale)",
                                                 .log = true,
                                                 .from = 2,
                                                 .to = 2000,
                                                 .ticks = {2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000}},
                                           .cycle = BATCHES};

/* speeds [widths][BATCHES][KINDS]. The first cycle of series is int8. */
static bool draw(const char *path, const struct int_list *widths, const struct speed *speeds, struct error *err) {
    char names[KINDS][BATCHES][32];
    struct plot_point points[OPTIONS_MAX_INTS * BATCHES * KINDS];
    int count = 0;
    for (int kind = INT8; kind >= FP32; kind--)
        for (int b = 0; b < BATCHES; b++) {
            snprintf(names[kind][b], sizeof names[kind][b], "%s, batch %d", kind ? "int8" : "fp32", batches[b]);
            for (int w = 0; w < widths->count; w++)
                points[count++] = (struct plot_point){names[kind][b], widths->values[w],
                                                      speeds[(w * BATCHES + b) * KINDS + kind].gops};
        }
    return chart_write(path, &scaling_chart, points, count, err);
}

bool bench_scaling(struct study *s, const struct int_list *widths) {
    struct table *t = study_table(s, "scaling", "How speed grows: 784-H-H-10 networks, one thread",
                                  "hidden batch fp32_images_per_second:fp32_images/s fp32_gops- "
                                  "fp32_of_peak_percent:fp32_%_of_peak int8_images_per_second:int8_images/s int8_gops- "
                                  "int8_of_peak_percent:int8_%_of_peak int8_over_fp32");
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
        table_note(t,
                   "What to see: how much the larger networks and batches gain, and that int8 is ahead in all. Random "
                   "weights, drawn digits.");
        note_speeds(t, speeds, count);
        ok = draw(path, widths, speeds, &s->err);
    }
    split_free(&digits);
    free(speeds);
    return ok;
}
