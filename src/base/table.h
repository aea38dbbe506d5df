/* A table of results: filled cell by cell, then shown on the terminal or written as Markdown, CSV or JSON,
 * always with the same digits. */
#ifndef BASE_TABLE_H
#define BASE_TABLE_H

#include <stddef.h>
#include <stdio.h>

#include "base/error.h"

/* Where a table comes from, one fact a line: "command", "seed", "data", ... Written at its end. */
struct provenance {
    struct fact {
        const char *name;
        char value[1024];
    } facts[16];
    size_t count;
};

void provenance_add(struct provenance *p, const char *name, const char *format, ...) PRINTF_LIKE(3, 4);

struct table {
    const char *title;
    const char *const *columns; /* [column_count] names in snake_case: the CSV header and the JSON keys */
    size_t column_count;
    struct cell *cells; /* [cell_count], row after row */
    size_t cell_count, cell_capacity;
    char **notes; /* [note_count] sentences below the table */
    size_t note_count;
    bool out_of_memory; /* a cell or note was lost: writing the table then fails */
};

/* title and columns are kept by reference. */
void table_init(struct table *t, const char *title, const char *const *columns, size_t column_count);
void table_free(struct table *t);

/* Each call fills the next cell; a row ends when its last column is filled. */
void table_text(struct table *t, const char *format, ...) PRINTF_LIKE(2, 3);
void table_integer(struct table *t, long long value);
void table_number(struct table *t, double value, int decimals); /* a value that is not finite is an empty cell */
void table_signed(struct table *t, double value, int decimals); /* the same with its sign always shown */
void table_empty(struct table *t);

void table_note(struct table *t, const char *format, ...) PRINTF_LIKE(2, 3);
size_t table_row_count(const struct table *t);

void table_print(const struct table *t, FILE *stream);

/* Writes FOLDER/NAME.md and FOLDER/NAME.csv, each whole or not at all, ending with the provenance. */
bool table_save(const struct table *t, const struct provenance *p, const char *folder, const char *name,
                struct error *err);

/* Prints {"title": ..., "rows": [{column: value, ...}, ...], "notes": [...], "provenance": {...}}.
 * p may be NULL. Error: out of memory. */
bool table_print_json(const struct table *t, const struct provenance *p, FILE *stream, struct error *err);

#endif
