/* IDX files: what is whole is read, plain and compressed alike; what is not is refused with one line. */
#include "base/file.h"
#include "base/progress.h"
#include "base/rng.h"
#include "data/idx.h"

#include "support.h"

#include <fcntl.h>

enum { HEADER = 16, IMAGE_BYTES = HEADER + 2 * 3 * 5, LABEL_BYTES = 8 + 7 };

/* Big-endian, as LeCun's machine wrote it. */
static void put_header(unsigned char *to, const uint32_t *fields, int count) {
    for (int i = 0; i < 4 * count; i++) to[i] = (unsigned char)(fields[i / 4] >> (24 - i % 4 * 8));
}

/* 2 images of 3 x 5 pixels, 7 labels. */
static void make_files(unsigned char images[IMAGE_BYTES], unsigned char labels[LABEL_BYTES]) {
    put_header(images, (uint32_t[]){0x803, 2, 3, 5}, 4);
    put_header(labels, (uint32_t[]){0x801, 7}, 2);
    for (int i = HEADER; i < IMAGE_BYTES; i++) images[i] = (unsigned char)(i * 37 + 11);
    for (int i = 8; i < LABEL_BYTES; i++) labels[i] = (unsigned char)(i * 3);
}

static void assert_reads(const char *path, int dimensions, size_t count, size_t rows, size_t cols, const void *data) {
    struct idx idx;
    struct error err = {""};
    if (!idx_read(path, dimensions, SIZE_MAX, &idx, &err)) fail_msg("%s", err.text);
    assert_int_equal(idx.dimensions, dimensions);
    assert_int_equal(idx.count, count);
    assert_int_equal(idx.rows, rows);
    assert_int_equal(idx.cols, cols);
    assert_memory_equal(idx.data, data, count * rows * cols);
    idx_free(&idx);
    assert_null(idx.data);
}

static void assert_refused(const char *path, int dimensions, const char *expected) {
    struct idx idx;
    struct error err = {""};
    memset(&idx, 0xa5, sizeof idx);
    if (idx_read(path, dimensions, SIZE_MAX, &idx, &err)) fail_msg("%s was read; expected: %s", path, expected);
    assert_error(err.text, path, expected);
    assert_null(idx.data);
    idx_free(&idx);
}

static void test_plain_and_compressed_give_the_same(void **state) {
    (void)state;
    unsigned char images[IMAGE_BYTES], labels[LABEL_BYTES];
    make_files(images, labels);
    write_bytes(in_folder("images"), images, IMAGE_BYTES);
    write_bytes(in_folder("labels"), labels, LABEL_BYTES);
    write_gz(in_folder("images.gz"), images, IMAGE_BYTES);
    write_gz(in_folder("labels.gz"), labels, LABEL_BYTES);
    for (int gz = 0; gz < 2; gz++) {
        assert_reads(in_folder(gz ? "images.gz" : "images"), 3, 2, 3, 5, images + HEADER);
        assert_reads(in_folder(gz ? "labels.gz" : "labels"), 1, 7, 1, 1, labels + 8);
    }
}

/* The first that breaks is what is told. */
static void test_file_cut_at_any_byte_is_refused(void **state) {
    (void)state;
    unsigned char images[IMAGE_BYTES], labels[LABEL_BYTES];
    char expected[64];
    make_files(images, labels);
    const char *path = in_folder("cut");
    for (size_t n = 0; n < IMAGE_BYTES; n++) {
        write_bytes(path, images, n);
        snprintf(expected, sizeof expected,
                 n < 4            ? "is only %zu bytes long"
                     : n < HEADER ? "header ends after %zu of 16"
                                  : "promises 30 bytes of data, %zu are there",
                 n < HEADER ? n : n - HEADER);
        assert_refused(path, 3, expected);
    }
    for (size_t n = 0; n < LABEL_BYTES; n++) {
        write_bytes(path, labels, n);
        assert_refused(path, 1, n < 4 ? "is only" : n < 8 ? "header ends" : "promises 7 bytes of data");
    }
}

/* Also inside the 8 bytes of checksum and length at its end, after which all data has been delivered. */
static void test_compressed_file_cut_at_any_byte_is_refused(void **state) {
    (void)state;
    unsigned char images[IMAGE_BYTES], labels[LABEL_BYTES];
    size_t size;
    make_files(images, labels);
    write_gz(in_folder("whole.gz"), images, IMAGE_BYTES);
    char *whole = read_bytes(in_folder("whole.gz"), &size);
    assert_true(size > 18);
    for (size_t n = 0; n < size; n++) {
        write_bytes(in_folder("cut.gz"), whole, n);
        assert_refused(in_folder("cut.gz"), 3, n < 2 ? "is only" : ": the compressed file is cut short");
    }
    free(whole);
}

