/* mnistq pitfalls: each failure that the lesson warns of, provoked, measured and repaired. */
#include "studies/pitfalls.h"

#include <stdio.h>
#include <stdlib.h>

#include "cli/commands.h"

#include "cli/recipe.h"
#include "base/progress.h"

static const struct part {
    const char *name; /* of its table */
    bool (*fill)(struct pitfalls *p, struct table *t, struct error *err);
} parts[] = {
    {"pitfalls-outlier", pitfall_outlier},
    {"pitfalls-calibration", pitfall_calibration},
    {"pitfalls-accumulator", pitfall_accumulator},
    {"pitfalls-symmetric", pitfall_symmetric},
    {"pitfalls-quiet", pitfall_quiet},
};
enum { PARTS = sizeof parts / sizeof parts[0] };

/* What the command line asks for. */
struct request {
    const char *model, *source, *results; /* model: NULL: train one */
    struct training_recipe training;
    int calibration;
    bool json;
};

static void init_summary(struct table *t) {
    static const char columns[] = "pitfall provoked_by repaired_by accuracy_before accuracy_provoked accuracy_repaired "
                                  "logit_sqnr_db_before logit_sqnr_db_provoked logit_sqnr_db_repaired";
    table_init(t, "The pitfalls: before, provoked, repaired", columns);
    table_note(t,
               "accuracy: percent of the test images. logit sqnr db: the logits against fp32's, 10 log10(sum x^2 / sum "
               "(x - x_hat)^2); 0 is as much noise as signal. The tables pitfalls-outlier, -calibration, -accumulator, "
               "-symmetric and -quiet show each in full.");
    table_note(t,
               "quiet: each on that of three networks where it costs the logits most dB; on another it may leave no "
               "trace.");
}

/* The network that everything is tried on: a given model of any kind, its codes read back, or a trained one. */
static bool take_network(const struct request *r, const struct dataset *data, struct mlp *out, struct provenance *p,
                         struct error *err) {
    struct train_report report;
    struct model model;
    if (!r->model) {
        provenance_add(p, "seed", "%llu", (unsigned long long)r->training.seed);
        return train_model(data, &r->training, out, &report, err);
    }
    if (!model_read(r->model, &model, NULL, err)) return false;
    provenance_add(p, "model", "%s%s", r->model, model.kind == MODEL_FP32 ? "" : ", read back to fp32");
    bool ok = split_fits(&data->test, model.shape.widths[0], model.shape.widths[model.shape.layers], r->source, err) &&
        model_as_mlp(&model, out, err);
    model_free(&model);
    return ok;
}

static bool prepare(struct pitfalls *p, struct error *err) {
    struct model fp32 = {.kind = MODEL_FP32, .shape = p->fp32->shape, .mlp = *p->fp32};
    struct trial trial = {&p->healthy, &faults[0], FAULTS_ALL_LAYERS, p->fp32};
    uint8_t *images = calibration_images(&p->data->train, p->calibration, err);
    bool ok = images && evaluate(&fp32, &p->data->test, false, &p->evaluation, err) &&
        ranges_over(p->fp32, images, (size_t)p->calibration, p->ranges, err) &&
        quantize_with(p->fp32, p->ranges, true, false, &p->healthy, err) &&
        measure(&trial, &p->data->test, &p->measured, err);
    free(images);
    return ok;
}

static void add_network_note(const struct pitfalls *p, struct table *t) {
    char shape[128];
    mlp_shape_print(&p->fp32->shape, shape, sizeof shape);
    table_note(t,
               "%s: %s, fp32 %.2f%%; int8 per-channel, asymmetric, calibrated on %d images %.2f%% of %zu test images.",
               p->data->name, shape, accuracy_percent(&p->evaluation), p->calibration,
               accuracy_percent(&p->measured.evaluation), p->data->test.count);
}

