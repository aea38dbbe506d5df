#include "studies/audit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/finite.h"

static const char claims_text[] =
#include "claims.inc" /* claims.tsv as a string: see the Makefile */
    ;

const char *const verdict_names[VERDICTS] = {"does not reproduce", "not measured", "not tested here", "reproduced",
                                             "reproduced with a difference"};

/* Of a claim that nothing here tests, the bands are "-". */
static bool is_tested(const struct csv *claims, size_t row) {
    return strcmp(csv_cell(claims, row, CLAIM_EXACT), "-") != 0;
}

bool claims_read(struct csv *out, struct error *err) {
    bool ok = csv_parse("claims.tsv", claims_text, sizeof claims_text - 1, '\t', out, err);
    for (size_t i = 0; ok && i < out->rows; i++)
        if (is_tested(out, i) &&
            (!strchr(csv_cell(out, i, CLAIM_EXACT), ':') || !strchr(csv_cell(out, i, CLAIM_NEAR), ':')))
            ok = fail(err, "claims.tsv: %s: exact and near are LO:HI, or exact is -", csv_cell(out, i, CLAIM_ID));
    return ok;
}

/* ---- bands: "LO:HI" -------------------------------------------------------------------------------------------- */

/* NaN is never within. */
static bool band_holds(const char *band, double x) {
    const char *hi = strchr(band, ':') + 1;
    return (*band == ':' || x >= strtod(band, NULL)) && (!*hi || x <= strtod(hi, NULL)) && !is_nan(x);
}

static void print_band(const char *band, char *text, size_t size) {
    int lo = (int)strcspn(band, ":");
    const char *hi = band + lo + 1;
    if (lo == 0) snprintf(text, size, "<= %s", hi);
    else if (!*hi) snprintf(text, size, ">= %.*s", lo, band);
    else if (strncmp(band, hi, (size_t)lo) == 0 && !hi[lo]) snprintf(text, size, "= %s", hi);
    else snprintf(text, size, "%.*s to %s", lo, band, hi);
}

void claim_tolerance(const struct csv *claims, size_t row, char *text, size_t size) {
    char exact[64], near[64];
    if (!is_tested(claims, row)) {
        snprintf(text, size, "-");
        return;
    }
    print_band(csv_cell(claims, row, CLAIM_EXACT), exact, sizeof exact);
    print_band(csv_cell(claims, row, CLAIM_NEAR), near, sizeof near);
    snprintf(text, size, "%s; near: %s", exact, near);
}

/* ---- findings -------------------------------------------------------------------------------------------------- */

/* Takes a conversion, behind its '%', for one number or, with s, for a text. */
static bool take_conversion(const char **at, char format[16], struct error *err) {
    size_t length = strspn(*at, "+.0123456789");
    char letter = (*at)[length];
    if (length > 8 || !letter || !strchr("efgs", letter)) return fail(err, "no conversion: \"%%%.20s\"", *at);
    snprintf(format, 16, "%%%.*s", (int)length + 1, *at);
    *at += length + 1;
    return true;
}

/* A list as it is printed, and its largest difference from the list claimed. */
static bool find_list(const char *claimed, const char *formula, const char *shown, struct tables *tables,
                      struct finding *f, FILE *text, struct error *err) {
    struct value v;
    char format[16];
    if (!take_conversion(&shown, format, err) || !formula_evaluate(&formula, tables, &v, err)) return false;
    f->value = 0;
    for (int i = 0; i < v.count; i++) {
        char printed[64], *end;
        snprintf(printed, sizeof printed, format, v.x[i]);
        double theirs = strtod(claimed, &end);
        if (!is_finite(v.x[i])) return fail(err, "number %d of the list is none", i + 1);
        if (end == claimed) return fail(err, "%d numbers are more than were claimed", v.count);
        claimed = end + strspn(end, ", ");
        f->value = fmax(f->value, fabs(strtod(printed, NULL) - theirs));
        fprintf(text, "%s%s", i ? ", " : "", printed);
    }
    return !*claimed || fail(err, "%d numbers are less than were claimed", v.count);
}

/* The formula's values in the places that shown has for them; the first is judged. */
static bool find_numbers(const char *formula, const char *shown, struct tables *tables, struct finding *f, FILE *text,
                         struct error *err) {
    while (*shown) {
        struct value v;
        char format[16];
        if (*shown != '%' || *++shown == '%') {
            fputc(*shown++, text);
            continue;
        }
        if (!take_conversion(&shown, format, err) || !formula_evaluate(&formula, tables, &v, err)) return false;
        if (v.count != 1) return fail(err, "%d cells, where one is to be shown", v.count);
        formula += *formula == ';';
        double x = fabs(v.x[0]) < 1e-12 ? 0 : v.x[0]; /* what is left of a difference of equals */
        if (is_nan(f->value)) f->value = x;
        if (is_nan(f->value)) return fail(err, "\"%s\" is no number", v.text);
        if (shown[-1] == 's') fprintf(text, format, v.text);
        else if (is_finite(x)) fprintf(text, format, x);
        else fputc('-', text);
    }
    return !*formula || fail(err, "no place to show \"%s\"", formula);
}

void claim_judge(const struct csv *claims, size_t row, struct tables *tables, struct finding *out) {
    const char *formula = csv_cell(claims, row, CLAIM_FORMULA), *shown = csv_cell(claims, row, CLAIM_SHOWN);
    struct error err = {"out of memory"};
    *out = (struct finding){.value = NAN, .verdict = NOT_REPRODUCED};
    FILE *text = fmemopen(out->text, sizeof out->text, "w");
    bool ok = text &&
        (strncmp(shown, "each %", 6) == 0
             ? find_list(csv_cell(claims, row, CLAIM_CLAIMED), formula, shown + 6, tables, out, text, &err)
             : find_numbers(formula, shown, tables, out, text, &err));
    if (text) fclose(text);
    if (ok && !is_tested(claims, row)) out->verdict = NOT_TESTED;
    else if (ok && band_holds(csv_cell(claims, row, CLAIM_EXACT), out->value)) out->verdict = REPRODUCED;
    else if (ok && band_holds(csv_cell(claims, row, CLAIM_NEAR), out->value)) out->verdict = DIFFERENTLY;
    if (ok) return;
    out->value = NAN;
    out->verdict = NOT_MEASURED;
    text_format(out->text, sizeof out->text, "%s", err.text);
}
