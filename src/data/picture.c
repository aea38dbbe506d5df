/* Gray pixels -> digit: the steps in a row, and other grounds where the first one leaves doubts. */
#include "data/picture.h"

#include <stdlib.h>
#include <string.h>

#include "data/picture_steps.h"

enum { WORKING_PIXELS = 1 << 20 /* a larger picture is averaged down to this first */ };

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

/* ---- one way through all steps, with one model of the ground ---- */

struct attempt {
    struct plane residual, ink;
    struct plane_ground ground;
    struct digit_parts parts;
    struct plane sheet;
};

static bool attempt_create(const struct plane *gray, enum ground kind, struct attempt *a, struct error *err) {
    size_t bytes = pixels_of(gray) * sizeof *gray->shade;
    *a = (struct attempt){.residual = *gray, .ink = *gray};
    a->residual.shade = malloc(bytes);
    a->ink.shade = malloc(bytes);
    if (!a->residual.shade || !a->ink.shade)
        return fail(err, "out of memory for its %d x %d pixels", gray->width, gray->height);
    memcpy(a->residual.shade, gray->shade, bytes);
    return take_ground(&a->residual, kind, &a->ground, err);
}

static void attempt_free(struct attempt *a) {
    free(a->residual.shade);
    free(a->ink.shade);
    free(a->sheet.shade);
}

static bool overlap(const struct box *a, const struct box *b) {
    return a->left < b->right && b->left < a->right && a->top < b->bottom && b->top < a->bottom;
}

/* Parts that are left out had their share in the contrast: it is found anew without them, at most so often. */
enum { ROUNDS = 4 };

static bool find_digit(const struct plane *gray, struct attempt *a, struct error *err) {
    struct ink found;
    struct lines lines;
    unsigned doubts = 0;
    for (int round = 0; round < ROUNDS; round++) {
        if (!find_ink(&a->residual, a->ground.noise, &a->ink, &found, err)) return false;
        if (!find_sheet(gray, &a->ink, &found, &a->sheet, err)) return false;
        if (a->sheet.shade) return true;
        if (!remove_lines(&a->ink, &found, &lines, err) || !choose_parts(&a->ink, found.threshold, &a->parts, err))
            return false;
        for (int i = 0; i < lines.count && lines.all < 3; i++)
            if (overlap(&lines.box[i], &a->parts.box)) doubts |= 1u << DOUBT_LEFT_OUT;
        a->parts.doubts |= doubts;
        if (!a->parts.left_out) break;
        for (size_t i = 0; i < pixels_of(&a->ink); i++)
            if (a->ink.shade[i] == 0) a->residual.shade[i] = 0;
    }
    return true;
}

/* ---- gray -> digit ---- */

enum { MOST_SHEETS = 2 /* on each other */, NO_DIGIT = 100 };

static int count_doubts(unsigned doubts) {
    int count = 0;
    for (doubts &= (1u << DOUBTS) - 1; doubts; doubts >>= 1) count += doubts & 1;
    return count;
}

/* Tries one ground after the other until one leads to a digit without doubts, else the one with the fewest. */
static bool digit_of_plane(const struct plane *gray, int depth, uint8_t digit[FIELD * FIELD], unsigned *doubts,
                           struct error *err) {
    int best = NO_DIGIT;
    bool narrow = larger(gray->width, gray->height) > 2 * shorter_side(gray);
    for (int kind = 0; kind < GROUNDS; kind++) {
        struct attempt a;
        struct error why;
        uint8_t drawn[FIELD * FIELD];
        unsigned seen = 0;
        if (kind == GROUND_CORNERS && best < NO_DIGIT) continue;
        bool ok = attempt_create(gray, kind, &a, &why) && find_digit(gray, &a, &why);
        if (ok && a.sheet.shade) ok = depth < MOST_SHEETS && digit_of_plane(&a.sheet, depth + 1, drawn, &seen, &why);
        else if (ok) ok = draw_digit(&a.ink, &a.parts.box, 20, true, drawn, &why), seen = a.parts.doubts;
        bool several = !ok && a.parts.several,
             unsure = a.ground.noise > 0 && (a.ground.uneven || a.parts.at_rim) && !a.parts.fills && !(ok && narrow);
        attempt_free(&a);
        if (!ok && (best == NO_DIGIT || several)) *err = why;
        if (!ok && !unsure && kind == GROUND_SURFACE) return false;
        if (kind == GROUND_CORNERS && !a.parts.fills && !narrow) continue;
        if (!ok) continue;
        int cost = count_doubts(seen) + 2 * unsure;
        if (cost < best) {
            best = cost, *doubts = seen;
            memcpy(digit, drawn, sizeof drawn);
        }
        if (!unsure) break;
    }
    return best < NO_DIGIT;
}

/* A picture of other things than digits: all that is drawn counts. */
static bool draw_all(const struct plane *gray, int side, uint8_t digit[FIELD * FIELD], struct error *err) {
    struct attempt a;
    struct ink found;
    bool ok = attempt_create(gray, GROUND_SURFACE, &a, err) &&
        find_ink(&a.residual, a.ground.noise, &a.ink, &found, err);
    if (ok) {
        struct box box = box_of_ink(&a.ink, found.threshold);
        ok = draw_digit(&a.ink, &box, side, false, digit, err);
    }
    attempt_free(&a);
    return ok;
}

bool picture_to_digit(const uint8_t *gray, int width, int height, struct picture_form form, uint8_t digit[28 * 28],
                      unsigned *doubts, struct error *err) {
    *doubts = 0;
    if (!picture_check_sides(width, height, err)) return false;
    if (memcmp(gray, gray + 1, (size_t)width * (size_t)height - 1) == 0) /* each pixel is the one before it */
        return fail(err, "nothing is drawn on it (ink on a ground expected, found shade %d everywhere)", gray[0]);
    if (width == FIELD && height == FIELD && picture_take(gray, form, digit)) return true;
    struct plane plane;
    bool ok = plane_from_gray(gray, width, height, &plane, err) &&
        (form.side ? draw_all(&plane, form.side, digit, err) : digit_of_plane(&plane, 0, digit, doubts, err));
    for (int i = 0; ok && form.dark_ink && i < FIELD * FIELD; i++) digit[i] = 255 - digit[i];
    free(plane.shade);
    return ok;
}
