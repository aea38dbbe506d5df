/* Claims about trained networks: trained, quantized and run here, on whatever data set was given. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "studies/audit.h"
#include "cli/speed.h"
#include "model/model_run.h"
#include "model/faults.h"

static double points(const struct evaluation *a, const struct evaluation *b) {
    return accuracy_percent(a) - accuracy_percent(b);
}

/* ---- weights ---------------------------------------------------------------------------------------------------- */

bool measure_weight_band(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    (void)c;
    const struct exercise *e = audit_exercise(a, err);
    if (!e) return false;
    const struct mlp *mlp = &e->models[AUDIT_FP32].mlp;
    size_t inside = 0, count = 0;
    double widest = 0;
    for (int l = 0; l < mlp->shape.layers; l++) {
        size_t n = (size_t)mlp->layer[l].in * (size_t)mlp->layer[l].out;
        for (size_t i = 0; i < n; i++) inside += fabsf(mlp->layer[l].weight[i]) <= 0.5f;
        widest = fmax(widest, (double)absolute_maximum(mlp->layer[l].weight, n));
        count += n;
    }
    double percent = 100.0 * (double)inside / (double)count;
    return found(f, percent, "%.3f%% of %zu weights, the widest %.2f", percent, count, widest);
}

/* Root mean square error relative to the weights' root mean square, as the rung's file gives them back. */
bool measure_weight_error(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    const struct rung_result *r = audit_rung(a, c->rung.format, c->rung.block, c->rung.method, err);
    return r && found(f, r->error_percent, "%.2f%% (%s, %.1f dB)", r->error_percent, r->format, r->sqnr_db);
}

/* The same error beside the largest weight of its row. which: the highest code */
bool measure_error_of_range(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    const struct exercise *e = audit_exercise(a, err);
    if (!e) return false;
    const struct mlp *mlp = &e->models[AUDIT_FP32].mlp;
    double sum = 0, count = 0;
    for (int l = 0; l < mlp->shape.layers; l++)
        for (int row = 0; row < mlp->layer[l].out; row++) {
            const float *w = mlp->layer[l].weight + (size_t)row * (size_t)mlp->layer[l].in;
            double widest = (double)absolute_maximum(w, (size_t)mlp->layer[l].in);
            struct qparams p = qparams_symmetric((float)widest, c->which);
            for (int k = 0; widest > 0 && k < mlp->layer[l].in; k++) {
                double lost = ((double)w[k] - (double)fake_quantize(w[k], p)) / widest;
                sum += lost * lost;
                count++;
            }
        }
    double percent = 100 * sqrt(sum / count);
    return found(f, percent, "%.2f%% of a row's largest weight", percent);
}

/* Squared error of each layer's output on the test images: round to nearest's over the method's, in the geometric mean.
 */
bool measure_method_gain(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    const struct rung_result *method = audit_rung(a, c->rung.format, c->rung.block, c->rung.method, err);
    const struct rung_result *nearest = method ? audit_rung(a, c->rung.format, c->rung.block, "round to nearest", err)
                                               : NULL;
    if (!nearest) return false;
    int layers = a->exercise.models[AUDIT_FP32].shape.layers;
    double sum = 0;
    for (int l = 0; l < layers; l++) sum += log(nearest->output_error[l] / method->output_error[l]);
    double gain = exp(sum / layers);
    return found(f, gain, "%.2f x less output error (%+.2f and %+.2f points)", gain,
                 points(&method->evaluation, &a->exercise.evaluations[AUDIT_FP32]),
                 points(&nearest->evaluation, &a->exercise.evaluations[AUDIT_FP32]));
}

/* ---- answers ---------------------------------------------------------------------------------------------------- */

