#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/restart.h"
#include "base/text.h"
#include "studies/peers.h"

const char *const peer_task_names[PEER_TASKS] = {"fp32", "int8", "epoch"};

bool samples_add(struct samples *s, const struct sample *sample, struct error *err) {
    if (s->count == s->capacity) {
        size_t capacity = s->capacity ? 2 * s->capacity : 256;
        struct sample *items = realloc(s->items, capacity * sizeof *items);
        if (!items) return fail(err, "out of memory");
        s->items = items;
        s->capacity = capacity;
    }
    s->items[s->count++] = *sample;
    return true;
}

/* ---- a line of the protocol
 * -------------------------------------------------------------------------------- */

/* A run that is being read. */
struct reader {
    struct peer *peer;
    const struct peer_run *run;
    int round;
    struct samples *samples;
    char *reason;
    bool missing, failed; /* failed: out of memory, and err says so */
    struct error *err;
};

/* The member as a number of at least lo (and finite); false when it is not there. */
static bool number(const cJSON *object, const char *name, double lo, double *value) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble) || item->valuedouble < lo) return false;
    *value = item->valuedouble;
    return true;
}

/* The member as text; "" when it is not there. It goes into a table and onto terminals. */
static void text(const cJSON *object, const char *name, char *out, size_t size) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    snprintf(out, size, "%s", cJSON_IsString(item) ? item->valuestring : "");
    mask_control_characters(out);
}

/* Whether the sample's case is one that was asked for. */
static bool was_asked(const struct peer_run *run, struct peer_case what) {
    for (size_t i = 0; i < run->case_count; i++)
        if (run->cases[i].task == what.task && run->cases[i].batch == what.batch &&
            run->cases[i].threads == what.threads)
            return true;
    return false;
}

static bool read_times(const cJSON *object, const struct peer_run *run, struct sample *s) {
    double seconds;
    if (s->what.task != TASK_EPOCH)
        return number(object, "images_per_second", 1e-9, &s->images_per_second) &&
            number(object, "p50_us", 0, &s->p50_us) && number(object, "p99_us", 0, &s->p99_us);
    if (!number(object, "seconds", 1e-9, &seconds)) return false;
    s->images_per_second = (double)run->training_count / seconds;
    s->p50_us = 1e6 * seconds;
    s->p99_us = NAN;
    return true;
}

static bool read_sample(const cJSON *object, const struct peer_run *run, struct sample *s) {
    char task[16];
    double batch, threads, correct, n;
    text(object, "peer", s->name, sizeof s->name);
    text(object, "variant", s->variant, sizeof s->variant);
    text(object, "task", task, sizeof task);
    if (!*s->name || !number(object, "batch", 1, &batch) || !number(object, "threads", 1, &threads) ||
        !number(object, "correct", 0, &correct) || !number(object, "n", 1, &n) || n != (double)run->test_count ||
        correct > n || batch > 1e6 || threads > 1e6)
        return false;
    int found = 0;
    while (found < PEER_TASKS && strcmp(task, peer_task_names[found]) != 0) found++;
    s->what = (struct peer_case){(enum peer_task)found, (int)batch, (int)threads};
    s->correct = (long long)correct;
    s->n = (long long)n;
    return found < PEER_TASKS && was_asked(run, s->what) && read_times(object, run, s);
}

static bool on_line(void *context, char *line) {
    struct reader *r = context;
    struct sample s = {.engine = r->peer->engine, .round = r->round, .of_peak = NAN};
    cJSON *object = cJSON_ParseWithOpts(line, NULL, true); /* true: nothing after it */
    char missing[PEER_TEXT];
    text(object, "missing", missing, sizeof missing);
    bool good = true;
    if (*missing) {
        r->missing = true;
        snprintf(r->peer->reason, PEER_TEXT, "%s", missing);
    } else if ((good = read_sample(object, r->run, &s))) {
        good = samples_add(r->samples, &s, r->err);
        r->failed = !good;
    } else {
        mask_control_characters(line);
        snprintf(r->reason, PEER_TEXT, "printed what is no measurement that was asked for: %.100s", line);
    }
    cJSON_Delete(object);
    return good;
}

/* ---- a run
 * -------------------------------------------------------------------------------------------------- */

static void join(const struct int_list *list, char *out, size_t size) {
    for (int i = 0, used = 0; i < list->count; i++)
        used += snprintf(out + used, size - (size_t)used, "%s%d", i ? "," : "", list->values[i]);
}

/* The command line of a peer. */
struct call {
    char path[4096], batches[16 * OPTIONS_MAX_INTS], threads[16 * OPTIONS_MAX_INTS], seconds[32], round[16];
    char *argv[18];
};

static void make_call(const struct peer *peer, const struct peer_run *run, int round, struct call *c) {
    snprintf(c->path, sizeof c->path, "%s/%s", run->scripts, peer->script);
    snprintf(c->seconds, sizeof c->seconds, "%g", run->seconds);
    snprintf(c->round, sizeof c->round, "%d", round + 1);
    join(&run->batches, c->batches, sizeof c->batches);
    join(&run->threads, c->threads, sizeof c->threads);
    char *const all[] = {c->path,
                         "--fp32",
                         (char *)run->fp32,
                         "--int8",
                         (char *)run->int8,
                         "--data",
                         (char *)run->source,
                         "--batches",
                         c->batches,
                         "--threads",
                         c->threads,
                         "--seconds",
                         c->seconds,
                         "--round",
                         c->round,
                         "--epochs",
                         run->training ? "1" : "0",
                         NULL};
    _Static_assert(sizeof all == sizeof c->argv, "one place for each argument");
    memcpy(c->argv, all, sizeof all);
}

/* Takes OPENBLAS_CORETYPE out of the environment for a while; returns what to put back, NULL for nothing. */
static char *hide_core(void) {
    char *core = blas_core_replaced() && getenv("OPENBLAS_CORETYPE") ? strdup(getenv("OPENBLAS_CORETYPE")) : NULL;
    if (core) unsetenv("OPENBLAS_CORETYPE");
    return core;
}

static void restore_core(char *core) {
    if (core) setenv("OPENBLAS_CORETYPE", core, 1);
    free(core);
}

bool peer_measure(struct peer *peer, const struct peer_run *run, int round, struct samples *samples,
                  struct error *err) {
    struct call call;
    char reason[PEER_TEXT];
    struct reader r = {peer, run, round, samples, reason, false, false, err};
    size_t before = samples->count;
    bool cannot_start;
    make_call(peer, run, round, &call);
    char *core = peer->blas_as_picked ? hide_core() : NULL;
    bool ok = process_read(call.argv, run->limit, on_line, &r, &cannot_start, reason);
    restore_core(core);
    if (r.failed) return false;
    if (!r.missing && ok && samples->count == before) {
        ok = false;
        snprintf(reason, sizeof reason, "measured nothing");
    }
    if (ok && !r.missing) return true;
    samples->count = before; /* half a round is none */
    peer->outcome = r.missing || cannot_start ? PEER_MISSING : PEER_FAILED;
    if (!r.missing) snprintf(peer->reason, PEER_TEXT, "round %d: %.230s", round + 1, reason);
    return true;
}
