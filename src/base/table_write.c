/* Tables for files and programs: Markdown, CSV, JSON. */
#include "base/table.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"

static const struct cell *cell_at(const struct table *t, size_t row, size_t column) {
    return &t->cells[row * t->column_count + column];
}

/* ---- Markdown --------------------------------------------------------------------------------------------------- */

static size_t markdown_width(const char *text) {
    size_t width = text_width(text);
    for (; *text; text++) width += *text == '|';
    return width;
}

/* A bar in a cell would end it, and is written as \|. Titles have spaces for the underscores of their columns. */
static void write_markdown_cell(const char *text, bool is_title, size_t width, bool right, FILE *stream) {
    int pad = (int)(width - markdown_width(text));
    fprintf(stream, "| %*s", right ? pad : 0, "");
    for (; *text; text++) {
        if (*text == '|') fputc('\\', stream);
        fputc(is_title && *text == '_' ? ' ' : *text, stream);
    }
    fprintf(stream, "%*s ", right ? 0 : pad, "");
}

struct layout {
    size_t width;
    bool right;
};

static void write_grid(const struct table *t, const struct layout *l, FILE *stream) {
    for (size_t c = 0; c < t->column_count; c++)
        write_markdown_cell(t->columns[c].name, true, l[c].width, l[c].right, stream);
    fputs("|\n", stream);
    for (size_t c = 0; c < t->column_count; c++) {
        fputs("| ", stream);
        for (size_t i = 1; i < l[c].width; i++) fputc('-', stream);
        fputs(l[c].right ? ": " : "- ", stream);
    }
    fputs("|\n", stream);
    for (size_t row = 0; row < table_row_count(t); row++) {
        for (size_t c = 0; c < t->column_count; c++)
            write_markdown_cell(cell_at(t, row, c)->text, false, l[c].width, l[c].right, stream);
        fputs("|\n", stream);
    }
}

static bool write_markdown(const struct table *t, const struct provenance *p, FILE *stream) {
    struct layout *l = calloc(t->column_count + 1, sizeof *l);
    if (!l) return false;
    for (size_t c = 0; c < t->column_count; c++) {
        l[c] = (struct layout){strlen(t->columns[c].name), table_column_is_numeric(t, c)};
        for (size_t row = 0; row < table_row_count(t); row++) {
            size_t width = markdown_width(cell_at(t, row, c)->text);
            if (width > l[c].width) l[c].width = width;
        }
    }
    fprintf(stream, "# %s\n\n", t->title);
    write_grid(t, l, stream);
    free(l);
    fputc('\n', stream);
    for (size_t i = 0; i < t->note_count; i++) fprintf(stream, "%s\n\n", t->notes[i]);
    fputs("Provenance:\n", stream);
    for (size_t i = 0; i < p->count; i++) {
        fprintf(stream, "- %s: `", p->facts[i].name);
        for (const char *c = p->facts[i].value; *c; c++) fputc(*c == '`' ? '\'' : *c, stream); /* it would end here */
        fputs("`\n", stream);
    }
    return true;
}

/* ---- CSV -------------------------------------------------------------------------------------------------------- */

/* '#' begins a comment, see write_csv, unless it is quoted. */
static void write_csv_field(const char *text, FILE *stream) {
    if (!strpbrk(text, ",\"#")) {
        fputs(text, stream);
        return;
    }
    fputc('"', stream);
    for (; *text; text++) fprintf(stream, *text == '"' ? "\"\"" : "%c", *text);
    fputc('"', stream);
}

/* Provenance lines begin with '#': pandas.read_csv(..., comment="#") and numpy skip them. */
static bool write_csv(const struct table *t, const struct provenance *p, FILE *stream) {
    for (size_t c = 0; c < t->column_count; c++) fprintf(stream, "%s%s", c ? "," : "", t->columns[c].name);
    fputc('\n', stream);
    for (size_t row = 0; row < table_row_count(t); row++)
        for (size_t c = 0; c < t->column_count; c++) {
            if (c) fputc(',', stream);
            write_csv_field(cell_at(t, row, c)->text, stream);
            if (c + 1 == t->column_count) fputc('\n', stream);
        }
    for (size_t i = 0; i < p->count; i++) fprintf(stream, "# %s: %s\n", p->facts[i].name, p->facts[i].value);
    return true;
}

static bool save_one(const struct table *t, const struct provenance *p, const char *folder, const char *name,
                     const char *ending, struct error *err) {
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%s%s", folder, name, ending) >= (int)sizeof path)
        return fail(err, "%.60s...: the name is too long", folder);
    struct out_file out;
    if (!out_file_open(&out, path, err)) return false;
    if ((strcmp(ending, ".md") == 0 ? write_markdown : write_csv)(t, p, out.stream)) return out_file_commit(&out, err);
    out_file_discard(&out);
    return fail(err, "%s: out of memory", path);
}

bool table_save(const struct table *t, const struct provenance *p, const char *folder, const char *name,
                struct error *err) {
    if (t->out_of_memory) return fail(err, "%s/%s: out of memory while the table was filled", folder, name);
    return folder_create(folder, err) && save_one(t, p, folder, name, ".md", err) &&
        save_one(t, p, folder, name, ".csv", err);
}

/* ---- JSON ------------------------------------------------------------------------------------------------------- */

/* All text in a table is UTF-8 without control characters: see mask_control_characters. */
static void write_json_text(const char *text, FILE *stream) {
    fputc('"', stream);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') fputc('\\', stream);
        fputc(*text, stream);
    }
    fputc('"', stream);
}

/* Numbers keep the digits of the other formats, but for the '+' that JSON does not allow. */
static void write_json_cell(const struct cell *cell, FILE *stream) {
    bool is_bool = strcmp(cell->text, "true") == 0 || strcmp(cell->text, "false") == 0;
    if (!cell->text[0]) fputs("null", stream);
    else if (cell->is_number || is_bool) fputs(cell->text + (cell->text[0] == '+'), stream);
    else write_json_text(cell->text, stream);
}

bool table_print_json(const struct table *t, const struct provenance *p, FILE *stream, struct error *err) {
    if (t->out_of_memory) return fail(err, "out of memory while the table was filled");
    fputs("{\n\t\"title\": ", stream);
    write_json_text(t->title, stream);
    fputs(",\n\t\"rows\": [", stream);
    for (size_t row = 0; row < table_row_count(t); row++)
        for (size_t c = 0; c < t->column_count; c++) {
            fprintf(stream, "%s\"%s\": ", c ? ", " : row ? "},\n\t\t{" : "\n\t\t{", t->columns[c].name);
            write_json_cell(cell_at(t, row, c), stream);
        }
    fputs(table_row_count(t) ? "}\n\t],\n\t\"notes\": [" : "],\n\t\"notes\": [", stream);
    for (size_t i = 0; i < t->note_count; i++) {
        fputs(i ? ",\n\t\t" : "\n\t\t", stream);
        write_json_text(t->notes[i], stream);
    }
    fputs("],\n\t\"provenance\": {", stream);
    for (size_t i = 0; p && i < p->count; i++) {
        fprintf(stream, "%s\"%s\": ", i ? ",\n\t\t" : "\n\t\t", p->facts[i].name);
        write_json_text(p->facts[i].value, stream);
    }
    fputs("}\n}\n", stream);
    return true;
}