bool measure_same_answers(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    (void)c;
    const struct exercise *e = audit_exercise(a, err);
    if (!e) return false;
    const struct evaluation *int8 = &e->evaluations[AUDIT_CHANNEL];
    struct paired paired = compare(&e->evaluations[AUDIT_FP32], int8, a->data.test.labels);
    double percent = 100 - 100.0 * (double)paired.changed / (double)int8->count;
    return found(f, percent, "%.2f%%: %zu of %zu changed", percent, paired.changed, int8->count);
}

static bool found_drop(const struct evaluation *fp32, const struct evaluation *ours, struct finding *f) {
    return found(f, points(fp32, ours), "%+.2f points (%.2f%% to %.2f%%, ±%.2f)", points(ours, fp32),
                 accuracy_percent(fp32), accuracy_percent(ours), standard_error_percent(fp32));
}

bool measure_drop(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    (void)c;
    const struct exercise *e = audit_exercise(a, err);
    return e && found_drop(&e->evaluations[AUDIT_FP32], &e->evaluations[AUDIT_CHANNEL], f);
}

bool measure_rung_drop(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    const struct rung_result *r = audit_rung(a, c->rung.format, c->rung.block, c->rung.method, err);
    return r && found_drop(&a->exercise.evaluations[AUDIT_FP32], &r->evaluation, f);
}

/* In standard errors of one accuracy: what cannot be told apart with this many test images. */
bool measure_rung_gap(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    const struct rung_result *r = audit_rung(a, c->rung.format, c->rung.block, c->rung.method, err);
    if (!r) return false;
    double gap = points(&r->evaluation, &a->exercise.evaluations[AUDIT_FP32]);
    double noise = standard_error_percent(&a->exercise.evaluations[AUDIT_FP32]);
    return found(f, gap == 0 ? 0 : fabs(gap) / noise, "%+.2f points, %.2f standard errors", gap,
                 gap == 0 ? 0 : fabs(gap) / noise);
}

