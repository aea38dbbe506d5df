/* mnistq peers: our engine and others on the same models, images and machine, taking turns round after round.
 *
 * A peer is an executable file, called as
 *
 *   SCRIPT --fp32 FILE --int8 FILE --data DIR --batches 1,1000 --threads 1,2
 *          --seconds 0.3 --round 1 --epochs 1
 *
 * (seconds: of each timing; round: a seed for training; epochs: 0 or 1). It prints one JSON object a line and
 * nothing else:
 *
 *   {"peer": "PyTorch 1.13.1", "variant": "onednn", "task": "int8", "batch": 1000, "threads": 1,
 *    "images_per_second": 4e5, "p50_us": 2500, "p99_us": 2600, "correct": 9781, "n": 10000}
 *   {"peer": ..., "task": "epoch", "batch": 64, "threads": 2, "seconds": 0.8, "correct": 9781, "n": 10000}
 *   {"missing": "what has to be installed first"}
 *
 * Tasks are fp32 and int8 (inference) and epoch. Of several variants of one case the fastest counts. */
#ifndef STUDIES_PEERS_H
#define STUDIES_PEERS_H

#include "cli/options.h"
#include "base/table.h"
#include "data/dataset.h"
#include "model/model_file.h"

enum peer_task { TASK_FP32, TASK_INT8, TASK_EPOCH, PEER_TASKS };
extern const char *const peer_task_names[PEER_TASKS];

/* What is timed: one line of the table. */
struct peer_case {
    enum peer_task task;
    int batch, threads;
};

enum { OURS = -1, PEERS_MAX_ROUNDS = 100, PEER_TEXT = 256 };

/* One timing of one case. */
struct sample {
    int engine, round; /* engine: OURS, or an index of peer_engines */
    struct peer_case what;
    char name[64], variant[96]; /* "PyTorch 1.13.1", "onednn" */
    double images_per_second;   /* of an epoch: training images / seconds */
    double p50_us, p99_us;      /* of a batch; of an epoch its time, and NAN */
    double of_peak;             /* ours: share of the peak measured just before, else NAN */
    long long correct, n;
};

struct samples {
    struct sample *items; /* [count] */
    size_t count, capacity;
};

/* Error: out of memory. */
bool samples_add(struct samples *s, const struct sample *sample, struct error *err);

/* The engines that ours is compared with, by their names in the table; and the ways to start them. */
enum { ENGINE_TORCH, ENGINE_ONNX, PEER_ENGINES };
extern const char *const peer_engines[PEER_ENGINES];

/* One way to start a peer, and what became of it. After a run that failed it is not started again. */
struct peer {
    int engine;
    const char *script;
    bool blas_as_picked; /* started without the OPENBLAS_CORETYPE that this program gave itself */
    const char *how;     /* told with a failure, NULL when there is nothing to tell */
    enum { PEER_WORKS, PEER_MISSING, PEER_FAILED } outcome;
    char reason[PEER_TEXT];
};

/* What all runs have in common. */
struct peer_run {
    const char *fp32, *int8, *source, *results, *scripts;
    struct int_list batches, threads;
    int rounds, limit; /* limit: seconds that a peer may take for a round */
    double seconds;    /* of each timing */
    bool training;
    size_t training_count, test_count; /* images */
    struct peer_case *cases;           /* [case_count] */
    size_t case_count;
};

/* Starts the peer once and adds what it measured to samples: all of it, or nothing when the run failed; what
 * was wrong with it goes to its outcome and reason. Error: out of memory. */
bool peer_measure(struct peer *peer, const struct peer_run *run, int round, struct samples *samples, struct error *err);

/* Runs a program whose standard output is read line by line, and everything it started is killed when limit
 * seconds have passed. argv[0] is its path. Returns whether it exited with 0 and on_line accepted every line;
 * reason says what went wrong, and missing whether the program cannot be started at all. */
bool process_read(char *const *argv, int limit, bool (*on_line)(void *context, char *line), void *context,
                  bool *missing, char reason[PEER_TEXT]);

/* Our own side of a round. models: fp32 and int8, in the order of their tasks. */
bool ours_measure(const struct model models[2], const struct dataset *data, const struct peer_run *run, int round,
                  struct samples *samples, struct error *err);

/* Rows, remarks and targets of the table from all samples. */
extern const char peer_columns[];
void peers_fill(struct table *t, const struct peer_run *run, const struct samples *samples, const struct peer *peers,
                int peer_count);

#endif
