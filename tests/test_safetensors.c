/* The safetensors container: what is whole round-trips, everything else is refused before it is used. */
#include "model/safetensors.h"

#include <cjson/cJSON.h>

#include "support.h"

/* A file from parts: length of the header, header, data_size bytes 1, 2, 3, ... length 0 means the true one.
 */
static size_t build(unsigned char *to, const char *header, size_t header_size, uint64_t length, size_t data_size) {
    if (!length) length = header_size;
    for (int i = 0; i < 8; i++) to[i] = (unsigned char)(length >> (8 * i));
    memcpy(to + 8, header, header_size);
    for (size_t i = 0; i < data_size; i++) to[8 + header_size + i] = (unsigned char)(i + 1);
    return 8 + header_size + data_size;
}

static void write_file(const char *name, const char *header, size_t data_size) {
    static unsigned char bytes[1 << 16];
    assert_true(8 + strlen(header) + data_size <= sizeof bytes);
    write_bytes(in_folder(name), bytes, build(bytes, header, strlen(header), 0, data_size));
}

/* A struct st_file has room for 256 tensors: too much for a stack. */
static struct st_file file;

static void assert_reads(const char *name) {
    struct error err = {""};
    if (!st_read(in_folder(name), &file, &err)) fail_msg("%s", err.text);
}

static void assert_refused(const char *name, const char *expected) {
    struct error err = {""};
    const char *path = in_folder(name);
    if (st_read(path, &file, &err)) fail_msg("was read; expected: %s", expected);
    assert_error(err.text, path, expected);
    assert_null(file.bytes);
    assert_int_equal(file.tensor_count, 0);
    st_free(&file);
}

static const float matrix[6] = {1.5f, -2, 0, 3e38f, 1e-45f, -0.0f};
static const int8_t codes[5] = {-128, -1, 0, 1, 127};
static const int32_t bias[2] = {INT32_MIN, INT32_MAX};
static const uint16_t halves[3] = {0x3c00, 0xfbff, 1};
static const uint8_t zero_point[1] = {255};

static bool write_example_or_not(const char *name, struct error *err) {
    struct st_file *out = calloc(1, sizeof *out);
    assert_non_null(out);
    st_add_metadata(out, "text", "%s = %d \"quoted\" \\ \n ü", "a", 1); /* JSON escapes */
    st_add_metadata(out, "seed", "%llu", 18446744073709551615ull);
    st_add(out, "zero_point", ST_U8, 1, 0, zero_point); /* narrow first: must come out last */
    st_add(out, "codes", ST_I8, 5, 1, codes);
    st_add(out, "half", ST_F16, 3, 0, halves);
    st_add(out, "bias", ST_I32, 2, 0, bias);
    st_add(out, "brain", ST_BF16, 1, 3, halves);
    st_add(out, "fc1.weight", ST_F32, 2, 3, matrix);
    bool ok = st_write(in_folder(name), out, err);
    free(out);
    return ok;
}

static void write_example(const char *name) {
    struct error err;
    if (!write_example_or_not(name, &err)) fail_msg("%s", err.text);
}

static void assert_tensor(const char *name, enum st_dtype dtype, int dimensions, size_t rows, size_t cols,
                          const void *data) {
    const struct st_tensor *t = st_find(&file, name);
    assert_non_null(t);
    assert_int_equal(t->dtype, dtype);
    assert_int_equal(t->dimensions, dimensions);
    assert_int_equal(t->shape[0], rows);
    if (dimensions == 2) assert_int_equal(t->shape[1], cols);
    assert_int_equal(t->elements, rows * (dimensions == 2 ? cols : 1));
    assert_int_equal(t->bytes, t->elements * st_types[dtype].bytes);
    assert_memory_equal(t->data, data, t->bytes);
}

