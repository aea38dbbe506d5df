/* The steps from gray pixels to a digit, for the files src/data/picture*.c alone:
 *
 *   gray -> ground    what the picture shows where nothing is drawn (picture_ground.c)
 *        -> ink       what differs from it, and how much of that counts as drawn (picture_ink.c)
 *        -> sheet     paper on a table: all begins anew on the paper (picture_sheet.c)
 *        -> lines     rules and grids of the paper, straight and thinner than strokes (picture_lines.c)
 *        -> parts     connected ink: what is the digit, and what lies beside it (picture_parts.c)
 *        -> digit     box scaled, centre of mass put in the middle (picture_draw.c)
 *
 * picture.c puts them in a row, and tries other grounds where the first one leads to doubts. */
#ifndef DATA_PICTURE_STEPS_H
#define DATA_PICTURE_STEPS_H

#include "data/picture.h"

enum { FIELD = 28 /* side of the digit's field */ };

/* A picture that is worked on: shade[height][width]; from the ground on, signed distance from it; then ink. */
struct plane {
    float *shade;
    int width, height;
};

/* A rectangle of pixels: columns left .. right - 1, rows top .. bottom - 1. */
struct box {
    int left, top, right, bottom;
};

static inline int smaller(int a, int b) { return a < b ? a : b; }
static inline int larger(int a, int b) { return a > b ? a : b; }
static inline size_t pixels_of(const struct plane *p) { return (size_t)p->width * (size_t)p->height; }
static inline int shorter_side(const struct plane *p) { return smaller(p->width, p->height); }
static inline int longer_of(const struct box *b) { return larger(b->right - b->left, b->bottom - b->top); }

enum { SHADE_STEPS = 16, SHADE_BINS = 256 * SHADE_STEPS }; /* bins a shade; an integer shade is met exactly */

static inline int shade_bin(float shade) {
    int bin = (int)(shade * SHADE_STEPS);
    return bin < 0 ? 0 : bin >= SHADE_BINS ? SHADE_BINS - 1 : bin;
}

/* The shade below which the given share of a histogram [SHADE_BINS] lies; the lower one of two medians. */
float quantile(const uint32_t *histogram, double share);

/* ---- ground ---- */

enum ground {
    GROUND_SURFACE, /* one smooth surface: paper under a lamp */
    GROUND_CORNERS, /* the shade of the corners: a picture cropped so close that ink is most of its rim */
    GROUND_LOCAL,   /* the paper around each place: paper with a shadow's edge on it */
    GROUNDS
};

struct plane_ground {
    float noise; /* standard deviation of the ground; exactly 0 for a picture that was drawn clean */
    bool uneven; /* much of the rim is not explained by the ground */
};

/* Takes the ground away: shade becomes the signed distance from it, ink on one side. Error: out of memory. */
bool take_ground(struct plane *p, enum ground kind, struct plane_ground *g, struct error *err);

/* The largest, or with sign -1 the smallest, of each square of 2 * radius + 1 pixels, in place. Error: out of memory.
 */
bool filter_extreme(struct plane *p, int radius, float sign, struct error *err);

/* ---- ink ---- */

struct ink {
    float contrast;  /* full ink, in shades from the ground */
    float threshold; /* the least ink that counts as drawn */
    bool lighter;    /* than the ground */
};

/* Signed distances -> ink >= 0, the noise taken off. Error: nothing stands out. */
bool find_ink(const struct plane *residual, float noise, struct plane *ink, struct ink *found, struct error *err);

/* ---- sheet ---- */

/* Where the ink is a sheet of paper on a darker or lighter table, with something drawn on it: its part of gray, to be
 * freed; else shade NULL. Error: out of memory. */
bool find_sheet(const struct plane *gray, const struct plane *ink, const struct ink *found, struct plane *sheet,
                struct error *err);

/* ---- lines, parts ---- */

enum { MOST_LINES = 64 };
struct lines {
    int all; /* that were taken out; from three on they are the paper's */
    int count;
    struct box box[MOST_LINES]; /* of each line that was taken out and is as dark as the digit */
};

/* Takes straight lines out of the ink that are thinner than its strokes. Error: out of memory. */
bool remove_lines(struct plane *ink, const struct ink *found, struct lines *lines, struct error *err);

struct digit_parts {
    struct box box;  /* of the digit */
    unsigned doubts; /* what it looks like beside the digit */
    bool several;    /* more than one digit */
    bool at_rim;     /* it runs along the rim: perhaps it is a shadow and no digit */
    bool fills;      /* it comes near all four sides and leaves much of them free, as no shadow does */
    bool left_out;   /* a large part: the contrast of the rest is found anew without it */
};

/* The box of all ink, for pictures that are not digits. */
struct box box_of_ink(const struct plane *ink, float threshold);

/* Decides which connected parts of the ink are the digit and erases all others. Errors: more than one digit; out of
 * memory. */
bool choose_parts(struct plane *ink, float threshold, struct digit_parts *chosen, struct error *err);

/* ---- digit ---- */

/* Scales the box so that its longer side is of so many pixels and puts it into the field: side 20 by the centre of
 * mass, as MNIST; any other by the middle of the box. */
bool draw_digit(const struct plane *ink, const struct box *box, int side, bool by_mass, uint8_t digit[FIELD * FIELD],
                struct error *err);

#endif
