/* The files that a command writes as one set: into a folder of their own inside the results, and from there, when all
 * are whole, to their places. An interrupted run leaves the old set, and of two at the same time the whole set of one.
 * A run that is killed between two moves leaves files of two sets, and beside them its folder .unfinished-XXXXXX with
 * the rest and the list .moves: the next run that is given these results makes these moves before it does anything
 * else. A set may have a stamp, a last file that tells what made it and the SHA-256 of each file, so that the same
 * command need not run again. One set at a time. */
#ifndef CLI_FILESET_H
#define CLI_FILESET_H

#include "base/table.h"

enum { FILE_SET_MAX = 256 };

/* Completes what killed runs left half moved in a folder, and removes what they were writing. For readers of the
 * folder, before they read. Error: it cannot be; the folder then holds files of two runs. */
bool file_set_complete(const char *folder, struct error *err);

/* Makes the folder to write to, unless it is made already, and returns its path; calls file_set_complete before. NULL
 * on an error: it cannot be made. folder is kept by reference. */
const char *file_set_begin(const char *folder, struct error *err);

/* The path, in that folder, of a file of the set such as "models/sweep/fp32.safetensors"; makes the folders of its
 * name. Valid until the next call. A file that is then not written is removed at its place by file_set_end: it was made
 * from something else. NULL on an error: what is there in its place is no file, write-protected, or on another file
 * system. */
const char *file_set_path(const char *name, struct error *err);

/* Whether a file NAMEENDING could go to the folder, before any set is begun and before long work. Errors: as above. */
bool file_set_check(const char *folder, const char *name, const char *ending, struct error *err);

/* ok: moves the files to their places, and writes the stamp (NULL: none) with the options that made them, as
 * options_values tells them. Else removes what was written, and returns false. Does nothing where no set was begun. */
bool file_set_end(const char *stamp, const struct provenance *p, const char *options, bool ok, struct error *err);

/* current: the stamp is that of this very program for the same provenance, every file is as it says, and the options
 * given are among those that made them; the command may be another. command [size]: that of the stamp, on one line, or
 * "". */
enum file_set_state { FILE_SET_CURRENT, FILE_SET_OF_OTHER_OPTIONS, FILE_SET_STALE };
enum file_set_state file_set_look(const char *folder, const char *stamp, const struct provenance *p, const char *given,
                                  char *command, size_t size);

/* For a handler of SIGINT, all async-signal-safe. While files move to their places a signal has to wait: true, and
 * file_set_end raises it again at the end. Else, when no temporary file is in it any more, the handler removes what was
 * written so far. */
bool file_set_keeps_signal(int number);
void file_set_discard(void);

#endif
