#include "cli/inspect.h"
#include "nn/gemm.h"

static void add_kernel(struct table *t, const char *name, const char *what, bool supported, bool taken) {
    table_row(t, "%s | %s | %s | %s", name, what, supported ? "runs it" : "does not", taken ? "taken" : "");
}

int inspect_cpu(bool json) {
    static const char columns[] = "kernel what this_cpu taken";
    struct error err;
    struct table t;
    struct provenance p = {0};
    const struct bf16_kernel *bf16 = bf16_kernel_best();
    provenance_machine(&p);
    table_init(&t, "Kernels of integer models, the fastest first, and of bf16 models", columns);
    for (int i = 0; qkernels[i]; i++)
        add_kernel(&t, qkernels[i]->name, qkernels[i]->what, qkernels[i]->supported(), qkernels[i] == qkernel_best());
    for (int i = 0; bf16_kernels[i]; i++)
        add_kernel(&t, bf16_kernels[i]->name, bf16_kernels[i]->what, bf16_kernels[i]->supported(),
                   bf16_kernels[i] == bf16);
    table_note(&t, "bf16 models: %s.", bf16 ? "bf16 products, fp32 sums" : "fp32 after decode");
    for (size_t i = 0; i < p.count; i++) table_note(&t, "%s: %s", p.facts[i].name, p.facts[i].value);
    return report_table(&t, &p, json, true, &err);
}
