/* The sparse first layer: every kernel that this CPU runs, bit for bit against the sums as they stand, and a whole run
 * of mlp_train against its steps written out with them. */
#include "base/rng.h"
#include "nn/gemm.h"
#include "nn/sparse_input.h"
#include "nn/train.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct error err;

#define CHECK(call)                                                                                                    \
    do {                                                                                                               \
        if (!(call)) fail_msg("%s: %s", #call, err.text);                                                              \
    } while (0)

enum { PADDING = 16 }; /* floats that a kernel may read behind w and dy */

static float *floats(size_t count) {
    float *x = aligned_array(count + PADDING, sizeof *x, &err);
    assert_non_null(x);
    for (size_t i = count; i < count + PADDING; i++) x[i] = NAN; /* which must not count */
    return x;
}

/* Inputs are other than 0 with the given chance, those of the first column never, unless it is 1. */
static void sparse_values(struct rng *rng, double chance, int count, int in, float *x) {
    for (int i = 0; i < count * in; i++) {
        bool lit = chance >= 1 || (i % in != 0 && rng_uniform(rng) < chance);
        x[i] = lit ? (float)rng_normal(rng) : 0;
    }
}

static void normal_values(struct rng *rng, size_t count, float *x) {
    for (size_t i = 0; i < count; i++) x[i] = (float)rng_normal(rng);
}

/* Where parts of a gradient go; each element must come at most once. */
struct taken {
    float *dw;
    size_t count, elements;
};

static void take(void *context, size_t first, size_t count, const float *gradient) {
    struct taken *t = context;
    if (first + count > t->count) abort(); /* on a thread that cannot fail a test */
    memcpy(t->dw + first, gradient, count * sizeof *gradient);
#pragma omp atomic
    t->elements += count;
}

struct layer_case {
    int in, out, capacity;
    double chance;
};

static size_t compared[8]; /* by kernel */

static void check_same(const char *kernel, const char *what, const struct layer_case *c, int count, size_t n,
                       const float *got, const float *expected) {
    for (size_t i = 0; i < n; i++)
        if (memcmp(&got[i], &expected[i], sizeof *got) != 0)
            fail_msg("%s: %s %zu is %.9g, not %.9g (in %d, out %d, %d rows of %d, chance %g)", kernel, what, i,
                     (double)got[i], (double)expected[i], c->in, c->out, count, c->capacity, c->chance);
}

/* Two batches through one kernel: the second is smaller, and what was seen in the first stays seen. */
static void check_case(const struct layer_case *c, int kernel, uint64_t seed) {
    struct rng rng = rng_seeded(seed);
    struct sparse_input s;
    size_t weights = (size_t)c->in * (size_t)c->out, rows = (size_t)c->capacity;
    float *w = floats(weights), *x = floats(rows * (size_t)c->in), *dy = floats(rows * (size_t)c->out);
    float *y = floats(rows * (size_t)c->out), *y_ref = floats(rows * (size_t)c->out);
    float *dw = floats(weights), *dw_ref = floats(weights);
    CHECK(sparse_input_create(c->in, c->out, c->capacity, sparse_kernels[kernel], &s, &err));
    normal_values(&rng, weights, w);
    for (int count = c->capacity; count > 0; count = count > 1 && count == c->capacity ? (count + 1) / 2 : 0) {
        struct taken taken = {dw, weights, 0};
        size_t outputs = (size_t)count * (size_t)c->out;
        sparse_values(&rng, c->chance, count, c->in, x);
        normal_values(&rng, outputs, dy);
        memset(dw, 0, weights * sizeof *dw);
        sparse_input_forward(&s, w, x, count, y);
        sparse_forward_ref(w, x, count, c->in, c->out, y_ref);
        check_same(sparse_kernels[kernel]->name, "output", c, count, outputs, y, y_ref);
        sparse_input_backward(&s, x, dy, count, take, &taken);
        sparse_gradient_ref(x, dy, count, c->in, c->out, dw_ref);
        check_same(sparse_kernels[kernel]->name, "gradient", c, count, weights, dw, dw_ref);
        size_t never = c->chance < 1; /* the first input */
        if (c->capacity > 60 && c->chance > 0.1) assert_int_equal(taken.elements, weights - never * (size_t)c->out);
        if (c->chance == 0) assert_int_equal(taken.elements, 0);
        compared[kernel] += outputs + weights;
    }
    float *all[] = {w, x, dy, y, y_ref, dw, dw_ref};
    for (int i = 0; i < 7; i++) free(all[i]);
    sparse_input_free(&s);
}

static void kernels_give_the_bits_of_the_reference(void **state) {
    (void)state;
    const int ins[] = {1, 2, 63, 65, 130}, outs[] = {1, 7, 16, 17, 33, 64, 100, 128, 129, 300};
    const int capacities[] = {1, 2, 3, 4, 63, 64, 65, 130};
    const double chances[] = {0, 0.02, 0.2, 1};
    int threads = gemm_threads(0), cases = 0;
    for (int k = 0; sparse_kernels[k]; k++) {
        if (!sparse_kernels[k]->supported()) continue;
        for (size_t i = 0; i < sizeof ins / sizeof *ins; i++)
            for (size_t o = 0; o < sizeof outs / sizeof *outs; o++)
                for (size_t c = 0; c < sizeof capacities / sizeof *capacities; c++) {
                    struct layer_case t = {ins[i], outs[o], capacities[c], chances[cases % 4]};
                    gemm_threads(1 + cases % 3);
                    check_case(&t, k, (uint64_t)++cases);
                }
        check_case(&(struct layer_case){784, 256, 64, 0.2}, k, 1);
    }
    gemm_threads(threads);
    for (int k = 0; sparse_kernels[k]; k++)
        if (sparse_kernels[k]->supported()) assert_true(compared[k] > 100000);
}

/* ---- whole runs ---- */

enum { INPUTS = 70, HIDDEN = 20, CLASSES = 4, IMAGES = 150 };
static const struct mlp_shape small = {3, {INPUTS, HIDDEN, 9, CLASSES}};
static const struct train_config config = {
    .epochs = 2, .batch = 40, .optimizer = OPTIMIZER_ADAM, .rate = 0.01f, .warmup = 0.1, .smoothing = 0.1f, .seed = 5};
static uint8_t images[IMAGES * INPUTS], labels[IMAGES];

/* A fifth of the pixels is ink, the last one never, on a background of that byte. */
static struct train_data ink_on(uint8_t background) {
    struct rng rng = rng_seeded(2);
    for (int i = 0; i < IMAGES * INPUTS; i++)
        images[i] = i % INPUTS != INPUTS - 1 && rng_below(&rng, 5) == 0 ? (uint8_t)rng_next(&rng) : background;
    for (int i = 0; i < IMAGES; i++) labels[i] = (uint8_t)rng_below(&rng, CLASSES);
    return (struct train_data){images, labels, IMAGES, INPUTS, NULL, NULL};
}

static void transpose(int rows, int columns, const float *from, float *to) {
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++) to[c * rows + r] = from[r * columns + c];
}

