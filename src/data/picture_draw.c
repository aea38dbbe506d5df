/* The box of ink into the field, the way MNIST was made. */
#include <math.h>
#include <stdlib.h>

#include "data/picture_steps.h"

/* Lanczos' kernel of three lobes: enlarges without the blur of linear interpolation. */
static double lanczos(double x) {
    double a = acos(-1) * x;
    return fabs(x) >= 3 ? 0 : a == 0 ? 1 : 3 * sin(a) * sin(a / 3) / (a * a);
}

/* Resamples one line: from [count] at a stride, to [FIELD] at a stride; pixel k of the result covers step source pixels
 * from begin + k * step on. Shrinking averages over the area that a pixel covers. Beyond both ends lies paper. A step
 * of 1 from a whole pixel copies. */
static void resample(const float *from, size_t from_stride, int count, double begin, double step, float *to,
                     size_t to_stride) {
    for (int k = 0; k < FIELD; k++) {
        double sum = 0, weights = 0, low = begin + k * step, high = low + step, centre = low + step / 2 - 0.5;
        double first = step < 1 ? centre - 3 : low, last = step < 1 ? centre + 3 : high;
        for (int i = (int)floor(first); i < last; i++) {
            double weight = step < 1 ? lanczos(centre - i) : fmax(fmin(high, i + 1) - fmax(low, i), 0);
            weights += weight;
            if (i >= 0 && i < count) sum += weight * from[(size_t)i * from_stride];
        }
        to[(size_t)k * to_stride] = (float)fmax(sum / weights, 0);
    }
}

/* Fills the field with the part of p that lies in box, step pixels to one of the field, the field's corner at (x, y).
 */
static bool scale_box(const struct plane *p, const struct box *box, double x, double y, double step,
                      float field[FIELD][FIELD], struct error *err) {
    int width = box->right - box->left, height = box->bottom - box->top;
    float(*narrow)[FIELD] = malloc((size_t)height * sizeof *narrow); /* [height][FIELD] */
    if (!narrow) return fail(err, "out of memory for its %d rows", height);
    for (int row = 0; row < height; row++)
        resample(p->shade + (size_t)(box->top + row) * (size_t)p->width + box->left, 1, width, x - box->left, step,
                 narrow[row], 1);
    for (int k = 0; k < FIELD; k++) resample(&narrow[0][k], FIELD, height, y - box->top, step, &field[0][k], FIELD);
    free(narrow);
    return true;
}

/* The amount of ink that becomes 255: the ninth decile of the pixels that are mostly ink. A stroke thinner
 * than a pixel of the result is faint everywhere and is brought up whole. */
static float full_ink(float field[FIELD][FIELD]) {
    float most = 0;
    for (int i = 0; i < FIELD * FIELD; i++) most = fmaxf(most, field[i / FIELD][i % FIELD]);
    if (!(most > 0)) return 0;
    uint32_t histogram[SHADE_BINS] = {0};
    for (int i = 0; i < FIELD * FIELD; i++) {
        float shade = field[i / FIELD][i % FIELD] / most * 255; /* the bins are fine enough for this scale only */
        if (shade > 64) histogram[shade_bin(shade)]++;
    }
    return quantile(histogram, 0.9) / 255 * most;
}

/* Where the field begins along one axis, in pixels of the picture, so that `middle`, the centre of mass, comes to the
 * centre of pixel 14, which is 14.5 (the mean over MNIST's 70,000 images is 14.507, 14.496). Whole pixels of the field,
 * as there, keep edges sharp; a picture of little more pixels than the field, or fewer, has no sharp edges to keep once
 * it is scaled, and is centred exactly. Ink, low .. high, never leaves the field. */
static double field_begin(double middle, int low, int high, double step, double to) {
    double before = to - (middle - low) / step, most = FIELD - (high - low) / step;
    if (step == 1 || step >= 2) before = round(before), most = floor(most);
    return low - fmax(fmin(before, most), 0) * step;
}

bool draw_digit(const struct plane *ink, const struct box *box, int side, bool by_mass, uint8_t digit[FIELD * FIELD],
                struct error *err) {
    float field[FIELD][FIELD];
    double mass = 0, middle_x = 0, middle_y = 0, step = longer_of(box) / (double)side;
    for (int y = box->top; y < box->bottom; y++)
        for (int x = box->left; x < box->right; x++) {
            double shade = by_mass ? (double)ink->shade[(size_t)y * (size_t)ink->width + (size_t)x] : 1;
            mass += shade;
            middle_x += shade * (x + 0.5);
            middle_y += shade * (y + 0.5);
        }
    double to = by_mass ? FIELD / 2 + 0.5 : FIELD / 2;
    double x = field_begin(middle_x / mass, box->left, box->right, step, to);
    double y = field_begin(middle_y / mass, box->top, box->bottom, step, to);
    /* The faint edge of the ink, below the threshold, is drawn too. */
    struct box edge = {larger(box->left - 1, 0), larger(box->top - 1, 0), smaller(box->right + 1, ink->width),
                       smaller(box->bottom + 1, ink->height)};
    if (!scale_box(ink, &edge, x, y, step, field, err)) return false;
    float full = full_ink(field);
    if (!(full > 0)) return fail(err, "nothing is drawn on it"); /* not reached: the box holds ink */
    for (int i = 0; i < FIELD * FIELD; i++)
        digit[i] = (uint8_t)lrintf(fminf(field[i / FIELD][i % FIELD] / full * 255, 255));
    return true;
}
