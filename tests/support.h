/* What several tests need: a folder of their own that is gone afterwards, files in it, and assertions on
 * text. Include it after the headers of src/: cmocka.h has a macro fail() that hides the function of
 * base/error.h. */
#ifndef TESTS_SUPPORT_H
#define TESTS_SUPPORT_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

static char test_folder[64];

/* The setup and teardown of a group. */
static inline int folder_setup(void **state) {
    (void)state;
    strcpy(test_folder, "/tmp/mnistq-test-XXXXXX");
    return mkdtemp(test_folder) ? 0 : -1;
}

static inline int remove_one(const char *path, const struct stat *info, int kind, struct FTW *at) {
    (void)info, (void)kind, (void)at;
    return remove(path);
}

static inline int folder_teardown(void **state) {
    (void)state;
    return nftw(test_folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* FOLDER/name; up to eight are valid at a time. */
static inline const char *in_folder(const char *name) {
    static char path[8][4096];
    static int turn;
    turn = (turn + 1) % 8;
    snprintf(path[turn], sizeof path[turn], "%s/%s", test_folder, name);
    return path[turn];
}

/* Everything in a folder but . and .. : a test that leaves a temporary file behind shows here. */
static inline int count_entries(const char *path) {
    DIR *folder = opendir(path);
    assert_non_null(folder);
    int count = -2;
    while (readdir(folder)) count++;
    closedir(folder);
    return count;
}

/* Writes through plain stdio, so that no test of base/file.c stands on itself. */
static inline void write_bytes(const char *path, const void *data, size_t size) {
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    assert_int_equal(fwrite(data, 1, size, stream), size);
    assert_int_equal(fclose(stream), 0);
}

static inline void write_gz(const char *path, const void *data, size_t size) {
    gzFile file = gzopen(path, "wb9");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, data, (unsigned)size), size);
    assert_int_equal(gzclose(file), Z_OK);
}

/* The whole file, with a NUL behind it; release with free. size may be NULL. */
static inline char *read_bytes(const char *path, size_t *size) {
    FILE *stream = fopen(path, "rb");
    assert_non_null(stream);
    assert_int_equal(fseek(stream, 0, SEEK_END), 0);
    size_t length = (size_t)ftell(stream);
    rewind(stream);
    char *data = malloc(length + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, length, stream), length);
    fclose(stream);
    data[length] = 0;
    if (size) *size = length;
    return data;
}

static inline void assert_file_is(const char *path, const char *expected) {
    char *found = read_bytes(path, NULL);
    assert_string_equal(found, expected);
    free(found);
}

static inline void assert_contains(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("\"%s\" does not contain \"%s\"", text, part);
}

/* Error text is one line that begins with the file's name and says what is wrong. */
static inline void assert_error(const char *text, const char *path, const char *part) {
    if (strncmp(text, path, strlen(path)) != 0 || text[strlen(path)] != ':')
        fail_msg("\"%s\" does not begin with \"%s:\"", text, path);
    assert_contains(text + strlen(path), part);
    assert_null(strchr(text, '\n'));
}

static inline void assert_close(double found, double expected, double tolerance) {
    double difference = found < expected ? expected - found : found - expected;
    if (!(difference <= tolerance)) fail_msg("%.9g is not within %.3g of %.9g", found, tolerance, expected);
}

/* A reader beside a writer: a child that writes one and the other of two files to path, again and again, until
 * writer_ends. It has written the first one when this returns. */
static inline pid_t writer_begins(void (*write)(const char *path, int which), const char *path) {
    write(path, 0);
    pid_t child = fork();
    assert_true(child >= 0);
    for (int turn = 1; child == 0 && access(in_folder("writer-ends"), F_OK) != 0; turn++) write(path, turn % 2);
    if (child == 0) _exit(0);
    return child;
}

static inline void writer_ends(pid_t child) {
    int status = -1;
    write_bytes(in_folder("writer-ends"), "", 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    unlink(in_folder("writer-ends"));
}

/* AddressSanitizer's own memory would count. */
#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && !defined(__clang__)
#define CAN_LIMIT_MEMORY
/* Leaves the process this many bytes more of address space than it has now. */
static inline struct rlimit limit_memory(size_t more) {
    struct rlimit old, limited;
    unsigned long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    assert_non_null(statm);
    assert_int_equal(fscanf(statm, "%lu", &pages), 1);
    fclose(statm);
    getrlimit(RLIMIT_AS, &old);
    limited = old, limited.rlim_cur = pages * (size_t)sysconf(_SC_PAGESIZE) + more;
    assert_int_equal(setrlimit(RLIMIT_AS, &limited), 0);
    return old;
}
#endif

#endif
