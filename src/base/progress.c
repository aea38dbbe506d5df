#include "base/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_begin(struct progress *p, const char *label, const char *unit) {
    *p = (struct progress){label, unit, seconds_now(), 0, isatty(STDERR_FILENO)};
}

void progress_update(void *context, size_t done, size_t total) {
    struct progress *p = context;
    double now = seconds_now(), elapsed = now - p->started;
    if (!p->enabled || total == 0 || (now - p->shown < 0.1 && done < total)) return;
    p->shown = now;
    enum { WIDTH = 30 };
    char bar[WIDTH + 1];
    size_t filled = (size_t)((double)done / (double)total * WIDTH);
    for (size_t i = 0; i < WIDTH; i++) bar[i] = i < filled ? '#' : '.';
    bar[WIDTH] = 0;
    double rate = elapsed > 0 ? (double)done / elapsed : 0;
    fprintf(stderr, "\r%s [%s] %3.0f%%  %.0f %s/s  %.0f s left \033[K", p->label, bar,
            100.0 * (double)done / (double)total, rate, p->unit, rate > 0 ? (double)(total - done) / rate : 0.0);
    fflush(stderr);
}

void progress_end(struct progress *p) {
    if (p->enabled) fprintf(stderr, "\r\033[K");
}
