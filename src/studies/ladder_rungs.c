#include "base/stats.h"
#include "studies/ladder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/progress.h"
#include "lowbit/qat.h"

/* The ladder, one line a rung. Adding one is adding a line (and, for a new format, its line in formats[]). */
const struct rung rungs[] = {
    {32, "f32", NULL, 0, "-", RUNG_FP32, METHOD_RTN},
    {32, "f32", NULL, 0, "one more epoch", RUNG_LONGER, METHOD_RTN},
    {16, "bf16", NULL, 0, "round to nearest", RUNG_CODED, METHOD_RTN},
    {16, "f16", NULL, 0, "round to nearest", RUNG_CODED, METHOD_RTN},
    {8, "int8", NULL, CODEC_TENSOR, "static", RUNG_STATIC, METHOD_RTN},
    {8, "int8", NULL, CODEC_ROW, "static", RUNG_STATIC, METHOD_RTN},
    {8, "int8", NULL, CODEC_ROW, "dynamic", RUNG_DYNAMIC, METHOD_RTN},
    {8, "int8", NULL, CODEC_ROW, "LLM.int8()", RUNG_VECTOR, METHOD_RTN},
    {8, "int8", NULL, CODEC_ROW, "QAT", RUNG_QAT, METHOD_RTN},
    {8, "q8_0", NULL, 0, "ggml", RUNG_CODED, METHOD_RTN},
    {4, "int4", NULL, CODEC_TENSOR, "round to nearest", RUNG_CODED, METHOD_RTN},
    {4, "int4", NULL, CODEC_ROW, "round to nearest", RUNG_CODED, METHOD_RTN},
    {4, "int4", NULL, CODEC_ROW, "least squares grid", RUNG_CODED, METHOD_RTN_MSE},
    {4, "int4", NULL, CODEC_ROW, "GPTQ", RUNG_CODED, METHOD_GPTQ},
    {4, "int4", NULL, CODEC_ROW, "GPTQ, act-order", RUNG_CODED, METHOD_GPTQ_ACT_ORDER},
    {4, "int4", NULL, CODEC_ROW, "AWQ", RUNG_CODED, METHOD_AWQ},
    {4, "int4", NULL, BLOCK_GROUP, "round to nearest", RUNG_CODED, METHOD_RTN},
    {4, "int4", NULL, BLOCK_GROUP, "least squares grid", RUNG_CODED, METHOD_RTN_MSE},
    {4, "int4", NULL, BLOCK_GROUP, "GPTQ", RUNG_CODED, METHOD_GPTQ},
    {4, "int4", NULL, BLOCK_GROUP, "GPTQ, act-order", RUNG_CODED, METHOD_GPTQ_ACT_ORDER},
    {4, "int4", NULL, BLOCK_GROUP, "AWQ", RUNG_CODED, METHOD_AWQ},
    {4, "uint4", NULL, BLOCK_GROUP, "round to nearest", RUNG_CODED, METHOD_RTN},
    {4, "uint4", NULL, BLOCK_GROUP, "GPTQ", RUNG_CODED, METHOD_GPTQ},
    {4, "uint4", NULL, BLOCK_GROUP, "AWQ", RUNG_CODED, METHOD_AWQ},
    {4, "nf4", NULL, 0, "NF4", RUNG_CODED, METHOD_RTN},
    {4, "nf4-dq", NULL, 0, "NF4, double quant", RUNG_CODED, METHOD_RTN},
    {4, "q4_0", NULL, 0, "ggml", RUNG_CODED, METHOD_RTN},
    {4, "q4_K", NULL, 0, "ggml", RUNG_CODED, METHOD_RTN},
    {4, "q4_K", "q6_K", 0, "ggml Q4_K_M mix", RUNG_CODED, METHOD_RTN},
    {4, "int4", NULL, CODEC_ROW, "W4A8, round to nearest", RUNG_W4A8, METHOD_RTN},
    {4, "int4", NULL, CODEC_ROW, "W4A8, GPTQ", RUNG_W4A8, METHOD_GPTQ},
    {4, "int4", NULL, CODEC_ROW, "W4A8, QAT", RUNG_QAT, METHOD_RTN},
    {3, "int3", NULL, CODEC_ROW, "round to nearest", RUNG_CODED, METHOD_RTN},
    {3, "int3", NULL, CODEC_ROW, "GPTQ", RUNG_CODED, METHOD_GPTQ},
    {3, "int3", NULL, BLOCK_GROUP, "round to nearest", RUNG_CODED, METHOD_RTN},
    {3, "int3", NULL, BLOCK_GROUP, "GPTQ", RUNG_CODED, METHOD_GPTQ},
    {3, "int3", NULL, CODEC_ROW, "W3A8, QAT", RUNG_QAT, METHOD_RTN},
    {2, "int2", NULL, CODEC_ROW, "round to nearest", RUNG_CODED, METHOD_RTN},
    {2, "int2", NULL, CODEC_ROW, "least squares grid", RUNG_CODED, METHOD_RTN_MSE},
    {2, "int2", NULL, CODEC_ROW, "GPTQ", RUNG_CODED, METHOD_GPTQ},
    {2, "int2", NULL, BLOCK_GROUP, "round to nearest", RUNG_CODED, METHOD_RTN},
    {2, "int2", NULL, BLOCK_GROUP, "GPTQ", RUNG_CODED, METHOD_GPTQ},
    {2, "int2", NULL, CODEC_ROW, "W2A8, QAT", RUNG_QAT, METHOD_RTN},
};
const int rung_count = sizeof rungs / sizeof rungs[0];

