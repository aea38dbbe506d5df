/* Errors, text, memory blocks, random numbers, tables, files, progress. */
#include "base/block.h"
#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "base/rng.h"
#include "base/table.h"
#include "base/text.h"

#include "support.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* ---- error: (fail) is the function, fail() would be the macro of cmocka.h ---- */

static void test_error_text_is_one_line_without_control_characters(void **state) {
    (void)state;
    struct error err;
    assert_false((fail)(&err, "%s: %d of %d", "a\nb\x1b[31m\x7f\t\r", 1, 2));
    assert_string_equal(err.text, "a?b?[31m???: 1 of 2");
    assert_false((fail)(&err, "größer: ± 5 µm")); /* UTF-8 is no control character */
    assert_string_equal(err.text, "größer: ± 5 µm");
}

static void test_error_text_that_is_too_long_is_cut(void **state) {
    (void)state;
    struct error err;
    char text[3000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    (fail)(&err, "%s", text);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_false(fail_in(&err, "file"));
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_contains(err.text, "file: xxx");
}

static void test_utf8(void **state) {
    (void)state;
    static const char *const good[] = {"", "plain", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x99\x82", "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {
        "\x80",   "\xc3",     "\xc0\xaf",    "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
        "ab\xff", "\xe2\x82", "\xe2\x28\xa1"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) assert_true(is_utf8(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) assert_false(is_utf8(bad[i], strlen(bad[i])));
    struct error err;
    (fail)(&err, "name\xff.st \xc3\xa9 \xe2\x82"); /* a name that was cut */
    assert_string_equal(err.text, "name?.st \xc3\xa9 ??");
    (fail)(&err, "\xc3\xa9.st");
    assert_string_equal(err.text, "\xc3\xa9.st");
}

static void test_fail_in_puts_a_prefix_before_the_text(void **state) {
    (void)state;
    struct error err;
    (fail)(&err, "tensor %s is missing", "fc1");
    assert_false(fail_in(&err, "a%s.bin\n"));
    assert_string_equal(err.text, "a%s.bin?: tensor fc1 is missing");
}

/* ---- text ---- */

static void assert_masked(const char *text, const char *expected) {
    char masked[64];
    snprintf(masked, sizeof masked, "%s", text);
    mask_control_characters(masked);
    assert_string_equal(masked, expected);
}

static void test_text_that_could_steer_a_terminal_is_masked(void **state) {
    (void)state;
    assert_masked("", "");
    assert_masked("\x1b[2J\x7f", "?[2J?");
    assert_masked("\xc2\x9b"
                  "2J",
                  "?2J");                                    /* U+009B, CSI in one character */
    assert_masked("\xc2\x80\xc2\x9f\xc2\xa0", "??\xc2\xa0"); /* the last is a space that does not break */
    assert_masked("a\xe2\x80\xae"
                  "cba\xe2\x81\xa6x\xe2\x81\xa9",
                  "a?cba?x?");                                               /* turns the writing round */
    assert_masked("\xe2\x80\xa8\xe2\x80\xaa\xe2\x80\xaf", "??\xe2\x80\xaf"); /* the ends of that range */
    assert_masked("\xe2\x81\xa5\xe2\x81\xaa", "\xe2\x81\xa5\xe2\x81\xaa");
    assert_masked("\xd8\x9cx \xd8\x9b", "?x \xd8\x9b"); /* the Arabic letter mark turns text round, too */
    assert_masked("\xff\xc3 \xe2\x82", "?? ??");        /* no UTF-8, a byte at a time */
    assert_masked("\xf0\x9f\x99\x82 \xe2\x82\xac", "\xf0\x9f\x99\x82 \xe2\x82\xac");
}

static void test_text_lines(void **state) {
    (void)state;
    assert_int_equal(text_width("\xc2\xb1 5 \xc2\xb5m"), 6);
    assert_int_equal(text_fitting("\xc2\xb1 5", 1), 2);
    assert_int_equal(text_fitting("\xc2\xb1 5", 0), 0);
    assert_int_equal(text_fitting("abc", 9), 3);
    static const struct {
        const char *text;
        size_t columns, length;
    } lines[] = {{"one two three", 13, 13},
                 {"one two three", 12, 7},
                 {"one two three", 7, 7},
                 {"one two three", 6, 3},
                 {"one two three", 3, 3},
                 {"one two three", 2, 2}, /* a word is cut */
                 {"\xc2\xb5\xc2\xb5\xc2\xb5", 2, 4},
                 {"abc", 0, 1},
                 {"", 5, 0}};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        assert_int_equal(line_length(lines[i].text, lines[i].columns), lines[i].length);
}

static void test_mistyped_words(void **state) {
    (void)state;
    static const char *const names[] = {"train", "trace", "quantize", "eval", "sweep", "ladder", "per-channel"};
    static const char *const typed[][2] = {
        {"trian", "train"},   {"TRAIN", "train"},
        {"tain", "train"},    {"trainn", "train"},
        {"trade", "trace"},   {"quant", "quantize"},
        {"evl", "eval"},      {"per-chanel", "per-channel"},
        {"frobnicate", NULL}, {"x", NULL},
        {"", NULL},           {"an-option-that-is-much-longer-than-forty-letters", NULL}};
    for (size_t i = 0; i < sizeof typed / sizeof typed[0]; i++) {
        const char *meant = NULL;
        for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) meant = likelier(typed[i][0], names[k], meant);
        if (typed[i][1]) assert_string_equal(meant, typed[i][1]);
        else assert_null(meant);
    }
}

/* ---- block ---- */

static const size_t take_bytes[] = {0, 1, 63, 64, 65, 0, 4000};
enum { TAKES = sizeof take_bytes / sizeof take_bytes[0] };

static void take_all(struct block *block, unsigned char *arrays[TAKES]) {
    for (int i = 0; i < TAKES; i++) arrays[i] = block_take(block, take_bytes[i], 1);
}

static void test_block_arrays_are_aligned_zeroed_and_apart(void **state) {
    (void)state;
    struct error err;
    struct block block = {0};
    unsigned char *arrays[TAKES];
    take_all(&block, arrays);
    for (int i = 0; i < TAKES; i++) assert_null(arrays[i]);
    size_t counted = block.used;
    assert_true(block_reserve(&block, &err));
    take_all(&block, arrays);
    assert_int_equal(block.used, counted);
    for (int i = 0; i < TAKES; i++) {
        assert_non_null(arrays[i]);
        assert_int_equal((uintptr_t)arrays[i] % BLOCK_ALIGN, 0);
        for (size_t k = 0; k < take_bytes[i]; k++) assert_int_equal(arrays[i][k], 0); /* not written by another */
        memset(arrays[i], 0xa5, take_bytes[i]); /* AddressSanitizer sees a block that is too small */
    }
    block_free(&block);
    assert_null(block.memory);
    assert_int_equal(block.used, 0);
    block_free(&block); /* twice is nothing */
}

static void test_block_that_overflows_is_out_of_memory(void **state) {
    (void)state;
    static const size_t sizes[][2] = {
        {SIZE_MAX, 1}, {SIZE_MAX / 2 + 2, 2}, {SIZE_MAX, SIZE_MAX}, {SIZE_MAX / 8, 16}, {SIZE_MAX - 10, 1}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct error err = {""};
        struct block block = {0};
        block_take(&block, 100, 1);
        block_take(&block, sizes[i][0], sizes[i][1]);
        block_take(&block, 100, 1); /* must not wrap round to a small size */
        assert_false(block_reserve(&block, &err));
        assert_contains(err.text, "out of memory");
        block_free(&block);
        assert_null(aligned_array(sizes[i][0], sizes[i][1], &err));
        assert_contains(err.text, "out of memory");
    }
    struct error err = {""};
    struct block sum = {0};
    for (int i = 0; i < 3; i++) block_take(&sum, SIZE_MAX / 2, 1); /* each would fit a size_t, the sum does not */
    assert_false(block_reserve(&sum, &err));
    assert_contains(err.text, "out of memory");
}

static void test_aligned_array(void **state) {
    (void)state;
    struct error err;
    for (size_t count = 0; count < 40; count++) {
        float *array = aligned_array(count, sizeof(float), &err);
        assert_non_null(array);
        assert_int_equal((uintptr_t)array % BLOCK_ALIGN, 0);
        for (size_t i = 0; i < count; i++) assert_true(array[i] == 0.0f);
        free(array);
    }
}

/* ---- rng ---- */

/* From a Python transcription of the authors' C (prng.di.unimi.it: splitmix64.c, xoshiro256plusplus.c): the
 * first four outputs, and the 1000th. Those of seed 0 and 1 are also what Rust's rand_xoshiro gives. */
static void test_rng_stream_is_xoshiro256_plus_plus(void **state) {
    (void)state;
    static const struct {
        uint64_t seed, first[4], last;
    } streams[] = {
        {0, {0x53175d61490b23df, 0x61da6f3dc380d507, 0x5c0fdf91ec9a7bfc, 0x02eebf8c3bbe5e1a}, 0x376300fa032f6483},
        {1, {0xcfc5d07f6f03c29b, 0xbf424132963fe08d, 0x19a37d5757aaf520, 0xbf08119f05cd56d6}, 0x92d52100f9e1da0d},
        {42, {0xd0764d4f4476689f, 0x519e4174576f3791, 0xfbe07cfb0c24ed8c, 0xb37d9f600cd835b8}, 0xa3ed059c1cc38790},
        {UINT64_MAX,
         {0x56ccf8ce948e27b2, 0xe68588432e5a5b90, 0xe3e9b5a48119ca8b, 0x460f19495532ae73},
         0x6e67f58f11f35060},
    };
    for (size_t s = 0; s < sizeof streams / sizeof streams[0]; s++) {
        struct rng rng = rng_seeded(streams[s].seed);
        uint64_t value = 0;
        for (int i = 0; i < 1000; i++) {
            value = rng_next(&rng);
            if (i < 4) assert_true(value == streams[s].first[i]);
        }
        assert_true(value == streams[s].last);
    }
}

enum { DRAWS = 200000 };

/* Standard deviation of a uniform number: 1 / sqrt(12); the mean of DRAWS of them has 0.00065. */
static void test_rng_uniform_fills_zero_to_one(void **state) {
    (void)state;
    struct rng rng = rng_seeded(3);
    double sum = 0, lowest = 1, highest = 0;
    int tenths[10] = {0};
    for (int i = 0; i < DRAWS; i++) {
        double u = rng_uniform(&rng);
        assert_true(u >= 0 && u < 1);
        tenths[(int)(u * 10)]++;
        sum += u, lowest = fmin(lowest, u), highest = fmax(highest, u);
    }
    assert_close(sum / DRAWS, 0.5, 5 * 0.00065);
    assert_true(lowest < 1e-4 && highest > 1 - 1e-4);
    for (int i = 0; i < 10; i++) assert_close(tenths[i], DRAWS / 10, 5 * sqrt(DRAWS * 0.1 * 0.9));
}

static void test_rng_below_is_in_range(void **state) {
    (void)state;
    static const uint32_t bounds[] = {1, 2, 3, 7, 10, 784, 60000, 0x80000000u, 0x80000001u, UINT32_MAX};
    for (size_t b = 0; b < sizeof bounds / sizeof bounds[0]; b++) {
        struct rng rng = rng_seeded(b);
        uint32_t lowest = UINT32_MAX, highest = 0;
        for (int i = 0; i < 20000; i++) {
            uint32_t x = rng_below(&rng, bounds[b]);
            assert_true(x < bounds[b]);
            lowest = x < lowest ? x : lowest, highest = x > highest ? x : highest;
        }
        assert_true(lowest <= bounds[b] / 100); /* both ends are reached */
        assert_true(highest >= bounds[b] - 1 - bounds[b] / 100);
    }
}

/* Of 2^32 raw values a bound of 3 * 2^30 leaves a quarter over. Dealt out with a modulo they double the
 * lowest third; with a plain multiplication, every third value. */
static void test_rng_below_has_no_modulo_bias(void **state) {
    (void)state;
    static const uint32_t bound = 0xc0000000u;
    struct rng rng = rng_seeded(4);
    int thirds[3] = {0}, residues[3] = {0}, small[3] = {0};
    for (int i = 0; i < DRAWS; i++) {
        uint32_t x = rng_below(&rng, bound);
        thirds[x >> 30]++, residues[x % 3]++, small[rng_below(&rng, 3)]++;
    }
    double tolerance = 5 * sqrt(DRAWS * 2.0 / 9.0);
    for (int i = 0; i < 3; i++) {
        assert_close(thirds[i], DRAWS / 3.0, tolerance);
        assert_close(residues[i], DRAWS / 3.0, tolerance);
        assert_close(small[i], DRAWS / 3.0, tolerance);
    }
}

static void test_rng_normal_has_mean_0_variance_1(void **state) {
    (void)state;
    struct rng rng = rng_seeded(5);
    double sum = 0, squares = 0, cubes = 0;
    int within_one = 0, beyond_three = 0;
    for (int i = 0; i < DRAWS; i++) {
        double x = rng_normal(&rng);
        assert_true(isfinite(x));
        sum += x, squares += x * x, cubes += x * x * x;
        within_one += fabs(x)<1, beyond_three += fabs(x)> 3;
    }
    assert_close(sum / DRAWS, 0, 5 / sqrt(DRAWS));
    assert_close(squares / DRAWS, 1, 5 * sqrt(2.0 / DRAWS));
    assert_close(cubes / DRAWS, 0, 5 * sqrt(15.0 / DRAWS));
    assert_close((double)within_one / DRAWS, 0.682689, 5 * sqrt(0.6827 * 0.3173 / DRAWS));
    assert_close((double)beyond_three / DRAWS, 0.0026998, 5 * sqrt(0.0027 / DRAWS));
}

enum { ITEMS = 100 };

static void shuffled(uint64_t seed, uint32_t items[ITEMS]) {
    struct rng rng = rng_seeded(seed);
    for (uint32_t i = 0; i < ITEMS; i++) items[i] = i;
    rng_shuffle(&rng, items, ITEMS);
}

static void test_rng_shuffle_is_a_seeded_permutation(void **state) {
    (void)state;
    uint32_t a[ITEMS], again[ITEMS], other[ITEMS];
    shuffled(1, a), shuffled(1, again), shuffled(2, other);
    assert_memory_equal(a, again, sizeof a);
    assert_memory_not_equal(a, other, sizeof a);
    int seen[ITEMS] = {0}, in_place = 0;
    for (uint32_t i = 0; i < ITEMS; i++) {
        assert_true(a[i] < ITEMS);
        seen[a[i]]++, in_place += a[i] == i;
    }
    for (int i = 0; i < ITEMS; i++) assert_int_equal(seen[i], 1);
    assert_true(in_place < 8); /* 1 is expected: Poisson, P(>= 8) = 1e-5 */
    struct rng rng = rng_seeded(1);
    uint32_t one = 17;
    rng_shuffle(&rng, NULL, 0);
    rng_shuffle(&rng, &one, 1);
    assert_int_equal(one, 17);
}

/* Swapping with any place instead of one not yet dealt makes some of the six orders 5 / 4 as likely. */
static void test_rng_shuffle_gives_every_order_alike(void **state) {
    (void)state;
    enum { TIMES = 60000 };
    struct rng rng = rng_seeded(6);
    int orders[9] = {0};
    for (int i = 0; i < TIMES; i++) {
        uint32_t x[3] = {0, 1, 2};
        rng_shuffle(&rng, x, 3);
        orders[x[0] * 3 + x[1]]++;
    }
    for (int i = 0; i < 9; i++)
        if (i % 4) assert_close(orders[i], TIMES / 6.0, 5 * sqrt(TIMES * 5.0 / 36.0));
}

/* ---- table ---- */

static const char columns[] = "name share_percent change count";

static struct table new_table(void) {
    struct table t;
    table_init(&t, "Sizes", columns);
    return t;
}

static void add_row(struct table *t, const char *name, double share, double change, long long count) {
    table_row(t, "%s | %.2f | %+.1f | %lld", name, share, change, count);
}

static struct table example_table(void) {
    struct table t = new_table();
    add_row(&t, "fp32", 97.666666, 0, 1059344);
    add_row(&t, "a,b \"c\"", NAN, -1.25, -3);
    add_row(&t, "± 5 µm", INFINITY, 0.5, 0);
    table_note(&t, "Two rows have no share.");
    table_note(&t, "Bytes by %s.", "stat");
    return t;
}

static struct provenance example_provenance(void) {
    struct provenance p = {0};
    provenance_add(&p, "command", "mnistq %s", "train");
    provenance_add(&p, "seed", "%d", 1);
    return p;
}

static void test_table_has_no_minus_zero(void **state) {
    (void)state;
    struct table t = new_table();
    add_row(&t, "-0.00", -0.0049, -0.04, 0); /* a text is left as it is */
    add_row(&t, "far enough", -0.0051, -0.06, 0);
    char *text = NULL;
    size_t size;
    struct error err;
    FILE *stream = open_memstream(&text, &size);
    assert_true(table_print_json(&t, NULL, stream, &err));
    fclose(stream);
    assert_non_null(strstr(text, "\"-0.00\""));
    assert_null(strstr(text, ": -0.00,"));
    assert_non_null(strstr(text, ": 0.00,"));
    assert_non_null(strstr(text, ": 0.0,")); /* JSON knows no +0.0 */
    assert_non_null(strstr(text, ": -0.01,"));
    assert_non_null(strstr(text, ": -0.1,"));
    free(text);
    table_free(&t);
}

static char *saved(const struct table *t, const struct provenance *p, const char *ending) {
    struct error err;
    char path[128];
    assert_true(table_save(t, p, test_folder, "table", &err));
    snprintf(path, sizeof path, "table%s", ending);
    return read_bytes(in_folder(path), NULL);
}

/* out: table_print, or table_print_json */
static char *printed(const struct table *t, const struct provenance *p, bool json) {
    char *text = NULL;
    size_t size;
    struct error err;
    FILE *stream = open_memstream(&text, &size);
    assert_non_null(stream);
    if (json) assert_true(table_print_json(t, p, stream, &err));
    else assert_true(table_print(t, stream, 80, &err));
    fclose(stream);
    return text;
}

static void assert_text(char *found, const char *expected) {
    assert_string_equal(found, expected);
    free(found);
}

static void test_table_in_groups(void **state) {
    (void)state;
    struct table t;
    struct provenance p = {0};
    table_init(&t, "Bits", "format bits");
    table_group(&t, "%d bits", 8);
    table_row(&t, "int8 | %d", 8);
    table_row(&t, "q8_0 | %d", 9);
    table_group(&t, "1 bit");
    table_row(&t, "xnor | %d", 1);
    assert_text(printed(&t, NULL, false),
                "Bits\n\n"
                "  format  bits\n"
                "  ------  ----\n"
                "  8 bits\n"
                "  int8       8\n"
                "  q8_0       9\n"
                "\n  1 bit\n"
                "  xnor       1\n\n");
    assert_text(saved(&t, &p, ".md"),
                "# Bits\n\n"
                "| format | bits |\n"
                "| ------ | ---: |\n"
                "| **8 bits** | |\n"
                "| int8   |    8 |\n"
                "| q8_0   |    9 |\n"
                "| **1 bit** | |\n"
                "| xnor   |    1 |\n\nProvenance:\n");
    assert_text(saved(&t, &p, ".csv"), "format,bits\nint8,8\nq8_0,9\nxnor,1\n");
    table_free(&t);
}

static void test_table_has_the_same_digits_in_every_form(void **state) {
    (void)state;
    struct table t = example_table();
    struct provenance p = example_provenance();
    assert_int_equal(table_row_count(&t), 3);
    assert_text(saved(&t, &p, ".md"),
                "# Sizes\n\n"
                "| name    | share percent | change |   count |\n"
                "| ------- | ------------: | -----: | ------: |\n"
                "| fp32    |         97.67 |   +0.0 | 1059344 |\n"
                "| a,b \"c\" |               |   -1.2 |      -3 |\n"
                "| ± 5 µm  |               |   +0.5 |       0 |\n\n"
                "Two rows have no share.\n\nBytes by stat.\n\n"
                "Provenance:\n- command: `mnistq train`\n- seed: `1`\n");
    assert_text(saved(&t, &p, ".csv"),
                "name,share_percent,change,count\n"
                "fp32,97.67,+0.0,1059344\n"
                "\"a,b \"\"c\"\"\",,-1.2,-3\n"
                "± 5 µm,,+0.5,0\n"
                "# command: mnistq train\n# seed: 1\n");
    assert_text(printed(&t, &p, false),
                "Sizes\n\n"
                "  name     share percent  change    count\n"
                "  -------  -------------  ------  -------\n"
                "  fp32             97.67    +0.0  1059344\n"
                "  a,b \"c\"                   -1.2       -3\n"
                "  ± 5 µm                    +0.5        0\n\n"
                "  Two rows have no share.\n  Bytes by stat.\n");
    table_free(&t);
}

static const char *json_text(const cJSON *object, const char *key) {
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
}

static void test_table_json_is_json_with_the_same_digits(void **state) {
    (void)state;
    struct table t = example_table();
    struct provenance p = example_provenance();
    char *text = printed(&t, &p, true);
    assert_contains(text, "97.67"); /* and not 97.666666 */
    assert_null(strstr(text, "97.666"));
    assert_null(strstr(text, "+"));
    cJSON *root = cJSON_Parse(text);
    assert_string_equal(json_text(root, "title"), "Sizes");
    const cJSON *rows = cJSON_GetObjectItem(root, "rows");
    assert_int_equal(cJSON_GetArraySize(rows), 3);
    const cJSON *second = cJSON_GetArrayItem(rows, 1);
    assert_string_equal(json_text(second, "name"), "a,b \"c\"");
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(second, "share_percent")));
    assert_close(cJSON_GetNumberValue(cJSON_GetObjectItem(second, "change")), -1.2, 1e-12);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(root, "notes")), 2);
    assert_string_equal(json_text(cJSON_GetObjectItem(root, "provenance"), "seed"), "1");
    cJSON_Delete(root);
    free(text);
    text = printed(&t, NULL, true);
    assert_contains(text, "\"provenance\": {}"); /* one shape for all */
    free(text);
    table_free(&t);
}

