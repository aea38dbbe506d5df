/* The parts of the audit: formulas over tables, the claims that they judge, and the tables "name value" that the audit
 * itself writes, for claims that no study has numbers for. claims.tsv, which is built into the program, has the claims,
 * the language of their formulas, and what the tolerances mean. */
#ifndef STUDIES_AUDIT_H
#define STUDIES_AUDIT_H

#include "base/csv.h"
#include "base/table.h"
#include "data/dataset.h"

/* ---- formulas: ladder[format=int4/row, method=GPTQ].accuracy_percent - ladder[format=f32].accuracy_percent --------
 */

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

/* ---- claims ------------------------------------------------------------------------------------------------------ */

/* The columns of claims.tsv. */
enum {
    CLAIM_ID,
    CLAIM_PART,
    CLAIM_CLAIM,
    CLAIM_CLAIMED,
    CLAIM_FORMULA,
    CLAIM_SHOWN,
    CLAIM_EXACT,
    CLAIM_NEAR,
    CLAIM_WHY
};

enum verdict { NOT_REPRODUCED, NOT_MEASURED, NOT_TESTED, REPRODUCED, DIFFERENTLY, VERDICTS };
extern const char *const verdict_names[VERDICTS];

struct finding {
    double value;   /* the number that is judged; NaN: not measured */
    char text[256]; /* as it is shown; or why it is not measured */
    enum verdict verdict;
};

/* The list that is built in. Release with csv_free. Error: out of memory, a line that is no claim. */
bool claims_read(struct csv *out, struct error *err);

/* Computes the formula of a claim from tables and judges it. What cannot be computed, since a table, a row or a number
 * is not there, is a finding as well: not measured. Not tested here: there is no band, the formula shows what comes
 * near. */
void claim_judge(const struct csv *claims, size_t row, struct tables *tables, struct finding *out);

/* "3.8 to 4.2; near: 2 to 8" */
void claim_tolerance(const struct csv *claims, size_t row, char *text, size_t size);

/* ---- the audit's own tables -------------------------------------------------------------------------------------- */

/* Worked examples, number formats and the network of the PyTorch listing, through this program's own functions. The
 * model files that are measured join the set of files that is begun; folder, data: not looked at. Errors: a file that
 * cannot be written, out of memory. */
bool audit_arithmetic(struct table *t, const char *folder, const struct dataset *data, struct error *err);

/* Weights and logits of the networks that the exercise left in folder, on the test images. Errors: a model that cannot
 * be read or does not fit the data, out of memory. */
bool audit_networks(struct table *t, const char *folder, const struct dataset *data, struct error *err);

#endif