enum { NOISE = 50, NOISE_BYTES = HEADER + NOISE * 64 * 64 };

/* Noise does not compress: 200 KB, more than zlib's buffer, so that cuts fall into every state of the reader.
 */
static char *compressed_noise(unsigned char *plain, size_t *size) {
    struct rng rng = rng_seeded(1);
    put_header(plain, (uint32_t[]){0x803, NOISE, 64, 64}, 4);
    for (size_t i = HEADER; i < NOISE_BYTES; i++) plain[i] = (unsigned char)rng_below(&rng, 256);
    write_gz(in_folder("noise.gz"), plain, NOISE_BYTES);
    return read_bytes(in_folder("noise.gz"), size);
}

static void test_large_compressed_file_cut_anywhere_is_refused(void **state) {
    (void)state;
    static unsigned char plain[NOISE_BYTES];
    size_t size;
    struct rng rng = rng_seeded(2);
    char *whole = compressed_noise(plain, &size);
    assert_true(size > 200000);
    assert_reads(in_folder("noise.gz"), 3, NOISE, 64, 64, plain + HEADER);
    for (int i = 0; i < 100; i++) {
        size_t n = i < 30 ? size - 1 - (size_t)i : rng_below(&rng, (uint32_t)size);
        write_bytes(in_folder("cut.gz"), whole, n);
        assert_refused(in_folder("cut.gz"), 3, ": the compressed file is cut short");
    }
    free(whole);
}

/* A changed byte may hit a field that carries no data (the time, a name), but never change an image. */
static void test_compressed_file_with_a_changed_byte_never_gives_other_images(void **state) {
    (void)state;
    unsigned char images[IMAGE_BYTES], labels[LABEL_BYTES];
    size_t size, refused = 0;
    make_files(images, labels);
    write_gz(in_folder("good.gz"), images, IMAGE_BYTES);
    char *bytes = read_bytes(in_folder("good.gz"), &size);
    for (size_t at = 0; at < size; at++)
        for (int bit = 0; bit < 8; bit++) {
            struct idx idx;
            struct error err;
            bytes[at] ^= (char)(1 << bit);
            write_bytes(in_folder("bad.gz"), bytes, size);
            bytes[at] ^= (char)(1 << bit);
            if (idx_read(in_folder("bad.gz"), 3, SIZE_MAX, &idx, &err)) {
                assert_true(at < size - 8); /* not in the checksum or the length */
                assert_memory_equal(idx.data, images + HEADER, IMAGE_BYTES - HEADER);
                idx_free(&idx);
            } else {
                assert_error(err.text, in_folder("bad.gz"), "");
                refused++;
            }
        }
    assert_true(refused > 8 * (size - 18)); /* all but bits of the 10 header bytes */
    bytes[size - 8] ^= 1;
    write_bytes(in_folder("bad.gz"), bytes, size);
    assert_refused(in_folder("bad.gz"), 3, ": cannot be read: incorrect data check"); /* and no name twice */
    free(bytes);
}

static void test_data_behind_the_end_is_refused(void **state) {
    (void)state;
    unsigned char images[IMAGE_BYTES + 1] = {0}, labels[LABEL_BYTES];
    make_files(images, labels);
    write_bytes(in_folder("long"), images, IMAGE_BYTES + 1);
    assert_refused(in_folder("long"), 3, "goes on after the 30 bytes");
    write_gz(in_folder("long.gz"), images, IMAGE_BYTES + 1);
    assert_refused(in_folder("long.gz"), 3, "goes on after the 30 bytes");
    write_gz(in_folder("one.gz"), images, IMAGE_BYTES); /* gzip files may be joined: here that is too much */
    size_t size;
    char *one = read_bytes(in_folder("one.gz"), &size), *two = malloc(2 * size);
    memcpy(two, one, size), memcpy(two + size, one, size);
    write_bytes(in_folder("two.gz"), two, 2 * size);
    assert_refused(in_folder("two.gz"), 3, "goes on after the 30 bytes");
    free(one), free(two);
}

static char *read_gz_of(const unsigned char *bytes, size_t count, size_t *size) {
    write_gz(in_folder("member.gz"), bytes, count);
    return read_bytes(in_folder("member.gz"), size);
}

