/* The files that a command writes as one set: into a folder of their own inside the results, and from there, when all
 * are whole, to their places. An interrupted run leaves the old set, and of two at the same time the whole set of one.
 * A last file, the stamp, tells what made the set and the SHA-256 of each file, so that the same command need not run
 * again. One set at a time. */
#ifndef CLI_FILESET_H
#define CLI_FILESET_H

#include "base/table.h"

enum { FILE_SET_MAX = 16 };

struct file_set {
    const char *stamp; /* ".exercise" */
    /* All that the command can write, NULL behind them; at most one folder: "models/a". */
    const char *names[FILE_SET_MAX];
    const char *derived[8]; /* made from them by other commands, NULL behind them: removed when a new set comes */
};

/* Makes the folder to write to and returns its path; removes those of killed runs. NULL on an error: it cannot be made,
 * or what is in a file's place is no file. folder and set are kept by reference. */
const char *file_set_begin(const struct file_set *set, const char *folder, struct error *err);

/* ok: moves the files to their places. Those of the set that were not written this time are removed there: they were
 * made from something else. Else removes what was written, and returns false. */
bool file_set_end(const struct provenance *p, bool ok, struct error *err);

/* Whether the folder holds what this very program wrote for the same provenance, every file as it was. */
bool file_set_is_current(const struct file_set *set, const char *folder, const struct provenance *p);

/* Removes what was written so far; async-signal-safe, for a handler of SIGINT. False while files move to their places:
 * the handler then leaves its signal to file_set_signal and returns, and file_set_end raises it again at the end. */
bool file_set_discard(void);
void file_set_signal(int number);

#endif
