#include "base/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

static struct progress *innermost; /* of the bars that have begun: drawn after the labels of those around it */

double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_begin(struct progress *p, const char *label, const char *unit) {
    *p = (struct progress){
        .label = label, .unit = unit, .started = seconds_now(), .enabled = isatty(STDERR_FILENO), .outer = innermost};
    innermost = p;
}

static double seconds_left(const struct progress *p, double now) {
    return p->done ? (now - p->started) / (double)p->done * (double)(p->total - p->done) : 0;
}

/* "sweep: 3 of 10 seeds, 9 s left | " for each bar around this one, the outermost first */
static void print_outer(const struct progress *p, double now) {
    if (!p) return;
    print_outer(p->outer, now);
    fprintf(stderr, "%s: %zu of %zu %s", p->label, p->done, p->total, p->unit);
    if (p->done) fprintf(stderr, ", %.0f s left", seconds_left(p, now));
    fprintf(stderr, " | ");
}

void progress_update(void *context, size_t done, size_t total) {
    struct progress *p = context;
    double now = seconds_now(), elapsed = now - p->started;
    p->done = done;
    p->total = total;
    if (!p->enabled || total == 0 || (now - p->shown < 0.1 && done < total)) return;
    p->shown = now;
    enum { WIDTH = 30 };
    char bar[WIDTH + 1];
    size_t filled = (size_t)((double)done / (double)total * WIDTH);
    for (size_t i = 0; i < WIDTH; i++) bar[i] = i < filled ? '#' : '.';
    bar[WIDTH] = 0;
    fprintf(stderr, "\r");
    print_outer(p->outer, now);
    fprintf(stderr, "%s [%s] %3.0f%%  %.3g %s/s  %.0f s left \033[K", p->label, bar,
            100.0 * (double)done / (double)total, elapsed > 0 ? (double)done / elapsed : 0, p->unit,
            seconds_left(p, now));
    fflush(stderr);
}

void progress_end(struct progress *p) {
    innermost = p->outer;
    if (p->enabled) fprintf(stderr, "\r\033[K");
}
