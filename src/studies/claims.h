/* The claims of the lesson and how they are judged. claims.tsv, which is built into the program, has them, the language
 * of their formulas, and what the tolerances mean. */
#ifndef STUDIES_CLAIMS_H
#define STUDIES_CLAIMS_H

#include "studies/formula.h"

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

enum verdict { NOT_REPRODUCED, NOT_MEASURED, REPRODUCED, DIFFERENTLY, VERDICTS };
extern const char *const verdict_names[VERDICTS];

struct finding {
    double value;   /* the number that is judged; NaN: not measured */
    char text[256]; /* as it is shown; or why it is not measured */
    enum verdict verdict;
};

/* The list that is built in. Release with csv_free. Error: out of memory, a line that is no claim. */
bool claims_read(struct csv *out, struct error *err);

/* Computes the formula of a claim from tables and judges it. What cannot be computed, since a table, a row or a number
 * is not there, is a finding as well: not measured. */
void claim_judge(const struct csv *claims, size_t row, struct tables *tables, struct finding *out);

/* "3.8 to 4.2; near: 2 to 8" */
void claim_tolerance(const struct csv *claims, size_t row, char *text, size_t size);

#endif
