/* Files read whole, and files written so that a reader sees the old one or the new one, never a part. The name "-" is
 * standard input where a file is read, and standard output where one is written. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/error.h"

/* A file being written under a temporary name in its own folder. */
struct out_file {
    FILE *stream;
    char path[4096];      /* where it will be; symbolic links followed */
    char temporary[4160]; /* empty when path is a device, a pipe or "-", which is written directly */
};

/* Where "-" is written: standard output, unless a program keeps that for the file alone and moves its own text away. */
extern int out_file_standard;

/* Creates the temporary file, and removes those of path that killed runs left. Errors: folder missing or not writable,
 * path is a folder or write-protected. */
bool out_file_open(struct out_file *out, const char *path, struct error *err);

/* Whether a file that is there may be replaced; renaming would not ask. Error: it is write-protected. */
bool file_may_change(const char *path, const struct stat *info, struct error *err);

/* Flushes, checks that every write reached the file (a full disk shows here), renames it into place.
 * On an error the temporary file is removed and what was at path before is still there. */
bool out_file_commit(struct out_file *out, struct error *err);

/* Whether path can be written, found out before long work rather than after it; leaves everything as it was. */
bool out_file_check(const char *path, struct error *err);

/* Drops the temporary file; for a caller that failed half way. */
void out_file_discard(struct out_file *out);

/* Removes the temporary files of every out_file still open; async-signal-safe, for a handler of SIGINT. */
void out_file_discard_all(void);

/* Reads a whole regular file, or standard input to its end, of at most limit bytes into *data (release with free; a NUL
 * stands behind it). Errors: cannot be opened or read, not a regular file, larger than limit. */
bool file_read_all(const char *path, size_t limit, unsigned char **data, size_t *size, struct error *err);

/* Looks at the first have bytes of a file, FILE_HEAD of them or all, before the rest is read. whole: the bytes of the
 * file, SIZE_MAX where only its end will tell. False, with an error without the file's name, where it need not be. */
typedef bool (*file_judge)(void *context, const unsigned char *data, size_t have, size_t whole, struct error *err);
enum { FILE_HEAD = (1 << 20) + 8 };

bool file_read_judged(const char *path, size_t limit, file_judge judge, void *context, unsigned char **data,
                      size_t *size, struct error *err);

/* The size in bytes that stat reports. */
bool file_size(const char *path, uint64_t *size, struct error *err);

/* Creates a folder and the ones above it where they are missing. */
bool folder_create(const char *path, struct error *err);

/* Whether the folder is there or could be made, and files written in it, found out before long work; leaves everything
 * as it was. */
bool folder_check(const char *path, struct error *err);

#endif