/* One seed says little about hundredths of a point: the mean over a->seeds. The files of the first stay as they are. */
bool measure_tensor_extra(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    (void)c;
    char folder[4160];
    struct quantization_recipe quantization = quantization_defaults();
    double sum = 0, squares = 0, n = a->seeds;
    if (!audit_exercise(a, err)) return false;
    quantization.scheme = SCHEMES;
    quantization.calibration = a->calibration;
    snprintf(folder, sizeof folder, "%s/seeds", a->models);
    for (int i = 0; i < a->seeds; i++) {
        struct training_recipe training = a->training;
        struct exercise other = {0};
        training.seed += (uint64_t)i;
        if (i > 0 && !exercise_run(&a->data, &training, &quantization, folder, &other, err)) {
            exercise_free(&other);
            return false;
        }
        const struct exercise *e = i == 0 ? &a->exercise : &other;
        double extra = points(&e->evaluations[AUDIT_CHANNEL], &e->evaluations[AUDIT_TENSOR]);
        sum += extra;
        squares += extra * extra;
        exercise_free(&other);
    }
    double mean = sum / n, error = n > 1 ? sqrt(fmax(0, squares - n * mean * mean) / (n - 1) / n) : NAN;
    return found(f, mean, "%+.3f ± %.3f points more lost, over %d seeds", mean, error, a->seeds);
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

static bool found_ratio(uint64_t large, uint64_t small, struct finding *f) {
    double ratio = (double)large / (double)small;
    return found(f, ratio, "%.3f (%llu / %llu bytes)", ratio, (unsigned long long)large, (unsigned long long)small);
}

bool measure_file_ratio(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    (void)c;
    const struct exercise *e = audit_exercise(a, err);
    return e && found_ratio(e->bytes[AUDIT_FP32], e->bytes[AUDIT_CHANNEL], f);
}

bool measure_half_of_int8(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    const struct rung_result *r = audit_rung(a, c->rung.format, c->rung.block, c->rung.method, err);
    return r && found_ratio(a->exercise.bytes[AUDIT_CHANNEL], r->bytes, f);
}

/* ---- logits and codes ------------------------------------------------------------------------------------------- */

enum { DRIFT_IMAGES = 1000, CODE_IMAGES = 1000, SUM_IMAGES = 50 };

static size_t at_most(size_t count, size_t limit) { return count < limit ? count : limit; }

static bool largest_drift(const struct model *x, const struct model *y, const struct split *test, double *drift,
                          struct error *err) {
    struct model_run rx = {0}, ry = {0};
    int inputs = x->shape.widths[0], classes = x->shape.widths[x->shape.layers];
    bool ok = model_run_create(x, 1, 1, RUN_FAST, &rx, err) && model_run_create(y, 1, 1, RUN_FAST, &ry, err);
    *drift = 0;
    for (size_t i = 0; ok && i < at_most(test->count, DRIFT_IMAGES); i++) {
        float lx[256], ly[256];
        model_run(&rx, test->images + i * (size_t)inputs, 1, NULL);
        model_run_logits(&rx, 0, lx);
        model_run(&ry, test->images + i * (size_t)inputs, 1, NULL);
        model_run_logits(&ry, 0, ly);
        for (int j = 0; j < classes; j++) *drift = fmax(*drift, fabs((double)lx[j] - (double)ly[j]));
    }
    model_run_free(&rx);
    model_run_free(&ry);
    return ok;
}

/* which: 0 against a network with fresh weights, 1 against the trained one that was converted */
bool measure_network_drift(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    const struct exercise *e = audit_exercise(a, err);
    if (!e) return false;
    const struct model *trained = &e->models[AUDIT_FP32], *int8 = &e->models[AUDIT_CHANNEL];
    struct model fresh = {.kind = MODEL_FP32, .shape = trained->shape};
    struct rng rng = rng_seeded(a->training.seed + 1);
    double drift = 0;
    if (!mlp_create(&trained->shape, &fresh.mlp, err)) return false;
    mlp_initialise(&fresh.mlp, &rng);
    bool ok = largest_drift(c->which ? trained : &fresh, int8, &a->data.test, &drift, err);
    double step = (double)int8->qmlp.activation[int8->shape.layers].scale;
    model_free(&fresh);
    return ok && found(f, drift, "%.3f, %.1f steps of the logits' scale", drift, drift / step);
}

/* The codes of the first test images in every layer. */
static bool test_codes(const struct qmlp *q, const struct split *test, size_t count, struct layer_codes *out,
                       struct error *err) {
    size_t n = count * (size_t)q->shape.widths[0];
    uint8_t *codes = aligned_array(n, 1, err);
    for (size_t i = 0; codes && i < n; i++) codes[i] = q->pixel_code[test->images[i]];
    bool ok = codes && layer_codes_run(q, codes, count, out, err);
    free(codes);
    return ok;
}

/* Shares of the 256 codes that no hidden neuron ever has, in the mean over the hidden layers: of all, and of those
 * below the zero point. */
struct unused {
    double all, below;
};

static bool unused_codes(const struct qmlp *q, const struct split *test, struct unused *unused, struct error *err) {
    size_t count = at_most(test->count, CODE_IMAGES);
    struct layer_codes layers = {{0}};
    bool ok = test_codes(q, test, count, &layers, err);
    *unused = (struct unused){0, 0};
    for (int l = 1; ok && l < q->shape.layers; l++) {
        bool seen[256] = {false};
        for (size_t i = 0; i < count * (size_t)q->shape.widths[l]; i++) seen[layers.at[l][i]] = true;
        for (int code = 0; code < 256; code++) {
            double share = seen[code] ? 0 : 100.0 / 256 / (q->shape.layers - 1);
            unused->all += share;
            unused->below += code < q->activation[l].zero_point ? share : 0;
        }
    }
    layer_codes_free(&layers);
    return ok;
}

bool measure_relu_codes(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    (void)c;
    const struct exercise *e = audit_exercise(a, err);
    struct quantization_recipe symmetric = quantization_defaults();
    struct qmlp q;
    size_t saturated;
    struct unused with, without;
    symmetric.activations = 1;
    symmetric.calibration = a->calibration;
    if (!e || !quantize_model(&e->models[AUDIT_FP32].mlp, &a->data.train, &symmetric, &q, &saturated, err))
        return false;
    bool ok = unused_codes(&q, &a->data.test, &with, err) &&
        unused_codes(&e->models[AUDIT_CHANNEL].qmlp, &a->data.test, &without, err);
    qmlp_free(&q);
    return ok &&
        found(f, with.below, "%.1f%% (all unused: %.1f%%, asymmetric %.1f%%)", with.below, with.all, without.all);
}

/* which: bits of the accumulator */
bool measure_network_sums(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    const struct exercise *e = audit_exercise(a, err);
    if (!e) return false;
    const struct qmlp *q = &e->models[AUDIT_CHANNEL].qmlp;
    struct layer_codes layers = {{0}};
    size_t images = at_most(a->data.test.count, SUM_IMAGES);
    int64_t left = 0, all = 0;
    int32_t widest = 0;
    bool ok = test_codes(q, &a->data.test, images, &layers, err);
    for (int l = 0; ok && l < q->shape.layers; l++)
        for (size_t i = 0; i < images; i++)
            for (int out = 0; out < q->layer[l].out; out++, all++) {
                const uint8_t *x = layers.at[l] + i * (size_t)q->layer[l].in;
                int products;
                int32_t largest = largest_partial_sum(&q->layer[l], out, x);
                left += first_overflow(&q->layer[l], out, x, c->which, &products) < q->layer[l].in;
                widest = largest > widest ? largest : widest;
            }
    layer_codes_free(&layers);
    double percent = 100.0 * (double)left / (double)all;
    return ok && found(f, percent, "%.1f%% of all sums, the widest %d", percent, widest);
}

/* ---- speed ------------------------------------------------------------------------------------------------------ */

static bool measure_all_speeds(struct audit *a, struct error *err) {
    const struct rung_result *fp16 = audit_rung(a, "f16", 0, "round to nearest", err);
    const struct rung_result *bf16 = fp16 ? audit_rung(a, "bf16", 0, "round to nearest", err) : NULL;
    const struct rung_result *int4 = bf16 ? audit_rung(a, "int4", CODEC_ROW, "W4A8, round to nearest", err) : NULL;
    if (!int4) return false;
    const struct model *models[AUDIT_SPEEDS] = {&a->exercise.models[AUDIT_FP32], &fp16->model, &bf16->model,
                                                &a->exercise.models[AUDIT_CHANNEL], &int4->model};
    struct speed speeds[AUDIT_SPEEDS];
    for (int i = 0; i < AUDIT_SPEEDS; i++) speeds[i] = speed_of(models[i]);
    a->has_speeds = measure_speeds(speeds, AUDIT_SPEEDS, &a->data.test, err);
    for (int i = 0; i < AUDIT_SPEEDS; i++) a->speeds[i] = speeds[i].images_per_second;
    return a->has_speeds;
}

/* which: SPEED_FP16, ... against fp32 */
bool measure_speed(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    if (!a->has_speeds && !measure_all_speeds(a, err)) return false;
    double ratio = a->speeds[c->which] / a->speeds[SPEED_FP32];
    return found(f, ratio, "%.2f x (%.0f images/s, fp32 %.0f)", ratio, a->speeds[c->which], a->speeds[SPEED_FP32]);
}

bool measure_int8_units(struct audit *a, const struct claim *c, struct finding *f, struct error *err) {
    (void)a, (void)c, (void)err;
    double fp32 = peak_measure(PEAK_FP32, 1, 0.2), int8 = peak_measure(PEAK_INT8, 1, 0.2);
    if (!(fp32 > 0 && int8 > 0)) return found(f, NAN, "no loop for this CPU");
    return found(f, int8 / fp32, "%.1f x (%s against %s)", int8 / fp32, peak_name(PEAK_INT8), peak_name(PEAK_FP32));
}
