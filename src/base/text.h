/* Text that came from elsewhere (names in files, command lines): what is UTF-8, what a terminal may get to see, how
 * wide it is, where a line breaks; and which known word a mistyped one was meant to be. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/error.h"

/* Whether text [size] is UTF-8 (RFC 3629), as JSON has to be. */
bool is_utf8(const char *text, size_t size);

/* An enemy may have written the names in a file: one line must stay one line on the terminal, in the order it is
 * written. Each control character (also U+0080 to U+009F), line separator, mark or change of writing direction (U+061C,
 * U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069), invisible mark (U+FEFF, U+FFF9 to U+FFFB, the tags from U+E0000
 * on) and byte that is no UTF-8 becomes a '?'. The text gets no longer. */
void mask_control_characters(char *text);

/* snprintf for texts of names from elsewhere: what is too long for text [size] is cut between two characters, and the
 * rest is masked as above. */
void text_format(char *text, size_t size, const char *format, ...) PRINTF_LIKE(3, 4);
void text_vformat(char *text, size_t size, const char *format, va_list args);

/* The most bytes, up to the limit, that end between two characters of text: "%.*s" cuts where it is told to. */
int text_cut(const char *text, size_t limit);

/* Text into a file of one kind, masked as above, where it can be nothing but text there: */

void text_plain(const char *text, FILE *stream); /* a terminal, a file of plain text */
/* Markdown, in a paragraph, a heading, or a cell, which a bar would end: no element, link, picture or emphasis begins
 * in it. Returns how many columns it takes; stream may be NULL: only that. */
size_t text_markdown(const char *text, bool in_cell, FILE *stream);
/* A field of CSV, in quotes where it has to be. A spreadsheet would compute what begins with = + - or @ at its
 * beginning or behind a semicolon (also a separator): a ' comes before. A lone "-" and numbers stay; with signs also a
 * first sign: for columns of the program's own words. */
void text_csv(const char *text, bool signs, FILE *stream);
/* In a comment of CSV, to the end of the line: the same behind each separator, without quotes. */
void text_csv_comment(const char *text, FILE *stream);
/* HTML and SVG, as content or in the quotes of an attribute: & < > " ' as entities. */
void text_html(const char *text, FILE *stream);
/* A text of JSON with its quotes. */
void text_json(const char *text, FILE *stream);

/* "1 image", "2 images": the ending. */
static inline const char *plural(size_t count) { return count == 1 ? "" : "s"; }

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
