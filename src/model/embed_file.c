/* The part of include/mnistq.h that needs files: a program that has its models in memory links without it. */
#include "mnistq.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"

mnistq_model *mnistq_open(const char *path, char *error, size_t error_size) {
    struct error err;
    unsigned char *bytes;
    size_t size;
    mnistq_model *model = NULL;
    if (strcmp(path, "-") == 0) path = "./-"; /* a file: standard input belongs to the program */
    if (file_read_all(path, (size_t)1 << 32, &bytes, &size, &err)) {
        model = mnistq_open_memory(bytes, size, err.text, sizeof err.text);
        free(bytes);
        if (!model) fail_in(&err, path);
    }
    if (!model && error_size) text_format(error, error_size, "%s", err.text);
    return model;
}
