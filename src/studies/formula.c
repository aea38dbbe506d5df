#include "studies/audit.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/stats.h"
#include "base/finite.h"

struct parser {
    const char *start, *at;
    struct tables *tables;
    struct error *err;
    int depth;
};

enum { WORD = 128 };

static bool parse_sum(struct parser *p, struct value *out);

static bool fail_here(const struct parser *p, const char *expected) {
    return fail(p->err, "formula \"%.200s\": %s expected at \"%.20s\"", p->start, expected, p->at);
}

static void skip_spaces(struct parser *p) { p->at += strspn(p->at, " "); }

/* Takes the character, and spaces around it, where it comes next. */
static bool take(struct parser *p, char c) {
    skip_spaces(p);
    if (*p->at != c) return false;
    p->at++;
    skip_spaces(p);
    return true;
}

/* A word up to any of the characters in ends, or whatever stands in single quotes. */
static bool take_word(struct parser *p, const char *ends, char word[WORD]) {
    skip_spaces(p);
    bool quoted = *p->at == '\'';
    const char *from = p->at + quoted;
    size_t length = strcspn(from, quoted ? "'" : ends);
    if (length >= WORD || (quoted && !from[length])) return fail_here(p, "a word of under 128 letters");
    p->at = from + length + quoted;
    while (!quoted && length > 0 && from[length - 1] == ' ') length--;
    memcpy(word, from, length);
    word[length] = 0;
    skip_spaces(p);
    return true;
}

/* ---- cells ------------------------------------------------------------------------------------------------------- */

bool pattern_matches(const char *pattern, const char *name) {
    if (*pattern == '*') return pattern_matches(pattern + 1, name) || (*name && pattern_matches(pattern, name + 1));
    return *pattern == *name && (!*name || pattern_matches(pattern + 1, name + 1));
}

/* COLUMN=PATTERN, COLUMN!=PATTERN, ...]: keeps those of the rows where all hold. */
static bool filter_rows(struct parser *p, const struct csv *c, bool *keep) {
    char name[WORD], pattern[WORD];
    do {
        if (!take_word(p, "=!],", name)) return false;
        size_t column = csv_column(c, name);
        if (column == c->columns) return fail(p->err, "%s has no column \"%s\"", c->name, name);
        bool equal = !take(p, '!');
        if (!take(p, '=')) return fail_here(p, "'='");
        if (!take_word(p, "],", pattern)) return false;
        for (size_t row = 0; row < c->rows; row++)
            keep[row] = keep[row] && pattern_matches(pattern, csv_cell(c, row, column)) == equal;
    } while (take(p, ','));
    return take(p, ']') || fail_here(p, "']'");
}

/* The cells of the columns of a name, column after column. */
static bool take_cells(struct parser *p, const struct csv *c, const bool *keep, const char *name, struct value *out) {
    bool found = false;
    out->count = 0;
    for (size_t column = 0; column < c->columns; column++) {
        if (!pattern_matches(name, csv_heading(c, column))) continue;
        found = true;
        for (size_t row = 0; row < c->rows; row++) {
            if (!keep[row]) continue;
            if (out->count == FORMULA_MAX_CELLS) return fail(p->err, "%s: over %d cells", c->name, out->count);
            double *x = &out->x[out->count++];
            if (!csv_number(csv_cell(c, row, column), x)) *x = NAN; /* wrong to compute with, but not to show */
            snprintf(out->text, sizeof out->text, "%s", out->count == 1 ? csv_cell(c, row, column) : "");
        }
    }
    return found || fail(p->err, "%s has no column \"%s\"", c->name, name);
}

/* TABLE[CONDITIONS].COLUMN, from '[' on */
static bool parse_cells(struct parser *p, const char *table, struct value *out) {
    const char *from = p->at;
    char column[WORD];
    const struct csv *c = p->tables->find(p->tables, table, p->err);
    bool *keep = c ? malloc(c->rows + 1) : NULL;
    if (!c) return false;
    if (!keep) return fail(p->err, "%s: out of memory", c->name);
    memset(keep, true, c->rows);
    bool ok = (!take(p, '[') || filter_rows(p, c, keep)) && (take(p, '.') || fail_here(p, "'.' and a column")) &&
        take_word(p, " +-*/(),;", column) && take_cells(p, c, keep, column, out);
    free(keep);
    return ok && (out->count > 0 || fail(p->err, "%s has no row %.*s", c->name, (int)(p->at - from), from));
}

/* ---- functions --------------------------------------------------------------------------------------------------- */

static double product_root(const struct value *v) {
    double sum = 0;
    for (int i = 0; i < v->count; i++) sum += log(v->x[i]);
    return exp(sum / v->count);
}

static bool all_numbers(struct parser *p, const struct value *v) {
    for (int i = 0; i < v->count; i++)
        if (!is_finite(v->x[i])) return fail(p->err, "\"%s\" is no number, in %.200s", v->text, p->start);
    return true;
}