static void test_table_without_rows(void **state) {
    (void)state;
    struct table t = new_table();
    struct provenance p = {0};
    assert_int_equal(table_row_count(&t), 0);
    assert_text(saved(&t, &p, ".csv"), "name,share_percent,change,count\n");
    table_row(&t, "half a row");
    assert_int_equal(table_row_count(&t), 0);
    assert_text(saved(&t, &p, ".csv"), "name,share_percent,change,count\n");
    table_free(&t);
}

/* Bars that Markdown takes for the end of a cell. */
static int count_bars(const char *line, size_t length) {
    int bars = 0;
    for (size_t i = 0; i < length; i++) bars += line[i] == '|' && (i == 0 || line[i - 1] != '\\');
    return bars;
}

/* A tensor's or a file's name may hold anything. */
static void test_table_survives_hostile_text(void **state) {
    (void)state;
    struct table t = new_table();
    struct provenance p = {0};
    add_row(&t, "a|b\nc\rd\x1b[31m\te\x7f||", 1, 2, 3);
    add_row(&t, "# no comment", 1, 2, 3);
    provenance_add(&p, "command", "mnistq eval 'a\nb,c' `x`");
    char *md = saved(&t, &p, ".md");
    int lines = 0;
    for (char *line = strchr(md, '|'), *end; line && *line == '|'; line = end + 1, lines++) {
        assert_non_null(end = strchr(line, '\n'));
        assert_int_equal(count_bars(line, (size_t)(end - line)), 5);
    }
    assert_int_equal(lines, 4);
    assert_contains(md, "a\\|b?c?d?[31m?e?\\|\\|");
    assert_contains(md, "- command: `mnistq eval 'a?b,c' 'x'`\n"); /* a backtick would end the code span */
    free(md);
    assert_text(saved(&t, &p, ".csv"),
                "name,share_percent,change,count\n"
                "a|b?c?d?[31m?e?||,1.00,+2.0,3\n"
                "\"# no comment\",1.00,+2.0,3\n"
                "# command: mnistq eval 'a?b,c' `x`\n");
    char *terminal = printed(&t, &p, false);
    assert_null(strchr(terminal, 0x1b));
    free(terminal);
    table_free(&t);
}