static struct codec rung_codec(const struct rung *rung, const struct ladder_options *options) {
    return (struct codec){format_find(rung->format), rung->block == BLOCK_GROUP ? options->group : rung->block};
}

void rung_format(const struct rung *rung, const struct ladder_options *options, char *text, size_t size) {
    codec_print(rung_codec(rung, options), text, size);
    if (rung->last) {
        size_t used = strlen(text);
        snprintf(text + used, size - used, " + %s", rung->last);
    }
}

/* ---- what all rungs share ---------------------------------------------------------------------------------------- */

/* The second moments of the layers' fp32 inputs on the test images: what output errors are measured with, apart from
 * the images that GPTQ and AWQ have seen. */
static bool make_test_grams(struct ladder *l, struct error *err) {
    const struct split *test = &l->data->test;
    int count = test->count > 10000 ? 10000 : (int)test->count;
    struct mlp_workspace ws;
    if (!mlp_workspace_create(&l->fp32->shape, count, false, &ws, err)) return false;
    mlp_load_images(l->fp32, test->images, count, &ws);
    mlp_forward(l->fp32, count, &ws);
    bool ok = true;
    for (int i = 0; ok && i < l->fp32->shape.layers; i++) {
        size_t in = (size_t)l->fp32->shape.widths[i];
        l->test_gram[i] = aligned_array(in * in, sizeof(double), err);
        ok = l->test_gram[i] && gram_matrix(ws.activation[i], (size_t)count, (int)in, l->test_gram[i], err);
    }
    mlp_workspace_free(&ws);
    return ok;
}

bool ladder_create(const struct dataset *data, const struct mlp *fp32, const struct model_notes *notes,
                   const struct ladder_options *options, const struct training_recipe *training, struct ladder *out,
                   struct error *err) {
    *out = (struct ladder){.data = data, .fp32 = fp32, .notes = notes, .options = options, .training = training};
    bool divides = false; /* before the files of an earlier run are written over */
    for (int i = 0; i < fp32->shape.layers; i++) divides = divides || fp32->shape.widths[i] % options->group == 0;
    if (!divides)
        return fail(err, "--group %d: a group of %d weights divides the inputs of no layer", options->group,
                    options->group);
    if ((size_t)options->images > data->train.count)
        return fail(err, "--images %d: there are only %zu training images", options->images, data->train.count);
    if ((size_t)training->validation >= data->train.count)
        return fail(err, "--validation %d: there are %zu training images", training->validation, data->train.count);
    struct quantization_recipe ranges = quantization_defaults();
    ranges.calibration = options->calibration;
    if ((out->images = calibration_images(&data->train, options->images, err)) &&
        calibrate_model(fp32, &data->train, &ranges, out->ranges, err) && make_test_grams(out, err))
        return true;
    ladder_free(out);
    return false;
}

void ladder_free(struct ladder *l) {
    free(l->images);
    for (int i = 0; i < MLP_MAX_LAYERS; i++) free(l->test_gram[i]);
    *l = (struct ladder){0};
}

/* ---- making a rung: each writes the file ---------------------------------------------------------------------- */