/* A gzip file may consist of several, one behind another (RFC 1952, section 2.2): parts compressed side by side. */
static void test_gzip_of_several_members_is_read(void **state) {
    (void)state;
    unsigned char images[IMAGE_BYTES], labels[LABEL_BYTES];
    char joined[1024];
    make_files(images, labels);
    for (size_t split = 0; split <= IMAGE_BYTES; split++) { /* in the header, too; an empty member at both ends */
        size_t first, second;
        char *one = read_gz_of(images, split, &first), *two = read_gz_of(images + split, IMAGE_BYTES - split, &second);
        memcpy(joined, one, first), memcpy(joined + first, two, second);
        write_bytes(in_folder("members.gz"), joined, first + second);
        assert_reads(in_folder("members.gz"), 3, 2, 3, 5, images + HEADER);
        for (size_t cut = 1; cut < second; cut++) {
            write_bytes(in_folder("members.gz"), joined, first + second - cut);
            assert_refused(in_folder("members.gz"), 3, ": the compressed file is cut short");
        }
        joined[first + second - 1] ^= 1;
        write_bytes(in_folder("members.gz"), joined, first + second);
        assert_refused(in_folder("members.gz"), 3, ": cannot be read: incorrect length check");
        joined[first + second - 1] ^= 1;
        joined[first + second] = 7;
        write_bytes(in_folder("members.gz"), joined, first + second + 1);
        assert_refused(in_folder("members.gz"), 3, ": the compressed file goes on after its end");
        joined[first + second] = 0x1f; /* so begins a member, of which 7 is no part */
        joined[first + second + 1] = 7;
        write_bytes(in_folder("members.gz"), joined, first + second + 2);
        assert_refused(in_folder("members.gz"), 3, ": cannot be read: incorrect header check");
        free(one), free(two);
    }
}

