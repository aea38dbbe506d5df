/* mnistq pitfalls: each failure that the lesson warns of, provoked, measured and repaired. */
#include "studies/pitfalls.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report.h"
#include "cli/commands.h"
#include "quant/convert.h"

/* ---- what all pitfalls share ------------------------------------------------------------------------------------ */

bool network_measure(const struct variants *v, struct network *n) {
    const struct dataset *data = &v->study->data;
    struct error *err = &v->study->err;
    struct model fp32 = {.kind = MODEL_FP32, .shape = n->fp32.shape, .mlp = n->fp32};
    return ranges_over(&n->fp32, v->images, v->calibration, n->ranges, err) &&
        (n->logits = model_logits(&fp32, &data->test, err)) &&
        evaluate_logits(n->logits, data->classes, &data->test, &n->evaluation, err);
}

void network_free(struct network *n) {
    mlp_free(&n->fp32);
    free(n->logits);
    evaluation_free(&n->evaluation);
}

const struct measurement *run_variant(struct variants *v, const struct model *model, const struct fault *fault,
                                      int layer, const float *fp32_logits) {
    struct trial trial = {model, fault, layer, fp32_logits};
    struct kept *k = aligned_array(1, sizeof *k, &v->study->err);
    if (!k || !measure(&trial, &v->study->data.test, &k->m, &v->study->err)) {
        free(k);
        return NULL;
    }
    k->next = v->kept;
    v->kept = k;
    progress_update(&v->bar, ++v->done, v->total);
    return &k->m;
}

void summarise(struct variants *v, const struct measurement *before, const struct measurement *provoked,
               const struct measurement *repaired) {
    table_row(v->summary, "%.2f | %.2f | %.2f | %.2f | %.2f | %.2f", accuracy_percent(&before->evaluation),
              accuracy_percent(&provoked->evaluation), accuracy_percent(&repaired->evaluation), before->logit_sqnr_db,
              provoked->logit_sqnr_db, repaired->logit_sqnr_db);
}

void add_network_cells(const struct variants *v, struct table *t, const struct measurement *m,
                       const struct evaluation *base) {
    table_row(t, "%.2f | %zu | %.2f", m->logit_sqnr_db, m->evaluation.correct, accuracy_percent(&m->evaluation));
    add_paired(t, base, &m->evaluation, v->study->data.test.labels);
}

bool ranges_over(const struct mlp *mlp, const uint8_t *images, int count, struct range *ranges, struct error *err) {
    struct convert_config config = {.observer = OBSERVER_MINMAX};
    struct mlp_workspace ws;
    if (!mlp_workspace_create(&mlp->shape, CALIBRATION_BATCH, false, &ws, err)) return false;
    bool ok = calibrate(mlp, images, (size_t)count, &config, &ws, ranges, err);
    mlp_workspace_free(&ws);
    return ok;
}

static bool all_fit(size_t saturated, struct model *out, struct error *err) {
    if (saturated == 0) return true;
    model_free(out);
    return fail(err, "%zu biases are beyond the 2^30 steps that the engine takes: this network has nothing to show",
                saturated);
}

bool int8_network(const struct mlp *mlp, const struct range *ranges, bool per_channel, bool symmetric,
                  struct model *out, struct error *err) {
    struct convert_config config = {.per_channel = per_channel, .symmetric_activations = symmetric};
    size_t saturated;
    *out = (struct model){.kind = MODEL_INT8, .shape = mlp->shape};
    return convert(mlp, ranges, &config, &out->qmlp, &saturated, err) && all_fit(saturated, out, err);
}

bool requantize_network(const struct mlp *mlp, struct model *out, struct error *err) {
    struct qmlp *q = &out->qmlp;
    size_t saturated;
    for (int l = 0; l < mlp->shape.layers; l++)
        for (size_t i = 0, in = (size_t)mlp->layer[l].in; i < in * (size_t)mlp->layer[l].out; i++) {
            struct qparams p = {qmlp_weight_scale(q, l, (int)(i / in)), 0, -127, 127};
            q->layer[l].weight[i] = (int8_t)quantize(mlp->layer[l].weight[i], p);
        }
    return convert_complete(mlp, q, &saturated, err) && all_fit(saturated, out, err);
}

/* ---- the command ------------------------------------------------------------------------------------------------ */

