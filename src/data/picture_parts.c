/* Connected parts of the ink: which of them are the digit, and what lies beside it: frames, table edges, fingers,
 * underlines, dust, another digit. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/picture_steps.h"

struct part {
    struct box box;
    double ink;
    size_t pixels;
    int rim[4];    /* pixels on the picture's left, top, right and bottom rim */
    uint32_t seed; /* one of its pixels */
    bool frame;    /* has another part of a digit's size inside it: a printed box, a ring drawn around */
    bool digit;
};

struct parts {
    const struct plane *plane;
    struct part *part; /* [count] */
    size_t count, room;
    uint8_t *state;  /* [height][width] */
    uint32_t *queue; /* [height * width] */
};

/* What has been seen of a pixel. */
enum { PAPER, INK, MEASURED, ERASED };

/* ---- connected pixels ---- */

/* Walks the pixels in state `from` that are connected to `start`, sides and corners, and moves them to the next state.
 * Returns how many there are; parts->queue gets their indices. */
static size_t walk(struct parts *parts, uint8_t from, size_t start) {
    const struct plane *p = parts->plane;
    uint32_t *queue = parts->queue;
    size_t count = 0;
    queue[count++] = (uint32_t)start;
    parts->state[start]++;
    for (size_t next = 0; next < count; next++) {
        int x = (int)(queue[next] % (uint32_t)p->width), y = (int)(queue[next] / (uint32_t)p->width);
        for (int ny = larger(y - 1, 0); ny <= smaller(y + 1, p->height - 1); ny++)
            for (int nx = larger(x - 1, 0); nx <= smaller(x + 1, p->width - 1); nx++) {
                size_t at = (size_t)ny * (size_t)p->width + (size_t)nx;
                if (parts->state[at] != from) continue;
                parts->state[at]++;
                queue[count++] = (uint32_t)at;
            }
    }
    return count;
}

static void measure(const struct parts *parts, size_t count, struct part *part) {
    const struct plane *p = parts->plane;
    *part = (struct part){.box = {INT_MAX, INT_MAX, 0, 0}, .pixels = count, .seed = parts->queue[0]};
    for (size_t k = 0; k < count; k++) {
        int x = (int)(parts->queue[k] % (uint32_t)p->width), y = (int)(parts->queue[k] / (uint32_t)p->width);
        struct box *b = &part->box;
        *b = (struct box){smaller(b->left, x), smaller(b->top, y), larger(b->right, x + 1), larger(b->bottom, y + 1)};
        part->ink += (double)p->shade[parts->queue[k]];
        part->rim[0] += x == 0, part->rim[1] += y == 0;
        part->rim[2] += x == p->width - 1, part->rim[3] += y == p->height - 1;
    }
}

static bool find_parts(const struct plane *p, float threshold, struct parts *parts, struct error *err) {
    size_t pixels = pixels_of(p);
    *parts = (struct parts){.plane = p, .state = malloc(pixels), .queue = malloc(pixels * sizeof *parts->queue)};
    bool ok = parts->state && parts->queue;
    for (size_t i = 0; ok && i < pixels; i++) parts->state[i] = p->shade[i] > threshold ? INK : PAPER;
    for (size_t i = 0; ok && i < pixels; i++) {
        if (parts->state[i] != INK) continue;
        if (parts->count == parts->room) {
            size_t room = parts->room ? 2 * parts->room : 64;
            struct part *more = realloc(parts->part, room * sizeof *more);
            ok = more != NULL;
            if (!ok) break;
            parts->part = more, parts->room = room;
        }
        measure(parts, walk(parts, INK, i), &parts->part[parts->count++]);
    }
    return ok || fail(err, "out of memory for its %zu pixels", pixels);
}

static void free_parts(struct parts *parts) {
    free(parts->part);
    free(parts->state);
    free(parts->queue);
}

/* ---- what a part looks like ---- */

static int rim_contact(const struct part *a) { return a->rim[0] + a->rim[1] + a->rim[2] + a->rim[3]; }

/* From rim to rim, or along more than half of a side: a frame, a table's edge, a rule. No digit does that, unless it is
 * all that there is. */