static void test_bad_headers_are_refused(void **state) {
    (void)state;
    static const struct {
        uint32_t fields[4];
        int dimensions;
        const char *expected;
    } cases[] = {
        {{0x801, 2, 3, 5}, 3, "expected 0x00000803 (IDX, unsigned bytes, 3 dimensions: images), found 0x00000801"},
        {{0x803, 2, 3, 5}, 1, "expected 0x00000801 (IDX, unsigned bytes, 1 dimension: labels), found 0x00000803"},
        {{0x03080000, 0x02000000, 3, 5}, 3, "found 0x03080000"}, /* little-endian */
        {{0xd03, 2, 3, 5}, 3, "found 0x00000d03"},               /* floats */
        {{0x802, 2, 3, 5}, 3, "found 0x00000802"},
        {{0x804, 2, 3, 5}, 3, "found 0x00000804"},
        {{0, 2, 3, 5}, 3, "found 0x00000000"},
        {{0x89504e47, 2, 3, 5}, 3, "found 0x89504e47"}, /* a PNG */
        {{0x803, 0, 3, 5}, 3, "holds no images"},
        {{0x801, 0, 0, 0}, 1, "holds no labels"},
        {{0x803, 0xffffffff, 3, 5}, 3, "claims 4294967295 items, more than the 10000000"},
        {{0x801, 10000001, 0, 0}, 1, "claims 10000001 items"},
        {{0x803, 2, 0, 5}, 3, "images of 0 x 5 pixels: expected 1 to 4096"},
        {{0x803, 2, 3, 0}, 3, "images of 3 x 0 pixels"},
        {{0x803, 2, 65, 64}, 3, "images of 65 x 64 pixels: expected 1 to 4096"},
        {{0x803, 2, 1, 4097}, 3, "images of 1 x 4097 pixels"},
        {{0x803, 1, 0x10000, 0x10000}, 3, "images of 65536 x 65536 pixels"}, /* 2^32 wraps to 0 in 32 bits */
        {{0x803, 1, 0xffffffff, 0xffffffff}, 3, "images of 4294967295 x 4294967295 pixels"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned char bytes[64] = {0};
        put_header(bytes, cases[i].fields, 4);
        write_bytes(in_folder("header"), bytes, sizeof bytes);
        assert_refused(in_folder("header"), cases[i].dimensions, cases[i].expected);
        write_gz(in_folder("header.gz"), bytes, sizeof bytes);
        assert_refused(in_folder("header.gz"), cases[i].dimensions, cases[i].expected);
    }
}

/* Labels as QMNIST has them, of 8 columns of int32, and the layouts between. */
enum { RECORD = 32, MOST_RECORDS = 1500, RECORDS_HEADER = 12 };

static size_t make_records(unsigned char *to, uint32_t magic, uint32_t count, uint32_t columns) {
    size_t item = columns * (magic >> 8 == 0x0c ? 4 : 1), header = (magic & 0xff) == 2 ? 12 : 8;
    put_header(to, (uint32_t[]){magic, count, columns}, (int)header / 4);
    for (size_t i = 0; i < count; i++) {
        memset(to + header + i * item, 0x77, item); /* what the other columns hold does not matter */
        if (item >= 4) put_header(to + header + i * item, (uint32_t[]){(uint32_t)i % 256}, 1);
        else to[header + i] = (unsigned char)i;
    }
    return header + count * item;
}

static void test_labels_of_records_are_read(void **state) {
    (void)state;
    static unsigned char bytes[RECORDS_HEADER + RECORD * MOST_RECORDS + 1];
    static const uint32_t layouts[][2] = {{0xc02, 8}, {0xc02, 1}, {0xc01, 1}, {0x802, 1}};
    static const uint32_t counts[] = {1, 7, 511, 512, 513, MOST_RECORDS}; /* around what is read at a time */
    unsigned char labels[MOST_RECORDS];
    for (size_t i = 0; i < MOST_RECORDS; i++) labels[i] = (unsigned char)i;
    for (size_t l = 0; l < sizeof layouts / sizeof *layouts; l++)
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            size_t size = make_records(bytes, layouts[l][0], counts[c], layouts[l][1]);
            size_t header = layouts[l][0] & 2 ? 12 : 8;
            char expected[100];
            write_bytes(in_folder("records"), bytes, size);
            assert_reads(in_folder("records"), 1, counts[c], 1, 1, labels);
            write_gz(in_folder("records.gz"), bytes, size);
            assert_reads(in_folder("records.gz"), 1, counts[c], 1, 1, labels);
            for (size_t cut = 1; cut < 40 && cut < size - 4; cut++) {
                write_bytes(in_folder("records"), bytes, size - cut);
                if (size - cut < header)
                    snprintf(expected, sizeof expected, "the header ends after %zu of", size - cut);
                else
                    snprintf(expected, sizeof expected, "promises %zu bytes of data, %zu are there", size - header,
                             size - header - cut);
                assert_refused(in_folder("records"), 1, expected);
            }
            bytes[size] = 0;
            write_bytes(in_folder("records"), bytes, size + 1);
            snprintf(expected, sizeof expected, "goes on after the %zu bytes", size - header);
            assert_refused(in_folder("records"), 1, expected);
            assert_refused(in_folder("records"), 3, "wrong magic number: expected 0x00000803");
        }
}

