#include "app/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "app/blas_core.h"
#include "app/options.h"
#include "base/progress.h"
#include "nn/gemm.h"

enum { SPEED_BATCH = 1000, SPEED_RUNS = 21, DYNAMIC_BATCH = 64 };

static int machine_threads(void) {
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > 64 ? 64 : (int)n;
}

void evaluation_free(struct evaluation *e) {
    free(e->predicted);
    *e = (struct evaluation){0};
}

static bool evaluate_mlp(const struct mlp *mlp, const struct split *split, struct evaluation *out, struct error *err) {
    struct mlp_workspace ws;
    if (!mlp_workspace_create(&mlp->shape, SPEED_BATCH, false, &ws, err)) return false;
    out->ties = mlp_predict(mlp, split->images, split->count, &ws, out->predicted);
    mlp_workspace_free(&ws);
    return true;
}

static bool evaluate_qmlp(const struct qmlp *q, const struct split *split, bool reference, struct evaluation *out,
                          struct error *err) {
    int classes = q->shape.widths[q->shape.layers];
    struct qmlp_workspace ws = {0};
    uint8_t *codes = aligned_array(split->count, (size_t)classes, err);
    bool ok = codes && qmlp_workspace_create(&q->shape, machine_threads(), &ws, err);
    if (ok && reference) qmlp_forward_ref(q, split->images, split->count, codes);
    if (ok && !reference) qmlp_forward(q, split->images, split->count, &ws, codes);
    if (ok) out->ties = qmlp_classify(codes, split->count, classes, out->predicted);
    qmlp_workspace_free(&ws);
    free(codes);
    return ok;
}

static bool evaluate_qdynamic(const struct qdynamic *q, const struct split *split, struct evaluation *out,
                              struct error *err) {
    struct qdynamic_workspace ws;
    if (!qdynamic_workspace_create(&q->shape, DYNAMIC_BATCH, &ws, err)) return false;
    out->ties = qdynamic_predict(q, split->images, split->count, &ws, out->predicted);
    qdynamic_workspace_free(&ws);
    return true;
}

static bool fill_predictions(const struct model *model, const struct split *split, bool reference, struct evaluation *out,
                             struct error *err) {
    switch (model->kind) {
    case MODEL_FP32:
    case MODEL_CODED: return evaluate_mlp(&model->mlp, split, out, err);
    case MODEL_INT8: return evaluate_qmlp(&model->qmlp, split, reference, out, err);
    case MODEL_DYNAMIC: return evaluate_qdynamic(&model->qdynamic, split, out, err);
    }
    return false;
}

bool evaluate(const struct model *model, const struct split *split, bool reference, struct evaluation *out,
              struct error *err) {
    *out = (struct evaluation){.count = split->count, .predicted = aligned_array(split->count, 1, err)};
    bool ok = out->predicted && fill_predictions(model, split, reference, out, err);
    for (size_t i = 0; ok && i < split->count; i++) out->correct += out->predicted[i] == split->labels[i];
    if (!ok) evaluation_free(out);
    return ok;
}

double accuracy_percent(const struct evaluation *e) {
    return 100.0 * (double)e->correct / (double)e->count;
}

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

/* One model's answers on n images, timed; the scratch is made before the clock starts. */
struct timed_model {
    const struct model *model;
    struct mlp_workspace mlp_ws;
    struct qmlp_workspace qmlp_ws;
    struct qdynamic_workspace qdynamic_ws;
    uint8_t *codes, *predicted; /* [SPEED_BATCH][classes], [SPEED_BATCH] */
    double seconds[SPEED_RUNS];
};

static bool timed_create(const struct model *model, struct timed_model *t, struct error *err) {
    int classes = model->shape.widths[model->shape.layers];
    *t = (struct timed_model){.model = model};
    if (!(t->predicted = aligned_array(SPEED_BATCH, 1, err)) ||
        !(t->codes = aligned_array(SPEED_BATCH, (size_t)classes, err)))
        return false;
    switch (model->kind) {
    case MODEL_FP32:
    case MODEL_CODED: return mlp_workspace_create(&model->shape, SPEED_BATCH, false, &t->mlp_ws, err);
    case MODEL_INT8: return qmlp_workspace_create(&model->shape, 1, &t->qmlp_ws, err);
    case MODEL_DYNAMIC: return qdynamic_workspace_create(&model->shape, SPEED_BATCH, &t->qdynamic_ws, err);
    }
    return false;
}

static void timed_free(struct timed_model *t) {
    mlp_workspace_free(&t->mlp_ws);
    qmlp_workspace_free(&t->qmlp_ws);
    qdynamic_workspace_free(&t->qdynamic_ws);
    free(t->codes);
    free(t->predicted);
}

static double timed_run(struct timed_model *t, const uint8_t *images, size_t n) {
    double started = seconds_now();
    switch (t->model->kind) {
    case MODEL_FP32:
    case MODEL_CODED: mlp_predict(&t->model->mlp, images, n, &t->mlp_ws, t->predicted); break;
    case MODEL_INT8:
        qmlp_forward(&t->model->qmlp, images, n, &t->qmlp_ws, t->codes);
        qmlp_classify(t->codes, n, t->model->shape.widths[t->model->shape.layers], t->predicted);
        break;
    case MODEL_DYNAMIC: qdynamic_predict(&t->model->qdynamic, images, n, &t->qdynamic_ws, t->predicted); break;
    }
    return seconds_now() - started;
}

bool measure_speeds(const struct model *const *models, int count, const struct split *split, double *speeds,
                    struct error *err) {
    struct timed_model *timed = aligned_array((size_t)count, sizeof *timed, err);
    size_t n = split->count < SPEED_BATCH ? split->count : SPEED_BATCH;
    bool ok = timed != NULL;
    for (int i = 0; ok && i < count; i++) ok = timed_create(models[i], &timed[i], err);
    int threads = gemm_threads(0);
    gemm_threads(1);
    for (int run = -1; ok && run < SPEED_RUNS; run++) /* the first, -1, only warms the caches */
        for (int i = 0; i < count; i++) {
            double seconds = timed_run(&timed[i], split->images, n);
            if (run >= 0) timed[i].seconds[run] = seconds;
        }
    gemm_threads(threads);
    for (int i = 0; timed && i < count; i++) {
        qsort(timed[i].seconds, SPEED_RUNS, sizeof(double), by_value);
        speeds[i] = (double)n / timed[i].seconds[SPEED_RUNS / 2];
        timed_free(&timed[i]);
    }
    free(timed);
    return ok;
}

const char *arithmetic_name(const struct model *model) {
    switch (model->kind) {
    case MODEL_FP32: return "fp32";
    case MODEL_INT8: return "integer";
    case MODEL_CODED: return "fp32 after decode";
    case MODEL_DYNAMIC: return "int8 products, fp32 between";
    }
    return "";
}

const char *granularity_name(const struct model *model) {
    return model->kind != MODEL_INT8 ? "-" : model->qmlp.per_channel ? "per-channel" : "per-tensor";
}

void provenance_command(struct provenance *p, int argc, char **argv) {
    char line[512] = "mnistq";
    for (int i = 0; i < argc; i++) {
        size_t used = strlen(line);
        snprintf(line + used, sizeof line - used, " %s", argv[i]);
    }
    provenance_add(p, "command", "%s", line);
}

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
    if (blas_core_replaced())
        provenance_add(p, "BLAS", "%s (OpenBLAS itself picked %s)", blas, blas_core_replaced());
    else
        provenance_add(p, "BLAS", "%s", blas);
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
