#include "cli/options.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/progress.h"
#include "base/text.h"
#include "data/dataset.h"

static const char *const everywhere[] = {"help", "quiet", "kernel", "keep-blas-core"}; /* main.c takes them */
static bool quiet;

static void add(struct options *o, struct option_entry entry) {
    if (o->count == OPTIONS_MAX) abort(); /* a programmer's error */
    o->entries[o->count++] = entry;
}

void option_flag(struct options *o, const char *name, bool *value, const char *help) {
    add(o, (struct option_entry){.name = name, .help = help, .type = OPTION_FLAG, .value = value});
}

void option_int(struct options *o, const char *name, int *value, int lo, int hi, const char *help) {
    add(o, (struct option_entry){name, "N", help, OPTION_INT, value, lo, hi, NULL});
}

void option_seed(struct options *o, const char *name, uint64_t *value, const char *help) {
    add(o, (struct option_entry){name, "N", help, OPTION_SEED, value, 0, 0, NULL});
}

void option_real(struct options *o, const char *name, double *value, double lo, double hi, const char *help) {
    add(o, (struct option_entry){name, "X", help, OPTION_REAL, value, lo, hi, NULL});
}

void option_text(struct options *o, const char *name, const char *argument, const char **value, const char *help) {
    add(o, (struct option_entry){name, argument, help, OPTION_TEXT, value, 0, 0, NULL});
}

void option_out(struct options *o, const char *name, const char *argument, const char **value, const char *help) {
    add(o, (struct option_entry){name, argument, help, OPTION_OUT, value, 0, 0, NULL});
}

void option_out_bytes(struct options *o, const char *name, const char *argument, const char **value, const char *help) {
    add(o, (struct option_entry){name, argument, help, OPTION_OUT, value, 0, 1, NULL}); /* hi: whether it is no text */
}

void option_choice(struct options *o, const char *name, int *value, const char *const *choices, int count,
                   const char *help) {
    add(o, (struct option_entry){name, NULL, help, OPTION_CHOICE, value, 0, count - 1, choices});
}

void option_ints(struct options *o, const char *name, struct int_list *value, int lo, int hi, const char *help) {
    add(o, (struct option_entry){name, "N,N,...", help, OPTION_INTS, value, lo, hi, NULL});
}

static int memory_mib = DATASET_DEFAULT_MIB;

void option_data(struct options *o, const char **source, const char *help) {
    o->data = source;
    option_text(o, "data", "DIR|digits", source, help);
    option_int(o, "memory-limit", &memory_mib, 1, DATASET_MOST_MIB, "MiB that its images and labels may take");
}

void option_results(struct options *o, const char **results, const char *help) {
    o->results = results;
    option_text(o, "results", "DIR", results, help);
}

int usage_error(const struct options *o, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    text_vformat(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "mnistq: %s: %s (see `mnistq %s --help`)\n", o->command, text, o->command);
    return EXIT_USAGE;
}

int no_such(const struct options *o, const char *option, const char *kind, const char *typed, const char *meant,
            const char *where) {
    return usage_error(o, meant ? "%s: there is no %s \"%s\"; did you mean %s? %s" : "%s: there is no %s \"%s\"%s; %s",
                       option, kind, typed, meant ? meant : "", where);
}

/* ---- help ------------------------------------------------------------------------------------------------------- */

static void print_choices(FILE *stream, const struct option_entry *e, const char *between) {
    for (int i = 0; i <= (int)e->hi; i++) fprintf(stream, "%s%s", i ? between : "", e->choices[i]);
}

static void print_value(const struct option_entry *e, FILE *stream) {
    switch (e->type) {
    case OPTION_FLAG: fprintf(stream, "%s", *(bool *)e->value ? "yes" : "no"); return;
    case OPTION_INT: fprintf(stream, "%d", *(int *)e->value); return;
    case OPTION_SEED: fprintf(stream, "%llu", (unsigned long long)*(uint64_t *)e->value); return;
    case OPTION_REAL: fprintf(stream, "%g", *(double *)e->value); return;
    case OPTION_CHOICE: fprintf(stream, "%s", e->choices[*(int *)e->value]); return;
    case OPTION_OUT:
    case OPTION_TEXT: fprintf(stream, "%s", *(const char **)e->value ? *(const char **)e->value : ""); return;
    case OPTION_INTS: {
        const struct int_list *list = e->value;
        for (int i = 0; i < list->count; i++) fprintf(stream, "%s%d", i ? "," : "", list->values[i]);
    }
    }
}

