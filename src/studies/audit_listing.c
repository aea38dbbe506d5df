/* The network of the lesson's PyTorch listing, untrained as there: its parameters, its files, its drift. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "studies/audit.h"
#include "base/file.h"

/* The network that the listing builds, and the one that its count of parameters belongs to. */
static const int listing_widths[2][3] = {{128, 256, 10}, {784, 128, 10}};
enum { AS_BUILT, AS_COUNTED };

static bool listing_shape(int which, struct mlp_shape *shape, struct error *err) {
    const int *w = listing_widths[which];
    return mlp_shape_make(w[0], &w[1], 1, w[2], shape, err);
}

/* which: AS_BUILT, AS_COUNTED */
bool measure_parameters(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    (void)a;
    struct mlp_shape shape;
    char text[64];
    if (!listing_shape(c->which, &shape, err)) return false;
    mlp_shape_print(&shape, text, sizeof text);
    size_t count = mlp_parameter_count(&shape);
    return found(f, (double)count, "%zu in %s", count, text);
}

/* which: 0 parameters, 1 the space they take in words of 4 bytes, weights a byte each and biases 4 */
bool measure_int8_parameters(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    (void)a;
    struct mlp_shape shape;
    size_t biases = 0;
    if (!listing_shape(AS_COUNTED, &shape, err)) return false;
    for (int i = 1; i <= shape.layers; i++) biases += (size_t)shape.widths[i];
    size_t weights = mlp_parameter_count(&shape) - biases;
    if (c->which == 0)
        return found(f, (double)(weights + biases), "%zu weights + %zu biases = %zu", weights, biases,
                     weights + biases);
    double words = (double)weights / 4 + (double)biases;
    return found(f, words, "%zu / 4 + %zu = %.0f", weights, biases, words);
}

/* ---- the two networks: as nn.Linear initialises them, calibrated on normal numbers ------------------------------- */

enum { CALIBRATION_ROUNDS = 32, ROUND = 64, FRESH_ROWS = 16 };

static void normal_rows(float *x, size_t count, struct rng *rng) {
    for (size_t i = 0; i < count; i++) x[i] = (float)rng_normal(rng);
}

/* nn.Linear: weights and biases uniform in +-1 / sqrt(in). */
static bool listing_network(const struct mlp_shape *shape, struct rng *rng, struct mlp *out, struct error *err) {
    if (!mlp_create(shape, out, err)) return false;
    for (int l = 0; l < shape->layers; l++) {
        const struct dense *d = &out->layer[l];
        double bound = 1 / sqrt(d->in);
        for (int i = 0; i < d->in * d->out; i++) d->weight[i] = (float)(bound * (2 * rng_uniform(rng) - 1));
        for (int i = 0; i < d->out; i++) d->bias[i] = (float)(bound * (2 * rng_uniform(rng) - 1));
    }
    return true;
}

static bool listing_convert(const struct mlp *mlp, struct rng *rng, struct qmlp *out, struct error *err) {
    struct convert_config config = {true, false, OBSERVER_MINMAX};
    struct range ranges[MLP_MAX_LAYERS + 1] = {{0, 0}};
    struct mlp_workspace ws;
    size_t saturated;
    if (!mlp_workspace_create(&mlp->shape, ROUND, false, &ws, err)) return false;
    for (int round = 0; round < CALIBRATION_ROUNDS; round++) {
        normal_rows(ws.activation[0], (size_t)ROUND * (size_t)mlp->shape.widths[0], rng);
        mlp_forward(mlp, ROUND, &ws);
        for (int i = 0; i <= mlp->shape.layers; i++)
            for (int k = 0; k < ROUND * mlp->shape.widths[i]; k++) {
                ranges[i].lo = fminf(ranges[i].lo, ws.activation[i][k]);
                ranges[i].hi = fmaxf(ranges[i].hi, ws.activation[i][k]);
            }
    }
    mlp_workspace_free(&ws);
    return convert(mlp, ranges, &config, out, &saturated, err);
}

