/* Tables for people, within the width of a terminal; for files, as Markdown and CSV; for programs, as JSON. */
#include "base/table.h"

#include <stdlib.h>
#include <string.h>

#include "base/csv.h"
#include "base/file.h"
#include "base/json.h"

static const struct cell *cell_at(const struct table *t, size_t row, size_t column) {
    return &t->cells[row * t->column_count + column];
}

/* The heading of the group that a row begins, or NULL. */
static const char *group_at(const struct table *t, size_t row) {
    for (size_t i = 0; i < t->group_count; i++)
        if (t->groups[i].row == row) return t->groups[i].heading;
    return NULL;
}

bool table_column_is_numeric(const struct table *t, size_t column) {
    bool any = false;
    for (size_t row = 0; row < table_row_count(t); row++) {
        const struct cell *cell = cell_at(t, row, column);
        if (cell->text[0] && !cell->is_number) return false;
        any |= cell->is_number;
    }
    return any;
}

/* ---- the terminal ------------------------------------------------------------------------------------------------ */

enum { NARROWEST = 40, NARROWEST_TEXT = 14, NARROWEST_WORDS = 10, INDENT = 2, GAP = 2 };

/* A column that is shown. */
struct shown {
    size_t column, width;
    bool right;       /* flush right */
    const char *text; /* what print_row has still to print of its cell */
};

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static size_t longest_word(const char *text) {
    size_t longest = 0;
    for (size_t end; *text; text += end + strspn(text + end, " ")) {
        end = strcspn(text, " ");
        longest = larger(longest, text_width(text) - text_width(text + end));
    }
    return longest;
}

/* The most that measure (text_width, longest_word) finds in a column. */
static size_t widest_cell(const struct table *t, size_t column, size_t (*measure)(const char *)) {
    size_t widest = 0;
    for (size_t row = 0; row < table_row_count(t); row++)
        widest = larger(widest, measure(t->cells[row * t->column_count + column].text));
    return widest;
}

static size_t total_width(const struct shown *s, size_t count) {
    size_t total = INDENT;
    for (size_t i = 0; i < count; i++) total += s[i].width + (i ? GAP : 0);
    return total;
}

/* The widest column of texts that may lose a letter: no word's, with whole_words. NULL when there is none. */
static struct shown *widest_text(const struct table *t, struct shown *s, size_t count, bool whole_words) {
    struct shown *widest = NULL;
    for (size_t i = 0; i < count; i++) {
        size_t words = whole_words ? widest_cell(t, s[i].column, longest_word) : NARROWEST_TEXT;
        if (!s[i].right && s[i].width > larger(words, NARROWEST_WORDS) && (!widest || s[i].width > widest->width))
            widest = &s[i];
    }
    return widest;
}

/* Where it is too wide, headings are broken into words; then the widest texts give way, between words as long as that
 * helps; then the last columns, whose room makes broken words whole. Returns how many are shown. */
static size_t fit(const struct table *t, struct shown *s, size_t room) {
    size_t count = 0;
    for (size_t c = 0; c < t->column_count; c++) {
        size_t heading = text_width(t->columns[c].heading), cells = widest_cell(t, c, text_width);
        if (heading) s[count++] = (struct shown){c, larger(cells, heading), table_column_is_numeric(t, c), NULL};
    }
    bool too_wide = total_width(s, count) > room;
    for (size_t i = 0; too_wide && i < count; i++)
        s[i].width = larger(widest_cell(t, s[i].column, text_width), longest_word(t->columns[s[i].column].heading));
    for (int whole_words = 1; whole_words >= 0; whole_words--)
        for (struct shown *w; total_width(s, count) > room && (w = widest_text(t, s, count, whole_words));) w->width--;
    while (count > 1 && total_width(s, count) > room) count--;
    for (size_t i = 0; i < count; i++)
        for (size_t word = s[i].right ? 0 : widest_cell(t, s[i].column, longest_word);
             s[i].width < word && total_width(s, count) < room;)
            s[i].width++;
    return count;
}

/* ---- printing --------------------------------------------------------------------------------------------------- */

static const char *next_line(const char *text, size_t width) {
    text += line_length(text, width);
    return text + strspn(text, " ");
}

static size_t lines_of(const struct shown *s) {
    size_t lines = 0;
    for (const char *rest = s->text; *rest; lines++) rest = next_line(rest, s->width);
    return lines;
}

/* One row of texts, as many lines as the longest needs; at the bottom of them for headings. */
static void print_row(struct shown *s, size_t count, bool at_bottom, FILE *stream) {
    size_t lines = 1;
    for (size_t i = 0; i < count; i++) lines = larger(lines, lines_of(&s[i]));
    for (; lines; lines--) {
        size_t owed = INDENT; /* spaces, not printed at the end of a line */
        for (size_t i = 0; i < count; i++, owed += GAP) {
            bool waits = at_bottom && lines_of(&s[i]) < lines;
            const char *text = waits ? "" : s[i].text;
            size_t length = *text ? line_length(text, s[i].width) : 0, pad = s[i].width;
            for (size_t at = 0; at < length; at++) pad -= (text[at] & 0xc0) != 0x80;
            if (length) {
                fprintf(stream, "%*s%.*s", (int)(owed + (s[i].right ? pad : 0)), "", (int)length, text);
                owed = s[i].right ? 0 : pad;
                s[i].text = next_line(text, s[i].width);
            } else owed += pad;
        }
        fputc('\n', stream);
    }
}

