#include "cli/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/restart.h"
#include "cli/options.h"
#include "nn/gemm.h"

static int machine_threads(void) {
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > 64 ? 64 : (int)n;
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
    if (data->train.count == 0) {
        provenance_add(p, "data", "%s, %zu test images of %d x %d, %d classes; its training images were not read",
                       data->name, data->test.count, data->test.rows, data->test.cols, data->classes);
        provenance_add(p, "test data SHA-256", "%s", data->sha256);
        return;
    }
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
    else if (ok) table_print(t, stdout, terminal_width(stdout));
    table_free(t);
    return ok ? EXIT_DONE : report_error(err);
}
