#include "quant/observer.h"

#include <math.h>
#include <string.h>

#include "base/finite.h"

const char *const observer_names[OBSERVER_KINDS] = {"minmax", "moving-average", "percentile", "histogram"};

static const double average_weight = 0.01; /* of each batch after the first, as in PyTorch */

int observer_passes(enum observer_kind kind) {
    return kind == OBSERVER_PERCENTILE || kind == OBSERVER_HISTOGRAM ? 2 : 1;
}

void observer_init(struct observer *o, enum observer_kind kind) {
    memset(o, 0, sizeof *o);
    o->kind = kind;
    o->outside = 0.0001;
}

void observer_begin_pass(struct observer *o, int pass) {
    o->pass = pass;
    o->batches = 0;
}

static void widen_range(struct observer *o, double lo, double hi) {
    if (o->batches == 0) {
        o->lo = lo;
        o->hi = hi;
    } else if (o->kind == OBSERVER_MOVING_AVERAGE) {
        o->lo += average_weight * (lo - o->lo);
        o->hi += average_weight * (hi - o->hi);
    } else {
        o->lo = fmin(o->lo, lo);
        o->hi = fmax(o->hi, hi);
    }
    o->batches++;
}

static double bin_width(const struct observer *o) { return (o->hi - o->lo) / OBSERVER_BINS; }

static double bin_centre(const struct observer *o, int bin) { return o->lo + (bin + 0.5) * bin_width(o); }

/* Zero is exact whatever the scale, and after ReLU it is half of all values: counting it would only hide the
 * rest of the distribution. */
static void fill_bins(struct observer *o, const float *values, size_t count) {
    double width = bin_width(o);
    if (!(width > 0)) return;
    for (size_t i = 0; i < count; i++) {
        if (values[i] == 0 || !is_finite((double)values[i])) continue;
        int bin = (int)((values[i] - o->lo) / width);
        o->bins[bin < 0 ? 0 : bin >= OBSERVER_BINS ? OBSERVER_BINS - 1 : bin]++;
    }
}

void observer_see(struct observer *o, const float *values, size_t count) {
    if (o->pass == 1) {
        fill_bins(o, values, count);
        return;
    }
    double lo = INFINITY, hi = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        if (!is_finite((double)values[i])) continue;
        lo = values[i] < lo ? values[i] : lo;
        hi = values[i] > hi ? values[i] : hi;
    }
    if (lo <= hi) widen_range(o, lo, hi);
}

/* Walks in from both ends until the share to be cut off is used up. A side that ends at 0 is not cut. */
static struct range percentile_range(const struct observer *o) {
    uint64_t total = 0;
    for (int i = 0; i < OBSERVER_BINS; i++) total += o->bins[i];
    int sides = (o->lo < 0) + (o->hi > 0);
    double allowed = sides ? o->outside * (double)total / sides : 0, below = 0, above = 0;
    int first = 0, last = OBSERVER_BINS - 1;
    while (o->lo < 0 && first < last && (below += (double)o->bins[first]) <= allowed) first++;
    while (o->hi > 0 && last > first && (above += (double)o->bins[last]) <= allowed) last--;
    return (struct range){(float)(o->lo + first * bin_width(o)),
                          (float)(o->hi - (OBSERVER_BINS - 1 - last) * bin_width(o))};
}

/* The sum over the histogram of the squared error that codes over [lo, hi] make, each bin at its centre. Real
 * arithmetic: the integer zero point moves every code alike and does not change which range is best. */
static double squared_error(const struct observer *o, double lo, double hi, int levels) {
    double scale = (hi - lo) / levels, sum = 0;
    for (int i = 0; i < OBSERVER_BINS; i++) {
        if (!o->bins[i]) continue;
        double x = bin_centre(o, i), q = rint(x / scale) * scale;
        double error = x - (q < lo ? lo : q > hi ? hi : q);
        sum += (double)o->bins[i] * error * error;
    }
    return sum;
}

/* Shrinks the range by 1/128 at a time, the end that costs least first, down to a quarter; keeps the best. */
static struct range least_error_range(const struct observer *o, int levels, int symmetric) {
    double lo = fmin(o->lo, 0), hi = fmax(o->hi, 0);
    if (symmetric) {
        hi = fmax(-lo, hi);
        lo = -hi;
    }
    double step_lo = lo / 128, step_hi = hi / 128, best = squared_error(o, lo, hi, levels);
    struct range range = {(float)lo, (float)hi};
    double end_lo = lo / 4, end_hi = hi / 4;
    while (lo < end_lo || hi > end_hi) {
        double both = symmetric ? squared_error(o, lo - step_lo, hi - step_hi, levels) : INFINITY;
        double left = !symmetric && lo < end_lo ? squared_error(o, lo - step_lo, hi, levels) : INFINITY;
        double right = !symmetric && hi > end_hi ? squared_error(o, lo, hi - step_hi, levels) : INFINITY;
        if (symmetric || left <= right) lo -= step_lo;
        if (symmetric || right < left) hi -= step_hi;
        double error = fmin(both, fmin(left, right));
        if (error < best) {
            best = error;
            range = (struct range){(float)lo, (float)hi};
        }
    }
    return range;
}

struct range observer_range(const struct observer *o, int levels, int symmetric) {
    struct range seen = {(float)o->lo, (float)o->hi};
    if (o->pass == 0 || !(bin_width(o) > 0)) return seen;
    return o->kind == OBSERVER_PERCENTILE ? percentile_range(o) : least_error_range(o, levels, symmetric);
}
