/* What the audit stands on: the reader of CSV files, and formulas over their cells. */
#include "base/csv.h"
#include "base/table.h"
#include "studies/audit.h"

#include "support.h"

#include <math.h>

/* ---- CSV --------------------------------------------------------------------------------------------------------- */

static bool parse(const char *text, struct csv *c, struct error *err) {
    return csv_parse("t.csv", text, strlen(text), ',', c, err);
}

static void test_csv_reads_cells_and_facts(void **state) {
    (void)state;
    struct csv c;
    struct error err;
    assert_true(parse(
        "# about: this\r\nname,x\r\n\"a, \"\"b\"\"\",1\n\"two\nlines\",\n#none\n\"#no\",3\n# data: M, 1: 2", &c, &err));
    assert_int_equal(c.rows, 3);
    assert_int_equal(c.columns, 2);
    assert_string_equal(csv_heading(&c, 1), "x");
    assert_string_equal(csv_cell(&c, 0, 0), "a, \"b\"");
    assert_string_equal(csv_cell(&c, 0, 1), "1");
    assert_string_equal(csv_cell(&c, 1, 0), "two\nlines");
    assert_string_equal(csv_cell(&c, 1, 1), "");
    assert_string_equal(csv_cell(&c, 2, 0), "#no");
    assert_int_equal(csv_column(&c, "x"), 1);
    assert_int_equal(csv_column(&c, "y"), 2);
    assert_string_equal(csv_fact(&c, "about"), "this");
    assert_string_equal(csv_fact(&c, "data"), "M, 1: 2");
    assert_string_equal(csv_fact(&c, "dat"), "");
    csv_free(&c);
}

static void test_csv_with_tabs_takes_quotes_as_text(void **state) {
    (void)state;
    static const char text[] = "a\tb\nsays \"so\", here\t\"x\n";
    struct csv c;
    struct error err;
    assert_true(csv_parse("t.tsv", text, sizeof text - 1, '\t', &c, &err));
    assert_string_equal(csv_cell(&c, 0, 0), "says \"so\", here");
    assert_string_equal(csv_cell(&c, 0, 1), "\"x");
    csv_free(&c);
}

static void test_csv_refuses(void **state) {
    (void)state;
    static const struct {
        const char *text, *error;
    } bad[] = {
        {"", "no header"},
        {"# only: this\n", "no header"},
        {"a,b\n1,2\n3\n", "line 3: 1 cells, the header has 2"},
        {"a,b\n1,2,3\n", "line 2: over 2 cells"},
        {"a,b\n\"x\ny\",1\n1\n", "line 4: 1 cells"}, /* lines within quotes count */
        {"a,b\n1,\"2\n", "line 2, column 2: the quote is not closed"},
        {"a,b\n1,2\"3\n", "line 2, column 2: a quote within a cell"},
        {"a,b\n\"1\"2,3\n", "line 2, column 1: text between the closing quote and the comma"},
        {"a,b,a\n", "two columns \"a\""},
        {"a\n\xff\n", "not UTF-8"},
    };
    struct csv c;
    struct error err;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(parse(bad[i].text, &c, &err));
        assert_contains(err.text, "t.csv");
        assert_contains(err.text, bad[i].error);
        csv_free(&c);
    }
    assert_false(csv_parse("t.csv", "a\n\0\n", 4, ',', &c, &err));
    assert_contains(err.text, "a byte of 0");
    csv_free(&c);
    char wide[2 * CSV_MAX_COLUMNS + 2];
    memset(wide, ',', sizeof wide - 1);
    wide[sizeof wide - 1] = 0;
    assert_false(parse(wide, &c, &err));
    assert_contains(err.text, "line 1: over 1024 cells");
    csv_free(&c);
}

static void test_csv_cut_anywhere_is_read_or_refused(void **state) {
    (void)state;
    static const char text[] = "# f: v\na,\"b,\"\"c\"\nx,\"y\nz\"\r\n1,2\n";
    for (size_t n = 0; n < sizeof text; n++) {
        struct csv c;
        struct error err;
        if (csv_parse("t", text, n, ',', &c, &err))
            for (size_t i = 0; i < c.rows * c.columns; i++) assert_true(strlen(csv_cell(&c, 0, i)) < sizeof text);
        csv_free(&c);
    }
}

