#include "cli/provenance.h"

#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "mnistq.h"
#include "cli/restart.h"
#include "nn/fp32.h"
#include "nn/gemm.h"
#include "quant/qlinear.h"

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

void provenance_command(struct provenance *p) {
    provenance_add(p, "command", "%s", typed);
    provenance_add(p, "program", "mnistq %s", MNISTQ_VERSION);
}

void provenance_dataset(struct provenance *p, const struct dataset *data) {
    if (data->train.count == 0) {
        provenance_add(p, "data", "%s, %zu test image%s of %d x %d, %d classes; its training images were not read",
                       data->name, data->test.count, plural(data->test.count), data->test.rows, data->test.cols,
                       data->classes);
        provenance_add(p, "test data SHA-256", "%s", data->sha256);
        return;
    }
    provenance_add(p, "data", "%s, %zu training and %zu test image%s of %d x %d, %d classes", data->name,
                   data->train.count, data->test.count, plural(data->test.count), data->train.rows, data->train.cols,
                   data->classes);
    provenance_add(p, "data SHA-256", "%s", data->sha256);
}

static int machine_threads(void) {
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > 64 ? 64 : (int)n;
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
    provenance_add(p, "fp32 kernel", "%s", fp32_kernel_best()->what);
    if (blas_core_replaced()) provenance_add(p, "BLAS", "%s (OpenBLAS itself picked %s)", blas, blas_core_replaced());
    else provenance_add(p, "BLAS", "%s", blas);
}
