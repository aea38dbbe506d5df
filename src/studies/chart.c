#include "studies/chart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/finite.h"
#include "base/text.h"

enum { WIDTH = 960, HEIGHT = 560, LEFT = 64, RIGHT = 270, TOP = 64, BOTTOM = 60, LINE = 21 };
enum { PANEL_WIDTH = 350, PANEL_HEIGHT = 290, PANEL_TOP = 84, PANEL_RIGHT = 16, MOST_PANELS = 16 };

/* Where a chart lies on the page, its axes outside. panel: of the points that belong there; NULL: all. */
struct frame {
    int left, right, top, bottom;
    const char *panel;
};

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

static double x_of(const struct chart *c, const struct frame *f, double x) {
    return f->left + (f->right - f->left) * place(&c->x, x);
}
static double y_of(const struct chart *c, const struct frame *f, double y) {
    return f->bottom - (f->bottom - f->top) * place(&c->y, y);
}

static void draw_text(FILE *f, int x, int y, const char *how, const char *text) {
    fprintf(f, "<text x='%d' y='%d'%s>", x, y, how);
    text_html(text, f);
    fprintf(f, "</text>\n");
}

static void draw_axis(FILE *f, const struct chart *c, const struct frame *at, bool is_x) {
    const struct chart_axis *a = is_x ? &c->x : &c->y;
    for (int i = 0; i < 12 && a->ticks[i] != 0; i++) {
        double x = x_of(c, at, a->ticks[i]), y = y_of(c, at, a->ticks[i]);
        if (is_x)
            fprintf(f, "<path stroke='#ddd' d='M%.1f,%dV%d'/><text x='%.1f' y='%d' text-anchor='middle'>%g</text>\n", x,
                    at->top, at->bottom, x, at->bottom + 20, a->ticks[i]);
        else
            fprintf(f, "<path stroke='#ddd' d='M%d,%.1fH%d'/><text x='%d' y='%.1f' text-anchor='end'>%g</text>\n",
                    at->left, y, at->right, at->left - 10, y + 4, a->ticks[i]);
    }
    if (is_x) draw_text(f, (at->left + at->right) / 2, at->bottom + 46, " text-anchor='middle'", a->label);
}

/* The next point of a series to the right of the given one (NULL: the first); NULL behind the last. */
static const struct plot_point *next_point(const struct plot_point *points, int count, const struct frame *at,
                                           const char *series, const struct plot_point *after) {
    const struct plot_point *next = NULL;
    for (const struct plot_point *p = points; p < points + count; p++)
        if (strcmp(p->series, series) == 0 && (!at->panel || strcmp(p->panel, at->panel) == 0) &&
            (!after || p->x > after->x || (p->x == after->x && p > after)) && (!next || p->x < next->x))
            next = p;
    return next;
}

/* How a series is drawn; number: how many came before. */
struct style {
    const char *colour, *fill, *marker, *dashes;
};

static struct style style_of(const struct chart *c, int number) {
    int style = number % c->cycle, cycle = number / c->cycle;
    return (struct style){colours[style], cycle ? "white" : colours[style], markers[style], dashes[cycle]};
}

static void draw_series(FILE *f, const struct chart *c, const struct frame *at, const struct plot_point *points,
                        int count, const char *series, int number) {
    struct style s = style_of(c, number);
    fprintf(f, "<g stroke='%s' stroke-width='1.6' fill='none'><polyline stroke-dasharray='%s' points='", s.colour,
            s.dashes);
    for (const struct plot_point *p = NULL; (p = next_point(points, count, at, series, p));)
        fprintf(f, "%.1f,%.1f ", x_of(c, at, p->x), y_of(c, at, p->y));
    fprintf(f, "'/>\n");
    for (const struct plot_point *p = NULL; (p = next_point(points, count, at, series, p));)
        fprintf(f, "<path transform='translate(%.1f,%.1f)' fill='%s' d='%s'/>", x_of(c, at, p->x), y_of(c, at, p->y),
                s.fill, s.marker);
    fprintf(f, "</g>\n");
}

/* Its line of the legend. */
static void draw_name(FILE *f, const struct chart *c, int x, int y, const char *series, int number) {
    struct style s = style_of(c, number);
    y += 10 + LINE * number;
    fprintf(f, "<g stroke='%s' stroke-width='1.6' fill='none'><path stroke-dasharray='%s' d='M%d,%dh32'/>", s.colour,
            s.dashes, x, y);
    fprintf(f, "<path transform='translate(%d,%d)' fill='%s' d='%s'/></g>", x + 16, y, s.fill, s.marker);
    draw_text(f, x + 42, y + 4, "", series);
}

/* The panels in rows of so many columns, the place behind the last left to the legend; or one frame for all. Returns
 * how many there are. */
static int place_frames(const struct chart *c, const struct plot_point *points, int count, struct frame *frames) {
    int panels = 0;
    frames[0] = (struct frame){LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM, NULL};
    for (int i = 0; c->columns && i < count && panels < MOST_PANELS; i++) {
        int known = 0;
        while (known < panels && strcmp(frames[known].panel, points[i].panel) != 0) known++;
        if (known < panels) continue;
        int x = panels % c->columns * PANEL_WIDTH, y = PANEL_TOP + panels / c->columns * PANEL_HEIGHT;
        frames[panels++] = (struct frame){x + LEFT, x + PANEL_WIDTH - PANEL_RIGHT, y, y + PANEL_HEIGHT - BOTTOM - 30,
                                          points[i].panel};
    }
    return panels ? panels : 1;
}

bool chart_write(const char *path, const struct chart *chart, const struct plot_point *points, int count,
                 struct error *err) {
    struct out_file out;
    struct frame frames[MOST_PANELS];
    int panels = place_frames(chart, points, count, frames), columns = chart->columns;
    int width = columns ? columns * PANEL_WIDTH : WIDTH;
    int height = columns ? PANEL_TOP + (panels / columns + 1) * PANEL_HEIGHT : HEIGHT;
    int legend_x = columns ? panels % columns * PANEL_WIDTH + LEFT : WIDTH - RIGHT + 20;
    int legend_y = columns ? PANEL_TOP + panels / columns * PANEL_HEIGHT : TOP;
    if (!out_file_open(&out, path, err)) return false;
    FILE *f = out.stream;
    fprintf(f,
            "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' font-family='sans-serif' font-size='13'>\n"
            "<title>",
            width, height);
    text_html(chart->title, f);
    fprintf(f, "</title><rect width='100%%' height='100%%' fill='white'/>\n");
    draw_text(f, LEFT - 50, 26, " font-size='16' font-weight='bold'", chart->title);
    draw_text(f, LEFT - 50, TOP - 16, "", chart->y.label);
    for (const struct frame *at = frames; at < frames + panels; at++) {
        if (at->panel) draw_text(f, at->left, at->top - 8, " font-weight='bold'", at->panel);
        draw_axis(f, chart, at, true);
        draw_axis(f, chart, at, false);
    }
    for (int i = 0, series = 0; i < count && series < CHART_MAX_SERIES; i++) {
        int first = 0;
        while (strcmp(points[first].series, points[i].series) != 0) first++;
        if (first != i) continue;
        for (const struct frame *at = frames; at < frames + panels; at++)
            draw_series(f, chart, at, points, count, points[i].series, series);
        draw_name(f, chart, legend_x, legend_y, points[i].series, series++);
    }
    fprintf(f, "</svg>\n");
    return out_file_commit(&out, err);
}
