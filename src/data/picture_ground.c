/* The ground: what a picture shows where nothing is drawn. Three models of it, from the plainest on. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/picture_steps.h"

float quantile(const uint32_t *histogram, double share) {
    uint64_t total = 0, below = 0;
    for (int i = 0; i < SHADE_BINS; i++) total += histogram[i];
    if (total == 0) return 0;
    uint64_t wanted = (uint64_t)(share * (double)(total - 1));
    for (int i = 0; i < SHADE_BINS; i++) {
        below += histogram[i];
        if (below > wanted) return (float)i / SHADE_STEPS;
    }
    return 0;
}

/* The rim that shows what the drawing lies on: a sixteenth of the shorter side, at least one pixel. */
static bool on_rim(const struct plane *p, int x, int y) {
    int shorter = p->width < p->height ? p->width : p->height;
    int depth = shorter < 32 ? 1 : shorter / 16;
    return x < depth || y < depth || x >= p->width - depth || y >= p->height - depth;
}

/* ---- one smooth surface ---- */

/* A lamp at one side and the darker corners of a lens are both close to a surface of second degree:
 * ground(u, v) = c0 + c1 u + c2 v + c3 u^2 + c4 u v + c5 v^2, with u and v in [-1, 1]. */
enum { TERMS = 6 };

static void ground_terms(const struct plane *p, int x, int y, double term[TERMS]) {
    double u = p->width > 1 ? 2.0 * x / (p->width - 1) - 1 : 0;
    double v = p->height > 1 ? 2.0 * y / (p->height - 1) - 1 : 0;
    term[0] = 1, term[1] = u, term[2] = v;
    term[3] = u * u, term[4] = u * v, term[5] = v * v;
}

/* What lies above the ground at (x, y); below it where negative. */
static float residual(const struct plane *p, const double c[TERMS], int x, int y) {
    double term[TERMS], ground = 0;
    ground_terms(p, x, y, term);
    for (int i = 0; i < TERMS; i++) ground += c[i] * term[i];
    return (float)(p->shade[(size_t)y * p->width + x] - ground);
}

/* The median distance of the rim's pixels from the ground: a median, so that ink which reaches the rim does not count.
 */
static float rim_distance(const struct plane *p, const double c[TERMS]) {
    uint32_t histogram[SHADE_BINS] = {0};
    for (int y = 0; y < p->height; y++)
        for (int x = 0; x < p->width; x++)
            if (on_rim(p, x, y)) histogram[shade_bin(fabsf(residual(p, c, x, y)))]++;
    return quantile(histogram, 0.5);
}

/* The same as a standard deviation: exactly 0 for a picture that was drawn clean. */
static float ground_noise(const struct plane *p, const double c[TERMS]) { return 1.4826f * rim_distance(p, c); }

/* Least squares over the pixels that are within reach of the present ground c: the new ground. False where there are
 * too few for one. */
static bool fit_ground(const struct plane *p, float reach, const double c[TERMS], double fitted[TERMS]) {
    double a[TERMS][TERMS + 1] = {{0}}, term[TERMS]; /* the normal equations, the right side in the last column */
    for (int y = 0; y < p->height; y++)
        for (int x = 0; x < p->width; x++) {
            if (!(fabsf(residual(p, c, x, y)) <= reach)) continue;
            ground_terms(p, x, y, term);
            for (int i = 0; i < TERMS; i++) {
                for (int j = 0; j < TERMS; j++) a[i][j] += term[i] * term[j];
                a[i][TERMS] += term[i] * p->shade[(size_t)y * p->width + x];
            }
        }
    for (int i = 1; i < TERMS; i++) a[i][i] += 1e-6 * a[0][0]; /* a picture one pixel high has no slope in v */
    for (int k = 0; k < TERMS; k++) {                          /* elimination with pivots */
        int pivot = k;
        for (int i = k + 1; i < TERMS; i++)
            if (fabs(a[i][k]) > fabs(a[pivot][k])) pivot = i;
        if (!(fabs(a[pivot][k]) > 0)) return false;
        for (int j = 0; j <= TERMS; j++) {
            double swap = a[k][j];
            a[k][j] = a[pivot][j], a[pivot][j] = swap;
        }
        for (int i = 0; i < TERMS; i++) {
            double factor = i == k ? 0 : a[i][k] / a[k][k];
            for (int j = k; j <= TERMS; j++) a[i][j] -= factor * a[k][j];
        }
    }
    for (int k = 0; k < TERMS; k++) fitted[k] = a[k][TERMS] / a[k][k];
    return true;
}

