/* mnistq sweep: the exercise over several seeds, since one run says little about hundredths of a point. */
#include <math.h>
#include <stdio.h>

#include "cli/commands.h"
#include "cli/exercise.h"
#include "base/progress.h"
#include "base/stats.h"

enum { ACCURACY = 0, CHANGE, CHANGED, FIXED, BROKEN, PER_SCHEME = 5, SUMS = 1 + SCHEMES * PER_SCHEME };

static void add_seed_row(struct table *t, const struct exercise *e, const uint8_t *labels, uint64_t seed,
                         struct sums *sums) {
    const struct evaluation *fp32 = &e->evaluations[0];
    table_text(t, "%llu", (unsigned long long)seed);
    table_number(t, accuracy_percent(fp32), 2);
    sums_add(&sums[0], accuracy_percent(fp32));
    for (int i = 1; i < e->count; i++) {
        const struct evaluation *ours = &e->evaluations[i];
        struct sums *s = &sums[1 + (i - 1) * PER_SCHEME];
        struct paired paired = compare(fp32, ours, labels);
        double change = accuracy_percent(ours) - accuracy_percent(fp32);
        table_number(t, accuracy_percent(ours), 2);
        table_signed(t, change, 2);
        table_integer(t, (long long)paired.changed);
        table_integer(t, (long long)paired.fixed);
        table_integer(t, (long long)paired.broken);
        sums_add(&s[ACCURACY], accuracy_percent(ours));
        sums_add(&s[CHANGE], change);
        sums_add(&s[CHANGED], (double)paired.changed);
        sums_add(&s[FIXED], (double)paired.fixed);
        sums_add(&s[BROKEN], (double)paired.broken);
    }
}

static void add_summary_row(struct table *t, const char *name, double (*of)(const struct sums *),
                            const struct sums *sums) {
    table_text(t, "%s", name);
    for (int i = 0; i < SUMS; i++) {
        if (i > 0 && (i - 1) % PER_SCHEME == CHANGE && of == sums_mean) table_signed(t, of(&sums[i]), 3);
        else table_number(t, of(&sums[i]), 3);
    }
}

static bool run_seeds(const struct dataset *data, struct training_recipe training,
                      const struct quantization_recipe *quantization, int seeds, const char *models, struct table *t,
                      struct error *err) {
    struct sums sums[SUMS] = {{0}};
    uint64_t first = training.seed;
    struct progress bar;
    bool ok = true;
    progress_begin(&bar, "sweep", "seeds");
    for (int i = 0; ok && i < seeds; i++) {
        struct exercise e;
        progress_update(&bar, (size_t)i, (size_t)seeds);
        training.seed = first + (uint64_t)i;
        ok = exercise_run(data, &training, quantization, models, &e, err);
        if (ok) add_seed_row(t, &e, data->test.labels, training.seed, sums);
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

static bool run(const char *source, const char *results, const struct training_recipe *training,
                const struct quantization_recipe *quantization, int seeds, struct table *t, struct provenance *p,
                struct error *err) {
    struct dataset data;
    char models[4096];
    snprintf(models, sizeof models, "%.4000s/models/sweep", results);
    if (!dataset_load(source, &data, err)) return false;
    provenance_add(p, "seeds", "%llu to %llu", (unsigned long long)training->seed,
                   (unsigned long long)training->seed + (uint64_t)seeds - 1);
    provenance_dataset(p, &data);
    provenance_machine(p);
    bool ok = run_seeds(&data, *training, quantization, seeds, models, t, err) &&
        table_save(t, p, results, "sweep", err);
    dataset_free(&data);
    return ok;
}

int command_sweep(int argc, char **argv) {
    static const char *const columns[] = {
        "seed",           "fp32_percent",   "channel_percent", "channel_change", "channel_changed", "channel_fixed",
        "channel_broken", "tensor_percent", "tensor_change",   "tensor_changed", "tensor_fixed",    "tensor_broken"};
    struct options o = {
        .command = argv[0],
        .arguments = "",
        .what = "Repeats the exercise for --seeds seeds from --seed on and writes the table sweep to --results."};
    struct training_recipe training = training_defaults();
    struct quantization_recipe quantization = quantization_defaults();
    const char *source = "data/mnist", *results = NULL;
    int seeds = 10;
    bool json = false;
    quantization.scheme = SCHEMES;
    option_data(&o, &source, "folder with the four IDX files, or the built-in digits");
    option_results(&o, &results, "folder for the table");
    option_int(&o, "seeds", &seeds, 1, 1000, "how many seeds");
    training_options(&o, &training);
    quantization_options(&o, &quantization);
    option_flag(&o, "json", &json, "print the table as JSON");
    int status = options_parse(&o, argc, argv, 0, 0);
    if (status != OPTIONS_GO_ON) return status;
    struct error err;
    struct table t;
    struct provenance p = {0};
    table_init(&t, "The exercise over several seeds: int8 per channel and per tensor against fp32", columns, 12);
    provenance_command(&p);
    bool ok = run(source, results, &training, &quantization, seeds, &t, &p, &err);
    return report_table(&t, &p, json, ok, &err);
}
