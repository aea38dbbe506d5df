/* Pictures of all kinds -> digits. The test draws its own shape, a crooked seven, from the distance to three
 * line segments, so that it can be had at any size and place and the expected 28x28 is known without the code
 * under test. */
#include "data/picture.h" /* before cmocka.h, whose macro fail() hides the function of base/error.h */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STBI_NO_STDIO
#define STBI_WRITE_NO_STDIO
#include <stb/stb_image.h>
#include <stb/stb_image_write.h>

enum { N = 28 * 28 };

static const struct picture_form MNIST = {0};
static unsigned doubts; /* of the last picture */
static char folder[64];

/* FOLDER/name; up to four are valid at a time. */
static const char *in_folder(const char *name) {
    static char path[4][256];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

/* ---- The shape ---- */

static double segment_distance_squared(double x, double y, const double s[4]) {
    double dx = s[2] - s[0], dy = s[3] - s[1];
    double t = ((x - s[0]) * dx + (y - s[1]) * dy) / (dx * dx + dy * dy);
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    double away_x = x - s[0] - t * dx, away_y = y - s[1] - t * dy;
    return away_x * away_x + away_y * away_y;
}

/* Is (x, y) ink? The seven is 0.9 wide and 1 high: strokes of half width 0.06 around segments. */
static bool is_ink(double x, double y) {
    static const double segments[3][4] = {{0.06, 0.06, 0.80, 0.12}, {0.80, 0.12, 0.35, 0.94}, {0.30, 0.55, 0.84, 0.60}};
    for (int i = 0; i < 3; i++)
        if (segment_distance_squared(x, y, segments[i]) <= 0.06 * 0.06) return true;
    return false;
}

/* Draws the seven, height pixels high, at (left, top) into gray [rows][columns] over what is there: ink and
 * ground mixed by the share of 4 x 4 points of a pixel that are ink. */
static void draw_seven(uint8_t *gray, int columns, int rows, double left, double top, double height, int ink) {
    for (int y = 0; y < rows; y++)
        for (int x = 0; x < columns; x++) {
            int hits = 0;
            if (x + 1 < left || y + 1 < top || x > left + height || y > top + height) continue;
            for (int k = 0; k < 16; k++)
                hits += is_ink((x + (k % 4 + 0.5) / 4 - left) / height, (y + (k / 4 + 0.5) / 4 - top) / height);
            uint8_t *pixel = &gray[(size_t)y * columns + x];
            *pixel = (uint8_t)((*pixel * (16 - hits) + ink * hits + 8) / 16);
        }
}

static uint8_t *new_canvas(int columns, int rows, int ground) {
    uint8_t *gray = malloc((size_t)columns * rows);
    assert_non_null(gray);
    memset(gray, ground, (size_t)columns * rows);
    return gray;
}

/* Centre of mass; pixel i covers i .. i + 1. */
static void centre_of_mass(const uint8_t *gray, int columns, int rows, double *cx, double *cy) {
    double mass = 0, x_moment = 0, y_moment = 0;
    for (int i = 0; i < columns * rows; i++) {
        mass += gray[i];
        x_moment += gray[i] * (i % columns + 0.5);
        y_moment += gray[i] * (i / columns + 0.5);
    }
    assert_true(mass > 0);
    *cx = x_moment / mass, *cy = y_moment / mass;
}

/* The seven as MNIST would have it: 20 high, its mass at 14.5, 14.5 as near as whole pixels come; or exactly. */
static void draw_expected(uint8_t digit[N], bool exactly) {
    static uint8_t kept[2][N];
    static bool done;
    if (!done) {
        uint8_t *large = new_canvas(800, 800, 0);
        double cx, cy;
        draw_seven(large, 800, 800, 0, 0, 800, 255);
        centre_of_mass(large, 800, 800, &cx, &cy);
        free(large);
        draw_seven(kept[0], 28, 28, round(14.5 - cx / 40), round(14.5 - cy / 40), 20, 255);
        draw_seven(kept[1], 28, 28, 14.5 - cx / 40, 14.5 - cy / 40, 20, 255);
        done = true;
    }
    memcpy(digit, kept[exactly], N);
}

static void expected_seven(uint8_t digit[N]) { draw_expected(digit, false); }

static double correlation(const uint8_t *a, const uint8_t *b) {
    double sa = 0, sb = 0, aa = 0, bb = 0, ab = 0;
    for (int i = 0; i < N; i++) {
        sa += a[i], sb += b[i];
        aa += a[i] * a[i], bb += b[i] * b[i], ab += a[i] * b[i];
    }
    double va = aa - sa * sa / N, vb = bb - sb * sb / N;
    assert_true(va > 0 && vb > 0); /* two blank pictures agree on nothing */
    return (ab - sa * sb / N) / sqrt(va * vb);
}

/* The same drawing through any path: only edges may differ, because they are averaged or blurred anew. Moved
 * by one pixel either way, the seven correlates below 0.9 with itself (asserted in bound_is_meaningful). */
#define SAME 0.97

static void assert_is_expected(const uint8_t digit[N], bool exactly) {
    uint8_t expected[N];
    draw_expected(expected, exactly);
    double r = correlation(digit, expected);
    if (!(r > SAME)) fail_msg("correlation with the seven is %.4f, %.2f expected", r, SAME);
}

static void assert_is_seven(const uint8_t digit[N]) { assert_is_expected(digit, false); }

/* height: of the seven on the canvas; between 20 and 40 pixels and below, its centre of mass is met exactly. */
static void assert_canvas_is_seven_of(uint8_t *gray, int columns, int rows, double height) {
    struct error err = {""};
    uint8_t digit[N];
    if (!picture_to_digit(gray, columns, rows, MNIST, digit, &doubts, &err)) fail_msg("%s", err.text);
    free(gray);
    assert_is_expected(digit, height != 20 && height < 40);
}

static void assert_canvas_is_seven(uint8_t *gray, int columns, int rows) {
    assert_canvas_is_seven_of(gray, columns, rows, rows);
}

static void bound_is_meaningful(void **state) {
    (void)state;
    uint8_t seven[N], moved[N] = {0};
    expected_seven(seven);
    memcpy(moved + 1, seven, N - 1);
    assert_true(correlation(seven, moved) < 0.9);
    memset(moved, 0, N);
    memcpy(moved + 28, seven, N - 28);
    assert_true(correlation(seven, moved) < 0.9);
}

/* ---- 28 x 28 pictures in MNIST's form ---- */

static void mnist_form_is_kept_byte_for_byte(void **state) {
    (void)state;
    struct error err = {""};
    uint8_t seven[N], negative[N], digit[N] = {0};
    expected_seven(seven);
    if (!picture_write_png(in_folder("seven.png"), seven, 28, 28, &err)) fail_msg("%s", err.text);
    if (!picture_read_digit(in_folder("seven.png"), MNIST, digit, &doubts, &err)) fail_msg("%s", err.text);
    assert_memory_equal(digit, seven, N);
    unlink(in_folder("seven.png"));
    for (int i = 0; i < N; i++) negative[i] = 255 - seven[i];
    assert_true(picture_to_digit(negative, 28, 28, MNIST, digit, &doubts, &err));
    assert_memory_equal(digit, seven, N);
    assert_true(picture_to_digit(seven, 28, 28, (struct picture_form){.dark_ink = true}, digit, &doubts, &err));
    assert_memory_equal(digit, negative, N);
    assert_true(picture_to_digit(negative, 28, 28, (struct picture_form){.dark_ink = true}, digit, &doubts, &err));
    assert_memory_equal(digit, negative, N);
    assert_int_equal(doubts, 0);
}

/* Light ink on black in 28 x 28, which is not MNIST's form, becomes it, as its negative does. */
static void other_small_pictures_are_centred(void **state) {
    (void)state;
    static const double places[][3] = {{2, 1, 20}, {3, 5, 20}, {2, 1, 25}, {9, 8, 16}}; /* left, top, height */
    for (int i = 0; i < 8; i++) {
        uint8_t *canvas = new_canvas(28, 28, i % 2 ? 255 : 0);
        draw_seven(canvas, 28, 28, places[i / 2][0], places[i / 2][1], places[i / 2][2], i % 2 ? 0 : 255);
        assert_canvas_is_seven_of(canvas, 28, 28, places[i / 2][2]);
    }
    double cx, cy; /* centred by its mass as MNIST's are, but half as large */
    uint8_t *somewhere = new_canvas(28, 28, 0), *small = new_canvas(28, 28, 0);
    draw_seven(somewhere, 28, 28, 5, 5, 10, 255);
    centre_of_mass(somewhere, 28, 28, &cx, &cy);
    free(somewhere);
    draw_seven(small, 28, 28, 5 + 14.5 - cx, 5 + 14.5 - cy, 10, 255);
    uint8_t digit[N];
    assert_false(picture_take(small, MNIST, digit));
    free(small);
}

/* Of a model that was trained on other data, 28 x 28 pictures are used as they are, but for their polarity; larger
 * ones fill as much of the frame as that data does. */
static void other_forms(void **state) {
    (void)state;
    struct error err = {""};
    uint8_t images[3 * N] = {0}, digit[N], negative[N];
    struct picture_form form;
    draw_seven(images, 28, 28, 0, 0, 28, 255);
    draw_seven(images + N, 28, 28, 1, 4, 24, 255);
    draw_seven(images + 2 * N, 28, 28, 9, 2, 12, 255);
    for (int dark = 0; dark < 2; dark++) {
        form = picture_form_measure(images, 3);
        assert_int_equal(form.dark_ink, dark);
        assert_int_equal(form.side, 24);
        for (int i = 0; i < 3; i++) {
            for (int k = 0; k < N; k++) negative[k] = 255 - images[i * N + k];
            assert_true(picture_to_digit(images + i * N, 28, 28, form, digit, &doubts, &err));
            assert_memory_equal(digit, images + i * N, N);
            if (i == 0) continue; /* where ink reaches the border, a negative cannot be told */
            assert_true(picture_to_digit(negative, 28, 28, form, digit, &doubts, &err));
            assert_memory_equal(digit, images + i * N, N);
        }
        for (int k = 0; k < 3 * N; k++) images[k] = 255 - images[k];
    }
    expected_seven(images);
    form = picture_form_measure(images, 1);
    assert_false(form.dark_ink || form.side);
    for (int k = 0; k < N; k++) images[k] = 255 - images[k];
    form = picture_form_measure(images, 1);
    assert_true(form.dark_ink && form.side == 0);
}

static void form_in_metadata(void **state) {
    (void)state;
    char text[PICTURE_FORM_TEXT];
    struct picture_form form;
    struct error err = {""};
    for (int side = 0; side <= 28; side++)
        for (int dark = 0; dark < 2; dark++) {
            picture_form_print((struct picture_form){.dark_ink = dark, .side = side}, text);
            assert_true(picture_form_parse(text, &form, &err));
            assert_true(form.side == side && form.dark_ink == dark);
            assert_int_equal(*text == 0, side == 0 && !dark); /* nothing is written of MNIST */
        }
    static const char *const wrong[] = {"dark",
                                        "light ink",
                                        "light ink, 29 pixels, anywhere",
                                        "x",
                                        "light ink, -1 pixels, anywhere",
                                        "dark ink, centred "};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_false(picture_form_parse(wrong[i], &form, &err));
        assert_non_null(strstr(err.text, "metadata images is"));
    }
}

