#include "lowbit/hadamard.h"

#include <math.h>
#include <string.h>

void hadamard_rotate(float *x, int n) {
    int block = hadamard_block(n);
    float scale = 1 / sqrtf((float)block);
    for (int step = 1; step < block; step *= 2) /* a block never straddles another: step divides them */
        for (int i = 0; i < n; i++)
            if (!(i & step)) {
                float a = x[i], b = x[i + step];
                x[i] = a + b;
                x[i + step] = a - b;
            }
    for (int i = 0; i < n; i++) x[i] *= scale;
}

bool hadamard_insert(const struct mlp *from, int layer, struct mlp *out, struct error *err) {
    struct mlp_shape shape = from->shape;
    int n = shape.widths[layer];
    if (shape.layers == MLP_MAX_LAYERS || 2 * n > MLP_MAX_WIDTH)
        return fail(err, "a rotation of %d inputs is a layer of %d more, which is too many", n, 2 * n);
    shape.layers++;
    memmove(shape.widths + layer + 2, shape.widths + layer + 1,
            (size_t)(from->shape.layers - layer) * sizeof *shape.widths);
    shape.widths[layer + 1] = 2 * n;
    if (!mlp_create(&shape, out, err)) return false;
    for (int l = 0; l < from->shape.layers; l++) {
        const struct dense *a = &from->layer[l], *b = &out->layer[l < layer ? l : l + 1];
        memcpy(b->bias, a->bias, (size_t)a->out * sizeof *b->bias);
        for (int c = 0; c < a->out; c++) {
            float *row = b->weight + (size_t)c * (size_t)b->in;
            memcpy(row, a->weight + (size_t)c * (size_t)a->in, (size_t)a->in * sizeof *row);
            if (l != layer) continue;
            hadamard_rotate(row, n); /* W H^T, H being symmetric */
            for (int k = 0; k < n; k++) row[n + k] = -row[k];
        }
    }
    for (int k = 0; k < n; k++) {
        float *plus = out->layer[layer].weight + (size_t)k * (size_t)n, *minus = plus + (size_t)n * (size_t)n;
        plus[k] = 1;
        hadamard_rotate(plus, n);
        for (int j = 0; j < n; j++) minus[j] = -plus[j];
    }
    return true;
}
