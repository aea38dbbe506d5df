#include "cli/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/restart.h"
#include "cli/options.h"
#include "cli/runner.h"
#include "base/progress.h"
#include "nn/gemm.h"

enum { EVALUATION_BATCH = 2000, SPEED_BATCH = 1000, SPEED_RUNS = 21, DYNAMIC_BATCH = 64 };

static int machine_threads(void) {
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > 64 ? 64 : (int)n;
}

void evaluation_free(struct evaluation *e) {
    free(e->predicted);
    *e = (struct evaluation){0};
}

/* The specification instead of the fast kernel. */
static bool predict_by_reference(const struct model *model, const struct split *split, struct evaluation *out,
                                 struct error *err) {
    int classes = model->shape.widths[model->shape.layers];
    size_t size = runs_bf16(model) ? sizeof(float) : sizeof(uint8_t);
    void *outputs = aligned_array(split->count * (size_t)classes, size, err);
    if (!outputs) return false;
    if (runs_bf16(model)) {
        bf16_mlp_forward_ref(&model->bf16, split->images, split->count, outputs);
        out->ties = highest_classes(outputs, split->count, classes, out->predicted);
    } else {
        qmlp_forward_ref(&model->qmlp, split->images, split->count, outputs);
        out->ties = qmlp_classify(outputs, split->count, classes, out->predicted);
    }
    free(outputs);
    return true;
}

/* A batch at a time; the batch matters to dynamic models, whose ranges are those of a batch. */
static bool predict_all(const struct model *model, const struct split *split, struct evaluation *out,
                        struct error *err) {
    size_t batch = model->kind == MODEL_DYNAMIC ? DYNAMIC_BATCH : EVALUATION_BATCH;
    size_t pixels = (size_t)split->rows * (size_t)split->cols;
    struct runner r;
    bool ok = runner_create(model, (int)batch, gemm_threads(0), &r, err);
    for (size_t first = 0; ok && first < split->count; first += batch) {
        size_t n = split->count - first < batch ? split->count - first : batch;
        out->ties += runner_predict(&r, split->images + first * pixels, n, out->predicted + first);
    }
    runner_free(&r);
    return ok;
}

bool evaluate(const struct model *model, const struct split *split, bool reference, struct evaluation *out,
              struct error *err) {
    *out = (struct evaluation){.count = split->count, .predicted = aligned_array(split->count, 1, err)};
    bool by_reference = reference && (model->kind == MODEL_INT8 || runs_bf16(model));
    bool ok = out->predicted &&
        (by_reference ? predict_by_reference(model, split, out, err) : predict_all(model, split, out, err));
    for (size_t i = 0; ok && i < split->count; i++) out->correct += out->predicted[i] == split->labels[i];
    if (!ok) evaluation_free(out);
    return ok;
}

double accuracy_percent(const struct evaluation *e) { return 100.0 * (double)e->correct / (double)e->count; }

double standard_error_percent(const struct evaluation *e) {
    double p = (double)e->correct / (double)e->count;
    return 100.0 * sqrt(p * (1 - p) / (double)e->count);
}

