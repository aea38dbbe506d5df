/* mnistq audit: every figure and claim of the lesson that can be checked, beside what comes out here. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "studies/audit.h"
#include "cli/commands.h"
#include "base/progress.h"

const char *const verdict_names[VERDICTS] = {"reproduced", "reproduced with a difference", "does not reproduce",
                                             "not measured"};

/* The claims with what was found: [claim_count], those that were asked for have a claim. */
struct audited {
    const struct claim *claim;
    struct finding finding;
    enum verdict verdict;
};

static const struct claim *claim_find(const char *id) {
    for (int i = 0; i < claim_count; i++)
        if (strcmp(claims[i].id, id) == 0) return &claims[i];
    return NULL;
}

static const char *part_of(const struct claim *c) {
    while (!c->part) c--; /* the first claim has one */
    return c->part;
}

/* ---- cells ----------------------------------------------------------------------------------------------------- */

static void claimed_text(const struct claim *c, char *text, size_t size) {
    if (c->claimed) snprintf(text, size, "%s", c->claimed);
    else list_text(c->list.values, c->list.count, c->list.decimals, text, size);
}

static void band_text(struct band b, char *text, size_t size) {
    if (isinf(b.lo)) snprintf(text, size, "<= %.10g", b.hi);
    else if (isinf(b.hi)) snprintf(text, size, ">= %.10g", b.lo);
    else if (b.lo == b.hi) snprintf(text, size, "= %.10g", b.lo);
    else snprintf(text, size, "%.10g to %.10g", b.lo, b.hi);
}

/* Six digits that count, whatever the size of the number; none behind the point of a whole one. */
static int decimals_of(double value) {
    double size = value == rint(value) ? 0 : fabs(value);
    int digits = size > 0 && isfinite(size) ? 5 - (int)floor(log10(size)) : 0;
    return digits < 0 ? 0 : digits > 9 ? 9 : digits;
}

/* typed: the command line of this run */
static void command_text(const struct claim *c, const struct audit *a, const char *typed, char *text, size_t size) {
    const char *fp32 = a->exercise.paths[AUDIT_FP32], *int8 = a->exercise.paths[AUDIT_CHANNEL];
    switch (c->source) {
    case FROM_ARITHMETIC: snprintf(text, size, "mnistq audit --only %s", c->id); break;
    case FROM_DATA: snprintf(text, size, "%s --only %s", typed, c->id); break;
    case FROM_FILE: snprintf(text, size, "wc -c %s %s", fp32, int8); break;
    case FROM_EVAL:
        snprintf(text, size, "mnistq eval %s --data %s; mnistq eval %s --data %s", fp32, a->source, int8, a->source);
        break;
    }
}

/* ---- tables: the whole one for files and JSON, and a narrower one for the terminal ------------------------- */

static const char full_columns[] = "part claim claimed ours verdict explanation id measured tolerance command";
static const char narrow_columns[] = "id claim claimed ours verdict";
enum { FULL_COLUMNS = 10, NARROW_COLUMNS = 5 };

static void add_full_row(struct table *t, const struct audited *row, const struct audit *a, const char *typed) {
    const struct claim *c = row->claim;
    char claimed[128], exact[64], near[64], command[4 * 4096];
    claimed_text(c, claimed, sizeof claimed);
    band_text(c->exact, exact, sizeof exact);
    band_text(c->near, near, sizeof near);
    command_text(c, a, typed, command, sizeof command);
    table_row(t, "%s | %s | %s | %s | %s | %s | %s | %.*f | %s; near: %s | %s", part_of(c), c->claim, claimed,
              row->finding.text, verdict_names[row->verdict], c->why, c->id, decimals_of(row->finding.value),
              row->finding.value, exact, near, command);
}

static void add_narrow_row(struct table *t, const struct audited *row) {
    char claimed[128];
    claimed_text(row->claim, claimed, sizeof claimed);
    table_row(t, "%s | %s | %s | %s | %s", row->claim->id, row->claim->claim, claimed, row->finding.text,
              verdict_names[row->verdict]);
}

static void add_summary(struct table *t, const struct audited *rows, int count) {
    int counts[VERDICTS] = {0};
    for (int i = 0; i < count; i++) counts[rows[i].verdict]++;
    table_note(t, "%d claims: %d reproduced, %d reproduced with a difference, %d do not reproduce%s.", count,
               counts[REPRODUCED], counts[REPRODUCED_DIFFERENTLY], counts[NOT_REPRODUCED],
               counts[NOT_MEASURED] ? ", the others cannot be measured on this machine" : "");
}

