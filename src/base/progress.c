#include "base/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"

enum { LINE = 512, BAR = 30, SHORTEST_BAR = 5 };

static struct progress *innermost; /* of the bars that have begun: drawn behind those around it */
static bool silenced;

double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_silence(void) { silenced = true; }

void progress_begin(struct progress *p, const char *label, const char *unit) {
    *p = (struct progress){.label = label,
                           .unit = unit,
                           .started = seconds_now(),
                           .enabled = !silenced && isatty(STDERR_FILENO),
                           .outer = innermost};
    innermost = p;
}

/* Per second since the first update, which may come late, with work done that nobody timed; 0: not known yet. */
static double rate_of(const struct progress *p, double now) {
    return p->done > p->first && now > p->started ? (double)(p->done - p->first) / (now - p->started) : 0;
}

static PRINTF_LIKE(2, 3) void append(char line[LINE], const char *format, ...) {
    size_t used = strlen(line);
    va_list args;
    va_start(args, format);
    vsnprintf(line + used, LINE - used, format, args);
    va_end(args);
}

/* "sweep 3/10, 9 s left | " for each bar around p, the outermost first; where the line is short, "sweep 3/10 | " (brief
 * 1) or "3/10 | " (brief 2). */
static void append_outer(char line[LINE], const struct progress *p, double now, int brief) {
    if (!p) return;
    append_outer(line, p->outer, now, brief);
    if (brief < 2) append(line, "%s ", p->label);
    append(line, "%zu/%zu", p->done, p->total);
    double rate = rate_of(p, now);
    if (!brief && rate > 0) append(line, ", %.0f s left", (double)(p->total - p->done) / rate);
    append(line, " | ");
}

/* The bars from the outermost to p, within so many columns. */
static void draw(const struct progress *p, double now, int columns, char line[LINE]) {
    char front[LINE], back[LINE] = "";
    double rate = rate_of(p, now), share = (double)p->done / (double)p->total;
    append(back, "%3.0f%%", 100 * share);
    if (rate > 0)
        append(back, "  %.*f %s/s  %.0f s left", rate < 10, rate, p->unit, (double)(p->total - p->done) / rate);
    int room = 0;
    for (int brief = 0; brief < 3 && room < SHORTEST_BAR; brief++) {
        front[0] = 0;
        append_outer(front, p->outer, now, brief);
        append(front, "%s ", p->label);
        room = columns - (int)(text_width(front) + text_width(back)) - 3; /* the brackets, a space */
    }
    char bar[BAR + 1] = "";
    int length = room > BAR ? BAR : room < SHORTEST_BAR ? 0 : room, filled = (int)(share * length);
    memset(bar, '#', (size_t)filled);
    memset(bar + filled, '.', (size_t)(length - filled));
    snprintf(line, LINE, length ? "%s[%s] %s" : "%s%s%s", front, bar, back);
    line[text_fitting(line, (size_t)columns)] = 0;
}

void progress_update(void *context, size_t done, size_t total) {
    struct progress *p = context;
    double now = seconds_now();
    if (!p->updated) p->first = done, p->started = now;
    p->updated = true;
    p->done = done;
    p->total = total;
    if (!p->enabled || total == 0 || (now - p->shown < 0.1 && done < total)) return;
    p->shown = now;
    char line[LINE];
    draw(p, now, terminal_width(stderr) - 1, line); /* a full last column would wrap on some terminals */
    fprintf(stderr, "\r%s\033[K", line);
    fflush(stderr);
}

void progress_end(struct progress *p) {
    innermost = p->outer;
    if (p->enabled) fprintf(stderr, "\r\033[K");
}
