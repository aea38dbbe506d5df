/* What the fuzz harnesses share. Each is a LLVMFuzzerTestOneInput of clang's libFuzzer, runs inside one process, and
 * aborts where something false came out; AddressSanitizer and UBSan judge the rest. `make fuzz` builds and runs them.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most); /* libFuzzer's own */

/* Ends the run with a finding. Standard error belongs to the fuzzer while it is closed for the program. */
#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) abort();                                                                                     \
    } while (0)

/* A regular file in memory; its path for functions that read files. The next call replaces its bytes. */
struct memory_file {
    int descriptor;
    char path[40];
};

static inline const char *memory_file_set(struct memory_file *file, const void *data, size_t size) {
    if (!file->path[0]) {
        file->descriptor = memfd_create("fuzz", 0);
        snprintf(file->path, sizeof file->path, "/proc/self/fd/%d", file->descriptor);
    }
    EXPECT(ftruncate(file->descriptor, 0) == 0);
    EXPECT(pwrite(file->descriptor, data, size, 0) == (ssize_t)size);
    return file->path;
}

/* A message is one line of UTF-8, and changes neither the terminal nor the direction of writing. */
static inline void expect_message(const char *text) {
    EXPECT(*text && is_utf8(text, strlen(text)));
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        EXPECT(*c >= 0x20 && *c != 0x7f);
        EXPECT(!(c[0] == 0xc2 && c[1] < 0xa0));                                  /* C1 */
        EXPECT(!(c[0] == 0xe2 && c[1] == 0x80 && c[2] >= 0xa8 && c[2] <= 0xae)); /* lines, U+202A to U+202E */
        EXPECT(!(c[0] == 0xe2 && c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9)); /* U+2066 to U+2069 */
    }
}

#endif
