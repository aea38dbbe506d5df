/* What the exercise shows: both networks side by side, what each layer became, which digits are taken for which, and
 * those that the two answer differently. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/stats.h"
#include "cli/report.h"
#include "cli/canvas.h"
#include "cli/exercise.h"

static void note_exercise(struct table *t, const struct exercise *e, const struct dataset *data) {
    char shape[128];
    mlp_shape_print(&e->models[0].shape, shape, sizeof shape);
    table_note(t, "What to see: the bytes that int8 saves, the speed that it gains, and how few answers it changes.");
    table_note(t, "%s, %zu parameters; trained on %zu images of %s in %.2f s to a loss of %.4f nats.", shape,
               mlp_parameter_count(&e->models[0].shape), data->train.count, data->name, e->training.seconds,
               e->training.loss);
    for (int i = 1; i < e->count; i++)
        note_ties(t, granularity_name(&e->models[i]), &e->models[i], e->evaluations[i].ties);
    if (e->saturated)
        table_note(t,
                   "%zu biases are beyond the 2^30 steps that the engine takes, and were cut: those outputs are wrong.",
                   e->saturated);
}

void exercise_table(struct study *s, const struct exercise *e, const struct speed *speeds) {
    struct table *t = study_table(
        s, "exercise", "The exercise: fp32 against int8",
        "format granularity arithmetic- file_bytes:bytes ratio correct- n- accuracy_percent:accuracy_% standard_error- "
        "change changed- fixed- broken- images_per_second:images/s speed spread_percent:±_%");
    const struct evaluation *fp32 = &e->evaluations[0];
    for (int i = 0; i < e->count; i++) {
        const struct evaluation *ours = &e->evaluations[i];
        double rate = speeds[i].images_per_second;
        table_row(t, "%s | %s | %s | %zu | %.3f | %zu | %zu | %.2f | %.2f", i == 0 ? "fp32" : "int8",
                  granularity_name(&e->models[i]), arithmetic_name(&e->models[i]), e->bytes[i],
                  (double)e->bytes[0] / (double)e->bytes[i], ours->correct, ours->count, accuracy_percent(ours),
                  standard_error_percent(ours));
        add_changes(t, fp32, ours, s->data.test.labels);
        table_row(t, "%lld | %.2f | %.1f", (long long)rate, rate / speeds[0].images_per_second,
                  speeds[i].spread_percent);
    }
    note_exercise(t, e, &s->data);
    note_speeds(t, speeds, e->count);
}

/* ---- layers ----------------------------------------------------------------------------------------------------- */

/* real [in * out]: scratch. */
static void add_layer_row(struct table *t, const struct model *fp32, const struct model *int8, int l,
                          double output_sqnr, float *real) {
    const struct qmlp *q = &int8->qmlp;
    const struct dense *d = &fp32->mlp.layer[l];
    size_t n = (size_t)d->in * (size_t)d->out;
    struct sums weights = {0}, scales = {0};
    model_weights(int8, l, real);
    for (size_t i = 0; i < n; i++) sums_add(&weights, (double)d->weight[i]);
    for (int c = 0; c < d->out; c++) sums_add(&scales, (double)qmlp_weight_scale(q, l, c));
    table_row(t, "%s | fc%d | %d x %d | %.4f | %.4f | %.6f | %.6f | %.1f | %.6f | %d | %.6f | %d | %.1f",
              granularity_name(int8), l + 1, d->out, d->in, weights.lowest, weights.highest, scales.lowest,
              scales.highest, sqnr_db(d->weight, real, n), (double)q->activation[l].scale, q->activation[l].zero_point,
              (double)q->activation[l + 1].scale, q->activation[l + 1].zero_point, output_sqnr);
}

