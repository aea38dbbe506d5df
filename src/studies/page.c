/* mnistq page: the lesson as one file, in which the program's own engine runs. The template's marks, {{name}}, are
 * replaced; what replaces them is made in page_parts.c and page_tables.c. */
#include "studies/page.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/recipe.h"
#include "cli/study.h"

/* ---- the parts that make built ----------------------------------------------------------------------------------- */

enum { WASM, SCRIPT, STYLE, TEMPLATE, PARTS };
static const char *const part_names[PARTS] = {"engine.wasm", "page.js", "page.css", "page.html"};

struct parts {
    unsigned char *bytes[PARTS];
    size_t size[PARTS];
};

static bool read_parts(const struct page *p, struct parts *parts, struct error *err) {
    for (int i = 0; i < PARTS; i++) {
        char path[PAGE_PATH];
        struct error why;
        snprintf(path, sizeof path, "%.4200s/%s", p->parts, part_names[i]);
        if (!file_read_all(path, (size_t)1 << 26, &parts->bytes[i], &parts->size[i], &why))
            return fail(err, "%s (`make page` builds it; scripts/install_deps.sh --page gets what that takes)",
                        why.text);
    }
    return true;
}

/* Text within an element ends where its end tag begins, whatever it means there. */
static bool check_inline(const char *name, const unsigned char *text, const char *tag, struct error *err) {
    for (const char *at = strchr((const char *)text, '<'); at; at = strchr(at + 1, '<'))
        if (strncasecmp(at, tag, strlen(tag)) == 0 || strncmp(at, "<!--", 4) == 0)
            return fail(err, "%s: holds %.*s, which would end it within the page", name, (int)strlen(tag), at);
    return !strchr((const char *)text, '\r') ||
        fail(err, "%s: holds a carriage return, which browsers read otherwise", name);
}

/* ---- images ------------------------------------------------------------------------------------------------------ */

static bool add_test(struct page *p, struct error *err) {
    size_t n = (size_t)p->images;
    return page_embed(p, "test/images", p->data.test.images, n * PAGE_SIDE * PAGE_SIDE, 1, NULL, err) &&
        page_embed(p, "test/labels", p->data.test.labels, n, 1, NULL, err);
}

/* The images that the exercise calibrated on: its int8 model tells how many. */
static bool add_calibration(struct page *p, struct error *err) {
    const struct split *train = &p->data.train;
    int count = atoi(p->notes[1].calibration);
    if (count < 1) count = quantization_defaults().calibration;
    uint8_t *images = calibration_images(train, count, err), *labels = aligned_array((size_t)count, 1, err);
    for (size_t i = 0; images && labels && i < (size_t)count; i++)
        labels[i] = train->labels[calibration_image(train, count, i)];
    bool ok = images && labels &&
        page_embed(p, "calibration/images", images, (size_t)count * PAGE_SIDE * PAGE_SIDE, 1, NULL, err) &&
        page_embed(p, "calibration/labels", labels, (size_t)count, 1, NULL, err);
    free(images);
    free(labels);
    return ok;
}

/* ---- joining ----------------------------------------------------------------------------------------------------- */

/* What each mark becomes; text NULL behind the last. */
struct mark {
    const char *name, *text;
};

/* Copies the template; false for a mark that there is not. */
static bool fill_template(const char *html, const struct mark *marks, FILE *stream, struct error *err) {
    for (const char *at; (at = strstr(html, "{{")); html = strstr(at, "}}") + 2) {
        const struct mark *m = marks;
        while (m->text && strncmp(at + 2, m->name, strlen(m->name)) != 0) m++;
        if (!m->text || !strstr(at, "}}")) return fail(err, "page.html: there is nothing to put for %.20s", at);
        fwrite(html, 1, (size_t)(at - html), stream);
        fputs(m->text, stream);
    }
    fputs(html, stream);
    return true;
}

static bool write_page(const struct page *p, const struct parts *parts, const char *tables, const char *blobs,
                       struct error *err) {
    char csp[512], script[64], style[64];
    struct out_file out;
    page_hash_base64(parts->bytes[SCRIPT], parts->size[SCRIPT], script);
    page_hash_base64(parts->bytes[STYLE], parts->size[STYLE], style);
    snprintf(csp, sizeof csp,
             "default-src 'none'; script-src 'sha256-%s' 'wasm-unsafe-eval'; style-src 'sha256-%s'; base-uri 'none'; "
             "form-action 'none'",
             script, style);
    struct mark marks[] = {{"csp}}", csp},     {"style}}", (const char *)parts->bytes[STYLE]},   {"tables}}", tables},
                           {"blobs}}", blobs}, {"script}}", (const char *)parts->bytes[SCRIPT]}, {NULL, NULL}};
    if (!out_file_open(&out, p->out, err)) return false;
    if (fill_template((const char *)parts->bytes[TEMPLATE], marks, out.stream, err)) return out_file_commit(&out, err);
    out_file_discard(&out);
    return false;
}

/* ---- everything in its order ------------------------------------------------------------------------------------- */

/* A text that is being written. */
struct sheet {
    FILE *stream;
    char *text;
    size_t size;
};

static FILE *sheet_open(struct sheet *s) { return s->stream = open_memstream(&s->text, &s->size); }

static bool sheet_close(struct sheet *s, struct error *err) {
    bool ok = s->stream && fclose(s->stream) == 0;
    s->stream = NULL;
    return ok || fail(err, "out of memory");
}

static bool embed_sheet(struct page *p, const char *name, struct sheet *s, struct error *err) {
    return sheet_close(s, err) && page_embed(p, name, (unsigned char *)s->text, s->size, 1, NULL, err);
}

enum { FACTS, QUESTIONS, TABLES, BLOBS, SHEETS };

