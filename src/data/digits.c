#include "data/digits.h"

#include "base/rng.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

/* How one image is made: a label and a way of writing it are chosen, the way's knots are shaken and its plane is bent
 * by a random hand, a smooth curve is laid through the knots, the curve is fitted to the page as MNIST does it (a 20 x
 * 20 box, its centre of mass in the middle), and every pixel gets ink by its distance to the curve.
 *
 * Only + - * / and sqrt, which IEEE 754 rounds correctly, and integers are used, and each draw from the generator is
 * a statement of its own (C leaves the order of operands and initialisers open): that is why every compiler and
 * machine draws the same bytes. */

enum {
    MAX_KNOTS = 16, /* of one way of writing */
    SPAN_STEPS = 5, /* straight pieces between two knots */
    MAX_TRAIL = MAX_KNOTS * SPAN_STEPS + 1,
    KNOT_CHARS = 6, /* of a knot in a path */
    MAX_STYLES = 4, /* ways of writing one digit */
};

/* A path is a list of knots in a box of 100 x 100, x to the right and y down, six characters each:
 *
 *     |m|x|x|,|y|y|   m: '/' the pen is put down here, ' ' it passes smoothly, '^' it turns sharply
 */
struct style {
    unsigned percent; /* of this digit's images */
    const char *path;
};

// clang-format off
static const struct style styles[10][MAX_STYLES] = {
    {{45, "/60,06 38,05 18,25 12,55 24,88 48,97 74,86 87,55 80,22 60,06 44,07"}, /* from the top right */
     {25, "/48,03 22,22 17,60 32,92 58,96 80,70 80,35 66,10 46,04"},             /* narrow */
     {20, "/34,10 14,38 16,72 42,95 74,88 90,58 80,20 52,05 30,14"},             /* round */
     {10, "/42,08 20,30 18,70 42,96 72,86 84,50 70,14 56,06"}},                  /* left open */
    {{60, "/52,02 50,50 48,98"},                                                 /* a bare stroke */
     {15, "/50,02 54,30 48,65 50,98"},                                           /* a wavy one */
     {13, "/32,24^54,03 53,50 51,98"},                                           /* flag */
     {12, "/34,22^54,03 53,50 52,96/26,97 52,96 80,96"}},                        /* flag and foot */
    {{35, "/16,26 32,07 56,04 76,20 68,48 42,76^14,95 50,94 90,93"},             /* angle at the base */
     {40, "/18,24 38,05 64,06 76,26 62,56 36,88 17,94 10,83 24,75 50,85 72,95 93,88"}, /* loop */
     {15, "/14,22 38,05 66,10 74,32 52,66^20,92 42,84 66,94 92,90"},             /* wave for a base */
     {10, "/22,18 50,03 76,14 70,42 44,70 20,93 26,96 60,92 88,94"}},            /* round at the base */
    {{45, "/16,14 42,03 70,10 74,28 60,41^38,47 66,51 84,68 74,89 46,98 13,88"}, /* two bows */
     {20, "/18,12 46,02 72,14 66,34 44,46 40,52 50,48 76,58 82,78 60,96 30,97 12,86"}, /* small nook */
     {15, "/16,07 46,05^78,05 60,24^42,42 72,49 86,70 72,92 42,98 12,90"},       /* flat top */
     {20, "/20,08 50,04 74,16 62,36^44,44 64,52 72,72 56,92 20,97"}},            /* slim */
    {{40, "/24,04 18,28^15,52 50,53 92,49/72,06 68,50 64,98"},                   /* open, square */
     {20, "/22,06 14,36 26,52 54,50 80,40/82,03 76,48 70,98"},                   /* open, round */
     {20, "/64,98 66,50^68,03 40,32^10,62 50,62 94,60"},                         /* closed, one stroke */
     {20, "/58,04 34,28^12,54 50,54 88,50/74,16 70,56 62,98"}},                  /* nearly closed */
    {{35, "/84,05 56,05^30,07 27,26^24,46 54,40 80,58 76,86 46,98 13,90"},       /* one stroke */
     {30, "/32,10 28,28^25,46 58,42 80,64 66,91 36,98 10,88/32,09 58,07 86,03"}, /* hat put on last */
     {20, "/82,06 50,07 30,24 46,44 74,60 70,86 42,98 15,91"},                   /* like an s */
     {15, "/78,03 52,06^34,12 26,44^32,50 66,54 72,74 54,92 18,97"}},            /* slim */
    {{45, "/70,03 40,22 19,58 26,90 54,98 78,80 68,59 44,58 23,76"},             /* bent back */
     {30, "/56,02 32,38 22,74 40,97 66,90 72,68 52,57 28,72"},                   /* straight back */
     {15, "/80,10 56,04 28,28 16,64 34,96 66,94 80,72 58,54 30,62 20,76"},       /* hooked top */
     {10, "/46,02 30,34 24,70 34,95 56,96 64,80 50,68 28,82"}},                  /* small bowl */
    {{45, "/13,10 48,08^84,06 62,44 42,98"},                                     /* plain */
     {18, "/14,10 48,08^82,06 64,44 46,98/34,52 56,50 80,47"},                   /* bar */
     {22, "/12,26^15,09 50,10^84,07 64,40 54,70 50,98"},                         /* serif, bent stem */
     {15, "/16,20 34,07 60,12^84,07 66,44 38,98"}},                              /* wave for a top */
    {{40, "/72,20 52,04 28,14 30,36 60,56 74,80 50,97 24,84 34,60 64,40 76,22 68,10"}, /* an s and back */
     {20, "/50,48 27,26 50,03 73,24 50,48/50,48 22,74 50,98 78,74 50,48"},       /* two rings */
     {25, "/80,10 50,05 32,22 48,44 70,68 58,94 34,92 34,70 58,46 84,12"},       /* open at the top */
     {15, "/52,46 32,28 46,05 68,12 66,32 44,52 26,76 44,98 66,86 62,62 46,48"}}, /* from the waist */
    {{35, "/74,18 52,04 26,20 28,42 54,46^74,20 72,60 66,98"},                   /* straight tail */
     {25, "/76,16 50,04 26,24 36,46 62,42^76,18 78,58 64,90 40,98 20,88"},       /* curled tail */
     {25, "/70,10 46,06 28,28 42,48 64,36 72,14 66,48 52,98"},                   /* tail out of the bowl */
     {15, "/72,22 56,06 30,16 24,38 46,48 70,28^76,10 66,54 40,98"}},            /* leaning tail */
};
// clang-format on

