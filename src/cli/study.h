/* The frame of every command that writes tables: its options, the folder of results looked at before the long work,
 * data, tables with their provenance, and an end that writes them all or says why not.
 *
 *   struct study s;
 *   study_init(&s, argv[0], "MODEL", "What it does.");
 *   option_int(&s.options, ...);
 *   int status = study_parse(&s, argc, argv, 1, 1);
 *   if (status != OPTIONS_GO_ON) return status;
 *   struct table *t = study_table(&s, "sweep", "The exercise over several seeds", "seed fp32_percent ...");
 *   return study_end(&s, study_begin(&s) && run(&s, t));
 *
 * Between study_init and study_parse a command may leave out what it does not need: s.source = NULL where it can do
 * without data, s.test_only where it needs no training images, study_shows where it only prints. */
#ifndef CLI_STUDY_H
#define CLI_STUDY_H

#include "cli/fileset.h"
#include "cli/options.h"
#include "cli/provenance.h"
#include "model/evaluation.h"

enum { STUDY_MAX_TABLES = 16 };

struct study {
    struct options options;       /* with --data, --results and --json, which every study has */
    const char *source, *results; /* NULL: no data, no files */
    bool json;
    bool test_only;      /* load the training images only where files will hold the SHA-256 of them all */
    bool wrong_use;      /* s->err says what is wrong with the command line, not with a file */
    struct dataset data; /* from study_begin on */
    struct provenance provenance;
    int table_count;
    struct study_table {
        const char *name; /* of its files, without .md and .csv; NULL: it has none */
        struct table table;
        bool shown;       /* printed at the end; the first one is, the others where the study says so */
        size_t most_rows; /* that the terminal shows; 0: all */
    } tables[STUDY_MAX_TABLES];
    const char *stamp; /* of the set of files, see cli/fileset.h; NULL: none */
    char stamp_options[512];
    char written[1024]; /* names of the files beside the tables, ", " between */
    struct error err;
};

/* what: one or two sentences for --help, those of a struct options. */
void study_init(struct study *s, const char *command, const char *arguments, const char *what);

/* For a command that prints what it finds on test images: without --results it writes no file, and it needs no training
 * images. Sets test_only. results_help: of --results. */
void study_shows(struct study *s, const char *results_help);

/* As options_parse; the command line then stands in the provenance. Facts such as seeds are added behind it. Completes
 * the results where a killed run left them half moved. */
int study_parse(struct study *s, int argc, char **argv, int min_files, int max_files);

/* Checks that --results can be written, loads --data, adds both the data and the machine to the provenance. False with
 * s->err set: study_end says why. */
bool study_begin(struct study *s);

/* One more table, saved as NAME.md and NAME.csv by study_end when it has rows or notes; NULL: a view of others, for the
 * terminal alone. title, name: by reference. */
struct table *study_table(struct study *s, const char *name, const char *title, const char *columns);

/* Where to write RESULTS/NAME, a file beside the tables or below them ("models/fp32.safetensors"): it joins the set of
 * files that study_end moves to RESULTS with the tables, and its last line of output names it, or the folder. Valid
 * until the next call. NULL with s->err set when it cannot be written there. */
const char *study_path(struct study *s, const char *name);

/* A file that another option of the command names: told there as well where it is in RESULTS. */
void study_wrote(struct study *s, const char *path);

/* Saves a table, with facts of its own, as NAME.md and NAME.csv in that set; one that is empty is removed there: an
 * older one of its name does not belong to this run. False with s->err set. */
bool study_save_table(struct study *s, const struct table *t, const struct provenance *p, const char *name);

/* Like fail(&s->err, ...), for a command line that does not go with what the files hold: study_end returns 2. */
bool study_wrong_use(struct study *s, const char *format, ...) PRINTF_LIKE(2, 3);

/* ok: saves the tables, prints those shown and what was written; as JSON the first table, the others shown under
 * "tables" in it. Else prints s->err. Frees everything; returns the exit status. */
int study_end(struct study *s, bool ok);

/* The end of a command without the frame, which has one table: prints it, as JSON where asked, and frees it; or reports
 * the error when ok is false. p may be NULL: the command alone. Returns the exit status. */
int report_table(struct table *t, const struct provenance *p, bool json, bool ok, struct error *err);

/* The note that says which file a command wrote. */
void note_written(struct table *t, const char *path);

/* "mnistq: TEXT" on standard error; returns EXIT_FAILED. */
int report_error(const struct error *err);

#endif
