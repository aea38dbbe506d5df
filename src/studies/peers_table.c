#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/stats.h"
#include "studies/bench.h"
#include "studies/peers.h"

const char peer_columns[] = "task batch threads ours_images_per_second ours_of_peak_percent ours_p50_us ours_p99_us "
                            "ours_accuracy_percent peer peer_images_per_second peer_p50_us peer_p99_us "
                            "peer_accuracy_percent ours_over_peer lowest_over_rounds highest_over_rounds remark";

/* ---- medians over the rounds
 * -------------------------------------------------------------------------------- */

/* The fastest variant of an engine on one case. */
struct summary {
    const struct sample *middle; /* its round in the middle by speed; NULL when there is no sample */
    int variants;                /* that it is the fastest of */
    double accuracy;             /* percent, the median over the rounds */
};

static bool same_case(struct peer_case a, struct peer_case b) {
    return a.task == b.task && a.batch == b.batch && a.threads == b.threads;
}

static bool same_variant(const struct sample *a, const struct sample *b) {
    return a->engine == b->engine && same_case(a->what, b->what) && strcmp(a->variant, b->variant) == 0;
}

enum { MOST_SAMPLES = 2 * PEERS_MAX_ROUNDS }; /* of a variant: PyTorch's int8 is the same with either BLAS */

static double median_accuracy(const struct samples *all, const struct sample *like) {
    double values[MOST_SAMPLES];
    int count = 0;
    for (size_t i = 0; i < all->count; i++) {
        const struct sample *s = &all->items[i];
        if (same_variant(s, like) && count < MOST_SAMPLES) values[count++] = 100.0 * (double)s->correct / (double)s->n;
    }
    return percentile_of(values, count, 0.5);
}

/* The sample whose speed is the median of its variant's. */
static const struct sample *middle_sample(const struct samples *all, const struct sample *like) {
    double rates[MOST_SAMPLES];
    int count = 0;
    for (size_t i = 0; i < all->count; i++)
        if (same_variant(&all->items[i], like) && count < MOST_SAMPLES)
            rates[count++] = all->items[i].images_per_second;
    double median = percentile_of(rates, count, 0.5);
    for (size_t i = 0; i < all->count; i++)
        if (same_variant(&all->items[i], like) && all->items[i].images_per_second == median) return &all->items[i];
    return like; /* not reached */
}

static bool seen_before(const struct samples *all, size_t at) {
    for (size_t i = 0; i < at; i++)
        if (same_variant(&all->items[i], &all->items[at])) return true;
    return false;
}

static struct summary summarise(const struct samples *all, int engine, struct peer_case what) {
    struct summary best = {0};
    for (size_t i = 0; i < all->count; i++) {
        const struct sample *s = &all->items[i];
        if (s->engine != engine || !same_case(s->what, what) || seen_before(all, i)) continue;
        const struct sample *middle = middle_sample(all, s);
        best.variants++;
        if (!best.middle || middle->images_per_second > best.middle->images_per_second) best.middle = middle;
    }
    if (best.middle) best.accuracy = median_accuracy(all, best.middle);
    return best;
}

/* The lowest and the highest ratio of ours to the peer in one round. */
static void ratio_range(const struct samples *all, const struct sample *ours, const struct sample *peer, double *low,
                        double *high) {
    *low = INFINITY;
    *high = -INFINITY;
    for (size_t i = 0; i < all->count; i++)
        for (size_t j = 0; j < all->count; j++) {
            const struct sample *a = &all->items[i], *b = &all->items[j];
            if (!same_variant(a, ours) || !same_variant(b, peer) || a->round != b->round) continue;
            *low = fmin(*low, a->images_per_second / b->images_per_second);
            *high = fmax(*high, a->images_per_second / b->images_per_second);
        }
}

/* ---- rows
 * --------------------------------------------------------------------------------------------------- */

static void add_times(struct table *t, const struct summary *s) {
    table_row(t, "%.*f | %.*f | %.2f", s->middle->p50_us < 100 ? 2 : 0, s->middle->p50_us,
              s->middle->p99_us < 100 ? 2 : 0, s->middle->p99_us, s->accuracy);
}

static void add_empty(struct table *t, int cells) {
    while (cells-- > 0) table_row(t, " ");
}

static void add_case(struct table *t, struct peer_case what, const struct summary *ours) {
    table_row(t, "%s | %d | %d | %.0f | %.1f", peer_task_names[what.task], what.batch, what.threads,
              ours->middle->images_per_second, 100 * ours->middle->of_peak);
    add_times(t, ours);
}

static void add_peer(struct table *t, const struct samples *all, const struct summary *ours,
                     const struct summary *peer) {
    double low, high;
    ratio_range(all, ours->middle, peer->middle, &low, &high);
    table_row(t, "%s | %.0f", peer->middle->name, peer->middle->images_per_second);
    add_times(t, peer);
    table_row(t, "%.2f | %.2f | %.2f", ours->middle->images_per_second / peer->middle->images_per_second, low, high);
    if (peer->variants > 1)
        table_row(t, "%s%sfastest of %d ways", peer->middle->variant, *peer->middle->variant ? ": " : "",
                  peer->variants);
    else table_row(t, "%s", peer->middle->variant);
}

