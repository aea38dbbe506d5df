/* mnistq peers: side by side with the engines that one would take instead. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/restart.h"
#include "cli/commands.h"
#include "studies/peak.h"
#include "studies/peers.h"
#include "cli/recipe.h"
#include "cli/report.h"
#include "base/progress.h"
#include "nn/gemm.h"

const char *const peer_engines[PEER_ENGINES] = {"PyTorch", "ONNX Runtime"};
enum { PEERS = 3 };

static struct peer_run defaults(void) {
    int all = gemm_threads(0);
    return (struct peer_run){.source = "data/mnist",
                             .scripts = "scripts/peers",
                             .batches = {3, {1, 1000, 10000}},
                             .threads = {all > 1 ? 2 : 1, {1, all}},
                             .rounds = 3,
                             .limit = 300,
                             .seconds = 0.3};
}

/* PyTorch runs with the kernels that OpenBLAS picks, and with better ones where the CPU can do more. */
static int choose_peers(struct peer peers[PEERS]) {
    int count = 0;
    peers[count++] = (struct peer){.engine = ENGINE_TORCH, .script = "torch_peer.py", .blas_as_picked = true};
    if (blas_core_replaced())
        peers[count++] = (struct peer){
            .engine = ENGINE_TORCH, .script = "torch_peer.py", .how = "with better BLAS kernels"};
    peers[count++] = (struct peer){.engine = ENGINE_ONNX, .script = "onnx_peer.mjs"};
    return count;
}

/* What is not installed is not started a second time in another way, nor told of twice. */
static int drop_missing(struct peer *peers, int count) {
    int kept = 0;
    for (int i = 0; i < count; i++) {
        bool again = false;
        for (int j = 0; j < kept; j++) again |= peers[j].engine == peers[i].engine && peers[j].outcome == PEER_MISSING;
        if (!again) peers[kept++] = peers[i];
    }
    return kept;
}

static bool make_cases(struct peer_run *run, int training_batch, struct error *err) {
    size_t inference = 2 * (size_t)run->batches.count * (size_t)run->threads.count;
    run->cases = aligned_array(inference + (size_t)run->threads.count, sizeof *run->cases, err);
    if (!run->cases) return false;
    for (int task = TASK_FP32; task <= TASK_INT8; task++)
        for (int b = 0; b < run->batches.count; b++)
            for (int i = 0; i < run->threads.count; i++)
                run->cases[run->case_count++] = (struct peer_case){(enum peer_task)task, run->batches.values[b],
                                                                   run->threads.values[i]};
    for (int i = 0; run->training && i < run->threads.count; i++)
        run->cases[run->case_count++] = (struct peer_case){TASK_EPOCH, training_batch, run->threads.values[i]};
    return true;
}

/* All engines take turns, round after round: what slows the machine for a while slows them alike. */
static bool run_rounds(const struct peer_run *run, const struct model models[2], const struct dataset *data,
                       struct peer peers[PEERS], int *peer_count, struct samples *samples, struct error *err) {
    struct progress bar;
    bool ok = true;
    progress_begin(&bar, "peers", "turns");
    for (int round = 0; ok && round < run->rounds; round++) {
        ok = ours_measure(models, data, run, round, samples, err);
        for (int i = 0; ok && i < *peer_count; i++) {
            size_t done = (size_t)(round * (*peer_count + 1) + i + 1);
            progress_update(&bar, done, (size_t)(run->rounds * (*peer_count + 1)));
            if (peers[i].outcome == PEER_WORKS) ok = peer_measure(&peers[i], run, round, samples, err);
            *peer_count = drop_missing(peers, *peer_count);
        }
    }
    progress_end(&bar);
    return ok;
}

static void note_method(struct table *t, const struct peer_run *run) {
    table_note(t,
               "Rounds: %d, in each of which every engine has one turn; a turn times each case for %g s and "
               "takes its median. "
               "A row shows the round in the middle by images a second (of training images in an epoch), and "
               "the median of "
               "the accuracies. ours_over_peer is the quotient of the two; the columns after it its extremes "
               "in one round.",
               run->rounds, run->seconds);
    table_note(t,
               "Ours starts from the bytes of the images. Peers are given float pixels made before the clock "
               "starts, ONNX "
               "Runtime also bytes where that is faster. PyTorch quantizes by itself, on the same 512 images.");
    table_note(t, "ours_of_peak is against the larger of two peaks, measured just before and just after the timing.");
}