static void print_default(const struct options *o, const struct option_entry *e, FILE *stream) {
    bool text = e->type == OPTION_OUT || e->type == OPTION_TEXT;
    if (text && e->value == (void *)o->results && !*(const char **)e->value)
        fprintf(stream, " [results/NAME, NAME the last part of --data]");
    if (e->type == OPTION_FLAG || (text && !*(const char **)e->value)) return;
    if (e->type == OPTION_INT && *(int *)e->value < e->lo) return; /* the help says what such a default stands for */
    fprintf(stream, " [");
    print_value(e, stream);
    fprintf(stream, "]");
}

void options_values(const struct options *o, int first, bool given_only, char *text, size_t size) {
    FILE *stream = fmemopen(text, size, "w");
    for (int i = first; stream && i < o->count; i++) {
        if (given_only && !o->given[i]) continue;
        fprintf(stream, "--%s ", o->entries[i].name);
        print_value(&o->entries[i], stream);
        fprintf(stream, "; ");
    }
    if (stream) fputc(0, stream), fclose(stream);
}

static void print_help(const struct options *o) {
    int width = terminal_width(stdout);
    printf("usage: mnistq %s [options]%s%s\n\n", o->command, *o->arguments ? " " : "", o->arguments);
    char what[1024];
    snprintf(what, sizeof what, "%s", o->what);
    for (char *c = what; (c = strchr(c, '\n'));) *c = ' ';
    print_wrapped(stdout, what, 0, width);
    printf("\n");
    for (int i = 0; i < o->count; i++) {
        const struct option_entry *e = &o->entries[i];
        char text[1024] = "";
        FILE *stream = fmemopen(text, sizeof text, "w");
        if (stream) {
            fprintf(stream, "%s", e->help);
            print_default(o, e, stream);
            fclose(stream);
        }
        mask_control_characters(text);
        printf("  --%s%s%s", e->name, e->type == OPTION_FLAG ? "" : " ", e->argument ? e->argument : "");
        if (e->type == OPTION_CHOICE) print_choices(stdout, e, "|");
        printf("\n");
        print_wrapped(stdout, text, 8, width);
    }
    printf("  --help\n        this text; [..] are the defaults\n");
    for (const char *line = o->examples; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        printf("%s  %.*s\n", line == o->examples ? "\nExamples:\n" : "", (int)strcspn(line, "\n"), line);
}

/* ---- values: a number begins with a digit, or a minus where it may be negative ------------------------------------
 */

static bool read_int(const char *text, const char *end, double lo, double hi, int *value) {
    char *stop;
    errno = 0;
    long n = strtol(text, &stop, 10);
    if (!strchr("-0123456789", *text) || stop == text || stop != end || errno || n < lo || n > hi) return false;
    *value = (int)n;
    return true;
}

static bool read_ints(const char *text, const struct option_entry *e) {
    struct int_list list = {0};
    for (;;) {
        const char *comma = strchr(text, ','), *end = comma ? comma : text + strlen(text);
        if (list.count == OPTIONS_MAX_INTS || !read_int(text, end, e->lo, e->hi, &list.values[list.count++]))
            return false;
        if (!comma) break;
        text = comma + 1;
    }
    *(struct int_list *)e->value = list;
    return true;
}

static bool read_seed(const char *text, uint64_t *value) {
    char *stop;
    errno = 0;
    unsigned long long n = strtoull(text, &stop, 10);
    if (!strchr("0123456789", *text) || stop == text || *stop || errno) return false;
    *value = n;
    return true;
}

static bool read_real(const char *text, const struct option_entry *e) {
    char *stop;
    double x = strtod(text, &stop);
    if (text[strspn(text, "-.0123456789eE")] || stop == text || *stop || !(x >= e->lo && x <= e->hi)) return false;
    *(double *)e->value = x;
    return true;
}

static bool read_choice(const char *text, const struct option_entry *e) {
    for (int i = 0; i <= (int)e->hi; i++)
        if (strcmp(text, e->choices[i]) == 0) {
            *(int *)e->value = i;
            return true;
        }
    return false;
}

static int bad_value(const struct options *o, const struct option_entry *e, const char *text) {
    fprintf(stderr, "mnistq: %s: --%s: expected ", o->command, e->name);
    if (e->type == OPTION_INT) fprintf(stderr, "a whole number from %.0f to %.0f", e->lo, e->hi);
    if (e->type == OPTION_INTS)
        fprintf(stderr, "1 to %d whole numbers from %.0f to %.0f, such as 256,256", OPTIONS_MAX_INTS, e->lo, e->hi);
    if (e->type == OPTION_SEED) fprintf(stderr, "a whole number from 0 to 2^64 - 1");
    if (e->type == OPTION_REAL) fprintf(stderr, "a number from %g to %g", e->lo, e->hi);
    if (e->type == OPTION_CHOICE) print_choices(stderr, e, " or ");
    char found[256];
    text_format(found, sizeof found, "%s", text);
    fprintf(stderr, ", found \"%s\"", found);
    const char *meant = NULL;
    for (int i = 0; e->type == OPTION_CHOICE && i <= (int)e->hi; i++) meant = likelier(text, e->choices[i], meant);
    fprintf(stderr, meant ? "; did you mean %s?\n" : "\n", meant);
    return EXIT_USAGE;
}

static int take_value(const struct options *o, const struct option_entry *e, const char *text) {
    bool ok = true;
    switch (e->type) {
    case OPTION_FLAG: *(bool *)e->value = true; break;
    case OPTION_INT: ok = read_int(text, text + strlen(text), e->lo, e->hi, e->value); break;
    case OPTION_SEED: ok = read_seed(text, e->value); break;
    case OPTION_REAL: ok = read_real(text, e); break;
    case OPTION_OUT:
    case OPTION_TEXT: *(const char **)e->value = text; break;
    case OPTION_CHOICE: ok = read_choice(text, e); break;
    case OPTION_INTS: ok = read_ints(text, e); break;
    }
    return ok ? OPTIONS_GO_ON : bad_value(o, e, text);
}

/* "data/mnist/" -> "results/mnist" */
static void derive_results(struct options *o) {
    const char *source = *o->data, *end = source + strlen(source);
    while (end > source && end[-1] == '/') end--;
    const char *start = end;
    while (start > source && start[-1] != '/') start--;
    int length = (int)(end - start);
    if (length == 0 || length > 250 || start[0] == '.') start = "data", length = 4; /* "/", ".", ".." name nothing */
    snprintf(o->default_results, sizeof o->default_results, "results/%.*s", length, start);
    *o->results = o->default_results;
}

/* ---- the command line ------------------------------------------------------------------------------------------- */

static int unknown_option(const struct options *o, const char *word) {
    char name[64];
    const char *meant = NULL;
    int beginnings = 0;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word + 2, "="), word + 2);
    for (int i = 0; i < o->count; i++) {
        meant = likelier(name, o->entries[i].name, meant);
        beginnings += strncmp(name, o->entries[i].name, strlen(name)) == 0;
    }
    for (size_t i = 0; i < sizeof everywhere / sizeof everywhere[0]; i++) meant = likelier(name, everywhere[i], meant);
    if (beginnings > 1) return usage_error(o, "--%s is the beginning of %d options", name, beginnings);
    return meant ? usage_error(o, "unknown option --%s; did you mean --%s?", name, meant)
                 : usage_error(o, "unknown option %s", word);
}

