#include "base/table.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

struct cell {
    char *text;
    bool is_number;
};

void provenance_add(struct provenance *p, const char *name, const char *format, ...) {
    if (p->count == sizeof p->facts / sizeof p->facts[0]) return;
    struct fact *fact = &p->facts[p->count++];
    fact->name = name;
    va_list args;
    va_start(args, format);
    vsnprintf(fact->value, sizeof fact->value, format, args);
    va_end(args);
    mask_control_characters(fact->value);
}

void table_init(struct table *t, const char *title, const char *const *columns, size_t column_count) {
    *t = (struct table){.title = title, .columns = columns, .column_count = column_count};
}

void table_free(struct table *t) {
    for (size_t i = 0; i < t->note_count; i++) free(t->notes[i]);
    for (size_t i = 0; i < t->cell_count; i++) free(t->cells[i].text);
    free(t->notes);
    free(t->cells);
    *t = (struct table){0};
}

/* One line, whatever a file's or a tensor's name holds; NULL when there is no memory. */
static char *line_from(const char *format, va_list args) {
    char *line;
    if (vasprintf(&line, format, args) < 0) return NULL;
    mask_control_characters(line);
    return line;
}

/* Takes the text over. */
static void add_cell(struct table *t, bool is_number, char *text) {
    if (text && t->cell_count == t->cell_capacity) {
        size_t capacity = t->cell_capacity ? 2 * t->cell_capacity : 64;
        struct cell *cells = realloc(t->cells, capacity * sizeof *cells);
        if (cells) t->cells = cells, t->cell_capacity = capacity;
    }
    if (text && t->cell_count < t->cell_capacity) {
        t->cells[t->cell_count++] = (struct cell){text, is_number};
        return;
    }
    free(text);
    t->out_of_memory = true;
}

void table_text(struct table *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    add_cell(t, false, line_from(format, args));
    va_end(args);
}

/* A number that is 0 in all the digits shown is not a negative one. */
static void drop_minus_of_zero(char *text, bool is_signed) {
    if (!text || text[0] != '-' || text[1 + strspn(text + 1, "0.")]) return;
    if (is_signed) text[0] = '+';
    else memmove(text, text + 1, strlen(text));
}

static PRINTF_LIKE(2, 3) void number_cell(struct table *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *text = line_from(format, args);
    va_end(args);
    drop_minus_of_zero(text, format[1] == '+');
    add_cell(t, true, text);
}

void table_integer(struct table *t, long long value) { number_cell(t, "%lld", value); }

void table_number(struct table *t, double value, int decimals) {
    if (isfinite(value)) number_cell(t, "%.*f", decimals, value);
    else add_cell(t, true, strdup(""));
}

void table_signed(struct table *t, double value, int decimals) {
    if (isfinite(value)) number_cell(t, "%+.*f", decimals, value);
    else add_cell(t, true, strdup(""));
}

void table_empty(struct table *t) { add_cell(t, false, strdup("")); }

void table_note(struct table *t, const char *format, ...) {
    char **notes = realloc(t->notes, (t->note_count + 1) * sizeof *notes);
    if (notes) t->notes = notes;
    va_list args;
    va_start(args, format);
    if (!notes || !(notes[t->note_count] = line_from(format, args))) t->out_of_memory = true;
    else t->note_count++;
    va_end(args);
}

size_t table_row_count(const struct table *t) { return t->column_count ? t->cell_count / t->column_count : 0; }

static const struct cell *cell_at(const struct table *t, size_t row, size_t column) {
    return &t->cells[row * t->column_count + column];
}

/* A column of numbers is set flush right; it may have empty cells, but not only those. */
static bool column_is_numeric(const struct table *t, size_t column) {
    bool any = false;
    for (size_t row = 0; row < table_row_count(t); row++) {
        const struct cell *cell = cell_at(t, row, column);
        if (cell->text[0] && !cell->is_number) return false;
        any |= cell->is_number;
    }
    return any;
}

/* Columns that a terminal shows, a code point at a time: "±" takes two bytes and one column. */
static size_t display_width(const char *text) {
    size_t width = 0;
    for (; *text; text++) width += (*text & 0xc0) != 0x80;
    return width;
}

/* In Markdown a bar in a cell would end it, and is written as \|. */
static size_t written_width(const char *text, bool markdown) {
    size_t width = display_width(text);
    for (; markdown && *text; text++) width += *text == '|';
    return width;
}

static void write_cell(const char *text, bool markdown, FILE *stream) {
    for (; *text; text++) {
        if (markdown && *text == '|') fputc('\\', stream);
        fputc(*text, stream);
    }
}

static size_t column_width(const struct table *t, size_t column, bool markdown) {
    size_t width = display_width(t->columns[column]);
    for (size_t row = 0; row < table_row_count(t); row++) {
        size_t cell_width = written_width(cell_at(t, row, column)->text, markdown);
        if (cell_width > width) width = cell_width;
    }
    return width;
}

/* Titles for people: the snake_case name with spaces. */
static void column_title(const char *name, char *title, size_t size) {
    snprintf(title, size, "%s", name);
    for (char *c = title; *c; c++)
        if (*c == '_') *c = ' ';
}

