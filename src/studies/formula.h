/* Formulas over the cells of tables, as the claims of the audit have them (claims.tsv describes the language):
 *   ladder[format=int4/row, method=GPTQ].accuracy_percent - ladder[format=f32, method=-].accuracy_percent */
#ifndef STUDIES_FORMULA_H
#define STUDIES_FORMULA_H

#include "base/csv.h"

enum { FORMULA_MAX_CELLS = 1024, FORMULA_MAX_DEPTH = 16, FORMULA_MAX_TEXT = 1024 };

/* What a formula gives: one number or, where it names several cells, a list of them. */
struct value {
    int count;
    double x[FORMULA_MAX_CELLS]; /* [count] */
    char text[128];              /* of one cell, as it stands in its table; "" for what was computed */
};

/* Where formulas find tables: the table of a name, NULL with the reason in err. */
struct tables {
    const struct csv *(*find)(struct tables *tables, const char *name, struct error *err);
};

/* Evaluates the formula that *at begins with and moves *at behind it: to ';' or to the end. Errors: what is wrong with
 * the formula and where; a table that find does not give; a column that the table does not have, a selection that
 * matches no row; a cell that is no number; lists of different lengths; a division by 0; a result that is no number. */
bool formula_evaluate(const char **at, struct tables *tables, struct value *out, struct error *err);

/* Whether name matches a pattern of letters and '*', which stands for any letters. */
bool pattern_matches(const char *pattern, const char *name);

#endif
