#include "studies/chart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/finite.h"
#include "base/text.h"

enum { WIDTH = 960, HEIGHT = 560, LEFT = 64, RIGHT = 270, TOP = 64, BOTTOM = 60, LINE = 21 };

/* Okabe and Ito's colours, which colour-blind readers can tell apart, without the yellow, which is faint on white. */
static const char *const colours[CHART_COLOURS] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                   "#56b4e9", "#e69f00", "#000000"};
/* Paths around (0, 0): circle, square, triangle, diamond, triangle on its tip, hexagon, cross. */
static const char *const markers[CHART_COLOURS] = {"M-4.5,0a4.5,4.5 0 1 0 9,0a4.5,4.5 0 1 0 -9,0z",
                                                   "M-4,-4h8v8h-8z",
                                                   "M-5,4h10l-5,-9z",
                                                   "M-5.5,0l5.5,-5.5l5.5,5.5l-5.5,5.5z",
                                                   "M-5,-4h10l-5,9z",
                                                   "M-5,0l2.5,-4.5h5l2.5,4.5l-2.5,4.5h-5z",
                                                   "M-5,-2h3v-3h4v3h3v4h-3v3h-4v-3h-3z"};
static const char *const dashes[] = {"none", "6 4", "2 3"};

/* Where a value lies between the edges: 0 at from, 1 at to. */
static double place(const struct chart_axis *a, double value) {
    double from = a->below - a->from, to = a->below - a->to, at = a->below - value; /* below 0: signs cancel out */
    at = a->log ? log(at / from) / log(to / from) : (at - from) / (to - from);
    return is_nan(at) ? 0 : fmin(fmax(at, 0), 1);
}

static double x_of(const struct chart *c, double x) { return LEFT + (WIDTH - LEFT - RIGHT) * place(&c->x, x); }
static double y_of(const struct chart *c, double y) {
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * place(&c->y, y);
}

static void draw_text(FILE *f, int x, int y, const char *how, const char *text) {
    fprintf(f, "<text x='%d' y='%d'%s>", x, y, how);
    text_html(text, f);
    fprintf(f, "</text>\n");
}

static void draw_axis(FILE *f, const struct chart *c, bool is_x) {
    const struct chart_axis *a = is_x ? &c->x : &c->y;
    for (int i = 0; i < 12 && a->ticks[i] != 0; i++) {
        double x = x_of(c, a->ticks[i]), y = y_of(c, a->ticks[i]);
        if (is_x)
            fprintf(f, "<path stroke='#ddd' d='M%.1f,%dV%d'/><text x='%.1f' y='%d' text-anchor='middle'>%g</text>\n", x,
                    TOP, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 20, a->ticks[i]);
        else
            fprintf(f, "<path stroke='#ddd' d='M%d,%.1fH%d'/><text x='%d' y='%.1f' text-anchor='end'>%g</text>\n", LEFT,
                    y, WIDTH - RIGHT, LEFT - 10, y + 4, a->ticks[i]);
    }
    if (is_x) draw_text(f, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, " text-anchor='middle'", a->label);
    else draw_text(f, LEFT - 50, TOP - 16, "", a->label);
}

/* The next point of a series to the right of the given one (NULL: the first); NULL behind the last. */
static const struct plot_point *next_point(const struct plot_point *points, int count, const char *series,
                                           const struct plot_point *after) {
    const struct plot_point *next = NULL;
    for (const struct plot_point *p = points; p < points + count; p++)
        if (strcmp(p->series, series) == 0 && (!after || p->x > after->x || (p->x == after->x && p > after)) &&
            (!next || p->x < next->x))
            next = p;
    return next;
}

/* number: how many series came before. */
static void draw_series(FILE *f, const struct chart *c, const struct plot_point *points, int count, const char *series,
                        int number) {
    int style = number % c->cycle, cycle = number / c->cycle, y = TOP + 10 + LINE * number;
    const char *colour = colours[style], *fill = cycle ? "white" : colour;
    fprintf(f, "<g stroke='%s' stroke-width='1.6' fill='none'><polyline stroke-dasharray='%s' points='", colour,
            dashes[cycle]);
    for (const struct plot_point *p = NULL; (p = next_point(points, count, series, p));)
        fprintf(f, "%.1f,%.1f ", x_of(c, p->x), y_of(c, p->y));
    fprintf(f, "'/><path stroke-dasharray='%s' d='M%d,%dh32'/>\n", dashes[cycle], WIDTH - RIGHT + 20, y);
    for (const struct plot_point *p = NULL; (p = next_point(points, count, series, p));)
        fprintf(f, "<path transform='translate(%.1f,%.1f)' fill='%s' d='%s'/>", x_of(c, p->x), y_of(c, p->y), fill,
                markers[style]);
    fprintf(f, "<path transform='translate(%d,%d)' fill='%s' d='%s'/></g>", WIDTH - RIGHT + 36, y, fill,
            markers[style]);
    draw_text(f, WIDTH - RIGHT + 62, y + 4, "", series);
}

bool chart_write(const char *path, const struct chart *chart, const struct plot_point *points, int count,
                 struct error *err) {
    struct out_file out;
    if (!out_file_open(&out, path, err)) return false;
    fprintf(out.stream,
            "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' font-family='sans-serif' font-size='13'>\n"
            "<title>",
            WIDTH, HEIGHT);
    text_html(chart->title, out.stream);
    fprintf(out.stream, "</title><rect width='100%%' height='100%%' fill='white'/>\n");
    draw_text(out.stream, LEFT - 50, 26, " font-size='16' font-weight='bold'", chart->title);
    draw_axis(out.stream, chart, true);
    draw_axis(out.stream, chart, false);
    for (int i = 0, series = 0; i < count && series < CHART_MAX_SERIES; i++) {
        int first = 0;
        while (strcmp(points[first].series, points[i].series) != 0) first++;
        if (first == i) draw_series(out.stream, chart, points, count, points[i].series, series++);
    }
    fprintf(out.stream, "</svg>\n");
    return out_file_commit(&out, err);
}
