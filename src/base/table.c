#include "base/table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void provenance_add(struct provenance *p, const char *name, const char *format, ...) {
    if (p->count == sizeof p->facts / sizeof p->facts[0]) return;
    struct fact *fact = &p->facts[p->count++];
    fact->name = name;
    va_list args;
    va_start(args, format);
    text_vformat(fact->value, sizeof fact->value, format, args);
    va_end(args);
}

/* The array with room for one more item: it doubles when count is a power of two. NULL when there is no memory. */
static void *grown(struct table *t, void *array, size_t count, size_t size) {
    if (count & (count - 1)) return array;
    void *larger = realloc(array, (count ? 2 * count : 1) * size);
    t->out_of_memory |= !larger;
    return larger;
}

static void add_columns(struct table *t, const char *columns) {
    for (const char *word = columns + strspn(columns, " "); *word; word += strspn(word, " ")) {
        size_t length = strcspn(word, " "), name = strcspn(word, " :-="), rest = name + (word[name] == '=');
        struct column *array = grown(t, t->columns, t->column_count, sizeof *array);
        if (!array) return;
        t->columns = array;
        struct column *c = &array[t->column_count++];
        bool named = word[rest] == ':', hidden = word[rest] == '-';
        const char *heading = named ? word + rest + 1 : word;
        int heading_length = hidden ? 0 : (int)(named ? length - rest - 1 : name);
        c->signs = rest > name;
        snprintf(c->name, sizeof c->name, "%.*s", (int)name, word);
        snprintf(c->heading, sizeof c->heading, "%.*s", heading_length, heading);
        for (char *x = c->heading; *x; x++)
            if (*x == '_') *x = ' ';
        word += length;
    }
}

void table_init(struct table *t, const char *title, const char *columns) {
    *t = (struct table){.title = title ? strdup(title) : NULL}; /* NULL: of another table, which had no memory for it */
    if (t->title) mask_control_characters(t->title);
    else t->out_of_memory = true;
    add_columns(t, columns);
}

void table_add_columns(struct table *t, const char *format, ...) {
    char columns[512];
    va_list args;
    va_start(args, format);
    vsnprintf(columns, sizeof columns, format, args);
    va_end(args);
    add_columns(t, columns);
}

void table_free(struct table *t) {
    for (size_t i = 0; i < t->note_count; i++) free(t->notes[i].text);
    for (size_t i = 0; i < t->cell_count; i++) free(t->cells[i].text);
    free(t->notes), free(t->cells), free(t->columns), free(t->title);
    *t = (struct table){0};
}

void table_group(struct table *t, const char *format, ...) {
    if (t->group_count == sizeof t->groups / sizeof t->groups[0]) return;
    struct group *g = &t->groups[t->group_count++];
    va_list args;
    va_start(args, format);
    vsnprintf(g->heading, sizeof g->heading, format, args);
    va_end(args);
    g->row = table_row_count(t);
}

void table_note(struct table *t, const char *format, ...) {
    struct note *notes = grown(t, t->notes, t->note_count, sizeof *notes);
    if (!notes) return;
    t->notes = notes;
    va_list args;
    va_start(args, format);
    notes[t->note_count].in_files_only = false;
    if (vasprintf(&notes[t->note_count].text, format, args) < 0) t->out_of_memory = true;
    else mask_control_characters(notes[t->note_count++].text);
    va_end(args);
}

void table_hide_note(struct table *t) {
    if (t->note_count) t->notes[t->note_count - 1].in_files_only = true;
}

/* ---- rows ------------------------------------------------------------------------------------------------------- */

/* A number that is 0 in all the digits shown is not a negative one. */
static void drop_minus_of_zero(char *text, bool is_signed) {
    if (text[0] != '-' || text[1 + strspn(text + 1, "0.")]) return;
    if (is_signed) text[0] = '+';
    else memmove(text, text + 1, strlen(text));
}

/* format: the cell's, up to a '|' or its end. */
static void add_cell(struct table *t, const char *format, const char *text) {
    struct cell *cells = grown(t, t->cells, t->cell_count, sizeof *cells), cell;
    if (!cells) return;
    t->cells = cells;
    if (!(cell.text = strdup(text))) {
        t->out_of_memory = true;
        return;
    }
    format += strspn(format, " ");
    size_t flags = *format == '%' ? 1 + strspn(format + 1, "+- #0123456789.*hlz") : 0;
    const char *behind = format + flags + 1;
    cell.is_number = flags && format[flags] && strchr("diufgeE", format[flags]) &&
        strchr("|", behind[strspn(behind, " ")]);
    if (cell.is_number && strchr(cell.text, 'n')) cell.text[0] = 0; /* inf, nan */
    if (cell.is_number) drop_minus_of_zero(cell.text, memchr(format, '+', flags) != NULL);
    else mask_control_characters(cell.text);
    cells[t->cell_count++] = cell;
}

/* The format with mark in place of each bar and the spaces around it; how many bars there were. */
static char *mark_bars(const char *format, const char *mark, size_t *bars) {
    *bars = 0;
    for (const char *c = format; *c; c++) *bars += *c == '|';
    char *marked = malloc(strlen(format) + *bars * strlen(mark) + 1), *to = marked;
    if (!marked) return NULL;
    for (const char *c = format + strspn(format, " ");; c++) {
        if (*c == '|' || !*c)
            while (to > marked && to[-1] == ' ') to--;
        if (!*c) break;
        if (*c == '|') to = stpcpy(to, mark), c += strspn(c + 1, " ");
        else *to++ = *c;
    }
    *to = 0;
    return marked;
}

static size_t occurrences(const char *text, const char *mark) {
    size_t n = 0;
    while ((text = strstr(text, mark))) n++, text += strlen(mark);
    return n;
}

/* One printf for the whole row, whose bars are marks that no argument holds: hostile text cannot shift the cells. */
void table_row(struct table *t, const char *format, ...) {
    char mark[24], *text = NULL;
    size_t bars;
    for (int attempt = 0; !text; attempt++) {
        snprintf(mark, sizeof mark, "\1%d\2", attempt);
        char *marked = mark_bars(format, mark, &bars);
        va_list args;
        va_start(args, format);
        if (!marked || vasprintf(&text, marked, args) < 0) text = NULL, t->out_of_memory = true;
        va_end(args);
        free(marked);
        if (!text) return;
        if (occurrences(text, mark) != bars) free(text), text = NULL;
    }
    char *cell = text;
    for (char *end; (end = strstr(cell, mark)); cell = end + strlen(mark), format = strchr(format, '|') + 1) {
        *end = 0;
        add_cell(t, format, cell);
    }
    add_cell(t, format, cell);
    free(text);
}

size_t table_row_count(const struct table *t) { return t->column_count ? t->cell_count / t->column_count : 0; }