static void add_full_notes(struct table *t, const struct audit *a) {
    table_note(
        t,
        "The verdict follows from the columns measured and tolerance: within the first band reproduced, within "
        "the near one reproduced with a difference. Where several figures are claimed, measured is their largest "
        "difference.");
    if (!a->has_exercise) return;
    char shape[128];
    mlp_shape_print(&a->exercise.models[AUDIT_FP32].shape, shape, sizeof shape);
    table_note(t,
               "%s, seed %llu, on %s: %zu training and %zu test images, %d calibration images. Claims that begin with "
               "\"MNIST:\" are about MNIST, whatever the data here.",
               shape, (unsigned long long)a->training.seed, a->data.name, a->data.train.count, a->data.test.count,
               a->calibration);
}

/* ---- the run ---------------------------------------------------------------------------------------------------- */

static bool measure_all(struct audit *a, const struct claim *first, int count, struct audited *rows,
                        struct error *err) {
    for (int i = 0; i < count; i++) {
        rows[i].claim = &first[i];
        if (!first[i].measure(a, &first[i], &rows[i].finding, err)) return false;
        rows[i].verdict = judge(&first[i], rows[i].finding.value);
    }
    return true;
}

static bool run(struct audit *a, const struct claim *only, bool json, struct table *t, struct provenance *p,
                struct error *err) {
    int count = only ? 1 : claim_count;
    struct audited *rows = aligned_array((size_t)count, sizeof *rows, err);
    struct table full;
    const char *typed = p->facts[0].value;
    table_init(&full, "The audit: what the lesson says, and what comes out", full_columns);
    bool ok = rows && measure_all(a, only ? only : claims, count, rows, err);
    if (ok && a->has_data) {
        provenance_add(p, "seed", "%llu", (unsigned long long)a->training.seed);
        provenance_dataset(p, &a->data);
    }
    provenance_machine(p);
    for (int i = 0; ok && i < count; i++) {
        add_full_row(&full, &rows[i], a, typed);
        if (!json) add_narrow_row(t, &rows[i]);
    }
    if (ok) add_summary(&full, rows, count);
    if (ok) add_full_notes(&full, a);
    if (ok && !json && only) table_note(t, "%s", only->why);
    if (ok && !json && !only) add_summary(t, rows, count);
    ok = ok && (only || table_save(&full, p, a->results, "audit", err));
    if (ok && json) {
        table_free(t);
        *t = full;
    } else {
        table_free(&full);
    }
    free(rows);
    return ok;
}

int command_audit(int argc, char **argv) {
    struct options o = {
        .command = argv[0],
        .arguments = "",
        .what = "Every checkable figure and claim of the lesson beside what this program measures, with a\n"
                "verdict that follows from the numbers. Trains the exercise itself; writes the table audit\n"
                "to --results."};
    struct audit a = {.source = "data/mnist",
                      .training = training_defaults(),
                      .calibration = quantization_defaults().calibration,
                      .seeds = 5};
    const char *only = NULL;
    bool json = false;
    option_data(&o, &a.source, "folder with the four IDX files, or the built-in digits");
    option_results(&o, &a.results, "folder for the table; models go to its models/audit");
    option_text(&o, "only", "ID", &only, "measure this claim alone and write no table; the ids are in the table");
    option_int(&o, "seeds", &a.seeds, 1, 1000, "networks that per-tensor is compared with per-channel on");
    option_int(&o, "calibration", &a.calibration, 1, 1000000, "training images to calibrate on");
    training_options(&o, &a.training);
    option_flag(&o, "json", &json, "print the table as JSON");
    int status = options_parse(&o, argc, argv, 0, 0);
    if (status != OPTIONS_GO_ON) return status;
    const struct claim *claim = only ? claim_find(only) : NULL;
    if (only && !claim) return usage_error(&o, "--only: there is no claim \"%s\"", only);
    struct error err;
    struct table t;
    struct provenance p = {0};
    snprintf(a.models, sizeof a.models, "%.4000s/models/audit", a.results);
    table_init(&t, "The audit: what the lesson says, and what comes out", narrow_columns);
    provenance_command(&p);
    bool ok = run(&a, claim, json, &t, &p, &err);
    audit_free(&a);
    status = report_table(&t, &p, json, ok, &err);
    if (ok && !json && !only) printf("\nExplanations and commands: %s/audit.md and .csv\n", a.results);
    return status;
}