/* A row for each peer that measured the case; one with ours alone where there is none. */
static void add_rows(struct table *t, const struct samples *all, struct peer_case what) {
    struct summary ours = summarise(all, OURS, what);
    int rows = 0;
    for (int engine = 0; engine < PEER_ENGINES; engine++) {
        struct summary peer = summarise(all, engine, what);
        if (!peer.middle) continue;
        add_case(t, what, &ours);
        add_peer(t, all, &ours, &peer);
        rows++;
    }
    if (rows) return;
    add_case(t, what, &ours);
    add_empty(t, (int)t->column_count - 8);
}

static void add_absent(struct table *t, const struct peer *peer) {
    table_row(t, "all");
    add_empty(t, 7);
    table_row(t, "%s%s%s", peer_engines[peer->engine], peer->how ? ", " : "", peer->how ? peer->how : "");
    add_empty(t, (int)t->column_count - 10);
    table_row(t, "%s: %s", peer->outcome == PEER_MISSING ? "missing" : "failed", peer->reason);
}

/* ---- targets
 * ------------------------------------------------------------------------------------------------ */

enum { ANY = 0, NO_ENGINE = OURS };

/* A ratio that ours should reach, or without an engine a time for one run that it should not exceed. */
static const struct target {
    struct peer_case what; /* batch, threads: ANY takes the fastest of each side */
    int engine;
    double ratio, us;
} targets[] = {
    {{TASK_INT8, 1000, 1}, ENGINE_ONNX, 1.25, 0}, {{TASK_INT8, 10000, 1}, ENGINE_ONNX, 1.25, 0},
    {{TASK_INT8, 1, 1}, NO_ENGINE, 0, 1.5},       {{TASK_FP32, 1000, 1}, ENGINE_ONNX, 1, 0},
    {{TASK_FP32, 10000, 1}, ENGINE_ONNX, 1, 0},   {{TASK_EPOCH, ANY, ANY}, ENGINE_TORCH, 2.5, 0},
};

static struct summary fastest(const struct peer_run *run, const struct samples *all, int engine,
                              struct peer_case what) {
    struct summary best = {0};
    for (size_t i = 0; i < run->case_count; i++) {
        struct peer_case c = run->cases[i];
        if (c.task != what.task || (what.batch && c.batch != what.batch) || (what.threads && c.threads != what.threads))
            continue;
        struct summary s = summarise(all, engine, c);
        if (s.middle && (!best.middle || s.middle->images_per_second > best.middle->images_per_second)) best = s;
    }
    return best;
}

static void describe(const struct target *target, char *text, size_t size) {
    if (target->what.batch)
        snprintf(text, size, "%s, batch %d, %d thread%s", peer_task_names[target->what.task], target->what.batch,
                 target->what.threads, target->what.threads == 1 ? "" : "s");
    else snprintf(text, size, "training %s, each on its best number of threads", peer_task_names[target->what.task]);
}

static void note_target(struct table *t, const struct target *target, const struct peer_run *run,
                        const struct samples *all) {
    char what[96];
    struct summary ours = fastest(run, all, OURS, target->what), peer = {0};
    describe(target, what, sizeof what);
    if (target->engine != NO_ENGINE) peer = fastest(run, all, target->engine, target->what);
    if (!ours.middle || (target->engine != NO_ENGINE && !peer.middle)) {
        table_note(t, "Target not measured: %s%s%s.", what, target->engine == NO_ENGINE ? "" : " against ",
                   target->engine == NO_ENGINE ? "" : peer_engines[target->engine]);
    } else if (target->engine == NO_ENGINE) {
        table_note(t, "Target %s: %s: %.2f us, wanted at most %.2f.",
                   ours.middle->p50_us <= target->us ? "met" : "MISSED", what, ours.middle->p50_us, target->us);
    } else {
        double ratio = ours.middle->images_per_second / peer.middle->images_per_second;
        table_note(t, "Target %s: %s: %.2f times %s (%.4g s a run against %.4g s), wanted at least %.2f.",
                   ratio >= target->ratio ? "met" : "MISSED", what, ratio, peer_engines[target->engine],
                   ours.middle->p50_us / 1e6, peer.middle->p50_us / 1e6, target->ratio);
    }
}

void peers_fill(struct table *t, const struct peer_run *run, const struct samples *samples, const struct peer *peers,
                int peer_count) {
    for (size_t i = 0; i < run->case_count; i++) add_rows(t, samples, run->cases[i]);
    for (int i = 0; i < peer_count; i++)
        if (peers[i].outcome != PEER_WORKS) add_absent(t, &peers[i]);
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) note_target(t, &targets[i], run, samples);
}
