/* Status and error text. Library functions that can fail return true when done, false when not; on false the caller's
 * struct error holds one line that says what is wrong, where, what was expected and found. The library never prints it:
 * the commands do. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdbool.h>

struct error {
    char text[1024]; /* one line, no newline at its end; mask_control_characters has been over it */
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

#endif