static void test_written_file_reads_back(void **state) {
    (void)state;
    write_example("example");
    assert_reads("example");
    assert_int_equal(file.tensor_count, 6);
    assert_tensor("fc1.weight", ST_F32, 2, 2, 3, matrix);
    assert_tensor("bias", ST_I32, 1, 2, 0, bias);
    assert_tensor("half", ST_F16, 1, 3, 0, halves);
    assert_tensor("brain", ST_BF16, 2, 1, 3, halves);
    assert_tensor("codes", ST_I8, 2, 5, 1, codes);
    assert_tensor("zero_point", ST_U8, 1, 1, 0, zero_point);
    assert_string_equal(st_metadata(&file, "text"), "a = 1 \"quoted\" \\ \n ü");
    assert_string_equal(st_metadata(&file, "seed"), "18446744073709551615");
    assert_null(st_metadata(&file, "Seed"));
    assert_null(st_find(&file, "BIAS"));
    st_free(&file);
    assert_null(st_find(&file, "bias"));
}

/* Readers map the file and expect each tensor at a multiple of its element's size. */
static void test_written_tensors_are_aligned_and_cover_the_file(void **state) {
    (void)state;
    write_example("example");
    assert_reads("example");
    size_t at = 8 + file.header_bytes;
    assert_int_equal(file.header_bytes % 8, 0);
    for (size_t i = 0; i < file.tensor_count; i++) {
        const struct st_tensor *t = &file.tensors[i];
        assert_ptr_equal(t->data, file.bytes + at); /* in the order of their bytes, no gap */
        assert_int_equal(at % st_types[t->dtype].bytes, 0);
        at += t->bytes;
    }
    assert_int_equal(at, file.file_bytes);
    st_free(&file);
}

/* Written by hand after the format's description, as another program would: any order, spaces, unknown
 * fields. */
static void test_a_file_of_another_program_is_read(void **state) {
    (void)state;
    write_file("other",
               " {\"b\" : {\"shape\":[2],\"data_offsets\":[4, 6],\"dtype\":\"I8\",\"extra\":[{}]},\n"
               "\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1],\"data_offsets\":[0,4]},"
               "\"scalar\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[6,7]},"
               "\"none\":{\"dtype\":\"F32\",\"shape\":[0,5],\"data_offsets\":[4,4]},"
               "\"nobody\":{\"dtype\":\"F32\",\"shape\":[3,0],\"data_offsets\":[7,7]}}    ",
               7);
    assert_reads("other");
    assert_int_equal(file.tensor_count, 5);
    assert_tensor("a", ST_F32, 3, 1, 1, "\1\2\3\4");
    assert_tensor("b", ST_I8, 1, 2, 0, "\5\6");
    const struct st_tensor *scalar = st_find(&file, "scalar"), *none = st_find(&file, "none");
    assert_int_equal(scalar->dimensions, 0);
    assert_int_equal(scalar->elements, 1);
    assert_int_equal(*(const unsigned char *)scalar->data, 7);
    assert_int_equal(none->elements, 0);
    assert_int_equal(none->bytes, 0);
    st_free(&file);
    write_file("other", "{}", 0);
    assert_reads("other");
    assert_int_equal(file.tensor_count, 0);
    st_free(&file);
    write_file("other", "{\"__metadata__\":{}}", 0);
    assert_reads("other");
    st_free(&file);
    write_file("other", "{}  \n\t\r\n", 0); /* JSON's white space, as writers leave it behind a header */
    assert_reads("other");
    st_free(&file);
}

#define T(name, dtype, shape, begin, end)                                                                              \
    "\"" name "\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"
#define F32 "\"F32\""
#define U8 "\"U8\""

