#include "lowbit/mixed.h"

#include <stdlib.h>
#include <string.h>

bool mixed_noise(const struct mlp *mlp, const uint8_t *images, int count, const struct codec *codecs, int formats,
                 double *noise, struct error *err) {
    int layers = mlp->shape.layers;
    size_t n = (size_t)count * (size_t)mlp->shape.widths[layers], most = 0;
    struct mlp_workspace ws = {0}, changed = {0};
    struct mlp copy = {0};
    for (int i = 0; i < layers * formats; i++) {
        const struct dense *d = &mlp->layer[i / formats];
        size_t bytes = codec_bytes(codecs[i % formats], d->out, d->in);
        most = bytes > most ? bytes : most;
    }
    uint8_t *bytes = aligned_array(most, 1, err);
    bool ok = bytes && mlp_copy(mlp, &copy, err) && mlp_workspace_create(&mlp->shape, count, false, &ws, err) &&
        mlp_workspace_create(&mlp->shape, count, false, &changed, err);
    if (ok) {
        mlp_load_images(mlp, images, count, &ws);
        mlp_forward(mlp, count, &ws);
    }
    for (int l = 0; ok && l < layers; l++) {
        const struct dense *d = &mlp->layer[l];
        size_t in = (size_t)d->in, weights = in * (size_t)d->out;
        memcpy(changed.activation[l], ws.activation[l], (size_t)count * in * sizeof(float)); /* as it was up to here */
        for (int f = 0; f < formats; f++) {
            double sum = 0;
            codec_encode(codecs[f], d->weight, NULL, d->out, d->in, bytes);
            codec_decode(codecs[f], bytes, d->out, d->in, copy.layer[l].weight);
            for (int k = l; k < layers; k++) mlp_forward_layer(&copy, k, count, &changed);
            for (size_t i = 0; i < n; i++) {
                double e = (double)changed.activation[layers][i] - (double)ws.activation[layers][i];
                sum += e * e;
            }
            noise[l * formats + f] = sum / count;
        }
        memcpy(copy.layer[l].weight, d->weight, weights * sizeof(float));
    }
    mlp_workspace_free(&ws);
    mlp_workspace_free(&changed);
    mlp_free(&copy);
    free(bytes);
    return ok;
}

static int by_bits(const void *a, const void *b) {
    const struct mixed_point *x = a, *y = b;
    return x->bits != y->bits ? (x->bits > y->bits) - (x->bits < y->bits)
                              : (x->noise > y->noise) - (x->noise < y->noise);
}

struct mixed_point *mixed_front(int layers, int formats, const double *bits, const double *noise, size_t *count,
                                struct error *err) {
    struct mixed_point *front = aligned_array(1, sizeof *front, err); /* of the layers so far: of none */
    *count = 1;
    for (int l = 0; front && l < layers; l++) {
        struct mixed_point *next = aligned_array(*count * (size_t)formats, sizeof *next, err);
        size_t n = 0, kept = 0;
        for (size_t i = 0; next && i < *count; i++)
            for (int f = 0; f < formats; f++, n++) {
                next[n] = front[i];
                next[n].bits += bits[l * formats + f];
                next[n].noise += noise[l * formats + f];
                next[n].choice[l] = (uint8_t)f;
            }
        free(front);
        front = next;
        if (!front) break;
        qsort(front, n, sizeof *front, by_bits);
        for (size_t i = 0; i < n; i++)
            if (!kept || front[i].noise < front[kept - 1].noise) front[kept++] = front[i];
        *count = kept;
    }
    return front;
}

const struct mixed_point *mixed_within(const struct mixed_point *front, size_t count, double bits) {
    while (count && front[count - 1].bits > bits) count--;
    return count ? &front[count - 1] : NULL;
}