static struct train_config longer_training(const struct ladder *l) {
    const struct training_recipe *r = l->training;
    return (struct train_config){l->options->qat_epochs,
                                 r->batch,
                                 (enum optimizer_kind)r->optimizer,
                                 (float)l->options->qat_rate,
                                 r->warmup,
                                 (float)r->smoothing,
                                 r->seed + 1000003};
}

/* The training images, less those kept for validation. */
static size_t learn_from(const struct ladder *l) { return l->data->train.count - (size_t)l->training->validation; }

static bool make_longer(const struct ladder *l, const char *path, const struct model_notes *notes, struct error *err) {
    struct mlp mlp;
    struct train_report report;
    struct train_config config = longer_training(l);
    const struct split *train = &l->data->train;
    if (!mlp_copy(l->fp32, &mlp, err)) return false;
    struct progress bar;
    progress_begin(&bar, "one more epoch", "images");
    bool ok = mlp_train(&mlp, train->images, train->labels, learn_from(l), &config, progress_update, &bar, &report,
                        err) &&
        model_write_mlp(path, &mlp, notes, err);
    progress_end(&bar);
    mlp_free(&mlp);
    return ok;
}

/* What the weights lost, element by element, and what that does to each layer's output on the test images. */
static void measure_weights(const struct ladder *l, const struct mlp *effective, struct rung_result *out) {
    double signal = 0, noise = 0;
    for (int i = 0; i < l->fp32->shape.layers; i++) {
        const struct dense *a = &l->fp32->layer[i], *b = &effective->layer[i];
        for (size_t k = 0; k < (size_t)a->in * (size_t)a->out; k++) {
            double e = (double)a->weight[k] - (double)b->weight[k];
            signal += (double)a->weight[k] * (double)a->weight[k];
            noise += e * e;
        }
        out->output_error[i] = output_error(a->weight, b->weight, a->out, a->in, l->test_gram[i]);
    }
    out->sqnr_db = decibels(signal, noise);
    out->error_percent = 100 * sqrt(noise / signal);
}

/* AWQ clips weights for the least squared error (Lin et al. 2023, section 3.2). At 2 bits everything that chooses its
 * grid has to: covering the widest weight leaves only three values, most of them 0. */
static enum grid_rule grid_rule_of(const struct rung *rung) {
    return rung->how == METHOD_AWQ || (rung->bits <= 2 && rung->how != METHOD_RTN) ? GRID_MSE : GRID_MINMAX;
}

static struct coding_config coding_of(const struct ladder *l, const struct rung *rung) {
    struct codec codec = rung_codec(rung, l->options);
    return (struct coding_config){codec.format,       rung->last ? format_find(rung->last) : NULL,
                                  codec.block,        rung->how,
                                  grid_rule_of(rung), l->options->damping};
}

static bool make_coded(const struct ladder *l, const struct rung *rung, const char *path,
                       const struct model_notes *notes, struct rung_result *out, struct error *err) {
    struct coding_config config = coding_of(l, rung);
    struct weight_only coded;
    struct mlp effective;
    if (!mlp_create(&l->fp32->shape, &effective, err)) return false;
    bool ok = weight_only_encode(l->fp32, l->images, (size_t)l->options->images, &config, &coded, &effective, err);
    if (ok) {
        measure_weights(l, &effective, out);
        ok = model_write_coded(path, &coded, notes, err);
        weight_only_free(&coded);
    }
    mlp_free(&effective);
    return ok;
}

/* The weights of an integer network read back, for measure_weights. */
static bool measure_qmlp(const struct ladder *l, const struct qmlp *q, struct rung_result *out, struct error *err) {
    struct mlp effective;
    if (!mlp_create(&l->fp32->shape, &effective, err)) return false;
    for (int i = 0; i < q->shape.layers; i++) qmlp_read_weights(q, i, effective.layer[i].weight);
    measure_weights(l, &effective, out);
    mlp_free(&effective);
    return true;
}

static bool make_static(const struct ladder *l, const struct rung *rung, const char *path,
                        const struct model_notes *notes, struct rung_result *out, struct error *err) {
    struct convert_config config = {rung->block == CODEC_ROW, false, OBSERVER_MINMAX};
    struct qmlp q;
    size_t saturated;
    if (!convert(l->fp32, l->ranges, &config, &q, &saturated, err)) return false;
    bool ok = measure_qmlp(l, &q, out, err) && model_write_qmlp(path, &q, notes, err);
    qmlp_free(&q);
    return ok;
}

