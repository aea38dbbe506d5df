/* base/text: text from elsewhere, cut and masked, and into each kind of file. */
#include "base/error.h"
#include "base/table.h"
#include "base/text.h"
#include "support.h"

static void test_text_is_cut_between_characters(void **state) {
    (void)state;
    char text[8];
    text_format(text, sizeof text, "%s", "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"); /* 8 bytes into 7 */
    assert_string_equal(text, "\xc3\xa9\xc3\xa9\xc3\xa9");
    text_format(text, sizeof text, "%s", "abcde\xe4\xb8\xad"); /* 3 bytes where 2 are left */
    assert_string_equal(text, "abcde");
    text_format(text, sizeof text, "abcd%s", "\xf0\x9f\x99\x82");
    assert_string_equal(text, "abcd");
    text_format(text, sizeof text, "abc%s", "\xf0\x9f\x99\x82");
    assert_string_equal(text, "abc\xf0\x9f\x99\x82");
    text_format(text, sizeof text, "abcdef\xe9"); /* Latin-1, and not cut */
    assert_string_equal(text, "abcdef?");
    text_format(text, sizeof text, "a\x1b[31m\n");
    assert_string_equal(text, "a?[31m?");
    assert_int_equal(text_cut("\xe4\xb8\xad\xe4\xb8\xad", 5), 3);
    assert_int_equal(text_cut("\xe4\xb8\xad\xe4\xb8\xad", 6), 6);
    assert_int_equal(text_cut("\xe4\xb8\xad", 0), 0);
    assert_int_equal(text_cut("abc", 9), 3);
    assert_int_equal(text_cut("\xa9\xa9\xa9\xa9\xa9", 4), 4); /* no characters: any place will do */
}

static void test_marks_that_turn_or_hide_text_are_masked(void **state) {
    (void)state;
    char text[] = "a\xe2\x80\x8e"
                  "b\xe2\x80\x8f"
                  "c\xef\xbb\xbf"
                  "d\xef\xbf\xb9"
                  "e\xf3\xa0\x81\xa1"
                  "f\xe2\x80\x8d"
                  "g\xef\xbf\xbd"
                  "h\xf3\xa0\x84\x80"
                  "i\xe2\x80\x8b"
                  "j\xe2\x81\xa0";
    mask_control_characters(text);
    assert_string_equal(text,
                        "a?b?c?d?e?f\xe2\x80\x8d" /* the joiner of emoji */
                        "g\xef\xbf\xbd"
                        "h\xf3\xa0\x84\x80"
                        "i?j?");
}

/* What a writer makes of text. */
enum kind { MARKDOWN, CSV, CSV_SIGNS, CSV_COMMENT, HTML, JSON };

static void assert_writes(enum kind kind, const char *text, const char *expected) {
    char *written = NULL;
    size_t size, width;
    FILE *stream = open_memstream(&written, &size);
    assert_non_null(stream);
    switch (kind) {
    case MARKDOWN:
        width = text_markdown(text, true, stream);
        assert_int_equal(width, text_width(expected));
        break;
    case CSV: text_csv(text, false, stream); break;
    case CSV_SIGNS: text_csv(text, true, stream); break;
    case CSV_COMMENT: text_csv_comment(text, stream); break;
    case HTML: text_html(text, stream); break;
    case JSON: text_json(text, stream); break;
    }
    fclose(stream);
    assert_string_equal(written, expected);
    free(written);
}

static void test_nothing_begins_in_markdown(void **state) {
    (void)state;
    assert_writes(MARKDOWN, "<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)>");
    assert_writes(MARKDOWN, "[click](http://evil)", "[click\\](http:\\//evil)");
    assert_writes(MARKDOWN, "![x][y]", "![x\\][y]");
    assert_writes(MARKDOWN, "[x]: javascript:y", "[x\\]: javascript:y");
    assert_writes(MARKDOWN, "https://a.b www.a.b", "https:\\//a.b www\\.a.b");
    assert_writes(MARKDOWN, "a|b`c`", "a\\|b\\`c\\`");
    assert_writes(MARKDOWN, "\\| \\a \\", "\\\\\\| \\a \\\\");
    assert_writes(MARKDOWN, "**b** _i_ __b__ ~~s~~", "\\*\\*b\\*\\* \\_i\\_ \\_\\_b\\_\\_ \\~\\~s\\~\\~");
    assert_writes(MARKDOWN, "&lt; &#60; R&D a & b", "&amp;lt; &amp;#60; R&amp;D a & b");
    assert_int_equal(text_markdown("a|b", true, NULL), 4); /* a bar ends a cell */
    assert_int_equal(text_markdown("a|b", false, NULL), 3);
    assert_writes(MARKDOWN, "</b><!--<?php a <b", "&lt;/b>&lt;!--&lt;?php a &lt;b");
    assert_writes(MARKDOWN, "<= 5, a < b <- [-128, 127]: 256", "<= 5, a < b <- [-128, 127]: 256");
    assert_writes(MARKDOWN, "[0, 6], z_x * w_q\xc2\xb1",
                  "[0, 6], z_x * w_q\xc2\xb1"); /* as the program itself writes */
    assert_writes(MARKDOWN, "\x1b[2J\xff", "?[2J?");
}