/* Finds the ground c and returns its noise. It starts as the shade that the rim mostly shows; a picture drawn
 * clean stays there, any other is fitted for as long as that leaves less noise. */
static float fit_surface(const struct plane *p, double c[TERMS]) {
    memset(c, 0, TERMS * sizeof *c);
    c[0] = rim_distance(p, c); /* from 0 */
    float noise = ground_noise(p, c);
    for (int round = 0; round < 5 && noise > 0; round++) {
        double fitted[TERMS];
        if (!fit_ground(p, 3 * noise, c, fitted)) break;
        float left = ground_noise(p, fitted);
        if (!(left < noise)) break;
        memcpy(c, fitted, sizeof fitted);
        noise = left;
    }
    return noise;
}

/* How much the rim's shades differ from pixel to pixel, as a standard deviation: noise alone, whatever the light. */
static float rim_grain(const struct plane *p) {
    uint32_t histogram[SHADE_BINS] = {0};
    for (int y = 0; y < p->height; y++)
        for (int x = 1; x < p->width; x++)
            if (on_rim(p, x, y)) {
                const float *s = &p->shade[(size_t)y * (size_t)p->width + (size_t)x];
                histogram[shade_bin(fabsf(s[0] - s[-1]))]++;
            }
    return 1.4826f / sqrtf(2) * quantile(histogram, 0.5);
}

static void take_surface(struct plane *p, struct plane_ground *g) {
    double c[TERMS];
    g->noise = fit_surface(p, c);
    g->uneven = g->noise > 3 * rim_grain(p) + 3;
    for (int y = 0; y < p->height; y++)
        for (int x = 0; x < p->width; x++) p->shade[(size_t)y * (size_t)p->width + (size_t)x] = residual(p, c, x, y);
}

/* ---- the paper around each place ---- */

/* The largest of each window of 2 * radius + 1 in line [count] at a stride, by van Herk's two running maxima over
 * blocks (1992): three comparisons a value, whatever the window. scratch [3 * (count + 2 * radius)]. */
static void line_extreme(float *line, size_t stride, int count, int radius, float sign, float *scratch) {
    int window = 2 * radius + 1, padded = count + 2 * radius;
    float *value = scratch, *from_left = scratch + padded, *from_right = from_left + padded;
    for (int i = 0; i < padded; i++) {
        int at = i - radius;
        value[i] = at < 0 || at >= count ? -INFINITY : sign * line[(size_t)at * stride];
    }
    for (int i = 0; i < padded; i++) from_left[i] = (i % window) ? fmaxf(from_left[i - 1], value[i]) : value[i];
    for (int i = padded - 1; i >= 0; i--)
        from_right[i] = i + 1 < padded && (i + 1) % window ? fmaxf(from_right[i + 1], value[i]) : value[i];
    for (int i = 0; i < count; i++) line[(size_t)i * stride] = sign * fmaxf(from_right[i], from_left[i + 2 * radius]);
}

bool filter_extreme(struct plane *p, int radius, float sign, struct error *err) {
    int longer = larger(p->width, p->height);
    float *scratch = malloc(3 * ((size_t)longer + 2 * (size_t)radius) * sizeof *scratch);
    if (!scratch) return fail(err, "out of memory for its %d pixels a side", longer);
    for (int y = 0; y < p->height; y++)
        line_extreme(p->shade + (size_t)y * (size_t)p->width, 1, p->width, radius, sign, scratch);
    for (int x = 0; x < p->width; x++) line_extreme(p->shade + x, (size_t)p->width, p->height, radius, sign, scratch);
    free(scratch);
    return true;
}