static void test_bad_headers_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data_size;
        const char *expected;
    } cases[] = {
        /* bytes that belong to nothing, or to two */
        {"{" T("a", U8, "[2]", 0, 2) "," T("b", U8, "[2]", 3, 5) "}", 5, "bytes before tensor b belong to nothing"},
        {"{" T("a", U8, "[2]", 1, 3) "}", 3, "bytes before tensor a belong to nothing"},
        {"{" T("a", U8, "[2]", 0, 2) "}", 3, "1 bytes after the last tensor belong to nothing"},
        {"{}", 1, "1 bytes after the last tensor"},
        {"{" T("a", U8, "[2]", 0, 2) "," T("b", U8, "[2]", 1, 3) "}", 3, "tensor b overlaps"},
        {"{" T("a", U8, "[2]", 0, 2) "," T("b", U8, "[2]", 0, 2) "}", 2, "overlaps"},
        {"{" T("a", U8, "[4]", 0, 4) "," T("b", U8, "[2]", 1, 3) "}", 4, "tensor b overlaps"},
        {"{" T("a", U8, "[0]", 1, 1) "," T("b", U8, "[2]", 0, 2) "}", 2, "overlaps"}, /* nothing, but inside b */
        /* offsets */
        {"{" T("a", U8, "[2]", 0, 2) "}", 1, "out of range, the data is 1 bytes long"},
        {"{" T("a", U8, "[2]", 2, 0) "}", 2, "out of range"},
        {"{" T("a", U8, "[1]", -1, 0) "}", 1, "no data_offsets"},
        {"{" T("a", U8, "[1]", 0.5, 1.5) "}", 2, "no data_offsets"},
        {"{" T("a", U8, "[1]", 0, 1e300) "}", 1, "no data_offsets"},
        {"{" T("a", U8, "[1]", 0, 1e999) "}", 1, "no data_offsets"}, /* infinite */
        {"{" T("a", U8, "[1]", 0, 18446744073709551616) "}", 1, "no data_offsets"},
        {"{" T("a", U8, "[1]", 9007199254740992, 9007199254740992) "}", 1, "out of range"},
        {"{" T("a", U8, "[1]", "0", 1) "}", 1, "no data_offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "tensor a has no data_offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1, "no data_offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,1]}}", 1, "no data_offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":{\"x\":0,\"y\":1}}}", 1, "no data_offsets"},
        /* shapes */
        {"{" T("a", F32, "[2]", 0, 4) "}", 4, "its shape needs 8 bytes, its offsets give 4"},
        {"{" T("a", F32, "[]", 0, 1) "}", 1, "its shape needs 4 bytes, its offsets give 1"},
        {"{" T("a", U8, "[0]", 0, 1) "}", 1, "its shape needs 0 bytes, its offsets give 1"},
        {"{" T("a", U8, "[-1]", 0, 1) "}", 1, "not of whole numbers"},
        {"{" T("a", U8, "[1.5]", 0, 1) "}", 1, "not of whole numbers"},
        {"{" T("a", U8, "[1e300]", 0, 1) "}", 1, "not of whole numbers"},
        {"{" T("a", U8, "[null]", 0, 1) "}", 1, "not of whole numbers"},
        {"{" T("a", U8, "[[1]]", 0, 1) "}", 1, "not of whole numbers"},
        {"{" T("a", U8, "[4294967296,4294967296]", 0, 1) "}", 1, "too large"}, /* 2^64 wraps to 0 */
        {"{" T("a", F32, "[4611686018427387904,4]", 0, 1) "}", 1, "not of whole numbers"},
        {"{" T("a", F32, "[65536,65536,65536,65536]", 0, 0) "}", 0, "too large"},
        {"{" T("a", U8, "[1,1,1,1,1,1,1,1,1]", 0, 1) "}", 1, "more than 8 dimensions"},
        {"{" T("a", U8, "1", 0, 1) "}", 1, "has no shape"},
        {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "has no shape"},
        /* dtypes */
        {"{" T("a", "\"I64\"", "[1]", 0, 8) "}", 8,
         "has the dtype I64: expected F32, F16, BF16, I32, I8, U8, F8_E4M3, F8_E5M2 or F64"},
        {"{" T("a", "\"f32\"", "[1]", 0, 4) "}", 4, "has the dtype f32"},
        {"{" T("a", "\"\"", "[1]", 0, 4) "}", 4, "has the dtype :"},
        {"{" T("a", "\"\\n\\u001b[31m\"", "[1]", 0, 4) "}", 4, "has the dtype ??[31m"},
        {"{" T("a", "4", "[1]", 0, 4) "}", 4, "has no dtype"},
        {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "has no dtype"},
        /* names and structure */
        {"{" T("a", U8, "[1]", 0, 1) "," T("a", U8, "[1]", 1, 2) "}", 2, "two tensors are called a"},
        {"{\"a\":[]}", 0, "tensor a is not described by an object"},
        {"{\"a\":null}", 0, "tensor a is not described by an object"},
        {"{\"__metadata__\":[]}", 0, "__metadata__ is not an object"},
        {"{\"__metadata__\":{\"seed\":1}}", 0, "metadata seed is not a text"},
        {"{\"__metadata__\":{\"a\":{\"b\":\"c\"}}}", 0, "metadata a is not a text"},
        {"[]", 0, "not a JSON object"},
        {"\"text\"", 0, "not a JSON object"},
        {"12", 0, "not a JSON object"},
        {"null", 0, "not a JSON object"},
        {"  ", 0, "not a JSON object"},
        {"{\"a\":", 0, "not a JSON object"},
        {"{\"a\":1,", 0, "not a JSON object"}, /* cJSON 1.7.15 read one byte too far here (CVE-2023-53154) */
        {"{\"a\"", 0, "not a JSON object"},
        {"{\"a", 0, "not a JSON object"},
        {"{\"a\\", 0, "not a JSON object"},
        {"{\"\\u", 0, "not a JSON object"},
        {"{\"\\ud800\":1}", 0, "not a JSON object"}, /* half a surrogate pair */
        {"{}}", 0, "followed by something else"},
        {"{} {}", 0, "followed by something else"},
        {"{}\n\v", 0, "followed by something else"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_file("bad", cases[i].header, cases[i].data_size);
        assert_refused("bad", cases[i].expected);
    }
}

static void test_header_lengths_that_lie_are_refused(void **state) {
    (void)state;
    static const uint64_t lengths[] = {1,
                                       3,
                                       1000,
                                       1 << 20,
                                       (1 << 20) + 1,
                                       (uint64_t)1 << 32,
                                       (uint64_t)1 << 62,
                                       (uint64_t)1 << 63,
                                       UINT64_MAX - 7,
                                       UINT64_MAX};
    unsigned char bytes[64];
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        write_bytes(in_folder("length"), bytes, build(bytes, "{}", 2, lengths[i], 0));
        assert_refused("length", "promise a header of");
    }
    memset(bytes, 0, 8);
    write_bytes(in_folder("length"), bytes, 8);
    assert_refused("length", "promise a header of 0 bytes");
    for (size_t n = 0; n < 8; n++) {
        write_bytes(in_folder("length"), bytes, n);
        assert_refused("length", "too short for a safetensors file");
    }
}

