/* Text that came from elsewhere (names in files, command lines): what is UTF-8, what a terminal may get to see, how
 * wide it is, where a line breaks; and which known word a mistyped one was meant to be. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Whether text [size] is UTF-8 (RFC 3629), as JSON has to be. */
bool is_utf8(const char *text, size_t size);

/* An enemy may have written the names in a file: one line must stay one line on the terminal, in the order it is
 * written. Each control character (also U+0080 to U+009F), line separator, change of writing direction (U+202A to
 * U+202E, U+2066 to U+2069) and byte that is no UTF-8 becomes a '?'. The text gets no longer. */
void mask_control_characters(char *text);

/* Columns that a terminal takes for a text, a code point at a time: "±" takes two bytes and one column. */
size_t text_width(const char *text);

/* The bytes of the longest beginning of text within so many columns. */
size_t text_fitting(const char *text, size_t columns);

/* The same, but it ends where a word ends; only a word that is longer than the line is cut. At least one character. */
size_t line_length(const char *text, size_t columns);

/* Text in lines of at most width columns, each behind so many spaces, broken at spaces. */
void print_wrapped(FILE *stream, const char *text, int indent, int width);

/* Columns of the terminal that stream is, 80 where it is none. */
int terminal_width(FILE *stream);

/* The likelier of two names, name and best (which may be NULL), that typed was meant to be; NULL when neither is near.
 * Called for each name that there is, with what it returned before as best. */
const char *likelier(const char *typed, const char *name, const char *best);

#endif
