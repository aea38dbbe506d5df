/* Tables read back from the files that table_save wrote, or that anyone edited since. */
#ifndef BASE_CSV_H
#define BASE_CSV_H

#include <stddef.h>

#include "base/error.h"

/* A header and rows of as many cells, as RFC 4180 has them: commas between, a cell in double quotes where it holds a
 * comma, a quote (written twice), '#' or the end of a line. Or with tabs between, and then quotes are plain text. Lines
 * that begin with '#' are comments; those of the form "# NAME: VALUE" are facts, such as the provenance of a table. */
struct csv {
    char name[128]; /* of the table, for messages */
    char *text;     /* the file, cut into cells */
    char **cells;   /* [1 + rows][columns], the header first */
    size_t rows, columns;
    char **facts; /* [fact_count] "NAME: VALUE" */
    size_t fact_count;
    char separator;
};

enum { CSV_MAX_BYTES = 64 << 20, CSV_MAX_COLUMNS = 1024 };

/* Reads a file of at most CSV_MAX_BYTES. Errors, with table, line and column: not a regular file or too large; no
 * header, two columns of one name, over CSV_MAX_COLUMNS; a row of more or fewer cells; a quote that is not closed, or
 * stands within a cell; a byte of 0, text that is not UTF-8; out of memory. Release with csv_free. */
bool csv_read(const char *path, struct csv *out, struct error *err);

/* The same from text [size], which the caller keeps, with ',' or '\t' between cells. */
bool csv_parse(const char *name, const char *text, size_t size, char separator, struct csv *out, struct error *err);
void csv_free(struct csv *c);

/* The cell of a row (0 the first below the header). */
static inline const char *csv_cell(const struct csv *c, size_t row, size_t column) {
    return c->cells[(1 + row) * c->columns + column];
}
static inline const char *csv_heading(const struct csv *c, size_t column) { return c->cells[column]; }

/* The column of a name; c->columns where there is none. */
size_t csv_column(const struct csv *c, const char *name);

/* The value of the fact, "" where there is none. */
const char *csv_fact(const struct csv *c, const char *name);

/* A cell that is a number and nothing else: digits with a sign, point or exponent. False for "", "nan", "0x10". */
bool csv_number(const char *cell, double *value);

#endif