static void test_csv_reads_what_table_save_writes(void **state) {
    (void)state;
    struct table t;
    struct provenance p = {0};
    struct csv c;
    struct error err;
    table_init(&t, "T", "name value");
    table_row(&t, "%s | %.2f | %s | %.1f", "a \"b\", #c|d", 1.5, "#", 2.0);
    provenance_add(&p, "command", "mnistq x");
    assert_true(table_save(&t, &p, test_folder, "saved", &err));
    assert_true(csv_read(in_folder("saved.csv"), &c, &err));
    assert_int_equal(c.rows, 2);
    assert_string_equal(csv_cell(&c, 0, 0), "a \"b\", #c|d");
    assert_string_equal(csv_cell(&c, 1, 0), "#");
    assert_string_equal(csv_cell(&c, 1, 1), "2.0");
    assert_string_equal(csv_fact(&c, "command"), "mnistq x");
    csv_free(&c);
    table_free(&t);
    assert_false(csv_read(in_folder("nothing.csv"), &c, &err));
    assert_contains(err.text, "nothing.csv");
    csv_free(&c);
}

static void test_csv_number(void **state) {
    (void)state;
    double x;
    assert_true(csv_number("+0.03", &x) && x == 0.03);
    assert_true(csv_number("-1.5e3", &x) && x == -1500);
    static const char *const bad[] = {"", "-", "nan", "inf", "0x10", "1 ", " 1", "1.2.3", "1e999", "5%", "e5"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) assert_false(csv_number(bad[i], &x));
}

/* ---- formulas ---------------------------------------------------------------------------------------------------- */

static struct csv loss, my_table;

static const struct csv *find(struct tables *tables, const char *name, struct error *err) {
    (void)tables;
    if (strcmp(name, "loss") == 0) return &loss;
    if (strcmp(name, "my-table") == 0) return &my_table;
    (fail)(err, "there is no table %s", name);
    return NULL;
}

static int tables_setup(void **state) {
    struct error err;
    return folder_setup(state) == 0 &&
            parse("format,method,x,fc1_error,fc2_error\n"
                  "int4/row,GPTQ,2,4,6\n"
                  "int4/row,\"W4A8, GPTQ\",-3,,1\n"
                  "int8/row,static,+0.5,abc,0\n",
                  &loss, &err) &&
            csv_parse("my-table.csv", "k\n1\n2\n3\n", 8, ',', &my_table, &err)
        ? 0
        : -1;
}

static int tables_teardown(void **state) {
    csv_free(&loss);
    csv_free(&my_table);
    return folder_teardown(state);
}

static bool evaluate_text(const char *formula, struct value *v, struct error *err) {
    struct tables tables = {find};
    return formula_evaluate(&formula, &tables, v, err) && (!*formula || (fail)(err, "more: %s", formula));
}

static void test_formulas(void **state) {
    (void)state;
    static const struct {
        const char *formula;
        double value;
    } good[] = {
        {"1 + 2 * 3 - 4 / 8", 6.5},
        {"(1 + 2) * -3", -9},
        {"2 - 3 - 4", -5},
        {"8 / 4 / 2", 1},
        {"-log10(1000) + sqrt(16) + abs(-5)", 6},
        {"loss[format=int8/row].x", 0.5},
        {"loss[format=int4/row, method=GPTQ].x - loss[format=int8/row].x", 1.5},
        {"loss[x=2,x=2,x=2,x=2,x=2, x!=3].fc1_error", 4},
        {"loss[ format = int4/row , method = 'W4A8, GPTQ' ].x", -3},
        {"loss[method=*GPTQ, method!=GPTQ].x", -3},
        {"loss[format=int?/row].x", NAN}, /* '?' is no pattern */
        {"mean(my-table.k)", 2},
        {"sum(my-table.k) / count(my-table.k)", 2},
        {"sd(my-table.k)", 1},
        {"se(my-table.k) * sqrt(3)", 1},
        {"min(my-table.k, -1, 7)", -1},
        {"max(my-table.k, loss.x)", 3},
        {"max(abs(loss.x))", 3},
        {"geomean(loss[method=GPTQ].'fc*_error' / 3)", 1.6329931618554521},
        {"sum(my-table.k * my-table.k)", 14},
        {"sum(10 - my-table.k)", 24},
        {"mean((loss.x))", -1.0 / 6},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct value v;
        struct error err;
        bool ok = evaluate_text(good[i].formula, &v, &err);
        if (isnan(good[i].value)) {
            assert_false(ok);
            continue;
        }
        if (!ok) print_error("%s: %s\n", good[i].formula, err.text);
        assert_true(ok);
        assert_int_equal(v.count, 1);
        assert_true(fabs(v.x[0] - good[i].value) < 1e-12);
    }
}