void options_quiet(void) {
    quiet = true;
    progress_silence();
}

/* A file that is written to "-" has standard output for itself; what is printed goes to standard error, or nowhere. */
static int arrange_output(const struct options *o) {
    int files = 0;
    bool json = false;
    for (const struct option_entry *e = o->entries; e < o->entries + o->count; e++) {
        const char *text = e->type == OPTION_OUT ? *(const char **)e->value : NULL;
        bool standard = text && strcmp(text, "-") == 0;
        files += standard;
        if (standard && e->hi > 0 && isatty(STDOUT_FILENO))
            return usage_error(o, "--%s -: a terminal cannot show such a file; send it on, as in > FILE", e->name);
        json |= e->type == OPTION_FLAG && strcmp(e->name, "json") == 0 && *(bool *)e->value;
    }
    if (files > 1) return usage_error(o, "only one file can go to standard output");
    if (files) {
        out_file_standard = dup(STDOUT_FILENO);
        dup2(STDERR_FILENO, STDOUT_FILENO);
    }
    if (quiet && !json) {
        int nowhere = open("/dev/null", O_WRONLY);
        dup2(nowhere, STDOUT_FILENO);
        close(nowhere);
    }
    return OPTIONS_GO_ON;
}

/* All options, then "--" and all arguments in their order, so that getopt takes no number for an option. argv has room
 * for one word more; returns how many there are. */