static void test_bad_labels_of_records_are_refused(void **state) {
    (void)state;
    unsigned char bytes[RECORDS_HEADER + RECORD * 3];
    static const struct {
        uint32_t fields[3], label; /* of item 1 */
        const char *expected;
    } cases[] = {
        {{0xc02, 3, 8}, 256, "label 256 of item 1: expected 0 to 255"},
        {{0xc02, 3, 8}, 0xffffffff, "label -1 of item 1"},
        {{0xc02, 3, 8}, 0x05000000, "label 83886080 of item 1"}, /* little-endian */
        {{0xc02, 3, 0}, 1, "labels of 0 columns: expected 1, or the 8 of int32"},
        {{0xc02, 3, 2}, 1, "labels of 2 columns"},
        {{0xc02, 3, 0x40000000}, 1, "labels of 1073741824 columns"}, /* times 4 it wraps to 0 in 32 bits */
        {{0xc02, 3, 0xffffffff}, 1, "labels of 4294967295 columns"},
        {{0x802, 3, 8}, 1, "labels of 8 columns"}, /* one-hot, say */
        {{0x802, 3, 10}, 1, "labels of 10 columns"},
        {{0xc02, 0, 8}, 1, "holds no labels"},
        {{0xc02, 0xffffffff, 8}, 1, "claims 4294967295 items"},
        {{0xc02, 10000000, 8}, 1, "promises 320000000 bytes of data, 96 are there"},
        {{0xc03, 3, 8}, 1, "expected 0x00000801 (IDX, unsigned bytes, 1 dimension: labels), found 0x00000c03"},
        {{0xc00, 3, 8}, 1, "found 0x00000c00"},
        {{0xd02, 3, 8}, 1, "found 0x00000d02"}, /* floats */
        {{0xb01, 3, 8}, 1, "found 0x00000b01"},
        {{0x1000c02, 3, 8}, 1, "found 0x01000c02"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_records(bytes, 0xc02, 3, 8);
        put_header(bytes, cases[i].fields, 3);
        put_header(bytes + RECORDS_HEADER + RECORD, &cases[i].label, 1);
        write_bytes(in_folder("records"), bytes, sizeof bytes);
        assert_refused(in_folder("records"), 1, cases[i].expected);
        write_gz(in_folder("records.gz"), bytes, sizeof bytes);
        assert_refused(in_folder("records.gz"), 1, cases[i].expected);
    }
}

static void test_largest_pictures_are_read(void **state) {
    (void)state;
    static const uint32_t sizes[][2] = {{64, 64}, {1, 4096}, {4096, 1}, {1, 1}};
    static unsigned char bytes[HEADER + 4096];
    for (size_t i = 0; i < 4; i++) {
        size_t pixels = (size_t)sizes[i][0] * sizes[i][1];
        put_header(bytes, (uint32_t[]){0x803, 1, sizes[i][0], sizes[i][1]}, 4);
        for (size_t k = 0; k < pixels; k++) bytes[HEADER + k] = (unsigned char)(k * 7 + 1);
        write_bytes(in_folder("large"), bytes, HEADER + pixels);
        assert_reads(in_folder("large"), 3, 1, sizes[i][0], sizes[i][1], bytes + HEADER);
    }
}

/* The header promises 41 GB and no byte follows. */
static void test_a_lying_count_costs_no_memory(void **state) {
    (void)state;
    unsigned char bytes[HEADER];
    double start = seconds_now();
    put_header(bytes, (uint32_t[]){0x803, 10000000, 64, 64}, 4);
    write_bytes(in_folder("liar"), bytes, HEADER);
    write_gz(in_folder("liar.gz"), bytes, HEADER);
#ifdef CAN_LIMIT_MEMORY
    struct rlimit old = limit_memory((size_t)128 << 20);
#endif
    assert_refused(in_folder("liar"), 3, "promises 40960000000 bytes of data, 0 are there");
    assert_refused(in_folder("liar.gz"), 3, "promises 40960000000 bytes of data, 0 are there");
#ifdef CAN_LIMIT_MEMORY
    setrlimit(RLIMIT_AS, &old);
#endif
    assert_true(seconds_now() - start < 2);
}

/* The buffer grows from 64 KiB on: 20,000 images of 64 x 64, mostly a hole in the file. */
static void test_a_file_larger_than_the_first_buffer_is_read(void **state) {
    (void)state;
    enum { COUNT = 20000, TOTAL = COUNT * 4096, CHUNK = 1 << 16 };
    static const size_t marks[] = {0, CHUNK - 1, CHUNK, 2 * CHUNK, (64 << 20) - 1, TOTAL - 1};
    unsigned char bytes[HEADER];
    struct idx idx;
    struct error err;
    put_header(bytes, (uint32_t[]){0x803, COUNT, 64, 64}, 4);
    write_bytes(in_folder("huge"), bytes, HEADER);
    int file = open(in_folder("huge"), O_WRONLY);
    assert_int_equal(ftruncate(file, HEADER + TOTAL), 0);
    for (size_t i = 0; i < 6; i++) assert_int_equal(pwrite(file, &"mark"[i % 4], 1, (off_t)(HEADER + marks[i])), 1);
    assert_true(idx_read(in_folder("huge"), 3, SIZE_MAX, &idx, &err));
    size_t lit = 0;
    for (size_t i = 0; i < TOTAL; i++) lit += idx.data[i] != 0;
    assert_int_equal(lit, 6);
    for (size_t i = 0; i < 6; i++) assert_int_equal(idx.data[marks[i]], "mark"[i % 4]);
    idx_free(&idx);
    assert_int_equal(ftruncate(file, HEADER + TOTAL - 1), 0);
    close(file);
    assert_refused(in_folder("huge"), 3, "promises 81920000 bytes of data, 81919999 are there");
    unlink(in_folder("huge"));
}

static void test_headers_alone_and_the_most_that_is_read(void **state) {
    (void)state;
    unsigned char bytes[HEADER + 12] = {0};
    struct idx idx;
    struct error err;
    put_header(bytes, (uint32_t[]){0x803, 3, 2, 2}, 4);
    write_bytes(in_folder("head"), bytes, HEADER); /* nothing behind it */
    assert_true(idx_header(in_folder("head"), 3, &idx, &err));
    assert_int_equal(idx.count, 3);
    assert_int_equal(idx_bytes(&idx), 12);
    assert_null(idx.data);
    assert_false(idx_header(in_folder("head"), 1, &idx, &err));
    write_bytes(in_folder("head"), bytes, sizeof bytes);
    assert_true(idx_read(in_folder("head"), 3, 12, &idx, &err));
    idx_free(&idx);
    assert_false(idx_read(in_folder("head"), 3, 11, &idx, &err));
    assert_error(err.text, in_folder("head"), "holds 12 bytes of data, more than the 11 that are read");
}

enum { FEW = 3, MANY = 40000 };

/* Labels of one byte or of QMNIST's records, plain or compressed. */
static void write_labels(const char *path, int which) {
    static unsigned char bytes[RECORDS_HEADER + RECORD * MANY], packed[sizeof bytes + 4096];
    size_t size = make_records(bytes, which ? 0xc02 : 0x801, which ? MANY : FEW, which ? 8 : 1);
    struct out_file out;
    struct error err;
    z_stream z = {.next_in = bytes, .avail_in = (uInt)size, .next_out = packed, .avail_out = sizeof packed};
    if (deflateInit2(&z, 1, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY) != Z_OK || deflate(&z, Z_FINISH) != Z_STREAM_END)
        _exit(1);
    deflateEnd(&z);
    bool gz = strstr(path, ".gz");
    if (!out_file_open(&out, path, &err)) _exit(1);
    fwrite(gz ? packed : bytes, 1, gz ? z.total_out : size, out.stream);
    if (!out_file_commit(&out, &err)) _exit(1);
}

static void test_a_reader_beside_a_writer_gets_whole_files(void **state) {
    (void)state;
    for (int gz = 0; gz < 2; gz++) {
        const char *path = in_folder(gz ? "turns.gz" : "turns");
        int seen[2] = {0};
        pid_t child = writer_begins(write_labels, path);
        for (double end = seconds_now() + 0.5; seconds_now() < end || !seen[0] || !seen[1];) {
            struct idx idx;
            struct error err;
            if (!idx_read(path, 1, SIZE_MAX, &idx, &err)) fail_msg("%s", err.text);
            assert_true(idx.count == FEW || idx.count == MANY);
            for (size_t i = 0; i < idx.count; i++) assert_int_equal(idx.data[i], i % 256);
            seen[idx.count == MANY]++;
            idx_free(&idx);
        }
        writer_ends(child);
    }
}

static void test_what_is_no_file_is_refused(void **state) {
    (void)state;
    assert_refused(in_folder("missing"), 3, "No such file or directory");
    assert_refused(test_folder, 3, "is not a regular file");
    assert_int_equal(mkfifo(in_folder("pipe"), 0600), 0);
    assert_refused(in_folder("pipe"), 1, "is not a regular file"); /* and does not wait for a writer */
    write_bytes(in_folder("empty"), "", 0);
    assert_refused(in_folder("empty"), 1, "is only 0 bytes long");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_and_compressed_give_the_same),
        cmocka_unit_test(test_file_cut_at_any_byte_is_refused),
        cmocka_unit_test(test_compressed_file_cut_at_any_byte_is_refused),
        cmocka_unit_test(test_large_compressed_file_cut_anywhere_is_refused),
        cmocka_unit_test(test_compressed_file_with_a_changed_byte_never_gives_other_images),
        cmocka_unit_test(test_data_behind_the_end_is_refused),
        cmocka_unit_test(test_gzip_of_several_members_is_read),
        cmocka_unit_test(test_bad_headers_are_refused),
        cmocka_unit_test(test_labels_of_records_are_read),
        cmocka_unit_test(test_bad_labels_of_records_are_refused),
        cmocka_unit_test(test_largest_pictures_are_read),
        cmocka_unit_test(test_a_lying_count_costs_no_memory),
        cmocka_unit_test(test_a_file_larger_than_the_first_buffer_is_read),
        cmocka_unit_test(test_headers_alone_and_the_most_that_is_read),
        cmocka_unit_test(test_a_reader_beside_a_writer_gets_whole_files),
        cmocka_unit_test(test_what_is_no_file_is_refused),
    };
    return cmocka_run_group_tests_name("idx", tests, folder_setup, folder_teardown);
}
