/* Status and error text. Library functions that can fail return true when done, false when not; on false
 * the caller's struct error holds one line that says what is wrong, where, what was expected and found.
 * The library never prints it: only app/ does. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdbool.h>
#include <stddef.h>

struct error {
    char text[1024]; /* one line, no newline at its end; what hostile input could do to a terminal is masked */
};

#if defined(__GNUC__)
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define PRINTF_LIKE(fmt, args)
#endif

/* Writes the text and returns false, so that a check reads `return fail(err, "...", ...)`. */
bool fail(struct error *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* Puts "PREFIX: " before the text that is there, and returns false. */
bool fail_in(struct error *err, const char *prefix);

/* Names come out of files that an enemy may have written: one line must stay one line on the terminal. Each
 * control character becomes a '?'. */
void mask_control_characters(char *text);

/* Whether text [size] is UTF-8, as JSON has to be. */
bool is_utf8(const char *text, size_t size);

#endif
