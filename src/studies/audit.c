/* mnistq audit: every checkable claim of the lesson (claims.tsv) beside what stands in the tables of the other studies.
 * It runs the studies whose tables are not there, reads them, computes and judges. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/recipe.h"
#include "cli/restart.h"
#include "cli/study.h"
#include "studies/audit.h"

enum { MAX_TABLES = 32, MAX_OPTIONS = 32, PATH = 4200 };

struct audit {
    struct tables tables; /* what formulas ask; first, so that find_table gets at the rest */
    struct study study;
    struct training_recipe training;
    struct quantization_recipe quantization;
    bool no_run, has_begun;
    bool stopped; /* a study failed: study.err says why */
    int seeds;
    char options[MAX_OPTIONS][128]; /* those typed for the studies: "--hidden=32" */
    int option_count;
    struct csv read[MAX_TABLES]; /* [read_count] */
    char names[MAX_TABLES][128]; /* of these tables */
    bool used[MAX_TABLES];       /* by the claim at hand */
    int read_count;
};

/* ---- where tables come from -------------------------------------------------------------------------------------- */

enum { TRAINS = 1, NEEDS_EXERCISE = 2 };

/* Who writes which tables: a command with its words, FP32 and INT8 being the exercise's models; or the audit itself. */
static const struct source {
    const char *tables; /* a space before and behind each */
    const char *words;
    int (*command)(int argc, char **argv);
    bool (*fill)(struct table *t, const char *folder, const struct dataset *data, struct error *err);
    int flags;
} sources[] = {
    {" arithmetic ", "", NULL, audit_arithmetic, 0},
    {" networks ", "", NULL, audit_networks, NEEDS_EXERCISE},
    {" exercise layers confusion ", "exercise", command_exercise, NULL, TRAINS},
    {" ladder ladder-seeds ", "ladder --seeds SEEDS", command_ladder, NULL, TRAINS},
    {" sweep ", "sweep --seeds SEEDS", command_sweep, NULL, TRAINS},
    {" pitfalls pitfalls-outlier pitfalls-calibration pitfalls-accumulator pitfalls-symmetric pitfalls-quiet ",
     "pitfalls", command_pitfalls, NULL, TRAINS},
    {" compare compare-layers compare-changes waterfall sensitivity ", "compare FP32 INT8 --sensitivity",
     command_compare, NULL, NEEDS_EXERCISE},
    {" trace ", "trace INT8 --fp32 FP32", command_trace, NULL, NEEDS_EXERCISE},
    {" bench scaling ", "bench FP32 INT8 --scaling", command_bench, NULL, NEEDS_EXERCISE},
    {" histogram ", "inspect INT8 --histogram --fp32 FP32", command_inspect, NULL, NEEDS_EXERCISE},
};

static const struct source *source_of(const char *table) {
    char word[140];
    snprintf(word, sizeof word, " %s ", table);
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++)
        if (strstr(sources[i].tables, word)) return &sources[i];
    return NULL;
}

/* RESULTS/NAMEENDING */
static char *in_results(const struct audit *a, const char *name, const char *ending, char path[PATH]) {
    snprintf(path, PATH, "%.4000s/%.100s%s", a->study.results, name, ending);
    return path;
}

