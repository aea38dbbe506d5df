/* A table of results: filled row by row, then shown on the terminal or written as Markdown, CSV or JSON, always with
 * the same digits. */
#ifndef BASE_TABLE_H
#define BASE_TABLE_H

#include <stddef.h>
#include <stdio.h>

#include "base/error.h"
#include "base/text.h"

/* Where a table comes from, one fact a line: "command", "seed", "data", ... Written at its end. */
struct provenance {
    struct fact {
        const char *name;
        char value[1024];
    } facts[20];
    size_t count;
};

void provenance_add(struct provenance *p, const char *name, const char *format, ...) PRINTF_LIKE(3, 4);

struct column {
    char name[48];    /* snake_case: the CSV header and the JSON key */
    char heading[48]; /* on a terminal; "": only in the files and in JSON */
    bool signs;       /* its texts are the program's own and may begin with a sign: see text_csv */
};

struct table {
    char *title;            /* NULL only when out of memory */
    struct column *columns; /* [column_count] */
    struct cell {
        char *text;
        bool is_number;
    } * cells; /* [cell_count], row after row */
    struct note {
        char *text; /* sentences below the table */
        bool in_files_only;
    } * notes; /* [note_count] */
    struct group {
        size_t row; /* the first of the group */
        char heading[24];
    } groups[16];
    size_t column_count, cell_count, note_count, group_count;
    bool out_of_memory; /* a cell or note was lost: writing the table then fails */
};

/* columns: names with spaces between, as "format file_bytes:bytes correct- accuracy_percent". NAME:HEADING has a
 * heading of its own on a terminal (an underscore is a space), NAME- is left to the files and to JSON. NAME=,
 * NAME=:HEADING, NAME=-: columns of signs (struct column). */
void table_init(struct table *t, const char *title, const char *columns);
/* More columns at the right, for tables whose columns depend on what they show; before the first row. */
void table_add_columns(struct table *t, const char *format, ...) PRINTF_LIKE(2, 3);
void table_free(struct table *t);

/* The next cells of a row: printf formats with '|' between them, as in
 *   table_row(t, "%s | fc%d | %.2f | %+.2f | |", name, layer, share, change);
 * A cell that is one numeric conversion and nothing else is a number: flush right, a number in JSON, empty where it is
 * not finite, never "-0.00". A row ends when its last column is filled; several calls may fill it.
 * Conversions: s d i u f g e c %, with flags, width, precision (also *) and the lengths h l ll z. */
void table_row(struct table *t, const char *format, ...) PRINTF_LIKE(2, 3);

/* The next row begins a group with a heading of its own, on a terminal and in Markdown. At most 16. */
void table_group(struct table *t, const char *format, ...) PRINTF_LIKE(2, 3);

/* Whether a column holds numbers (and perhaps empty cells): it is then set flush right. */
bool table_column_is_numeric(const struct table *t, size_t column);

void table_note(struct table *t, const char *format, ...) PRINTF_LIKE(2, 3);
void table_hide_note(struct table *t); /* the last one: a terminal does not show it, files and JSON do */
size_t table_row_count(const struct table *t);

/* Shows the table within so many columns (40 at least): headings and long texts wrap; columns that still do not fit are
 * left out, the last first, and named below. Error: out of memory. */
bool table_print(const struct table *t, FILE *stream, int width, struct error *err);

/* Writes FOLDER/NAME.md and FOLDER/NAME.csv, each whole or not at all, ending with the provenance. */
bool table_save(const struct table *t, const struct provenance *p, const char *folder, const char *name,
                struct error *err);

/* Prints {"title": ..., "rows": [{column: value, ...}, ...], "notes": [...], "provenance": {...}}: numbers as numbers,
 * the texts true and false as booleans, empty cells as null. p may be NULL: no facts. Error: out of memory. */
bool table_print_json(const struct table *t, const struct provenance *p, FILE *stream, struct error *err);
/* The same without the last brace and the line ends around it: others may follow. */
bool table_print_json_members(const struct table *t, const struct provenance *p, FILE *stream, struct error *err);

#endif
