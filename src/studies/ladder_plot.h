/* ladder.svg: accuracy against bits per weight, one line a method. */
#ifndef STUDIES_LADDER_PLOT_H
#define STUDIES_LADDER_PLOT_H

#include "base/error.h"

struct plot_point {
    const char *method;
    double bits, accuracy;
};

bool ladder_plot(const char *path, const struct plot_point *points, int count, struct error *err);

#endif
