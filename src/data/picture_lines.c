/* Lines of the paper, ruled or a grid, and strokes of a ruler: straight, about as long as the picture, and thinner than
 * the strokes of the digit. They are taken out of the ink where they cross paper, and left where they cross a stroke.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/picture_steps.h"

/* The picture as its level, or its upright, lines see it: "along" is their direction, "across" that of their thickness.
 */
struct view {
    float *shade;
    float threshold;
    int along, across;
    size_t along_stride, across_stride;
    int thickest;    /* of a line, in pixels */
    int most_rise;   /* of a line from end to end: a tenth of its length, 6 degrees */
    int rise_step;   /* every so many pixels of rise are tried */
    uint16_t *run;   /* [across][along]: at a pixel of ink, how many are ink in a row across; 0 on paper */
    uint32_t *votes; /* [rises][across + 2 * most_rise] */
};

struct line {
    int start, rise; /* where it crosses the first column, how far it rises to the last one */
    uint32_t votes;
};

enum { MOST_CANDIDATES = 4096, LEAST_SIDE = 56 /* pixels; in smaller pictures strokes are as thin as lines */ };

static float *shade_at(const struct view *v, int t, int u) {
    return &v->shade[(size_t)t * v->along_stride + (size_t)u * v->across_stride];
}

static uint16_t *run_at(const struct view *v, int t, int u) {
    return &v->run[(size_t)u * (size_t)v->along + (size_t)t];
}

static void measure_runs(struct view *v) {
    for (int t = 0; t < v->along; t++)
        for (int u = 0, end; u < v->across; u = end + 1) {
            for (end = u; end<v->across && * shade_at(v, t, end)> v->threshold; end++) {}
            for (int k = u; k < end; k++) *run_at(v, t, k) = (uint16_t)(end - u);
            if (end < v->across) *run_at(v, t, end) = 0;
        }
}

/* ---- candidates, by Hough's transform: each pixel of a thin run votes for all lines through it ---- */

static int rises(const struct view *v) { return 2 * (v->most_rise / v->rise_step) + 1; }
static int starts(const struct view *v) { return v->across + 2 * v->most_rise; }
static int rise_of(const struct view *v, int r) { return (r - rises(v) / 2) * v->rise_step; }

static void vote(struct view *v) {
    memset(v->votes, 0, (size_t)rises(v) * (size_t)starts(v) * sizeof *v->votes);
    for (int u = 0; u < v->across; u++)
        for (int t = 0; t < v->along; t++) {
            if (*run_at(v, t, u) == 0 || *run_at(v, t, u) > v->thickest) continue;
            for (int r = 0; r < rises(v); r++)
                v->votes[r * starts(v) + v->most_rise + u - rise_of(v, r) * t / v->along]++;
        }
}

static int by_votes(const void *a, const void *b) {
    const struct line *p = a, *q = b;
    if (p->votes != q->votes) return p->votes < q->votes ? 1 : -1;
    return p->start != q->start ? p->start - q->start : p->rise - q->rise;
}

static int list_candidates(const struct view *v, struct line *candidates) {
    int count = 0;
    for (int r = 0; r < rises(v); r++)
        for (int s = 0; s < starts(v) && count < MOST_CANDIDATES; s++)
            if (5 * v->votes[r * starts(v) + s] > (uint32_t)v->along)
                candidates[count++] = (struct line){s - v->most_rise, rise_of(v, r), v->votes[r * starts(v) + s]};
    qsort(candidates, (size_t)count, sizeof *candidates, by_votes);
    return count;
}

/* ---- what is a line is erased ---- */

/* The pixel of ink nearest to the line in column t, two away at most; -1 where there is none. */
static int ink_near(const struct view *v, const struct line *l, int t) {
    static const int away[] = {0, 1, -1, 2, -2};
    for (int i = 0; i < 5; i++) {
        int u = l->start + l->rise * t / v->along + away[i];
        if (u >= 0 && u < v->across && *run_at(v, t, u)) return u;
    }
    return -1;
}

/* The longest stretch of ink along the line, small gaps allowed. Enough of it is thin. */
static bool find_stretch(const struct view *v, const struct line *l, int *from, int *to) {
    int begin = 0, last = -1, thin = 0, hole = 3 + v->along / 100, thin_in_it = 0;
    *from = *to = 0;
    for (int t = 0; t < v->along; t++) {
        int u = ink_near(v, l, t);
        if (u < 0) continue;
        if (last < 0 || t - last > hole) begin = t, thin = 0;
        last = t;
        thin += *run_at(v, t, u) <= v->thickest;
        if (t + 1 - begin > *to - *from) *from = begin, *to = t + 1, thin_in_it = thin;
    }
    int length = *to - *from;
    bool from_rim_to_rim = 10 * length > 9 * v->along; /* the digit may hide much of it */
    return 100 * length > 45 * v->along && (from_rim_to_rim ? 5 : 2) * thin_in_it > length;
}

