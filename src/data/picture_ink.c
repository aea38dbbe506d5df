/* The ink: what differs from the ground, darker or lighter, and how much of it counts as drawn. */
#include <math.h>

#include "data/picture_steps.h"

enum { LEAST_CONTRAST = 8 }; /* shades; below this nothing is drawn that an eye would see */

/* Otsu's threshold of a histogram [SHADE_BINS]: the split with the largest variance between its two sides.
 * Returns the mean above it: the shade of full ink, without edges, ringing and the paper's texture. */
static float ink_contrast(const uint32_t *histogram) {
    double total = 0, sum = 0, below = 0, sum_below = 0, best = -1, contrast = 0;
    for (int i = 0; i < SHADE_BINS; i++) {
        total += histogram[i];
        sum += (double)histogram[i] * i;
    }
    for (int i = 0; i < SHADE_BINS && below < total; i++) {
        double above = total - below; /* the split lies just below bin i */
        double mean_above = (sum - sum_below) / above;
        double apart = below > 0 ? mean_above - sum_below / below : 0;
        double between = below * above * apart * apart;
        if (between > best) best = between, contrast = mean_above;
        below += histogram[i];
        sum_below += (double)histogram[i] * i;
    }
    return (float)(contrast / SHADE_STEPS);
}

/* Ink lies on the side, darker or lighter, where most of the distance is. */
bool find_ink(const struct plane *residual, float noise, struct plane *ink, struct ink *found, struct error *err) {
    double energy[2] = {0}; /* darker, lighter */
    float least = fmaxf(5 * noise, LEAST_CONTRAST / 4.0f);
    uint32_t histogram[2][SHADE_BINS] = {{0}};
    size_t pixels = pixels_of(residual);
    for (size_t i = 0; i < pixels; i++) {
        float r = residual->shade[i];
        if (!(fabsf(r) > least)) continue;
        energy[r > 0] += (double)r * (double)r;
        histogram[r > 0][shade_bin(fabsf(r))]++;
    }
    bool lighter = energy[1] > energy[0];
    float contrast = energy[lighter] > 0 ? ink_contrast(histogram[lighter]) : 0;
    if (!(contrast >= LEAST_CONTRAST))
        return fail(err, "nothing is drawn on it (ink at least %d shades from its ground expected, found %.0f)",
                    LEAST_CONTRAST, (double)contrast);
    /* Less than three tenths of full ink is a blurred edge or the ringing of a JPEG, which would widen the box; more
     * would cut the faint edges off a small drawing. 3 noises taken off clear the paper inside the box. */
    float threshold = fmaxf(5 * noise, 0.3f * contrast) - 3 * noise;
    for (size_t i = 0; i < pixels; i++)
        ink->shade[i] = fmaxf((lighter ? residual->shade[i] : -residual->shade[i]) - 3 * noise, 0);
    *found = (struct ink){contrast, threshold, lighter};
    return true;
}
