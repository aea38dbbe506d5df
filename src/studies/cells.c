#include "studies/cells.h"

#include <math.h>

#include "base/stats.h"

void add_paired(struct table *t, const struct evaluation *base, const struct evaluation *ours, const uint8_t *labels) {
    struct paired paired = compare(base, ours, labels);
    table_row(t, "%+.2f | %zu | %zu | %zu | %.4f", accuracy_percent(ours) - accuracy_percent(base), paired.changed,
              paired.fixed, paired.broken, base == ours ? NAN : mcnemar_exact_p(paired.fixed, paired.broken));
}