static bool written_sizes(struct audit *a, const struct mlp *mlp, const struct qmlp *q, uint64_t bytes[2],
                          struct error *err) {
    static const struct model_notes notes = {.seed = "1", .training = "none"};
    char paths[2][4200];
    snprintf(paths[0], sizeof paths[0], "%s/listing-fp32.safetensors", a->models);
    snprintf(paths[1], sizeof paths[1], "%s/listing-int8.safetensors", a->models);
    return audit_folder(a, err) && model_write_mlp(paths[0], mlp, &notes, err) &&
        model_write_qmlp(paths[1], q, &notes, err) && file_size(paths[0], &bytes[0], err) &&
        file_size(paths[1], &bytes[1], err);
}

bool measure_listing_size(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    (void)c;
    struct mlp_shape shape;
    struct mlp mlp;
    struct qmlp q;
    uint64_t bytes[2];
    struct rng rng = rng_seeded(1);
    if (!listing_shape(AS_COUNTED, &shape, err) || !listing_network(&shape, &rng, &mlp, err)) return false;
    bool ok = listing_convert(&mlp, &rng, &q, err);
    if (ok) {
        ok = written_sizes(a, &mlp, &q, bytes, err);
        qmlp_free(&q);
    }
    mlp_free(&mlp);
    if (!ok) return false;
    double ratio = (double)bytes[0] / (double)bytes[1];
    return found(f, ratio, "%.3f (%llu / %llu bytes)", ratio, (unsigned long long)bytes[0],
                 (unsigned long long)bytes[1]);
}

/* The largest difference of logits on FRESH_ROWS rows of normal numbers, between a float and an integer network. */
static bool drift_on_rows(const struct mlp *mlp, const struct qmlp *q, struct rng *rng, double *drift,
                          struct error *err) {
    int last = q->shape.layers;
    size_t inputs = (size_t)q->shape.widths[0] * FRESH_ROWS, logits = (size_t)q->shape.widths[last] * FRESH_ROWS;
    struct mlp_workspace ws = {0};
    struct layer_codes layers = {{0}};
    uint8_t *codes = aligned_array(inputs, 1, err);
    bool ok = codes && mlp_workspace_create(&mlp->shape, FRESH_ROWS, false, &ws, err);
    if (ok) {
        normal_rows(ws.activation[0], inputs, rng);
        for (size_t i = 0; i < inputs; i++) codes[i] = (uint8_t)quantize(ws.activation[0][i], q->activation[0]);
        mlp_forward(mlp, FRESH_ROWS, &ws);
        ok = layer_codes_run(q, codes, FRESH_ROWS, &layers, err);
    }
    *drift = 0;
    for (size_t i = 0; ok && i < logits; i++) {
        double y = (double)dequantize(layers.at[last][i], q->activation[last]);
        *drift = fmax(*drift, fabs((double)ws.activation[last][i] - y));
    }
    layer_codes_free(&layers);
    mlp_workspace_free(&ws);
    free(codes);
    return ok;
}

/* which: 0 against a network with other random weights, as the listing does; 1 against the one that was converted */
bool measure_listing_drift(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    (void)a;
    struct mlp_shape shape;
    struct mlp twin = {0}, fresh = {0};
    struct qmlp q = {0};
    struct rng rng = rng_seeded(1);
    double drift = 0;
    bool ok = listing_shape(AS_BUILT, &shape, err) && listing_network(&shape, &rng, &twin, err) &&
        listing_network(&shape, &rng, &fresh, err) && listing_convert(&twin, &rng, &q, err) &&
        drift_on_rows(c->which ? &twin : &fresh, &q, &rng, &drift, err);
    qmlp_free(&q);
    mlp_free(&twin);
    mlp_free(&fresh);
    return ok && found(f, drift, "%.4f", drift);
}