/* One step of mlp_train, the first layer by the reference. */
static double step_by_hand(struct mlp *mlp, struct mlp *gradient, struct mlp_workspace *ws, const uint8_t *y, int n) {
    static float turned[INPUTS * HIDDEN];
    transpose(HIDDEN, INPUTS, mlp->layer[0].weight, turned);
    sparse_forward_ref(turned, ws->activation[0], n, INPUTS, HIDDEN, ws->activation[1]);
    for (int i = 0; i < n * HIDDEN; i++) {
        float sum = ws->activation[1][i] + mlp->layer[0].bias[i % HIDDEN];
        ws->activation[1][i] = sum < 0 ? 0 : sum;
    }
    for (int l = 1; l < small.layers; l++) mlp_forward_layer(mlp, l, n, ws);
    double loss = mlp_backward(mlp, y, n, config.smoothing, ws, gradient);
    sparse_gradient_ref(ws->activation[0], ws->gradient[1], n, INPUTS, HIDDEN, turned);
    transpose(INPUTS, HIDDEN, turned, gradient->layer[0].weight);
    return loss;
}

static double train_by_hand(struct mlp *mlp, const struct train_data *data) {
    struct mlp gradient;
    struct mlp_workspace ws;
    struct optimizer o;
    struct rng rng = rng_seeded(config.seed);
    uint32_t order[IMAGES];
    uint8_t batch[40 * INPUTS], y[40];
    long step = 0, steps = config.epochs * ((IMAGES + config.batch - 1) / config.batch);
    double loss = 0;
    CHECK(mlp_create(&small, &gradient, &err));
    CHECK(mlp_workspace_create(&small, config.batch, true, &ws, &err));
    CHECK(optimizer_create(OPTIMIZER_ADAM, mlp_padded_count(mlp), &o, &err));
    for (uint32_t i = 0; i < IMAGES; i++) order[i] = i;
    ws.origin = train_origin(data);
    mlp_shift_inputs(mlp, -ws.origin);
    for (int epoch = 0; epoch < config.epochs; epoch++) {
        rng_shuffle(&rng, order, IMAGES);
        loss = 0;
        for (int first = 0, n; first < IMAGES; first += n) {
            n = IMAGES - first < config.batch ? IMAGES - first : config.batch;
            for (int i = 0; i < n; i++) {
                memcpy(batch + i * INPUTS, images + order[first + i] * INPUTS, INPUTS);
                y[i] = labels[order[first + i]];
            }
            mlp_load_images(mlp, batch, n, &ws);
            loss += n * step_by_hand(mlp, &gradient, &ws, y, n);
            optimizer_step(&o, learning_rate(config.rate, config.warmup, step++, steps), mlp_parameters(mlp),
                           mlp_parameters(&gradient));
        }
    }
    mlp_shift_inputs(mlp, ws.origin);
    optimizer_free(&o);
    mlp_workspace_free(&ws);
    mlp_free(&gradient);
    return loss / IMAGES;
}

static void initialise(struct mlp *mlp) {
    struct rng rng = rng_seeded(3);
    CHECK(mlp_create(&small, mlp, &err));
    mlp_initialise(mlp, &rng);
}

static void training_gives_the_bytes_of_its_steps_written_out(void **state) {
    (void)state;
    const uint8_t backgrounds[] = {0, 255, 90};
    int threads = gemm_threads(0);
    if (!sparse_kernel_best()) {
        print_message("no sparse kernel for this CPU\n");
        skip();
    }
    for (int b = 0; b < 3; b++)
        for (int t = 1; t <= 3; t += 2) {
            struct train_data data = ink_on(backgrounds[b]);
            struct train_report report;
            struct mlp trained, by_hand;
            initialise(&trained);
            initialise(&by_hand);
            gemm_threads(t);
            CHECK(mlp_train(&trained, &data, &config, &report, &err));
            gemm_threads(1);
            assert_true(report.loss == train_by_hand(&by_hand, &data) && report.loss > 0);
            assert_memory_equal(mlp_parameters(&trained), mlp_parameters(&by_hand),
                                mlp_padded_count(&trained) * sizeof(float));
            mlp_free(&trained);
            mlp_free(&by_hand);
        }
    gemm_threads(threads);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_give_the_bits_of_the_reference),
        cmocka_unit_test(training_gives_the_bytes_of_its_steps_written_out),
    };
    return cmocka_run_group_tests_name("sparse first layer", tests, NULL, NULL);
}
