#include "cli/study.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/recipe.h"

void study_init(struct study *s, const char *command, const char *arguments, const char *what) {
    *s = (struct study){.options = {.command = command, .arguments = arguments, .what = what}, .source = "data/mnist"};
    option_data(&s->options, &s->source, "folder with the four IDX files, or the built-in digits");
    option_results(&s->options, &s->results, "folder for the tables");
    option_flag(&s->options, "json", &s->json, "print the table as JSON");
}

void study_shows(struct study *s, const char *results_help) {
    for (int i = 0; i < s->options.count; i++) {
        struct option_entry *e = &s->options.entries[i];
        if (e->value == (void *)&s->results) e->help = results_help;
        if (e->value == (void *)&s->source)
            e->help = "folder with IDX files, of which the test images and labels are enough, or the built-in digits";
    }
    s->options.results = NULL; /* no folder by default */
    s->test_only = true;
}

int study_parse(struct study *s, int argc, char **argv, int min_files, int max_files) {
    int status = options_parse(&s->options, argc, argv, min_files, max_files);
    provenance_command(&s->provenance);
    if (status == OPTIONS_GO_ON && s->results && !*s->results)
        return usage_error(&s->options, "--results: expected a folder, found \"\"");
    if (status == OPTIONS_GO_ON && s->results && !file_set_complete(s->results, &s->err)) return report_error(&s->err);
    return status;
}

/* Files tell the SHA-256 of all images, where all are there. */
static bool load_data(struct study *s) {
    if (!s->test_only) return dataset_load(s->source, &s->data, &s->err);
    errno = 0;
    if ((s->results || s->json) && dataset_load(s->source, &s->data, &s->err)) return true;
    bool resources_failed = errno == ENOMEM || errno == EMFILE || errno == ENFILE || errno == EIO;
    return !resources_failed && dataset_load_test_only(s->source, &s->data, &s->err);
}

bool study_begin(struct study *s) {
    if (s->results && !folder_check(s->results, &s->err)) return false;
    for (int i = 0; s->results && i < s->table_count; i++)
        if (s->tables[i].name &&
            (!file_set_check(s->results, s->tables[i].name, ".md", &s->err) ||
             !file_set_check(s->results, s->tables[i].name, ".csv", &s->err)))
            return false;
    if (s->source && !load_data(s)) return false;
    if (s->source) provenance_dataset(&s->provenance, &s->data);
    provenance_machine(&s->provenance);
    return true;
}

struct table *study_table(struct study *s, const char *name, const char *title, const char *columns) {
    struct study_table *t = &s->tables[s->table_count];
    t->name = name;
    t->shown = s->table_count++ == 0;
    table_init(&t->table, title, columns);
    return &t->table;
}

/* Once: the name, or the folder that it is in. */
static void name_written(struct study *s, const char *name) {
    size_t used = strlen(s->written), length = strcspn(name, "/");
    char shown[256];
    snprintf(shown, sizeof shown, "%.*s", (int)(length + (name[length] == '/')), name);
    if (!strstr(s->written, shown))
        snprintf(s->written + used, sizeof s->written - used, "%s%s", used ? ", " : "", shown);
}

const char *study_path(struct study *s, const char *name) {
    const char *path = file_set_begin(s->results, &s->err) ? file_set_path(name, &s->err) : NULL;
    if (path) name_written(s, name);
    return path;
}

void study_wrote(struct study *s, const char *path) {
    size_t length = s->results ? strlen(s->results) : 0;
    while (length && s->results[length - 1] == '/') length--;
    if (length && strncmp(path, s->results, length) == 0 && path[length] == '/' && path[length + 1])
        name_written(s, path + length + 1);
}

static bool table_is_empty(const struct table *t) {
    return table_row_count(t) + t->note_count == 0 && !t->out_of_memory;
}

bool study_save_table(struct study *s, const struct table *t, const struct provenance *p, const char *name) {
    static const char *const endings[] = {".md", ".csv"};
    const char *folder = file_set_begin(s->results, &s->err);
    char file[300];
    bool ok = folder != NULL;
    for (int i = 0; ok && i < 2; i++) {
        snprintf(file, sizeof file, "%s%s", name, endings[i]);
        ok = file_set_path(file, &s->err) != NULL;
    }
    return ok && (table_is_empty(t) || table_save(t, p, folder, name, &s->err));
}

