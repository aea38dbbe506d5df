/* A chart of lines with markers, or several side by side, as SVG. */
#ifndef STUDIES_CHART_H
#define STUDIES_CHART_H

#include "base/error.h"

struct plot_point {
    const char *series;
    double x, y;
    const char *panel; /* where there are columns of them: the title of its own */
};

struct chart_axis {
    const char *label; /* with its unit */
    bool log;
    double from,
        to; /* the edges, from below or at the left; either may be the larger. Points beyond lie on the edge. */
    double ticks[12]; /* up to the first 0 */
    double below;     /* not 0: the scale is that of how far values are below this, as errors are below 100% */
};

enum { CHART_COLOURS = 7, CHART_MAX_SERIES = 3 * CHART_COLOURS };

struct chart {
    const char *title;
    struct chart_axis x, y;
    int cycle;   /* series of one cycle, at most CHART_COLOURS: each has its colour and marker. Those of the next cycle
                    have them again, with hollow markers on dashed lines. */
    int columns; /* of panels with the same axes and series, in the order of their first points; 0: one chart */
};

/* Writes one line a series, through its points from left to right; the legend lists them in the order of their first
 * points, CHART_MAX_SERIES at most. */
bool chart_write(const char *path, const struct chart *chart, const struct plot_point *points, int count,
                 struct error *err);

#endif
