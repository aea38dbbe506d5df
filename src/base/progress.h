/* A progress bar with rate and time left, on standard error and only on a terminal, in one line that is never wider
 * than it. A bar that begins while another has not ended is drawn behind what the outer one has done. For one thread
 * only. */
#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

struct progress {
    const char *label, *unit;  /* "training", "images" */
    double started, shown;     /* seconds */
    size_t done, total, first; /* first: done at the first update, with the clock of which rates begin */
    bool enabled, updated;
    struct progress *outer;
};

/* The form in which library code reports: called now and then with what is done of the total. */
typedef void (*progress_fn)(void *context, size_t done, size_t total);

void progress_begin(struct progress *p, const char *label, const char *unit);
void progress_update(void *p, size_t done, size_t total); /* a progress_fn; p is a struct progress */
void progress_end(struct progress *p);                    /* clears the line; each begin needs its end */

void progress_silence(void); /* bars that begin later are not drawn */

double seconds_now(void); /* a monotonic clock */

#endif
