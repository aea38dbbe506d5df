#include "model/layer_tensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *layer_tensor(char name[ST_NAME], int layer, const char *part) {
    snprintf(name, ST_NAME, "fc%d.%s", layer + 1, part);
    return name;
}

const struct st_tensor *st_expect(const struct st_file *file, int layer, const char *part, enum st_dtype dtype,
                                  size_t rows, size_t cols, struct error *err) {
    char name[ST_NAME];
    const struct st_tensor *t = st_find(file, layer < 0 ? part : layer_tensor(name, layer, part));
    const char *full = layer < 0 ? part : name;
    if (!t) fail(err, "tensor %s is missing", full);
    else if (t->dtype != dtype)
        fail(err, "tensor %s is %s: expected %s", full, st_types[t->dtype].name, st_types[dtype].name);
    else if (t->dimensions != (cols ? 2 : 1))
        fail(err, "tensor %s has %d dimensions: expected %d", full, t->dimensions, cols ? 2 : 1);
    else if (t->shape[0] != rows || (cols && t->shape[1] != cols))
        fail(err, "tensor %s has the shape [%zu%s%.0zu]: expected [%zu%s%.0zu]", full, t->shape[0], cols ? ", " : "",
             cols ? t->shape[1] : 0, rows, cols ? ", " : "", cols);
    else return t;
    return NULL;
}

bool st_copy_floats(float *to, const struct st_tensor *t, struct error *err) {
    memcpy(to, t->data, t->bytes);
    for (size_t i = 0; i < t->elements; i++)
        if (!isfinite(to[i])) return fail(err, "tensor %s: element %zu is not a finite number", t->name, i);
    return true;
}

bool st_architecture(const struct st_file *file, struct mlp_shape *shape, struct error *err) {
    const char *text = st_metadata(file, "architecture");
    int widths[MLP_MAX_LAYERS + 1], count = 0;
    if (!text || strncmp(text, "mlp ", 4) != 0) return fail(err, "metadata architecture: expected \"mlp N-N-...\"");
    for (const char *at = text + 4;;) {
        char *end;
        long width = strtol(at, &end, 10);
        if (end == at || *at < '0' || *at > '9' || width < 1 || width > MLP_MAX_WIDTH || count > MLP_MAX_LAYERS ||
            (*end != '-' && *end != 0))
            return fail(err, "metadata architecture is \"%.80s\": expected \"mlp N-N-...\", N from 1 to %d", text,
                        MLP_MAX_WIDTH);
        widths[count++] = (int)width;
        if (*end == 0) break;
        at = end + 1;
    }
    if (count < 2) return fail(err, "metadata architecture is \"%.80s\": expected two widths at least", text);
    return mlp_shape_make(widths[0], widths + 1, count - 2, widths[count - 1], shape, err);
}