struct knot {
    char mark; /* as in a path */
    double x, y, pressure;
};

/* A point of the pen's way over the page, in pixels once it is fitted. */
struct dot {
    bool inked; /* there is ink on the way from the dot before */
    double x, y, radius;
};

/* How one person writes one digit. Lengths are in half boxes (the box is -1 .. 1) or pixels. */
struct hand {
    double shake;                /* standard deviation of a knot */
    double turn, slant, stretch; /* small rotation, shear, width to height */
    double bend[4];              /* quadratic terms of the plane's warp: y y, x y in x; x x, x y in y */
    double radius, soft, grain;  /* of the pen, its edge (both in pixels), the ink (0 to 1) */
};

/* About normal with standard deviation 1 and never beyond 3.5: the sum of the four quarters of one draw, each
 * uniform over 65,536 values, so of variance 65536^2 / 12. */
static double bell(struct rng *rng) {
    uint64_t bits = rng_next(rng), sum = 0;
    for (int quarter = 0; quarter < 4; quarter++) sum += bits >> 16 * quarter & 0xffff;
    return ((double)sum - 131070.0) * (1.7320508075688772 / 65536.0);
}

static double between(struct rng *rng, double low, double high) { return low + (high - low) * rng_uniform(rng); }

static double clamp(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

static const char *pick_path(struct rng *rng, int digit) {
    unsigned ticket = rng_below(rng, 100);
    int style = 0;
    while (style < MAX_STYLES - 1 && ticket >= styles[digit][style].percent) {
        ticket -= styles[digit][style++].percent;
    }
    return styles[digit][style].path;
}

/* Most hands are neat and a few are very careless: those few are what a network still gets wrong. The numbers
 * here are tuned by eye, and until a small network erred about as often as it does on MNIST. */
static struct hand pick_hand(struct rng *rng) {
    struct hand hand;
    double u = rng_uniform(rng), careless = 0.75 + 1.0 * u * u * u * u;
    hand.shake = 0.10 * careless;
    hand.turn = 0.12 * careless * bell(rng);
    hand.slant = 0.12 + 0.20 * bell(rng);
    hand.stretch = clamp(0.95 + 0.14 * bell(rng), 0.55, 1.4);
    for (int i = 0; i < 4; i++) hand.bend[i] = 0.09 * careless * bell(rng);
    hand.radius = clamp(1.36 + 0.30 * bell(rng), 0.6, 2.2);
    hand.soft = between(rng, 0.9, 1.8);
    hand.grain = between(rng, 0.0, 0.3);
    return hand;
}

/* Output: knots [MAX_KNOTS], of which the count returned are set, in half boxes. */
static int read_path(const char *path, struct knot *knots) {
    int count = (int)(strlen(path) / KNOT_CHARS);
    assert(count >= 2 && count <= MAX_KNOTS && path[0] == '/');
    for (int k = 0; k < count; k++) {
        const char *c = path + KNOT_CHARS * k;
        knots[k].mark = c[0];
        knots[k].x = ((c[1] - '0') * 10 + (c[2] - '0')) / 50.0 - 1.0;
        knots[k].y = ((c[4] - '0') * 10 + (c[5] - '0')) / 50.0 - 1.0;
    }
    return count;
}

/* In place: knots [count]. The pen strays slowly, each knot's shift partly the one before (0.6^2 + 0.8^2 = 1
 * keeps the deviation), or round digits would come out as polygons. First and last knots stray more: people
 * start and stop where they like. */
static void shake_knots(struct rng *rng, const struct hand *hand, int count, struct knot *knots) {
    double stray_x = bell(rng), stray_y = bell(rng);
    for (int k = 0; k < count; k++) {
        stray_x = 0.6 * stray_x + 0.8 * bell(rng);
        stray_y = 0.6 * stray_y + 0.8 * bell(rng);
        bool end = knots[k].mark == '/' || k + 1 == count || knots[k + 1].mark == '/';
        double shake = end ? 1.4 * hand->shake : hand->shake;
        double x = knots[k].x + shake * stray_x;
        double y = knots[k].y + shake * stray_y;
        double bent_x = x + hand->bend[0] * y * y + hand->bend[1] * x * y;
        double bent_y = y + hand->bend[2] * x * x + hand->bend[3] * x * y;
        double wide = hand->stretch * bent_x - hand->slant * bent_y;
        knots[k].x = wide - hand->turn * bent_y;
        knots[k].y = bent_y + hand->turn * wide;
        knots[k].pressure = clamp(1.0 + 0.14 * bell(rng), 0.6, 1.5);
    }
}

/* The curve's direction at knot k of knots [count], for the span that ends (side -1) or starts (side +1)
 * there: along the chord of the two neighbours where the pen passes smoothly (Catmull and Rom 1974), along
 * the span itself at a sharp turn or an end. */
static void tangent(const struct knot *knots, int count, int k, int side, double *dx, double *dy) {
    bool stop = k + 1 == count || knots[k + 1].mark == '/';
    bool smooth = knots[k].mark == ' ' && !stop;
    int from = smooth || side < 0 ? k - 1 : k, to = smooth || side > 0 ? k + 1 : k;
    double share = smooth ? 0.5 : 1.0;
    *dx = share * (knots[to].x - knots[from].x);
    *dy = share * (knots[to].y - knots[from].y);
}

/* Cubic Hermite spans through knots [count]. Output: trail [MAX_TRAIL]; returns how many are set. */
static int lay_trail(const struct knot *knots, int count, double radius, struct dot *trail) {
    int dots = 0;
    for (int k = 0; k < count; k++) {
        const struct knot *p = &knots[k - (k > 0)], *q = &knots[k];
        if (q->mark == '/') {
            trail[dots++] = (struct dot){false, q->x, q->y, radius * q->pressure};
            continue;
        }
        double px, py, qx, qy;
        tangent(knots, count, k - 1, +1, &px, &py);
        tangent(knots, count, k, -1, &qx, &qy);
        for (int step = 1; step <= SPAN_STEPS; step++) {
            double t = step / (double)SPAN_STEPS, s = 1.0 - t;
            double p_share = s * s * (1.0 + 2.0 * t), q_share = t * t * (1.0 + 2.0 * s);
            double x = p_share * p->x + q_share * q->x + t * s * s * px - t * t * s * qx;
            double y = p_share * p->y + q_share * q->y + t * s * s * py - t * t * s * qy;
            trail[dots++] = (struct dot){true, x, y, radius * (s * p->pressure + t * q->pressure)};
        }
    }
    return dots;
}

/* In place: trail [dots] from half boxes to pixels. The longer side of ink becomes size pixels, the centre of
 * mass of the curve comes to (x, y). */
static void fit_to_page(double size, double pen, double x, double y, int dots, struct dot *trail) {
    double left = trail[0].x, right = left, top = trail[0].y, bottom = top;
    double mass = 1e-9, mass_x = 0.0, mass_y = 0.0;
    for (int i = 0; i < dots; i++) {
        left = trail[i].x < left ? trail[i].x : left;
        right = trail[i].x > right ? trail[i].x : right;
        top = trail[i].y < top ? trail[i].y : top;
        bottom = trail[i].y > bottom ? trail[i].y : bottom;
        if (!trail[i].inked) continue;
        double dx = trail[i].x - trail[i - 1].x, dy = trail[i].y - trail[i - 1].y;
        double length = sqrt(dx * dx + dy * dy);
        mass += length;
        mass_x += length * 0.5 * (trail[i].x + trail[i - 1].x);
        mass_y += length * 0.5 * (trail[i].y + trail[i - 1].y);
    }
    double side = right - left > bottom - top ? right - left : bottom - top;
    double scale = (size - 2.0 * pen) / (side + 1e-9);
    for (int i = 0; i < dots; i++) {
        trail[i].x = x + scale * (trail[i].x - mass_x / mass);
        trail[i].y = y + scale * (trail[i].y - mass_y / mass);
    }
}

/* The pixels lo .. hi - 1 of a row or column whose centres (whole numbers) may be within reach of a .. b. */
static_assert(DIGITS_ROWS == DIGITS_COLS, "pixel_range serves both");
static void pixel_range(double a, double b, double reach, int *lo, int *hi) {
    double low = (a < b ? a : b) - reach, high = (a < b ? b : a) + reach;
    *lo = (int)clamp(low, 0.0, DIGITS_COLS);
    *hi = (int)clamp(high + 1.0, 0.0, DIGITS_COLS);
}

/* Adds the straight piece a .. b to page [28][28]: ink is 1 inside the pen's radius and falls to 0 over
 * `soft` pixels across its edge; where pieces overlap, the darker one counts. */
static void ink_piece(const struct dot *a, const struct dot *b, double soft, float *page) {
    double dx = b->x - a->x, dy = b->y - a->y, over_length2 = 1.0 / (dx * dx + dy * dy + 1e-12);
    double radius = 0.5 * (a->radius + b->radius), reach = radius + 0.5 * soft, over_soft = 1.0 / soft;
    int x0, x1, y0, y1;
    pixel_range(a->x, b->x, reach, &x0, &x1);
    pixel_range(a->y, b->y, reach, &y0, &y1);
    for (int y = y0; y < y1; y++) {
        for (int x = x0; x < x1; x++) {
            double ax = x - a->x, ay = y - a->y;
            double t = clamp((ax * dx + ay * dy) * over_length2, 0.0, 1.0);
            double ex = ax - t * dx, ey = ay - t * dy, distance2 = ex * ex + ey * ey;
            if (distance2 >= reach * reach) continue;
            float ink = (float)clamp((reach - sqrt(distance2)) * over_soft, 0.0, 1.0);
            if (ink > page[y * DIGITS_COLS + x]) page[y * DIGITS_COLS + x] = ink;
        }
    }
}

/* Draws trail [dots] on page [28][28], now and then with a stretch where the pen gave no ink, and now and
 * then with specks of dirt beside the digit. */
static void ink_trail(struct rng *rng, double soft, int dots, const struct dot *trail, float *page) {
    bool dry = rng_below(rng, 100) < 8, dirty = rng_below(rng, 100) < 5;
    int dry_from = (int)rng_below(rng, (uint32_t)dots), dry_count = 1 + (int)rng_below(rng, 5);
    for (int i = 1; i < dots; i++) {
        bool gap = dry && i >= dry_from && i < dry_from + dry_count;
        if (trail[i].inked && !gap) ink_piece(&trail[i - 1], &trail[i], soft, page);
    }
    int specks = dirty ? 1 + (int)rng_below(rng, 3) : 0;
    for (int i = 0; i < specks; i++) {
        struct dot a = {true, 0.0, 0.0, 0.0};
        a.x = between(rng, 4.0, 23.0);
        a.y = between(rng, 4.0, 23.0);
        a.radius = between(rng, 0.3, 0.8);
        struct dot b = a;
        b.x += bell(rng);
        b.y += bell(rng);
        ink_piece(&a, &b, soft, page);
    }
}

/* From page [28][28], ink 0 to 1, to image [28][28], ink 0 to 255 rounded half up; grain is the most that
 * uneven paper takes from a pixel. Eight pixels share a draw. */
static void develop(struct rng *rng, double grain, const float *page, uint8_t *image) {
    uint64_t bits = 0;
    for (int i = 0; i < DIGITS_PIXELS; i++, bits >>= 8) {
        if (i % 8 == 0) bits = rng_next(rng);
        double kept = 1.0 - grain * (double)(bits & 0xff) / 256.0;
        image[i] = (uint8_t)(255.0 * kept * page[i] + 0.5);
    }
}

/* Output: image [28][28]. Returns the label. */
static uint8_t draw_digit(struct rng *rng, uint8_t *image) {
    struct knot knots[MAX_KNOTS];
    struct dot trail[MAX_TRAIL];
    float page[DIGITS_PIXELS] = {0}; /* [28][28] */

    int digit = (int)rng_below(rng, 10);
    int count = read_path(pick_path(rng, digit), knots);
    struct hand hand = pick_hand(rng);
    shake_knots(rng, &hand, count, knots);
    int dots = lay_trail(knots, count, hand.radius, trail);

    double size = between(rng, 18.5, 20.5);
    double x = 13.5 + 0.5 * bell(rng);
    double y = 13.5 + 0.5 * bell(rng);
    fit_to_page(size, hand.radius, x, y, dots, trail);
    ink_trail(rng, hand.soft, dots, trail, page);
    develop(rng, hand.grain, page, image);
    return (uint8_t)digit;
}

void digits_draw(uint64_t seed, size_t first, size_t count, uint8_t *images, uint8_t *labels) {
    struct rng stream = rng_seeded(seed);
    uint64_t base = rng_next(&stream); /* spread over 64 bits: neighbouring seeds share no images */
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < count; i++) {
        struct rng rng = rng_seeded(base + first + i);
        labels[i] = draw_digit(&rng, images + i * DIGITS_PIXELS);
    }
}
