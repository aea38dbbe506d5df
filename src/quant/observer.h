/* Observers: what range of real values should the codes of a tensor cover? They watch the tensor on the
 * calibration images, batch after batch.
 *
 * The percentile and histogram observers look twice: a first pass finds the range, a second fills a histogram
 * of fixed bins over it. That is why no histogram is ever stretched or merged here. */
#ifndef QUANT_OBSERVER_H
#define QUANT_OBSERVER_H

#include <stddef.h>
#include <stdint.h>

enum observer_kind {
    OBSERVER_MINMAX,         /* the lowest and the highest value seen */
    OBSERVER_MOVING_AVERAGE, /* exponential average of each batch's lowest and highest (Jacob et al. 2018, 3.1);
                                as in PyTorch the first batch initialises, then c = 0.01 */
    OBSERVER_PERCENTILE,     /* cuts off the outer 0.01% of the non-zero values, half on each side that is there */
    OBSERVER_HISTOGRAM,      /* the range with the least mean squared quantization error over the histogram */
    OBSERVER_KINDS
};

extern const char *const observer_names[OBSERVER_KINDS]; /* "minmax", ... as on the command line */

enum { OBSERVER_BINS = 2048 };

struct observer {
    enum observer_kind kind;
    int pass;                     /* 0, then 1 */
    uint64_t batches;             /* seen in this pass */
    double lo, hi;                /* the range as far as it is known */
    double outside;               /* the share of values that the percentile observer cuts off: 0.0001 */
    uint64_t bins[OBSERVER_BINS]; /* non-zero values of the second pass, equal bins over [lo, hi] */
};

struct range {
    float lo, hi;
};

/* How often the calibration images have to be shown: 1 or 2. */
int observer_passes(enum observer_kind kind);

void observer_init(struct observer *o, enum observer_kind kind);
void observer_begin_pass(struct observer *o, int pass); /* before each pass, 0 first */

/* One batch of the tensor: count values. NaNs are passed over. */
void observer_see(struct observer *o, const float *values, size_t count);

/* The range to quantize, after the last pass. symmetric says how its codes will lie, levels how many steps they
 * make (255 for 8 bits, 254 for symmetric ones): the histogram's search minimises that error. lo <= hi always;
 * both 0 when nothing was seen. */
struct range observer_range(const struct observer *o, int levels, int symmetric);

#endif