/* A header of more than 1 MiB that really is there: 2 MiB of spaces. */
static void test_header_that_is_too_long_is_refused(void **state) {
    (void)state;
    size_t size = 2 << 20;
    char *header = malloc(size);
    unsigned char *bytes = malloc(size + 8);
    memset(header, ' ', size);
    memcpy(header, "{}", 2);
    write_bytes(in_folder("long"), bytes, build(bytes, header, size, 0, 0));
    assert_refused("long", "promise a header of 2097152 bytes");
    free(header), free(bytes);
}

/* text, then count times one byte, then the end */
static void write_repeated(const char *name, const char *text, char byte, size_t count, const char *end) {
    size_t before = strlen(text), after = strlen(end);
    char *header = malloc(before + count + after);
    unsigned char *bytes = malloc(8 + before + count + after);
    memcpy(header, text, before);
    memset(header + before, byte, count);
    memcpy(header + before + count, end, after);
    write_bytes(in_folder(name), bytes, build(bytes, header, before + count + after, 0, 0));
    free(header), free(bytes);
}

static void test_deep_nesting_is_refused(void **state) {
    (void)state;
    static const size_t depths[] = {10, 999, 1001, 100000, 1000000};
    for (size_t i = 0; i < sizeof depths / sizeof depths[0]; i++) {
        const char *expected = depths[i] > 15 ? "nests deeper" : "not a JSON object";
        write_repeated("deep", "", '[', depths[i], "");
        assert_refused("deep", expected);
        write_repeated("deep", "{\"a\":", '[', depths[i], "]}");
        assert_refused("deep", expected);
    }
}

