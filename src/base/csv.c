#include "base/csv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/finite.h"
#include "base/text.h"

/* Where the reader stands. */
struct cursor {
    char *at, *end;
    size_t line, column; /* from 1 on */
};

static bool fail_at(const struct csv *c, const struct cursor *p, struct error *err, const char *what) {
    return fail(err, "%s, line %zu, column %zu: %s", c->name, p->line, p->column, what);
}

/* Takes one cell, its quotes removed in place, and moves behind the comma or line end that closes it. *last: whether
 * the row ends here. */
static bool take_cell(const struct csv *c, struct cursor *p, char **cell, bool *last, struct error *err) {
    bool csv = c->separator == ',', quoted = csv && p->at < p->end && *p->at == '"';
    char *to = *cell = p->at + quoted;
    size_t lines = 0;
    for (p->at = to; p->at < p->end; p->at++) {
        if (quoted && *p->at == '"') {
            if (p->at + 1 < p->end && p->at[1] == '"') p->at++;
            else break;
        } else if (quoted) {
            lines += *p->at == '\n';
        } else if (*p->at == c->separator || *p->at == '\n') {
            break;
        } else if (csv && *p->at == '"') {
            return fail_at(c, p, err, "a quote within a cell that does not begin with one");
        }
        *to++ = *p->at;
    }
    if (quoted && p->at == p->end) return fail_at(c, p, err, "the quote is not closed");
    p->at += quoted;
    if (!quoted && to > *cell && to[-1] == '\r') to--;
    if (quoted && p->at < p->end && *p->at == '\r') p->at++;
    if (p->at < p->end && *p->at != c->separator && *p->at != '\n')
        return fail_at(c, p, err, "text between the closing quote and the comma");
    *last = p->at == p->end || *p->at == '\n';
    if (p->at < p->end) p->at++;
    *to = 0; /* at most on the separator, which is behind us */
    p->line += lines + *last;
    return true;
}

static void take_comment(struct csv *c, struct cursor *p) {
    char *line = p->at + 1, *end = memchr(p->at, '\n', (size_t)(p->end - p->at));
    if (!end) end = p->end;
    p->at = end + (end < p->end);
    *end = 0;
    p->line++;
    if (end > line && end[-1] == '\r') end[-1] = 0;
    if (*line == ' ' && strchr(line, ':')) c->facts[c->fact_count++] = line + 1;
}

/* A header or row. The first one says how many cells the others have. */
static bool take_row(struct csv *c, struct cursor *p, size_t row, struct error *err) {
    size_t count = 0, line = p->line;
    for (bool last = false; !last; count++) {
        char *cell;
        p->column = count + 1;
        if (!take_cell(c, p, &cell, &last, err)) return false;
        if (count == (row == 0 ? CSV_MAX_COLUMNS : c->columns))
            return fail(err, "%s, line %zu: over %zu cells", c->name, line, count);
        c->cells[row * c->columns + count] = cell;
    }
    if (row == 0) c->columns = count;
    else if (count < c->columns)
        return fail(err, "%s, line %zu: %zu cells, the header has %zu", c->name, line, count, c->columns);
    return true;
}

static bool parse(struct csv *c, size_t size, struct error *err) {
    struct cursor p = {c->text, c->text + size, 1, 1};
    size_t lines = 1, separators = 0;
    for (size_t i = 0; i < size; i++) lines += c->text[i] == '\n', separators += c->text[i] == c->separator;
    if (memchr(c->text, 0, size)) return fail(err, "%s: a byte of 0: not a table", c->name);
    if (!is_utf8(c->text, size)) return fail(err, "%s: not UTF-8", c->name);
    c->cells = calloc(lines + separators + CSV_MAX_COLUMNS, sizeof *c->cells); /* each cell ends with one of them */
    c->facts = calloc(lines, sizeof *c->facts);
    if (!c->cells || !c->facts) return fail(err, "%s: out of memory", c->name);
    size_t taken = 0;
    while (p.at < p.end) {
        if (*p.at == '#') take_comment(c, &p);
        else if (!take_row(c, &p, taken, err)) return false;
        else taken++;
    }
    if (taken == 0) return fail(err, "%s: no header", c->name);
    c->rows = taken - 1;
    for (size_t i = 0; i < c->columns; i++)
        if (csv_column(c, c->cells[i]) != i) return fail(err, "%s: two columns \"%s\"", c->name, c->cells[i]);
    return true;
}

bool csv_parse(const char *name, const char *text, size_t size, char separator, struct csv *out, struct error *err) {
    *out = (struct csv){.text = malloc(size + 1), .separator = separator};
    text_format(out->name, sizeof out->name, "%s", name);
    if (!out->text) return fail(err, "%s: out of memory", name);
    memcpy(out->text, text, size);
    out->text[size] = 0;
    bool ok = parse(out, size, err);
    if (!ok) csv_free(out);
    return ok;
}

bool csv_read(const char *path, struct csv *out, struct error *err) {
    unsigned char *data;
    size_t size;
    *out = (struct csv){0};
    if (!file_read_all(path, CSV_MAX_BYTES, &data, &size, err)) return false;
    bool ok = csv_parse(path, (char *)data, size, ',', out, err);
    free(data);
    return ok;
}

void csv_free(struct csv *c) {
    free(c->text);
    free(c->cells);
    free(c->facts);
    *c = (struct csv){0};
}

size_t csv_column(const struct csv *c, const char *name) {
    size_t i = 0;
    while (i < c->columns && strcmp(c->cells[i], name) != 0) i++;
    return i;
}

const char *csv_fact(const struct csv *c, const char *name) {
    size_t length = strlen(name);
    for (size_t i = 0; i < c->fact_count; i++)
        if (strncmp(c->facts[i], name, length) == 0 && c->facts[i][length] == ':')
            return c->facts[i] + length + 1 + (c->facts[i][length + 1] == ' ');
    return "";
}

bool csv_number(const char *cell, double *value) {
    char *end;
    if (!*cell || strspn(cell, "+-.0123456789eE") != strlen(cell)) return false;
    *value = strtod(cell, &end);
    return *end == 0 && end != cell && is_finite(*value);
}
