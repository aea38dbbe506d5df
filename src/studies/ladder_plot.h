/* ladder.svg: accuracy against bits per weight, one line a method. */
#ifndef STUDIES_LADDER_PLOT_H
#define STUDIES_LADDER_PLOT_H

#include "studies/chart.h"

/* points: of a method, its bits per weight and its accuracy in percent. */
bool ladder_plot(const char *path, const struct plot_point *points, int count, struct error *err);

#endif