/* A path of 200 characters must come out whole: a program reads it from --json. */
static void test_table_keeps_long_text_whole(void **state) {
    (void)state;
    struct table t = new_table();
    struct provenance p = {0};
    char name[301] = "", number[400];
    for (size_t i = 0; i < 150; i++) memcpy(name + 2 * i, "é", 2);
    snprintf(number, sizeof number, "%.2f", 1e200);
    for (int i = 0; i < 200; i++) add_row(&t, name, 1e200, 2, i); /* enough rows for the cells to grow */
    assert_int_equal(table_row_count(&t), 200);
    char *csv = saved(&t, &p, ".csv"), *json = printed(&t, NULL, true);
    assert_contains(csv, name);
    assert_contains(csv, number);
    assert_contains(csv, ",199\n");
    assert_contains(json, name);
    free(csv), free(json);
    table_free(&t);
}

static char *printed_within(const struct table *t, int width) {
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    struct error err;
    assert_true(table_print(t, stream, width, &err));
    fclose(stream);
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        assert_true(text_width(line) <= (size_t)width);
        assert_true(end == line || end[-1] != ' ');
        *end = '\n';
    }
    return text;
}

static void test_table_fits_the_terminal(void **state) {
    (void)state;
    struct table t;
    table_init(&t, "A title that is wider than a narrow terminal has columns",
               "name what:what_it_does number_of_images:images hidden- last_number:the_last_column");
    table_row(&t, "first | Does this and that, and then something else | %d | 1 | %.2f", 60000, 1.5);
    table_row(&t, "second | %s | | 2 | %.2f", "ThisWordIsLongerThanAnyColumnOfATerminalWillEverBe", 2.5);
    char *text = printed_within(&t, 60);
    assert_contains(text, "A title that is wider than a narrow terminal has columns\n");
    assert_contains(text,
                    "                                                         the\n"
                    "                                                        last\n"
                    "  name    what it does                        images  column\n"
                    "  ------  ----------------------------------  ------  ------\n"
                    "  first   Does this and that, and then         60000    1.50\n"
                    "          something else\n"
                    "  second  ThisWordIsLongerThanAnyColumnOfATe            2.50\n"
                    "          rminalWillEverBe\n");
    assert_contains(text, "Also in the files and with --json: hidden\n");
    free(text);
    text = printed_within(&t, 40);
    assert_contains(text, "          nOfATerminalWi\n          llEverBe\n");
    free(text);
    text = printed_within(&t, 200);
    assert_contains(text, "ThisWordIsLongerThanAnyColumnOfATerminalWillEverBe");
    free(text);
    table_add_columns(&t, "one_more");
    text = printed_within(&t, 40);
    assert_contains(text, "  Also in the files and with --json:\n  hidden, one_more\n"); /* what did not fit */
    free(text);
    table_free(&t);
}