struct paired compare(const struct evaluation *a, const struct evaluation *b, const uint8_t *labels) {
    struct paired paired = {0};
    for (size_t i = 0; i < a->count; i++) {
        bool a_right = a->predicted[i] == labels[i], b_right = b->predicted[i] == labels[i];
        paired.changed += a->predicted[i] != b->predicted[i];
        paired.fixed += !a_right && b_right;
        paired.broken += a_right && !b_right;
    }
    return paired;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* One model being timed; its scratch is made before the clock starts. */
struct timed_model {
    struct runner runner;
    double seconds[SPEED_RUNS];
};

static double timed_run(struct runner *r, const uint8_t *images, size_t n) {
    uint8_t predicted[SPEED_BATCH];
    double started = seconds_now();
    runner_predict(r, images, n, predicted);
    return seconds_now() - started;
}

bool measure_speeds(const struct model *const *models, int count, const struct split *split, double *speeds,
                    struct error *err) {
    struct timed_model *timed = aligned_array((size_t)count, sizeof *timed, err);
    size_t n = split->count < SPEED_BATCH ? split->count : SPEED_BATCH;
    bool ok = timed != NULL;
    for (int i = 0; ok && i < count; i++) ok = runner_create(models[i], SPEED_BATCH, 1, &timed[i].runner, err);
    for (int run = -1; ok && run < SPEED_RUNS; run++) /* the first, -1, only warms the caches */
        for (int i = 0; i < count; i++) {
            double seconds = timed_run(&timed[i].runner, split->images, n);
            if (run >= 0) timed[i].seconds[run] = seconds;
        }
    for (int i = 0; timed && i < count; i++) {
        qsort(timed[i].seconds, SPEED_RUNS, sizeof(double), by_value);
        speeds[i] = (double)n / timed[i].seconds[SPEED_RUNS / 2];
        runner_free(&timed[i].runner);
    }
    free(timed);
    return ok;
}

const char *arithmetic_name(const struct model *model) {
    switch (model->kind) {
    case MODEL_FP32: return "fp32";
    case MODEL_INT8: return "integer";
    case MODEL_WEIGHT_ONLY: return runs_bf16(model) ? "bf16 products, fp32 sums" : "fp32 after decode";
    case MODEL_DYNAMIC: return "int8 products, fp32 between";
    }
    return "";
}

const char *granularity_name(const struct model *model) {
    return model->kind != MODEL_INT8 ? "-" : model->qmlp.per_channel ? "per-channel" : "per-tensor";
}

static char typed[1024]; /* cut where it is longer */

static void append_typed(const char *text, int length) {
    size_t used = strlen(typed);
    snprintf(typed + used, sizeof typed - used, "%.*s", length, text);
}

/* A word as a shell reads it: in single quotes when it holds anything but plain characters. */
static void append_word(const char *word) {
    size_t plain = strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-");
    bool quoted = !*word || word[plain];
    append_typed(quoted ? " '" : " ", 2);
    for (; *word; word++) append_typed(*word == '\'' ? "'\\''" : word, *word == '\'' ? 4 : 1);
    append_typed("'", quoted);
}

void provenance_typed(int argc, char **argv) {
    snprintf(typed, sizeof typed, "mnistq");
    for (int i = 1; i < argc; i++) append_word(argv[i]);
}

void provenance_command(struct provenance *p) { provenance_add(p, "command", "%s", typed); }

void provenance_dataset(struct provenance *p, const struct dataset *data) {
    provenance_add(p, "data", "%s, %zu training and %zu test images of %d x %d, %d classes", data->name,
                   data->train.count, data->test.count, data->train.rows, data->train.cols, data->classes);
    provenance_add(p, "data SHA-256", "%s", data->sha256);
}

/* What /proc/cpuinfo calls this CPU, else what uname calls the machine. */
static void cpu_name(char *name, size_t size) {
    struct utsname machine;
    snprintf(name, size, "%s", uname(&machine) == 0 ? machine.machine : "unknown");
    FILE *info = fopen("/proc/cpuinfo", "r");
    char line[256];
    while (info && fgets(line, sizeof line, info))
        if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
            line[strcspn(line, "\n")] = 0;
            snprintf(name, size, "%s", strchr(line, ':') + 2);
            break;
        }
    if (info) fclose(info);
}

void provenance_machine(struct provenance *p) {
    char cpu[128], blas[128];
    cpu_name(cpu, sizeof cpu);
    gemm_describe(blas, sizeof blas);
    provenance_add(p, "CPU", "%s, %d threads", cpu, machine_threads());
    provenance_add(p, "integer kernel", "%s (%s)", qkernel_best()->name, qkernel_best()->what);
    if (blas_core_replaced()) provenance_add(p, "BLAS", "%s (OpenBLAS itself picked %s)", blas, blas_core_replaced());
    else provenance_add(p, "BLAS", "%s", blas);
}

int report_error(const struct error *err) {
    fprintf(stderr, "mnistq: %s\n", err->text);
    return EXIT_FAILED;
}

int report_table(struct table *t, const struct provenance *p, bool json, bool ok, struct error *err) {
    if (ok && json) ok = table_print_json(t, p, stdout, err);
    else if (ok) table_print(t, stdout);
    table_free(t);
    return ok ? EXIT_DONE : report_error(err);
}