/* The rows as aligned text; Markdown differs only in its bars and the ruler. */
static void print_grid(const struct table *t, FILE *stream, const char *before, const char *between, const char *after,
                       bool markdown) {
    for (size_t line = 0; line < table_row_count(t) + 2; line++) {
        fputs(before, stream);
        for (size_t column = 0; column < t->column_count; column++) {
            size_t width = column_width(t, column, markdown);
            bool right = column_is_numeric(t, column);
            char title[96];
            column_title(t->columns[column], title, sizeof title);
            if (column) fputs(between, stream);
            if (line == 1) {
                for (size_t i = 0; i < width; i++) fputc(markdown && right && i == width - 1 ? ':' : '-', stream);
                continue;
            }
            const char *text = line == 0 ? title : cell_at(t, line - 2, column)->text;
            size_t used = written_width(text, markdown), pad = used < width ? width - used : 0;
            for (size_t i = 0; right && i < pad; i++) fputc(' ', stream);
            write_cell(text, markdown, stream);
            bool last = column + 1 == t->column_count && !*after;
            for (size_t i = 0; !right && !last && i < pad; i++) fputc(' ', stream);
        }
        fprintf(stream, "%s\n", after);
    }
}

void table_print(const struct table *t, FILE *stream) {
    fprintf(stream, "%s\n\n", t->title);
    print_grid(t, stream, "  ", "  ", "", false);
    if (t->note_count) fputc('\n', stream);
    for (size_t i = 0; i < t->note_count; i++) fprintf(stream, "  %s\n", t->notes[i]);
}

static void write_markdown(const struct table *t, const struct provenance *p, FILE *stream) {
    fprintf(stream, "# %s\n\n", t->title);
    print_grid(t, stream, "| ", " | ", " |", true);
    fputc('\n', stream);
    for (size_t i = 0; i < t->note_count; i++) fprintf(stream, "%s\n\n", t->notes[i]);
    fputs("Provenance:\n", stream);
    for (size_t i = 0; i < p->count; i++) {
        fprintf(stream, "- %s: `", p->facts[i].name);
        for (const char *c = p->facts[i].value; *c; c++) fputc(*c == '`' ? '\'' : *c, stream); /* it would end here */
        fputs("`\n", stream);
    }
}

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
static void write_csv(const struct table *t, const struct provenance *p, FILE *stream) {
    for (size_t column = 0; column < t->column_count; column++)
        fprintf(stream, "%s%s", column ? "," : "", t->columns[column]);
    fputc('\n', stream);
    for (size_t row = 0; row < table_row_count(t); row++)
        for (size_t column = 0; column < t->column_count; column++) {
            if (column) fputc(',', stream);
            write_csv_field(cell_at(t, row, column)->text, stream);
            if (column + 1 == t->column_count) fputc('\n', stream);
        }
    for (size_t i = 0; i < p->count; i++) fprintf(stream, "# %s: %s\n", p->facts[i].name, p->facts[i].value);
}

static bool save_one(const struct table *t, const struct provenance *p, const char *folder, const char *name,
                     const char *ending, struct error *err) {
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%s%s", folder, name, ending) >= (int)sizeof path)
        return fail(err, "%.60s...: the name is too long", folder);
    struct out_file out;
    if (!out_file_open(&out, path, err)) return false;
    (strcmp(ending, ".md") == 0 ? write_markdown : write_csv)(t, p, out.stream);
    return out_file_commit(&out, err);
}

bool table_save(const struct table *t, const struct provenance *p, const char *folder, const char *name,
                struct error *err) {
    if (t->out_of_memory) return fail(err, "%s/%s: out of memory while the table was filled", folder, name);
    return folder_create(folder, err) && save_one(t, p, folder, name, ".md", err) &&
        save_one(t, p, folder, name, ".csv", err);
}

/* A cell as JSON: numbers keep the digits of the other formats, but for the '+' that JSON does not allow. */
static cJSON *cell_to_json(const struct cell *cell) {
    if (!cell->text[0]) return cJSON_CreateNull();
    if (cell->is_number) return cJSON_CreateRaw(cell->text + (cell->text[0] == '+'));
    return cJSON_CreateString(cell->text);
}

bool table_print_json(const struct table *t, const struct provenance *p, FILE *stream, struct error *err) {
    cJSON *root = cJSON_CreateObject(), *rows = cJSON_AddArrayToObject(root, "rows");
    cJSON_AddStringToObject(root, "title", t->title);
    for (size_t row = 0; row < table_row_count(t); row++) {
        cJSON *object = cJSON_CreateObject();
        for (size_t column = 0; column < t->column_count; column++)
            cJSON_AddItemToObject(object, t->columns[column], cell_to_json(cell_at(t, row, column)));
        cJSON_AddItemToArray(rows, object);
    }
    cJSON *notes = cJSON_AddArrayToObject(root, "notes");
    for (size_t i = 0; i < t->note_count; i++) cJSON_AddItemToArray(notes, cJSON_CreateString(t->notes[i]));
    cJSON *facts = p ? cJSON_AddObjectToObject(root, "provenance") : NULL;
    for (size_t i = 0; p && i < p->count; i++) cJSON_AddStringToObject(facts, p->facts[i].name, p->facts[i].value);
    char *text = t->out_of_memory ? NULL : cJSON_Print(root);
    cJSON_Delete(root);
    if (!text) return fail(err, "out of memory while writing JSON");
    fprintf(stream, "%s\n", text);
    cJSON_free(text);
    return true;
}