static void small_and_inverted_is_the_same_digit(void **state) {
    (void)state;
    uint8_t *canvas = new_canvas(28, 28, 0);
    expected_seven(canvas);
    for (int i = 0; i < N; i++) canvas[i] = 255 - canvas[i];
    assert_canvas_is_seven_of(canvas, 28, 28, 20);
}

/* A ring drawn clean that runs along the rim is no shadow, whose light inside would be the digit. */
static void closed_digit_along_the_rim(void **state) {
    (void)state;
    for (int side = 28; side <= 280; side += 84)
        for (int dark = 0; dark < 2; dark++) {
            struct error err = {""};
            uint8_t digit[N], *canvas = new_canvas(side, side, dark ? 255 : 0);
            for (int i = 0; i < side * side; i++) {
                double x = (i % side + 0.5) * 28 / side, y = (i / side + 0.5) * 28 / side;
                if (hypot((x - 4.6) / 5.2, (y - 12) / 10) < 1 && hypot((x - 4.6) / 3.2, (y - 12) / 8) > 1)
                    canvas[i] = dark ? 0 : 255;
            }
            if (!picture_to_digit(canvas, side, side, MNIST, digit, &doubts, &err)) fail_msg("%s", err.text);
            free(canvas);
            assert_int_equal(digit[14 * 28 + 14], 0);
            assert_int_equal(digit[14 * 28 + 18], 255);
            assert_true(doubts & 1 << DOUBT_RIM);
        }
}

/* ---- Any size, place and ground ---- */

static void enlarged_offset_and_long_canvases(void **state) {
    (void)state;
    static const struct {
        int columns, rows;
        double left, top, height;
        int ground, ink;
    } cases[] = {
        {280, 280, 40, 30, 200, 255, 0},      /* ten times as large */
        {280, 280, 40, 30, 200, 0, 255},      /* the same, white on black */
        {1400, 900, 1100, 40, 150, 255, 0},   /* in a corner of a large sheet, averaged down first */
        {900, 120, 700, 8, 100, 200, 40},     /* a long strip, gray on gray */
        {90, 700, 3, 500, 80, 30, 120},       /* a tall one */
        {20, 20, 1, 1, 18, 255, 0},           /* too small: enlarged */
        {3000, 3000, 100, 1500, 900, 90, 10}, /* dark ink on a dark ground */
        {183, 202, 1, 1, 200, 255, 0},        /* cropped to the ink */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t *canvas = new_canvas(cases[i].columns, cases[i].rows, cases[i].ground);
        draw_seven(canvas, cases[i].columns, cases[i].rows, cases[i].left, cases[i].top, cases[i].height, cases[i].ink);
        assert_canvas_is_seven_of(canvas, cases[i].columns, cases[i].rows, cases[i].height);
    }
}

