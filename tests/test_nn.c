/* Training: forward and gradients against plain double-precision loops and PyTorch, optimizers, the schedule,
 * and whole runs of mlp_train. */
#include "base/rng.h"
#include "golden/golden.h"
#include "nn/gemm.h"
#include "nn/mlp.h"
#include "nn/train.h"
#include "mlp_predict.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>

static struct error err;

#define CHECK(call)                                                                                                    \
    do {                                                                                                               \
        if (!(call)) fail_msg("%s: %s", #call, err.text);                                                              \
    } while (0)

/* ---- A network with data, seeded ---- */

enum { MOST_WEIGHTS = 8192, MOST_IMAGES = 64, MOST_INPUTS = 64, MOST_CLASSES = 16 };

struct fixture {
    struct mlp mlp, gradient;
    struct mlp_workspace ws;
    int count;
    uint8_t images[MOST_IMAGES * MOST_INPUTS], labels[MOST_IMAGES];
};

static void fixture_make(const struct mlp_shape *shape, int count, uint64_t seed, struct fixture *f) {
    struct rng rng = rng_seeded(seed);
    int inputs = shape->widths[0], classes = shape->widths[shape->layers];
    CHECK(mlp_create(shape, &f->mlp, &err));
    CHECK(mlp_create(shape, &f->gradient, &err));
    CHECK(mlp_workspace_create(shape, count, true, &f->ws, &err));
    mlp_initialise(&f->mlp, &rng);
    for (int l = 0; l < shape->layers; l++) /* biases that do something */
        for (int j = 0; j < f->mlp.layer[l].out; j++) f->mlp.layer[l].bias[j] = (float)(0.3 * rng_normal(&rng));
    f->count = count;
    for (int i = 0; i < count * inputs; i++) f->images[i] = (uint8_t)rng_next(&rng);
    for (int i = 0; i < count; i++) f->labels[i] = (uint8_t)rng_below(&rng, (uint32_t)classes);
}

static void fixture_free(struct fixture *f) {
    mlp_free(&f->mlp);
    mlp_free(&f->gradient);
    mlp_workspace_free(&f->ws);
}

static void forward(struct fixture *f) {
    mlp_load_images(&f->mlp, f->images, f->count, &f->ws);
    mlp_forward(&f->mlp, f->count, &f->ws);
}

/* ---- The reference: a triple loop in double precision over parameters given as doubles ---- */

struct reference {
    const struct mlp_shape *shape;
    double weight[MLP_MAX_LAYERS][MOST_WEIGHTS], bias[MLP_MAX_LAYERS][MOST_INPUTS];
};

static void reference_make(const struct mlp *mlp, struct reference *r) {
    r->shape = &mlp->shape;
    for (int l = 0; l < mlp->shape.layers; l++) {
        const struct dense *d = &mlp->layer[l];
        assert_true(d->in * d->out <= MOST_WEIGHTS && d->out <= MOST_INPUTS);
        for (int i = 0; i < d->in * d->out; i++) r->weight[l][i] = (double)d->weight[i];
        for (int i = 0; i < d->out; i++) r->bias[l][i] = (double)d->bias[i];
    }
}

static void reference_logits(const struct reference *r, const uint8_t *image, double *x) {
    double y[MOST_INPUTS];
    for (int k = 0; k < r->shape->widths[0]; k++) x[k] = image[k] / 255.0;
    for (int l = 0; l < r->shape->layers; l++) {
        int in = r->shape->widths[l], out = r->shape->widths[l + 1];
        for (int j = 0; j < out; j++) {
            y[j] = r->bias[l][j];
            for (int k = 0; k < in; k++) y[j] += r->weight[l][j * in + k] * x[k];
            if (l + 1 < r->shape->layers) y[j] = fmax(y[j], 0);
        }
        memcpy(x, y, (size_t)out * sizeof *x);
    }
}

static double reference_loss(const struct reference *r, const struct fixture *f, double smoothing) {
    int inputs = r->shape->widths[0], classes = r->shape->widths[r->shape->layers];
    double loss = 0, x[MOST_INPUTS];
    for (int i = 0; i < f->count; i++) {
        double sum = 0;
        reference_logits(r, f->images + i * inputs, x);
        for (int j = 0; j < classes; j++) sum += exp(x[j]);
        for (int j = 0; j < classes; j++) {
            double target = (j == f->labels[i] ? 1 - smoothing : 0) + smoothing / classes;
            loss -= target * (x[j] - log(sum));
        }
    }
    return loss / f->count;
}

/* ---- Forward and backward ---- */

static const struct mlp_shape shapes[] = {{1, {6, 3}},           {1, {33, 1}},        {2, {6, 5, 4}},
                                          {2, {13, 1, 7}},       {3, {6, 5, 4, 3}},   {3, {33, 17, 9, 5}},
                                          {3, {64, 64, 31, 10}}, {4, {3, 7, 5, 9, 2}}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* Floats: a sum of n products is within n * 2^-24 of the sum of their sizes, which here is a few units. */
static void forward_equals_a_triple_loop(void **state) {
    (void)state;
    static struct reference r;
    static struct fixture f;
    for (int s = 0; s < SHAPES; s++) {
        double largest = 0, x[MOST_INPUTS];
        fixture_make(&shapes[s], 7, (uint64_t)s, &f);
        reference_make(&f.mlp, &r);
        forward(&f);
        int inputs = shapes[s].widths[0], classes = shapes[s].widths[shapes[s].layers];
        for (int i = 0; i < f.count; i++) {
            reference_logits(&r, f.images + i * inputs, x);
            for (int j = 0; j < classes; j++) {
                double logit = (double)f.ws.activation[shapes[s].layers][i * classes + j];
                assert_true(fabs(logit - x[j]) <= 1e-5);
                largest = fmax(largest, fabs(x[j]));
            }
        }
        assert_true(largest > 0.1);
        fixture_free(&f);
    }
}

/* The loss that the finite difference is taken of is in double: its own error (h^2 and 1e-16 / h) is below
 * 1e-8, so the tolerance speaks of the float arithmetic of mlp_backward: 100 roundings of 2^-24 against a
 * gradient's size. Returns the largest derivative of the array. */
static double check_array(double *at, const float *gradient, int count, const struct reference *r,
                          const struct fixture *f, double smoothing) {
    const double h = 1e-5;
    double largest = 0;
    for (int i = 0; i < count; i++) {
        double w = at[i];
        at[i] = w + h;
        double above = reference_loss(r, f, smoothing);
        at[i] = w - h;
        double below = reference_loss(r, f, smoothing), slope = (above - below) / (2 * h);
        at[i] = w;
        if (!(fabs((double)gradient[i] - slope) <= 2e-6 + 1e-5 * fabs(slope)))
            fail_msg("element %d: %g, finite difference %g", i, (double)gradient[i], slope);
        largest = fmax(largest, fabs(slope));
    }
    return largest;
}

static void check_gradient(const struct mlp_shape *shape, int count, float smoothing) {
    static struct reference r;
    static struct fixture f;
    fixture_make(shape, count, 30, &f);
    reference_make(&f.mlp, &r);
    forward(&f);
    memset(mlp_parameters(&f.gradient), 0x7f, mlp_padded_count(&f.gradient) * sizeof(float)); /* it is overwritten */
    double loss = mlp_backward(&f.mlp, f.labels, count, smoothing, &f.ws, &f.gradient);
    assert_true(fabs(loss - reference_loss(&r, &f, (double)smoothing)) <= 1e-6);
    for (int l = 0; l < shape->layers; l++) {
        const struct dense *g = &f.gradient.layer[l];
        double of_weight = check_array(r.weight[l], g->weight, g->in * g->out, &r, &f, (double)smoothing);
        double of_bias = check_array(r.bias[l], g->bias, g->out, &r, &f, (double)smoothing);
        bool one_class = shape->widths[shape->layers] == 1; /* then the loss is 0 whatever the logit is */
        if (!one_class) assert_true(of_weight > 1e-3 && of_bias > 1e-3);
    }
    fixture_free(&f);
}

static void gradients_equal_finite_differences(void **state) {
    (void)state;
    for (int s = 0; s < SHAPES; s++) {
        if (mlp_parameter_count(&shapes[s]) > 2000) continue; /* two losses a parameter: keep it short */
        check_gradient(&shapes[s], 7, 0);
        check_gradient(&shapes[s], 7, 0.125f);
        check_gradient(&shapes[s], 1, 0);
    }
}

static void loss_by_hand(void **state) {
    (void)state;
    const float logits[6] = {0, (float)M_LN2, (float)log(5), 3, 3, 3}; /* e^x: 1, 2, 5; three alike */
    const uint8_t labels[2] = {2, 0};
    float g[6];
    double loss = softmax_cross_entropy(logits, labels, 2, 3, 0, g);
    assert_true(fabs(loss - (log(8.0 / 5) + log(3)) / 2) <= 1e-7);
    const double expected[6] = {1 / 16.0, 2 / 16.0, -3 / 16.0, -1 / 3.0, 1 / 6.0, 1 / 6.0};
    for (int i = 0; i < 6; i++) assert_true(fabs((double)g[i] - expected[i]) <= 1e-7);
    loss = softmax_cross_entropy(logits, labels, 2, 3, 0.3f, g); /* targets 0.1, 0.1, 0.8 and 0.8, 0.1, 0.1 */
    double first = 0.1 * log(8) + 0.1 * log(4) + 0.8 * log(8.0 / 5);
    assert_true(fabs(loss - (first + log(3)) / 2) <= 1e-7);
    const double smooth[6] = {0.025 / 2, 0.15 / 2, -0.175 / 2, -0.7 / 3, 0.7 / 6, 0.7 / 6};
    for (int i = 0; i < 6; i++) assert_true(fabs((double)g[i] - smooth[i]) <= 1e-7);
}

static void softmax_is_stable(void **state) {
    (void)state;
    float x[3] = {1000, -1000, 1000}, same[4] = {-1000, -1000, -1000, -1000}, g[3];
    const float logits[3] = {-1000, 1000, 0};
    const uint8_t right = 1, wrong = 0;
    softmax(x, 3);
    assert_true(x[0] == 0.5f && x[1] == 0 && x[2] == 0.5f);
    softmax(same, 4);
    for (int j = 0; j < 4; j++) assert_true(same[j] == 0.25f);
    assert_true(softmax_cross_entropy(logits, &right, 1, 3, 0, g) == 0);
    assert_true(g[0] == 0 && g[1] == 0 && g[2] == 0);
    assert_true(softmax_cross_entropy(logits, &wrong, 1, 3, 0, g) == 2000);
    assert_true(g[0] == -1 && g[1] == 1 && g[2] == 0);
    assert_true(isfinite(softmax_cross_entropy(logits, &wrong, 1, 3, 0.1f, g)));
}

static void a_nan_shows_in_the_loss(void **state) {
    (void)state;
    for (int at = 0; at < 3; at++) {
        float logits[3] = {1, 2, 3}, g[3];
        logits[at] = NAN;
        for (uint8_t label = 0; label < 3; label++)
            assert_true(isnan(softmax_cross_entropy(logits, &label, 1, 3, 0, g)));
    }
    static struct fixture f;
    fixture_make(&shapes[4], 7, 1, &f);
    f.mlp.layer[0].bias[2] = NAN; /* ReLU must not make it 0 */
    forward(&f);
    assert_true(isnan(mlp_backward(&f.mlp, f.labels, f.count, 0, &f.ws, &f.gradient)));
    fixture_free(&f);
}

static void pixels_become_shares_of_255(void **state) {
    (void)state;
    static struct fixture f;
    fixture_make(&(struct mlp_shape){1, {64, 2}}, 4, 1, &f);
    for (int i = 0; i < 256; i++) f.images[i] = (uint8_t)i;
    mlp_load_images(&f.mlp, f.images, 4, &f.ws);
    for (int i = 0; i < 256; i++) assert_true(f.ws.activation[0][i] == (float)i / 255.0f);
    fixture_free(&f);
}

/* ---- PyTorch ---- */

/* Copies PREFIX.fcN.weight and PREFIX.fcN.bias of the golden file into a network. */
static void copy_network(const struct st_file *g, const char *prefix, const struct mlp *to) {
    char name[ST_NAME];
    for (int l = 0; l < to->shape.layers; l++) {
        const struct dense *d = &to->layer[l];
        snprintf(name, sizeof name, "%s.fc%d.weight", prefix, l + 1);
        golden_copy(g, name, ST_F32, (size_t)(d->in * d->out), d->weight);
        snprintf(name, sizeof name, "%s.fc%d.bias", prefix, l + 1);
        golden_copy(g, name, ST_F32, (size_t)d->out, d->bias);
    }
}

static void assert_close(const float *a, const float *b, size_t count, double tolerance) {
    double largest = 0;
    for (size_t i = 0; i < count; i++) {
        if (!(fabs((double)a[i] - (double)b[i]) <= tolerance))
            fail_msg("element %zu: %.9g, expected %.9g", i, (double)a[i], (double)b[i]);
        largest = fmax(largest, fabs((double)b[i]));
    }
    assert_true(largest > 100 * tolerance);
}

static void golden_fixture(const struct st_file *g, struct fixture *f) {
    fixture_make(&(struct mlp_shape){3, {6, 5, 4, 3}}, 7, 1, f);
    copy_network(g, "initial", &f->mlp);
    golden_copy(g, "images", ST_U8, 7 * 6, f->images);
    golden_copy(g, "labels", ST_U8, 7, f->labels);
}

/* Values of the size of 1, computed with some ten roundings of 2^-24. */
static void loss_and_gradients_equal_pytorchs(void **state) {
    (void)state;
    static struct fixture f;
    struct st_file *g = golden_open("tests/golden/torch.safetensors");
    struct mlp expected;
    float logits[7 * 3], smoothing[1], loss[1];
    golden_fixture(g, &f);
    CHECK(mlp_create(&f.mlp.shape, &expected, &err));
    golden_copy(g, "logits", ST_F32, 7 * 3, logits);
    golden_copy(g, "smoothing", ST_F32, 1, smoothing);
    for (int smooth = 0; smooth < 2; smooth++) {
        golden_copy(g, smooth ? "smooth_loss" : "loss", ST_F32, 1, loss);
        copy_network(g, smooth ? "smooth_gradient" : "gradient", &expected);
        forward(&f);
        assert_close(f.ws.activation[3], logits, 7 * 3, 2e-6);
        double found = mlp_backward(&f.mlp, f.labels, 7, smooth ? smoothing[0] : 0, &f.ws, &f.gradient);
        assert_true(fabs(found - (double)loss[0]) <= 1e-6);
        assert_close(mlp_parameters(&f.gradient), mlp_parameters(&expected), mlp_padded_count(&expected), 1e-6);
    }
    mlp_free(&expected);
    fixture_free(&f);
    golden_close(g);
}

/* Three whole steps: forward, backward, optimizer. Parameters move by up to 0.05. */
static void three_steps_equal_pytorchs(void **state) {
    (void)state;
    static struct fixture f;
    struct st_file *g = golden_open("tests/golden/torch.safetensors");
    float rates[2];
    golden_copy(g, "rates", ST_F32, 2, rates);
    for (int kind = 0; kind < 2; kind++) {
        struct optimizer o;
        struct mlp expected;
        golden_fixture(g, &f);
        CHECK(mlp_create(&f.mlp.shape, &expected, &err));
        copy_network(g, kind ? "sgd" : "adam", &expected);
        CHECK(optimizer_create(kind ? OPTIMIZER_SGD : OPTIMIZER_ADAM, mlp_padded_count(&f.mlp), &o, &err));
        for (int step = 0; step < 3; step++) {
            forward(&f);
            mlp_backward(&f.mlp, f.labels, 7, 0, &f.ws, &f.gradient);
            optimizer_step(&o, rates[kind], mlp_parameters(&f.mlp), mlp_parameters(&f.gradient));
        }
        assert_close(mlp_parameters(&f.mlp), mlp_parameters(&expected), mlp_padded_count(&expected), 2e-6);
        optimizer_free(&o);
        mlp_free(&expected);
        fixture_free(&f);
    }
    golden_close(g);
}

/* Gradients from 1e-7 to 1e3, some zero. Adam's steps are of the size of the rate whatever the gradient;
 * SGD's grow with it, and so does their rounding. */
static void optimizers_equal_pytorchs(void **state) {
    (void)state;
    enum { COUNT = 16, STEPS = 5 };
    float start[COUNT], gradients[STEPS][COUNT], expected[STEPS][COUNT], rates[2], w[COUNT];
    struct st_file *g = golden_open("tests/golden/torch.safetensors");
    golden_copy(g, "flat.start", ST_F32, COUNT, start);
    golden_copy(g, "flat.gradients", ST_F32, STEPS * COUNT, gradients);
    golden_copy(g, "rates", ST_F32, 2, rates);
    for (int kind = 0; kind < 2; kind++) {
        struct optimizer o;
        golden_copy(g, kind ? "flat.sgd" : "flat.adam", ST_F32, STEPS * COUNT, expected);
        CHECK(optimizer_create(kind ? OPTIMIZER_SGD : OPTIMIZER_ADAM, COUNT, &o, &err));
        memcpy(w, start, sizeof w);
        for (int step = 0; step < STEPS; step++) {
            optimizer_step(&o, rates[kind], w, gradients[step]);
            for (int i = 0; i < COUNT; i++) {
                double e = (double)expected[step][i], size = fabs(e) + fabs((double)start[i]);
                if (!(fabs((double)w[i] - e) <= 1e-6 * size + 1e-6 * (double)rates[kind]))
                    fail_msg("%s, step %d, element %d: %.9g, expected %.9g", kind ? "sgd" : "adam", step, i,
                             (double)w[i], e);
            }
        }
        assert_true(w[3] == start[3]); /* its gradient is always 0 */
        assert_true(fabsf(w[0] - start[0]) < 1e-5f || kind == 0);
        assert_int_equal(o.step, STEPS);
        optimizer_free(&o);
    }
    golden_close(g);
}

/* ---- The schedule ---- */

static void schedule(void **state) {
    (void)state;
    const struct {
        double warmup;
        long step, steps;
        double rate;
    } cases[] = {
        {0.1, 0, 100, 0.1},
        {0.1, 4, 100, 0.5},
        {0.1, 8, 100, 0.9},
        {0.1, 9, 100, 1}, /* the peak */
        {0.1, 10, 100, 90 / 91.0},
        {0.1, 99, 100, 1 / 91.0}, /* the last step still moves */
        {0, 0, 100, 100 / 101.0},
        {0, 99, 100, 1 / 101.0},
        {1, 0, 10, 0.1},
        {1, 8, 10, 0.9},
        {1, 9, 10, 1},
        {1, 0, 1, 1},
        {0.5, 0, 2, 1},
        {0.5, 1, 2, 0.5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float rate = learning_rate(0.25f, cases[i].warmup, cases[i].step, cases[i].steps);
        assert_true(fabs((double)rate - 0.25 * cases[i].rate) <= 1e-7);
    }
}

static void schedule_rises_then_falls_and_stays_positive(void **state) {
    (void)state;
    const double warmups[] = {0, 0.013, 0.1, 0.5, 0.999, 1};
    for (size_t i = 0; i < 6; i++)
        for (long steps = 1; steps <= 1000; steps = steps * 2 + 1) {
            float highest = 0, before = 0;
            bool falling = false;
            for (long step = 0; step < steps; step++) {
                float rate = learning_rate(1, warmups[i], step, steps);
                assert_true(rate > 0 && rate <= 1 && rate != before);
                if (rate < before) falling = true;
                assert_true(!falling || rate < before);
                highest = fmaxf(highest, rate);
                before = rate;
            }
            assert_true(highest >= (float)steps / (float)(steps + 1) - 1e-6f); /* at most one step off the peak */
        }
}

/* ---- Whole runs ---- */

/* Class c: pixel c is bright, the others are dark noise. */
static void separable(uint8_t *images, uint8_t *labels, int count, int inputs, int classes) {
    struct rng rng = rng_seeded(11);
    for (int i = 0; i < count; i++) {
        labels[i] = (uint8_t)rng_below(&rng, (uint32_t)classes);
        for (int k = 0; k < inputs; k++) images[i * inputs + k] = (uint8_t)rng_below(&rng, 60);
        images[i * inputs + labels[i]] = (uint8_t)(180 + rng_below(&rng, 76));
    }
}

enum { INPUTS = 6, CLASSES = 4, IMAGES = 50 };
static const struct mlp_shape small = {2, {INPUTS, 8, CLASSES}};
static const struct train_config plain = {
    .epochs = 3, .batch = 8, .optimizer = OPTIMIZER_ADAM, .rate = 0.01f, .warmup = 0.1, .smoothing = 0, .seed = 5};
static uint8_t train_images[IMAGES * INPUTS], train_labels[IMAGES];

/* Trains a network initialised from a seed. */
static bool train(const struct train_config *config, uint64_t seed, struct mlp *out, struct train_report *report) {
    struct rng rng = rng_seeded(seed);
    CHECK(mlp_create(&small, out, &err));
    mlp_initialise(out, &rng);
    separable(train_images, train_labels, IMAGES, INPUTS, CLASSES);
    return mlp_train(out,
                     &(struct train_data){train_images, train_labels, IMAGES, (size_t)out->shape.widths[0], NULL, NULL},
                     config, report, &err);
}

static bool same_bytes(const struct mlp *a, const struct mlp *b) {
    return memcmp(mlp_parameters(a), mlp_parameters(b), mlp_padded_count(a) * sizeof(float)) == 0;
}

static void the_seed_decides_every_byte(void **state) {
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        struct train_config config = plain, other_order = plain;
        struct train_report report;
        struct mlp a, b, shuffled, initialised;
        config.optimizer = other_order.optimizer = kind ? OPTIMIZER_SGD : OPTIMIZER_ADAM;
        other_order.seed++;
        CHECK(train(&config, 1, &a, &report));
        CHECK(train(&config, 1, &b, &report));
        CHECK(train(&other_order, 1, &shuffled, &report));
        CHECK(train(&config, 2, &initialised, &report));
        assert_true(same_bytes(&a, &b));
        assert_false(same_bytes(&a, &shuffled));
        assert_false(same_bytes(&a, &initialised));
        struct mlp *all[] = {&a, &b, &shuffled, &initialised};
        for (int i = 0; i < 4; i++) mlp_free(all[i]);
    }
}

/* b += origin * sum_k w[k] of the first layer */
static void shift_by_hand(struct mlp *mlp, double origin) {
    for (int c = 0; c < mlp->layer[0].out; c++) {
        double sum = 0;
        for (int k = 0; k < mlp->layer[0].in; k++) sum += (double)mlp->layer[0].weight[c * mlp->layer[0].in + k];
        mlp->layer[0].bias[c] = (float)((double)mlp->layer[0].bias[c] + origin * sum);
    }
}

static int by_byte(const void *a, const void *b) { return *(const uint8_t *)a - *(const uint8_t *)b; }

/* The byte that half of the others are no greater than, as a share of 255. */
static float median_by_hand(const uint8_t *bytes, size_t count) {
    uint8_t *sorted = malloc(count);
    assert_non_null(sorted);
    memcpy(sorted, bytes, count);
    qsort(sorted, count, 1, by_byte);
    float median = (float)sorted[(count - 1) / 2] / 255.0f;
    free(sorted);
    return median;
}

/* mlp_train written out with the parts tested above: 50 images in batches of 8, the seventh of 2. */
static double train_by_hand(const struct train_config *config, struct mlp *mlp) {
    struct fixture *f = calloc(1, sizeof *f);
    struct optimizer o;
    struct rng rng = rng_seeded(config->seed);
    uint32_t order[IMAGES];
    long step = 0, steps = config->epochs * ((IMAGES + config->batch - 1) / config->batch);
    double loss = 0;
    assert_non_null(f);
    fixture_make(&small, config->batch, 1, f);
    CHECK(optimizer_create(config->optimizer, mlp_padded_count(mlp), &o, &err));
    for (uint32_t i = 0; i < IMAGES; i++) order[i] = i;
    f->ws.origin = median_by_hand(train_images, sizeof train_images);
    shift_by_hand(mlp, (double)f->ws.origin);
    for (int epoch = 0; epoch < config->epochs; epoch++) {
        rng_shuffle(&rng, order, IMAGES);
        loss = 0;
        for (int first = 0; first < IMAGES; first += f->count) {
            f->count = IMAGES - first < config->batch ? IMAGES - first : config->batch;
            for (int i = 0; i < f->count; i++) {
                memcpy(f->images + i * INPUTS, train_images + order[first + i] * INPUTS, INPUTS);
                f->labels[i] = train_labels[order[first + i]];
            }
            mlp_load_images(mlp, f->images, f->count, &f->ws);
            mlp_forward(mlp, f->count, &f->ws);
            loss += f->count * mlp_backward(mlp, f->labels, f->count, config->smoothing, &f->ws, &f->gradient);
            optimizer_step(&o, learning_rate(config->rate, config->warmup, step++, steps), mlp_parameters(mlp),
                           mlp_parameters(&f->gradient));
        }
    }
    shift_by_hand(mlp, -(double)f->ws.origin);
    optimizer_free(&o);
    fixture_free(f);
    free(f);
    return loss / IMAGES;
}

static void the_last_batch_may_be_short(void **state) {
    (void)state;
    const int batches[] = {1, 7, 8, 49, 50, 64};
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        struct train_config config = plain;
        struct train_report report;
        struct mlp trained, by_hand;
        struct rng rng = rng_seeded(3);
        config.batch = batches[i];
        config.smoothing = 0.05f;
        CHECK(train(&config, 3, &trained, &report));
        CHECK(mlp_create(&small, &by_hand, &err));
        mlp_initialise(&by_hand, &rng);
        assert_true(report.loss == train_by_hand(&config, &by_hand) && report.loss > 0);
        assert_true(same_bytes(&trained, &by_hand));
        assert_int_equal(report.steps, 3 * ((IMAGES + batches[i] - 1) / batches[i]));
        assert_true(report.seconds >= 0);
        mlp_free(&trained);
        mlp_free(&by_hand);
    }
}

static void the_origin_is_the_median_byte(void **state) {
    (void)state;
    enum { MANY = 9000, PAIRS = 2 * MANY };
    static uint8_t images[PAIRS];
    struct rng rng = rng_seeded(3);
    for (int count = 1; count < 40; count++) {
        for (int i = 0; i < 3 * count; i++) images[i] = (uint8_t)rng_below(&rng, count % 2 ? 256 : 5);
        float origin = train_origin(&(struct train_data){images, NULL, (size_t)count, 3, NULL, NULL});
        assert_true(origin == median_by_hand(images, 3 * (size_t)count));
    }
    for (int i = 0; i < PAIRS; i++) images[i] = i < PAIRS * 4 / 10 ? 0 : 255; /* a set sorted by class */
    assert_true(train_origin(&(struct train_data){images, NULL, MANY, 2, NULL, NULL}) == 1);
    for (int i = 0; i < PAIRS; i++) images[i] = i < PAIRS * 6 / 10 ? 0 : 255;
    assert_true(train_origin(&(struct train_data){images, NULL, MANY, 2, NULL, NULL}) == 0);
}

/* The network of x - shift, by the definition: it answers x as the old one did x - shift. */
static void a_shift_of_the_inputs_is_taken_back_by_the_bias(void **state) {
    (void)state;
    static struct fixture f;
    float before[MOST_IMAGES * 4], largest = 0;
    fixture_make(&(struct mlp_shape){2, {6, 5, 4}}, 20, 1, &f);
    f.ws.origin = 0.25f;
    forward(&f);
    memcpy(before, f.ws.activation[2], 20 * 4 * sizeof(float));
    f.ws.origin = 0;
    mlp_shift_inputs(&f.mlp, 0.25f);
    forward(&f);
    for (int i = 0; i < 20 * 4; i++) {
        assert_true(fabsf(before[i] - f.ws.activation[2][i]) <= 1e-5f);
        largest = fmaxf(largest, fabsf(before[i]));
    }
    assert_true(largest > 0.1f);
    fixture_free(&f);
}

/* A set and its negative are one problem: where x becomes 1 - x and the first layer's weights change their signs, all
 * else comes out the same. (The new network's biases are 0 for what it learns from: see train_origin.) */
static void a_negative_is_learned_like_its_positive(void **state) {
    (void)state;
    struct mlp mlp[2];
    float logits[2][IMAGES * CLASSES], largest = 0;
    for (int negative = 0; negative < 2; negative++) {
        struct rng rng = rng_seeded(8);
        struct train_report report;
        struct mlp_workspace ws;
        struct train_data data = {train_images, train_labels, IMAGES, INPUTS, NULL, NULL};
        CHECK(mlp_create(&small, &mlp[negative], &err));
        mlp_initialise(&mlp[negative], &rng);
        separable(train_images, train_labels, IMAGES, INPUTS, CLASSES);
        for (int i = 0; i < IMAGES * INPUTS; i++)
            if (train_images[i] < 60) train_images[i] = 0;
        for (int i = 0; negative && i < IMAGES * INPUTS; i++) train_images[i] = (uint8_t)(255 - train_images[i]);
        for (int i = 0; negative && i < INPUTS * 8; i++) mlp[1].layer[0].weight[i] *= -1;
        assert_true(train_origin(&data) == (float)negative);
        mlp_shift_inputs(&mlp[negative], train_origin(&data));
        CHECK(mlp_train(&mlp[negative], &data, &plain, &report, &err));
        CHECK(mlp_workspace_create(&small, IMAGES, false, &ws, &err));
        mlp_load_images(&mlp[negative], train_images, IMAGES, &ws);
        mlp_forward(&mlp[negative], IMAGES, &ws);
        memcpy(logits[negative], ws.activation[2], sizeof logits[0]);
        mlp_workspace_free(&ws);
    }
    for (int i = 0; i < IMAGES * CLASSES; i++) {
        if (!(fabsf(logits[0][i] - logits[1][i]) <= 1e-3f))
            fail_msg("logit %d: %g and %g", i, (double)logits[0][i], (double)logits[1][i]);
        largest = fmaxf(largest, fabsf(logits[0][i]));
    }
    assert_true(largest > 0.5f);
    for (int i = 0; i < 2; i++) mlp_free(&mlp[i]);
}

/* Nothing between the arrays ever becomes other than 0: an optimizer walks over it. */
static void padding_stays_zero(void **state) {
    (void)state;
    struct train_report report;
    struct mlp mlp;
    CHECK(train(&plain, 1, &mlp, &report));
    size_t nonzero = 0;
    for (size_t i = 0; i < mlp_padded_count(&mlp); i++) nonzero += mlp_parameters(&mlp)[i] != 0;
    assert_true(mlp_padded_count(&mlp) > mlp_parameter_count(&small));
    assert_in_range(nonzero, mlp_parameter_count(&small) - 8, mlp_parameter_count(&small));
    mlp_free(&mlp);
}

/* Rates at which the loss, or only the parameters after the last step, stop being numbers. */
static void divergence_is_an_error(void **state) {
    (void)state;
    const struct {
        enum optimizer_kind optimizer;
        float rate;
        int epochs, batch;
    } cases[] = {{OPTIMIZER_ADAM, 1e30f, 3, 8},
                 {OPTIMIZER_SGD, 1e30f, 3, 8},
                 {OPTIMIZER_ADAM, FLT_MAX, 3, 8},
                 {OPTIMIZER_ADAM, FLT_MAX, 1, 50}, /* one step */
                 {OPTIMIZER_ADAM, 1e38f, 1, 50}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct train_config config = plain;
        struct train_report report = {0};
        struct mlp mlp;
        config.optimizer = cases[i].optimizer;
        config.rate = cases[i].rate;
        config.epochs = cases[i].epochs;
        config.batch = cases[i].batch;
        config.warmup = 1;
        if (train(&config, 1, &mlp, &report)) fail_msg("case %zu: trained, loss %g", i, report.loss);
        if (!strstr(err.text, "diverged") || !strstr(err.text, "learning rate")) fail_msg("%s", err.text);
        long step = 1; /* of 21: the loss is watched at every one */
        if (cases[i].epochs > 1 && (sscanf(err.text, "training diverged at step %ld", &step) != 1 || step > 5))
            fail_msg("%s", err.text);
        mlp_free(&mlp);
    }
}

static void a_separable_problem_is_learned(void **state) {
    (void)state;
    const struct {
        enum optimizer_kind optimizer;
        float rate;
    } cases[] = {{OPTIMIZER_ADAM, 0.01f}, {OPTIMIZER_SGD, 0.1f}};
    for (int i = 0; i < 2; i++) {
        struct train_config config = plain;
        struct train_report report;
        struct mlp_workspace ws;
        struct mlp mlp;
        uint8_t predicted[IMAGES];
        config.optimizer = cases[i].optimizer;
        config.rate = cases[i].rate;
        config.epochs = 60;
        CHECK(train(&config, 1, &mlp, &report));
        CHECK(mlp_workspace_create(&small, 7, false, &ws, &err));
        assert_int_equal(mlp_predict(&mlp, train_images, IMAGES, &ws, predicted), 0);
        assert_memory_equal(predicted, train_labels, IMAGES);
        assert_true(report.loss < 0.3);
        mlp_workspace_free(&ws);
        mlp_free(&mlp);
    }
}

struct seen_progress {
    size_t calls, done, total;
};

static void see_progress(void *context, size_t done, size_t total) {
    struct seen_progress *seen = context;
    assert_true(done > seen->done && done <= total);
    *seen = (struct seen_progress){seen->calls + 1, done, total};
}

static void progress_counts_images(void **state) {
    (void)state;
    struct seen_progress seen = {0};
    struct train_report report;
    struct rng rng = rng_seeded(1);
    struct mlp mlp;
    CHECK(mlp_create(&small, &mlp, &err));
    mlp_initialise(&mlp, &rng);
    separable(train_images, train_labels, IMAGES, INPUTS, CLASSES);
    CHECK(mlp_train(
        &mlp,
        &(struct train_data){train_images, train_labels, IMAGES, (size_t)mlp.shape.widths[0], see_progress, &seen},
        &plain, &report, &err));
    assert_true(seen.calls > 0 && seen.done == 3 * IMAGES && seen.total == 3 * IMAGES);
    mlp_free(&mlp);
}

/* ---- Prediction and shapes ---- */

static void predict_ties(void **state) {
    (void)state;
    enum { COUNT = 11 };
    struct mlp mlp;
    struct mlp_workspace ws;
    uint8_t images[COUNT * 3] = {0}, predicted[COUNT];
    CHECK(mlp_create(&(struct mlp_shape){1, {3, 4}}, &mlp, &err));
    CHECK(mlp_workspace_create(&mlp.shape, 4, false, &ws, &err));              /* 11 images in blocks of 4, 4 and 3 */
    assert_int_equal(mlp_predict(&mlp, images, COUNT, &ws, predicted), COUNT); /* all parameters 0 */
    for (int i = 0; i < COUNT; i++) assert_int_equal(predicted[i], 0);
    memcpy(mlp.layer[0].bias, (float[4]){1, 3, -1, 3}, 4 * sizeof(float));
    mlp.layer[0].weight[2 * 3] = 5; /* class 2 by the first pixel: -1 + 5 x, above 3 from 205 on */
    images[5 * 3] = 255;
    images[10 * 3] = 210;
    images[7 * 3] = 200;
    assert_int_equal(mlp_predict(&mlp, images, COUNT, &ws, predicted), COUNT - 2);
    for (int i = 0; i < COUNT; i++) assert_int_equal(predicted[i], i == 5 || i == 10 ? 2 : 1);
    assert_int_equal(mlp_predict(&mlp, images, 0, &ws, predicted), 0);
    mlp_workspace_free(&ws);
    mlp_free(&mlp);
}

static void shapes_are_checked(void **state) {
    (void)state;
    int hidden[MLP_MAX_LAYERS];
    for (int i = 0; i < MLP_MAX_LAYERS; i++) hidden[i] = 8;
    const struct {
        int inputs, first, count, classes;
        const char *wrong; /* NULL: fine */
    } cases[] = {
        {784, 8, 1, 10, NULL},
        {1, 1, 0, 1, NULL},
        {784, 8, MLP_MAX_LAYERS - 1, 256, NULL},
        {MLP_MAX_WIDTH, MLP_MAX_WIDTH, 1, 2, NULL},
        {784, 0, 1, 10, "0 neurons"},
        {784, -5, 2, 10, "-5 neurons"},
        {784, MLP_MAX_WIDTH + 1, 1, 10, "16385"},
        {0, 8, 1, 10, "0 neurons"},
        {784, 8, 1, 0, "0 neurons"},
        {784, 8, 1, 257, "257 classes"},
        {784, 8, MLP_MAX_LAYERS, 10, "16 hidden"},
        {784, 8, -1, 10, "-1 hidden"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mlp_shape shape;
        hidden[0] = cases[i].first;
        bool ok = mlp_shape_make(cases[i].inputs, hidden, cases[i].count, cases[i].classes, &shape, &err);
        assert_true(ok == !cases[i].wrong);
        if (!ok && !strstr(err.text, cases[i].wrong)) fail_msg("%s", err.text);
        if (ok) assert_true(shape.layers == cases[i].count + 1 && shape.widths[shape.layers] == cases[i].classes);
    }
}

static void shapes_are_counted_and_printed(void **state) {
    (void)state;
    struct mlp_shape shape;
    char text[32], cut[8];
    CHECK(mlp_shape_make(784, (int[]){128}, 1, 10, &shape, &err));
    assert_int_equal(mlp_parameter_count(&shape), 101770); /* the lesson's */
    CHECK(mlp_shape_make(784, (int[]){256, 256}, 2, 10, &shape, &err));
    assert_int_equal(mlp_parameter_count(&shape), 269322);
    mlp_shape_print(&shape, text, sizeof text);
    assert_string_equal(text, "784-256-256-10");
    mlp_shape_print(&shape, cut, sizeof cut);
    assert_string_equal(cut, "784-256");
}

/* He: variance 2 / in, mean 0; 200,000 values know the deviation to 0.2%. Biases 0. */
static void initial_weights(void **state) {
    (void)state;
    struct mlp mlp;
    struct rng rng = rng_seeded(1);
    CHECK(mlp_create(&(struct mlp_shape){1, {1000, 200}}, &mlp, &err));
    mlp.layer[0].bias[3] = 1;
    mlp_initialise(&mlp, &rng);
    double sum = 0, squares = 0, count = 200000;
    for (int i = 0; i < 200000; i++) {
        double w = (double)mlp.layer[0].weight[i];
        sum += w;
        squares += w * w;
    }
    assert_true(fabs(sum / count) <= 5 * sqrt(0.002 / count));
    assert_true(fabs(squares / count / 0.002 - 1) <= 0.02);
    for (int j = 0; j < 200; j++) assert_true(mlp.layer[0].bias[j] == 0);
    mlp_free(&mlp);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_equals_a_triple_loop),
        cmocka_unit_test(gradients_equal_finite_differences),
        cmocka_unit_test(loss_by_hand),
        cmocka_unit_test(softmax_is_stable),
        cmocka_unit_test(a_nan_shows_in_the_loss),
        cmocka_unit_test(pixels_become_shares_of_255),
        cmocka_unit_test(loss_and_gradients_equal_pytorchs),
        cmocka_unit_test(three_steps_equal_pytorchs),
        cmocka_unit_test(optimizers_equal_pytorchs),
        cmocka_unit_test(schedule),
        cmocka_unit_test(schedule_rises_then_falls_and_stays_positive),
        cmocka_unit_test(the_seed_decides_every_byte),
        cmocka_unit_test(the_last_batch_may_be_short),
        cmocka_unit_test(the_origin_is_the_median_byte),
        cmocka_unit_test(a_shift_of_the_inputs_is_taken_back_by_the_bias),
        cmocka_unit_test(a_negative_is_learned_like_its_positive),
        cmocka_unit_test(padding_stays_zero),
        cmocka_unit_test(divergence_is_an_error),
        cmocka_unit_test(a_separable_problem_is_learned),
        cmocka_unit_test(progress_counts_images),
        cmocka_unit_test(predict_ties),
        cmocka_unit_test(shapes_are_checked),
        cmocka_unit_test(shapes_are_counted_and_printed),
        cmocka_unit_test(initial_weights),
    };
    return cmocka_run_group_tests_name("nn", tests, NULL, NULL);
}
