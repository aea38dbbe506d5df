#include "data/picture.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    FIELD = 28,               /* side of the digit's field */
    BOX = 20,                 /* side of the square that its ink fills */
    WORKING_PIXELS = 1 << 20, /* a larger picture is averaged down to this first */
    LEAST_CONTRAST = 8        /* shades; below this nothing is drawn that an eye would see */
};

/* A picture that is worked on: shade[height][width], 0 to 255; after find_ink, ink above its ground. */
struct plane {
    float *shade;
    int width, height;
};

/* A rectangle of pixels: columns left .. right - 1, rows top .. bottom - 1. */
struct box {
    int left, top, right, bottom;
};

static int smaller(int a, int b) { return a < b ? a : b; }
static int larger(int a, int b) { return a > b ? a : b; }

/* ---- Shades and their order ---- */

enum { SHADE_STEPS = 16, SHADE_BINS = 256 * SHADE_STEPS }; /* bins a shade; an integer shade is met exactly */

static int shade_bin(float shade) {
    int bin = (int)(shade * SHADE_STEPS);
    return bin < 0 ? 0 : bin >= SHADE_BINS ? SHADE_BINS - 1 : bin;
}

/* The shade below which the given share of a histogram [SHADE_BINS] lies; the lower one of two medians. */
static float quantile(const uint32_t *histogram, double share) {
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

/* ---- The ground: what the picture shows where nothing is drawn ---- */

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
static float find_ground(const struct plane *p, double c[TERMS]) {
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

/* ---- The ink: what differs from the ground ---- */

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

/* Turns shade into ink: the distance from the ground on the side, darker or lighter, where most of it lies.
 * *threshold gets the least ink that counts as drawn. Error: nothing stands out. */
static bool find_ink(struct plane *p, float *threshold, struct error *err) {
    double c[TERMS], energy[2] = {0}; /* darker, lighter */
    float noise = find_ground(p, c);
    float least = fmaxf(5 * noise, LEAST_CONTRAST / 4.0f);
    uint32_t histogram[2][SHADE_BINS] = {{0}};
    for (int y = 0; y < p->height; y++)
        for (int x = 0; x < p->width; x++) {
            float r = residual(p, c, x, y);
            p->shade[(size_t)y * p->width + x] = r;
            if (!(fabsf(r) > least)) continue;
            energy[r > 0] += (double)r * r;
            histogram[r > 0][shade_bin(fabsf(r))]++;
        }
    int lighter = energy[1] > energy[0];
    float contrast = energy[lighter] > 0 ? ink_contrast(histogram[lighter]) : 0;
    if (!(contrast >= LEAST_CONTRAST))
        return fail(err, "nothing is drawn on it (ink at least %d shades from its ground expected, found %.0f)",
                    LEAST_CONTRAST, contrast);
    /* Less than three tenths of full ink is a blurred edge or the ringing of a JPEG, which would widen the box; more
     * would cut the faint edges off a small drawing. 3 noises taken off clear the paper inside the box. */
    *threshold = fmaxf(5 * noise, 0.3f * contrast) - 3 * noise;
    for (size_t i = 0; i < (size_t)p->width * p->height; i++)
        p->shade[i] = fmaxf((lighter ? p->shade[i] : -p->shade[i]) - 3 * noise, 0);
    return true;
}

/* ---- Strokes and specks ---- */

/* What has been seen of a pixel: state[height][width]. */
enum { PAPER, INK, MEASURED, KEPT };

/* Walks the stroke of pixels in state `from` that are connected to `start`, sides and corners, and moves them
 * to the next state. queue[] gets their indices, in all *count; returns the ink in them. */
static double walk_stroke(const struct plane *p, uint8_t *state, uint8_t from, size_t start, uint32_t *queue,
                          size_t *count) {
    double ink = 0;
    *count = 0;
    queue[(*count)++] = (uint32_t)start;
    state[start]++;
    for (size_t next = 0; next < *count; next++) {
        int x = (int)(queue[next] % (uint32_t)p->width), y = (int)(queue[next] / (uint32_t)p->width);
        ink += p->shade[queue[next]];
        for (int ny = y - 1; ny <= y + 1; ny++)
            for (int nx = x - 1; nx <= x + 1; nx++) {
                if (nx < 0 || ny < 0 || nx >= p->width || ny >= p->height) continue;
                size_t at = (size_t)ny * p->width + nx;
                if (state[at] != from) continue;
                state[at]++;
                queue[(*count)++] = (uint32_t)at;
            }
    }
    return ink;
}

/* Erases dust: strokes with less than a thirty-second of the largest one's ink. *box gets what holds the rest. */
static bool keep_strokes(struct plane *p, float threshold, struct box *box, struct error *err) {
    size_t pixels = (size_t)p->width * p->height, count;
    uint8_t *state = malloc(pixels);                  /* [height][width] */
    uint32_t *queue = malloc(pixels * sizeof *queue); /* [height * width] */
    bool ok = state && queue;
    if (!ok) fail(err, "out of memory for its %zu pixels", pixels);
    double largest = 0;
    for (size_t i = 0; ok && i < pixels; i++) state[i] = p->shade[i] > threshold ? INK : PAPER;
    for (size_t i = 0; ok && i < pixels; i++)
        if (state[i] == INK) largest = fmax(largest, walk_stroke(p, state, INK, i, queue, &count));
    *box = (struct box){INT_MAX, INT_MAX, 0, 0};
    for (size_t i = 0; ok && i < pixels; i++) {
        if (state[i] != MEASURED) continue;
        bool dust = walk_stroke(p, state, MEASURED, i, queue, &count) < largest / 32;
        for (size_t k = 0; k < count; k++) {
            int x = (int)(queue[k] % (uint32_t)p->width), y = (int)(queue[k] / (uint32_t)p->width);
            if (dust) p->shade[queue[k]] = 0;
            else
                *box = (struct box){smaller(box->left, x), smaller(box->top, y), larger(box->right, x + 1),
                                    larger(box->bottom, y + 1)};
        }
    }
    free(state);
    free(queue);
    return ok;
}

/* ---- The box of ink into the field ---- */

/* Resamples one line: from [count] at a stride, to [BOX] at a stride, step source pixels to one of the
 * result. Shrinking averages over the area that a pixel covers; enlarging interpolates between the centres of
 * two pixels. Beyond both ends lies paper. A step of 1 copies. */
static void resample(const float *from, size_t from_stride, int count, double step, float *to, size_t to_stride) {
    for (int k = 0; k < BOX; k++) {
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

/* Scales the box so that its longer side is BOX pixels. */
static bool scale_box(const struct plane *p, const struct box *box, float scaled[BOX][BOX], struct error *err) {
    int width = box->right - box->left, height = box->bottom - box->top;
    double step = (width > height ? width : height) / (double)BOX;
    float(*narrow)[BOX] = malloc((size_t)height * sizeof *narrow); /* [height][BOX] */
    if (!narrow) return fail(err, "out of memory for its %d rows", height);
    for (int y = 0; y < height; y++)
        resample(p->shade + (size_t)(box->top + y) * p->width + box->left, 1, width, step, narrow[y], 1);
    for (int x = 0; x < BOX; x++) resample(&narrow[0][x], BOX, height, step, &scaled[0][x], BOX);
    free(narrow);
    return true;
}

/* The amount of ink that becomes 255: the ninth decile of the pixels that are mostly ink. A stroke thinner
 * than a pixel of the result is faint everywhere and is brought up whole. */
static float full_ink(float scaled[BOX][BOX]) {
    float most = 0;
    for (int i = 0; i < BOX * BOX; i++) most = fmaxf(most, scaled[i / BOX][i % BOX]);
    if (!(most > 0)) return 0;
    uint32_t histogram[SHADE_BINS] = {0};
    for (int i = 0; i < BOX * BOX; i++) {
        float shade = scaled[i / BOX][i % BOX] / most * 255; /* the bins are fine enough for this scale only */
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

static bool draw_digit(const struct plane *p, const struct box *box, uint8_t digit[FIELD * FIELD], struct error *err) {
    float scaled[BOX][BOX];
    double mass = 0, moment_x = 0, moment_y = 0;
    int width = 0, height = 0;
    if (!scale_box(p, box, scaled, err)) return false;
    float full = full_ink(scaled);
    if (!(full > 0)) return fail(err, "nothing is drawn on it"); /* not reached: the box holds ink */
    for (int y = 0; y < BOX; y++)
        for (int x = 0; x < BOX; x++) {
            float ink = scaled[y][x] = fminf(scaled[y][x] / full * 255, 255);
            mass += ink;
            moment_x += ink * (x + 0.5);
            moment_y += ink * (y + 0.5);
            if (ink > 0) width = larger(width, x + 1), height = y + 1;
        }
    int left = shift_to_centre(moment_x, mass, width), top = shift_to_centre(moment_y, mass, height);
    memset(digit, 0, FIELD * FIELD);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) digit[(top + y) * FIELD + left + x] = (uint8_t)lrintf(scaled[y][x]);
    return true;
}

/* ---- Gray pixels -> digit ---- */

/* Averages blocks of n x n pixels, n the least that leaves WORKING_PIXELS; n is 1 for most pictures. */
static bool plane_from_gray(const uint8_t *gray, int width, int height, struct plane *p, struct error *err) {
    int n = 1;
    while (((size_t)width + n - 1) / n * (((size_t)height + n - 1) / n) > WORKING_PIXELS) n++;
    p->width = (width + n - 1) / n, p->height = (height + n - 1) / n;
    p->shade = malloc((size_t)p->width * p->height * sizeof *p->shade);
    if (!p->shade) return fail(err, "out of memory for its %d x %d pixels", width, height);
    for (int y = 0; y < p->height; y++)
        for (int x = 0; x < p->width; x++) {
            int right = smaller(width, (x + 1) * n), bottom = smaller(height, (y + 1) * n);
            uint32_t sum = 0, count = (uint32_t)(right - x * n) * (uint32_t)(bottom - y * n);
            for (int j = y * n; j < bottom; j++)
                for (int i = x * n; i < right; i++) sum += gray[(size_t)j * width + i];
            p->shade[(size_t)y * p->width + x] = (float)sum / (float)count;
        }
    return true;
}

bool picture_check_sides(long long width, long long height, struct error *err) {
    if (width >= 1 && height >= 1 && width <= PICTURE_MAX_SIDE && height <= PICTURE_MAX_SIDE) return true;
    return fail(err, "the picture's size is out of range (1 to %d pixels a side expected, found %lld x %lld)",
                PICTURE_MAX_SIDE, width, height);
}

bool picture_to_digit(const uint8_t *gray, int width, int height, struct picture_form form, uint8_t digit[28 * 28],
                      unsigned *doubts, struct error *err) {
    *doubts = 0;
    if (!picture_check_sides(width, height, err)) return false;
    if (memcmp(gray, gray + 1, (size_t)width * height - 1) == 0) /* each pixel is the one before it */
        return fail(err, "nothing is drawn on it (ink on a ground expected, found shade %d everywhere)", gray[0]);
    if (width == FIELD && height == FIELD && picture_take(gray, form, digit)) return true;
    struct plane p = {0};
    struct box box;
    float threshold;
    bool ok = plane_from_gray(gray, width, height, &p, err) && find_ink(&p, &threshold, err) &&
        keep_strokes(&p, threshold, &box, err) && draw_digit(&p, &box, digit, err);
    for (int i = 0; ok && form.dark_ink && i < FIELD * FIELD; i++) digit[i] = 255 - digit[i];
    free(p.shade);
    return ok;
}
