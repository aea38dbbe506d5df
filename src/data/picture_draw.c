/* The box of ink into the field, the way MNIST was made. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/picture_steps.h"

/* Resamples one line: from [count] at a stride, to [side] at a stride, step source pixels to one of the
 * result. Shrinking averages over the area that a pixel covers; enlarging interpolates between the centres of
 * two pixels. Beyond both ends lies paper. A step of 1 copies. */
static void resample(const float *from, size_t from_stride, int count, double step, float *to, size_t to_stride,
                     int side) {
    for (int k = 0; k < side; k++) {
        double sum = 0, begin = k * step, end = (k + 1) * step, centre = (k + 0.5) * step - 0.5;
        if (step < 1) begin = floor(centre), end = begin + 2;
        for (int i = begin > 0 ? (int)begin : 0; i < count && i < end; i++) {
            double overlap = fmin(end, i + 1) - fmax(begin, i);
            double weight = step < 1 ? 1 - fabs(centre - i) : overlap / step;
            sum += weight * from[i * from_stride];
        }
        to[k * to_stride] = (float)sum;
    }
}

/* Scales the box so that its longer side is of so many pixels. */
static bool scale_box(const struct plane *p, const struct box *box, int side, float scaled[FIELD][FIELD],
                      struct error *err) {
    int width = box->right - box->left, height = box->bottom - box->top;
    double step = (width > height ? width : height) / (double)side;
    float(*narrow)[FIELD] = malloc((size_t)height * sizeof *narrow); /* [height][side] */
    if (!narrow) return fail(err, "out of memory for its %d rows", height);
    for (int y = 0; y < height; y++)
        resample(p->shade + (size_t)(box->top + y) * p->width + box->left, 1, width, step, narrow[y], 1, side);
    for (int x = 0; x < side; x++) resample(&narrow[0][x], FIELD, height, step, &scaled[0][x], FIELD, side);
    free(narrow);
    return true;
}

/* The amount of ink that becomes 255: the ninth decile of the pixels that are mostly ink. A stroke thinner
 * than a pixel of the result is faint everywhere and is brought up whole. */
static float full_ink(float scaled[FIELD][FIELD], int side) {
    float most = 0;
    for (int i = 0; i < side * side; i++) most = fmaxf(most, scaled[i / side][i % side]);
    if (!(most > 0)) return 0;
    uint32_t histogram[SHADE_BINS] = {0};
    for (int i = 0; i < side * side; i++) {
        float shade = scaled[i / side][i % side] / most * 255; /* the bins are fine enough for this scale only */
        if (shade > 64) histogram[shade_bin(shade)]++;
    }
    return quantile(histogram, 0.9) / 255 * most;
}

/* How far ink has to be moved along one axis for its centre of mass to reach the centre of the field. MNIST's
 * is the centre of pixel 14, which is 14.5 (the mean over its 70,000 images is 14.507, 14.496). Whole pixels,
 * as there, keep edges sharp; never so far that ink leaves the field. */
static int shift_to_centre(double moment, double mass, int extent) {
    int shift = (int)lround(FIELD / 2 + 0.5 - moment / mass);
    return shift < 0 ? 0 : shift > FIELD - extent ? FIELD - extent : shift;
}

bool draw_digit(const struct plane *ink, const struct box *box, int side, bool by_mass, uint8_t digit[FIELD * FIELD],
                struct error *err) {
    float scaled[FIELD][FIELD];
    double mass = 0, moment_x = 0, moment_y = 0;
    int width = 0, height = 0;
    if (!scale_box(ink, box, side, scaled, err)) return false;
    float full = full_ink(scaled, side);
    if (!(full > 0)) return fail(err, "nothing is drawn on it"); /* not reached: the box holds ink */
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++) {
            float shade = scaled[y][x] = fminf(scaled[y][x] / full * 255, 255);
            mass += shade;
            moment_x += shade * (x + 0.5);
            moment_y += shade * (y + 0.5);
            if (shade > 0) width = larger(width, x + 1), height = y + 1;
        }
    int left = by_mass ? shift_to_centre(moment_x, mass, width) : (FIELD - width) / 2;
    int top = by_mass ? shift_to_centre(moment_y, mass, height) : (FIELD - height) / 2;
    memset(digit, 0, FIELD * FIELD);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) digit[(top + y) * FIELD + left + x] = (uint8_t)lrintf(scaled[y][x]);
    return true;
}
