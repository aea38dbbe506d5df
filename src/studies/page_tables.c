/* The tables of a results folder in the page: HTML, so that they are there without a script too. Every cell is the CSV
 * file's; title and notes are those of the Markdown file beside it. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/csv.h"
#include "base/file.h"
#include "base/text.h"
#include "studies/page.h"

/* In the order of the page. Those that are not there are left out. */
static const char *const table_names[] = {"exercise",
                                          "layers",
                                          "confusion",
                                          "ladder",
                                          "ladder-seeds",
                                          "ladder-wide",
                                          "ladder-narrow",
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

/* markdown: the text of NAME.md, or NULL. */
static void write_table(const char *name, const struct csv *c, char *markdown, FILE *html) {
    char own_title[128], *title = next_note(&markdown);
    snprintf(own_title, sizeof own_title, "%s", name);
    title = title && title[0] == '#' && title[1] == ' ' ? title + 2 : own_title;
    fprintf(html, "<details class=\"table\" id=\"table-%s\"><summary>", name);
    text_html(title, html);
    fputs("</summary><div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"", html);
    text_html(title, html);
    fprintf(html, "\"><table data-table=\"%s\">", name);
    write_rows(c, html);
    fputs("</table></div>\n<ul class=\"notes\">", html);
    for (char *note; (note = next_note(&markdown));) write_item("<li>", note, html);
    for (size_t i = 0; i < c->fact_count; i++) write_item("<li class=\"fact\">", c->facts[i], html);
    fputs("</ul></details>\n", html);
}

static bool add_table(const char *folder, const char *name, FILE *html, struct error *err) {
    char path[PAGE_PATH];
    struct csv c;
    unsigned char *markdown = NULL;
    size_t size;
    if (!is_file(folder, name, ".csv", path)) return true;
    if (!csv_read(path, &c, err)) return false;
    bool ok = !is_file(folder, name, ".md", path) || file_read_all(path, CSV_MAX_BYTES, &markdown, &size, err);
    if (ok) write_table(name, &c, (char *)markdown, html);
    free(markdown);
    csv_free(&c);
    return ok;
}

/* Whether two exercises were on the same data and counted the same: their fp32 networks are then taken for the same. */
static bool same_exercise(const struct csv *ours, const struct csv *reference) {
    static const char *const columns[] = {"format", "granularity", "file_bytes", "correct", "n"};
    bool same = strcmp(csv_fact(ours, "data SHA-256"), csv_fact(reference, "data SHA-256")) == 0;
    for (size_t k = 0; k < sizeof columns / sizeof columns[0]; k++) {
        size_t a = csv_column(ours, columns[k]), b = csv_column(reference, columns[k]);
        same = same && a < ours->columns && b < reference->columns && ours->rows && reference->rows;
        for (size_t row = 0; same && row < ours->rows && row < reference->rows; row++)
            same = strcmp(csv_cell(ours, row, a), csv_cell(reference, row, b)) == 0;
    }
    return same;
}

static bool reference_fits(const struct page *p) {
    char path[PAGE_PATH];
    struct csv ours = {0}, reference = {0};
    struct error ignored;
    bool fits = p->reference && is_file(p->results, "exercise", ".csv", path) && csv_read(path, &ours, &ignored) &&
        is_file(p->reference, "exercise", ".csv", path) && csv_read(path, &reference, &ignored) &&
        same_exercise(&ours, &reference);
    csv_free(&ours);
    csv_free(&reference);
    return fits;
}

bool page_write_tables(const struct page *p, FILE *html, struct error *err) {
    bool ok = true, fits = reference_fits(p);
    char path[PAGE_PATH];
    for (int i = 0; ok && i < TABLE_NAMES; i++) {
        bool own = !fits || is_file(p->results, table_names[i], ".csv", path);
        ok = add_table(own ? p->results : p->reference, table_names[i], html, err);
    }
    return ok;
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
    static const char *const names[] = {"command",      "program", "seed",           "data",
                                        "data SHA-256", "CPU",     "integer kernel", "BLAS"};
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