static void test_table_breaks_no_word_for_columns_that_it_leaves_out(void **state) {
    (void)state;
    struct table t;
    table_init(&t, "Words", "format bytes far");
    table_row(&t, "abcdefghijklmnop | 123456789012 | 12345678901234567890");
    char *text = printed_within(&t, 40);
    assert_contains(text, "\n  abcdefghijklmnop  123456789012\n");
    assert_contains(text, "Also in the files and with --json: far\n");
    free(text);
    table_free(&t);
}

/* An argument that holds what separates the cells does not become two. */
static void test_table_row_keeps_hostile_arguments_in_their_cells(void **state) {
    (void)state;
    struct table t;
    struct provenance p = {0};
    table_init(&t, "Rows", "a b c");
    table_row(&t, "%s | x%%y | %5d  ",
              "\1"
              "0\2\1"
              "1\2|",
              7);
    table_row(&t, " | %s | %+.1f", "", NAN);
    table_row(&t, "%s | %*.*f", "two calls", 8, 3, 1.0);
    table_row(&t, "| fill a row"); /* an empty cell, and one too many */
    assert_text(saved(&t, &p, ".csv"), "a,b,c\n?0??1?|,x%y,    7\n,,\ntwo calls,   1.000,\n");
    table_free(&t);
}

