/* mnistq export: a model in the forms of other tools. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/study.h"
#include "export/export.h"
#include "model/foreign.h"

struct request {
    const char *source, *out, *prefix;
    int calibration;
    const struct exporter *exporter;
};

static bool run(const char *path, const struct request *r, struct table *t, struct provenance *p, struct error *err) {
    struct model model = {0};
    struct model_notes notes;
    struct dataset data = {0};
    struct st_file *file = calloc(1, sizeof *file);
    struct export_source source = {
        .path = path, .file = file, .model = &model, .notes = &notes, .name = r->prefix, .count = r->calibration};
    if (!file) return fail(err, "%s: out of memory", path);
    bool ok = out_file_check(r->out, err) && st_read_checked(path, model_needs_its_bytes, file, err) &&
        (((!foreign_is(file) || foreign_convert(file, err)) && model_parse(file, &model, &notes, err)) ||
         fail_in(err, path));
    if (ok && r->calibration) {
        ok = dataset_load(r->source, &data, err) &&
            split_fits(&data.train, model.shape.widths[0], model.shape.widths[model.shape.layers], r->source, err);
        if (ok && (size_t)r->calibration > data.train.count)
            ok = fail(err, "--calibration %d: %s has %zu training images", r->calibration, r->source, data.train.count);
        if (ok) provenance_dataset(p, &data);
        source.images = data.train.images;
    }
    ok = ok && export_model(r->exporter, &source, r->out, t, err);
    if (ok) note_written(t, r->out);
    dataset_free(&data);
    model_free(&model);
    st_free(file);
    free(file);
    return ok;
}

/* Of names in C. */
static bool is_identifier(const char *text) {
    if (*text >= '0' && *text <= '9') return false;
    for (; *text; text++)
        if (!(*text == '_' || (*text >= '0' && *text <= '9') || (*text >= 'a' && *text <= 'z') ||
              (*text >= 'A' && *text <= 'Z')))
            return false;
    return true;
}

int command_export(int argc, char **argv) {
    static char help[512] = "";
    struct request r = {.source = "data/mnist", .prefix = ""};
    struct options o = {.command = argv[0],
                        .arguments = "MODEL",
                        .what = "Writes MODEL in the form of another tool.",
                        .examples = "mnistq export int8.safetensors --format c --out model.h\n"
                                    "mnistq export int8.safetensors --format npy --calibration 16 --out model.npz"};
    const char *format = NULL, *meant = NULL;
    bool json = false;
    for (const struct exporter *e = exporters; !*help || e->name; e++)
        snprintf(help + strlen(help), sizeof help - strlen(help), "%s%s: %s", *help ? "; " : "", e->name, e->what);
    option_text(&o, "format", "NAME", &format, help);
    option_out_bytes(&o, "out", "FILE", &r.out, "file to write");
    option_data(&o, &r.source, "for --calibration: folder with the IDX files, or the built-in digits");
    option_int(&o, "calibration", &r.calibration, 0, 10000,
               "npy: also the inputs of each layer for so many training images");
    option_text(&o, "prefix", "NAME", &r.prefix, "c: in front of every name, for two models in one program");
    option_flag(&o, "json", &json, "print the table as JSON");
    int status = options_parse(&o, argc, argv, 1, 1);
    if (status != OPTIONS_GO_ON) return status;
    if (!format) return usage_error(&o, "--format is missing: c, npy, ...");
    for (const struct exporter *e = exporters; e->name; e++) {
        meant = likelier(format, e->name, meant);
        if (strcmp(format, e->name) == 0) r.exporter = e;
    }
    if (!r.exporter) return no_such(&o, "--format", "form", format, meant, "--help names them all");
    if (!r.out) return usage_error(&o, "--out is missing: where should it go?");
    if (!is_identifier(r.prefix) || strlen(r.prefix) > 60)
        return usage_error(&o, "--prefix %s: expected a name in C of at most 60 characters", r.prefix);
    struct error err;
    struct table t = {0};
    struct provenance p = {0};
    provenance_command(&p);
    return report_table(&t, &p, json, run(o.files[0], &r, &t, &p, &err), &err);
}