static bool fill_parts(const struct request *r, struct pitfalls *p, struct table *tables,
                       const struct provenance *provenance, struct error *err) {
    struct progress bar;
    bool ok = true;
    progress_begin(&bar, "pitfalls", "tables");
    for (int i = 0; ok && i < PARTS; i++) {
        ok = parts[i].fill(p, &tables[i], err);
        if (ok) add_network_note(p, &tables[i]);
        ok = ok && table_save(&tables[i], provenance, r->results, parts[i].name, err);
        progress_update(&bar, (size_t)i + 1, PARTS);
    }
    progress_end(&bar);
    if (ok) add_network_note(p, &p->summary);
    return ok && table_save(&p->summary, provenance, r->results, "pitfalls", err);
}

static bool run(const struct request *r, struct pitfalls *p, struct table *tables, struct provenance *provenance,
                struct error *err) {
    struct dataset data;
    struct mlp fp32;
    if (!dataset_load(r->source, &data, err)) return false;
    if (!take_network(r, &data, &fp32, provenance, err)) {
        dataset_free(&data);
        return false;
    }
    provenance_dataset(provenance, &data);
    provenance_machine(provenance);
    p->data = &data;
    p->fp32 = &fp32;
    p->calibration = r->calibration;
    bool ok = prepare(p, err) && fill_parts(r, p, tables, provenance, err);
    qmlp_free(&p->healthy);
    measurement_free(&p->measured);
    evaluation_free(&p->evaluation);
    mlp_free(&fp32);
    dataset_free(&data);
    return ok;
}

/* One JSON document: [summary, outlier, calibration, ...]. */
static bool print_json(const struct pitfalls *p, const struct table *tables, const struct provenance *provenance,
                       struct error *err) {
    printf("[\n");
    bool ok = table_print_json(&p->summary, provenance, stdout, err);
    for (int i = 0; ok && i < PARTS; i++) {
        printf(",\n");
        ok = table_print_json(&tables[i], provenance, stdout, err);
    }
    printf("]\n");
    return ok;
}

static int report(const struct request *r, struct pitfalls *p, struct table *tables,
                  const struct provenance *provenance, bool ok, struct error *err) {
    if (ok && r->json) ok = print_json(p, tables, provenance, err);
    for (int i = 0; i < PARTS; i++) table_free(&tables[i]);
    if (r->json) { /* printed already */
        table_free(&p->summary);
        return ok ? EXIT_DONE : report_error(err);
    }
    int status = report_table(&p->summary, provenance, false, ok, err);
    if (ok)
        printf(
            "\nWritten to %s: pitfalls, pitfalls-outlier, -calibration, -accumulator, -symmetric and -quiet as .md and "
            ".csv\n",
            r->results);
    return status;
}

int command_pitfalls(int argc, char **argv) {
    struct options o = {
        .command = argv[0],
        .arguments = "[MODEL]",
        .what = "Provokes each failure that the lesson warns of, measures it, repairs it, and writes the\n"
                "tables pitfalls and pitfalls-outlier, -calibration, -accumulator, -symmetric, -quiet.\n"
                "Without MODEL, trains a network first."};
    struct request r = {.source = "data/mnist", .training = training_defaults(), .calibration = 512};
    option_data(&o, &r.source, "folder with the four IDX files, or the built-in digits");
    option_results(&o, &r.results, "folder for the tables");
    option_int(&o, "calibration", &r.calibration, 1, 1000000, "training images for the ranges of activations");
    training_options(&o, &r.training);
    option_flag(&o, "json", &r.json, "print the summary and the five tables as a JSON array");
    int status = options_parse(&o, argc, argv, 0, 1);
    if (status != OPTIONS_GO_ON) return status;
    struct error err;
    struct pitfalls p = {0};
    struct table tables[PARTS] = {{0}};
    struct provenance provenance = {0};
    r.model = o.file_count ? o.files[0] : NULL;
    init_summary(&p.summary);
    provenance_command(&provenance);
    bool ok = run(&r, &p, tables, &provenance, &err);
    return report(&r, &p, tables, &provenance, ok, &err);
}
