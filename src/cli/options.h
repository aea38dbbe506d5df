/* Command lines: a list of options, each bound to the variable that holds its default, so that --help shows the
 * defaults as they are. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, OPTIONS_GO_ON = -1 };
enum { OPTIONS_MAX = 32, OPTIONS_MAX_INTS = 15 };

/* A list of whole numbers such as --hidden 256,256. */
struct int_list {
    int count, values[OPTIONS_MAX_INTS];
};

struct options {
    const char *command, *arguments, *what; /* "train", "MODEL", one or two sentences for --help */
    bool numbers;                           /* arguments may be numbers, also below 0: "-0.5" is no option */
    const char *examples;                   /* command lines for --help, '\n' between; or NULL */
    int count;
    struct option_entry {
        const char *name, *argument, *help;
        enum option_type {
            OPTION_FLAG,
            OPTION_INT,
            OPTION_SEED,
            OPTION_REAL,
            OPTION_TEXT,
            OPTION_OUT,
            OPTION_CHOICE,
            OPTION_INTS
        } type;
        void *value; /* bool, int, uint64_t, double, const char * (twice), int, struct int_list */
        double lo, hi;
        const char *const *choices; /* [hi + 1] */
    } entries[OPTIONS_MAX];
    bool given[OPTIONS_MAX]; /* on the command line */
    int file_count;
    char **files;                 /* what is left of the command line */
    const char **data, **results; /* where option_data and option_results put their values, or NULL */
    char default_results[300];    /* made by options_parse, from --data */
};

void option_flag(struct options *o, const char *name, bool *value, const char *help);
void option_int(struct options *o, const char *name, int *value, int lo, int hi, const char *help);
void option_seed(struct options *o, const char *name, uint64_t *value, const char *help);
void option_real(struct options *o, const char *name, double *value, double lo, double hi, const char *help);
void option_text(struct options *o, const char *name, const char *argument, const char **value, const char *help);
/* The name of a file to write, of text or of bytes. When it is "-", the file alone goes to standard output, and what
 * the program prints, to standard error; bytes are refused where that is a terminal. */
void option_out(struct options *o, const char *name, const char *argument, const char **value, const char *help);
void option_out_bytes(struct options *o, const char *name, const char *argument, const char **value, const char *help);
void option_choice(struct options *o, const char *name, int *value, const char *const *choices, int count,
                   const char *help);
void option_ints(struct options *o, const char *name, struct int_list *value, int lo, int hi, const char *help);

/* --data DIR|digits with --memory-limit, and --results DIR for a command that always writes tables: where it is not
 * given, *results becomes results/NAME after the last part of --data, so that no data set's tables land under another's
 * name. */
void option_data(struct options *o, const char **source, const char *help);
void option_results(struct options *o, const char **results, const char *help);

/* Reads argv; argv[0] is the command's name. Returns OPTIONS_GO_ON, or the status to exit with: 0 after --help,
 * 2 after a usage error, which it has printed. */
int options_parse(struct options *o, int argc, char **argv, int min_files, int max_files);

/* "--scheme both; --epochs 1; " and so on: the values of the options from number first on, all or those given. */
void options_values(const struct options *o, int first, bool given_only, char *text, size_t size);

/* --quiet: commands parsed from now on print errors, and what --json asks for, but nothing else. */
void options_quiet(void);

/* Prints "mnistq: COMMAND: TEXT (see `mnistq COMMAND --help`)" on standard error and returns EXIT_USAGE. */
int usage_error(const struct options *o, const char *format, ...);

/* The same for an option whose value is no name of a list: meant is what likelier found, or NULL; where: how to see the
 * list. */
int no_such(const struct options *o, const char *option, const char *kind, const char *typed, const char *meant,
            const char *where);

#endif
