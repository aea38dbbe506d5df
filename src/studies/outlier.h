/* The outlier pitfall's ways to quantize a matrix, and what each leaves of its weights. */
#ifndef STUDIES_OUTLIER_H
#define STUDIES_OUTLIER_H

#include "studies/pitfalls.h"

/* Repairs of the scale, and networks that compute the same with other weights (lowbit/equalize.h, lowbit/hadamard.h).
 */
enum repair {
    REPAIR_NONE,
    REPAIR_PERCENTILE,
    REPAIR_MSE,
    REPAIR_APART,
    REPAIR_ROTATE,
    REPAIR_EQUALIZE,
    REPAIR_SMOOTH,
    REPAIRS
};
extern const char *const repair_names[REPAIRS];

/* A way to quantize is a number: per tensor and per channel in turn, one repair after another. */
enum { WAYS = 2 * REPAIRS };
static inline bool per_channel(int way) { return way % 2; }
static inline enum repair repair_of(int way) { return (enum repair)(way / 2); }
static inline const char *granularity(int way) {
    return scheme_names[per_channel(way) ? SCHEME_PER_CHANNEL : SCHEME_PER_TENSOR];
}

/* What its codes came to: RMS errors, the outlier itself left out, and the scale of the outlier's row. */
struct fit {
    double all, own_row, other_rows, scale;
};

/* The column of the outlier, weight at, where it is stored apart; else -1. */
int column_apart(const struct dense *d, size_t at, int way);

/* Quantizes d, whose outlier is weight at: scale [out]. now: d as it is quantized, in a network that computes the same,
 * d itself for repairs of the scale (and for the rotation, whose scales are those of W H^T); errors count in the units
 * of d. base: the same way without repair, before the weight was an outlier. Error: out of memory. */
bool compare_fits(const struct dense *d, const struct dense *now, size_t at, float before, int way, float *scale,
                  struct fit *fit, struct fit *base, struct error *err);

/* The scales alone, of a repair of the scale. */
bool scales_of(const struct dense *d, size_t at, int way, float *scale, struct error *err);

#endif