static uint32_t noise_state;

/* Near normal, standard deviation about 1: the sum of 4 uniform numbers. */
static double noise(void) {
    double sum = 0;
    for (int i = 0; i < 4; i++) {
        noise_state = noise_state * 1664525u + 1013904223u;
        sum += (noise_state >> 8) / 16777216.0 - 0.5;
    }
    return sum * 1.732;
}

/* A photograph: light from one side, dark corners, noise, and dust away from the digit. */
static uint8_t *photograph(int columns, int rows, bool with_digit) {
    uint8_t *canvas = new_canvas(columns, rows, 255), *result = new_canvas(columns, rows, 0);
    noise_state = 1;
    if (with_digit) draw_seven(canvas, columns, rows, 150, 40, 200, 0);
    for (int y = 0; y < rows; y++)
        for (int x = 0; x < columns; x++) {
            double u = 2.0 * x / columns - 1, v = 2.0 * y / rows - 1;
            double paper = 180 + 40 * u - 20 * v - 25 * u * u - 15 * v * v + 4 * noise();
            bool dust = with_digit && x > 20 && x < 25 && y > 250 && y < 254;
            double shade = paper - (255 - canvas[y * columns + x]) / 255.0 * 90 - dust * 90;
            result[y * columns + x] = (uint8_t)(shade < 0 ? 0 : shade > 255 ? 255 : shade);
        }
    free(canvas);
    return result;
}

static void uneven_and_noisy_ground(void **state) {
    (void)state;
    assert_canvas_is_seven(photograph(400, 300, true), 400, 300);
}

static void blank_paper_is_an_error(void **state) {
    (void)state;
    struct error err = {""};
    uint8_t digit[N], *canvas = photograph(400, 300, false);
    assert_false(picture_to_digit(canvas, 400, 300, MNIST, digit, &doubts, &err));
    assert_non_null(strstr(err.text, "nothing is drawn"));
    free(canvas);
}

static void box_and_centre(void **state) {
    (void)state;
    struct error err = {""};
    uint8_t digit[N], *canvas = new_canvas(500, 400, 255);
    draw_seven(canvas, 500, 400, 60, 45, 310, 0);
    assert_true(picture_to_digit(canvas, 500, 400, MNIST, digit, &doubts, &err));
    free(canvas);
    int left = 28, right = -1, top = 28, bottom = -1, most = 0;
    for (int i = 0; i < N; i++) {
        if (digit[i] > most) most = digit[i];
        if (digit[i] < 64) continue; /* the box of solid ink */
        if (i % 28 < left) left = i % 28;
        if (i % 28 > right) right = i % 28;
        if (i / 28 < top) top = i / 28;
        if (i / 28 > bottom) bottom = i / 28;
    }
    assert_int_equal(most, 255);
    assert_int_equal(bottom - top + 1, 20);
    assert_int_equal(right - left + 1, 18); /* 0.9 of the height: proportions are kept */
    double cx, cy;
    centre_of_mass(digit, 28, 28, &cx, &cy);
    assert_true(fabs(cx - 14.5) <= 0.51 && fabs(cy - 14.5) <= 0.51); /* 0.5: whole pixels; 0.01: rounded bytes */
}

/* ---- What lies beside a digit ---- */

static void fill_rect(uint8_t *gray, int columns, int rows, int left, int top, int right, int bottom, int shade) {
    for (int y = top < 0 ? 0 : top; y < bottom && y < rows; y++)
        for (int x = left < 0 ? 0 : left; x < right && x < columns; x++) gray[y * columns + x] = (uint8_t)shade;
}

enum { SIDE = 400, PAPER = 245, DARK = 30 };

static uint8_t *paper_with_seven(void) {
    uint8_t *canvas = new_canvas(SIDE, SIDE, PAPER);
    draw_seven(canvas, SIDE, SIDE, 110, 100, 200, DARK);
    return canvas;
}

static void assert_seven_with_doubts(uint8_t *canvas, unsigned expected) {
    assert_canvas_is_seven(canvas, SIDE, SIDE);
    if (doubts != expected) fail_msg("doubts 0x%x, 0x%x expected", doubts, expected);
}

static void frames(void **state) {
    (void)state;
    for (int width = 1; width <= 8; width++) /* at the edge */
        for (int margin = 0; margin < 80; margin += 40) {
            uint8_t *canvas = paper_with_seven();
            int end = SIDE - margin;
            fill_rect(canvas, SIDE, SIDE, margin, margin, end, margin + width, 0);
            fill_rect(canvas, SIDE, SIDE, margin, end - width, end, end, 0);
            fill_rect(canvas, SIDE, SIDE, margin, margin, margin + width, end, 0);
            fill_rect(canvas, SIDE, SIDE, end - width, margin, end, end, 0);
            assert_seven_with_doubts(canvas, 0);
        }
    uint8_t *canvas = paper_with_seven(); /* a ring around it, of more ink than the digit */
    for (int i = 0; i < SIDE * SIDE; i++) {
        int x = i % SIDE - SIDE / 2, y = i / SIDE - SIDE / 2, distance = x * x + y * y;
        if (distance >= 166 * 166 && distance <= 190 * 190) canvas[i] = DARK;
    }
    assert_seven_with_doubts(canvas, 0);
}

static void tables(void **state) {
    (void)state;
    static const int edges[][5] = {{40, 40, 360, 360, 60}, {20, 70, 390, 330, 90}, {45, 0, 400, 400, 70},
                                   {0, 0, 330, 400, 20},   {0, 60, 400, 400, 110}, {60, 50, 400, 400, 80},
                                   {0, 0, 370, 380, 70},   {30, 30, 370, 400, 60}}; /* paper, the table's shade */
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        const int *e = edges[i];
        uint8_t *canvas = new_canvas(SIDE, SIDE, e[4]);
        fill_rect(canvas, SIDE, SIDE, e[0], e[1], e[2], e[3], PAPER);
        draw_seven(canvas, SIDE, SIDE, 120, 110, 180, DARK);
        assert_seven_with_doubts(canvas, 0);
    }
    uint8_t *canvas = new_canvas(SIDE, SIDE, 70); /* a sheet turned by 15 degrees */
    for (int i = 0; i < SIDE * SIDE; i++) {
        double x = i % SIDE - 200, y = i / SIDE - 200, c = cos(0.26), s = sin(0.26);
        if (fabs(x * c + y * s) < 150 && fabs(y * c - x * s) < 140) canvas[i] = PAPER;
    }
    draw_seven(canvas, SIDE, SIDE, 120, 110, 180, DARK);
    assert_seven_with_doubts(canvas, 0);
}

