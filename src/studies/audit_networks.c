/* The networks of the exercise, read from its files. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "model/evaluation.h"
#include "studies/audit.h"

/* How many weights lie in [-0.5, 0.5]; and what 4 bits, round to nearest, one scale a row, lose of the row's largest
 * weight, root mean square. */
static void add_weights(struct table *t, const struct mlp *mlp) {
    double count = 0, inside = 0, used = 0, squares = 0;
    for (int l = 0; l < mlp->shape.layers; l++)
        for (int row = 0; row < mlp->layer[l].out; row++) {
            int n = mlp->layer[l].in;
            const float *w = mlp->layer[l].weight + (size_t)row * (size_t)n;
            double widest = (double)absolute_maximum(w, (size_t)n);
            struct qparams p = qparams_symmetric((float)widest, 7);
            for (int k = 0; k < n; k++) inside += fabsf(w[k]) <= 0.5f;
            count += n;
            if (!(widest > 0)) continue;
            used += n;
            for (int k = 0; k < n; k++) squares += pow(((double)w[k] - (double)fake_quantize(w[k], p)) / widest, 2);
        }
    add_number(t, "weights", count);
    add_number(t, "weights within 0.5", inside);
    add_number(t, "int4 error of the largest weight", 100 * sqrt(squares / used));
}

static bool add_drift(struct table *t, const char *name, const struct model *a, const struct model *b,
                      const struct split *split, struct error *err) {
    size_t count = split->count * (size_t)a->shape.widths[a->shape.layers];
    float *x = model_logits(a, split, err), *y = x ? model_logits(b, split, err) : NULL;
    double drift = 0;
    for (size_t i = 0; y && i < count; i++) drift = fmax(drift, fabs((double)x[i] - (double)y[i]));
    add_number(t, name, drift);
    free(x);
    free(y);
    return y != NULL;
}

/* The largest difference of logits on up to 1000 images between int8 and the network that was converted, and between
 * int8 and one with fresh weights, as the lesson's listing compares. */
static bool add_drifts(struct table *t, const struct model *fp32, const struct model *int8, struct split split,
                       struct error *err) {
    struct model fresh = {.kind = MODEL_FP32, .shape = fp32->shape};
    struct rng rng = rng_seeded(2);
    if (split.count > 1000) split.count = 1000;
    if (!mlp_create(&fp32->shape, &fresh.mlp, err)) return false;
    mlp_initialise(&fresh.mlp, &rng);
    add_number(t, "step of the logits", (double)int8->qmlp.activation[int8->shape.layers].scale);
    bool ok = add_drift(t, "drift against its twin", fp32, int8, &split, err) &&
        add_drift(t, "drift against a fresh network", &fresh, int8, &split, err);
    model_free(&fresh);
    return ok;
}

static bool read_model(const char *folder, const char *name, enum model_kind kind, const struct split *test,
                       struct model *out, struct error *err) {
    char path[4200];
    snprintf(path, sizeof path, "%.4000s/models/%s.safetensors", folder, name);
    return model_read(path, out, NULL, err) &&
        (out->kind == kind || fail(err, "%s: not what the exercise writes", path)) &&
        split_fits(test, out->shape.widths[0], out->shape.widths[out->shape.layers], path, err);
}

bool audit_networks(struct table *t, const char *folder, const struct dataset *data, struct error *err) {
    struct model fp32 = {0}, int8 = {0};
    bool ok = read_model(folder, "fp32", MODEL_FP32, &data->test, &fp32, err) &&
        read_model(folder, "int8-per-channel", MODEL_INT8, &data->test, &int8, err);
    if (ok) add_weights(t, &fp32.mlp);
    ok = ok && add_drifts(t, &fp32, &int8, data->test, err);
    model_free(&fp32);
    model_free(&int8);
    return ok;
}
