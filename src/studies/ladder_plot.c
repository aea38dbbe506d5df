#include "studies/ladder_plot.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"

enum { WIDTH = 900, HEIGHT = 560, LEFT = 70, RIGHT = 250, TOP = 40, BOTTOM = 60 };

static const double ticks[] = {98.5, 98, 97.5, 97, 96, 95, 90, 80, 60, 30, 10};
static const char *const colours[] = {"#1b6ca8", "#d1495b", "#2e8b57", "#edae49", "#8d5a97", "#4a4a4a", "#a0522d"};
enum { COLOURS = sizeof colours / sizeof colours[0] };
static const double least_error = 1.2; /* percent: the upper edge */

/* Bits on a log axis from 2 to 32; accuracy by the logarithm of the error, so that 97.5 against 97.8 can be seen
 * beside a collapse to 60. */
static double x_of(double bits) { return LEFT + (WIDTH - LEFT - RIGHT) * log2(fmax(bits, 1.8) / 1.8) / log2(34 / 1.8); }

static double y_of(double accuracy) {
    double worst = log10(90.0), best = log10(least_error), error = log10(fmin(fmax(100 - accuracy, least_error), 90));
    return TOP + (HEIGHT - TOP - BOTTOM) * (error - best) / (worst - best);
}

static void draw_axes(FILE *f) {
    static const double bits[] = {2, 3, 4, 6, 8, 16, 32};
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++)
        fprintf(f,
                "<line x1='%.1f' x2='%.1f' y1='%d' y2='%d' stroke='#ddd'/><text x='%.1f' y='%d' "
                "text-anchor='middle'>%g</text>\n",
                x_of(bits[i]), x_of(bits[i]), TOP, HEIGHT - BOTTOM, x_of(bits[i]), HEIGHT - BOTTOM + 18, bits[i]);
    for (size_t i = 0; i < sizeof ticks / sizeof ticks[0]; i++)
        fprintf(f,
                "<line x1='%d' x2='%d' y1='%.1f' y2='%.1f' stroke='#ddd'/><text x='%d' y='%.1f' "
                "text-anchor='end'>%g</text>\n",
                LEFT, WIDTH - RIGHT, y_of(ticks[i]), y_of(ticks[i]), LEFT - 8, y_of(ticks[i]) + 4, ticks[i]);
    fprintf(f, "<text x='%d' y='%d' text-anchor='middle'>bits per weight, all overhead counted (log scale)</text>\n",
            (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16);
    fprintf(f, "<text x='%d' y='%d'>test accuracy in percent (by the logarithm of the error)</text>\n", LEFT, TOP - 16);
}

/* A method is told by its colour and, where colours begin again, by its mark: circle, square, triangle. */
static void draw_mark(FILE *f, int line, double x, double y) {
    int shape = line / COLOURS;
    if (shape == 0) fprintf(f, "<circle r='3.5' cx='%.1f' cy='%.1f'/>", x, y);
    else if (shape == 1) fprintf(f, "<rect width='6.4' height='6.4' x='%.1f' y='%.1f'/>", x - 3.2, y - 3.2);
    else fprintf(f, "<polygon points='%.1f,%.1f %.1f,%.1f %.1f,%.1f'/>", x - 4, y + 3.5, x + 4, y + 3.5, x, y - 4);
}

/* The points of one method from few bits to many, as a line with markers; returns false when it was drawn before. */
static bool draw_method(FILE *f, const struct plot_point *points, int count, int first, int line) {
    for (int i = 0; i < first; i++)
        if (strcmp(points[i].method, points[first].method) == 0) return false;
    const char *colour = colours[line % COLOURS];
    double last = -1;
    fprintf(f, "<g stroke='%s' fill='%s'><polyline fill='none' stroke-width='1.5' stroke-dasharray='%s' points='",
            colour, colour, line >= COLOURS ? "4 3" : "none");
    for (;;) { /* always the next larger number of bits: few points, no sorting needed */
        int next = -1;
        for (int i = 0; i < count; i++)
            if (strcmp(points[i].method, points[first].method) == 0 && points[i].bits > last &&
                (next < 0 || points[i].bits < points[next].bits))
                next = i;
        if (next < 0) break;
        last = points[next].bits;
        fprintf(f, "%.1f,%.1f ", x_of(last), y_of(points[next].accuracy));
    }
    fprintf(f, "'/>");
    for (int i = 0; i < count; i++)
        if (strcmp(points[i].method, points[first].method) == 0)
            draw_mark(f, line, x_of(points[i].bits), y_of(points[i].accuracy));
    int y = TOP + 14 + 20 * line;
    draw_mark(f, line, WIDTH - RIGHT + 20, y - 4);
    fprintf(f, "</g><text x='%d' y='%d'>%s</text>\n", WIDTH - RIGHT + 32, y, points[first].method);
    return true;
}

bool ladder_plot(const char *path, const struct plot_point *points, int count, struct error *err) {
    struct out_file out;
    if (!out_file_open(&out, path, err)) return false;
    fprintf(out.stream,
            "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' font-family='sans-serif' font-size='13'>\n"
            "<rect width='100%%' height='100%%' fill='white'/>\n",
            WIDTH, HEIGHT);
    draw_axes(out.stream);
    for (int i = 0, line = 0; i < count; i++) line += draw_method(out.stream, points, count, i, line);
    fprintf(out.stream, "</svg>\n");
    return out_file_commit(&out, err);
}