static void ruled_and_grid_paper(void **state) {
    (void)state;
    for (int kind = 0; kind < 8; kind++) { /* bits: darker, upright lines too, tilted */
        uint8_t *canvas = paper_with_seven();
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++) {
                int level = y + (kind & 4 ? x / 20 : 0), upright = x - (kind & 4 ? y / 20 : 0) + SIDE;
                bool line = level % 60 < 3 || (kind & 2 && upright % 50 < 2);
                int shade = kind & 1 ? 120 : 170;
                if (line && canvas[y * SIDE + x] > shade) canvas[y * SIDE + x] = (uint8_t)shade;
            }
        assert_seven_with_doubts(canvas, 0);
    }
}

/* Light falls on one part of the paper; the edge, some pixels wide, goes through the digit. */
static void edge_of_a_shadow(void **state) {
    (void)state;
    for (int turn = 0; turn < 8; turn++) {
        uint8_t *canvas = paper_with_seven();
        noise_state = (uint32_t)turn;
        for (int i = 0; i < SIDE * SIDE; i++) {
            double away = (i % SIDE - 200) * cos(turn * 0.785 + 0.3) + (i / SIDE - 200) * sin(turn * 0.785 + 0.3) - 10;
            canvas[i] = (uint8_t)(canvas[i] * (0.55 + 0.4 / (1 + exp(-away / 5))) + 2 * noise() + 3);
        }
        assert_canvas_is_seven(canvas, SIDE, SIDE);
    }
}

static void strokes_beside_a_digit(void **state) {
    (void)state;
    uint8_t *canvas = paper_with_seven();
    fill_rect(canvas, SIDE, SIDE, 40, 0, 44, SIDE, 100); /* a margin line */
    assert_seven_with_doubts(canvas, 0);
    canvas = paper_with_seven();
    fill_rect(canvas, SIDE, SIDE, 60, 320, 350, 325, DARK); /* underlined */
    assert_seven_with_doubts(canvas, 0);
    canvas = paper_with_seven();
    fill_rect(canvas, SIDE, SIDE, 60, 160, 350, 165, DARK); /* struck through */
    assert_seven_with_doubts(canvas, 1 << DOUBT_LEFT_OUT);
    canvas = paper_with_seven();
    for (int i = 0; i < SIDE * SIDE; i++) /* a finger in the corner */
        if (segment_distance_squared(i % SIDE, i / SIDE, (double[]){0, 0, 60, 40}) < 35 * 35) canvas[i] = 140;
    assert_canvas_is_seven(canvas, SIDE, SIDE);
    canvas = paper_with_seven();
    fill_rect(canvas, SIDE, SIDE, 10, 350, 50, 390, DARK); /* a blot, too far for a part of it */
    assert_seven_with_doubts(canvas, 1 << DOUBT_LEFT_OUT);
}

static void two_digits_are_refused(void **state) {
    (void)state;
    for (int below = 0; below < 2; below++) {
        uint8_t digit[N], *canvas = new_canvas(SIDE, SIDE, PAPER);
        struct error err = {""};
        draw_seven(canvas, SIDE, SIDE, 20, 30, 150, DARK);
        draw_seven(canvas, SIDE, SIDE, below ? 40 : 200, below ? 220 : 50, 130, DARK);
        assert_false(picture_to_digit(canvas, SIDE, SIDE, MNIST, digit, &doubts, &err));
        assert_non_null(strstr(err.text, "more than one digit"));
        free(canvas);
    }
}

static void touching_digits_are_doubted(void **state) {
    (void)state;
    uint8_t digit[N], *canvas = new_canvas(SIDE, SIDE, PAPER);
    struct error err = {""};
    draw_seven(canvas, SIDE, SIDE, 60, 100, 150, DARK);
    draw_seven(canvas, SIDE, SIDE, 180, 110, 150, DARK);
    assert_true(picture_to_digit(canvas, SIDE, SIDE, MNIST, digit, &doubts, &err));
    assert_int_equal(doubts, 1 << DOUBT_WIDE);
    memset(canvas, PAPER, SIDE * SIDE);
    draw_seven(canvas, SIDE, SIDE, 60, 60, 200, DARK);
    draw_seven(canvas, SIDE, SIDE, 110, 70, 200, DARK); /* 230 x 210 */
    assert_true(picture_to_digit(canvas, SIDE, SIDE, MNIST, digit, &doubts, &err));
    assert_int_equal(doubts, 1 << DOUBT_BROAD);
    free(canvas);
}

/* A stroke that is most of its picture: the rim shows more ink than paper. */
static void cropped_at_its_ink(void **state) {
    (void)state;
    enum { W = 40, H = 200 };
    for (int light = 0; light < 2; light++) {
        uint8_t digit[N], *canvas = new_canvas(W, H, 255);
        struct error err = {""};
        for (int i = 0; i < W * H; i++) {
            double d = 255 * sqrt(segment_distance_squared(i % W + 0.5, i / W + 0.5, (double[]){20, 18, 20, 182})) / 21;
            d = d > 255 ? 255 : d < 100 ? 0 : d;
            canvas[i] = (uint8_t)(light ? 255 - d : d);
        }
        if (!picture_to_digit(canvas, W, H, MNIST, digit, &doubts, &err)) fail_msg("%s", err.text);
        int inked = 0;
        for (int y = 5; y < 23; y++)
            inked += digit[y * 28 + 14] > 200 && digit[y * 28 + 5] == 0 && digit[y * 28 + 23] == 0;
        assert_true(inked >= 17);
        free(canvas);
    }
}

static void doubts_of_logits(void **state) {
    (void)state;
    static const float sure[] = {0, 1, 9, 2}, close[] = {9, 0, 8.9f, 1}, unsure[] = {1, 1.2f, 1.4f, 1.3f};
    assert_int_equal(answer_doubts(0, sure, 4, 0.1f), 0);
    assert_int_equal(answer_doubts(0, close, 4, 0.1f), 1 << DOUBT_CLOSE); /* one step of the logits */
    assert_int_equal(answer_doubts(0, close, 4, 0.05f), 0);               /* two steps */
    assert_int_equal(answer_doubts(0, unsure, 4, 0), 1 << DOUBT_UNCERTAIN);
    /* wider than high: more than one digit, where the best answer has less than four fifths: 0.79 and 0.81 */
    static const float less[] = {1.32f, 0}, more[] = {1.45f, 0};
    assert_int_equal(answer_doubts(1 << DOUBT_BROAD, less, 2, 0), 1 << DOUBT_WIDE);
    assert_int_equal(answer_doubts(1 << DOUBT_BROAD, more, 2, 0), 0);
    assert_int_equal(answer_doubts(1 << DOUBT_RIM, less, 2, 0), 1 << DOUBT_RIM);
    for (int i = 0; i < DOUBTS; i++) assert_true(strlen(doubt_texts[i]) > 20);
}