/* Returns the mean ink of the line. */
static float erase(struct view *v, const struct line *l, int from, int to) {
    double ink = 0;
    int count = 0;
    for (int t = from; t < to; t++) {
        int u = ink_near(v, l, t);
        if (u < 0 || *run_at(v, t, u) > v->thickest) continue;
        float most = *shade_at(v, t, u);
        while (u > 0 && *run_at(v, t, u - 1)) u--;
        for (; u < v->across && *run_at(v, t, u); u++) {
            most = fmaxf(most, *shade_at(v, t, u));
            *run_at(v, t, u) = 0;
            for (int k = larger(u - 1, 0); k <= smaller(u + 1, v->across - 1); k++) *shade_at(v, t, k) = 0;
        }
        ink += (double)most;
        count++;
    }
    return count ? (float)(ink / count) : 0;
}

static void remove_along(struct view *v, const struct ink *found, struct lines *lines, struct line *candidates) {
    measure_runs(v);
    vote(v);
    int count = list_candidates(v, candidates), from, to;
    for (int i = 0; i < count; i++) {
        const struct line *l = &candidates[i];
        if (!find_stretch(v, l, &from, &to)) continue;
        float ink = erase(v, l, from, to);
        lines->all++;
        if (ink < 0.6f * found->contrast || lines->count == MOST_LINES) continue;
        int a = l->start + l->rise * from / v->along, b = l->start + l->rise * to / v->along;
        struct box box = {from, smaller(a, b), to, larger(a, b) + 1};
        if (v->along_stride != 1) box = (struct box){box.top, box.left, box.bottom, box.right};
        lines->box[lines->count++] = box;
    }
}

/* The thickness of the strokes: the median over the ink of the shorter of its runs, level and upright, where thick ink
 * has the more votes. */
static int stroke_of(struct view level, struct view upright) {
    uint64_t total = 0, below = 0, histogram[512] = {0};
    measure_runs(&level);
    measure_runs(&upright);
    for (int y = 0; y < level.across; y++)
        for (int x = 0; x < level.along; x++) {
            int run = smaller(smaller(*run_at(&level, x, y), *run_at(&upright, y, x)), 511);
            histogram[run] += (uint64_t)run;
            total += (uint64_t)run;
        }
    int stroke = 0;
    while (stroke < 511 && (below += histogram[stroke]) <= total / 2) stroke++;
    return stroke;
}

bool remove_lines(struct plane *ink, const struct ink *found, struct lines *lines, struct error *err) {
    int w = ink->width, h = ink->height, longer = larger(w, h);
    *lines = (struct lines){0};
    if (shorter_side(ink) < LEAST_SIDE) return true;
    struct view level = {.shade = ink->shade, .threshold = found->threshold, .along = w, .across = h}, upright = level;
    upright.along = h, upright.across = w;
    level.along_stride = upright.across_stride = 1;
    level.across_stride = upright.along_stride = (size_t)w;
    level.most_rise = w / 10, upright.most_rise = h / 10;
    level.rise_step = 1 + w / 300, upright.rise_step = 1 + h / 300;
    size_t votes = (size_t)larger(rises(&level) * starts(&level), rises(&upright) * starts(&upright));
    uint16_t *runs = malloc(2 * pixels_of(ink) * sizeof *runs);
    uint32_t *box_of_votes = malloc(votes * sizeof *box_of_votes);
    struct line *candidates = malloc(MOST_CANDIDATES * sizeof *candidates);
    bool ok = (runs && box_of_votes && candidates) || fail(err, "out of memory for its %d pixels a side", longer);
    if (ok) {
        level.run = runs, upright.run = runs + pixels_of(ink);
        level.votes = upright.votes = box_of_votes;
        level.thickest = upright.thickest = smaller(stroke_of(level, upright) / 2, shorter_side(ink) / 28);
        remove_along(&level, found, lines, candidates);
        remove_along(&upright, found, lines, candidates);
    }
    free(runs);
    free(box_of_votes);
    free(candidates);
    return ok;
}