static bool make_dynamic(const struct ladder *l, const struct rung *rung, const char *path,
                         const struct model_notes *notes, struct error *err) {
    struct dynamic_mlp q;
    if (!dynamic_convert(l->fp32, rung->kind == RUNG_VECTOR, (float)l->options->threshold, l->images,
                         (size_t)l->options->images, &q, err))
        return false;
    bool ok = model_write_dynamic(path, &q, notes, err);
    dynamic_free(&q);
    return ok;
}

/* Codes of few bits, one grid a row, chosen by the coded rungs' methods, in the integer engine. */
static bool make_w4a8(const struct ladder *l, const struct rung *rung, const char *path,
                      const struct model_notes *notes, struct rung_result *out, struct error *err) {
    struct coding_config config = coding_of(l, rung);
    struct coded_matrix codes[MLP_MAX_LAYERS] = {{0}};
    struct qmlp q;
    size_t saturated;
    bool ok = weight_only_codes(l->fp32, l->images, (size_t)l->options->images, &config, codes, err) &&
        convert_codes(l->fp32, codes, l->ranges, false, &q, &saturated, err);
    for (int i = 0; i < MLP_MAX_LAYERS; i++) coded_matrix_free(&codes[i]);
    if (!ok) return false;
    ok = measure_qmlp(l, &q, out, err) && model_write_qmlp(path, &q, notes, err);
    qmlp_free(&q);
    return ok;
}

static bool make_qat(const struct ladder *l, const struct rung *rung, const char *path, const struct model_notes *notes,
                     struct error *err) {
    struct qat_config config = {rung->bits, longer_training(l)};
    struct range ranges[MLP_MAX_LAYERS + 1];
    const struct split *train = &l->data->train;
    struct train_report report;
    struct mlp mlp;
    struct qmlp q;
    size_t saturated;
    memcpy(ranges, l->ranges, sizeof ranges);
    if (!mlp_copy(l->fp32, &mlp, err)) return false;
    struct progress bar;
    progress_begin(&bar, "quantization-aware training", "images");
    bool ok = qat_train(&mlp, train->images, train->labels, learn_from(l), &config, ranges, progress_update, &bar,
                        &report, err) &&
        qat_convert(&mlp, rung->bits, ranges, &q, &saturated, err);
    progress_end(&bar);
    mlp_free(&mlp);
    if (!ok) return false;
    ok = model_write_qmlp(path, &q, notes, err);
    qmlp_free(&q);
    return ok;
}

static bool make_rung(const struct ladder *l, const struct rung *rung, const char *path, struct rung_result *out,
                      struct error *err) {
    struct model_notes notes = *l->notes;
    snprintf(notes.method, sizeof notes.method, "%s", rung->method);
    notes.weight_bits = rung->bits;
    switch (rung->kind) {
    case RUNG_FP32: return model_write_mlp(path, l->fp32, l->notes, err);
    case RUNG_LONGER: return make_longer(l, path, &notes, err);
    case RUNG_CODED: return make_coded(l, rung, path, &notes, out, err);
    case RUNG_STATIC: return make_static(l, rung, path, &notes, out, err);
    case RUNG_DYNAMIC:
    case RUNG_VECTOR: return make_dynamic(l, rung, path, &notes, err);
    case RUNG_W4A8: return make_w4a8(l, rung, path, &notes, out, err);
    case RUNG_QAT: return make_qat(l, rung, path, &notes, err);
    }
    return false;
}

bool rung_run(const struct ladder *l, const struct rung *rung, const char *path, struct rung_result *out,
              struct error *err) {
    *out = (struct rung_result){.sqnr_db = NAN, .error_percent = NAN};
    for (int i = 0; i < MLP_MAX_LAYERS; i++) out->output_error[i] = NAN;
    rung_format(rung, l->options, out->format, sizeof out->format);
    double started = seconds_now();
    bool ok = make_rung(l, rung, path, out, err);
    out->seconds = seconds_now() - started;
    ok = ok && model_read(path, &out->model, NULL, err) && file_size(path, &out->bytes, err) &&
        evaluate(&out->model, &l->data->test, false, &out->evaluation, err);
    if (!ok) rung_result_free(out);
    return ok;
}

void rung_result_free(struct rung_result *r) {
    model_free(&r->model);
    evaluation_free(&r->evaluation);
}
