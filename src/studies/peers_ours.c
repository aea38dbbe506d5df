#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/stats.h"
#include "studies/bench.h"
#include "studies/peak.h"
#include "studies/peers.h"
#include "cli/recipe.h"
#include "cli/report.h"
#include "model/model_run.h"
#include "nn/gemm.h"

enum { MOST_RUNS = 20000, LEAST_RUNS = 3 };
static const double PEAK_SECONDS = 0.02;

/* Operations a second as a share of the peak [before and after they were timed]; NAN when that is not known.
 * The larger peak counts: one that was measured while something else had the CPU would flatter. */
static double share_of_peak(double rate, double before, double after) {
    double peak = before > after ? before : after;
    return peak > 0 ? rate / peak : NAN;
}

/* Of one image: forward alone, or with the gradients of weights and, but for the first layer, of inputs. */
static double operations(const struct mlp_shape *s, bool training) {
    double sum = 0;
    for (int i = 0; i < s->layers; i++) sum += (training ? (i ? 6.0 : 4.0) : 2.0) * s->widths[i] * s->widths[i + 1];
    return sum;
}

static struct sample our_sample(int round, struct peer_case what) {
    struct sample s = {.engine = OURS, .round = round, .what = what, .p99_us = NAN, .of_peak = NAN};
    snprintf(s.name, sizeof s.name, "mnistq");
    return s;
}

/* Runs of one batch after another for some seconds: their times in us [MOST_RUNS]; returns how many. */
static int time_batches(struct model_run *r, const struct split *test, int batch, double seconds, uint8_t *predicted,
                        double *us) {
    size_t pixels = (size_t)test->rows * (size_t)test->cols, places = test->count / (size_t)batch;
    int runs = 0;
    model_run(r, test->images, batch, predicted); /* not counted */
    for (double until = seconds_now() + seconds; runs < MOST_RUNS && (runs < LEAST_RUNS || seconds_now() < until);
         runs++) {
        const uint8_t *images = test->images + (size_t)runs % places * (size_t)batch * pixels;
        double started = seconds_now();
        model_run(r, images, batch, predicted);
        us[runs] = 1e6 * (seconds_now() - started);
    }
    return runs;
}

static bool measure_inference(const struct model *model, const struct split *test, double seconds, size_t correct,
                              struct sample *s, struct error *err) {
    struct model_run r;
    struct peak before = measure_peak(s->what.threads, PEAK_SECONDS);
    double *us = aligned_array(MOST_RUNS, sizeof *us, err);
    uint8_t *predicted = aligned_array((size_t)s->what.batch, 1, err);
    bool ok = model_run_create(model, s->what.batch, s->what.threads, RUN_FAST, &r, err) && us && predicted;
    if (ok) {
        int runs = time_batches(&r, test, s->what.batch, seconds, predicted, us);
        s->p50_us = percentile_of(us, runs, 0.5);
        s->p99_us = percentile_of(us, runs, 0.99);
        s->images_per_second = 1e6 * s->what.batch / s->p50_us;
        struct peak after = measure_peak(s->what.threads, PEAK_SECONDS);
        bool integers = model->kind == MODEL_INT8;
        s->of_peak = share_of_peak(s->images_per_second * operations(&model->shape, false),
                                   integers ? before.int8_ops : before.fp32_flops,
                                   integers ? after.int8_ops : after.fp32_flops);
        s->correct = (long long)correct;
        s->n = (long long)test->count;
    }
    model_run_free(&r);
    free(us);
    free(predicted);
    return ok;
}

/* An epoch of the recipe's defaults on a network of the given model's shape. */
static bool measure_epoch(const struct mlp_shape *shape, const struct dataset *data, struct sample *s,
                          struct error *err) {
    struct training_recipe recipe = training_defaults();
    struct train_report report;
    struct model trained = {.kind = MODEL_FP32};
    struct evaluation e = {0};
    struct peak before = measure_peak(s->what.threads, PEAK_SECONDS), after;
    int threads = gemm_threads(0);
    recipe.hidden.count = shape->layers - 1;
    for (int i = 0; i < recipe.hidden.count; i++) recipe.hidden.values[i] = shape->widths[i + 1];
    recipe.seed = (uint64_t)s->round + 1;
    gemm_threads(s->what.threads);
    bool ok = train_model(data, &recipe, &trained.mlp, &report, err);
    gemm_threads(threads);
    if (!ok) return false;
    after = measure_peak(s->what.threads, PEAK_SECONDS);
    trained.shape = trained.mlp.shape;
    ok = evaluate(&trained, &data->test, false, &e, err);
    s->p50_us = 1e6 * report.seconds;
    s->images_per_second = (double)data->train.count / report.seconds;
    s->of_peak = share_of_peak(s->images_per_second * operations(shape, true), before.fp32_flops, after.fp32_flops);
    s->correct = (long long)e.correct;
    s->n = (long long)e.count;
    evaluation_free(&e);
    mlp_free(&trained.mlp);
    return ok;
}

bool ours_measure(const struct model models[2], const struct dataset *data, const struct peer_run *run, int round,
                  struct samples *samples, struct error *err) {
    size_t correct[2];
    for (int i = 0; i < 2; i++) {
        struct evaluation e;
        if (!evaluate(&models[i], &data->test, false, &e, err)) return false;
        correct[i] = e.correct;
        evaluation_free(&e);
    }
    for (size_t i = 0; i < run->case_count; i++) {
        struct sample s = our_sample(round, run->cases[i]);
        enum peer_task task = s.what.task;
        if (!(task == TASK_EPOCH
                  ? measure_epoch(&models[TASK_FP32].shape, data, &s, err)
                  : measure_inference(&models[task], &data->test, run->seconds, correct[task], &s, err)) ||
            !samples_add(samples, &s, err))
            return false;
    }
    return true;
}