static void print_rule(const struct shown *s, size_t count, FILE *stream) {
    for (size_t i = 0; i < count; i++) {
        fprintf(stream, "%*s", i ? GAP : INDENT, "");
        for (size_t k = 0; k < s[i].width; k++) fputc('-', stream);
    }
    fputc('\n', stream);
}

static void print_columns_left_out(const struct table *t, const struct shown *s, size_t count, FILE *stream,
                                   int width) {
    char names[4096] = "Also in the files and with --json:";
    size_t all = strlen(names), used = all;
    for (size_t c = 0, i = 0; c < t->column_count && used < sizeof names; c++) {
        if (i < count && s[i].column == c) i++;
        else
            used += (size_t)snprintf(names + used, sizeof names - used, "%s %s", used > all ? "," : "",
                                     t->columns[c].name);
    }
    if (used > all) print_wrapped(stream, names, INDENT, width);
}

bool table_print(const struct table *t, FILE *stream, int width, struct error *err) {
    struct shown *s = t->out_of_memory ? NULL : calloc(t->column_count + 1, sizeof *s);
    if (!s) return fail(err, "out of memory for the table");
    if (width < NARROWEST) width = NARROWEST;
    size_t count = fit(t, s, (size_t)width);
    print_wrapped(stream, t->title, 0, width);
    fputc('\n', stream);
    for (size_t i = 0; i < count; i++) s[i].text = t->columns[s[i].column].heading;
    print_row(s, count, true, stream);
    print_rule(s, count, stream);
    for (size_t row = 0; row < table_row_count(t); row++) {
        if (group_at(t, row)) fprintf(stream, "%s  %s\n", row ? "\n" : "", group_at(t, row));
        for (size_t i = 0; i < count; i++) s[i].text = t->cells[row * t->column_count + s[i].column].text;
        print_row(s, count, false, stream);
    }
    fputc('\n', stream);
    for (size_t i = 0; i < t->note_count; i++)
        if (!t->notes[i].in_files_only) print_wrapped(stream, t->notes[i].text, INDENT, width);
    print_columns_left_out(t, s, count, stream, width);
    free(s);
    return true;
}

/* ---- Markdown --------------------------------------------------------------------------------------------------- */

/* Titles have spaces for the underscores of their columns. */
static void write_markdown_cell(const char *text, size_t width, bool right, FILE *stream) {
    int pad = (int)(width - text_markdown(text, true, NULL));
    fprintf(stream, "| %*s", right ? pad : 0, "");
    text_markdown(text, true, stream);
    fprintf(stream, "%*s ", right ? 0 : pad, "");
}

struct layout {
    size_t width;
    bool right;
};

static void write_grid(const struct table *t, const struct layout *l, FILE *stream) {
    for (size_t c = 0; c < t->column_count; c++) {
        char title[sizeof t->columns[c].name];
        strcpy(title, t->columns[c].name);
        for (char *x = title; *x; x++)
            if (*x == '_') *x = ' ';
        write_markdown_cell(title, l[c].width, l[c].right, stream);
    }
    fputs("|\n", stream);
    for (size_t c = 0; c < t->column_count; c++) {
        fputs("| ", stream);
        for (size_t i = 1; i < l[c].width; i++) fputc('-', stream);
        fputs(l[c].right ? ": " : "- ", stream);
    }
    fputs("|\n", stream);
    for (size_t row = 0; row < table_row_count(t); row++) {
        if (group_at(t, row)) {
            fprintf(stream, "| **%s** ", group_at(t, row));
            for (size_t c = 1; c < t->column_count; c++) fputs("| ", stream);
            fputs("|\n", stream);
        }
        for (size_t c = 0; c < t->column_count; c++)
            write_markdown_cell(cell_at(t, row, c)->text, l[c].width, l[c].right, stream);
        fputs("|\n", stream);
    }
}

static bool write_markdown(const struct table *t, const struct provenance *p, FILE *stream) {
    struct layout *l = calloc(t->column_count + 1, sizeof *l);
    if (!l) return false;
    for (size_t c = 0; c < t->column_count; c++) {
        l[c] = (struct layout){strlen(t->columns[c].name), table_column_is_numeric(t, c)};
        for (size_t row = 0; row < table_row_count(t); row++) {
            size_t width = text_markdown(cell_at(t, row, c)->text, true, NULL);
            if (width > l[c].width) l[c].width = width;
        }
    }
    fputs("# ", stream);
    text_markdown(t->title, false, stream);
    fputs("\n\n", stream);
    write_grid(t, l, stream);
    free(l);
    fputc('\n', stream);
    for (size_t i = 0; i < t->note_count; i++) {
        if (t->notes[i].text[0] && strchr("#>+-=", t->notes[i].text[0]))
            fputc('\\', stream); /* a heading, quotation, list */
        text_markdown(t->notes[i].text, false, stream);
        fputs("\n\n", stream);
    }
    fputs("Provenance:\n", stream);
    for (size_t i = 0; i < p->count; i++) {
        fprintf(stream, "- %s: `", p->facts[i].name);
        for (const char *c = p->facts[i].value; *c; c++) fputc(*c == '`' ? '\'' : *c, stream); /* it would end here */
        fputs("`\n", stream);
    }
    return true;
}

