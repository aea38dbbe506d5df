#include "cli/speed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "base/stats.h"

enum { SAMPLES = 3 * SPEED_TURNS };
static const double PEAK_SECONDS = 0.004, BUSY_PERCENT = 25;

struct speed speed_of(const struct model *model) {
    return (struct speed){.model = model, .batch = 1000, .threads = 1, .runs = SAMPLES};
}

enum peak speed_peak(const struct model *model) {
    if (runs_bf16(model)) return PEAK_BF16;
    return model->kind == MODEL_INT8 || model->kind == MODEL_DYNAMIC ? PEAK_INT8 : PEAK_FP32;
}

/* A model while it is timed. A sample is the mean of the runs that fall to it: short runs come by the hundred. */
struct timed {
    struct speed *speed;
    struct model_run run;
    double *wall; /* [runs] seconds of each */
    int samples;
    double seconds[SAMPLES],
        peak; /* of a batch; operations a second, the most in any turn: a lower one would flatter */
};

static bool timed_create(struct speed *speed, struct timed *out, struct error *err) {
    *out = (struct timed){.speed = speed, .samples = speed->runs < SAMPLES ? speed->runs : SAMPLES};
    return model_run_create(speed->model, speed->batch, speed->threads, RUN_FAST, &out->run, err) &&
        (out->wall = aligned_array((size_t)speed->runs, sizeof *out->wall, err));
}

static void timed_free(struct timed *t) {
    model_run_free(&t->run);
    free(t->wall);
}

/* The images that a set gives, repeated where they are fewer than a batch. */
struct pool {
    uint8_t *images, *predicted; /* [count][pixels], [count] */
    size_t count, pixels;
};

static bool pool_create(const struct speed *speeds, int count, const struct split *split, struct pool *out,
                        struct error *err) {
    *out = (struct pool){.count = split->count, .pixels = (size_t)split->rows * (size_t)split->cols};
    for (int i = 0; i < count; i++)
        if ((size_t)speeds[i].batch > out->count) out->count = (size_t)speeds[i].batch;
    out->images = aligned_array(out->count, out->pixels, err);
    out->predicted = aligned_array(out->count, 1, err);
    for (size_t i = 0; out->images && i < out->count; i++)
        memcpy(out->images + i * out->pixels, split->images + i % split->count * out->pixels, out->pixels);
    return out->images && out->predicted;
}

/* The run of that number, on the images that come next. */
static void run_batch(struct timed *t, const struct pool *pool, int number) {
    size_t batch = (size_t)t->speed->batch, at = (size_t)number % (pool->count / batch) * batch;
    model_run(&t->run, pool->images + at * pool->pixels, t->speed->batch, pool->predicted);
}

/* The share of all samples that falls to a turn. Small batches come after a run that is not counted, since the other
 * models have emptied the caches. */
static void take_turn(struct timed *t, const struct pool *pool, int turn) {
    struct speed *s = t->speed;
    int first = t->samples * turn / SPEED_TURNS, end = t->samples * (turn + 1) / SPEED_TURNS;
    if (s->against_peak) t->peak = fmax(t->peak, peak_measure(speed_peak(s->model), s->threads, PEAK_SECONDS));
    if (s->batch < 1000 && first < end) run_batch(t, pool, 0);
    for (int k = first; k < end; k++) {
        int from = (int)((long)s->runs * k / t->samples), until = (int)((long)s->runs * (k + 1) / t->samples);
        double started = speed_clock(s->threads), before = seconds_now();
        for (int i = from; i < until; i++) {
            run_batch(t, pool, i);
            double now = seconds_now();
            t->wall[i] = now - before;
            before = now;
        }
        t->seconds[k] = (speed_clock(s->threads) - started) / (until - from);
    }
}

static double operations_of(const struct mlp_shape *shape) {
    double operations = 0; /* of one image */
    for (int i = 0; i < shape->layers; i++) operations += 2.0 * shape->widths[i] * shape->widths[i + 1];
    return operations;
}

void speed_sum_up(struct speed *s, double images, double operations, double *seconds, size_t count, double peak) {
    double range = percentile_of(seconds, count, 0.9) - percentile_of(seconds, count, 0.1);
    s->images_per_second = images / percentile_of(seconds, count, 0.25);
    s->gops = s->images_per_second * operations / 1e9;
    s->spread_percent = count > 1 ? 100 * range / percentile_of(seconds, count, 0.5) : NAN;
    s->of_peak_percent = peak > 0 ? 100 * s->gops * 1e9 / peak : NAN;
}

static void sum_up(struct timed *t) {
    struct speed *s = t->speed;
    speed_sum_up(s, s->batch, operations_of(&s->model->shape), t->seconds, (size_t)t->samples, t->peak);
    s->p50_us = 1e6 * percentile_of(t->wall, (size_t)s->runs, 0.5);
    s->p99_us = 1e6 * percentile_of(t->wall, (size_t)s->runs, 0.99);
}

bool measure_speeds(struct speed *speeds, int count, const struct split *split, struct error *err) {
    struct progress bar;
    struct pool pool = {0};
    struct timed *timed = aligned_array((size_t)count, sizeof *timed, err);
    bool ok = timed && pool_create(speeds, count, split, &pool, err);
    for (int i = 0; ok && i < count; i++) ok = timed_create(&speeds[i], &timed[i], err);
    progress_begin(&bar, "speed", "turns");
    for (int turn = 0; ok && turn < SPEED_TURNS; turn++)
        for (int i = 0; i < count; i++) {
            take_turn(&timed[i], &pool, turn);
            progress_update(&bar, (size_t)(turn * count + i + 1), (size_t)(SPEED_TURNS * count));
        }
    progress_end(&bar);
    for (int i = 0; ok && i < count; i++) sum_up(&timed[i]);
    for (int i = 0; timed && i < count; i++) timed_free(&timed[i]);
    free(timed);
    free(pool.images);
    free(pool.predicted);
    return ok;
}

void note_speeds(struct table *t, const struct speed *speeds, int count) {
    double spread = 0, of_peak = 0;
    for (int i = 0; i < count; i++) {
        spread = fmax(spread, speeds[i].spread_percent);
        of_peak = fmax(of_peak, speeds[i].of_peak_percent);
    }
    if (spread > BUSY_PERCENT)
        table_note(t, "Busy machine: times spread by up to %.0f%% from run to run. Measure again when it is quiet.",
                   spread);
    if (of_peak > 100)
        table_note(
            t,
            "Up to %.0f%% of peak: one image skips the pixels that are 0, whose products count as done; else the "
            "processor's clock was higher for the model than for the loop.",
            of_peak);
}
