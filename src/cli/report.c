#include "cli/report.h"

#include <stdlib.h>

#include "base/progress.h"
#include "base/stats.h"
#include "cli/options.h"

enum { SPEED_BATCH = 1000, SPEED_RUNS = 21 };

/* One model being timed; its scratch is made before the clock starts. */
struct timed_model {
    struct model_run run;
    double seconds[SPEED_RUNS];
};

static double timed_run(struct model_run *r, const uint8_t *images, size_t n) {
    uint8_t predicted[SPEED_BATCH];
    double started = seconds_now();
    model_run(r, images, (int)n, predicted);
    return seconds_now() - started;
}

bool measure_speeds(const struct model *const *models, int count, const struct split *split, double *speeds,
                    struct error *err) {
    struct timed_model *timed = aligned_array((size_t)count, sizeof *timed, err);
    size_t n = split->count < SPEED_BATCH ? split->count : SPEED_BATCH;
    bool ok = timed != NULL;
    for (int i = 0; ok && i < count; i++)
        ok = model_run_create(models[i], SPEED_BATCH, 1, RUN_FAST, &timed[i].run, err);
    for (int run = -1; ok && run < SPEED_RUNS; run++) /* the first, -1, only warms the caches */
        for (int i = 0; i < count; i++) {
            double seconds = timed_run(&timed[i].run, split->images, n);
            if (run >= 0) timed[i].seconds[run] = seconds;
        }
    for (int i = 0; timed && i < count; i++) {
        speeds[i] = (double)n / percentile_of(timed[i].seconds, SPEED_RUNS, 0.5);
        model_run_free(&timed[i].run);
    }
    free(timed);
    return ok;
}

const char *arithmetic_name(const struct model *model) {
    switch (model->kind) {
    case MODEL_FP32: return "fp32";
    case MODEL_INT8: return "integer";
    case MODEL_WEIGHT_ONLY: return runs_bf16(model) ? "bf16 products, fp32 sums" : "fp32 after decode";
    case MODEL_DYNAMIC: return "int8 products, fp32 between";
    }
    return "";
}

const char *granularity_name(const struct model *model) {
    return model->kind != MODEL_INT8 ? "-" : model->qmlp.per_channel ? "per-channel" : "per-tensor";
}

int report_error(const struct error *err) {
    fprintf(stderr, "mnistq: %s\n", err->text);
    return EXIT_FAILED;
}

int report_table(struct table *t, const struct provenance *p, bool json, bool ok, struct error *err) {
    struct provenance own = {0};
    provenance_command(&own);
    if (!p) p = &own;
    if (ok && json) ok = table_print_json(t, p, stdout, err);
    else if (ok) table_print(t, stdout, terminal_width(stdout));
    table_free(t);
    return ok ? EXIT_DONE : report_error(err);
}
