/* JSON read where it lies: what RFC 8259 has is found, everything else is broken. */
#include "base/json.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

static enum json_status status_of(const char *text) {
    struct json value;
    return json_parse(text, strlen(text), &value);
}

/* RFC 8259, sections 2 to 7, one rule after the other. */
static void values_are_whole_or_broken(void **state) {
    (void)state;
    static const char *const whole[] = {
        "0",
        "-0",
        "12",
        "-1.5",
        "0.25e+3",
        "1E-9",
        "true",
        "false",
        "null",
        "\"\"",
        "\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        "\"\\u00e9\\ud83d\\ude00\"",
        "[]",
        "[ ]",
        "[1 , 2]",
        "{}",
        "{ }",
        "{\"a\" : {\"b\":[null]} , \"a\":1}",
        " \t\r\n1",
    };
    static const char *const broken[] = {
        "",
        " ",
        "-",
        "+1",
        ".5",
        "1.",
        "1e",
        "1e+",
        "tru",
        "True",
        "nul",
        "\"",
        "\"\\",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"a\nb\"",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{a:1}",
        "{1:1}",
        "{\"a\" 1}",
        "[}",
        "{]",
        "]",
        "'a'",
        "//",
        "\xef\xbb\xbf{}",
    };
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (status_of(whole[i]) != JSON_WHOLE) fail_msg("not taken: %s", whole[i]);
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
        if (status_of(broken[i]) != JSON_BROKEN) fail_msg("taken: %s", broken[i]);
}

/* A value of any kind, cut at any byte, is broken; the byte behind the cut is one that would make it whole. */
static void nothing_behind_the_end_is_read(void **state) {
    (void)state;
    static const char text[] = "{\"a\\u00e9\\ud83d\\ude00\":[true,-12.5e-3,\"b\\n\"],\"c\":{}}";
    struct json value;
    for (size_t size = 0; size < sizeof text - 1; size++) assert_int_equal(json_parse(text, size, &value), JSON_BROKEN);
    assert_int_equal(json_parse(text, sizeof text - 1, &value), JSON_WHOLE);
    assert_int_equal(json_parse("12", 1, &value), JSON_WHOLE);
    assert_int_equal(value.size, 1);
}

static void depth_has_an_end(void **state) {
    (void)state;
    char text[2 * JSON_MAX_NESTING + 3] = "";
    memset(text, '[', JSON_MAX_NESTING);
    memset(text + JSON_MAX_NESTING, ']', JSON_MAX_NESTING);
    assert_int_equal(status_of(text), JSON_WHOLE);
    memset(text, '[', JSON_MAX_NESTING + 1);
    memset(text + JSON_MAX_NESTING + 1, ']', JSON_MAX_NESTING + 1);
    assert_int_equal(status_of(text), JSON_TOO_DEEP);
}

static void members_come_in_order(void **state) {
    (void)state;
    static const char text[] = " { \"one\" : 1 ,\"t\\u0077o\":[ 2 , \"3\" ],\"one\":{}} rest";
    struct json root, name, value, item;
    size_t at = 0, in_array = 0;
    char read[8];
    assert_int_equal(json_parse(text, sizeof text - 1, &root), JSON_WHOLE);
    assert_string_equal(root.text + root.size, " rest");
    assert_int_equal(json_kind(root), JSON_OBJECT);
    assert_true(json_next(root, &at, &name, &value));
    assert_int_equal(json_text(name, read, sizeof read), 3);
    assert_string_equal(read, "one");
    assert_int_equal(json_kind(value), JSON_OTHER);
    assert_true(json_next(root, &at, &name, &value));
    json_text(name, read, sizeof read);
    assert_string_equal(read, "two");
    assert_int_equal(json_kind(value), JSON_ARRAY);
    assert_true(json_next(value, &in_array, &name, &item));
    assert_memory_equal(item.text, "2", item.size);
    assert_true(json_next(value, &in_array, &name, &item));
    assert_int_equal(json_kind(item), JSON_TEXT);
    assert_false(json_next(value, &in_array, &name, &item));
    assert_true(json_next(root, &at, &name, &value));
    assert_int_equal(json_kind(value), JSON_OBJECT);
    assert_false(json_next(root, &at, &name, &value));
    assert_true(json_member(root, "one", &value)); /* the first */
    assert_memory_equal(value.text, "1", value.size);
    assert_false(json_member(root, "on", &value));
    assert_false(json_member(value, "one", &value));
    in_array = 0;
    assert_false(json_next((struct json){"[ ]", 3}, &in_array, &name, &item));
}

static void texts_are_unescaped_and_cut(void **state) {
    (void)state;
    static const char text[] = "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20ac\\ud83d\\ude00z\"";
    static const char meant[] = "\"\\/\b\f\n\r\tA\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z";
    struct json value;
    char read[64] = "";
    assert_int_equal(json_parse(text, sizeof text - 1, &value), JSON_WHOLE);
    assert_int_equal(json_text(value, read, sizeof read), sizeof meant - 1);
    assert_string_equal(read, meant);
    memset(read, 'x', sizeof read);
    assert_int_equal(json_text(value, read, 4), sizeof meant - 1);
    assert_memory_equal(read, "\"\\/\0x", 5);
}

static void whole_numbers(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool taken;
        uint64_t number;
    } cases[] = {{"0", true, 0},
                 {"784", true, 784},
                 {"9007199254740992", true, (uint64_t)1 << 53},
                 {"9007199254740993", false, 0},
                 {"18446744073709551616", false, 0},
                 {"-1", false, 0},
                 {"1.0", false, 0},
                 {"1e2", false, 0},
                 {"\"1\"", false, 0},
                 {"true", false, 0},
                 {"[1]", false, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t number = 0;
        struct json value = {cases[i].text, strlen(cases[i].text)};
        if (json_whole(value, &number) != cases[i].taken) fail_msg("%s", cases[i].text);
        if (cases[i].taken) assert_true(number == cases[i].number);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_whole_or_broken),
        cmocka_unit_test(nothing_behind_the_end_is_read),
        cmocka_unit_test(depth_has_an_end),
        cmocka_unit_test(members_come_in_order),
        cmocka_unit_test(texts_are_unescaped_and_cut),
        cmocka_unit_test(whole_numbers),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