static void test_provenance_that_is_full_or_long_does_no_harm(void **state) {
    (void)state;
    struct provenance p = {0};
    char value[2000];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = 0;
    for (int i = 0; i < 40; i++) provenance_add(&p, "fact", "%s", value);
    assert_int_equal(p.count, 20);
    assert_int_equal(strlen(p.facts[19].value), sizeof p.facts[19].value - 1);
}

static void test_table_that_cannot_be_saved_says_where(void **state) {
    (void)state;
    struct table t = example_table();
    struct provenance p = {0};
    struct error err;
    write_bytes(in_folder("not-a-folder"), "x", 1);
    assert_false(table_save(&t, &p, in_folder("not-a-folder"), "table", &err));
    assert_error(err.text, in_folder("not-a-folder"), "is not a folder");
    struct table twice;
    table_init(&twice, "Two columns of one name", "a a"); /* which csv_read refuses */
    table_row(&twice, "1 | 2");
    assert_false(table_save(&twice, &p, test_folder, "twice", &err));
    assert_contains(err.text, "not written, since it could not be read");
    assert_int_equal(access(in_folder("twice.csv"), F_OK), -1);
    table_free(&twice);
    t.out_of_memory = true;
    assert_false(table_save(&t, &p, test_folder, "lost", &err));
    assert_contains(err.text, "out of memory");
    assert_int_equal(access(in_folder("lost.md"), F_OK), -1);
    table_free(&t);
}

/* ---- file ---- */

static struct out_file opened(const char *path) {
    struct out_file out;
    struct error err;
    assert_true(out_file_open(&out, path, &err));
    return out;
}

static void write_whole(const char *path, const char *text) {
    struct error err;
    struct out_file out = opened(path);
    fputs(text, out.stream);
    assert_true(out_file_commit(&out, &err));
}

/* An empty folder of the test's own. */
static const char *fresh_folder(const char *name) {
    const char *path = in_folder(name);
    assert_int_equal(mkdir(path, 0777), 0);
    return path;
}

static void test_out_file_appears_only_when_committed(void **state) {
    (void)state;
    struct error err;
    fresh_folder("commit");
    struct out_file out = opened(in_folder("commit/new"));
    fputs("new", out.stream);
    fflush(out.stream);
    assert_int_equal(access(in_folder("commit/new"), F_OK), -1);
    assert_true(out_file_commit(&out, &err));
    assert_file_is(in_folder("commit/new"), "new");
    out = opened(in_folder("commit/new"));
    fputs("newer", out.stream);
    fflush(out.stream);
    assert_file_is(in_folder("commit/new"), "new");
    assert_true(out_file_commit(&out, &err));
    assert_file_is(in_folder("commit/new"), "newer");
    assert_int_equal(count_entries(in_folder("commit")), 1);
}

static void test_out_file_discard_leaves_nothing(void **state) {
    (void)state;
    fresh_folder("discard");
    struct out_file out = opened(in_folder("discard/new"));
    fputs("half", out.stream);
    out_file_discard(&out);
    assert_int_equal(count_entries(in_folder("discard")), 0);
    write_whole(in_folder("discard/old"), "old");
    out = opened(in_folder("discard/old"));
    fputs("half", out.stream);
    out_file_discard(&out);
    out_file_discard(&out); /* twice is nothing */
    assert_file_is(in_folder("discard/old"), "old");
    assert_int_equal(count_entries(in_folder("discard")), 1);
}

/* What the handler of SIGINT calls; more files at once than it has slots for must still work. */
static void test_out_file_discard_all_leaves_nothing(void **state) {
    (void)state;
    struct error err;
    struct out_file out[12];
    fresh_folder("interrupted");
    write_whole(in_folder("interrupted/done"), "done");
    for (int i = 0; i < 2; i++) out[i] = opened(in_folder(i ? "interrupted/b" : "interrupted/a"));
    assert_int_equal(count_entries(in_folder("interrupted")), 3);
    out_file_discard_all();
    assert_int_equal(count_entries(in_folder("interrupted")), 1);
    assert_false(out_file_commit(&out[0], &err)); /* its temporary file is gone */
    assert_error(err.text, in_folder("interrupted/a"), "could not be written");
    out_file_discard(&out[1]);
    for (int i = 0; i < 12; i++) out[i] = opened(in_folder("interrupted/many"));
    for (int i = 0; i < 12; i++) assert_true(out_file_commit(&out[i], &err));
    assert_int_equal(count_entries(in_folder("interrupted")), 2);
}

/* kill -9 leaves the temporary file; while its writer lives it is locked, and nobody else's business. */
static void test_out_file_removes_those_of_killed_runs(void **state) {
    (void)state;
    struct error err;
    int ready[2];
    char byte;
    fresh_folder("killed");
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct out_file out;
        bool ok = out_file_open(&out, in_folder("killed/file"), &err) && write(ready[1], "x", 1) == 1;
        pause();
        _exit(ok);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    write_bytes(in_folder("killed/file.partial-abcdef"), "left", 4); /* of a version that did not lock */
    write_bytes(in_folder("killed/file.partial-abcdefg"), "mine", 4);
    write_bytes(in_folder("killed/other.partial-abcdef"), "mine", 4);
    write_whole(in_folder("killed/file"), "whole");
    assert_int_equal(count_entries(in_folder("killed")), 4); /* file, the child's, mine, mine */
    assert_int_equal(access(in_folder("killed/file.partial-abcdef"), F_OK), -1);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_true(out_file_check(in_folder("killed/file"), &err));
    assert_int_equal(count_entries(in_folder("killed")), 3);
    assert_file_is(in_folder("killed/file"), "whole");
    close(ready[0]);
    close(ready[1]);
}

