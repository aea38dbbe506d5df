/* What the claims are measured on, each made once, when the first claim asks for it. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "studies/audit.h"
#include "base/file.h"

bool audit_folder(struct audit *a, struct error *err) { return folder_create(a->models, err); }

const struct dataset *audit_data(struct audit *a, struct error *err) {
    if (!a->has_data) a->has_data = dataset_load(a->source, &a->data, err);
    return a->has_data ? &a->data : NULL;
}

const struct exercise *audit_exercise(struct audit *a, struct error *err) {
    if (a->has_exercise) return &a->exercise;
    struct quantization_recipe quantization = quantization_defaults();
    quantization.scheme = SCHEMES;
    quantization.calibration = a->calibration;
    if (!audit_data(a, err)) return NULL;
    a->has_exercise = exercise_run(&a->data, &a->training, &quantization, a->models, &a->exercise, err);
    if (!a->has_exercise) exercise_free(&a->exercise);
    return a->has_exercise ? &a->exercise : NULL;
}

/* Weights of a group: the most up to 64 that divide a row of the first layer, 56 of 784. */
static int group_of(int inputs) {
    int group = 64;
    while (inputs % group) group--;
    return group;
}

static bool make_ladder(struct audit *a, struct error *err) {
    if (a->has_ladder) return true;
    if (!audit_exercise(a, err)) return false;
    size_t count = a->data.train.count;
    int group = group_of(a->data.train.rows * a->data.train.cols);
    int images = count < 4096 ? (int)count : 4096;
    a->ladder_options = (struct ladder_options){group, images, a->calibration, 0.01, 6.0, 0.002, 1};
    describe_training(&a->data, &a->training, &a->notes);
    a->rungs = aligned_array((size_t)rung_count, sizeof *a->rungs, err);
    a->has_ladder = a->rungs &&
        ladder_create(&a->data, &a->exercise.models[AUDIT_FP32].mlp, &a->notes, &a->ladder_options, &a->training,
                      &a->ladder, err);
    return a->has_ladder;
}

const struct rung_result *audit_rung(struct audit *a, const char *format, int block, const char *method,
                                     struct error *err) {
    int i = 0;
    char path[4200];
    if (!make_ladder(a, err)) return NULL;
    while (i < rung_count &&
           (strcmp(rungs[i].format, format) != 0 || rungs[i].last || rungs[i].block != block ||
            strcmp(rungs[i].method, method) != 0))
        i++;
    if (i == rung_count) {
        fail(err, "audit: the ladder has no rung %s, %s", format, method); /* a programmer's error, but not a crash */
        return NULL;
    }
    snprintf(path, sizeof path, "%s/rung-%02d.safetensors", a->models, i);
    bool there = a->rungs[i].model.shape.layers > 0;
    return there || rung_run(&a->ladder, &rungs[i], path, &a->rungs[i], err) ? &a->rungs[i] : NULL;
}

void audit_free(struct audit *a) {
    for (int i = 0; a->rungs && i < rung_count; i++) rung_result_free(&a->rungs[i]);
    free(a->rungs);
    if (a->has_ladder) ladder_free(&a->ladder);
    if (a->has_exercise) exercise_free(&a->exercise);
    if (a->has_data) dataset_free(&a->data);
}

void layer_codes_free(struct layer_codes *c) {
    for (int i = 0; i <= MLP_MAX_LAYERS; i++) free(c->at[i]);
    *c = (struct layer_codes){{0}};
}

bool layer_codes_run(const struct qmlp *q, const uint8_t *codes, size_t count, struct layer_codes *out,
                     struct error *err) {
    *out = (struct layer_codes){{0}};
    for (int i = 0; i <= q->shape.layers; i++)
        if (!(out->at[i] = aligned_array(count, (size_t)q->shape.widths[i], err))) return false;
    memcpy(out->at[0], codes, count * (size_t)q->shape.widths[0]);
    for (int i = 0; i < q->shape.layers; i++) qlinear_ref(&q->layer[i], out->at[i], count, out->at[i + 1]);
    return true;
}

/* ---- findings ---------------------------------------------------------------------------------------------------- */

bool found(struct finding *f, double value, const char *format, ...) {
    va_list args;
    f->value = value;
    va_start(args, format);
    vsnprintf(f->text, sizeof f->text, format, args);
    va_end(args);
    return true;
}

void list_text(const double *values, int count, int decimals, char *text, size_t size) {
    size_t used = 0;
    *text = 0;
    for (int i = 0; i < count && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%.*f", i ? ", " : "", decimals, values[i]);
}

bool found_list(const struct claim *c, struct finding *f, const double *values) {
    f->value = 0;
    list_text(values, c->list.count, c->list.decimals, f->text, sizeof f->text);
    for (int i = 0; i < c->list.count; i++) {
        char printed[64];
        snprintf(printed, sizeof printed, "%.*f", c->list.decimals, values[i]);
        double difference = strtod(printed, NULL) - c->list.values[i];
        if (difference < 0) difference = -difference;
        if (!(difference <= f->value)) f->value = difference;
    }
    return true;
}
