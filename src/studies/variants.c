#include "studies/variants.h"

#include <math.h>
#include <stdlib.h>

#include "cli/recipe.h"
#include "quant/convert.h"
#include "studies/cells.h"

bool variants_begin(struct variants *v) {
    const struct dataset *data = &v->study->data;
    struct error *err = &v->study->err;
    struct model fp32 = {.kind = MODEL_FP32, .shape = v->fp32->shape, .mlp = *v->fp32};
    return (v->images = calibration_images(&data->train, v->calibration, err)) &&
        ranges_over(v->fp32, v->images, v->calibration, v->ranges, err) &&
        (v->logits = model_logits(&fp32, &data->test, err)) &&
        evaluate_logits(v->logits, data->classes, &data->test, &v->evaluation, err) &&
        int8_network(v->fp32, v->ranges, true, false, &v->int8, err) &&
        (v->healthy = run_variant(v, &v->int8, &faults[0], FAULTS_ALL_LAYERS, v->logits));
}

void variants_free(struct variants *v) {
    for (struct kept *k = v->kept, *next; k; k = next) {
        next = k->next;
        measurement_free(&k->m);
        free(k);
    }
    qmlp_free(&v->int8.qmlp);
    evaluation_free(&v->evaluation);
    free(v->logits);
    free(v->images);
}

const struct measurement *run_variant(struct variants *v, const struct model *model, const struct fault *fault,
                                      int layer, const float *fp32_logits) {
    struct trial trial = {model, fault, layer, fp32_logits};
    struct kept *k = aligned_array(1, sizeof *k, &v->study->err);
    if (!k || !measure(&trial, &v->study->data.test, &k->m, &v->study->err)) {
        free(k);
        return NULL;
    }
    k->next = v->kept;
    v->kept = k;
    progress_update(&v->bar, ++v->done, v->total);
    return &k->m;
}

void summarise(struct variants *v, const char *pitfall, const char *provoked_by, const char *repaired_by,
               const struct measurement *before, const struct measurement *provoked,
               const struct measurement *repaired) {
    table_row(v->summary, "%s | %s | %s | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f", pitfall, provoked_by, repaired_by,
              accuracy_percent(&before->evaluation), accuracy_percent(&provoked->evaluation),
              accuracy_percent(&repaired->evaluation), before->logit_sqnr_db, provoked->logit_sqnr_db,
              repaired->logit_sqnr_db);
}

void add_network_cells(const struct variants *v, struct table *t, const struct measurement *m,
                       const struct evaluation *base) {
    table_row(t, "%.2f | %zu | %.2f", m->logit_sqnr_db, m->evaluation.correct, accuracy_percent(&m->evaluation));
    add_paired(t, base, &m->evaluation, v->study->data.test.labels);
}

bool ranges_over(const struct mlp *mlp, const uint8_t *images, int count, struct range *ranges, struct error *err) {
    struct convert_config config = {.observer = OBSERVER_MINMAX};
    struct mlp_workspace ws;
    if (!mlp_workspace_create(&mlp->shape, CALIBRATION_BATCH, false, &ws, err)) return false;
    bool ok = calibrate(mlp, images, (size_t)count, &config, &ws, ranges, err);
    mlp_workspace_free(&ws);
    return ok;
}

static bool all_fit(size_t saturated, struct model *out, struct error *err) {
    if (saturated == 0) return true;
    model_free(out);
    return fail(err, "%zu biases are beyond the 2^30 steps that the engine takes: this network has nothing to show",
                saturated);
}

bool int8_network(const struct mlp *mlp, const struct range *ranges, bool per_channel, bool symmetric,
                  struct model *out, struct error *err) {
    struct convert_config config = {per_channel, symmetric, OBSERVER_MINMAX};
    size_t saturated;
    *out = (struct model){.kind = MODEL_INT8, .shape = mlp->shape};
    return convert(mlp, ranges, &config, &out->qmlp, &saturated, err) && all_fit(saturated, out, err);
}

bool requantize_network(const struct mlp *mlp, struct model *out, struct error *err) {
    struct qmlp *q = &out->qmlp;
    size_t saturated;
    for (int l = 0; l < mlp->shape.layers; l++)
        for (size_t i = 0, in = (size_t)mlp->layer[l].in; i < in * (size_t)mlp->layer[l].out; i++) {
            struct qparams p = {qmlp_weight_scale(q, l, (int)(i / in)), 0, -127, 127};
            q->layer[l].weight[i] = (int8_t)quantize(mlp->layer[l].weight[i], p);
        }
    return convert_complete(mlp, q, &saturated, err) && all_fit(saturated, out, err);
}