static int count_ink(const uint8_t *digit, int least) {
    int count = 0;
    for (int i = 0; i < N; i++) count += digit[i] >= least;
    return count;
}

static void thin_stroke_survives(void **state) {
    (void)state;
    struct error err = {""};
    uint8_t digit[N], *canvas = new_canvas(1000, 1200, 255);
    for (int y = 100; y < 1100; y++) canvas[y * 1000 + 503] = 0; /* one pixel wide, a thousand high */
    assert_true(picture_to_digit(canvas, 1000, 1200, MNIST, digit, &doubts, &err));
    assert_int_equal(count_ink(digit, 200), 20);
    assert_int_equal(count_ink(digit, 1), 20);
    free(canvas);
}

/* Every shape of canvas and the least ink that can be: one pixel. */
static void extreme_proportions(void **state) {
    (void)state;
    static const int sides[][2] = {{16384, 1}, {1, 16384}, {2, 1},       {1, 2},
                                   {16384, 3}, {5, 9000},  {2000, 2000}, {28, 28}};
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        int columns = sides[i][0], rows = sides[i][1];
        size_t pixels = (size_t)columns * rows;
        uint8_t digit[N], *canvas = new_canvas(columns, rows, 255);
        struct error err = {""};
        canvas[pixels / 2] = 0;
        if (!picture_to_digit(canvas, columns, rows, MNIST, digit, &doubts, &err))
            fail_msg("%dx%d: %s", columns, rows, err.text);
        assert_true(count_ink(digit, 128) > 0);
        for (size_t k = 0; k < pixels; k++) canvas[k] = k % 3 ? 255 : 0; /* no sensible digit: only no crash */
        picture_to_digit(canvas, columns, rows, MNIST, digit, &doubts, &err);
        free(canvas);
    }
}

static void constant_and_impossible_pictures(void **state) {
    (void)state;
    uint8_t digit[N], *canvas = new_canvas(100, 28, 0);
    static const int shades[] = {0, 1, 127, 128, 255};
    for (int i = 0; i < 5; i++) {
        struct error err = {""};
        memset(canvas, shades[i], 2800);
        assert_false(picture_to_digit(canvas, 28, 28, MNIST, digit, &doubts, &err));
        assert_non_null(strstr(err.text, "nothing is drawn"));
        assert_false(picture_to_digit(canvas, 100, 28, MNIST, digit, &doubts, &err));
        assert_false(picture_to_digit(canvas, 1, 1, MNIST, digit, &doubts, &err));
    }
    struct error err = {""};
    assert_false(picture_to_digit(canvas, 0, 5, MNIST, digit, &doubts, &err));
    assert_false(picture_to_digit(canvas, 5, -1, MNIST, digit, &doubts, &err));
    assert_false(picture_to_digit(canvas, 16385, 1, MNIST, digit, &doubts, &err));
    assert_non_null(strstr(err.text, "16385"));
    free(canvas);
}

/* ---- Files ---- */

static void write_all(const char *name, const void *bytes, size_t count) {
    FILE *f = fopen(in_folder(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, count, f), count);
    assert_int_equal(fclose(f), 0);
}

static struct {
    unsigned char bytes[1 << 20];
    size_t count;
} encoded;

static void assert_file_is_seven(const char *name) {
    struct error err = {""};
    uint8_t digit[N];
    if (!picture_read_digit(in_folder(name), MNIST, digit, &doubts, &err)) fail_msg("%s", err.text);
    assert_is_seven(digit);
    unlink(in_folder(name));
}

/* Reading fails, names the file, and says why in one line that contains `why`. */
static void assert_unreadable(const char *name, const char *why) {
    struct error err = {""};
    uint8_t digit[N];
    assert_false(picture_read_digit(in_folder(name), MNIST, digit, &doubts, &err));
    if (strncmp(err.text, in_folder(name), strlen(in_folder(name))) || !strstr(err.text, why) || strchr(err.text, '\n'))
        fail_msg("%s: \"%s\" does not name the file and say \"%s\"", name, err.text, why);
    unlink(in_folder(name));
}

static void put_bytes(const void *bytes, size_t count) {
    assert_true(encoded.count + count <= sizeof encoded.bytes);
    memcpy(encoded.bytes + encoded.count, bytes, count);
    encoded.count += count;
}

static void collect(void *context, void *data, int size) {
    (void)context;
    put_bytes(data, (size_t)size);
}

/* Adds the low `count` bits to *pending, which holds *waiting, and moves whole bytes out: 00 follows every
 * FF. */
static void put_bits(uint32_t *pending, int *waiting, unsigned bits, int count) {
    *pending = *pending << count | (bits & ((1u << count) - 1));
    for (*waiting += count; *waiting >= 8; *waiting -= 8) {
        unsigned char byte = (unsigned char)(*pending >> (*waiting - 8));
        put_bytes(&byte, 1);
        if (byte == 0xff) put_bytes("", 1);
    }
}

/* A gray JPEG that shows each pixel of gray [rows][columns] as an even block of 8 x 8: with all quantizers 8
 * the one coefficient that is not 0 is the shade - 128. exif[exif_size] is put after the first marker. (The
 * JPEG writer of stb_image_write shifts into the sign bit, which the sanitizers rightly report.) */
static void encode_jpeg(const uint8_t *gray, int columns, int rows, const void *exif, size_t exif_size) {
    unsigned char quantizers[69] = "\xff\xdb\0\x43",
                  size[4] = {(unsigned char)(rows * 8 >> 8), (unsigned char)(rows * 8),
                             (unsigned char)(columns * 8 >> 8), (unsigned char)(columns * 8)};
    memset(quantizers + 5, 8, 64);
    encoded.count = 0;
    put_bytes("\xff\xd8", 2);
    put_bytes(exif, exif_size);
    put_bytes(quantizers, 69);
    put_bytes("\xff\xc0\0\x0b\x08", 5);
    put_bytes(size, 4);
    put_bytes("\1\1\x11\0", 4);
    /* DC: the 9 bit counts 0 to 8 are the 4-bit codes 0 to 8; AC: "end of block" is the 1-bit code 0 */
    put_bytes("\xff\xc4\0\x1c\0"
              "\0\0\0\x09\0\0\0\0\0\0\0\0\0\0\0\0"
              "\0\1\2\3\4\5\6\7\x08",
              30);
    put_bytes("\xff\xc4\0\x14\x10"
              "\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
              "\0",
              22);
    put_bytes("\xff\xda\0\x08\1\1\0\0\x3f\0", 10);
    uint32_t pending = 0;
    int waiting = 0, last = 128;
    for (int i = 0; i < columns * rows; i++) {
        int difference = gray[i] - last, bits = 0;
        while (abs(difference) >> bits) bits++;
        put_bits(&pending, &waiting, (unsigned)bits, 4);
        put_bits(&pending, &waiting, (unsigned)(difference < 0 ? difference - 1 : difference), bits);
        put_bits(&pending, &waiting, 0, 1);
        last = gray[i];
    }
    put_bits(&pending, &waiting, 0x7f, 7);
    put_bytes("\xff\xd9", 2);
}

