/* The tables beside the main one: what each layer became, and which digits are taken for which. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/stats.h"
#include "cli/exercise.h"

/* The fp32 and the integer activations of a layer on the calibration images. */
struct layer_probe {
    uint8_t *images;         /* [count][inputs] */
    struct mlp_workspace ws; /* all count images at once */
    uint8_t *codes[2];       /* [count][widest]: input and output of a layer, in turn */
    float *real;             /* [count][widest]: codes read back */
    size_t count, widest;
};

static void probe_free(struct layer_probe *p) {
    free(p->images);
    mlp_workspace_free(&p->ws);
    free(p->codes[0]);
    free(p->codes[1]);
    free(p->real);
}

static bool probe_create(const struct model *fp32, const struct split *train, int calibration, struct layer_probe *p,
                         struct error *err) {
    *p = (struct layer_probe){.count = (size_t)calibration};
    for (int i = 0; i <= fp32->shape.layers; i++)
        if ((size_t)fp32->shape.widths[i] > p->widest) p->widest = (size_t)fp32->shape.widths[i];
    if (!(p->images = calibration_images(train, calibration, err)) ||
        !mlp_workspace_create(&fp32->shape, calibration, false, &p->ws, err) ||
        !(p->codes[0] = aligned_array(p->count, p->widest, err)) ||
        !(p->codes[1] = aligned_array(p->count, p->widest, err)) ||
        !(p->real = aligned_array(p->count * p->widest, sizeof(float), err)))
        return false;
    mlp_load_images(&fp32->mlp, p->images, calibration, &p->ws);
    mlp_forward(&fp32->mlp, calibration, &p->ws);
    return true;
}

/* SQNR of layer l's output codes in p->codes[(l + 1) % 2] against the fp32 output. */
static double activation_sqnr(const struct qmlp *q, int l, struct layer_probe *p) {
    size_t n = p->count * (size_t)q->layer[l].out;
    const uint8_t *codes = p->codes[(l + 1) % 2];
    for (size_t i = 0; i < n; i++) p->real[i] = dequantize(codes[i], q->activation[l + 1]);
    return sqnr_db(p->ws.activation[l + 1], p->real, n);
}

static bool weight_sqnr(const struct dense *d, const struct qmlp *q, int l, double *sqnr, struct error *err) {
    size_t n = (size_t)d->in * (size_t)d->out;
    float *real = aligned_array(n, sizeof *real, err);
    if (!real) return false;
    qmlp_read_weights(q, l, real);
    *sqnr = sqnr_db(d->weight, real, n);
    free(real);
    return true;
}

static bool add_layer_row(struct table *t, const struct model *fp32, const struct model *int8, int l,
                          struct layer_probe *p, struct error *err) {
    const struct qmlp *q = &int8->qmlp;
    const struct dense *d = &fp32->mlp.layer[l];
    double sqnr, lowest = INFINITY, highest = -INFINITY, scale_lo = INFINITY, scale_hi = 0;
    if (!weight_sqnr(d, q, l, &sqnr, err)) return false;
    for (size_t i = 0; i < (size_t)d->in * (size_t)d->out; i++) {
        lowest = fmin(lowest, (double)d->weight[i]);
        highest = fmax(highest, (double)d->weight[i]);
    }
    for (int c = 0; c < d->out; c++) {
        scale_lo = fmin(scale_lo, (double)qmlp_weight_scale(q, l, c));
        scale_hi = fmax(scale_hi, (double)qmlp_weight_scale(q, l, c));
    }
    table_row(t, "%s | fc%d | %d x %d | %.4f | %.4f | %.6f | %.6f | %.1f | %.6f | %d | %.6f | %d | %.1f",
              granularity_name(int8), l + 1, d->out, d->in, lowest, highest, scale_lo, scale_hi, sqnr,
              (double)q->activation[l].scale, q->activation[l].zero_point, (double)q->activation[l + 1].scale,
              q->activation[l + 1].zero_point, activation_sqnr(q, l, p));
    return true;
}

static bool add_model_layers(struct table *t, const struct model *fp32, const struct model *int8, struct layer_probe *p,
                             struct error *err) {
    const struct qmlp *q = &int8->qmlp;
    for (size_t i = 0; i < p->count * (size_t)q->shape.widths[0]; i++) p->codes[0][i] = q->pixel_code[p->images[i]];
    for (int l = 0; l < q->shape.layers; l++) {
        qlinear_ref(&q->layer[l], p->codes[l % 2], p->count, p->codes[(l + 1) % 2]);
        if (!add_layer_row(t, fp32, int8, l, p, err)) return false;
    }
    return true;
}

bool write_layers(const struct exercise *e, const struct dataset *data, int calibration, const struct provenance *p,
                  const char *folder, struct error *err) {
    static const char columns[] =
        "granularity layer weight weight_min weight_max weight_scale_min weight_scale_max weight_sqnr_db input_scale "
        "input_zero_point output_scale output_zero_point output_sqnr_db";
    struct table t;
    struct layer_probe probe;
    table_init(&t, "What each layer became", columns);
    table_note(&t,
               "SQNR: signal to quantization noise, 10 log10(sum x^2 / sum (x - x_hat)^2). weight: the codes read back "
               "against the fp32 weights. output: the integer engine's codes read back against the fp32 network's "
               "activations, on the %d calibration images; it holds the error of all layers up to there.",
               calibration);
    bool ok = probe_create(&e->models[0], &data->train, calibration, &probe, err);
    for (int i = 1; ok && i < e->count; i++) ok = add_model_layers(&t, &e->models[0], &e->models[i], &probe, err);
    ok = ok && table_save(&t, p, folder, "layers", err);
    probe_free(&probe);
    table_free(&t);
    return ok;
}

static void add_confusion_rows(struct table *t, const char *name, const char *granularity, const struct evaluation *e,
                               const uint8_t *labels, int classes) {
    for (int truth = 0; truth < classes; truth++) {
        size_t counts[256] = {0}, total = 0;
        for (size_t i = 0; i < e->count; i++)
            if (labels[i] == truth) {
                counts[e->predicted[i]]++;
                total++;
            }
        table_row(t, "%s | %s | %d", name, granularity, truth);
        for (int j = 0; j < classes; j++) table_row(t, "%zu", counts[j]);
        table_row(t, "%.2f", 100.0 * (double)counts[truth] / (double)total); /* empty when there is no such image */
    }
}

bool write_confusion(const struct exercise *e, const struct dataset *data, const struct provenance *p,
                     const char *folder, struct error *err) {
    int classes = data->classes;
    struct table t;
    table_init(&t, "Confusion: rows are the true class, columns what it was taken for", "format granularity label");
    for (int j = 0; j < classes; j++) table_add_columns(&t, "as_%d", j);
    table_add_columns(&t, "recall_percent");
    for (int i = 0; i < e->count; i++)
        add_confusion_rows(&t, i ? "int8" : "fp32", granularity_name(&e->models[i]), &e->evaluations[i],
                           data->test.labels, classes);
    bool ok = table_save(&t, p, folder, "confusion", err);
    table_free(&t);
    return ok;
}
