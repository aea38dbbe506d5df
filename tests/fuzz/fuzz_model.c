/* Model files of every kind. One that is read is then run: all engines and kernels against the reference, the library
 * of include/mnistq.h, and, one file in eight, the commands that take models. */
#include <fcntl.h>
#include <math.h>

#include "cli/commands.h"
#include "cli/options.h"
#include "data/picture.h"
#include "model/model_run.h"
#include "mnistq.h"
#include "fuzz.h"

enum { IMAGES = 5, MAX_WIDTH = 1024, MAX_WEIGHTS = 1 << 18, COMMANDS_EVERY = 8 };

/* ---- the engines ------------------------------------------------------------------------------------------------- */

/* Pixels that change with the model, some of them at the ends. */
static void draw(uint8_t *images, size_t count, uint32_t seed) {
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525 + 1013904223;
        images[i] = seed >> 30 == 0 ? 0 : seed >> 30 == 1 ? 255 : (uint8_t)(seed >> 16);
    }
}

static void run(const struct model *m, int how, const uint8_t *images, uint8_t *predicted, float *logits) {
    struct model_run r;
    struct error err;
    int classes = m->shape.widths[m->shape.layers];
    EXPECT(model_run_create(m, IMAGES, 1, how, &r, &err));
    model_run(&r, images, IMAGES, predicted);
    for (int i = 0; i < IMAGES; i++) model_run_logits(&r, i, logits + i * classes);
    for (int i = 0; i < IMAGES * classes; i++) EXPECT(isfinite(logits[i]));
    for (int l = 0; how & RUN_LAYERS && l <= m->shape.layers; l++)
        for (int i = 0; i < IMAGES * m->shape.widths[l]; i++) EXPECT(isfinite(r.values[l][i]));
    model_run_free(&r);
}

/* Sums of floats in another order: within what rounding explains, layer by layer (Higham 2002, section 4.2). */
static void expect_near(const struct model *m, const uint8_t *images, const float *logits) {
    static double x[2][MAX_WIDTH], slack[2][MAX_WIDTH];
    for (int i = 0; i < IMAGES; i++) {
        for (int k = 0; k < m->shape.widths[0]; k++)
            x[0][k] = images[i * m->shape.widths[0] + k] / 255.0, slack[0][k] = 0x1p-23;
        for (int l = 0; l < m->shape.layers; l++) {
            const struct dense *d = &m->mlp.layer[l];
            for (int c = 0; c < d->out; c++) {
                double sum = (double)d->bias[c], size = fabs(sum), error = 0;
                for (int k = 0; k < d->in; k++) {
                    double w = (double)d->weight[(size_t)c * (size_t)d->in + (size_t)k];
                    sum += w * x[l % 2][k], size += fabs(w * x[l % 2][k]), error += fabs(w) * slack[l % 2][k];
                }
                bool last = l + 1 == m->shape.layers;
                x[(l + 1) % 2][c] = sum > 0 || last ? sum : 0;
                slack[(l + 1) % 2][c] = error + (d->in + 2) * 0x1p-23 * (size + error) + d->in * 0x1p-140;
            }
        }
        int last = m->shape.layers, classes = m->shape.widths[last];
        for (int j = 0; j < classes; j++)
            EXPECT(fabs((double)logits[i * classes + j] - x[last % 2][j]) <= slack[last % 2][j]);
    }
}

static void expect_kernels_agree(struct model *m, const uint8_t *images, const float *expected, float *logits) {
    struct error err;
    uint8_t predicted[IMAGES];
    size_t bytes = sizeof *logits * (size_t)(IMAGES * m->shape.widths[m->shape.layers]);
    for (int k = 0; qkernels[k]; k++) {
        if (!qkernels[k]->supported()) continue;
        EXPECT(qmlp_use_kernel(&m->qmlp, qkernels[k], &err));
        run(m, RUN_FAST, images, predicted, logits);
        EXPECT(memcmp(logits, expected, bytes) == 0);
    }
    run(m, RUN_LAYERS, images, NULL, logits);
    EXPECT(memcmp(logits, expected, bytes) == 0);
}