static void test_formula_of_several_values_and_texts(void **state) {
    (void)state;
    struct tables tables = {find};
    struct value v;
    struct error err;
    const char *at = "my-table.k; loss[format=int8/row].format ;1";
    assert_true(formula_evaluate(&at, &tables, &v, &err));
    assert_int_equal(v.count, 3);
    assert_true(v.x[0] == 1 && v.x[2] == 3);
    assert_string_equal(at, "; loss[format=int8/row].format ;1");
    at++;
    assert_true(formula_evaluate(&at, &tables, &v, &err));
    assert_string_equal(v.text, "int8/row");
    assert_true(isnan(v.x[0]));
    assert_string_equal(at, ";1");
}

static void test_formulas_refused(void **state) {
    (void)state;
    static const struct {
        const char *formula, *error;
    } bad[] = {
        {"nowhere.x", "there is no table nowhere"},
        {"loss.speeed", "t.csv has no column \"speeed\""},
        {"loss[fromat=int8/row].x", "t.csv has no column \"fromat\""},
        {"loss[format=int9/row].x", "t.csv has no row [format=int9/row].x"},
        {"loss[format=int8/row].fc1_error + 1", "\"abc\" is no number"},
        {"loss[method='W4A8, GPTQ'].fc1_error * 2", "\"\" is no number"},
        {"max(loss.fc1_error)", "is no number"},
        {"1 / 0", "a division by 0"},
        {"1 / loss[format=int8/row].fc2_error", "a division by 0"},
        {"my-table.k + loss[format=int4/row].x", "3 cells and 2 do not go together"},
        {"median(1)", "there is no function median"},
        {"", "a number, a table or a function expected"},
        {"1 +", "a number, a table or a function expected"},
        {"1 2", "an operator or the end expected at \"2\""},
        {"(1", "')' expected"},
        {"max(1, 2", "')' expected"},
        {"loss[format=int8/row.x", "']' expected"},
        {"loss[format].x", "'=' expected"},
        {"loss[format='x].y", "a word of under 128 letters expected"},
        {"loss", "'.' and a column expected"},
        {"((((((((((((((((((1))))))))))))))))))", "fewer brackets expected"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct value v;
        struct error err = {""};
        assert_false(evaluate_text(bad[i].formula, &v, &err));
        assert_contains(err.text, bad[i].error);
    }
}

static void test_patterns(void **state) {
    (void)state;
    assert_true(pattern_matches("fc*_error", "fc12_error"));
    assert_true(pattern_matches("*", ""));
    assert_true(pattern_matches("a*b*c", "a-b-b-c"));
    assert_false(pattern_matches("a*b*c", "a-b-b-"));
    assert_false(pattern_matches("fc*", "f"));
    assert_false(pattern_matches("", "x"));
}

/* ---- claims ------------------------------------------------------------------------------------------------------ */

static void test_claims_are_judged(void **state) {
    (void)state;
    static const struct {
        const char *claimed, *formula, *shown, *exact, *near, *text;
        enum verdict verdict;
        double value;
    } cases[] = {
        {"2", "loss[method=GPTQ].x", "%.1f x", "2:2", "1:3", "2.0 x", REPRODUCED, 2},
        {"2", "loss[method=GPTQ].x", "%.0f", "2.01:", "1:3", "2", DIFFERENTLY, 2},
        {"2", "loss[method=GPTQ].x", "%.0f", ":1.9", ":1.99", "2", NOT_REPRODUCED, 2},
        {"", "1; 100 * 0.5; loss[method=static].format", "%+.2f is %g%% of %s", "0:", "0:", "+1.00 is 50% of int8/row",
         REPRODUCED, 1},
        {"1, 2, 3", "my-table.k", "each %.1f", "0:0", "0:1", "1.0, 2.0, 3.0", REPRODUCED, 0},
        {"1, -2, 3", "-my-table.k", "each %.0f", "0:0", "0:6", "-1, -2, -3", DIFFERENTLY, 6},
        {"", "0.1 + 0.2 - 0.3", "%+.2f", "-1:1", "-1:1", "+0.00", REPRODUCED, 0}, /* not -0.00 or 5e-17 */
        {"", "1; sd(loss[method=GPTQ].x)", "%.0f ± %.1f", "1:", "1:", "1 ± -", REPRODUCED, 1},
        {"2", "loss[method=GPTQ].x", "%.1f x", "-", "-", "2.0 x", NOT_TESTED, 2},
        {"", "nowhere.x", "%.0f", "-", "-", "there is no table nowhere", NOT_MEASURED, NAN},
        {"", "nowhere.x", "%.0f", ":", ":", "there is no table nowhere", NOT_MEASURED, NAN},
        {"", "1 / 0", "%.0f", ":", ":", "a division by 0", NOT_MEASURED, NAN},
        {"", "sd(1)", "%.0f", ":", ":", "is no number", NOT_MEASURED, NAN},
        {"", "loss[method=static].fc1_error", "%s", ":", ":", "\"abc\" is no number", NOT_MEASURED, NAN},
        {"", "my-table.k", "%.0f", ":", ":", "3 cells, where one is to be shown", NOT_MEASURED, NAN},
        {"1, 2", "my-table.k", "each %.0f", ":", ":", "3 numbers are more than were claimed", NOT_MEASURED, NAN},
        {"1, 2, 3, 4", "my-table.k", "each %.0f", ":", ":", "3 numbers are less than were claimed", NOT_MEASURED, NAN},
        {"1, 2, 3", "loss.fc1_error", "each %.0f", ":", ":", "number 2 of the list is none", NOT_MEASURED, NAN},
        {"", "1", "%.0f %.0f", ":", ":", "a number, a table or a function expected", NOT_MEASURED, NAN},
        {"", "1; 2", "%.0f", ":", ":", "no place to show \" 2\"", NOT_MEASURED, NAN},
        {"", "1", "%d of them", ":", ":", "no conversion: \"%d of them\"", NOT_MEASURED, NAN},
        {"", "1", "%", ":", ":", "no conversion", NOT_MEASURED, NAN},
    };
    struct tables tables = {find};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[1024];
        struct csv claims;
        struct error err;
        struct finding f;
        snprintf(text, sizeof text,
                 "id\tpart\tclaim\tclaimed\tformula\tshown\texact\tnear\twhy\n\t\t\t%s\t%s\t%s\t%s\t%s\t\n",
                 cases[i].claimed, cases[i].formula, cases[i].shown, cases[i].exact, cases[i].near);
        assert_true(csv_parse("claims", text, strlen(text), '\t', &claims, &err));
        claim_judge(&claims, 0, &tables, &f);
        if (f.verdict == NOT_MEASURED) assert_contains(f.text, cases[i].text);
        else assert_string_equal(f.text, cases[i].text);
        assert_int_equal(f.verdict, cases[i].verdict);
        assert_true(isnan(cases[i].value) ? isnan(f.value) : f.value == cases[i].value);
        csv_free(&claims);
    }
}

