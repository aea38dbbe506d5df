#include "app/inspect.h"
#include "nn/gemm.h"

int inspect_cpu(bool json) {
    static const char *const columns[] = {"kernel", "what", "this_cpu", "taken"};
    struct error err;
    struct table t;
    struct provenance p = {0};
    provenance_machine(&p);
    table_init(&t, "Integer kernels, the fastest first", columns, 4);
    for (int i = 0; qkernels[i]; i++) {
        table_text(&t, "%s", qkernels[i]->name);
        table_text(&t, "%s", qkernels[i]->what);
        table_text(&t, "%s", qkernels[i]->supported() ? "runs it" : "does not");
        table_text(&t, "%s", qkernels[i] == qkernel_best() ? "taken" : "");
    }
    for (size_t i = 0; i < p.count; i++) table_note(&t, "%s: %s", p.facts[i].name, p.facts[i].value);
    return report_table(&t, &p, json, true, &err);
}
