/* mnistq: quantization of a small network on MNIST, from end to end. The subcommands and their dispatch. */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mnistq.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/fileset.h"
#include "cli/limits.h"
#include "cli/options.h"
#include "cli/provenance.h"
#include "cli/restart.h"
#include "nn/fp32.h"
#include "quant/qlinear.h"

static const struct command {
    const char *name, *what;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"train", "train the fp32 network", command_train},
    {"quantize", "calibrate a trained network and convert it to int8", command_quantize},
    {"eval", "accuracy of a model on the test images", command_eval},
    {"predict", "what digit is on a picture", command_predict},
    {"inspect", "what is in a model file, byte by byte", command_inspect},
    {"compare", "two models on the same images, layer by layer and step by step", command_compare},
    {"trace", "one image through the integer engine, every number", command_trace},
    {"exercise", "the whole lesson: train, quantize, compare, write the tables", command_exercise},
    {"sweep", "the exercise over several seeds: mean and spread", command_sweep},
    {"recipe", "which training recipe is best on training images kept aside", command_recipe},
    {"bench", "how fast, and how close to what the machine can do", command_bench},
    {"ladder", "every precision from fp32 to 1 bit, each written to a file and run", command_ladder},
    {"audit", "the lesson's figures and claims beside what comes out here", command_audit},
    {"mixed", "each layer in a format of its own, within a budget of bits", command_mixed},
    {"pitfalls", "each failure that the lesson warns of: provoked, measured, repaired", command_pitfalls},
    {"demo", "the two equations on numbers that one types", command_demo},
    {"export", "a model as C for microcontrollers, as NumPy arrays, ...", command_export},
    {"page", "the lesson as one offline file, in which the engine runs", command_page},
};
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static void print_help(FILE *stream) {
    fprintf(stream, "usage: mnistq COMMAND [options] [FILES]\n\n");
    for (int i = 0; i < COMMAND_COUNT; i++) fprintf(stream, "  %-10s %s\n", commands[i].name, commands[i].what);
    fprintf(stream,
            "\nWith every command:\n"
            "  --quiet           print only errors (and what --json asks for), no progress\n"
            "  --kernel NAME     force an integer kernel (`mnistq inspect --cpu` lists them);\n"
            "                    with one below avx512vnni, bf16 models are decoded to fp32\n"
            "  --keep-blas-core  do not start again with better settings for OpenBLAS and\n"
            "                    OpenMP\n\n"
            "A file called - is standard input where one is read, standard output where\n"
            "one is written (tables then go to standard error). `mnistq help COMMAND` lists\n"
            "options, defaults and examples; `mnistq --version` tells the version.\n");
}

/* Interrupted: no half-written file may stay behind. */
static void on_signal(int number) {
    if (file_set_keeps_signal(number)) return;
    out_file_discard_all();
    file_set_discard();
    signal(number, SIG_DFL);
    raise(number);
}

/* Results lost on their way out (a full disk, a closed pipe) are a failure like any other. */
static int flush_output(int status) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    if (status) return status; /* which has been told, and may have the same cause */
    fprintf(stderr, "mnistq: standard output could not be written\n");
    return 1;
}

/* The options that every command takes, wherever they stand. */
struct everywhere {
    bool keep_blas_core, quiet;
};

/* The fp32 kernel of an integer kernel's instruction set; NULL, the fastest: of AVX-512. */
static const struct fp32_kernel *fp32_kernel_beside(const char *integer) {
    const char *name = strcmp(integer, "avxvnni") == 0 ? "avx2" : integer;
    for (int i = 0; fp32_kernels[i]; i++)
        if (strcmp(fp32_kernels[i]->name, name) == 0 && fp32_kernels[i]->supported()) return fp32_kernels[i];
    return NULL;
}

static bool force_kernel(const char *name) {
    const struct qkernel *kernel = name ? qkernel_find(name) : NULL;
    if (kernel && kernel->supported()) {
        qkernel_force(kernel);
        fp32_kernel_force(fp32_kernel_beside(name));
        return true;
    }
    fprintf(stderr, "mnistq: --kernel: %s; this CPU runs",
            kernel ? "this CPU does not run it" : "no kernel of that name");
    for (int i = 0; qkernels[i]; i++)
        if (qkernels[i]->supported()) fprintf(stderr, " %s", qkernels[i]->name);
    fprintf(stderr, "\n");
    return false;
}

/* Takes these options out of a copy of argv. False, with the usage error told, when one is wrong. */
static bool take_everywhere(int *argc, char ***argv, struct everywhere *found) {
    static char **rest; /* lives as long as the program */
    rest = calloc((size_t)*argc + 1, sizeof *rest);
    int kept = 0;
    for (int i = 0; rest && i < *argc; i++) {
        char *word = (*argv)[i];
        if (strcmp(word, "--keep-blas-core") == 0) found->keep_blas_core = true;
        else if (strcmp(word, "--quiet") == 0) found->quiet = true;
        else if (strncmp(word, "--kernel=", 9) == 0 || strcmp(word, "--kernel") == 0) {
            if (!force_kernel(word[8] ? word + 9 : i + 1 < *argc ? (*argv)[++i] : NULL)) return false;
        } else rest[kept++] = word;
    }
    if (!rest) return true;
    *argc = kept;
    *argv = rest;
    return true;
}

static const struct command *find_command(const char *name) {
    const char *meant = NULL;
    for (int i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(name, commands[i].name) == 0) return &commands[i];
        meant = likelier(name, commands[i].name, meant);
    }
    char shown[100];
    text_format(shown, sizeof shown, "%s", name);
    fprintf(stderr, "mnistq: there is no command \"%s\"", shown);
    if (meant) fprintf(stderr, "; did you mean %s?", meant);
    fprintf(stderr, " (see `mnistq --help`)\n");
    return NULL;
}

static void handle_signals(void) {
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
    for (int i = 0; i < 3; i++) /* a signal that is ignored, as under nohup, stays so */
        if (signal(ends[i], SIG_IGN) != SIG_IGN) signal(ends[i], on_signal);
    signal(SIGXFSZ, SIG_IGN); /* a file over the limit (ulimit -f) is an error like a full disk */
}

#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__)
/* What runs before the constructors of libraries. */
__attribute__((section(".preinit_array"), used)) static void (*const before_libraries)(int, char **,
                                                                                       char **) = limits_leave_threads;
#endif

int main(int argc, char **argv) {
    struct everywhere everywhere = {0};
    provenance_typed(argc, argv);
    if (!take_everywhere(&argc, &argv, &everywhere)) return EXIT_USAGE;
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    bool help = strcmp(argv[1], "help") == 0;
    if ((help && argc == 2) || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
        return flush_output(EXIT_DONE);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("mnistq %s\n", MNISTQ_VERSION);
        return flush_output(EXIT_DONE);
    }
    const struct command *command = find_command(argv[help ? 2 : 1]);
    if (!command) return EXIT_USAGE;
    char asks_help[] = "--help", *for_help[] = {argv[help ? 2 : 1], asks_help, NULL};
    if (help) return flush_output(command->run(2, for_help));
    if (!everywhere.keep_blas_core) restart_with_better_settings();
    if (everywhere.quiet) options_quiet();
    handle_signals();
    return flush_output(command->run(argc - 1, argv + 1));
}