static void test_long_names_are_refused(void **state) {
    (void)state;
    write_repeated("name", "{\"", 'n', ST_NAME, "\":{}}");
    assert_refused("name", "name is longer than 127 bytes: nnnn");
    write_repeated("name", "{\"", 'n', 900000, "\":{}}");
    assert_refused("name", "name is longer than 127 bytes: nnnn");
    write_repeated("name", "{\"", 'n', ST_NAME - 1, "\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}");
    assert_reads("name");
    assert_int_equal(strlen(file.tensors[0].name), ST_NAME - 1);
    st_free(&file);
    write_repeated("name", "{\"__metadata__\":{\"key\":\"", 'v', 5000, "\"}}"); /* longer than is kept: cut */
    assert_reads("name");
    assert_int_equal(strlen(st_metadata(&file, "key")), ST_TEXT - 1);
    st_free(&file);
}

/* NUL bytes: where C would see the end of a text. */
static void test_nul_bytes_in_the_header_are_refused(void **state) {
    (void)state;
    static const char tensor[] = "{\"a\0b\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}";
    static const char behind[] = "{}\0\0\0\0\0\0", inside[] = "{\0}", only[] = "\0\0\0\0";
    static const char escaped[] = "{\"a\\u0000b\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}";
    static const struct {
        const char *header;
        size_t size;
    } cases[] = {{tensor, sizeof tensor - 1},
                 {behind, sizeof behind - 1},
                 {inside, sizeof inside - 1},
                 {only, sizeof only - 1},
                 {escaped, sizeof escaped - 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned char bytes[256];
        write_bytes(in_folder("nul"), bytes, build(bytes, cases[i].header, cases[i].size, 0, 0));
        assert_refused("nul", "its header holds a NUL character");
    }
}

/* {"t0": ..., "t1": ...} of count empty tensors, or so many metadata texts */
static void write_many(const char *name, int count, bool metadata) {
    static char header[1 << 15];
    size_t used = (size_t)sprintf(header, metadata ? "{\"__metadata__\":{" : "{");
    for (int i = 0; i < count; i++)
        used += (size_t)sprintf(header + used,
                                metadata ? "%s\"t%d\":\"x\""
                                         : "%s\"t%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
                                i ? "," : "", i);
    strcpy(header + used, metadata ? "}}" : "}");
    write_file(name, header, 0);
}

static void test_too_many_tensors_or_texts_are_refused(void **state) {
    (void)state;
    write_many("many", ST_MAX_TENSORS, false);
    assert_reads("many");
    assert_int_equal(file.tensor_count, ST_MAX_TENSORS);
    st_free(&file);
    write_many("many", ST_MAX_TENSORS + 1, false);
    assert_refused("many", "more than 256 tensors");
    write_many("many", ST_MAX_METADATA, true);
    assert_reads("many");
    assert_int_equal(file.metadata_count, ST_MAX_METADATA);
    st_free(&file);
    write_many("many", ST_MAX_METADATA + 1, true);
    assert_refused("many", "more than 64 metadata texts");
}

static void test_file_cut_at_any_byte_or_longer_is_refused(void **state) {
    (void)state;
    size_t size;
    write_example("example");
    char *whole = read_bytes(in_folder("example"), &size);
    for (size_t n = 0; n < size; n++) {
        write_bytes(in_folder("cut"), whole, n);
        assert_refused("cut", "");
    }
    write_bytes(in_folder("cut"), whole, size + 1); /* with the NUL that read_bytes puts behind it */
    assert_refused("cut", "1 bytes after the last tensor belong to nothing");
    free(whole);
}

static void test_what_is_no_file_is_refused(void **state) {
    (void)state;
    assert_refused("missing", "No such file or directory");
    assert_refused("", "is not a regular file");
}

static void test_failed_write_keeps_the_old_file(void **state) {
    (void)state;
    struct error err;
    struct st_file *out = calloc(1, sizeof *out);
    assert_non_null(out);
    st_add(out, "a", ST_F32, 2, 3, matrix);
    assert_false(st_write(in_folder("nowhere/file"), out, &err));
    assert_error(err.text, in_folder("nowhere/file"), "No such file or directory");
    assert_false(st_write(test_folder, out, &err));
    assert_error(err.text, test_folder, "is a folder");
    if (access("/dev/full", W_OK) == 0) {
        assert_false(st_write("/dev/full", out, &err));
        assert_error(err.text, "/dev/full", "No space left");
    }
    free(out);
}

/* The header says what cJSON reads back, whatever the texts hold. */
static void test_header_is_json(void **state) {
    (void)state;
    static const char odd[] = "a \"quote\", a \\, \b\f\n\r\t\x01\x1f\x7f, \xc3\xa9 and \xe6\xbc\xa2";
    struct error err;
    struct st_file *file = calloc(1, sizeof *file);
    size_t size;
    float one = 1;
    st_add(file, "a.b", ST_F32, 1, 0, &one);
    st_add_metadata(file, "k\"ey", "%s", odd);
    assert_true(st_write(in_folder("odd"), file, &err));
    char *bytes = read_bytes(in_folder("odd"), &size);
    cJSON *root = cJSON_ParseWithLength(bytes + 8, size - 8 - 4);
    assert_non_null(root);
    const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(root, "__metadata__");
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(metadata, "k\"ey")), odd);
    const cJSON *offsets = cJSON_GetObjectItem(cJSON_GetObjectItemCaseSensitive(root, "a.b"), "data_offsets");
    assert_close(cJSON_GetNumberValue(cJSON_GetArrayItem(offsets, 1)), 4, 0);
    cJSON_Delete(root);
    free(bytes);
    assert_true(st_read(in_folder("odd"), file, &err));
    assert_string_equal(file->metadata[0].text, odd);
    st_free(file);
    free(file);
}