static void test_no_spreadsheet_computes_a_field(void **state) {
    (void)state;
    assert_writes(CSV, "=1+1", "'=1+1");
    assert_writes(CSV, "=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0");
    assert_writes(CSV, "+1+2", "'+1+2");
    assert_writes(CSV, "-2+3+cmd|x", "'-2+3+cmd|x");
    assert_writes(CSV, "@SUM(1)", "'@SUM(1)");
    assert_writes(CSV, "  =1", "'  =1");
    assert_writes(CSV,
                  "\xef\xbc\x9d"
                  "1",
                  "'\xef\xbc\x9d"
                  "1"); /* in full width */
    assert_writes(CSV, "=a,\"b\"", "\"'=a,\"\"b\"\"\"");
    assert_writes(CSV, "a;=1;b; @x", "a;'=1;b;' @x"); /* where ; separates */
    assert_writes(CSV, "a;\"=1", "\"a;'\"\"=1\"");
    assert_writes(CSV, "-", "-");
    assert_writes(CSV, "-0.25", "-0.25");
    assert_writes(CSV, "+1e-05", "+1e-05");
    assert_writes(CSV, "a=b-c", "a=b-c");
    assert_writes(CSV, "a#b", "\"a#b\"");
    assert_writes(CSV, "a\nb\xe9", "a?b?");
    assert_writes(CSV_SIGNS, "+ weights", "+ weights");
    assert_writes(CSV_COMMENT, "mnistq eval 'a,=1;-x,@y' b, c \"", "mnistq eval 'a,'=1;'-x,'@y' b, c \"");
}

static void test_no_element_begins_in_html(void **state) {
    (void)state;
    assert_writes(HTML, "<b a='1' c=\"2\">&amp;\x07\xc2\xb1",
                  "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;amp;?\xc2\xb1");
}

static void test_json_text(void **state) {
    (void)state;
    assert_writes(JSON, "a\"b\\c\n\xe9\xc3\xa9", "\"a\\\"b\\\\c??\xc3\xa9\"");
}

/* In the files of a table, also where a paragraph of Markdown would begin a heading or a list. */
static void test_table_files_are_safe(void **state) {
    (void)state;
    struct table t;
    struct provenance p = {0};
    struct error err;
    table_init(&t, "<script> of a.st", "file step= share");
    table_row(&t, "%s | %s | %.1f", "=1+1|[a](b)", "+ weights", -0.5);
    table_note(&t, "# not a heading");
    table_note(&t, "- not a list");
    provenance_add(&p, "command", "mnistq eval 'a,=1`'");
    assert_true(table_save(&t, &p, test_folder, "table", &err));
    assert_file_is(in_folder("table.csv"),
                   "file,step,share\n"
                   "'=1+1|[a](b),+ weights,-0.5\n"
                   "# command: mnistq eval 'a,'=1`'\n");
    assert_file_is(in_folder("table.md"),
                   "# &lt;script> of a.st\n\n"
                   "| file          | step      | share |\n"
                   "| ------------- | --------- | ----: |\n"
                   "| =1+1\\|[a\\](b) | + weights |  -0.5 |\n\n"
                   "\\# not a heading\n\n\\- not a list\n\n"
                   "Provenance:\n- command: `mnistq eval 'a,=1''`\n");
    table_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_is_cut_between_characters),
        cmocka_unit_test(test_marks_that_turn_or_hide_text_are_masked),
        cmocka_unit_test(test_nothing_begins_in_markdown),
        cmocka_unit_test(test_no_spreadsheet_computes_a_field),
        cmocka_unit_test(test_no_element_begins_in_html),
        cmocka_unit_test(test_json_text),
        cmocka_unit_test(test_table_files_are_safe),
    };
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown);
}
