/* Golden files: numbers that other programs computed (README.md). Tests run in the repository's root. */
#ifndef TESTS_GOLDEN_H
#define TESTS_GOLDEN_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/safetensors.h"

/* Anything wrong with a golden file ends the test program: without it nothing was tested. */
static inline void golden_broken(const char *name, const char *what) {
    fprintf(stderr, "golden %s: %s\n", name, what);
    exit(1);
}

static inline struct st_file *golden_open(const char *path) {
    struct st_file *file = calloc(1, sizeof *file);
    struct error err;
    if (!file || !st_read(path, file, &err)) golden_broken(path, file ? err.text : "out of memory");
    return file;
}

static inline void golden_close(struct st_file *file) {
    st_free(file);
    free(file);
}

/* Copies a tensor of exactly this type and number of elements. */
static inline void golden_copy(const struct st_file *file, const char *name, enum st_dtype dtype, size_t elements,
                               void *to) {
    const struct st_tensor *t = st_find(file, name);
    if (!t || t->dtype != dtype || t->elements != elements) golden_broken(name, "missing, or of another type or size");
    memcpy(to, t->data, t->bytes);
}

#endif
