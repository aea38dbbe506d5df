/* The one way to time models. They take turns, so that whatever slows the machine for a while slows all alike; a time
 * is the lower quartile of many; one thread is timed by its CPU time, several by wall time (speed_clock). So a busy
 * machine changes neither ratios nor, by much, the figures; and the spread tells how busy it was. */
#ifndef CLI_SPEED_H
#define CLI_SPEED_H

#include "base/table.h"
#include "cli/peak.h"
#include "data/dataset.h"
#include "model/model_run.h"

struct speed {
    const struct model *model;
    int batch, threads, runs; /* runs: timed batches */
    bool against_peak;        /* whether of_peak_percent is wanted */

    /* Left by measure_speeds. */
    double images_per_second, gops; /* gops: billions of operations a second, a multiply-add counting two */
    double spread_percent;          /* of the time of a run, from the 10th to the 90th percentile, against the median */
    double of_peak_percent;         /* of what speed_peak's loop does, run before each turn; NaN where there is none */
    double p50_us, p99_us;          /* wall time of a batch: what a caller waits */
};

enum { SPEED_TURNS = 7 };

/* The usual: batches of 1000 on one thread, 21 runs. */
struct speed speed_of(const struct model *model);

/* What limits a model: the instruction that its products run on. */
enum peak speed_peak(const struct model *model);

/* Times all of them on images of the split, which is repeated where it is smaller than a batch. Errors: out of memory.
 */
bool measure_speeds(struct speed *speeds, int count, const struct split *split, struct error *err);

/* The same figures, but for p50 and p99, of what is timed elsewhere: seconds [count] by speed_clock, each for so many
 * images at so many operations an image; peak: operations a second, 0 where it is not known. Sorts seconds. */
void speed_sum_up(struct speed *s, double images, double operations, double *seconds, size_t count, double peak);

/* Says so below a table where a spread is over 25%, and where something is over 100% of the peak. */
void note_speeds(struct table *t, const struct speed *speeds, int count);

#endif