static bool spans(const struct plane *p, const struct part *a) {
    return (a->rim[0] && a->rim[2]) || (a->rim[1] && a->rim[3]) || larger(a->rim[0], a->rim[2]) > p->height / 2 ||
        larger(a->rim[1], a->rim[3]) > p->width / 2;
}

/* Comes near all four sides; faint ends of strokes are below the threshold. */
static bool fills(const struct plane *p, const struct box *b) {
    int x = p->width / 12, y = p->height / 12;
    return b->left <= x && b->top <= y && b->right >= p->width - x && b->bottom >= p->height - y;
}

/* Paper between two boxes, 0 where they overlap in both directions. */
static int gap(const struct box *a, const struct box *b) {
    int x = larger(a->left - b->right, b->left - a->right), y = larger(a->top - b->bottom, b->top - a->bottom);
    return larger(larger(x, y), 0);
}

static struct box both(const struct box *a, const struct box *b) {
    return (struct box){smaller(a->left, b->left), smaller(a->top, b->top), larger(a->right, b->right),
                        larger(a->bottom, b->bottom)};
}

static int width_of(const struct box *b) { return b->right - b->left; }
static int height_of(const struct box *b) { return b->bottom - b->top; }

/* A ruler's line: long and straight along an axis, in a box of its own. */
static bool is_bar(const struct part *a, int times) {
    int w = width_of(&a->box), h = height_of(&a->box);
    return (w > times * h || h > times * w) && a->pixels * 2 > (size_t)w * (size_t)h;
}

static bool is_frame(const struct parts *parts, const struct part *a) {
    for (size_t i = 0; i < parts->count; i++) {
        const struct part *b = &parts->part[i];
        if (b != a && b->box.left > a->box.left && b->box.top > a->box.top && b->box.right < a->box.right &&
            b->box.bottom < a->box.bottom && 3 * longer_of(&b->box) > longer_of(&a->box) && 8 * b->ink > a->ink)
            return true;
    }
    return false;
}

/* ---- the digit among them ---- */

/* The part with the most ink that can be a digit: inside, of some size, no frame; else the one with the most ink. */
static struct part *main_part(const struct parts *parts) {
    struct part *best = NULL, *most = NULL;
    for (size_t i = 0; i < parts->count; i++) {
        struct part *a = &parts->part[i];
        if (!most || a->ink > most->ink) most = a;
        if (rim_contact(a) == 0 && 8 * longer_of(&a->box) > shorter_side(parts->plane) && !a->frame &&
            (!best || (is_bar(best, 12) && 2 * longer_of(&a->box) > longer_of(&best->box)) ||
             (a->ink > best->ink && !is_bar(a, 12))))
            best = a;
    }
    if (!best || best == most) return most;
    /* A digit that fills its picture or only touches the rim, with a fragment of it or a speck inside. */
    bool touches = !spans(parts->plane, most) && 5 * rim_contact(most) < 2 * longer_of(&most->box);
    bool around = fills(parts->plane, &most->box) && !most->frame;
    return (touches || around) && 4 * best->ink < most->ink ? most : best;
}

/* Another digit beside it or below: of its size, and nothing of it above or below the other one's middle. */
static bool is_another_digit(const struct part *a, const struct part *digit) {
    const struct box *p = &a->box, *q = &digit->box;
    bool beside = p->left >= q->right || q->left >= p->right, below = p->top >= q->bottom || q->top >= p->bottom;
    int high = smaller(height_of(p), height_of(q)), least = larger(height_of(p), height_of(q));
    return (beside || below) && 2 * high > least && 2 * longer_of(p) > longer_of(q) && 5 * a->ink > digit->ink &&
        !is_bar(a, 8);
}

