/* The tables of a results folder in the page: HTML, so that they are there without a script too. Every cell is the CSV
 * file's; title and notes are those of the Markdown file beside it. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/csv.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/recipe.h"
#include "studies/audit.h"
#include "studies/page.h"

/* In the order of the page. Those that are not there are left out. */
static const char *const table_names[] = {"exercise",
                                          "layers",
                                          "confusion",
                                          "ladder",
                                          "ladder-seeds",
                                          "ladder-wide",
                                          "ladder-narrow",
                                          "ladder-methods",
                                          "mixed",
                                          "sweep",
                                          "compare",
                                          "compare-layers",
                                          "compare-changes",
                                          "waterfall",
                                          "sensitivity",
                                          "arithmetic",
                                          "networks",
                                          "audit",
                                          "pitfalls",
                                          "pitfalls-outlier",
                                          "pitfalls-outlier-seeds",
                                          "pitfalls-calibration",
                                          "pitfalls-calibration-brief",
                                          "pitfalls-symmetric",
                                          "pitfalls-accumulator",
                                          "pitfalls-quiet",
                                          "histogram",
                                          "bench",
                                          "peers"};
enum { TABLE_NAMES = sizeof table_names / sizeof table_names[0] };

static bool is_file(const char *folder, const char *name, const char *ending, char path[PAGE_PATH]) {
    struct stat s;
    snprintf(path, PAGE_PATH, "%.4200s/%s%s", folder, name, ending);
    return stat(path, &s) == 0 && S_ISREG(s.st_mode);
}

static void write_item(const char *tag, char *text, FILE *html) {
    fputs(tag, html); /* the end tags of td and li may be left out */
    text_html(text, html);
}

/* The lines of NAME.md that are neither the table nor its provenance: "# TITLE" first. Each once; NULL at the end. */
static char *next_note(char **rest) {
    for (char *line; (line = strsep(rest, "\n"));) {
        if (strcmp(line, "Provenance:") == 0) return NULL;
        if (*line && *line != '|') return line;
    }
    return NULL;
}

static void write_rows(const struct csv *c, FILE *html) {
    fputs("<thead><tr>", html);
    for (size_t k = 0; k < c->columns; k++) write_item("<th scope=\"col\">", c->cells[k], html);
    fputs("</tr></thead><tbody>", html);
    for (size_t k = 0; k < c->rows * c->columns; k++)
        write_item(k % c->columns ? "<td>" : "<tr>\n<td>", c->cells[c->columns + k], html);
    fputs("</tbody>", html);
}

/* A run that tables may come from: the run of the page, or the reference. */
struct origin {
    const char *folder;
    char accuracy[24], bytes[24]; /* of another fp32 network than the page's; "": its tables need no label */
};

/* What stands above a table of another run; the page's script says it in the reader's language. */
static void write_origin(const struct origin *from, const struct csv *c, FILE *html) {
    fprintf(html, "<p class=\"notice reference\" data-accuracy=\"%s\" data-bytes=\"%s\" data-cpu=\"", from->accuracy,
            from->bytes);
    text_html(csv_fact(c, "CPU"), html);
    fputs("\">The authors figures, of another run: measured on CPU ", html);
    text_html(csv_fact(c, "CPU"), html);
    fprintf(html, ", network of %s bytes, %s%% right in fp32.</p>\n", from->bytes, from->accuracy);
}

