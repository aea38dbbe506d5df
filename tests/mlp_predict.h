/* What the tests of float networks ask most: the class of each image. */
#ifndef TESTS_MLP_PREDICT_H
#define TESTS_MLP_PREDICT_H

#include "nn/mlp.h"

/* The class of each image [count][inputs], any count, ws->capacity at a time. Returns how many had a tie. */
static inline size_t mlp_predict(const struct mlp *mlp, const uint8_t *images, size_t count, struct mlp_workspace *ws,
                                 uint8_t *predicted) {
    int last = mlp->shape.layers;
    size_t ties = 0, most = (size_t)ws->capacity;
    for (size_t first = 0, n; first < count; first += n) {
        n = count - first < most ? count - first : most;
        mlp_load_images(mlp, images + first * (size_t)mlp->shape.widths[0], (int)n, ws);
        mlp_forward(mlp, (int)n, ws);
        ties += highest_classes(ws->activation[last], n, mlp->shape.widths[last], predicted + first);
    }
    return ties;
}

#endif
