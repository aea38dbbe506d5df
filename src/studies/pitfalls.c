/* mnistq pitfalls: each failure that the lesson warns of, provoked, measured and repaired. */
#include "studies/pitfalls.h"

#include <stdio.h>

#include "cli/commands.h"

static const struct part summary = {
    "pitfalls",
    "The pitfalls: before, provoked, repaired",
    "pitfall provoked_by repaired_by accuracy_before- accuracy_provoked accuracy_repaired logit_sqnr_db_before- "
    "logit_sqnr_db_provoked:logit_dB_provoked logit_sqnr_db_repaired:dB_repaired",
    NULL,
    {"See: what a mistake costs, and that the accuracy often hides it. 0 dB is as much noise as signal.",
     "outlier: clipping that ends above the fp32 network with the same outlier has taken the outlier out of the "
     "network. quiet: each on that of three networks where it costs the logits most dB; on another it may leave no "
     "trace."},
    true};

static const struct part *const parts[] = {&summary,
                                           &pitfall_outlier,
                                           &pitfall_outlier_seeds,
                                           &pitfall_calibration,
                                           &pitfall_calibration_brief,
                                           &pitfall_accumulator,
                                           &pitfall_symmetric,
                                           &pitfall_quiet};
enum { PARTS = sizeof parts / sizeof parts[0] };

/* The network that everything is tried on: a given model of any kind, its codes read back, or a trained one. */
static bool take_network(struct study *s, const char *path, const struct training_recipe *training, struct mlp *out) {
    struct train_report report;
    struct model model;
    if (!path) return train_model(&s->data, training, out, &report, &s->err);
    if (!model_read(path, &model, NULL, &s->err)) return false;
    provenance_add(&s->provenance, "model", "%s%s", path, model.kind == MODEL_FP32 ? "" : ", read back to fp32");
    const int *widths = model.shape.widths;
    bool ok = split_fits(&s->data.test, widths[0], widths[model.shape.layers], s->source, &s->err) &&
        model_as_mlp(&model, out, &s->err);
    model_free(&model);
    return ok;
}

static bool run(struct variants *v, struct table *const *tables) {
    char shape[128];
    v->total = 145 + 16 * (size_t)v->seeds; /* about: for the progress bar */
    for (const struct fault *f = faults; f->name; f++)
        v->total += f->kind == FAULT_ACCUMULATOR ? (size_t)v->fp32->shape.layers + 1 : f->kind == FAULT_QUIET ? 3 : 0;
    bool ok = variants_begin(v);
    for (int i = 0; ok && i < PARTS; i++) {
        ok = !parts[i]->fill || parts[i]->fill(v, tables[i]);
        for (const char *const *note = parts[i]->notes; *note; note++) table_note(tables[i], "%s", *note);
    }
    mlp_shape_print(&v->fp32->shape, shape, sizeof shape);
    if (ok)
        provenance_add(&v->study->provenance, "network",
                       "%s, fp32 %.2f%%; int8 per-channel, asymmetric, calibrated on %d images %.2f%%", shape,
                       accuracy_percent(&v->evaluation), v->calibration, accuracy_percent(&v->healthy->evaluation));
    return ok;
}

int command_pitfalls(int argc, char **argv) {
    struct study s;
    struct training_recipe training = training_defaults();
    struct table *tables[PARTS];
    int calibration = 512, seeds = 5;
    study_init(&s, argv[0], "[MODEL]",
               "Provokes each failure that the lesson warns of, measures it, repairs it, and writes the\n"
               "tables pitfalls and pitfalls-outlier, -calibration, -accumulator, -symmetric, -quiet.\n"
               "Without MODEL, trains a network first.");
    s.options.examples = "mnistq pitfalls\n"
                         "mnistq pitfalls --data digits --hidden 64";
    option_int(&s.options, "calibration", &calibration, 1, 1000000, "training images for the ranges of activations");
    option_int(&s.options, "seeds", &seeds, 1, 100,
               "networks of pitfalls-outlier-seeds, trained from --seed on (with MODEL: that one)");
    training_options(&s.options, &training);
    int status = study_parse(&s, argc, argv, 0, 1);
    if (status != OPTIONS_GO_ON) return status;
    const char *path = s.options.file_count ? s.options.files[0] : NULL;
    if (!path) provenance_add(&s.provenance, "seed", "%llu", (unsigned long long)training.seed);
    for (int i = 0; i < PARTS; i++) {
        tables[i] = study_table(&s, parts[i]->name, parts[i]->title, parts[i]->columns);
        s.tables[i].shown = parts[i]->brief || s.json;
    }
    struct mlp fp32 = {0};
    struct variants v = {.study = &s,
                         .fp32 = &fp32,
                         .calibration = calibration,
                         .training = &training,
                         .seeds = path ? 1 : seeds,
                         .summary = tables[0],
                         .brief = tables[4]};
    bool ok = study_begin(&s) && take_network(&s, path, &training, &fp32);
    progress_begin(&v.bar, "pitfalls", "runs");
    ok = ok && run(&v, tables);
    progress_end(&v.bar);
    variants_free(&v);
    mlp_free(&fp32);
    return study_end(&s, ok);
}
