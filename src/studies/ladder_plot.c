#include "studies/ladder_plot.h"

/* Accuracy by the logarithm of the error, so that 97.5 against 97.8 can be seen beside a collapse to 60. */
static const struct chart ladder_chart = {.title = "The ladder: accuracy and bits per weight",
                                          .x = {.label = "bits per weight, all overhead counted (log scale)",
                                                .log = true,
                                                .from = 1.8,
                                                .to = 34,
                                                .ticks = {2, 3, 4, 6, 8, 16, 32}},
                                          .y = {.label = "test accuracy in percent (by the logarithm of the error)",
                                                .log = true,
                                                .from = 10,
                                                .to = 98.8,
                                                .ticks = {98.5, 98, 97.5, 97, 96, 95, 90, 80, 60, 30, 10},
                                                .below = 100},
                                          .cycle = CHART_COLOURS};

bool ladder_plot(const char *path, const struct plot_point *points, int count, struct error *err) {
    return chart_write(path, &ladder_chart, points, count, err);
}