static void test_out_file_takes_the_longest_names(void **state) {
    (void)state;
    struct error err;
    struct out_file out;
    char name[300] = "long/";
    fresh_folder("long");
    while (strlen(name) < 5 + 254) strcat(name, "\xc3\xa9"); /* 254 bytes, cut between two for the temporary name */
    write_whole(in_folder(name), "whole");
    assert_file_is(in_folder(name), "whole");
    strcat(name, "x");
    write_whole(in_folder(name), "longest");
    assert_file_is(in_folder(name), "longest");
    assert_int_equal(count_entries(in_folder("long")), 2);
    strcat(name, "x");
    assert_false(out_file_open(&out, in_folder(name), &err)); /* of 256 bytes, and not after all the work */
    assert_contains(err.text, "File name too long");
    assert_int_equal(count_entries(in_folder("long")), 2);
}

static void test_out_file_leaves_a_protected_file(void **state) {
    (void)state;
    struct error err;
    struct out_file out;
    write_bytes(in_folder("protected"), "mine", 4);
    assert_int_equal(chmod(in_folder("protected"), 0444), 0);
    assert_false(out_file_open(&out, in_folder("protected"), &err));
    assert_error(err.text, in_folder("protected"), "write-protected");
    assert_false(out_file_check(in_folder("protected"), &err));
    assert_file_is(in_folder("protected"), "mine");
}

/* A file size limit is a disk that is full: the write fails part way. */
static void test_out_file_keeps_the_old_file_when_the_disk_is_full(void **state) {
    (void)state;
    struct rlimit old, small;
    struct error err;
    static const size_t sizes[] = {2000, 1000000}; /* noticed in the last flush, and long before it */
    fresh_folder("full");
    write_whole(in_folder("full/old"), "old");
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    for (int i = 0; i < 2; i++) {
        struct out_file out = opened(in_folder("full/old"));
        small = old, small.rlim_cur = 1000;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        for (size_t k = 0; k < sizes[i]; k++) fputc('x', out.stream);
        bool committed = out_file_commit(&out, &err);
        setrlimit(RLIMIT_FSIZE, &old);
        assert_false(committed);
        assert_error(err.text, in_folder("full/old"), "could not be written");
        assert_file_is(in_folder("full/old"), "old");
        assert_int_equal(count_entries(in_folder("full")), 1);
    }
    signal(SIGXFSZ, handler);
}