static int arguments_last(const struct options *o, int argc, char **argv) {
    char *arguments[256];
    int count = 0, kept = 0;
    bool is_value = false;
    for (int i = 0; i < argc; i++) {
        bool is_option = i == 0 || (argv[i][0] == '-' && !strchr(".0123456789", argv[i][1]));
        if (is_option || is_value) argv[kept++] = argv[i];
        else arguments[count++] = argv[i];
        is_value = !is_value && is_option && i > 0 && !strchr(argv[i], '=');
        for (int k = 0; is_value && k < o->count; k++)
            is_value = o->entries[k].type != OPTION_FLAG || strcmp(argv[i] + 2, o->entries[k].name) != 0;
    }
    argv[kept++] = "--";
    for (int i = 0; i < count; i++) argv[kept++] = arguments[i];
    return kept;
}

int options_parse(struct options *o, int argc, char **argv, int min_files, int max_files) {
    static char *words[256]; /* o->files lie in it */
    if (o->numbers && argc < 255) {
        memcpy(words, argv, (size_t)argc * sizeof *argv);
        argc = arguments_last(o, argc, argv = words);
    }
    struct option table[OPTIONS_MAX + 2] = {{0}};
    for (int i = 0; i < o->count; i++)
        table[i] = (struct option){o->entries[i].name,
                                   o->entries[i].type == OPTION_FLAG ? no_argument : required_argument, NULL, i + 1000};
    table[o->count] = (struct option){"help", no_argument, NULL, 999};
    opterr = 0;
    optind = 1;
    for (int found; (found = getopt_long(argc, argv, ":h", table, NULL)) != -1;) {
        if (found == 999 || found == 'h') {
            print_help(o);
            return EXIT_DONE;
        }
        if (found == ':') return usage_error(o, "%s needs a value", argv[optind - 1]);
        if (found == '?' && optopt > 0 && optopt < 256) return usage_error(o, "unknown option -%c", optopt);
        if (found == '?' && optopt) return usage_error(o, "%s: takes no value", argv[optind - 1]);
        if (found == '?') return unknown_option(o, argv[optind - 1]);
        int status = take_value(o, &o->entries[found - 1000], optarg);
        o->given[found - 1000] = true;
        if (status != OPTIONS_GO_ON) return status;
    }
    if (o->data && *o->data && !**o->data) return usage_error(o, "--data: expected a folder or \"digits\", found \"\"");
    if (o->data) dataset_memory_limit(memory_mib);
    if (o->results && *o->results && !**o->results) return usage_error(o, "--results: expected a folder, found \"\"");
    if (o->results && !*o->results) derive_results(o);
    o->files = argv + optind;
    o->file_count = argc - optind;
    if (o->file_count < min_files) return usage_error(o, "expected %s", o->arguments);
    if (o->file_count > max_files) return usage_error(o, "unexpected argument \"%s\"", o->files[max_files]);
    return arrange_output(o);
}