/* st_copy gives what the machine calls 1.5, whatever its byte order, and turns it back. */
static void test_copies_between_byte_orders(void **state) {
    (void)state;
    static const unsigned char file_bytes[] = {0, 0, 0xc0, 0x3f, 1, 0, 0, 0x80};
    float floats[2];
    int32_t number;
    unsigned char back[8];
    st_copy(floats, file_bytes, 2, ST_F32);
    assert_close(floats[0], 1.5, 0);
    st_copy(&number, file_bytes + 4, 1, ST_I32);
    assert_int_equal(number, INT32_MIN + 1);
    st_copy(back, floats, 2, ST_F32);
    assert_memory_equal(back, file_bytes, 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_file_reads_back),
        cmocka_unit_test(test_written_tensors_are_aligned_and_cover_the_file),
        cmocka_unit_test(test_a_file_of_another_program_is_read),
        cmocka_unit_test(test_bad_headers_are_refused),
        cmocka_unit_test(test_header_lengths_that_lie_are_refused),
        cmocka_unit_test(test_header_that_is_too_long_is_refused),
        cmocka_unit_test(test_deep_nesting_is_refused),
        cmocka_unit_test(test_long_names_are_refused),
        cmocka_unit_test(test_nul_bytes_in_the_header_are_refused),
        cmocka_unit_test(test_too_many_tensors_or_texts_are_refused),
        cmocka_unit_test(test_file_cut_at_any_byte_or_longer_is_refused),
        cmocka_unit_test(test_what_is_no_file_is_refused),
        cmocka_unit_test(test_failed_write_keeps_the_old_file),
        cmocka_unit_test(test_header_is_json),
        cmocka_unit_test(test_copies_between_byte_orders),
    };
    return cmocka_run_group_tests_name("safetensors", tests, folder_setup, folder_teardown);
}
