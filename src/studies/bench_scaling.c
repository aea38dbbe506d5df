#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/stats.h"
#include "studies/bench.h"
#include "studies/peak.h"
#include "model/model_run.h"
#include "base/file.h"
#include "base/progress.h"
#include "data/digits.h"

static const int widths[] = {64, 128, 256, 512, 1024, 2048, 4096};
static const int batches[] = {1, 10, 100, 1000, 10000};
enum {
    WIDTHS = sizeof widths / sizeof widths[0],
    BATCHES = sizeof batches / sizeof batches[0],
    MOST = 10000,
    KINDS = 2
};

/* Speeds do not depend on what the weights are, only pixels that are 0 can be skipped: random weights, drawn digits. */
struct pair {
    struct model models[KINDS]; /* fp32, int8 */
};

static bool pair_create(int hidden, const uint8_t *images, struct pair *p, struct error *err) {
    struct mlp_shape shape;
    struct convert_config config = {true, false, OBSERVER_MINMAX};
    struct range ranges[MLP_MAX_LAYERS + 1];
    struct mlp_workspace ws = {0};
    size_t saturated;
    struct rng rng = rng_seeded(1);
    *p = (struct pair){{{.kind = MODEL_FP32}, {.kind = MODEL_INT8}}};
    struct mlp *mlp = &p->models[0].mlp;
    bool ok = mlp_shape_make(DIGITS_PIXELS, (int[]){hidden, hidden}, 2, 10, &shape, err) &&
        mlp_create(&shape, mlp, err);
    if (ok) mlp_initialise(mlp, &rng);
    p->models[0].shape = p->models[1].shape = shape;
    ok = ok && mlp_workspace_create(&shape, CALIBRATION_BATCH, false, &ws, err) &&
        calibrate(mlp, images, 128, &config, &ws, ranges, err) &&
        convert(mlp, ranges, &config, &p->models[1].qmlp, &saturated, err);
    mlp_workspace_free(&ws);
    return ok;
}

static void pair_free(struct pair *p) {
    model_free(&p->models[0]);
    model_free(&p->models[1]);
}

static double operations_of(int hidden) { return 2.0 * (784.0 * hidden + (double)hidden * hidden + 10.0 * hidden); }

/* Seconds a batch takes: the median of runs that go on for a while, three at least. */
static bool time_batch(const struct model *m, const uint8_t *images, int batch, double *seconds, struct error *err) {
    double samples[50], until = seconds_now() + 0.05;
    uint8_t predicted[MOST];
    struct model_run r;
    int used = 0;
    if (!model_run_create(m, batch, 1, RUN_FAST, &r, err)) {
        model_run_free(&r);
        return false;
    }
    model_run(&r, images, batch, predicted);
    while (used < 50 && (used < 3 || seconds_now() < until)) {
        double started = seconds_now();
        model_run(&r, images, batch, predicted);
        samples[used++] = seconds_now() - started;
    }
    model_run_free(&r);
    *seconds = percentile_of(samples, used, 0.5);
    return true;
}

static void add_row(struct table *t, int hidden, int batch, const double *seconds, struct peak peak) {
    double operations = operations_of(hidden) * batch;
    table_row(t, "%d | %d", hidden, batch);
    for (int kind = 0; kind < KINDS; kind++) {
        double limit = kind ? peak.int8_ops : peak.fp32_flops;
        table_row(t, "%.0f | %.1f | %.1f", batch / seconds[kind], operations / seconds[kind] / 1e9,
                  limit > 0 ? 100 * operations / seconds[kind] / limit : NAN);
    }
    table_row(t, "%.2f", seconds[0] / seconds[1]);
}

/* gops [KINDS][WIDTHS][BATCHES] is kept for the picture. */
static bool fill(struct table *t, const uint8_t *images, double gops[KINDS][WIDTHS][BATCHES], struct error *err) {
    struct progress bar;
    bool ok = true;
    progress_begin(&bar, "scaling", "cases");
    for (int w = 0; ok && w < WIDTHS; w++) {
        struct pair pair;
        ok = pair_create(widths[w], images, &pair, err);
        for (int b = 0; ok && b < BATCHES; b++) {
            double seconds[KINDS];
            struct peak peak = measure_peak(1, 0.01);
            for (int kind = 0; ok && kind < KINDS; kind++) {
                ok = time_batch(&pair.models[kind], images, batches[b], &seconds[kind], err);
                if (ok) gops[kind][w][b] = operations_of(widths[w]) * batches[b] / seconds[kind] / 1e9;
            }
            if (ok) add_row(t, widths[w], batches[b], seconds, peak);
            progress_update(&bar, (size_t)(w * BATCHES + b + 1), WIDTHS * BATCHES);
        }
        pair_free(&pair);
    }
    progress_end(&bar);
    return ok;
}

