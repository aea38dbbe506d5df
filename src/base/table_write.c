/* Tables for files and programs: Markdown, CSV, JSON. */
#include "base/table.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

static const struct cell *cell_at(const struct table *t, size_t row, size_t column) {
    return &t->cells[row * t->column_count + column];
}

/* ---- Markdown --------------------------------------------------------------------------------------------------- */

/* A bar in a cell would end it, and is written as \|. */
static void write_escaped(const char *text, FILE *stream) {
    for (; *text; text++) {
        if (*text == '|') fputc('\\', stream);
        fputc(*text, stream);
    }
}

static size_t escaped_width(const char *text) {
    size_t width = text_width(text);
    for (; *text; text++) width += *text == '|';
    return width;
}

static void write_padded(const char *text, size_t width, bool right, FILE *stream) {
    size_t used = escaped_width(text), pad = used < width ? width - used : 0;
    if (right) fprintf(stream, "%*s", (int)pad, "");
    write_escaped(text, stream);
    if (!right) fprintf(stream, "%*s", (int)pad, "");
}

/* "accuracy_percent" -> "accuracy percent" */
static void title_of(const char *name, char title[48]) {
    snprintf(title, 48, "%s", name);
    for (char *c = title; *c; c++)
        if (*c == '_') *c = ' ';
}

static void write_grid(const struct table *t, const size_t *widths, FILE *stream) {
    char title[48];
    for (size_t c = 0; c < t->column_count; c++) {
        fputs(c ? " | " : "| ", stream);
        title_of(t->columns[c].name, title);
        write_padded(title, widths[c], table_column_is_numeric(t, c), stream);
    }
    fputs(" |\n", stream);
    for (size_t c = 0; c < t->column_count; c++) {
        fputs(c ? " | " : "| ", stream);
        for (size_t i = 1; i < widths[c]; i++) fputc('-', stream);
        fputc(table_column_is_numeric(t, c) ? ':' : '-', stream);
    }
    fputs(" |\n", stream);
    for (size_t row = 0; row < table_row_count(t); row++) {
        for (size_t c = 0; c < t->column_count; c++) {
            fputs(c ? " | " : "| ", stream);
            write_padded(cell_at(t, row, c)->text, widths[c], table_column_is_numeric(t, c), stream);
        }
        fputs(" |\n", stream);
    }
}

static bool write_markdown(const struct table *t, const struct provenance *p, FILE *stream) {
    size_t *widths = calloc(t->column_count + 1, sizeof *widths);
    if (!widths) return false;
    for (size_t c = 0; c < t->column_count; c++) {
        widths[c] = strlen(t->columns[c].name);
        for (size_t row = 0; row < table_row_count(t); row++) {
            size_t width = escaped_width(cell_at(t, row, c)->text);
            if (width > widths[c]) widths[c] = width;
        }
    }
    fprintf(stream, "# %s\n\n", t->title);
    write_grid(t, widths, stream);
    free(widths);
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

/* A cell as JSON: numbers keep the digits of the other formats, but for the '+' that JSON does not allow. */
static cJSON *cell_to_json(const struct cell *cell) {
    if (!cell->text[0]) return cJSON_CreateNull();
    if (cell->is_number) return cJSON_CreateRaw(cell->text + (cell->text[0] == '+'));
    if (strcmp(cell->text, "true") == 0 || strcmp(cell->text, "false") == 0)
        return cJSON_CreateBool(cell->text[0] == 't');
    return cJSON_CreateString(cell->text);
}

/* Each addition can fail for want of memory, and frees nothing then. */
static bool add_to(cJSON *object, const char *name, cJSON *item) {
    if (object && item && (name ? cJSON_AddItemToObject(object, name, item) : cJSON_AddItemToArray(object, item)))
        return true;
    cJSON_Delete(item);
    return false;
}

static bool add_rows(cJSON *rows, const struct table *t) {
    bool ok = true;
    for (size_t row = 0; ok && row < table_row_count(t); row++) {
        cJSON *object = cJSON_CreateObject();
        ok = add_to(rows, NULL, object);
        for (size_t c = 0; ok && c < t->column_count; c++)
            ok = add_to(object, t->columns[c].name, cell_to_json(cell_at(t, row, c)));
    }
    return ok;
}

bool table_print_json(const struct table *t, const struct provenance *p, FILE *stream, struct error *err) {
    cJSON *root = cJSON_CreateObject(), *rows = cJSON_AddArrayToObject(root, "rows"),
          *notes = cJSON_AddArrayToObject(root, "notes"),
          *facts = p ? cJSON_AddObjectToObject(root, "provenance") : root;
    bool ok = rows && notes && facts && !t->out_of_memory && add_to(root, "title", cJSON_CreateString(t->title)) &&
        add_rows(rows, t);
    for (size_t i = 0; ok && i < t->note_count; i++) ok = add_to(notes, NULL, cJSON_CreateString(t->notes[i]));
    for (size_t i = 0; ok && p && i < p->count; i++)
        ok = add_to(facts, p->facts[i].name, cJSON_CreateString(p->facts[i].value));
    char *text = ok ? cJSON_Print(root) : NULL;
    cJSON_Delete(root);
    if (!text) return fail(err, "out of memory while writing JSON");
    fprintf(stream, "%s\n", text);
    cJSON_free(text);
    return true;
}