/* markdown: the text of NAME.md, or NULL. */
static void write_table(const struct origin *from, const char *name, const struct csv *c, char *markdown, FILE *html) {
    char own_title[128], *title = next_note(&markdown);
    snprintf(own_title, sizeof own_title, "%s", name);
    title = title && title[0] == '#' && title[1] == ' ' ? title + 2 : own_title;
    fprintf(html, "<details class=\"table\" id=\"table-%s\"><summary><span class=\"title\">", name);
    text_html(title, html);
    fprintf(html, "</span> <code>%s.csv</code></summary>", name);
    if (*from->bytes) write_origin(from, c, html);
    fputs("<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"", html);
    text_html(title, html);
    fprintf(html, ", %s.csv\"><table data-table=\"%s\">", name, name);
    write_rows(c, html);
    fputs("</table></div>\n<ul class=\"notes\">", html);
    for (char *note; (note = next_note(&markdown));) write_item("<li>", note, html);
    for (size_t i = 0; i < c->fact_count; i++) write_item("<li class=\"fact\">", c->facts[i], html);
    fputs("</ul></details>\n", html);
}

static bool add_table(const struct origin *from, const char *name, FILE *html, struct error *err) {
    char path[PAGE_PATH];
    struct csv c;
    unsigned char *markdown = NULL;
    size_t size;
    if (!is_file(from->folder, name, ".csv", path)) return true;
    if (!csv_read(path, &c, err)) return false;
    bool ok = !is_file(from->folder, name, ".md", path) || file_read_all(path, CSV_MAX_BYTES, &markdown, &size, err);
    if (ok) write_table(from, name, &c, (char *)markdown, html);
    free(markdown);
    csv_free(&c);
    return ok;
}

/* The number in a column of the first row; "?" where there is none. */
static void first_number(const struct csv *c, const char *column, char text[24]) {
    size_t k = csv_column(c, column);
    double ignored;
    bool is_number = c->rows && k < c->columns && csv_number(csv_cell(c, 0, k), &ignored);
    snprintf(text, 24, "%.20s", is_number ? csv_cell(c, 0, k) : "?");
}

/* Whether two exercises counted the same: their fp32 networks are then taken for the same. */
static bool same_exercise(const struct csv *ours, const struct csv *reference) {
    static const char *const columns[] = {"format", "granularity", "file_bytes", "correct", "n"};
    bool same = ours->rows && reference->rows;
    for (size_t k = 0; k < sizeof columns / sizeof columns[0]; k++) {
        size_t a = csv_column(ours, columns[k]), b = csv_column(reference, columns[k]);
        same = same && a < ours->columns && b < reference->columns;
        for (size_t row = 0; same && row < ours->rows && row < reference->rows; row++)
            same = strcmp(csv_cell(ours, row, a), csv_cell(reference, row, b)) == 0;
    }
    return same;
}

/* The reference, if it is on the same data; folder NULL: it is not. */
static void find_reference(const struct page *p, struct origin *out) {
    char path[PAGE_PATH];
    struct csv ours = {0}, reference = {0};
    struct error ignored;
    *out = (struct origin){.folder = NULL};
    bool fits = p->reference && is_file(p->results, "exercise", ".csv", path) && csv_read(path, &ours, &ignored) &&
        is_file(p->reference, "exercise", ".csv", path) && csv_read(path, &reference, &ignored) &&
        strcmp(csv_fact(&ours, "data SHA-256"), csv_fact(&reference, "data SHA-256")) == 0;
    if (fits) out->folder = p->reference;
    if (fits && !same_exercise(&ours, &reference)) {
        first_number(&reference, "accuracy_percent", out->accuracy);
        first_number(&reference, "file_bytes", out->bytes);
    }
    csv_free(&ours);
    csv_free(&reference);
}

/* NAME=TEXT as an argument for a shell, unless make takes the same without it. */
static void write_argument(const char *name, const char *text, const char *usual, FILE *out) {
    if (strcmp(text, usual) == 0) return;
    bool plain = *text &&
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._+-,") == strlen(text);
    fprintf(out, " %s=%s", name, plain ? "" : "'");
    for (const char *c = text; *c; c++) fputs(*c == '\'' ? "'\\''" : (char[]){*c, 0}, out);
    if (!plain) fputc('\'', out);
}

static void write_variables(const struct page *p, FILE *out) {
    const struct mlp_shape *shape = &p->models[0].shape;
    const struct training_recipe recipe = training_defaults();
    bool usual = shape->layers == recipe.hidden.count + 1;
    write_argument("DATA", p->source, "data/mnist", out);
    write_argument("RESULTS", p->results, "results/mnist", out);
    for (int l = 1; usual && l < shape->layers; l++) usual = shape->widths[l] == recipe.hidden.values[l - 1];
    for (int l = 1; !usual && l < shape->layers; l++) fprintf(out, "%s%d", l > 1 ? "," : " HIDDEN=", shape->widths[l]);
}

/* What the sections show, if it is there, and the command that makes it. */
static void note_left_out(struct page *p, const struct origin *reference) {
    static const char *const shown[][2] = {{"ladder", "ladder"}, {"audit", "audit"}, {"pitfalls-quiet", "pitfalls"}};
    char path[PAGE_PATH];
    for (int i = 0; i < 3; i++) {
        if (is_file(p->results, shown[i][0], ".csv", path)) continue;
        if (reference->folder && is_file(reference->folder, shown[i][0], ".csv", path)) continue;
        size_t used = strlen(p->left_out);
        snprintf(p->left_out + used, sizeof p->left_out - used, "%s%s", used ? " " : "", shown[i][1]);
    }
    FILE *remedy = *p->left_out ? fmemopen(p->remedy, sizeof p->remedy, "w") : NULL;
    if (!remedy) return;
    fprintf(remedy, "make %s page", p->left_out);
    write_variables(p, remedy);
    fclose(remedy);
    p->remedy[sizeof p->remedy - 1] = '\0';
}

bool page_write_tables(struct page *p, FILE *html, struct error *err) {
    struct origin own = {.folder = p->results}, reference;
    bool ok = true;
    char path[PAGE_PATH];
    find_reference(p, &reference);
    for (int i = 0; ok && i < TABLE_NAMES; i++) {
        bool is_own = !reference.folder || is_file(p->results, table_names[i], ".csv", path);
        ok = add_table(is_own ? &own : &reference, table_names[i], html, err);
    }
    note_left_out(p, &reference);
    fputs(", \"remedy\": ", p->facts);
    text_json(p->remedy, p->facts);
    return ok;
}

bool page_write_lesson(FILE *json, struct error *err) {
    struct csv claims;
    bool first = true;
    if (!claims_read(&claims, err)) return false;
    fputs(", \"lesson\": {", json);
    for (size_t i = 0; i < claims.rows; i++) {
        if (strncmp(csv_cell(&claims, i, CLAIM_ID), "five-", 5) != 0) continue;
        fprintf(json, "%s\"%s\": ", first ? "" : ", ", csv_cell(&claims, i, CLAIM_ID));
        text_json(csv_cell(&claims, i, CLAIM_CLAIMED), json);
        first = false;
    }
    fputc('}', json);
    csv_free(&claims);
    return true;
}

/* ---- where the models come from ---------------------------------------------------------------------------------- */

static void write_fact(const char *name, const char *value, bool first, FILE *json) {
    char copy[1024];
    snprintf(copy, sizeof copy, "%s", value);
    mask_control_characters(copy);
    fprintf(json, "%s{\"name\": ", first ? "" : ", ");
    text_json(name, json);
    fputs(", \"value\": ", json);
    text_json(copy, json);
    fputc('}', json);
}

/* Those of exercise.csv, and the day on which fp32.safetensors was written. */
void page_write_provenance(const struct page *p, FILE *json) {
    static const char *const names[] = {"command", "program",        "seed",        "data", "data SHA-256",
                                        "CPU",     "integer kernel", "fp32 kernel", "BLAS"};
    char path[PAGE_PATH], date[32] = "";
    struct csv c = {0};
    struct error ignored;
    struct stat s;
    bool is_there = is_file(p->results, "exercise", ".csv", path) && csv_read(path, &c, &ignored), first = true;
    fputc('[', json);
    for (size_t i = 0; is_there && i < sizeof names / sizeof names[0]; i++) {
        if (!*csv_fact(&c, names[i])) continue;
        write_fact(names[i], csv_fact(&c, names[i]), first, json);
        first = false;
    }
    if (is_file(p->results, "models/fp32", ".safetensors", path) && stat(path, &s) == 0 &&
        strftime(date, sizeof date, "%Y-%m-%d", gmtime(&s.st_mtime)))
        write_fact("date", date, first, json);
    fputc(']', json);
    if (is_there) csv_free(&c);
}
