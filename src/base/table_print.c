/* Tables for people: within the width of a terminal. */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/table.h"

enum { NARROWEST = 40, NARROWEST_TEXT = 14, NARROWEST_WORDS = 10, INDENT = 2, GAP = 2 };

int terminal_width(FILE *stream) {
    struct winsize size;
    if (ioctl(fileno(stream), TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
    return size.ws_col < NARROWEST ? NARROWEST : size.ws_col;
}

size_t text_width(const char *text) {
    size_t width = 0;
    for (; *text; text++) width += (*text & 0xc0) != 0x80;
    return width;
}

bool table_column_is_numeric(const struct table *t, size_t column) {
    bool any = false;
    for (size_t row = 0; row < table_row_count(t); row++) {
        const struct cell *cell = &t->cells[row * t->column_count + column];
        if (cell->text[0] && !cell->is_number) return false;
        any |= cell->is_number;
    }
    return any;
}

/* The bytes of the longest beginning of text within width columns that ends at a word's end; of a single longer word,
 * as much as fits. */
static size_t line_length(const char *text, size_t width) {
    size_t at = 0, columns = 0, end = 0;
    for (; text[at] && columns <= width; at++) {
        if (text[at] == ' ') end = at;
        columns += (text[at + 1] & 0xc0) != 0x80;
        if (columns == width && (!text[at + 1] || text[at + 1] == ' ')) end = at + 1;
    }
    if (!text[at] && columns <= width) return at;
    if (end) return end;
    for (at = 0, columns = 0; text[at]; at++) {
        columns += (text[at] & 0xc0) != 0x80;
        if (columns > width) break;
    }
    return at;
}

static const char *after_spaces(const char *text) { return text + strspn(text, " "); }

void print_wrapped(FILE *stream, const char *text, int indent, int width) {
    size_t room = (size_t)(width - indent);
    for (text = after_spaces(text); *text;) {
        size_t length = line_length(text, room);
        fprintf(stream, "%*s%.*s\n", indent, "", (int)length, text);
        text = after_spaces(text + length);
    }
}

/* ---- fitting ---------------------------------------------------------------------------------------------------- */

struct layout {
    size_t count, *column, *width; /* of the columns shown */
    bool *right;
};

static size_t longest_word(const char *text) {
    size_t longest = 0;
    while (*text) {
        char word[96];
        size_t length = strcspn(text, " ");
        snprintf(word, sizeof word, "%.*s", (int)length, text);
        if (text_width(word) > longest) longest = text_width(word);
        text = after_spaces(text + length);
    }
    return longest;
}

/* The most that measure finds in a column: text_width or longest_word. */
static size_t widest_cell(const struct table *t, size_t column, size_t (*measure)(const char *)) {
    size_t widest = 0;
    for (size_t row = 0; row < table_row_count(t); row++) {
        size_t width = measure(t->cells[row * t->column_count + column].text);
        if (width > widest) widest = width;
    }
    return widest;
}

static size_t total_width(const struct layout *l) {
    size_t total = INDENT;
    for (size_t i = 0; i < l->count; i++) total += l->width[i] + (i ? GAP : 0);
    return total;
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* The widest text column that may lose a letter: with whole_words, none may be cut; l->count when there is none. */
static size_t widest_text(const struct table *t, const struct layout *l, bool whole_words) {
    size_t widest = l->count;
    for (size_t i = 0; i < l->count; i++) {
        size_t least = whole_words ? larger(widest_cell(t, l->column[i], longest_word), NARROWEST_WORDS)
                                   : NARROWEST_TEXT;
        if (!l->right[i] && l->width[i] > least && (widest == l->count || l->width[i] > l->width[widest])) widest = i;
    }
    return widest;
}

/* Where it is too wide, headings are broken into words; then the widest text column gives way, between words where that
 * is enough; then the last columns. */
static void fit(const struct table *t, struct layout *l, size_t room) {
    for (size_t c = 0; c < t->column_count; c++) {
        if (!t->columns[c].heading[0]) continue;
        l->column[l->count] = c;
        l->right[l->count] = table_column_is_numeric(t, c);
        l->width[l->count++] = larger(widest_cell(t, c, text_width), text_width(t->columns[c].heading));
    }
    bool too_wide = total_width(l) > room;
    for (size_t i = 0; too_wide && i < l->count; i++)
        l->width[i] = larger(widest_cell(t, l->column[i], text_width), longest_word(t->columns[l->column[i]].heading));
    while (total_width(l) > room) {
        size_t widest = widest_text(t, l, true);
        if (widest == l->count) widest = widest_text(t, l, false);
        if (widest < l->count) l->width[widest]--;
        else if (l->count > 1) l->count--;
        else break;
    }
}

/* ---- printing --------------------------------------------------------------------------------------------------- */

/* One row of texts, as many lines as the longest needs; at the bottom of that for headings. */
static void print_row(const struct layout *l, const char **texts, bool at_bottom, FILE *stream) {
    size_t lines = 1;
    for (size_t i = 0; i < l->count; i++) {
        size_t n = 0;
        for (const char *rest = texts[i]; *rest; n++) rest = after_spaces(rest + line_length(rest, l->width[i]));
        lines = n > lines ? n : lines;
    }
    for (size_t line = 0; line < lines; line++) {
        size_t owed = INDENT; /* spaces, not printed at the end of a line */
        for (size_t i = 0; i < l->count; i++) {
            size_t left = 0;
            for (const char *rest = texts[i]; *rest; left++) rest = after_spaces(rest + line_length(rest, l->width[i]));
            bool waits = at_bottom && line + left < lines;
            char piece[1024] = "";
            if (!waits && *texts[i]) {
                size_t length = line_length(texts[i], l->width[i]);
                snprintf(piece, sizeof piece, "%.*s", (int)length, texts[i]);
                texts[i] = after_spaces(texts[i] + length);
            }
            size_t pad = l->width[i] - (text_width(piece) < l->width[i] ? text_width(piece) : l->width[i]);
            if (*piece) fprintf(stream, "%*s%s", (int)(owed + (l->right[i] ? pad : 0)), "", piece);
            owed = *piece ? (l->right[i] ? 0 : pad) + GAP : owed + l->width[i] + GAP;
        }
        fputc('\n', stream);
    }
}

static void print_columns_left_out(const struct table *t, const struct layout *l, FILE *stream, int width) {
    char names[2048] = "Also in the files and with --json:";
    size_t used = strlen(names);
    bool any = false;
    for (size_t c = 0, shown = 0; c < t->column_count; c++) {
        if (shown < l->count && l->column[shown] == c) {
            shown++;
            continue;
        }
        used += (size_t)snprintf(names + used, sizeof names - used, "%s %s", any ? "," : "", t->columns[c].name);
        any = true;
        if (used >= sizeof names) break;
    }
    if (any) print_wrapped(stream, names, INDENT, width);
}

void table_print(const struct table *t, FILE *stream, int width) {
    size_t n = t->column_count + 1;
    struct layout l = {0, calloc(n, sizeof(size_t)), calloc(n, sizeof(size_t)), calloc(n, sizeof(bool))};
    const char **texts = calloc(n, sizeof *texts);
    if (l.column && l.width && l.right && texts) {
        fit(t, &l, (size_t)width);
        print_wrapped(stream, t->title, 0, width);
        fputc('\n', stream);
        for (size_t i = 0; i < l.count; i++) texts[i] = t->columns[l.column[i]].heading;
        print_row(&l, texts, true, stream);
        fprintf(stream, "%*s", INDENT, "");
        for (size_t i = 0; i < l.count; i++) {
            for (size_t k = 0; k < l.width[i]; k++) fputc('-', stream);
            fprintf(stream, "%s", i + 1 < l.count ? "  " : "\n");
        }
        for (size_t row = 0; row < table_row_count(t); row++) {
            for (size_t i = 0; i < l.count; i++) texts[i] = t->cells[row * t->column_count + l.column[i]].text;
            print_row(&l, texts, false, stream);
        }
        fputc('\n', stream);
        for (size_t i = 0; i < t->note_count; i++) print_wrapped(stream, t->notes[i], INDENT, width);
        print_columns_left_out(t, &l, stream, width);
    }
    free(l.column), free(l.width), free(l.right), free(texts);
}