static const struct part summary = {
    "pitfalls",
    "The pitfalls: before, provoked, repaired",
    "pitfall provoked_by repaired_by accuracy_before- accuracy_provoked accuracy_repaired logit_sqnr_db_before- "
    "logit_sqnr_db_provoked:logit_dB_provoked logit_sqnr_db_repaired:dB_repaired",
    NULL,
    {"See: what a mistake costs, and that the accuracy often hides it. 0 dB is as much noise as signal.",
     "outlier: clipping that ends above the fp32 network with the same outlier has taken the outlier out of the "
     "network. quiet: each on that of three networks where it costs the logits most dB; on another it may leave no "
     "trace."}};

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

/* Of the summary what fits a screen: for each pitfall the try that cost most. */
static void fill_view(const struct table *all, struct table *view) {
    enum { PITFALL, PROVOKED_BY, REPAIRED_BY, BEFORE, PROVOKED, REPAIRED };
    const struct cell *cells = all->cells;
    size_t columns = all->column_count;
    for (size_t row = 0, end; row < table_row_count(all); row = end) {
        size_t worst = row;
        for (end = row; end < table_row_count(all); end++) { /* those of one pitfall stand together */
            if (strcmp(cells[end * columns + PITFALL].text, cells[row * columns + PITFALL].text) != 0) break;
            if (atof(cells[end * columns + PROVOKED].text) < atof(cells[worst * columns + PROVOKED].text)) worst = end;
        }
        const struct cell *c = cells + worst * columns;
        table_row(view, "%s | %s | %.2f | %.2f | %.2f | %s", c[PITFALL].text, c[PROVOKED_BY].text, atof(c[BEFORE].text),
                  atof(c[PROVOKED].text), atof(c[REPAIRED].text), c[REPAIRED_BY].text);
    }
    table_note(view,
               "Accuracy in percent. Of each pitfall the try that cost most; all %zu, and what each did to the "
               "network layer by layer, are in the files and with --json.",
               table_row_count(all));
    for (const char *const *note = summary.notes; *note; note++) table_note(view, "%s", *note);
}

static bool run(struct variants *v, struct table *const *tables) {
    struct error *err = &v->study->err;
    char shape[128];
    v->total = 229 + 28 * (size_t)v->seeds; /* about: for the progress bar */
    for (const struct fault *f = faults; f->name; f++)
        v->total += f->kind == FAULT_ACCUMULATOR ? (size_t)v->base.fp32.shape.layers + 1
            : f->kind == FAULT_QUIET             ? 3
                                                 : 0;
    bool ok = (v->images = calibration_images(&v->study->data.train, v->calibration, err)) &&
        network_measure(v, &v->base) && int8_network(&v->base.fp32, v->base.ranges, true, false, &v->int8, err) &&
        (v->healthy = run_variant(v, &v->int8, &faults[0], FAULTS_ALL_LAYERS, v->base.logits));
    for (int i = 0; ok && i < PARTS; i++) {
        ok = !parts[i]->fill || parts[i]->fill(v, tables[i]);
        for (const char *const *note = parts[i]->notes; *note; note++) table_note(tables[i], "%s", *note);
    }
    mlp_shape_print(&v->base.fp32.shape, shape, sizeof shape);
    if (ok)
        provenance_add(&v->study->provenance, "network",
                       "%s, fp32 %.2f%%; int8 per-channel, asymmetric, calibrated on %d images %.2f%%", shape,
                       accuracy_percent(&v->base.evaluation), v->calibration,
                       accuracy_percent(&v->healthy->evaluation));
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
        s.tables[i].shown = s.json;
    }
    struct table *view = study_table(&s, NULL, "The pitfalls: before, provoked, repaired",
                                     "pitfall provoked_by before provoked repaired repaired_by");
    s.tables[PARTS].shown = true;
    struct variants v = {.study = &s,
                         .calibration = calibration,
                         .training = &training,
                         .seeds = path ? 1 : seeds,
                         .summary = tables[0],
                         .brief = tables[4]};
    bool ok = study_begin(&s) && take_network(&s, path, &training, &v.base.fp32);
    progress_begin(&v.bar, "pitfalls", "runs");
    ok = ok && run(&v, tables);
    if (ok) fill_view(tables[0], view);
    progress_end(&v.bar);
    for (struct kept *k = v.kept, *next; k; k = next) {
        next = k->next;
        measurement_free(&k->m);
        free(k);
    }
    qmlp_free(&v.int8.qmlp);
    network_free(&v.base);
    free(v.images);
    return study_end(&s, ok);
}
