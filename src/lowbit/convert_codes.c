#include <string.h>

#include "lowbit/gptq.h"

bool convert_codes(const struct mlp *mlp, const struct coded_matrix *codes, const struct range *ranges,
                   bool symmetric_activations, struct qmlp *out, size_t *saturated, struct error *err) {
    struct convert_config config = {.per_channel = true, .symmetric_activations = symmetric_activations};
    if (!convert_start(mlp, ranges, &config, out, err)) return false;
    for (int i = 0; i < mlp->shape.layers; i++) {
        memcpy(out->layer[i].weight, codes[i].codes, (size_t)codes[i].out * (size_t)codes[i].in);
        for (int c = 0; c < codes[i].out; c++) out->weight_scale[i][c] = codes[i].grids[c].scale;
    }
    return convert_complete(mlp, out, saturated, err);
}
