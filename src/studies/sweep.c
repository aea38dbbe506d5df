/* mnistq sweep: the exercise over several seeds, since one run says little about hundredths of a point. */
#include <math.h>
#include <stdio.h>

#include "cli/commands.h"
#include "cli/exercise.h"
#include "cli/study.h"
#include "base/progress.h"
#include "base/stats.h"

enum { ACCURACY = 0, CHANGE, CHANGED, FIXED, BROKEN, PER_SCHEME = 5, SUMS = 1 + SCHEMES * PER_SCHEME };

static void add_seed_row(struct table *t, const struct exercise *e, const uint8_t *labels, uint64_t seed,
                         struct sums *sums) {
    const struct evaluation *fp32 = &e->evaluations[0];
    table_row(t, "%llu | %.2f", (unsigned long long)seed, accuracy_percent(fp32));
    sums_add(&sums[0], accuracy_percent(fp32));
    for (int i = 1; i < e->count; i++) {
        const struct evaluation *ours = &e->evaluations[i];
        struct sums *s = &sums[1 + (i - 1) * PER_SCHEME];
        struct paired paired = compare(fp32, ours, labels);
        double change = accuracy_percent(ours) - accuracy_percent(fp32);
        table_row(t, "%.2f | %+.2f | %zu | %zu | %zu", accuracy_percent(ours), change, paired.changed, paired.fixed,
                  paired.broken);
        sums_add(&s[ACCURACY], accuracy_percent(ours));
        sums_add(&s[CHANGE], change);
        sums_add(&s[CHANGED], (double)paired.changed);
        sums_add(&s[FIXED], (double)paired.fixed);
        sums_add(&s[BROKEN], (double)paired.broken);
    }
}

static void add_summary_row(struct table *t, const char *name, double (*of)(const struct sums *),
                            const struct sums *sums) {
    table_row(t, "%s", name);
    for (int i = 0; i < SUMS; i++) {
        if (i > 0 && (i - 1) % PER_SCHEME == CHANGE && of == sums_mean) table_row(t, "%+.3f", of(&sums[i]));
        else table_row(t, "%.3f", of(&sums[i]));
    }
}

static bool run(struct study *s, struct table *t, struct training_recipe training,
                const struct quantization_recipe *quantization, int seeds) {
    struct sums sums[SUMS] = {{0}};
    uint64_t first = training.seed;
    struct progress bar;
    bool ok = true;
    progress_begin(&bar, "sweep", "seeds");
    for (int i = 0; ok && i < seeds; i++) {
        struct exercise e;
        progress_update(&bar, (size_t)i, (size_t)seeds);
        training.seed = first + (uint64_t)i;
        ok = exercise_run(s, &training, quantization, "models/sweep", &e);
        if (ok) add_seed_row(t, &e, s->data.test.labels, training.seed, sums);
        exercise_free(&e);
    }
    progress_end(&bar);
    if (!ok) return false;
    add_summary_row(t, "mean", sums_mean, sums);
    add_summary_row(t, "sd", sums_deviation, sums);
    for (int scheme = 0; scheme < SCHEMES; scheme++)
        table_note(t, "%s: mean change %+.3f points, worst seed %+.2f.", scheme_names[scheme],
                   sums_mean(&sums[1 + scheme * PER_SCHEME + CHANGE]), sums[1 + scheme * PER_SCHEME + CHANGE].lowest);
    return true;
}

int command_sweep(int argc, char **argv) {
    struct study s;
    struct training_recipe training = training_defaults();
    struct quantization_recipe quantization = quantization_defaults();
    int seeds = 10;
    study_init(&s, argv[0], "",
               "Repeats the exercise for --seeds seeds from --seed on and writes the table sweep to --results.");
    s.options.examples = "mnistq sweep --seeds 5\n"
                         "mnistq sweep --data digits --hidden 64 --seeds 10";
    option_int(&s.options, "seeds", &seeds, 1, 1000, "how many seeds");
    training_options(&s.options, &training);
    quantization_options(&s.options, &quantization);
    int status = study_parse(&s, argc, argv, 0, 0);
    if (status != OPTIONS_GO_ON) return status;
    quantization.scheme = SCHEMES;
    provenance_add(&s.provenance, "seeds", "%llu to %llu", (unsigned long long)training.seed,
                   (unsigned long long)training.seed + (uint64_t)seeds - 1);
    struct table *t = study_table(&s, "sweep",
                                  "The exercise over several seeds: int8 per channel and per tensor against fp32",
                                  "seed fp32_percent:fp32_% channel_percent:channel_% channel_change channel_changed- "
                                  "channel_fixed- channel_broken- "
                                  "tensor_percent:tensor_% tensor_change tensor_changed- tensor_fixed- tensor_broken-");
    return study_end(&s, study_begin(&s) && run(&s, t, training, &quantization, seeds));
}
