#include "model/residual.h"

#include <stdlib.h>

#include "model/contents.h"
#include "quant/affine.h"

static void add_layer(const struct dense *d, const struct st_tensor *weight, const struct st_tensor *scales,
                      unsigned char *codes, int sign) {
    for (size_t i = 0; i < weight->elements; i++) {
        struct qparams p = {0, 0, -127, 127};
        size_t row = scales->elements == 1 ? 0 : i / (size_t)d->in;
        st_copy(&p.scale, (const unsigned char *)scales->data + 4 * row, 1, ST_F32);
        codes[i] = (unsigned char)(codes[i] + sign * quantize(d->weight[i], p));
    }
}

bool residual_add(const struct mlp *mlp, unsigned char *bytes, size_t size, int sign, struct error *err) {
    struct st_file *file = calloc(1, sizeof *file);
    bool ok = (file || fail(err, "out of memory")) && st_parse(bytes, size, file, err);
    for (int l = 0; ok && l < mlp->shape.layers; l++) {
        char name[ST_NAME];
        const struct dense *d = &mlp->layer[l];
        const struct st_tensor *weight = st_find(file, layer_tensor(name, l, "weight"));
        const struct st_tensor *scales = st_find(file, layer_tensor(name, l, "weight_scale"));
        if (!weight || !scales || weight->dtype != ST_I8 || scales->dtype != ST_F32) continue;
        if (weight->elements != (size_t)d->in * (size_t)d->out) continue;
        if (scales->elements != 1 && scales->elements != (size_t)d->out) continue;
        add_layer(d, weight, scales, bytes + ((const unsigned char *)weight->data - bytes), sign);
    }
    free(file);
    return ok;
}
