/* The part of include/mnistq.h that needs files: a program that has its models in memory links without it. */
#include "mnistq.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "model/model_file.h"

mnistq_model *mnistq_open(const char *path, char *error, size_t error_size) {
    struct error err = {"out of memory"};
    struct st_file *file = calloc(1, sizeof *file);
    mnistq_model *model = NULL;
    if (strcmp(path, "-") == 0) path = "./-"; /* a file: standard input belongs to the program */
    if (file && st_read_checked(path, model_needs_its_bytes, file, &err)) {
        model = mnistq_open_memory(file->bytes, file->file_bytes, err.text, sizeof err.text);
        st_free(file);
        if (!model) fail_in(&err, path);
    }
    free(file);
    if (!model && error_size) text_format(error, error_size, "%s", err.text);
    return model;
}