bool layers_table(struct study *s, const struct exercise *e, int calibration) {
    struct table *t = study_table(
        s, "layers", "What each layer became",
        "granularity layer weight weight_min weight_max weight_scale_min weight_scale_max weight_sqnr_db input_scale "
        "input_zero_point output_scale output_zero_point output_sqnr_db");
    const struct model *fp32 = &e->models[0];
    size_t most = 0; /* weights of a layer */
    for (int l = 0; l < fp32->shape.layers; l++) {
        size_t n = (size_t)fp32->shape.widths[l] * (size_t)fp32->shape.widths[l + 1];
        most = n > most ? n : most;
    }
    uint8_t *images = calibration_images(&s->data.train, calibration, &s->err);
    float *real = images ? aligned_array(most, sizeof *real, &s->err) : NULL;
    bool ok = real != NULL;
    for (int i = 1; ok && i < e->count; i++) {
        struct similarity similar[MLP_MAX_LAYERS + 1] = {{0}}; /* on the calibration images */
        ok = compare_outputs(fp32, &e->models[i], images, (size_t)calibration, similar, NULL, NULL, &s->err);
        for (int l = 0; ok && l < fp32->shape.layers; l++)
            add_layer_row(t, fp32, &e->models[i], l, similarity_sqnr_db(&similar[l + 1]), real);
    }
    table_note(t, "What to see: scale and zero point of every layer, and what rounding cost it.");
    table_note(t,
               "SQNR of the weights: codes read back against fp32. Of the output: the integer engine's codes against "
               "the fp32 network's values on the %d calibration images, with the error of all layers up to there.",
               calibration);
    free(images);
    free(real);
    return ok;
}

/* ---- confusion -------------------------------------------------------------------------------------------------- */

void confusion_table(struct study *s, const struct exercise *e) {
    struct table *t = study_table(s, "confusion", "Confusion: rows are the true class, columns what it was taken for",
                                  "format granularity label");
    const struct dataset *data = &s->data;
    const uint8_t *labels = data->test.labels;
    for (int j = 0; j < data->classes; j++) table_add_columns(t, "as_%d", j);
    table_add_columns(t, "recall_percent");
    table_note(t, "What to see: quantization does not change which digits are taken for which.");
    for (int i = 0; i < e->count; i++)
        for (int truth = 0; truth < data->classes; truth++) {
            size_t counts[256] = {0}, total = 0;
            for (size_t k = 0; k < data->test.count; k++)
                if (labels[k] == truth) {
                    counts[e->evaluations[i].predicted[k]]++;
                    total++;
                }
            table_row(t, "%s | %s | %d", i ? "int8" : "fp32", granularity_name(&e->models[i]), truth);
            for (int j = 0; j < data->classes; j++) table_row(t, "%zu", counts[j]);
            table_row(t, "%.2f", 100.0 * (double)counts[truth] / (double)total); /* empty without such images */
        }
}

/* ---- changed.png: the digits whose prediction differs, each with what every model says --------------------------- */

struct changed {
    const struct exercise *e;
    const struct split *test;
    size_t *images, count;
};

/* The image and its label, then each model's answer and its verdict. */
static void tile_text(const void *context, size_t at, int line, char *text, size_t size) {
    const struct changed *c = context;
    size_t image = c->images[at];
    int label = c->test->labels[image], i = line - 1;
    int answer = line ? c->e->evaluations[i].predicted[image] : label;
    if (line == 0) snprintf(text, size, "#%zu is a %d", image, label);
    else
        snprintf(text, size, "%s: %d %s", i ? granularity_name(&c->e->models[i]) : "fp32", answer,
                 answer == label ? "right" : "wrong");
}

bool write_changed(struct study *s, const struct exercise *e) {
    const struct split *test = &s->data.test;
    const char *path = study_path(s, "changed.png");
    struct changed c = {e, test, path ? aligned_array(test->count, sizeof *c.images, &s->err) : NULL, 0};
    char head[160];
    if (!c.images) return false;
    for (size_t image = 0; image < test->count; image++) {
        bool differs = false;
        for (int i = 1; i < e->count; i++)
            differs |= e->evaluations[i].predicted[image] != e->evaluations[0].predicted[image];
        if (differs) c.images[c.count++] = image;
    }
    snprintf(head, sizeof head, "%zu of %zu test image%s %s answered differently by fp32 and int8", c.count,
             test->count, plural(test->count), c.count == 1 ? "is" : "are");
    struct tiles tiles = {test, c.images, c.count, e->count + 1, tile_text, &c};
    bool ok = tiles_write(&tiles, head, path, &s->err);
    free(c.images);
    return ok;
}