/* The library reads the same bytes and gives the same answers. */
static void expect_library_agrees(const uint8_t *data, size_t size, const uint8_t *images, const uint8_t *expected) {
    char text[200] = "";
    uint8_t predicted[IMAGES];
    mnistq_model *m = mnistq_open_memory(data, size, text, sizeof text);
    EXPECT(m);
    mnistq_classify(m, images, IMAGES, predicted);
    EXPECT(memcmp(predicted, expected, IMAGES) == 0);
    mnistq_close(m);
}

static void run_all_ways(struct model *m, const uint8_t *data, size_t size, uint32_t seed) {
    size_t inputs = (size_t)m->shape.widths[0], classes = (size_t)m->shape.widths[m->shape.layers];
    uint8_t *images = malloc(IMAGES * inputs), predicted[IMAGES], other[IMAGES];
    float *logits = malloc(IMAGES * classes * sizeof *logits), *again = malloc(IMAGES * classes * sizeof *logits);
    EXPECT(images && logits && again);
    draw(images, IMAGES * inputs, seed);
    run(m, RUN_FAST, images, predicted, logits);
    for (int i = 0; i < IMAGES; i++) EXPECT(predicted[i] < classes);
    expect_library_agrees(data, size, images, predicted);
    run(m, RUN_REFERENCE, images, other, again);
    if (m->kind == MODEL_INT8) expect_kernels_agree(m, images, again, logits);
    if (m->kind == MODEL_INT8) EXPECT(memcmp(other, predicted, IMAGES) == 0);
    run(m, RUN_LAYERS, images, other, again);
    if ((m->kind == MODEL_FP32 || m->kind == MODEL_WEIGHT_ONLY) && !runs_bf16(m)) {
        expect_near(m, images, logits);
        expect_near(m, images, again);
    }
    free(images);
    free(logits);
    free(again);
}

/* ---- the commands ------------------------------------------------------------------------------------------------ */

/* FUZZ_DATA holds small (3x4 pixels), large (28x28), and digit.pgm: tests/fuzz/run.sh makes it. */
static int call(int (*command)(int, char **), const char *const *words) {
    char *argv[16];
    int argc = 0;
    for (; words[argc]; argc++) argv[argc] = (char *)(uintptr_t)words[argc];
    argv[argc] = NULL;
    int status = command(argc, argv);
    fflush(stdout);
    return status;
}
#define CALL(command, ...) call(command, (const char *const[]){__VA_ARGS__, NULL})