/* ---- CSV -------------------------------------------------------------------------------------------------------- */

/* Provenance lines begin with '#': pandas.read_csv(..., comment="#") and numpy skip them. */
static bool write_csv(const struct table *t, const struct provenance *p, FILE *stream) {
    for (size_t c = 0; c < t->column_count; c++) fprintf(stream, "%s%s", c ? "," : "", t->columns[c].name);
    fputc('\n', stream);
    for (size_t row = 0; row < table_row_count(t); row++)
        for (size_t c = 0; c < t->column_count; c++) {
            if (c) fputc(',', stream);
            text_csv(cell_at(t, row, c)->text, t->columns[c].signs, stream);
            if (c + 1 == t->column_count) fputc('\n', stream);
        }
    for (size_t i = 0; i < p->count; i++) {
        fprintf(stream, "# %s: ", p->facts[i].name);
        text_csv_comment(p->facts[i].value, stream);
        fputc('\n', stream);
    }
    return true;
}

/* Whether a reader of the file gets the rows back. */
static bool reads_back(const struct table *t, const char *path, struct error *err) {
    struct csv c;
    if (!csv_read(path, &c, err)) return fail_in(err, "not written, since it could not be read");
    bool same = c.columns == t->column_count && c.rows == table_row_count(t);
    csv_free(&c);
    return same || fail(err, "%s: not written, since it would be read as another table", path);
}

static bool save_one(const struct table *t, const struct provenance *p, const char *folder, const char *name,
                     const char *ending, struct error *err) {
    bool csv = strcmp(ending, ".csv") == 0;
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%s%s", folder, name, ending) >= (int)sizeof path)
        return fail(err, "%.60s...: the name is too long", folder);
    struct out_file out;
    if (!out_file_open(&out, path, err)) return false;
    bool ok = (csv ? write_csv : write_markdown)(t, p, out.stream) || fail(err, "%s: out of memory", path);
    bool whole = fflush(out.stream) == 0 && out.temporary[0]; /* else out_file_commit tells, or nothing can be read */
    if (ok && csv && whole) ok = reads_back(t, out.temporary, err);
    if (ok) return out_file_commit(&out, err);
    out_file_discard(&out);
    return false;
}

bool table_save(const struct table *t, const struct provenance *p, const char *folder, const char *name,
                struct error *err) {
    if (t->out_of_memory) return fail(err, "%s/%s: out of memory while the table was filled", folder, name);
    return folder_create(folder, err) && save_one(t, p, folder, name, ".md", err) &&
        save_one(t, p, folder, name, ".csv", err);
}

/* ---- JSON ------------------------------------------------------------------------------------------------------- */

/* Numbers keep the digits of the other formats, but for the '+' that JSON does not allow. */
static void write_json_cell(const struct cell *cell, FILE *stream) {
    bool is_bool = strcmp(cell->text, "true") == 0 || strcmp(cell->text, "false") == 0;
    if (!cell->text[0]) fputs("null", stream);
    else if (cell->is_number || is_bool) fputs(cell->text + (cell->text[0] == '+'), stream);
    else text_json(cell->text, stream);
}

bool table_print_json_members(const struct table *t, const struct provenance *p, FILE *stream, struct error *err) {
    if (t->out_of_memory) return fail(err, "out of memory while the table was filled");
    fputs("{\n\t\"title\": ", stream);
    text_json(t->title, stream);
    fputs(",\n\t\"rows\": [", stream);
    for (size_t row = 0; row < table_row_count(t); row++)
        for (size_t c = 0; c < t->column_count; c++) {
            fprintf(stream, "%s\"%s\": ", c ? ", " : row ? "},\n\t\t{" : "\n\t\t{", t->columns[c].name);
            write_json_cell(cell_at(t, row, c), stream);
        }
    fputs(table_row_count(t) ? "}\n\t],\n\t\"notes\": [" : "],\n\t\"notes\": [", stream);
    for (size_t i = 0; i < t->note_count; i++) {
        fputs(i ? ",\n\t\t" : "\n\t\t", stream);
        text_json(t->notes[i].text, stream);
    }
    fputs("],\n\t\"provenance\": {", stream);
    for (size_t i = 0; p && i < p->count; i++) {
        fprintf(stream, "%s\"%s\": ", i ? ",\n\t\t" : "\n\t\t", p->facts[i].name);
        text_json(p->facts[i].value, stream);
    }
    fputc('}', stream);
    return true;
}

bool table_print_json(const struct table *t, const struct provenance *p, FILE *stream, struct error *err) {
    return table_print_json_members(t, p, stream, err) && (fputs("\n}\n", stream), true);
}