static bool save(struct study *s) {
    for (int i = 0; s->results && i < s->table_count; i++)
        if (s->tables[i].name && !study_save_table(s, &s->tables[i].table, &s->provenance, s->tables[i].name))
            return false;
    return true;
}

static bool show_table(const struct study_table *t, int width, struct error *err) {
    struct table first = t->table; /* rows of it */
    size_t rows = table_row_count(&first);
    if (t->most_rows && rows > t->most_rows) first.cell_count = t->most_rows * first.column_count;
    if (!table_print(&first, stdout, width, err)) return false;
    if (rows > table_row_count(&first))
        printf("  %zu more rows in the files and with --json.\n", rows - table_row_count(&first));
    fputc('\n', stdout);
    return true;
}

static bool show(struct study *s) {
    int width = terminal_width(stdout), saved = 0;
    char text[4096];
    size_t used = (size_t)snprintf(text, sizeof text, "Written to %.1500s:", s->results ? s->results : "");
    for (int i = 0; i < s->table_count; i++) {
        const struct study_table *t = &s->tables[i];
        if (table_is_empty(&t->table)) continue;
        if (t->name && used < sizeof text)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s %s", saved++ ? "," : "", t->name);
        if (t->shown && !show_table(t, width, &s->err)) return false;
    }
    if (!s->results || used >= sizeof text) return true;
    snprintf(text + used, sizeof text - used, "%s%s%s", saved ? " (.md and .csv)" : "",
             *s->written ? saved ? ", " : " " : "", s->written);
    mask_control_characters(text);
    print_wrapped(stdout, text, 0, width);
    return true;
}

/* ---- JSON ------------------------------------------------------------------------------------------------------- */

/* The first table, which the others that are shown join before its last brace. */
static bool print_json(struct study *s) {
    size_t others = 0;
    bool ok = table_print_json_members(&s->tables[0].table, &s->provenance, stdout, &s->err);
    for (int i = 1; ok && i < s->table_count; i++) {
        if (!s->tables[i].name || !s->tables[i].shown || table_is_empty(&s->tables[i].table)) continue;
        fputs(others++ ? "," : ",\n\t\"tables\":\t{", stdout);
        text_json(s->tables[i].name, stdout);
        fputs(":\t", stdout);
        ok = table_print_json(&s->tables[i].table, NULL, stdout, &s->err);
    }
    if (ok) printf("%s\n}\n", others ? "}" : "");
    return ok;
}

bool study_wrong_use(struct study *s, const char *format, ...) {
    char text[sizeof s->err.text];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    s->wrong_use = true;
    return fail(&s->err, "%s", text);
}

int study_end(struct study *s, bool ok) {
    if (ok && s->table_count) note_validation(&s->tables[0].table);
    for (int i = 0; ok && i < s->table_count; i++)
        if (s->tables[i].table.out_of_memory)
            ok = fail(&s->err, "out of memory for the table%s%s", s->tables[i].name ? " " : "",
                      s->tables[i].name ? s->tables[i].name : "");
    ok = ok && save(s);
    ok = file_set_end(s->stamp, &s->provenance, s->stamp_options, ok, &s->err);
    ok = ok && (s->json ? print_json(s) : show(s));
    for (int i = 0; i < s->table_count; i++) table_free(&s->tables[i].table);
    dataset_free(&s->data);
    if (ok) return EXIT_DONE;
    return s->wrong_use ? usage_error(&s->options, "%s", s->err.text) : report_error(&s->err);
}

/* ---- commands of one table -------------------------------------------------------------------------------------- */

void note_written(struct table *t, const char *path) {
    table_note(t, "Written to %s.", strcmp(path, "-") == 0 ? "standard output" : path);
}

int report_error(const struct error *err) {
    fprintf(stderr, "mnistq: %s\n", err->text);
    return EXIT_FAILED;
}

int report_table(struct table *t, const struct provenance *p, bool json, bool ok, struct error *err) {
    struct provenance own = {0};
    provenance_command(&own);
    if (!p) p = &own;
    if (ok && json) ok = table_print_json(t, p, stdout, err);
    else if (ok) ok = table_print(t, stdout, terminal_width(stdout), err);
    table_free(t);
    return ok ? EXIT_DONE : report_error(err);
}