static void test_claims_that_are_built_in(void **state) {
    (void)state;
    struct csv claims;
    struct error err;
    char text[128];
    assert_true(claims_read(&claims, &err));
    assert_true(claims.rows >= 78);
    assert_int_equal(claims.columns, CLAIM_WHY + 1);
    for (size_t i = 0; i < claims.rows; i++) {
        for (size_t c = 0; c < claims.columns; c++) assert_true(*csv_cell(&claims, i, c));
        if (strcmp(csv_cell(&claims, i, CLAIM_ID), "quarter-file") != 0) continue;
        claim_tolerance(&claims, i, text, sizeof text);
        assert_string_equal(text, "3.8 to 4.2; near: 2 to 8");
    }
    csv_free(&claims);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_csv_reads_cells_and_facts),
        cmocka_unit_test(test_csv_with_tabs_takes_quotes_as_text),
        cmocka_unit_test(test_csv_refuses),
        cmocka_unit_test(test_csv_cut_anywhere_is_read_or_refused),
        cmocka_unit_test(test_csv_reads_what_table_save_writes),
        cmocka_unit_test(test_csv_number),
        cmocka_unit_test(test_formulas),
        cmocka_unit_test(test_formula_of_several_values_and_texts),
        cmocka_unit_test(test_formulas_refused),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_claims_are_judged),
        cmocka_unit_test(test_claims_that_are_built_in),
    };
    return cmocka_run_group_tests(tests, tables_setup, tables_teardown);
}