/* Takes the median off, since extremes of noise lie off the paper's shade; returns the noise around it. */
static float level(struct plane *p) {
    uint32_t histogram[SHADE_BINS] = {0}, spread[SHADE_BINS] = {0};
    for (size_t i = 0; i < pixels_of(p); i++) histogram[shade_bin(p->shade[i])]++;
    float middle = quantile(histogram, 0.5);
    for (size_t i = 0; i < pixels_of(p); i++) {
        p->shade[i] -= middle;
        spread[shade_bin(fabsf(p->shade[i]))]++;
    }
    return 1.4826f * quantile(spread, 0.5);
}

/* Morphological closing (dark ink, sign 1) or opening (light ink, -1): what is narrower than the window, a quarter of
 * the shorter side, is filled with the paper beside it, and a shadow's edge stays where it is. hat gets the ink. */
static bool take_hat(const struct plane *p, float sign, struct plane *hat, float *noise, struct error *err) {
    int radius = larger(1, shorter_side(p) / 8);
    memcpy(hat->shade, p->shade, pixels_of(p) * sizeof *hat->shade);
    if (!filter_extreme(hat, radius, sign, err) || !filter_extreme(hat, radius, -sign, err)) return false;
    for (size_t i = 0; i < pixels_of(p); i++) hat->shade[i] = sign * (hat->shade[i] - p->shade[i]);
    *noise = level(hat);
    return true;
}

/* Dark ink takes a share of the light that falls on it: as much as in full light. */
static void light_up(const struct plane *p, struct plane *ink) {
    for (size_t i = 0; i < pixels_of(p); i++) {
        float ground = p->shade[i] + ink->shade[i];
        if (ink->shade[i] > 0 && ground > 0) ink->shade[i] *= 255 / ground;
    }
}

static double energy(const struct plane *p, float least) {
    double sum = 0;
    for (size_t i = 0; i < pixels_of(p); i++)
        if (p->shade[i] > least) sum += (double)p->shade[i] * (double)p->shade[i];
    return sum;
}

/* Dark ink, unless there is much more light ink: the light between a stroke and a shadow's edge is narrow, too. */
static bool take_local(struct plane *p, struct plane_ground *g, struct error *err) {
    struct plane dark = *p, light = *p;
    float noise[2];
    dark.shade = malloc(pixels_of(p) * sizeof *dark.shade);
    light.shade = malloc(pixels_of(p) * sizeof *light.shade);
    bool ok = (dark.shade && light.shade) || fail(err, "out of memory for its %d x %d pixels", p->width, p->height);
    ok = ok && take_hat(p, 1, &dark, &noise[0], err) && take_hat(p, -1, &light, &noise[1], err);
    if (ok) {
        bool lighter = energy(&light, 5 * noise[1]) > 1.5 * energy(&dark, 5 * noise[0]);
        if (!lighter) light_up(p, &dark), noise[0] = level(&dark);
        for (size_t i = 0; i < pixels_of(p); i++)
            p->shade[i] = lighter ? fmaxf(light.shade[i], 0) : -fmaxf(dark.shade[i], 0);
        *g = (struct plane_ground){.noise = noise[lighter]};
    }
    free(dark.shade);
    free(light.shade);
    return ok;
}

/* ---- the corners ---- */

/* The shade of the four corners that is farthest from the picture's median: where a digit fills its picture, the ground
 * is seen there or nowhere. */
static void take_corners(struct plane *p, struct plane_ground *g) {
    uint32_t histogram[SHADE_BINS] = {0};
    size_t pixels = pixels_of(p);
    for (size_t i = 0; i < pixels; i++) histogram[shade_bin(p->shade[i])]++;
    float median = quantile(histogram, 0.5), ground = median;
    const size_t right = (size_t)p->width - 1, corners[] = {0, right, pixels - 1 - right, pixels - 1};
    for (int k = 0; k < 4; k++)
        if (fabsf(p->shade[corners[k]] - median) > fabsf(ground - median)) ground = p->shade[corners[k]];
    for (size_t i = 0; i < pixels; i++) p->shade[i] -= ground;
    *g = (struct plane_ground){0};
}

bool take_ground(struct plane *p, enum ground kind, struct plane_ground *g, struct error *err) {
    if (kind == GROUND_LOCAL) return take_local(p, g, err);
    if (kind == GROUND_SURFACE) take_surface(p, g);
    else take_corners(p, g);
    return true;
}
