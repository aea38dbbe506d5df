/* What the lesson warns of, on numbers made for it: an outlier, a range too narrow, an accumulator too small. */
#include <math.h>

#include "studies/audit.h"
#include "quant/affine.h"

enum { CHANNELS = 8, INPUTS = 1250, WEIGHTS = CHANNELS * INPUTS };

/* Uniform in [-0.5, 0.5], both ends taken in every channel; w[1], of channel 0, is the one that will stick out. */
static void fill_weights(float *w) {
    struct rng rng = rng_seeded(1);
    for (int i = 0; i < WEIGHTS; i++)
        w[i] = i % INPUTS == 0 ? -0.5f : i % INPUTS == 2 ? 0.5f : (float)(rng_uniform(&rng) - 0.5);
}

/* Root mean square error of n weights, the outlier's place left out. */
static double rms_error(const float *w, int n, bool has_outlier, struct qparams p) {
    double sum = 0;
    for (int i = 0; i < n; i++) {
        double e = (double)w[i] - (double)fake_quantize(w[i], p);
        if (!has_outlier || i != 1) sum += e * e;
    }
    return sqrt(sum / n);
}

static double largest(const float *w, int n, double clip) { return fmin(clip, (double)absolute_maximum(w, (size_t)n)); }

/* which: 0 scale, 1 error of the other weights, 2 error with the lesson's first formula, 3 error after clipping */
bool measure_outlier(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    (void)a, (void)err;
    static float w[WEIGHTS];
    fill_weights(w);
    bool asymmetric = c->which == 2;
    struct qparams before = asymmetric ? qparams_asymmetric(-0.5f, 0.5f, -128, 127)
                                       : qparams_symmetric((float)largest(w, WEIGHTS, INFINITY), 127);
    double error = rms_error(w, WEIGHTS, true, before);
    w[1] = 5;
    struct qparams after = asymmetric
        ? qparams_asymmetric(-0.5f, 5, -128, 127)
        : qparams_symmetric((float)largest(w, WEIGHTS, c->which == 3 ? 0.5 : INFINITY), 127);
    double ratio = c->which == 0 ? (double)after.scale / (double)before.scale
                                 : rms_error(w, WEIGHTS, true, after) / error;
    return found(f, ratio, "%.2f x", ratio);
}

bool measure_outlier_rows(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    (void)a, (void)c, (void)err;
    static float w[WEIGHTS];
    double before[CHANNELS];
    int worse = 0;
    fill_weights(w);
    for (int turn = 0; turn < 2; turn++, w[1] = 5)
        for (int i = 0; i < CHANNELS; i++) {
            const float *row = w + i * INPUTS;
            double e = rms_error(row, INPUTS, i == 0, qparams_symmetric(absolute_maximum(row, INPUTS), 127));
            if (turn == 0) before[i] = e;
            else worse += e > 1.01 * before[i];
        }
    return found(f, worse, "%d of %d channels", worse, CHANNELS);
}

bool measure_saturation(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    (void)a, (void)c, (void)err;
    enum { VALUES = 100000 };
    struct qparams p = qparams_asymmetric(0, 6, -128, 127);
    struct rng rng = rng_seeded(1);
    int above = 0, cut = 0;
    for (int i = 0; i < VALUES; i++) {
        float x = (float)(20 * rng_uniform(&rng));
        if (!(x > 6)) continue;
        above++;
        cut += quantize(x, p) == p.qmax;
    }
    double percent = 100.0 * cut / above;
    return found(f, percent, "%.1f%% of those above 6, %.1f%% of [0, 20]", percent, 100.0 * cut / VALUES);
}

bool measure_int8_product(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    (void)a, (void)c, (void)err;
    int lowest = 0, highest = 0;
    for (int x = -128; x < 128; x++)
        for (int y = -128; y < 128; y++) {
            if (x * y < lowest) lowest = x * y;
            if (x * y > highest) highest = x * y;
        }
    return found(f, highest, "%d to %d", lowest, highest);
}

enum { TERMS = 1024 };

/* Sums of products of random codes that end outside the accumulator. which: its bits, 8 or 16 */
bool measure_sums(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    (void)a, (void)err;
    enum { SUMS = 20000 };
    struct rng rng = rng_seeded(1);
    int limit = (1 << (c->which - 1)) - 1, outside = 0;
    for (int i = 0; i < SUMS; i++) {
        int sum = 0;
        for (int k = 0; k < TERMS; k++) sum += ((int)rng_below(&rng, 255) - 127) * ((int)rng_below(&rng, 255) - 127);
        outside += sum > limit || sum < -limit - 1;
    }
    double percent = 100.0 * outside / SUMS;
    return found(f, percent, "%.1f%% of random sums; room for %d times 127 x 127", percent, limit / (127 * 127));
}

bool measure_worst_sum(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    (void)a, (void)c, (void)err;
    double worst = TERMS * 128.0 * 128.0, percent = 100 * worst / INT32_MAX;
    return found(f, percent, "%.0f at most, %.2f%% of int32; %d products fit", worst, percent, INT32_MAX / (128 * 128));
}