/* Takes the parts near the digit to it, one after the other; what stays outside is told as a doubt. */
static bool gather(struct parts *parts, struct part *digit, struct digit_parts *chosen, struct error *err) {
    const struct plane *p = parts->plane;
    double most = digit->ink;
    size_t inked = 0;
    digit->digit = true;
    chosen->box = digit->box;
    for (bool grown = true; grown;) {
        grown = false;
        for (size_t i = 0; i < parts->count; i++) {
            struct part *a = &parts->part[i];
            bool near = 4 * gap(&a->box, &chosen->box) < longer_of(&chosen->box);
            bool apart = spans(p, a) || 5 * rim_contact(a) > 2 * longer_of(&a->box) || a->frame;
            bool under = a->box.top >= digit->box.bottom && width_of(&a->box) > 4 * height_of(&a->box) &&
                2 * width_of(&a->box) > width_of(&digit->box);
            bool ruled = is_bar(a, 12) && 3 * longer_of(&a->box) > 2 * longer_of(&digit->box);
            if (a->digit || a->ink < most / 32 || !near || apart || under || ruled || is_another_digit(a, digit))
                continue;
            a->digit = grown = true;
            chosen->box = both(&chosen->box, &a->box);
        }
    }
    for (size_t i = 0; i < parts->count; i++) {
        struct part *a = &parts->part[i];
        bool at_rim = rim_contact(a) > 0;
        if (a->digit) inked += a->pixels;
        if (a->digit && at_rim) {
            chosen->doubts |= 1u << DOUBT_RIM;
            chosen->at_rim = chosen->at_rim || spans(p, a) || 5 * rim_contact(a) > 2 * longer_of(&a->box);
        }
        if (a->digit || a->ink < most / 32) continue;
        chosen->left_out = chosen->left_out || a->ink > most / 4;
        if (!at_rim && is_another_digit(a, digit)) {
            chosen->several = true;
            return fail(err, "more than one digit is on it");
        }
        if (!spans(p, a) && !a->frame && a->ink > most / 8) chosen->doubts |= 1u << DOUBT_LEFT_OUT;
    }
    if (4 * width_of(&chosen->box) > 5 * height_of(&chosen->box)) chosen->doubts |= 1u << DOUBT_WIDE;
    else if (width_of(&chosen->box) > height_of(&chosen->box)) chosen->doubts |= 1u << DOUBT_BROAD;
    chosen->fills = fills(p, &chosen->box) &&
        10 * inked < 6 * (size_t)width_of(&chosen->box) * (size_t)height_of(&chosen->box);
    return true;
}

/* Erases what is not the digit, and what of it lies below the threshold beside it. */
static bool erase_others(struct plane *ink, struct parts *parts, struct error *err) {
    struct plane erased = {calloc(pixels_of(ink), sizeof *erased.shade), ink->width, ink->height};
    if (!erased.shade) return fail(err, "out of memory for its %zu pixels", pixels_of(ink));
    for (size_t i = 0; i < parts->count; i++) {
        if (parts->part[i].digit) continue;
        size_t count = walk(parts, MEASURED, parts->part[i].seed);
        for (size_t k = 0; k < count; k++) erased.shade[parts->queue[k]] = 1;
    }
    bool ok = filter_extreme(&erased, 2, 1, err);
    for (size_t i = 0; ok && i < pixels_of(ink); i++)
        if (parts->state[i] == ERASED || (parts->state[i] == PAPER && erased.shade[i] > 0)) ink->shade[i] = 0;
    free(erased.shade);
    return ok;
}

struct box box_of_ink(const struct plane *ink, float threshold) {
    struct box box = {INT_MAX, INT_MAX, 0, 0};
    for (int y = 0; y < ink->height; y++)
        for (int x = 0; x < ink->width; x++)
            if (ink->shade[(size_t)y * (size_t)ink->width + (size_t)x] > threshold)
                box = (struct box){smaller(box.left, x), smaller(box.top, y), larger(box.right, x + 1),
                                   larger(box.bottom, y + 1)};
    return box;
}

bool choose_parts(struct plane *ink, float threshold, struct digit_parts *chosen, struct error *err) {
    struct parts parts;
    *chosen = (struct digit_parts){0};
    bool ok = find_parts(ink, threshold, &parts, err) &&
        (parts.count > 0 || fail(err, "nothing is drawn on it")); /* not reached: ink lies above its threshold */
    for (size_t i = 0; ok && i < parts.count; i++)                /* not for each of a texture's many specks */
        parts.part[i].frame = 16 * longer_of(&parts.part[i].box) > shorter_side(ink) &&
            is_frame(&parts, &parts.part[i]);
    if (ok) ok = gather(&parts, main_part(&parts), chosen, err) && erase_others(ink, &parts, err);
    free_parts(&parts);
    return ok;
}