/* Runs a command as main does, but keeps what it prints from standard output. */
static bool run_command(struct audit *a, const struct source *s) {
    char words[160], fp32[PATH], int8[PATH], seeds[16];
    char *argv[16 + MAX_OPTIONS] = {"mnistq"};
    int argc = 1;
    snprintf(words, sizeof words, "%s", s->words);
    snprintf(seeds, sizeof seeds, "%d", a->seeds);
    for (char *rest, *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        argv[argc++] = strcmp(word, "FP32") == 0 ? in_results(a, "models/fp32", ".safetensors", fp32)
            : strcmp(word, "INT8") == 0          ? in_results(a, "models/int8-per-channel", ".safetensors", int8)
            : strcmp(word, "SEEDS") == 0         ? seeds
                                                 : word;
    for (int i = 0; (s->flags & TRAINS) && i < a->option_count; i++) argv[argc++] = a->options[i];
    char *ends[] = {"--data", (char *)a->study.source, "--results", (char *)a->study.results};
    for (int i = 0; i < 4; i++) argv[argc++] = ends[i];
    struct provenance typed = {0};
    provenance_typed(argc, argv);
    provenance_command(&typed);
    fprintf(stderr, "%s\n", typed.facts[0].value);
    fflush(stdout);
    int printed = dup(STDOUT_FILENO), nowhere = open("/dev/null", O_WRONLY);
    if (printed < 0 || nowhere < 0) return fail(&a->study.err, "audit: standard output cannot be set aside");
    dup2(nowhere, STDOUT_FILENO);
    int status = s->command(argc - 1, argv + 1);
    fflush(stdout);
    dup2(printed, STDOUT_FILENO);
    close(printed);
    close(nowhere);
    return status == EXIT_DONE || fail(&a->study.err, "audit: stopped, since %s failed", argv[1]);
}

/* Writes a table of the audit's own. */
static bool run_fill(struct audit *a, const struct source *s, const char *name) {
    struct provenance p = {.facts = {a->study.provenance.facts[0]}, .count = 1};
    struct table t;
    fprintf(stderr, "computed by the audit itself\n");
    table_init(&t, "Numbers of the audit's own", "name value");
    table_note(
        &t,
        "What the claims of the audit are computed from where no study has the number: see src/studies/claims.tsv.");
    if (s->flags & NEEDS_EXERCISE) provenance_dataset(&p, &a->study.data);
    provenance_machine(&p);
    bool ok = file_set_begin(a->study.results, &a->study.err) &&
        s->fill(&t, a->study.results, &a->study.data, &a->study.err) && study_save_table(&a->study, &t, &p, name);
    ok = file_set_end(NULL, &p, NULL, ok, &a->study.err);
    table_free(&t);
    return ok;
}

/* Whether the table was made with the options that were typed for the studies; in all others it may differ. */
static bool has_options(const struct audit *a, const struct csv *c) {
    char command[1100], option[160];
    snprintf(command, sizeof command, "%s ", csv_fact(c, "command"));
    for (char *at = command; (at = strchr(at, '='));) *at = ' ';
    for (int i = 0; i < a->option_count; i++) {
        snprintf(option, sizeof option, " %s ", a->options[i]);
        for (char *at = option; (at = strchr(at, '='));) *at = ' ';
        if (!strstr(command, option)) return false;
    }
    return true;
}

/* Why a table has to be made, or made again; NULL where it can be read as it is. */
static const char *why_run(const struct audit *a, const struct source *s, const char *path) {
    struct stat table, other;
    char exercise[PATH];
    struct csv c;
    struct error err;
    if (stat(path, &table) != 0) return "is missing";
    if (stat(program_path(exercise, sizeof exercise), &other) == 0 && table.st_mtime < other.st_mtime)
        return "is older than the program";
    if ((s->flags & NEEDS_EXERCISE) && stat(in_results(a, "exercise", ".csv", exercise), &other) == 0 &&
        table.st_mtime < other.st_mtime)
        return "is older than exercise.csv";
    const char *why = NULL;
    if (!csv_read(path, &c, &err)) why = "cannot be read";
    else if (*csv_fact(&c, "data SHA-256") && strcmp(csv_fact(&c, "data SHA-256"), a->study.data.sha256) != 0)
        why = "is of other data";
    else if ((s->flags & TRAINS) && !has_options(a, &c)) why = "was made with other options";
    csv_free(&c);
    return why;
}

/* The folder of results is looked at and the data are read, before the first study that needs them. */
static bool begin(struct audit *a) {
    if (!a->has_begun)
        a->has_begun = study_begin(&a->study) &&
            recipes_fit(&a->study.data, &a->training, &a->quantization, &a->study.err);
    return a->has_begun;
}

/* Makes sure that the file of a table is there and up to date. */
static bool provide(struct audit *a, const char *name, const char *path) {
    const struct source *s = source_of(name);
    if (!s) return true; /* a file that someone put there */
    if ((s->flags & NEEDS_EXERCISE) && !a->tables.find(&a->tables, "exercise", &a->study.err)) return false;
    if (s->flags && !begin(a)) return false;
    const char *why = why_run(a, s, path);
    if (!why) return true;
    text_plain(path, stderr);
    fprintf(stderr, " %s: ", why);
    return s->command ? run_command(a, s) : run_fill(a, s, name);
}

static const struct csv *find_table(struct tables *tables, const char *name, struct error *err) {
    struct audit *a = (struct audit *)tables;
    char path[PATH];
    int i = 0;
    in_results(a, name, ".csv", path);
    while (i < a->read_count && strcmp(a->names[i], name) != 0) i++;
    if (i == a->read_count) {
        a->stopped = a->stopped || (!a->no_run && !provide(a, name, path));
        i = a->read_count; /* provide may have read another */
        if (i == MAX_TABLES) fail(err, "over %d tables", i);
        if (a->stopped || i == MAX_TABLES || !csv_read(path, &a->read[i], err)) return NULL;
        snprintf(a->names[i], sizeof a->names[i], "%s", name);
        a->read_count++;
    }
    a->used[i] = true;
    return &a->read[i];
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

/* The commands that wrote the tables which the claim at hand was read from, "; " between; those without data have none.
 */
static void command_text(const struct audit *a, const char *id, char *text, size_t size) {
    *text = 0;
    for (int i = 0; i < a->read_count; i++) {
        const char *command = csv_fact(&a->read[i], "command");
        size_t used = strlen(text);
        if (a->used[i] && *csv_fact(&a->read[i], "data") && !strstr(text, command))
            snprintf(text + used, size - used, "%s%s", used ? "; " : "", command);
    }
    if (!*text) snprintf(text, size, "mnistq audit --only %s", id);
}

static void add_row(struct table *t, const struct csv *claims, size_t row, const struct finding *f,
                    const char *command) {
    char tolerance[128];
    claim_tolerance(claims, row, tolerance, sizeof tolerance);
    table_row(t, "%s | %s | %s | %s | %s | %s | %s | %.6g | %s | %s", csv_cell(claims, row, CLAIM_ID),
              csv_cell(claims, row, CLAIM_PART), csv_cell(claims, row, CLAIM_CLAIM),
              csv_cell(claims, row, CLAIM_CLAIMED), f->text, verdict_names[f->verdict],
              csv_cell(claims, row, CLAIM_WHY), f->value, tolerance, command);
}

enum { COMMAND = 2048 };

/* All claims from first to last. Error: a study that failed. */
static bool judge_all(struct audit *a, const struct csv *claims, size_t first, size_t last, struct table *t) {
    struct finding *found = calloc(claims->rows + 1, sizeof *found);
    char(*commands)[COMMAND] = calloc(claims->rows + 1, sizeof *commands);
    size_t counts[VERDICTS] = {0};
    bool ok = (found && commands) || fail(&a->study.err, "audit: out of memory");
    for (size_t i = first; ok && i <= last; i++) {
        memset(a->used, 0, sizeof a->used);
        errno = 0; /* short memory is no finding */
        claim_judge(claims, i, &a->tables, &found[i]);
        if (errno == ENOMEM && !a->stopped) a->stopped = !fail(&a->study.err, "audit: out of memory");
        command_text(a, csv_cell(claims, i, CLAIM_ID), commands[i], COMMAND);
        counts[found[i].verdict]++;
        ok = !a->stopped;
    }
    /* What does not reproduce comes first, what was not measured or not tested next, then the rest in the lesson's
     * order. */
    errno = 0;
    for (int turn = NOT_REPRODUCED; ok && turn <= REPRODUCED; turn++)
        for (size_t i = first; i <= last; i++)
            if (turn == (found[i].verdict < REPRODUCED ? (int)found[i].verdict : REPRODUCED))
                add_row(t, claims, i, &found[i], commands[i]);
    if (ok && errno == ENOMEM) ok = fail(&a->study.err, "audit: out of memory");
    if (first == last) table_note(t, "%s", csv_cell(claims, first, CLAIM_WHY));
    else {
        table_note(
            t,
            "%zu claims: %zu do not reproduce, %zu reproduced with a difference, %zu reproduced, %zu not tested here, "
            "%zu not measured.",
            last + 1 - first, counts[NOT_REPRODUCED], counts[DIFFERENTLY], counts[REPRODUCED], counts[NOT_TESTED],
            counts[NOT_MEASURED]);
        table_note(
            t,
            "What does not reproduce stands first. Claims that begin with \"MNIST:\" are about MNIST, whatever the "
            "data here. Measured within the tolerance is reproduced, within the near one with a difference. Not tested "
            "here: nothing in this program does what the claim is about. Not measured: the table is missing.");
        a->study.tables[0].most_rows = counts[NOT_REPRODUCED] ? counts[NOT_REPRODUCED] : 10; /* on the terminal */
    }
    free(found);
    free(commands);
    return ok;
}

/* Keeps the options from entries[first] on as they were typed, for the studies: "--hidden=32". getopt takes the
 * beginning of a name for the name. */
static void keep_options(struct audit *a, int first, int argc, char **argv) {
    const struct options *o = &a->study.options;
    for (int i = 1; i < argc; i++) {
        size_t length = strcspn(argv[i], "=");
        for (int k = first; length > 2 && k < o->count && a->option_count < MAX_OPTIONS; k++)
            if (strncmp(argv[i], "--", 2) == 0 && strncmp(argv[i] + 2, o->entries[k].name, length - 2) == 0)
                snprintf(a->options[a->option_count++], sizeof a->options[0], "--%s=%s", o->entries[k].name,
                         argv[i][length]    ? argv[i] + length + 1
                             : i + 1 < argc ? argv[i + 1]
                                            : "");
    }
}

int command_audit(int argc, char **argv) {
    static struct audit a; /* zero; the studies that it runs have the stack to themselves */
    struct study *s = &a.study;
    struct csv claims;
    const char *only = NULL;
    a.tables.find = find_table;
    a.training = training_defaults();
    a.quantization = quantization_defaults();
    a.seeds = 5;
    study_init(s, argv[0], "",
               "Every checkable claim of the lesson beside the number in the tables of the other studies, with a\n"
               "verdict that follows from the two. Runs the studies whose tables are missing in --results, older\n"
               "than the program, of other data, or made with other values of the options given here.");
    s->options.examples = "mnistq audit\n"
                          "mnistq audit --data digits";
    option_text(&s->options, "only", "ID", &only, "look at this claim alone and write no table");
    option_flag(&s->options, "no-run", &a.no_run, "only read: what no table has is not measured");
    option_int(&s->options, "seeds", &a.seeds, 1, 1000, "networks of ladder and sweep, where they have to run");
    int own = s->options.count;
    option_int(&s->options, "calibration", &a.quantization.calibration, 1, 1000000, "training images to calibrate on");
    training_options(&s->options, &a.training);
    keep_options(&a, own, argc, argv);
    int status = study_parse(s, argc, argv, 0, 0);
    if (status != OPTIONS_GO_ON) return status;
    struct table *t = study_table(s, "audit", "The audit: what the lesson says, and what comes out",
                                  "id part- claim claimed= ours= verdict explanation=- measured- tolerance=- command-");
    size_t row = 0;
    bool ok = claims_read(&claims, &s->err);
    while (ok && only && row < claims.rows && strcmp(only, csv_cell(&claims, row, CLAIM_ID)) != 0) row++;
    if (ok && only && row == claims.rows) {
        const char *meant = NULL;
        for (size_t i = 0; i < claims.rows; i++) meant = likelier(only, csv_cell(&claims, i, CLAIM_ID), meant);
        ok = study_wrong_use(s, "--only: there is no claim \"%s\"%s%s%s", only, meant ? "; did you mean " : "",
                             meant ? meant : "", meant ? "?" : "");
    }
    ok = ok && (only || a.no_run || begin(&a)) && judge_all(&a, &claims, row, only ? row : claims.rows - 1, t);
    if (only) s->results = NULL; /* no table is written */
    status = study_end(s, ok);
    for (int i = 0; i < a.read_count; i++) csv_free(&a.read[i]);
    csv_free(&claims);
    return status;
}
