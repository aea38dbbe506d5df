#include "studies/cells.h"

#include <math.h>

#include "base/stats.h"

void add_accuracy(struct table *t, const struct evaluation *e) {
    table_row(t, "%zu | %.2f", e->correct, accuracy_percent(e));
}

void add_paired(struct table *t, const struct evaluation *base, const struct evaluation *ours, const uint8_t *labels) {
    struct paired paired = compare(base, ours, labels);
    table_row(t, "%+.2f | %zu | %zu | %zu | %.4f", accuracy_percent(ours) - accuracy_percent(base), paired.changed,
              paired.fixed, paired.broken, base == ours ? NAN : mcnemar_exact_p(paired.fixed, paired.broken));
}

void note_paired(struct table *t, const char *base) {
    table_note(t,
               "change (of accuracy, in points), changed, fixed, broken: against %s on the same images (wrong to right "
               "is fixed, right to wrong is broken, the rest of changed is wrong both times). p: McNemar's exact test, "
               "two-sided: how often fixed and broken would fall apart at least this unevenly if neither were better; "
               "0.0000 is less than 0.00005.",
               base);
}