static void test_out_file_to_a_device_or_pipe_writes_into_it(void **state) {
    (void)state;
    struct error err;
    struct stat info;
    if (stat("/dev/full", &info) != 0) skip(); /* Linux has it */
    static const size_t sizes[] = {10, 1000000};
    for (int i = 0; i < 2; i++) {
        struct out_file out = opened("/dev/full");
        for (size_t k = 0; k < sizes[i]; k++) fputc('x', out.stream);
        assert_false(out_file_commit(&out, &err));
        assert_error(err.text, "/dev/full", "No space left on device");
        assert_int_equal(stat("/dev/full", &info), 0);
        assert_true(S_ISCHR(info.st_mode));
    }
    assert_int_equal(mkfifo(in_folder("pipe"), 0600), 0);
    int reader = open(in_folder("pipe"), O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    write_whole(in_folder("pipe"), "through");
    char text[16] = "";
    assert_int_equal(read(reader, text, sizeof text), 7);
    assert_string_equal(text, "through");
    close(reader);
    assert_int_equal(lstat(in_folder("pipe"), &info), 0);
    assert_true(S_ISFIFO(info.st_mode));
}

static void test_out_file_refuses_what_it_cannot_write(void **state) {
    (void)state;
    static char long_name[5000];
    memset(long_name, 'x', sizeof long_name - 1);
    write_bytes(in_folder("plain"), "x", 1);
    fresh_folder("a-folder");
    const struct {
        const char *path, *expected;
    } cases[] = {{"", "empty"},
                 {long_name, "too long"},
                 {in_folder("missing/file"), "No such file or directory"},
                 {in_folder("plain/file"), "Not a directory"},
                 {in_folder("a-folder"), "is a folder"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct out_file out;
        struct error err = {""};
        assert_false(out_file_open(&out, cases[i].path, &err));
        assert_contains(err.text, cases[i].expected);
        if (i >= 2) assert_error(err.text, cases[i].path, cases[i].expected);
    }
    assert_int_equal(count_entries(in_folder("a-folder")), 0);
}

static void test_out_file_that_cannot_be_renamed_leaves_nothing(void **state) {
    (void)state;
    struct error err;
    fresh_folder("rename");
    struct out_file out = opened(in_folder("rename/target"));
    fresh_folder("rename/target"); /* in the way */
    assert_false(out_file_commit(&out, &err));
    assert_error(err.text, in_folder("rename/target"), "could not be written");
    assert_int_equal(count_entries(in_folder("rename")), 1);
}

static void test_out_file_follows_symbolic_links(void **state) {
    (void)state;
    struct stat info;
    fresh_folder("links"), fresh_folder("elsewhere");
    write_whole(in_folder("elsewhere/target"), "old");
    assert_int_equal(symlink("../elsewhere/target", in_folder("links/link")), 0);
    write_whole(in_folder("links/link"), "new");
    assert_int_equal(lstat(in_folder("links/link"), &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_file_is(in_folder("elsewhere/target"), "new");
    assert_int_equal(count_entries(in_folder("links")), 1);
    assert_int_equal(count_entries(in_folder("elsewhere")), 1);
}

static int mode_of(const char *path) {
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return info.st_mode & 0777;
}

static void test_out_file_permissions(void **state) {
    (void)state;
    mode_t mask = umask(027);
    write_whole(in_folder("fresh"), "x");
    umask(mask);
    assert_int_equal(mode_of(in_folder("fresh")), 0640); /* as of any new file, not mkstemp's 0600 */
    static const mode_t modes[] = {0600, 0644, 0755, 0664};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(chmod(in_folder("fresh"), modes[i]), 0);
        write_whole(in_folder("fresh"), "y");
        assert_int_equal(mode_of(in_folder("fresh")), modes[i]);
    }
}

static void test_folder_create(void **state) {
    (void)state;
    struct error err;
    static char long_name[5000];
    memset(long_name, 'x', sizeof long_name - 1);
    assert_true(folder_create(in_folder("a/b//c"), &err));
    assert_true(folder_create(in_folder("a/b/c/"), &err)); /* is there already */
    assert_true(folder_create("/", &err));
    assert_int_equal(count_entries(in_folder("a/b")), 1);
    write_bytes(in_folder("a/file"), "x", 1);
    assert_false(folder_create(in_folder("a/file"), &err));
    assert_error(err.text, in_folder("a/file"), "is not a folder");
    assert_false(folder_create(in_folder("a/file/d/e"), &err));
    assert_error(err.text, in_folder("a/file/d"), "Not a directory");
    assert_false(folder_create("", &err));
    assert_false(folder_create(long_name, &err));
    assert_contains(err.text, "too long");
}

/* Of a table that had no memory for its title a view takes NULL: bench crashed where one allocation failed. */
static void test_a_table_without_a_title_is_out_of_memory(void **state) {
    (void)state;
    struct table t;
    struct error err = {""};
    table_init(&t, NULL, "a b");
    table_row(&t, "%d | %d", 1, 2);
    assert_true(t.out_of_memory);
    assert_false(table_save(&t, NULL, test_folder, "none", &err));
    assert_non_null(strstr(err.text, "out of memory"));
    table_free(&t);
}

static void test_file_read_all(void **state) {
    (void)state;
    struct error err;
    unsigned char *data;
    size_t size;
    uint64_t bytes;
    write_bytes(in_folder("seven"), "a\0b\nc\xff!", 7);
    write_bytes(in_folder("empty"), "", 0);
    assert_true(file_read_all(in_folder("seven"), 7, &data, &size, &err)); /* the limit itself is allowed */
    assert_int_equal(size, 7);
    assert_memory_equal(data, "a\0b\nc\xff!", 8); /* and a NUL behind it */
    free(data);
    assert_true(file_read_all(in_folder("empty"), 0, &data, &size, &err));
    assert_int_equal(size, 0);
    assert_int_equal(data[0], 0);
    free(data);
    assert_true(file_size(in_folder("seven"), &bytes, &err));
    assert_int_equal(bytes, 7);
}

enum { SHORT = 3000, LONG = 200000 };
static void write_one_of_two(const char *path, int which) {
    struct out_file out;
    struct error err;
    if (!out_file_open(&out, path, &err)) _exit(1);
    for (int i = 0; i < (which ? LONG : SHORT); i++) fputc("sl"[which], out.stream);
    if (!out_file_commit(&out, &err)) _exit(1);
}

static bool begins_well(void *context, const unsigned char *data, size_t have, size_t whole, struct error *err) {
    (void)context;
    size_t expected = data[0] == 's' ? SHORT : LONG;
    return (whole == expected && have >= SHORT) || (fail)(err, "%zu of %zu bytes", have, whole);
}

/* While a file is replaced by a longer or shorter one, a reader gets the one or the other, whole, and never an error.
 */
static void test_a_reader_beside_a_writer_gets_whole_files(void **state) {
    (void)state;
    unsigned char *data;
    size_t size;
    struct error err;
    int seen[2] = {0};
    const char *path = in_folder("replaced");
    pid_t child = writer_begins(write_one_of_two, path);
    for (double end = seconds_now() + 1; seconds_now() < end || !seen[0] || !seen[1];) {
        if (!file_read_judged(path, LONG, seen[0] % 2 ? begins_well : NULL, NULL, &data, &size, &err))
            fail_msg("%s", err.text);
        bool is_long = size == LONG;
        assert_true(is_long || size == SHORT);
        for (size_t i = 0; i < size; i++) assert_true(data[i] == "sl"[is_long]);
        seen[is_long]++;
        free(data);
    }
    writer_ends(child);
    unlink(path);
}

static void test_file_read_all_refuses(void **state) {
    (void)state;
    write_bytes(in_folder("eight"), "12345678", 8);
    assert_int_equal(mkfifo(in_folder("nobody-writes"), 0600), 0);
    static const char *const cases[][2] = {{"eight", "is 8 bytes long, more than the 7"},
                                           {"not-there", "No such file or directory"},
                                           {"", "is not a regular file"},
                                           {"nobody-writes", "is not a regular file"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = {""};
        unsigned char *data = (unsigned char *)"";
        size_t size;
        assert_false(file_read_all(in_folder(cases[i][0]), 7, &data, &size, &err));
        assert_error(err.text, in_folder(cases[i][0]), cases[i][1]);
        assert_null(data);
    }
    struct error err;
    uint64_t bytes;
    assert_false(file_size(in_folder("not-there"), &bytes, &err));
    assert_error(err.text, in_folder("not-there"), "No such file or directory");
}

/* "-": from a file, a pipe, and nothing more when that is at its end. */
static void test_file_read_all_of_standard_input(void **state) {
    (void)state;
    static char large[200000];
    memset(large, 'x', sizeof large);
    write_bytes(in_folder("large"), large, sizeof large);
    int before = dup(STDIN_FILENO), ends[2];
    for (int piped = 0; piped < 2; piped++) {
        struct error err = {""};
        unsigned char *data;
        size_t size;
        pid_t writer = 0;
        if (piped) {
            assert_int_equal(pipe(ends), 0);
            if ((writer = fork()) == 0) {
                signal(SIGPIPE, SIG_IGN);
                for (int i = 0; i < 2; i++)
                    if (write(ends[1], large, sizeof large) < 0) _exit(1);
                _exit(0);
            }
            close(ends[1]);
        } else ends[0] = open(in_folder("large"), O_RDONLY);
        dup2(ends[0], STDIN_FILENO);
        close(ends[0]);
        assert_false(file_read_all("-", sizeof large - 1, &data, &size, &err));
        assert_error(err.text, "standard input", "199999");
        assert_null(data);
        lseek(STDIN_FILENO, 0, SEEK_SET);
        assert_true(file_read_all("-", sizeof large, &data, &size, &err));
        assert_int_equal(size, sizeof large);
        assert_memory_equal(data, large, size);
        free(data);
        assert_true(file_read_all("-", sizeof large, &data, &size, &err));
        assert_int_equal(size, 0);
        free(data);
        if (writer) waitpid(writer, NULL, 0);
    }
    dup2(before, STDIN_FILENO);
    close(before);
}

static void test_out_file_to_standard_output(void **state) {
    (void)state;
    struct error err;
    out_file_standard = open(in_folder("standard"), O_WRONLY | O_CREAT, 0600);
    write_whole("-", "through");
    assert_true(out_file_check("-", &err));
    close(out_file_standard);
    assert_file_is(in_folder("standard"), "through");
    out_file_standard = -1; /* closed */
    assert_false(out_file_check("-", &err));
    assert_error(err.text, "standard output", "cannot be written");
    out_file_standard = STDOUT_FILENO;
}

static void test_folder_check_leaves_everything_as_it_was(void **state) {
    (void)state;
    struct error err;
    struct stat info;
    fresh_folder("checked");
    assert_true(folder_check(in_folder("checked"), &err));
    assert_true(folder_check(in_folder("checked/new/deep//er/"), &err));
    assert_int_equal(count_entries(in_folder("checked")), 0);
    assert_int_equal(mkdir(in_folder("checked/there"), 0777), 0);
    assert_true(folder_check(in_folder("checked/there/"), &err));
    assert_int_equal(stat(in_folder("checked/there"), &info), 0);
    write_whole(in_folder("checked/file"), "x");
    assert_false(folder_check(in_folder("checked/file"), &err));
    assert_error(err.text, in_folder("checked/file"), "is not a folder");
    assert_false(folder_check(in_folder("checked/file/new"), &err));
    assert_false(folder_check("", &err));
    assert_int_equal(count_entries(in_folder("checked")), 2);
}

/* ---- progress ---- */

/* What two bars, one in the other, draw on a terminal of so many columns. */
static void draw_on_terminal(int columns, char *drawn, size_t size) {
    struct winsize window = {.ws_row = 30, .ws_col = (unsigned short)columns};
    int master = posix_openpt(O_RDWR | O_NOCTTY), before = dup(STDERR_FILENO);
    assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    int terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
    assert_int_equal(ioctl(terminal, TIOCSWINSZ, &window), 0);
    dup2(terminal, STDERR_FILENO);
    struct progress outer, inner;
    progress_begin(&outer, "every rung of the ladder", "networks");
    progress_update(&outer, 0, 10);
    progress_update(&outer, 1, 10);
    progress_begin(&inner, "quantization-aware training", "images");
    progress_update(&inner, 10, 30); /* the first word of a work that began unseen: no rate, and no time left */
    progress_update(&inner, 30, 30);
    progress_end(&inner);
    progress_end(&outer);
    fflush(stderr);
    dup2(before, STDERR_FILENO);
    close(before);
    close(terminal);
    size_t used = 0;
    for (ssize_t got; (got = read(master, drawn + used, size - 1 - used)) > 0;) used += (size_t)got;
    drawn[used] = 0;
    close(master);
}

static void test_progress_is_one_line_within_the_terminal(void **state) {
    (void)state;
    static const int widths[] = {20, 40, 80, 120, 300};
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        char drawn[4096], *last = NULL;
        draw_on_terminal(widths[i], drawn, sizeof drawn);
        assert_null(strchr(drawn, '\n'));
        for (char *line = drawn; (line = strchr(line, '\r')); line++) {
            size_t length = strcspn(line + 1, "\033\r");
            assert_true(length < (size_t)widths[i]);
            if (length) last = line + 1;
        }
        assert_non_null(last);
        assert_true(strstr(last, "1/10") != NULL);
        if (widths[i] >= 80) assert_contains(drawn, "]  33%\033[K");
        if (widths[i] < 80) continue;
        assert_contains(last, "quantization-aware training [#");
        assert_contains(last, "] 100%  ");
        assert_contains(last, "images/s  0 s left");
        assert_contains(last, "\033[K");
        assert_true((strstr(last, "every rung of the ladder 1/10, ") != NULL) == (widths[i] >= 120));
    }
}

static void test_progress_is_silent_away_from_a_terminal(void **state) {
    (void)state;
    struct progress p;
    write_bytes(in_folder("stderr"), "", 0);
    int saved_stderr = dup(STDERR_FILENO), file = open(in_folder("stderr"), O_WRONLY);
    dup2(file, STDERR_FILENO);
    progress_begin(&p, "training", "images");
    for (size_t i = 0; i <= 10; i++) progress_update(&p, i, 10);
    progress_update(&p, 0, 0);
    progress_end(&p);
    fflush(stderr);
    dup2(saved_stderr, STDERR_FILENO);
    close(file), close(saved_stderr);
    assert_file_is(in_folder("stderr"), "");
    double before = seconds_now();
    assert_true(seconds_now() >= before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_text_is_one_line_without_control_characters),
        cmocka_unit_test(test_error_text_that_is_too_long_is_cut),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_text_that_could_steer_a_terminal_is_masked),
        cmocka_unit_test(test_text_lines),
        cmocka_unit_test(test_mistyped_words),
        cmocka_unit_test(test_fail_in_puts_a_prefix_before_the_text),
        cmocka_unit_test(test_block_arrays_are_aligned_zeroed_and_apart),
        cmocka_unit_test(test_block_that_overflows_is_out_of_memory),
        cmocka_unit_test(test_aligned_array),
        cmocka_unit_test(test_rng_stream_is_xoshiro256_plus_plus),
        cmocka_unit_test(test_rng_uniform_fills_zero_to_one),
        cmocka_unit_test(test_rng_below_is_in_range),
        cmocka_unit_test(test_rng_below_has_no_modulo_bias),
        cmocka_unit_test(test_rng_normal_has_mean_0_variance_1),
        cmocka_unit_test(test_rng_shuffle_is_a_seeded_permutation),
        cmocka_unit_test(test_rng_shuffle_gives_every_order_alike),
        cmocka_unit_test(test_table_has_the_same_digits_in_every_form),
        cmocka_unit_test(test_table_in_groups),
        cmocka_unit_test(test_table_json_is_json_with_the_same_digits),
        cmocka_unit_test(test_table_without_rows),
        cmocka_unit_test(test_table_has_no_minus_zero),
        cmocka_unit_test(test_table_survives_hostile_text),
        cmocka_unit_test(test_table_keeps_long_text_whole),
        cmocka_unit_test(test_table_fits_the_terminal),
        cmocka_unit_test(test_table_breaks_no_word_for_columns_that_it_leaves_out),
        cmocka_unit_test(test_table_row_keeps_hostile_arguments_in_their_cells),
        cmocka_unit_test(test_provenance_that_is_full_or_long_does_no_harm),
        cmocka_unit_test(test_table_that_cannot_be_saved_says_where),
        cmocka_unit_test(test_out_file_appears_only_when_committed),
        cmocka_unit_test(test_out_file_discard_leaves_nothing),
        cmocka_unit_test(test_out_file_discard_all_leaves_nothing),
        cmocka_unit_test(test_out_file_removes_those_of_killed_runs),
        cmocka_unit_test(test_out_file_takes_the_longest_names),
        cmocka_unit_test(test_out_file_leaves_a_protected_file),
        cmocka_unit_test(test_out_file_keeps_the_old_file_when_the_disk_is_full),
        cmocka_unit_test(test_out_file_to_a_device_or_pipe_writes_into_it),
        cmocka_unit_test(test_out_file_refuses_what_it_cannot_write),
        cmocka_unit_test(test_out_file_that_cannot_be_renamed_leaves_nothing),
        cmocka_unit_test(test_out_file_follows_symbolic_links),
        cmocka_unit_test(test_out_file_permissions),
        cmocka_unit_test(test_folder_create),
        cmocka_unit_test(test_a_table_without_a_title_is_out_of_memory),
        cmocka_unit_test(test_file_read_all),
        cmocka_unit_test(test_a_reader_beside_a_writer_gets_whole_files),
        cmocka_unit_test(test_file_read_all_refuses),
        cmocka_unit_test(test_file_read_all_of_standard_input),
        cmocka_unit_test(test_out_file_to_standard_output),
        cmocka_unit_test(test_folder_check_leaves_everything_as_it_was),
        cmocka_unit_test(test_progress_is_one_line_within_the_terminal),
        cmocka_unit_test(test_progress_is_silent_away_from_a_terminal),
    };
    return cmocka_run_group_tests_name("base", tests, folder_setup, folder_teardown);
}
