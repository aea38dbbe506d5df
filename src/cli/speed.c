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

/* Loops of CHAINS * ROUNDS multiply-add instructions, whose one factor is a register or comes from L1. operations: what
 * one instruction does. */
struct loop {
    enum peak peak;
    const char *name;
    double operations;
    bool (*supported)(void);
    void (*run[YARDSTICKS])(void);
};

#if defined(__x86_64__)
/* What is not 0 lies in memory of the program's own: pages that nobody wrote are one and the same. */
static const struct { _Alignas(64) unsigned char bytes[CHAINS * 64]; } operands = {{1}};

/* Twelve sums in registers 0 to 11, counted down in ecx; factor is an operand of sum number \sum. All registers are
 * cleared first, since sums of denormals or NaNs could be slow, and last, since SSE code after AVX could be. */
#define LOOP(instruction, factor, r)                                                                                   \
    __asm__ volatile("vzeroall\n mov %0, %%ecx\n1:\n"                                                                  \
                     ".irp sum, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11\n" instruction " " factor ", %%" r "15, %%" r     \
                     "\\sum\n.endr\n"                                                                                  \
                     "dec %%ecx\n jnz 1b\n vzeroall"                                                                   \
                     :                                                                                                 \
                     : "i"(ROUNDS), "r"(&operands)                                                                     \
                     : "ecx", "cc", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",  \
                       "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")
#define LOOPS(name, instruction, r)                                                                                    \
    static void name(void) { LOOP(instruction, "%%" r "14", r); }                                                      \
    static void name##_l1(void) { LOOP(instruction, "\\sum*64(%1)", r); }

LOOPS(fma_512, "vfmadd231ps", "zmm")
LOOPS(fma_256, "vfmadd231ps", "ymm")
LOOPS(vnni_512, "vpdpbusd", "zmm")
LOOPS(vnni_256, "%{vex%} vpdpbusd", "ymm") /* escaped: braces choose between dialects */
LOOPS(madd_256, "vpmaddwd", "ymm")         /* without the additions that must follow it */
LOOPS(bf16_512, "vdpbf16ps", "zmm")

static bool has_leaf_7_1(int bit) {
    unsigned a = 7, b, c = 1, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return a >> bit & 1;
}

static bool has_avx512(void) { return __builtin_cpu_supports("avx512f"); }
static bool has_fma(void) { return __builtin_cpu_supports("fma"); }
static bool has_avx2(void) { return __builtin_cpu_supports("avx2"); }
static bool has_vnni(void) { return __builtin_cpu_supports("avx512vnni"); }
static bool has_avxvnni(void) { return has_avx2() && has_leaf_7_1(4); }
static bool has_bf16(void) { return has_avx512() && has_leaf_7_1(5); }

/* The fastest instruction of each peak first: a model is held against what the machine could do, whatever it runs on.
 */
static const struct loop loops[] = {
    {PEAK_FP32, "AVX-512 FMA", 32, has_avx512, {fma_512, fma_512_l1}},
    {PEAK_FP32, "AVX2 FMA", 16, has_fma, {fma_256, fma_256_l1}},
    {PEAK_INT8, "AVX-512 VNNI", 128, has_vnni, {vnni_512, vnni_512_l1}},
    {PEAK_INT8, "AVX-VNNI", 64, has_avxvnni, {vnni_256, vnni_256_l1}},
    {PEAK_INT8, "AVX2 vpmaddwd", 32, has_avx2, {madd_256, madd_256_l1}},
    {PEAK_BF16, "AVX512-BF16", 64, has_bf16, {bf16_512, bf16_512_l1}},
};
enum { LOOPS = sizeof loops / sizeof loops[0] };
#else
static const struct loop loops[] = {{0}};
enum { LOOPS = 0 };
#endif

/* NULL: there is none for this CPU. */
static const struct loop *loop_of(enum peak peak) {
    for (const struct loop *loop = loops; loop < loops + LOOPS; loop++)
        if (loop->peak == peak && loop->supported()) return loop;
    return NULL;
}

const char *peak_name(enum peak peak) { return loop_of(peak) ? loop_of(peak)->name : NULL; }

double peak_measure(enum peak peak, enum yardstick operands_from, int threads, double seconds) {
    const struct loop *loop = loop_of(peak);
    double best = 0, until = seconds_now() + seconds;
    if (!loop) return 0;
    do {
        double rate = 0;
#pragma omp parallel num_threads(threads) if (threads > 1) reduction(+ : rate)
        {
            double started = speed_clock(1);
            for (int i = 0; i < 20; i++) loop->run[operands_from]();
            rate += 20.0 * CHAINS * ROUNDS * loop->operations / (speed_clock(1) - started);
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
    double seconds[SAMPLES];
    double peak[YARDSTICKS]; /* operations a second, the most in any turn: a lower one would flatter */
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
    for (enum yardstick y = 0; s->against_peak && y < YARDSTICKS; y++)
        t->peak[y] = fmax(t->peak[y], peak_measure(speed_peak(s->model), y, s->threads, PEAK_SECONDS));
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

void speed_sum_up(struct speed *s, double images, double operations, double *seconds, size_t count,
                  const double *peak) {
    double range = percentile_of(seconds, count, 0.9) - percentile_of(seconds, count, 0.1);
    s->images_per_second = images / percentile_of(seconds, count, 0.25);
    s->gops = s->images_per_second * operations / 1e9;
    s->spread_percent = count > 1 ? 100 * range / percentile_of(seconds, count, 0.5) : NAN;
    for (enum yardstick y = 0; y < YARDSTICKS; y++)
        s->of_peak_percent[y] = peak[y] > 0 ? 100 * s->gops * 1e9 / peak[y] : NAN;
}

/* Where a run adds up the products that it leaves out; NULL: its engine leaves out none. */
static size_t **left_out_of(struct model_run *r) {
    if (r->model->kind == MODEL_INT8) return &r->qmlp_ws.left_out;
    return r->model->kind == MODEL_DYNAMIC || runs_bf16(r->model) ? NULL : &r->fp32_ws.left_out;
}

/* The share of its operations that a model leaves out, over up to 1000 images in batches as they are timed. */
static double skipped_share(struct timed *t, const struct pool *pool) {
    size_t products = 0, batches = 0, **counter = left_out_of(&t->run);
    if (!counter) return 0;
    *counter = &products;
    do run_batch(t, pool, (int)batches++);
    while ((batches + 1) * (size_t)t->speed->batch <= 1000);
    *counter = NULL;
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
    double spread = 0, of_peak[YARDSTICKS] = {0};
    for (int i = 0; i < count; i++) {
        spread = fmax(spread, speeds[i].spread_percent);
        for (enum yardstick y = 0; y < YARDSTICKS; y++) of_peak[y] = fmax(of_peak[y], speeds[i].of_peak_percent[y]);
    }
    if (spread > BUSY_PERCENT)
        table_note(t, "Busy machine: times spread by up to %.0f%% from run to run. Measure again when it is quiet.",
                   spread);
    for (enum yardstick y = 0; y < YARDSTICKS; y++)
        if (of_peak[y] > 100)
            table_note(t, "Up to %.0f%% of %s: the processor's clock was higher for the model than for the loop%s.",
                       of_peak[y], y == FROM_L1 ? "l1" : "peak",
                       y == FROM_L1 ? ", or the model loads less than an operand an instruction" : "");
}