enum { COLUMNS = 101, ROWS = 75 }; /* odd, so that rows of a BMP are padded */

static uint8_t *sheet(void) {
    uint8_t *canvas = new_canvas(COLUMNS, ROWS, 255);
    draw_seven(canvas, COLUMNS, ROWS, 30, 6, 60, 0);
    return canvas;
}

static void png_jpeg_bmp_and_pgm(void **state) {
    (void)state;
    uint8_t *canvas = sheet();
    struct error err = {""};
    assert_true(picture_write_png(in_folder("a.png"), canvas, COLUMNS, ROWS, &err));
    assert_file_is_seven("a.png");
    encode_jpeg(canvas, COLUMNS, ROWS, "", 0);
    write_all("cut.jpg", encoded.bytes, encoded.count * 2 / 3);
    assert_unreadable("cut.jpg", "ends too early");
    write_all("a.jpg", encoded.bytes, encoded.count);
    assert_file_is_seven("a.jpg");
    encoded.count = 0;
    assert_true(stbi_write_bmp_to_func(collect, NULL, COLUMNS, ROWS, 1, canvas));
    write_all("cut.bmp", encoded.bytes, encoded.count - 4);
    assert_unreadable("cut.bmp", "ends too early");
    write_all("a.bmp", encoded.bytes, encoded.count);
    assert_file_is_seven("a.bmp");
    encoded.count = (size_t)sprintf((char *)encoded.bytes, "P5\n# a comment\n%d %d\n255\n", COLUMNS, ROWS);
    collect(NULL, canvas, COLUMNS * ROWS);
    write_all("cut.pgm", encoded.bytes, encoded.count - 1);
    assert_unreadable("cut.pgm", "ends too early");
    write_all("a.pgm", encoded.bytes, encoded.count);
    assert_file_is_seven("a.pgm");
    free(canvas);
}

/* Where pixel (x, y) of an upright picture lies in the file, for Exif orientations 1 to 8, as Exif 2.3 names
 * where the visual top and left side are stored. */
static size_t stored_at(int orientation, int x, int y) {
    int last_x = COLUMNS - 1, last_y = ROWS - 1;
    switch (orientation) {
    case 1: return (size_t)y * COLUMNS + x;
    case 2: return (size_t)y * COLUMNS + (last_x - x);            /* row 0 at the top, column 0 at the right */
    case 3: return (size_t)(last_y - y) * COLUMNS + (last_x - x); /* bottom, right */
    case 4: return (size_t)(last_y - y) * COLUMNS + x;            /* bottom, left */
    case 5: return (size_t)x * ROWS + y;                          /* left, top */
    case 6: return (size_t)(last_x - x) * ROWS + y;               /* right, top */
    case 7: return (size_t)(last_x - x) * ROWS + (last_y - y);    /* right, bottom */
    default: return (size_t)x * ROWS + (last_y - y);              /* left, bottom */
    }
}

static void jpeg_is_turned_upright(void **state) {
    (void)state;
    uint8_t *upright = sheet(), *stored = new_canvas(COLUMNS, ROWS, 0);
    for (int orientation = 1; orientation <= 8; orientation++)
        for (int low_first = 0; low_first < 2; low_first++) {
            unsigned char exif[36] = "\xff\xe1\0\x22"
                                     "Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0";
            exif[29] = (unsigned char)orientation;
            if (low_first) memcpy(exif + 10, "II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\0\0\0\0", 22);
            if (low_first) exif[28] = (unsigned char)orientation;
            for (int i = 0; i < COLUMNS * ROWS; i++)
                stored[stored_at(orientation, i % COLUMNS, i / COLUMNS)] = upright[i];
            bool wide = orientation < 5;
            encode_jpeg(stored, wide ? COLUMNS : ROWS, wide ? ROWS : COLUMNS, exif, sizeof exif);
            write_all("turned.jpg", encoded.bytes, encoded.count);
            assert_file_is_seven("turned.jpg");
        }
    free(stored);
    free(upright);
}

/* Ink of one shade on nothing; and a white card with black ink on it and transparent corners. */
static void transparent_ground(void **state) {
    (void)state;
    uint8_t *ink = new_canvas(COLUMNS, ROWS, 0), *rgba = new_canvas(COLUMNS * 4, ROWS, 0);
    draw_seven(ink, COLUMNS, ROWS, 30, 6, 60, 255);
    for (int kind = 0; kind < 4; kind++) { /* black, white, half seen white, black on a card */
        for (int i = 0; i < COLUMNS * ROWS; i++) {
            int x = i % COLUMNS, y = i / COLUMNS, shade = kind == 0 ? 0 : 255;
            bool corner = hypot(x - COLUMNS / 2, y - ROWS / 2) > 57;
            int opacity = kind == 2 ? ink[i] / 2 : ink[i];
            if (kind == 3) shade = 255 - ink[i], opacity = corner ? 0 : 255;
            memset(rgba + 4 * i, shade, 3);
            rgba[4 * i + 3] = (uint8_t)opacity;
        }
        encoded.count = 0;
        assert_true(stbi_write_png_to_func(collect, NULL, COLUMNS, ROWS, 4, rgba, COLUMNS * 4));
        write_all("transparent.png", encoded.bytes, encoded.count);
        assert_file_is_seven("transparent.png");
    }
    memset(rgba, 0, 4 * COLUMNS * ROWS);
    encoded.count = 0;
    assert_true(stbi_write_png_to_func(collect, NULL, COLUMNS, ROWS, 4, rgba, COLUMNS * 4));
    write_all("nothing.png", encoded.bytes, encoded.count);
    assert_unreadable("nothing.png", "nothing is drawn");
    free(ink);
    free(rgba);
}