static void note_peak(struct table *t, const struct peer_run *run) {
    for (int i = 0; i < run->threads.count; i++) {
        int threads = run->threads.values[i];
        struct peak p = measure_peak(threads, 0.3);
        table_note(t, "Peak of this machine in this run on %d thread%s: %s %.0f GFLOP/s, %s %.0f GOP/s.", threads,
                   threads == 1 ? "" : "s", p.fp32_name, p.fp32_flops / 1e9, p.int8_name, p.int8_ops / 1e9);
    }
}

static bool read_models(const struct peer_run *run, const struct dataset *data, struct model models[2],
                        struct error *err) {
    const char *const paths[2] = {run->fp32, run->int8};
    static const enum model_kind kinds[2] = {MODEL_FP32, MODEL_INT8};
    for (int i = 0; i < 2; i++) {
        if (!model_read(paths[i], &models[i], NULL, err)) return false;
        if (models[i].kind != kinds[i]) return fail(err, "%s: not an %s model", paths[i], peer_task_names[i]);
        const struct mlp_shape *s = &models[i].shape;
        if (!split_fits(&data->test, s->widths[0], s->widths[s->layers], run->source, err)) return false;
    }
    return true;
}

static bool batches_fit(const struct peer_run *run, struct error *err) {
    for (int i = 0; i < run->batches.count; i++)
        if ((size_t)run->batches.values[i] > run->test_count)
            return fail(err, "--batch %d: there are only %zu test images", run->batches.values[i], run->test_count);
    return true;
}

static bool run_on(struct peer_run *run, const struct dataset *data, struct table *t, struct provenance *p,
                   struct error *err) {
    struct model models[2] = {{0}};
    struct peer peers[PEERS];
    struct samples samples = {0};
    int peer_count = choose_peers(peers);
    run->training_count = data->train.count;
    run->test_count = data->test.count;
    provenance_dataset(p, data);
    provenance_machine(p);
    note_method(t, run);
    bool ok = read_models(run, data, models, err) && batches_fit(run, err) &&
        make_cases(run, training_defaults().batch, err) &&
        run_rounds(run, models, data, peers, &peer_count, &samples, err);
    if (ok) {
        peers_fill(t, run, &samples, peers, peer_count);
        note_peak(t, run);
        ok = table_save(t, p, run->results, "peers", err);
    }
    for (int i = 0; i < 2; i++) model_free(&models[i]);
    free(samples.items);
    free(run->cases);
    return ok;
}

int command_peers(int argc, char **argv) {
    struct options o = {
        .command = argv[0],
        .arguments = "FP32MODEL INT8MODEL",
        .what = "Times both models and a training epoch here, in PyTorch and in ONNX Runtime, turn by turn. "
                "Writes the\n"
                "table peers to --results. An engine that is not installed is reported as missing."};
    struct peer_run run = defaults();
    bool json = false, no_training = false;
    option_data(&o, &run.source, "folder with the four IDX files, which the peers read too");
    option_results(&o, &run.results, "folder for the table");
    option_text(&o, "peers", "DIR", &run.scripts, "folder with torch_peer.py and onnx_peer.mjs");
    option_ints(&o, "batch", &run.batches, 1, 100000, "batch sizes");
    option_ints(&o, "threads", &run.threads, 1, 256, "numbers of threads");
    option_int(&o, "rounds", &run.rounds, 1, PEERS_MAX_ROUNDS, "turns of each engine");
    option_real(&o, "seconds", &run.seconds, 0.001, 60, "of each timing");
    option_int(&o, "limit", &run.limit, 1, 86400, "seconds after which a peer's turn is ended");
    option_flag(&o, "no-training", &no_training, "leave out the training epochs");
    option_flag(&o, "json", &json, "print the table as JSON");
    int status = options_parse(&o, argc, argv, 2, 2);
    if (status != OPTIONS_GO_ON) return status;
    if (strcmp(run.source, "digits") == 0) return usage_error(&o, "--data digits: the peers need files to read");
    struct error err;
    struct dataset data;
    struct table t;
    struct provenance p = {0};
    run.fp32 = o.files[0];
    run.int8 = o.files[1];
    run.training = !no_training;
    table_init(&t, "The same models elsewhere", peer_columns);
    provenance_command(&p);
    restart_forget_spinning(); /* the peers set their own */
    bool ok = dataset_load(run.source, &data, &err);
    if (ok) {
        ok = run_on(&run, &data, &t, &p, &err);
        dataset_free(&data);
    }
    return report_table(&t, &p, json, ok, &err);
}
