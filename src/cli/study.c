#include "cli/study.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"

void study_init(struct study *s, const char *command, const char *arguments, const char *what) {
    *s = (struct study){.options = {.command = command, .arguments = arguments, .what = what}, .source = "data/mnist"};
    option_data(&s->options, &s->source, "folder with the four IDX files, or the built-in digits");
    option_results(&s->options, &s->results, "folder for the tables");
    option_flag(&s->options, "json", &s->json, "print the table as JSON");
}

int study_parse(struct study *s, int argc, char **argv, int min_files, int max_files) {
    int status = options_parse(&s->options, argc, argv, min_files, max_files);
    provenance_command(&s->provenance);
    return status;
}

bool study_begin(struct study *s) {
    if (!folder_check(s->results, &s->err) || !dataset_load(s->source, &s->data, &s->err)) return false;
    provenance_dataset(&s->provenance, &s->data);
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

static void note_written(struct study *s, const char *name) {
    size_t used = strlen(s->written);
    snprintf(s->written + used, sizeof s->written - used, "%s%s", used ? ", " : "", name);
}

const char *study_path(struct study *s, const char *name) {
    if (snprintf(s->path, sizeof s->path, "%s/%s", s->results, name) >= (int)sizeof s->path) {
        fail(&s->err, "%.60s...: the name is too long", s->results);
        return NULL;
    }
    if (!folder_create(s->results, &s->err)) return NULL;
    note_written(s, name);
    return s->path;
}

static bool is_empty(const struct study_table *t) {
    return table_row_count(&t->table) + t->table.note_count == 0 && !t->table.out_of_memory;
}

static bool save(struct study *s) {
    for (int i = 0; i < s->table_count; i++)
        if (!is_empty(&s->tables[i]) &&
            !table_save(&s->tables[i].table, &s->provenance, s->results, s->tables[i].name, &s->err))
            return false;
    return true;
}

static void show(const struct study *s) {
    int width = terminal_width(stdout);
    char text[4096];
    size_t used = (size_t)snprintf(text, sizeof text, "Written to %.1500s:", s->results);
    for (int i = 0; i < s->table_count; i++) {
        const struct study_table *t = &s->tables[i];
        if (is_empty(t)) continue;
        if (used < sizeof text) used += (size_t)snprintf(text + used, sizeof text - used, " %s,", t->name);
        if (!t->shown) continue;
        table_print(&t->table, stdout, width);
        fputc('\n', stdout);
    }
    text[strlen(text) - 1] = 0;
    used = strlen(text);
    snprintf(text + used, sizeof text - used, " (.md and .csv)%s%s", *s->written ? ", " : "", s->written);
    print_wrapped(stdout, text, 0, width);
}

int study_end(struct study *s, bool ok) {
    ok = ok && save(s);
    if (ok && s->json) ok = table_print_json(&s->tables[0].table, &s->provenance, stdout, &s->err);
    else if (ok) show(s);
    for (int i = 0; i < s->table_count; i++) table_free(&s->tables[i].table);
    dataset_free(&s->data);
    return ok ? EXIT_DONE : report_error(&s->err);
}
