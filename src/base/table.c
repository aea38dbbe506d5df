#include "base/table.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

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

static void add_columns(struct table *t, const char *columns) {
    for (const char *word = columns + strspn(columns, " "); *word; word += strspn(word, " ")) {
        size_t length = strcspn(word, " "), name = strcspn(word, " :-");
        struct column *grown = realloc(t->columns, (t->column_count + 1) * sizeof *grown);
        t->out_of_memory |= !grown;
        if (!grown) return;
        t->columns = grown;
        struct column *c = &grown[t->column_count++];
        bool named = word[name] == ':', hidden = word[name] == '-';
        const char *heading = named ? word + name + 1 : word;
        int heading_length = hidden ? 0 : (int)(named ? length - name - 1 : name);
        snprintf(c->name, sizeof c->name, "%.*s", (int)name, word);
        snprintf(c->heading, sizeof c->heading, "%.*s", heading_length, heading);
        for (char *x = c->heading; *x; x++)
            if (*x == '_') *x = ' ';
        word += length;
    }
}

void table_init(struct table *t, const char *title, const char *columns) {
    *t = (struct table){.title = title};
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
    for (size_t i = 0; i < t->note_count; i++) free(t->notes[i]);
    for (size_t i = 0; i < t->cell_count; i++) free(t->cells[i].text);
    free(t->notes);
    free(t->cells);
    free(t->columns);
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

/* A number that is 0 in all the digits shown is not a negative one. */
static void drop_minus_of_zero(char *text, bool is_signed) {
    if (text[0] != '-' || text[1 + strspn(text + 1, "0.")]) return;
    if (is_signed) text[0] = '+';
    else memmove(text, text + 1, strlen(text));
}

/* ---- one printf conversion at a time -------------------------------------------------------------------------- */

struct conversion {
    char spec[24]; /* "%+.2f" */
    char kind;     /* its last letter */
    bool is_signed;
};

/* A va_list that functions can hand on by address. */
struct arguments {
    va_list list;
};

static PRINTF_LIKE(1, 2) char *formatted(const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *text = line_from(format, args);
    va_end(args);
    return text;
}

/* Reads the conversion at format ('%'), '*' replaced by its argument; returns what comes after it. */
static const char *read_conversion(const char *format, struct conversion *c, struct arguments *args) {
    size_t used = 0;
    *c = (struct conversion){0};
    do {
        if (*format == '*') used += (size_t)snprintf(c->spec + used, 8, "%d", va_arg(args->list, int));
        else c->spec[used++] = *format;
        c->is_signed |= *format == '+';
    } while (*format++ && strchr("+- #0123456789.*hlz", *format) && used < sizeof c->spec - 9);
    c->kind = c->spec[used++] = *format;
    return *format ? format + 1 : format;
}

/* The text of the next argument, which has the type that the conversion names; NULL when there is no memory. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
static char *convert_argument(const struct conversion *c, struct arguments *args, double *value) {
    *value = 0;
    if (c->kind == 's') return formatted(c->spec, va_arg(args->list, const char *));
    if (strchr("fgeE", c->kind)) return formatted(c->spec, *value = va_arg(args->list, double));
    if (c->kind == '%') return formatted("%%");
    if (strstr(c->spec, "ll")) return formatted(c->spec, va_arg(args->list, long long));
    if (strchr(c->spec, 'l')) return formatted(c->spec, va_arg(args->list, long));
    if (strchr(c->spec, 'z')) return formatted(c->spec, va_arg(args->list, size_t));
    return formatted(c->spec, va_arg(args->list, int));
}
#pragma GCC diagnostic pop

/* Appends to a text that may be NULL, which out of memory leaves it. */
static void append(char **text, const char *more, size_t length) {
    size_t used = *text ? strlen(*text) : 0;
    char *longer = *text && more ? realloc(*text, used + length + 1) : NULL;
    if (!longer) {
        free(*text);
        *text = NULL;
        return;
    }
    memcpy(longer + used, more, length);
    longer[used + length] = 0;
    *text = longer;
}

/* One cell; returns the '|' behind it, or the end. */
static const char *fill_cell(struct table *t, const char *format, struct arguments *args) {
    char *text = strdup("");
    int numbers = 0, others = 0;
    bool is_signed = false, finite = true;
    for (format += strspn(format, " "); *format && *format != '|';) {
        size_t plain = strcspn(format, "%|"), kept = plain;
        if (format[plain] != '%') /* spaces before a bar are no text */
            while (kept && format[kept - 1] == ' ') kept--;
        append(&text, format, kept);
        others += kept > 0;
        format += plain;
        if (*format != '%') continue;
        struct conversion c;
        double value;
        format = read_conversion(format, &c, args);
        char *piece = convert_argument(&c, args, &value);
        if (strchr("sc%", c.kind)) others++;
        else numbers++;
        is_signed |= c.is_signed;
        finite &= isfinite(value) != 0;
        append(&text, piece, piece ? strlen(piece) : 0);
        free(piece);
    }
    bool is_number = numbers == 1 && !others;
    if (is_number && text) {
        if (!finite) *text = 0;
        drop_minus_of_zero(text, is_signed);
    }
    add_cell(t, is_number, text);
    return format;
}

void table_row(struct table *t, const char *format, ...) {
    struct arguments args;
    va_start(args.list, format);
    while (*(format = fill_cell(t, format, &args)) == '|') format++;
    va_end(args.list);
}

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
