/* mnistq inspect: what is in a model file, and where every byte of it goes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/commands.h"
#include "app/options.h"
#include "app/report.h"

/* Element i of a tensor as a number; F16 and BF16 are not shown as numbers yet. */
static double element(const struct st_tensor *t, size_t i) {
    const unsigned char *at = (const unsigned char *)t->data + i * st_types[t->dtype].bytes;
    float f32;
    int32_t i32;
    switch (t->dtype) {
    case ST_F32: memcpy(&f32, at, 4); return (double)f32;
    case ST_I32: memcpy(&i32, at, 4); return i32;
    case ST_I8: return (int8_t)*at;
    case ST_U8: return *at;
    default: return NAN;
    }
}

static void add_bytes(struct table *t, const char *what, const char *dtype, const char *shape, size_t bytes,
                      size_t file_bytes) {
    table_text(t, "%s", what);
    table_text(t, "%s", dtype);
    table_text(t, "%s", shape);
    table_integer(t, (long long)bytes);
    table_number(t, 100.0 * (double)bytes / (double)file_bytes, 3);
}

static void add_tensor(struct table *t, const struct st_file *file, const struct st_tensor *tensor) {
    char shape[ST_MAX_DIMENSIONS * 20 + 8] = "["; /* a size is up to 2^53: 16 digits */
    for (int d = 0; d < tensor->dimensions; d++) {
        size_t used = strlen(shape);
        snprintf(shape + used, sizeof shape - used, "%s%zu", d ? ", " : "", tensor->shape[d]);
    }
    strcat(shape, "]");
    add_bytes(t, tensor->name, st_types[tensor->dtype].name, shape, tensor->bytes, file->file_bytes);
    double lowest = INFINITY, highest = -INFINITY;
    for (size_t i = 0; i < tensor->elements; i++) {
        lowest = fmin(lowest, element(tensor, i));
        highest = fmax(highest, element(tensor, i));
    }
    int decimals = tensor->dtype == ST_F32 ? 8 : 0;
    table_number(t, lowest, decimals);
    table_number(t, highest, decimals);
}

static void fill(const struct st_file *file, struct table *t) {
    size_t tensor_bytes = 0;
    add_bytes(t, "length of the header", "U64", "", 8, file->file_bytes);
    table_empty(t), table_empty(t);
    add_bytes(t, "header", "JSON", "", file->header_bytes, file->file_bytes);
    table_empty(t), table_empty(t);
    for (size_t i = 0; i < file->tensor_count; i++) {
        add_tensor(t, file, &file->tensors[i]);
        tensor_bytes += file->tensors[i].bytes;
    }
    add_bytes(t, "whole file", "", "", 8 + file->header_bytes + tensor_bytes, file->file_bytes);
    table_empty(t), table_empty(t);
    for (size_t i = 0; i < file->metadata_count; i++)
        table_note(t, "%s: %s", file->metadata[i].key, file->metadata[i].text);
}

int command_inspect(int argc, char **argv) {
    static const char *const columns[] = {"part", "dtype", "shape", "bytes", "percent", "lowest", "highest"};
    struct options o = {.command = argv[0], .arguments = "FILE",
                        .what = "Lists the tensors of a safetensors file and where every byte of it goes."};
    bool json = false;
    option_flag(&o, "json", &json, "print the list as JSON");
    int status = options_parse(&o, argc, argv, 1, 1);
    if (status != OPTIONS_GO_ON) return status;
    struct error err;
    struct table t;
    char title[256];
    struct st_file *file = aligned_array(1, sizeof *file, &err);
    if (!file) return report_error(&err);
    bool ok = st_read(o.files[0], file, &err);
    if (ok) snprintf(title, sizeof title, "%.200s, %zu bytes", o.files[0], file->file_bytes);
    table_init(&t, title, columns, 7);
    if (ok) fill(file, &t);
    st_free(file);
    free(file);
    return report_table(&t, NULL, json, ok, &err);
}