static bool fill_sheets(struct page *p, const struct parts *parts, struct sheet *sheets, struct error *err) {
    char sha[65];
    page_hash_hex(parts->bytes[WASM], parts->size[WASM], sha);
    fprintf(p->facts, "{\"dataset\": ");
    text_json(p->data.name, p->facts);
    fprintf(p->facts, ", \"test\": %d, \"wasm\": {\"bytes\": %zu, \"sha256\": \"%s\"}, \"provenance\": ", p->images,
            parts->size[WASM], sha);
    page_write_provenance(p, p->facts);
    bool ok = page_embed(p, "wasm", parts->bytes[WASM], parts->size[WASM], 1, NULL, err) && page_add_models(p, err) &&
        page_write_questions(p, sheets[QUESTIONS].stream, err) && page_write_tables(p, sheets[TABLES].stream, err) &&
        page_write_lesson(p->facts, err) && add_test(p, err) && add_calibration(p, err);
    fputs("}\n", p->facts);
    return ok && embed_sheet(p, "facts", &sheets[FACTS], err) && embed_sheet(p, "questions", &sheets[QUESTIONS], err) &&
        sheet_close(&sheets[TABLES], err) && sheet_close(&sheets[BLOBS], err);
}

static bool build(struct page *p, struct error *err) {
    struct parts parts = {.size = {0}};
    struct sheet sheets[SHEETS] = {{0}};
    bool ok = read_parts(p, &parts, err) && check_inline("page.js", parts.bytes[SCRIPT], "</script", err) &&
        check_inline("page.css", parts.bytes[STYLE], "</style", err);
    for (int i = 0; ok && i < SHEETS; i++) ok = sheet_open(&sheets[i]) || fail(err, "out of memory");
    p->facts = sheets[FACTS].stream;
    p->blobs = sheets[BLOBS].stream;
    ok = ok && fill_sheets(p, &parts, sheets, err) &&
        write_page(p, &parts, sheets[TABLES].text, sheets[BLOBS].text, err);
    if (ok)
        table_note(&p->contents, "Written to %s. Of it: tables %zu bytes, script %zu, style %zu, all of the above %zu.",
                   p->out, sheets[TABLES].size, parts.size[SCRIPT], parts.size[STYLE], p->embedded);
    for (int i = 0; i < SHEETS; i++) {
        if (sheets[i].stream) fclose(sheets[i].stream);
        free(sheets[i].text);
    }
    for (int i = 0; i < PARTS; i++) free(parts.bytes[i]);
    return ok;
}

/* What one needs to know of the page that was written; the list of its parts is for --json. */
static void tell(const struct page *p) {
    char *place = realpath(p->out, NULL);
    struct stat s = {0};
    printf("Written to %s: %.1f MB, one file for a browser without a network.\n", p->out,
           stat(p->out, &s) == 0 ? (double)s.st_size / 1e6 : 0.0);
    printf("open it in a browser: file://%s\n", place ? place : p->out);
    if (*p->left_out) {
        fputs("left out: ", stdout);
        for (const char *c = p->left_out; *c; c++) fputs(*c == ' ' ? ", " : (char[]){*c, '\0'}, stdout);
        printf("; `%s` brings them\n", p->remedy);
    }
    free(place);
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

static bool check_data(const struct page *p, struct error *err) {
    const struct split *test = &p->data.test;
    if (test->rows != PAGE_SIDE || test->cols != PAGE_SIDE)
        return fail(err, "%s: expected images of %d x %d, found %d x %d", p->source, PAGE_SIDE, PAGE_SIDE, test->rows,
                    test->cols);
    if ((size_t)p->images <= test->count) return true;
    return fail(err, "--images %d: %s has %zu test images", p->images, p->source, test->count);
}

int command_page(int argc, char **argv) {
    struct page p = {.options = {.command = argv[0],
                                 .arguments = "",
                                 .what = "Joins the models and tables of --results, test images, and the engine as\n"
                                         "WebAssembly into one HTML file that needs no server and no network."},
                     .source = "data/mnist",
                     .parts = "build/page",
                     .images = 1000};
    char out[PAGE_PATH];
    bool json = false;
    struct error err;
    p.options.examples = "mnistq page --data data/mnist --results results/mnist --out page.html";
    option_data(&p.options, &p.source, "folder with the four IDX files, or the built-in digits");
    option_results(&p.options, &p.results, "folder with the tables and models/");
    option_out(&p.options, "out", "FILE", &p.out, "the page; without it page.html in --results");
    option_int(&p.options, "images", &p.images, 1, 10000, "test images in it, the first ones");
    option_text(&p.options, "parts", "DIR", &p.parts,
                "folder with what `make page` built: engine.wasm, page.html, ...");
    option_text(&p.options, "reference", "DIR", &p.reference,
                "folder with tables that --results has not, where its exercise was on the same data");
    option_flag(&p.options, "json", &json, "print what is in the page as JSON");
    int status = options_parse(&p.options, argc, argv, 0, 0);
    if (status != OPTIONS_GO_ON) return status;
    if (!p.out) {
        snprintf(out, sizeof out, "%.4200s/page.html", p.results);
        p.out = out;
    }
    table_init(&p.contents, "What is in the page", "part bytes compressed in_page");
    bool ok = file_set_complete(p.results, &err) && out_file_check(p.out, &err) &&
        dataset_load(p.source, &p.data, &err) && check_data(&p, &err) && build(&p, &err);
    for (int i = 0; i < PAGE_MODELS; i++) {
        model_free(&p.models[i]);
        free(p.files[i]);
    }
    dataset_free(&p.data);
    if (ok && !json) tell(&p);
    if (json || !ok) return report_table(&p.contents, NULL, json, ok, &err);
    table_free(&p.contents);
    return EXIT_DONE;
}