static void not_pictures(void **state) {
    (void)state;
    assert_unreadable("missing.png", "No such file");
    write_all("empty.png", "", 0);
    assert_unreadable("empty.png", "empty");
    write_all("text.png", "This is not a picture.\n", 23);
    assert_unreadable("text.png", "not a picture");
    write_all("one.png", "\x89", 1);
    assert_unreadable("one.png", "not a picture");
    write_all("magic.bmp", "BM", 2);
    assert_unreadable("magic.bmp", "not a picture");
    write_all("short.bmp", "BM......", 8);
    assert_unreadable("short.bmp", "ends too early");
    write_all("short.jpg",
              "\xff\xd8\xff\xe1\xff\xff"
              "Exif\0\0II",
              14);
    assert_unreadable("short.jpg", "ends too early");
    write_all("deep.pgm", "P5 2 1 65535\n1234", 17);
    assert_unreadable("deep.pgm", "maximum 65535");
    write_all("endless.pgm", "P5 99999999999999999999 1 255\n1", 31);
    assert_unreadable("endless.pgm", "not a PGM");
    assert_int_equal(mkdir(in_folder("folder.png"), 0777), 0);
    struct error err = {""};
    uint8_t digit[N];
    assert_false(picture_read_digit(in_folder("folder.png"), MNIST, digit, &doubts, &err));
    assert_non_null(strstr(err.text, "folder.png: is not a regular file"));
    rmdir(in_folder("folder.png"));
}

/* Huffman tables of too many codes, for which stb_image had no room, wherever a decoder may find them. */
static void hostile_jpeg_tables(void **state) {
    (void)state;
    static const struct {
        const char *before;
        size_t length;
    } starts[] = {{"\xff\xd8", 2}, {"\xff\xd8\xff\xfe\0\4\xff\xd9", 8}, {"\xff\xd8.", 3}, {"\xff\xd8\xff\xff\xff", 5}};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        unsigned char tables[19] = "\xff\xc4\0\x13"; /* 16 x 255 codes */
        memset(tables + 5, 255, 14);
        encoded.count = 0;
        put_bytes(starts[i].before, starts[i].length);
        put_bytes(tables, sizeof tables);
        for (int k = 0; k < 500; k++) put_bytes("\xfe", 1);
        put_bytes("\xff\xd9", 2);
        write_all("tables.jpg", encoded.bytes, encoded.count);
        assert_unreadable("tables.jpg", "damaged JPEG");
    }
    write_all("prefix.jpg", "\xff\xff\xd8\xff\xd9", 5);
    assert_unreadable("prefix.jpg", "not a picture");
}

/* A progressive JPEG of few bytes and many scans of all its 4096 x 4096 pixels: each is legal, all of them take long.
 */
