#include "cli/speed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/progress.h"
#include "base/stats.h"

/* ---- the peak ---------------------------------------------------------------------------------------------------- */

double speed_clock(int threads) {
    struct timespec t;
    if (threads > 1 || clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0) return seconds_now();
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

enum { CHAINS = 12, ROUNDS = 20000 }; /* independent sums: more than latency times units, fewer than registers */

/* A loop of CHAINS * ROUNDS multiply-add instructions; operations tells how much one instruction does. */
struct loop {
    const char *name;
    double operations;
    void (*run)(void);
};

#if defined(__x86_64__)
/* Twelve sums in registers 0 to 11, counted down in ecx. All registers are cleared first, since sums of denormals or
 * NaNs could be slow, and last, since SSE code after AVX could be. */
#define LOOP(instruction, r)                                                                                           \
    __asm__ volatile("vzeroall\n mov %0, %%ecx\n1:\n"                                                                  \
                     ".irp sum, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11\n" instruction " %%" r "14, %%" r "15, %%" r      \
                     "\\sum\n.endr\n"                                                                                  \
                     "dec %%ecx\n jnz 1b\n vzeroall"                                                                   \
                     :                                                                                                 \
                     : "i"(ROUNDS)                                                                                     \
                     : "ecx", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",    \
                       "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")

static void fma_512(void) { LOOP("vfmadd231ps", "zmm"); }
static void fma_256(void) { LOOP("vfmadd231ps", "ymm"); }
static void vnni_512(void) { LOOP("vpdpbusd", "zmm"); }
static void vnni_256(void) { LOOP("%{vex%} vpdpbusd", "ymm"); } /* escaped: braces choose between dialects */
static void madd_256(void) { LOOP("vpmaddwd", "ymm"); }         /* without the additions that must follow it */
static void bf16_512(void) { LOOP("vdpbf16ps", "zmm"); }

enum { AVX_VNNI = 4, AVX512_BF16 = 5 }; /* bits of eax in leaf 7, subleaf 1 */

static int has(int bit) {
    unsigned a = 7, b, c = 1, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return a >> bit & 1;
}

static struct loop loop_of(enum peak peak) {
    bool avx2 = __builtin_cpu_supports("avx2"), avx512 = __builtin_cpu_supports("avx512f");
    switch (peak) {
    case PEAK_FP32:
        if (avx512) return (struct loop){"AVX-512 FMA", 32, fma_512};
        if (__builtin_cpu_supports("fma")) return (struct loop){"AVX2 FMA", 16, fma_256};
        break;
    case PEAK_INT8:
        if (__builtin_cpu_supports("avx512vnni")) return (struct loop){"AVX-512 VNNI", 128, vnni_512};
        if (avx2 && has(AVX_VNNI)) return (struct loop){"AVX-VNNI", 64, vnni_256};
        if (avx2) return (struct loop){"AVX2 vpmaddwd", 32, madd_256};
        break;
    case PEAK_BF16:
        if (avx512 && has(AVX512_BF16)) return (struct loop){"AVX512-BF16", 64, bf16_512};
        break;
    case PEAKS: break;
    }
    return (struct loop){0};
}
#else
static struct loop loop_of(enum peak peak) {
    (void)peak;
    return (struct loop){0};
}
#endif

const char *peak_name(enum peak peak) { return loop_of(peak).name; }

double peak_measure(enum peak peak, int threads, double seconds) {
    struct loop loop = loop_of(peak);
    double best = 0, until = seconds_now() + seconds;
    if (!loop.run) return 0;
    do {
        double rate = 0;
#pragma omp parallel num_threads(threads) if (threads > 1) reduction(+ : rate)
        {
            double started = speed_clock(1);
            for (int i = 0; i < 20; i++) loop.run();
            rate += 20.0 * CHAINS * ROUNDS * loop.operations / (speed_clock(1) - started);
        }
        if (rate > best) best = rate;
    } while (seconds_now() < until);
    return best;
}

/* ---- models ------------------------------------------------------------------------------------------------------ */

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

/* The share of its operations that a model leaves out, over up to 1000 images in batches as they are timed. */
static double skipped_share(struct timed *t, const struct pool *pool) {
    size_t products = 0, batches = 0;
    if (t->speed->model->kind != MODEL_INT8) return 0;
    t->run.qmlp_ws.left_out = &products;
    do run_batch(t, pool, (int)batches++);
    while ((batches + 1) * (size_t)t->speed->batch <= 1000);
    t->run.qmlp_ws.left_out = NULL;
    double images = (double)batches * t->speed->batch;
    return 2 * (double)products / (images * operations_of(&t->speed->model->shape));
}

static void sum_up(struct timed *t, const struct pool *pool) {
    struct speed *s = t->speed;
    double skipped = skipped_share(t, pool);
    speed_sum_up(s, s->batch, operations_of(&s->model->shape) * (1 - skipped), t->seconds, (size_t)t->samples, t->peak);
    s->skipped_percent = 100 * skipped;
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
    for (int i = 0; ok && i < count; i++) sum_up(&timed[i], &pool);
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
        table_note(t, "Up to %.0f%% of peak: the processor's clock was higher for the model than for the loop.",
                   of_peak);
}
