/* A sheet of paper on a table: where the picture's rim shows the table, the sheet itself stands out as "ink", and what
 * is drawn on it as holes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/picture_steps.h"

enum { UNSEEN, SHEET, OUTSIDE };

struct flood {
    const struct plane *ink;
    float threshold;
    uint8_t *state;  /* [height][width] */
    uint32_t *queue; /* [height * width] */
};

/* Marks the pixels that are connected to `start` by their sides and have as much or as little ink. */
static size_t fill(struct flood *f, size_t start, uint8_t mark) {
    int w = f->ink->width, h = f->ink->height;
    size_t count = 0;
    bool above = f->ink->shade[start] > f->threshold;
    f->state[start] = mark;
    f->queue[count++] = (uint32_t)start;
    for (size_t next = 0; next < count; next++) {
        int x = (int)(f->queue[next] % (uint32_t)w), y = (int)(f->queue[next] / (uint32_t)w);
        const int beside[4][2] = {{x - 1, y}, {x + 1, y}, {x, y - 1}, {x, y + 1}};
        for (int k = 0; k < 4; k++) {
            if (beside[k][0] < 0 || beside[k][1] < 0 || beside[k][0] >= w || beside[k][1] >= h) continue;
            size_t at = (size_t)beside[k][1] * (size_t)w + (size_t)beside[k][0];
            if (f->state[at] != UNSEEN || (f->ink->shade[at] > f->threshold) != above) continue;
            f->state[at] = mark;
            f->queue[count++] = (uint32_t)at;
        }
    }
    return count;
}

/* The share of the smallest rectangle around it, at any angle, that the sheet fills, holes included: 1 of a rectangle,
 * 0.785 of a round digit. */
static double rectangularity(const struct flood *f, size_t filled) {
    int w = f->ink->width, h = f->ink->height;
    double least = INFINITY;
    for (int degrees = 0; degrees < 90; degrees += 3) {
        double c = cos(degrees * acos(-1) / 180), s = sin(degrees * acos(-1) / 180);
        double low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY};
        for (int y = 0; y < h; y++) {
            int ends[2] = {0, w - 1};
            const uint8_t *row = f->state + (size_t)y * (size_t)w;
            while (ends[0] < w && row[ends[0]] != SHEET) ends[0]++;
            while (ends[1] >= 0 && row[ends[1]] != SHEET) ends[1]--;
            for (int k = 0; k < 2 && ends[0] < w; k++) {
                double u[2] = {ends[k] * c + y * s, y * c - ends[k] * s};
                for (int i = 0; i < 2; i++) low[i] = fmin(low[i], u[i]), high[i] = fmax(high[i], u[i]);
            }
        }
        least = fmin(least, (high[0] - low[0] + 1) * (high[1] - low[1] + 1));
    }
    return (double)filled / least;
}

/* The largest connected part, a tenth of the picture at least, is the sheet; paper that does not reach the rim on a way
 * without sheet is a hole in it, where something is drawn. */
static bool mark_sheet(struct flood *f) {
    size_t pixels = pixels_of(f->ink), largest = 0, seed = 0;
    memset(f->state, UNSEEN, pixels);
    for (size_t i = 0; i < pixels; i++) {
        if (f->state[i] != UNSEEN || !(f->ink->shade[i] > f->threshold)) continue;
        size_t count = fill(f, i, OUTSIDE);
        if (count > largest) largest = count, seed = i;
    }
    if (10 * largest < pixels) return false;
    memset(f->state, UNSEEN, pixels);
    fill(f, seed, SHEET);
    size_t w = (size_t)f->ink->width, filled = 0;
    for (size_t i = 0; i < pixels; i++) {
        bool rim = i < w || i >= pixels - w || i % w == 0 || i % w == w - 1;
        if (rim && f->state[i] == UNSEEN) fill(f, i, OUTSIDE);
    }
    for (size_t i = 0; i < pixels; i++) {
        if (f->state[i] != OUTSIDE) f->state[i] = SHEET, filled++;
    }
    return 500 * (filled - largest) > filled && 10 * largest > 6 * filled && rectangularity(f, filled) > 0.88;
}

/* The pixels of the sheet, its blurred edge left off; the shade of its paper everywhere else. */
static bool cut_out(const struct flood *f, const struct plane *gray, struct plane *sheet, struct error *err) {
    int w = gray->width, margin = 2 + shorter_side(gray) / 100;
    struct plane outside = {malloc(pixels_of(gray) * sizeof(float)), w, gray->height};
    struct box box = {w, gray->height, 0, 0};
    uint32_t histogram[SHADE_BINS] = {0};
    if (!outside.shade) return fail(err, "out of memory for its %d pixels a row", w);
    for (size_t i = 0; i < pixels_of(gray); i++) outside.shade[i] = f->state[i] != SHEET;
    bool ok = filter_extreme(&outside, margin, 1, err);
    for (int y = 0; ok && y < gray->height; y++)
        for (int x = 0; x < w; x++) {
            size_t i = (size_t)y * (size_t)w + (size_t)x;
            if (outside.shade[i] > 0) continue;
            histogram[shade_bin(gray->shade[i])]++;
            box = (struct box){smaller(box.left, x), smaller(box.top, y), larger(box.right, x + 1),
                               larger(box.bottom, y + 1)};
        }
    ok = ok && box.right > box.left;
    *sheet = (struct plane){NULL, box.right - box.left, box.bottom - box.top};
    if (ok) sheet->shade = malloc(pixels_of(sheet) * sizeof(float));
    float paper = quantile(histogram, 0.5);
    for (int y = 0; sheet->shade && y < sheet->height; y++)
        for (int x = 0; x < sheet->width; x++) {
            size_t i = (size_t)(box.top + y) * (size_t)w + (size_t)(box.left + x);
            sheet->shade[(size_t)y * (size_t)sheet->width + (size_t)x] = outside.shade[i] > 0 ? paper : gray->shade[i];
        }
    free(outside.shade);
    return true;
}

bool find_sheet(const struct plane *gray, const struct plane *ink, const struct ink *found, struct plane *sheet,
                struct error *err) {
    struct flood f = {ink, 0.6f * found->contrast, malloc(pixels_of(ink)), malloc(pixels_of(ink) * sizeof(uint32_t))};
    *sheet = (struct plane){0};
    bool ok = (f.state && f.queue) || fail(err, "out of memory for its %zu pixels", pixels_of(ink));
    if (ok && mark_sheet(&f)) ok = cut_out(&f, gray, sheet, err);
    free(f.state);
    free(f.queue);
    return ok;
}