static void many_scans_are_refused(void **state) {
    (void)state;
    static const unsigned char zeros[1 << 15] = {0};
    unsigned char quantizers[69] = "\xff\xdb\0\x43", scan[10] = "\xff\xda\0\x08\1\1\0";
    memset(quantizers + 5, 8, 64);
    encoded.count = 0;
    put_bytes("\xff\xd8", 2);
    put_bytes(quantizers, 69);
    put_bytes("\xff\xc2\0\x0b\x08\x10\0\x10\0\1\1\x11\0", 13);
    put_bytes("\xff\xc4\0\x14\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22);     /* DC: code 0, no bits */
    put_bytes("\xff\xc4\0\x14\x10\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xe0", 22); /* AC: 0, 2^14 empty blocks */
    put_bytes(scan, 10);
    put_bytes(zeros, sizeof zeros);
    for (int band = 1; band < 64; band++)
        for (int bit = 13; bit >= 10; bit--) {
            scan[7] = scan[8] = (unsigned char)band, scan[9] = (unsigned char)((bit < 13 ? bit + 1 : 0) << 4 | bit);
            put_bytes(scan, 10);
            put_bytes(zeros, 30);
        }
    put_bytes("\xff\xd9", 2);
    write_all("scans.jpg", encoded.bytes, encoded.count);
    assert_unreadable("scans.jpg", "fewer scans");
}

static void png_that_lacks_chunks(void **state) {
    (void)state;
    uint8_t seven[N];
    expected_seven(seven);
    encoded.count = 0;
    assert_true(stbi_write_png_to_func(collect, NULL, 28, 28, 1, seven, 28));
    write_all("noend.png", encoded.bytes, encoded.count - 12);
    assert_unreadable("noend.png", "IEND expected");
    memmove(encoded.bytes + 45, encoded.bytes + encoded.count - 12, 12); /* an empty IDAT, then IEND */
    memcpy(encoded.bytes + 33, "\0\0\0\0IDAT\x35\xaf\x06\x1e", 12);
    write_all("empty.png", encoded.bytes, 57);
    assert_unreadable("empty.png", "damaged PNG");
}

static void text_pgm(void **state) {
    (void)state;
    uint8_t *canvas = new_canvas(60, 50, 200), digit[N];
    char text[16384];
    struct error err = {""};
    draw_seven(canvas, 60, 50, 5, 5, 40, 40);
    int length = sprintf(text, "P2 # in text\n60 50 200\n");
    for (int i = 0; i < 3000; i++) length += sprintf(text + length, "%d%c", canvas[i], i % 17 ? ' ' : '\n');
    write_all("text.pgm", text, (size_t)length);
    assert_file_is_seven("text.pgm");
    write_all("cut.pgm", text, (size_t)length / 2);
    assert_unreadable("cut.pgm", "samples expected");
    memcpy(text + length - 5, "201 ", 4);
    write_all("bright.pgm", text, (size_t)length);
    assert_unreadable("bright.pgm", "0 to 200 expected");
    write_all("nonsense.pgm", "P2 2 1 9 4 x", 12);
    assert_unreadable("nonsense.pgm", "0 to 9 expected");
    assert_false(picture_to_digit(canvas, 0, 1, MNIST, digit, &doubts, &err));
    free(canvas);
}

static void compressed_bmp_is_named(void **state) {
    (void)state;
    unsigned char bmp[100] = "BM....\0\0\0\0\x36\0\0\0\x28\0\0\0\x01\0\0\0\1\0\0\0\1\0\x08\0\1";
    write_all("rle.bmp", bmp, sizeof bmp);
    assert_unreadable("rle.bmp", "run-length");
}

/* A PNG cut off at every length is an error at each; with any byte changed it may only not crash. */
static void damaged_png(void **state) {
    (void)state;
    uint8_t seven[N], digit[N];
    struct error err = {""};
    expected_seven(seven);
    encoded.count = 0;
    assert_true(stbi_write_png_to_func(collect, NULL, 28, 28, 1, seven, 28));
    size_t iend = encoded.count - 12; /* the last chunk holds nothing */
    for (size_t length = 1; length < iend; length++) {
        write_all("cut.png", encoded.bytes, length);
        assert_unreadable("cut.png", "picture");
    }
    for (size_t i = 0; i < encoded.count; i++) {
        unsigned char kept = encoded.bytes[i];
        encoded.bytes[i] ^= (unsigned char)(1 + i * 37 % 255);
        write_all("changed.png", encoded.bytes, encoded.count);
        picture_read_digit(in_folder("changed.png"), MNIST, digit, &doubts, &err);
        encoded.bytes[i] = kept;
    }
    unlink(in_folder("changed.png"));
}

static void claims_of_giant_size(void **state) {
    (void)state;
    static const unsigned char png[] =
        "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\1\x86\xa0\0\1\x86\xa0\x08\0\0\0\0\x8d\x39\x54\x14\0\0\0\1IDAT.....";
    write_all("giant.png", png, sizeof png - 1); /* 100000 x 100000 */
    assert_unreadable("giant.png", "100000 x 100000");
    static const unsigned char wide[] =
        "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x40\0\0\0\x20\0\x08\0\0\0\0\x07\x15\x03\xbd\0\0\0\1IDAT.....";
    write_all("wide.png", wide, sizeof wide - 1); /* 16384 x 8192: each side is in range, the pixels are not */
    assert_unreadable("wide.png", "16384 x 8192");
    write_all("giant.pgm", "P5 100000 100000 255\n", 21);
    assert_unreadable("giant.pgm", "100000 x 100000");
    unsigned char bmp[64] = "BM....\0\0\0\0\x36\0\0\0\x28\0\0\0\x01\0\0\0\0\0\0\x80\x01\0\x18\0";
    write_all("giant.bmp", bmp, sizeof bmp); /* 1 x -2^31 */
    assert_unreadable("giant.bmp", "2147483648");
}

static int files_in(const char *path) {
    DIR *d = opendir(path);
    assert_non_null(d);
    int count = 0;
    while (readdir(d)) count++;
    closedir(d);
    return count - 2; /* . and .. */
}

static void failed_write_leaves_nothing(void **state) {
    (void)state;
    struct error err = {""};
    uint8_t seven[N];
    expected_seven(seven);
    assert_false(picture_write_png(in_folder("nowhere/a.png"), seven, 28, 28, &err));
    assert_non_null(strstr(err.text, "nowhere/a.png"));
    assert_false(picture_write_png(folder, seven, 28, 28, &err));
    assert_false(picture_write_png(in_folder("size.png"), seven, 0, 28, &err));
    assert_false(picture_write_png(in_folder("size.png"), seven, 28, 16385, &err));
    uint8_t *large = calloc(16384, 4097); /* more pixels than a reader takes: no file that could not be read */
    assert_non_null(large);
    assert_false(picture_write_png(in_folder("size.png"), large, 16384, 4097, &err));
    assert_non_null(strstr(err.text, "size.png: not written, since it could not be read"));
    free(large);
    assert_non_null(strstr(err.text, "size.png: "));
    if (geteuid() != 0) { /* root may write anywhere */
        assert_int_equal(mkdir(in_folder("closed"), 0555), 0);
        assert_false(picture_write_png(in_folder("closed/a.png"), seven, 28, 28, &err));
        assert_int_equal(rmdir(in_folder("closed")), 0);
    }
    if (access("/dev/full", W_OK) == 0) assert_false(picture_write_png("/dev/full", seven, 28, 28, &err));
    assert_int_equal(files_in(folder), 0);
}

/* ---- Text ---- */

static void text_is_drawn_and_clipped(void **state) {
    (void)state;
    enum { W = 40, H = 16 };
    struct {
        uint8_t before[64], gray[W * H], after[64];
    } canvas;
    memset(&canvas, 0, sizeof canvas);
    picture_draw_text(canvas.gray, W, H, 2, 2, "1|\n2");
    int drawn = 0, rows_drawn = 0;
    for (int i = 0; i < W * H; i++) drawn += canvas.gray[i] == 255;
    for (int y = 0; y < H; y++) rows_drawn += memchr(canvas.gray + y * W, 255, W) != NULL;
    assert_true(drawn > 15 && drawn < 100);
    assert_true(rows_drawn >= 9);
    uint8_t kept[W * H];
    memcpy(kept, canvas.gray, sizeof kept);
    picture_draw_text(canvas.gray, W, H, 1000, 2, "far away");
    picture_draw_text(canvas.gray, W, H, -2147483647, -2147483647, "far away");
    picture_draw_text(canvas.gray, W, H, 2147483647, 2147483647, "far away");
    assert_memory_equal(kept, canvas.gray, sizeof kept);
    char all[256];
    for (int i = 0; i < 255; i++) all[i] = (char)(i + 1);
    all[255] = 0; /* every byte, also those that the font does not have */
    for (int y = -14; y < H + 2; y++)
        for (int x = -1500; x < W; x += 7) picture_draw_text(canvas.gray, W, H, x, y, all);
    for (int i = 0; i < 64; i++) assert_true(!canvas.before[i] && !canvas.after[i]);
    assert_true(memcmp(kept, canvas.gray, sizeof kept) != 0);
}

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/test_picture-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    return rmdir(folder); /* fails if a test left a file behind */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bound_is_meaningful),
        cmocka_unit_test(mnist_form_is_kept_byte_for_byte),
        cmocka_unit_test(other_small_pictures_are_centred),
        cmocka_unit_test(other_forms),
        cmocka_unit_test(form_in_metadata),
        cmocka_unit_test(small_and_inverted_is_the_same_digit),
        cmocka_unit_test(closed_digit_along_the_rim),
        cmocka_unit_test(enlarged_offset_and_long_canvases),
        cmocka_unit_test(uneven_and_noisy_ground),
        cmocka_unit_test(blank_paper_is_an_error),
        cmocka_unit_test(frames),
        cmocka_unit_test(tables),
        cmocka_unit_test(ruled_and_grid_paper),
        cmocka_unit_test(edge_of_a_shadow),
        cmocka_unit_test(strokes_beside_a_digit),
        cmocka_unit_test(two_digits_are_refused),
        cmocka_unit_test(touching_digits_are_doubted),
        cmocka_unit_test(cropped_at_its_ink),
        cmocka_unit_test(doubts_of_logits),
        cmocka_unit_test(box_and_centre),
        cmocka_unit_test(thin_stroke_survives),
        cmocka_unit_test(extreme_proportions),
        cmocka_unit_test(constant_and_impossible_pictures),
        cmocka_unit_test(png_jpeg_bmp_and_pgm),
        cmocka_unit_test(jpeg_is_turned_upright),
        cmocka_unit_test(transparent_ground),
        cmocka_unit_test(not_pictures),
        cmocka_unit_test(hostile_jpeg_tables),
        cmocka_unit_test(many_scans_are_refused),
        cmocka_unit_test(png_that_lacks_chunks),
        cmocka_unit_test(text_pgm),
        cmocka_unit_test(compressed_bmp_is_named),
        cmocka_unit_test(damaged_png),
        cmocka_unit_test(claims_of_giant_size),
        cmocka_unit_test(failed_write_leaves_nothing),
        cmocka_unit_test(text_is_drawn_and_clipped),
    };
    return cmocka_run_group_tests_name("picture", tests, make_folder, remove_folder);
}