enum { WIDE = 890, HIGH = 460, LEFT = 70, RIGHT = 220, TOP = 40, BOTTOM = 56 };

static double x_of(double hidden) { return LEFT + (WIDE - LEFT - RIGHT) * log2(hidden / 64) / 6; }

static double y_of(double gops) { return HIGH - BOTTOM - (HIGH - TOP - BOTTOM) * (log10(fmax(gops, 1)) / log10(2000)); }

static bool draw(const char *folder, double gops[KINDS][WIDTHS][BATCHES], struct error *err) {
    static const char *const colours[BATCHES] = {"#b8b8b8", "#edae49", "#2e8b57", "#d1495b", "#1b6ca8"};
    char path[4096];
    struct out_file out;
    snprintf(path, sizeof path, "%.4000s/scaling.svg", folder);
    if (!out_file_open(&out, path, err)) return false;
    FILE *f = out.stream;
    fprintf(f,
            "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' font-family='sans-serif' font-size='13'>\n"
            "<rect width='100%%' height='100%%' fill='white'/>\n",
            WIDE, HIGH);
    for (int w = 0; w < WIDTHS; w++)
        fprintf(f, "<text x='%.1f' y='%d' text-anchor='middle'>%d</text>\n", x_of(widths[w]), HIGH - BOTTOM + 18,
                widths[w]);
    for (double g = 1; g <= 1000; g *= 10)
        fprintf(f,
                "<line x1='%d' x2='%d' y1='%.1f' y2='%.1f' stroke='#ddd'/><text x='%d' y='%.1f' "
                "text-anchor='end'>%g</text>\n",
                LEFT, WIDE - RIGHT, y_of(g), y_of(g), LEFT - 8, y_of(g) + 4, g);
    fprintf(f, "<text x='%d' y='%d'>billion operations a second, one thread (log scale)</text>\n", LEFT, TOP - 16);
    fprintf(f, "<text x='%d' y='%d'>hidden neurons of a 784-H-H-10 network</text>\n", LEFT + 150, HIGH - 14);
    for (int kind = 0; kind < KINDS; kind++)
        for (int b = 0; b < BATCHES; b++) {
            fprintf(f, "<polyline fill='none' stroke='%s' stroke-width='%d' stroke-dasharray='%s' points='", colours[b],
                    kind ? 2 : 1, kind ? "none" : "5 3");
            for (int w = 0; w < WIDTHS; w++) fprintf(f, "%.1f,%.1f ", x_of(widths[w]), y_of(gops[kind][w][b]));
            int y = TOP + 20 + 20 * (kind * BATCHES + b);
            fprintf(f, "'/><text x='%d' y='%d' fill='%s'>%s, batch %d</text>\n", WIDE - RIGHT + 16, y, colours[b],
                    kind ? "int8 (solid)" : "fp32 (dashed)", batches[b]);
        }
    fprintf(f, "</svg>\n");
    return out_file_commit(&out, err);
}

bool bench_scaling(const char *folder, const struct provenance *p, struct error *err) {
    static const char columns[] = "hidden batch fp32_images_per_second fp32_gops fp32_of_peak_percent "
                                  "int8_images_per_second int8_gops int8_of_peak_percent int8_over_fp32";
    static double gops[KINDS][WIDTHS][BATCHES];
    struct table t;
    uint8_t *images = aligned_array(MOST, DIGITS_PIXELS, err), *labels = aligned_array(MOST, 1, err);
    bool ok = images && labels;
    if (ok) digits_draw(1, 0, MOST, images, labels);
    table_init(&t, "How speed grows: 784-H-H-10 networks, one thread", columns);
    table_note(&t, "Random weights, drawn digits. of_peak: against the FMA and the int8 loop run just before.");
    ok = ok && fill(&t, images, gops, err) && table_save(&t, p, folder, "scaling", err) && draw(folder, gops, err);
    table_free(&t);
    free(images);
    free(labels);
    return ok;
}
