/* The one way to time models. They take turns, so that whatever slows the machine for a while slows all alike; a time
 * is the lower quartile of many; one thread is timed by its CPU time, several by wall time (speed_clock). So a busy
 * machine changes neither ratios nor, by much, the figures; and the spread tells how busy it was. */
#ifndef CLI_SPEED_H
#define CLI_SPEED_H

#include "base/table.h"
#include "data/dataset.h"
#include "model/model_run.h"

/* What this machine can do at most, measured: loops of nothing but multiply-adds, of the fastest instruction that it
 * has for such numbers. Speeds are told as fractions of it, since a shared machine's absolute figures swing. */
enum peak { PEAK_FP32, PEAK_INT8, PEAK_BF16, PEAKS };

/* Where the factors of the loop's instructions come from: all from registers, or one of each from L1, as weights do at
 * best. The second is what a kernel can hope for; some processors lower their clock for it. */
enum yardstick { FROM_REGISTERS, FROM_L1, YARDSTICKS };

/* The instruction of the loop: "AVX-512 FMA", "AVX-512 VNNI", "AVX512-BF16"; NULL where there is no loop for this
 * CPU. */
const char *peak_name(enum peak peak);

/* Operations a second, a multiply-add counting two, over so many threads at once: the best of short runs that go on for
 * about seconds, one at least. Each thread is timed by its own CPU time, so a busy machine does not lower the figure.
 * 0 where there is no loop. */
double peak_measure(enum peak peak, enum yardstick operands_from, int threads, double seconds);

/* The clocks that speeds are taken with. One thread: the CPU time of the calling thread, which stands still while other
 * programs have the core. Several: wall time, since CPU time does not tell how long they take together. */
double speed_clock(int threads);

struct speed {
    const struct model *model;
    int batch, threads, runs; /* runs: timed batches */
    bool against_peak;        /* whether of_peak_percent is wanted */

    /* Left by measure_speeds. */
    double images_per_second, gops; /* billions of operations done in a second, a multiply-add counting two */
    double skipped_percent; /* operations left out, since an input is 0: neither in gops nor in of_peak_percent */
    double spread_percent;  /* of the time of a run, from the 10th to the 90th percentile, against the median */
    double of_peak_percent[YARDSTICKS]; /* of what speed_peak's loops do, run before each turn; NaN without a loop */
    double p50_us, p99_us;              /* wall time of a batch: what a caller waits */
};

enum { SPEED_TURNS = 7 };

/* The usual: batches of 1000 on one thread, 21 runs. */
struct speed speed_of(const struct model *model);

/* What limits a model: the kind of numbers that it multiplies. */
enum peak speed_peak(const struct model *model);

/* Times all of them on images of the split, which is repeated where it is smaller than a batch. Errors: out of memory.
 */
bool measure_speeds(struct speed *speeds, int count, const struct split *split, struct error *err);

/* The same figures, but for p50 and p99, of what is timed elsewhere: seconds [count] by speed_clock, each for so many
 * images at so many operations an image; peak [YARDSTICKS]: operations a second, 0 where it is not known. Sorts
 * seconds. */
void speed_sum_up(struct speed *s, double images, double operations, double *seconds, size_t count, const double *peak);

/* Says so below a table where a spread is over 25%, and where something is over 100% of the peak. */
void note_speeds(struct table *t, const struct speed *speeds, int count);

#endif