/* Of one number from all that stand in the brackets, or, the last three, of each of them. */
static bool apply(struct parser *p, const char *name, struct value *v) {
    struct sums sums = {0};
    if (!all_numbers(p, v)) return false;
    for (int i = 0; i < v->count; i++) sums_add(&sums, v->x[i]);
    const struct {
        const char *name;
        double result;
    } reductions[] = {{"min", sums.lowest},
                      {"max", sums.highest},
                      {"sum", sums.sum},
                      {"mean", sums_mean(&sums)},
                      {"sd", sums_deviation(&sums)},
                      {"se", sums_deviation(&sums) / sqrt(v->count)},
                      {"geomean", product_root(v)},
                      {"count", v->count}};
    *v->text = 0;
    for (size_t i = 0; i < sizeof reductions / sizeof reductions[0]; i++)
        if (strcmp(name, reductions[i].name) == 0) {
            v->count = 1;
            v->x[0] = reductions[i].result;
            return true;
        }
    double (*each)(double) = strcmp(name, "abs") == 0 ? fabs
        : strcmp(name, "sqrt") == 0                   ? sqrt
        : strcmp(name, "log10") == 0                  ? log10
                                                      : NULL;
    if (!each) return fail(p->err, "formula \"%.200s\": there is no function %s", p->start, name);
    for (int i = 0; i < v->count; i++) v->x[i] = each(v->x[i]);
    return true;
}

static bool parse_call(struct parser *p, const char *name, struct value *out) {
    struct value more;
    if (!parse_sum(p, out)) return false;
    while (take(p, ',')) {
        if (!parse_sum(p, &more)) return false;
        if (out->count + more.count > FORMULA_MAX_CELLS) return fail(p->err, "over %d cells", FORMULA_MAX_CELLS);
        memcpy(out->x + out->count, more.x, (size_t)more.count * sizeof more.x[0]);
        out->count += more.count;
        *out->text = 0;
    }
    return take(p, ')') ? apply(p, name, out) : fail_here(p, "')'");
}

/* ---- arithmetic -------------------------------------------------------------------------------------------------- */

/* a (+-*)/ b, element by element; one number goes with each of a list. */
static bool combine(struct parser *p, struct value *a, char operation, const struct value *b) {
    if (!all_numbers(p, a) || !all_numbers(p, b)) return false;
    if (a->count != b->count && a->count != 1 && b->count != 1)
        return fail(p->err, "%d cells and %d do not go together, in %.200s", a->count, b->count, p->start);
    for (; a->count < b->count; a->count++) a->x[a->count] = a->x[0];
    *a->text = 0;
    for (int i = 0; i < a->count; i++) {
        double y = b->x[b->count == 1 ? 0 : i];
        if (operation == '/' && y == 0) return fail(p->err, "a division by 0, in %.200s", p->start);
        a->x[i] = operation == '+' ? a->x[i] + y
            : operation == '-'     ? a->x[i] - y
            : operation == '*'     ? a->x[i] * y
                                   : a->x[i] / y;
    }
    return true;
}

/* a number | -a | (a) | FUNCTION(a, ...) | TABLE[...].COLUMN */
static bool parse_factor(struct parser *p, struct value *out) {
    static const struct value minus = {.count = 1, .x = {-1}};
    char name[WORD];
    skip_spaces(p);
    if (take(p, '-')) return parse_factor(p, out) && combine(p, out, '*', &minus);
    if (take(p, '(')) return parse_sum(p, out) && (take(p, ')') || fail_here(p, "')'"));
    if (isdigit((unsigned char)*p->at)) {
        char *end;
        out->count = 1;
        out->x[0] = strtod(p->at, &end);
        *out->text = 0;
        p->at = end;
        return true;
    }
    size_t length = strspn(p->at, "abcdefghijklmnopqrstuvwxyz0123456789_-");
    if (length == 0 || length >= sizeof name) return fail_here(p, "a number, a table or a function");
    snprintf(name, sizeof name, "%.*s", (int)length, p->at);
    p->at += length;
    return take(p, '(') ? parse_call(p, name, out) : parse_cells(p, name, out);
}

/* Operands with any of the operators between them, from left to right. */
static bool parse_chain(struct parser *p, const char *operators, bool (*operand)(struct parser *, struct value *),
                        struct value *out) {
    struct value right;
    if (!operand(p, out)) return false;
    for (skip_spaces(p); *p->at && strchr(operators, *p->at); skip_spaces(p)) {
        char operation = *p->at++;
        if (!operand(p, &right) || !combine(p, out, operation, &right)) return false;
    }
    return true;
}

static bool parse_product(struct parser *p, struct value *out) { return parse_chain(p, "*/", parse_factor, out); }

static bool parse_sum(struct parser *p, struct value *out) {
    if (++p->depth > FORMULA_MAX_DEPTH) return fail_here(p, "fewer brackets");
    bool ok = parse_chain(p, "+-", parse_product, out);
    p->depth--;
    return ok;
}

bool formula_evaluate(const char **at, struct tables *tables, struct value *out, struct error *err) {
    struct parser p = {.start = *at + strspn(*at, " "), .at = *at, .tables = tables, .err = err};
    if (!parse_sum(&p, out)) return false;
    if (*p.at && *p.at != ';') return fail_here(&p, "an operator or the end");
    *at = p.at;
    return true;
}