static void run_commands(const struct model *m, const struct model_notes *notes, const char *path) {
    static char data[300], folder[300], picture[300];
    const char *root = getenv("FUZZ_DATA");
    int inputs = m->shape.widths[0], classes = m->shape.widths[m->shape.layers];
    if (!root || (inputs != 12 && inputs != 784)) return;
    snprintf(data, sizeof data, "%s/%s", root, inputs == 12 ? "small" : "large");
    snprintf(picture, sizeof picture, "%s/digit.pgm", root);
    snprintf(folder, sizeof folder, "%s/out", root);
    int fits = classes >= 10 ? EXIT_DONE : EXIT_FAILED; /* the data has ten */
    EXPECT(CALL(command_inspect, "inspect", path, "--json") == EXIT_DONE);
    EXPECT(CALL(command_inspect, "inspect", path) == EXIT_DONE);
    EXPECT(CALL(command_eval, "eval", path, "--data", data, "--json") == fits);
    EXPECT(CALL(command_eval, "eval", path, "--data", data, "--reference") == fits);
    EXPECT(CALL(command_compare, "compare", path, path, "--data", data, "--json") == fits);
    struct picture_form form;
    struct error err;
    int known = picture_form_parse(notes->images, &form, &err) ? EXIT_DONE : EXIT_FAILED;
    if (inputs == 784) EXPECT(CALL(command_predict, "predict", path, picture, "--json") == known);
    int integer = m->kind == MODEL_INT8 ? fits : EXIT_FAILED;
    EXPECT(CALL(command_trace, "trace", path, "--data", data, "--image", "1") == integer);
    EXPECT(CALL(command_trace, "trace", path, "--data", data, "--worksheet") == integer);
    EXPECT(CALL(command_eval, "eval", path, "--data", data, "--break", "int8-saturate") == integer);
    int status = CALL(command_inspect, "inspect", path, "--data", data, "--histogram", "--json");
    EXPECT(m->kind == MODEL_INT8 ? status == fits : status == EXIT_DONE || status == EXIT_FAILED);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct memory_file copy;
    static struct st_file file; /* too large for a stack */
    struct model m;
    struct model_notes notes;
    struct error err = {""};
    if (!st_parse(data, size, &file, &err) || !model_parse(&file, &m, &notes, &err)) {
        expect_message(err.text);
        return 0;
    }
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < size; i++) hash = (hash ^ data[i]) * 16777619u;
    size_t weights = 0;
    for (int l = 0; l < m.shape.layers; l++) weights += (size_t)m.shape.widths[l] * (size_t)m.shape.widths[l + 1];
    if (mlp_widest(&m.shape) <= MAX_WIDTH && weights <= MAX_WEIGHTS) {
        run_all_ways(&m, data, size, hash);
        if (hash % COMMANDS_EVERY == 0) run_commands(&m, &notes, memory_file_set(&copy, data, size));
    }
    model_free(&m);
    return 0;
}

/* ---- mutations that keep the container whole --------------------------------------------------------------------- */

static uint64_t header_length(const uint8_t *data) {
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--) length = length << 8 | data[i];
    return length;
}

/* A number of the payload becomes one of those at which checks decide: half of all mutations, as a byte changed at
 * random in a float is another float like it. */
static void set_number(uint8_t *payload, size_t size, unsigned seed) {
    static const float numbers[] = {0,       -0.0f,    1,     -1,     0x1p-149f, 0x1p-126f, 0x1p-60f,
                                    0x1p60f, 0x1p127f, 1e38f, -3e38f, INFINITY,  NAN,       0x1.fffffep127f};
    static const int32_t integers[] = {0, 1, -1, 128, 255, 1 << 30, (1 << 30) + 1, -(1 << 30), INT32_MAX, INT32_MIN};
    if (size < 4) return;
    size_t at = seed % (size - 3) / 4 * 4 + (seed >> 28 == 0 ? 1 : 0);
    if (at + 4 > size) return;
    if (seed >> 20 & 1) memcpy(payload + at, &numbers[(seed >> 21) % (sizeof numbers / sizeof *numbers)], 4);
    else memcpy(payload + at, &integers[(seed >> 21) % (sizeof integers / sizeof *integers)], 4);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    uint64_t header = size >= 8 ? header_length(data) : 0;
    if (seed % 16 == 0 || size < 10 || header > size - 8) return LLVMFuzzerMutate(data, size, most);
    uint8_t *payload = data + 8 + header;
    size_t bytes = size - 8 - (size_t)header;
    if (seed % 4 == 1) {
        set_number(payload, bytes, seed * 2654435761u);
        return size;
    }
    if (seed % 4 == 2 && bytes) { /* same size: the offsets still hold */
        size_t now = LLVMFuzzerMutate(payload, bytes, bytes);
        if (now < bytes) memset(payload + now, 0, bytes - now);
        return size;
    }
    /* The header, whose length is then told truly, and the payload behind it */
    uint8_t *kept = malloc(bytes + 1);
    EXPECT(kept);
    memcpy(kept, payload, bytes);
    size_t now = LLVMFuzzerMutate(data + 8, (size_t)header, most - 8 - bytes);
    for (int i = 0; i < 8; i++) data[i] = (uint8_t)((uint64_t)now >> 8 * i);
    memcpy(data + 8 + now, kept, bytes);
    free(kept);
    return 8 + now + bytes;
}
