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

/* One way through all steps, with one model of the ground. */
struct attempt {
    struct plane residual, ink;
    struct plane_ground ground;
    struct digit_parts parts;
};

/* Parts left out had their share in the contrast: it is found anew without them, at most this often. */
enum { ROUNDS = 4 };

static bool find_digit(struct attempt *a, bool whole, struct error *err) {
    struct ink found;
    struct lines lines;
    for (int round = 0; round < ROUNDS; round++) {
        if (!find_ink(&a->residual, a->ground.noise, &a->ink, &found, err)) return false;
        if (!remove_lines(&a->ink, &found, &lines, err)) return false;
        if (!choose_parts(&a->ink, found.threshold, &a->parts, err)) return false;
        if (!a->parts.left_out) break;
        for (size_t i = 0; i < pixels_of(&a->ink); i++)
            if (a->ink.shade[i] == 0) a->residual.shade[i] = 0;
    }
    (void)whole;
    return true;
}


int count_doubts(unsigned doubts) {
    int count = 0;
    for (; doubts; doubts >>= 1) count += doubts & 1;
    return count;
}

bool picture_to_digit(const uint8_t *gray, int width, int height, struct picture_form form, uint8_t digit[28 * 28],
                      unsigned *doubts, struct error *err) {
    *doubts = 0;
    if (!picture_check_sides(width, height, err)) return false;
    if (memcmp(gray, gray + 1, (size_t)width * height - 1) == 0) /* each pixel is the one before it */
        return fail(err, "nothing is drawn on it (ink on a ground expected, found shade %d everywhere)", gray[0]);
    if (width == FIELD && height == FIELD && picture_take(gray, form, digit)) return true;
    struct attempt a = {0};
    bool ok = plane_from_gray(gray, width, height, &a.residual, err);
    a.ink = a.residual;
    a.ink.shade = ok ? malloc(pixels_of(&a.residual) * sizeof(float)) : NULL;
    ok = ok && take_ground(&a.residual, GROUND_SURFACE, &a.ground, err) && find_digit(&a, form.side != 0, err) &&
        draw_digit(&a.ink, &a.parts.box, form.side ? form.side : 20, form.side == 0, digit, err);
    *doubts = a.parts.doubts;
    for (int i = 0; ok && form.dark_ink && i < FIELD * FIELD; i++) digit[i] = 255 - digit[i];
    free(a.residual.shade);
    free(a.ink.shade);
    return ok;
}
