/* The engine with faults: bit for bit the reference while nothing is broken; and every fault shows, in its own way. */
#include "base/digest.h"
#include "base/rng.h"
#include "quant/convert.h"
#include "model/evaluation.h"

#include "support.h"

#include <math.h>

enum { IMAGES = 40, INPUTS = 31, HIDDEN = 20, CLASSES = 10, MAX_WIDTH = 64 };

/* ---- networks ------------------------------------------------------------------------------------------------- */

static void random_bytes(uint64_t seed, int highest, uint8_t *bytes, size_t count) {
    struct rng rng = rng_seeded(seed);
    for (size_t i = 0; i < count; i++) bytes[i] = (uint8_t)rng_below(&rng, (uint32_t)highest + 1);
}

static void make_network(const int *hidden, int count, uint64_t seed, bool per_channel, bool symmetric,
                         struct qmlp *q) {
    struct error err;
    struct mlp_shape shape;
    struct mlp mlp;
    struct mlp_workspace ws;
    struct range ranges[MLP_MAX_LAYERS + 1];
    struct convert_config config = {.per_channel = per_channel, .symmetric_activations = symmetric};
    struct rng rng = rng_seeded(seed);
    size_t saturated;
    uint8_t images[IMAGES * INPUTS];
    random_bytes(seed + 1, 255, images, sizeof images);
    assert_true(mlp_shape_make(INPUTS, hidden, count, CLASSES, &shape, &err) && mlp_create(&shape, &mlp, &err));
    mlp_initialise(&mlp, &rng);
    for (int l = 0; l < shape.layers; l++)
        for (int c = 0; c < shape.widths[l + 1]; c++) mlp.layer[l].bias[c] = (float)(0.3 * rng_normal(&rng));
    assert_true(mlp_workspace_create(&shape, CALIBRATION_BATCH, false, &ws, &err));
    assert_true(calibrate(&mlp, images, IMAGES, &config, &ws, ranges, &err));
    assert_true(convert(&mlp, ranges, &config, q, &saturated, &err));
    assert_int_equal(saturated, 0);
    mlp_workspace_free(&ws);
    mlp_free(&mlp);
}

enum { ASYMMETRIC, SYMMETRIC, TIES, PER_TENSOR, NETWORKS };

/* The kernel has a copy of the multipliers. */
static void pack_again(struct qmlp *q) {
    struct error err;
    assert_true(qmlp_use_kernel(q, q->kernel, &err));
}

/* One hidden layer. TIES: every M is a power of two, so that requantization meets exact ties. */
static void make_kind(int kind, struct qmlp *q) {
    static const int hidden[] = {HIDDEN};
    make_network(hidden, 1, 7, kind != PER_TENSOR, kind == SYMMETRIC, q);
    for (int l = 0; kind == TIES && l < 2; l++)
        for (int c = 0; c < q->layer[l].out; c++)
            q->layer[l].multiplier[c] = (struct multiplier){1 << 30, l == 0 ? 40 : 37};
    pack_again(q);
}

/* The codes of a batch, tensor by tensor. */
struct faults_workspace {
    uint8_t *codes[MLP_MAX_LAYERS + 1];
    size_t cut[MLP_MAX_LAYERS + 1];
};

static void faults_workspace_free(struct faults_workspace *ws) {
    for (int i = 0; i <= MLP_MAX_LAYERS; i++) free(ws->codes[i]);
}

static struct faults_workspace run_fault(const struct qmlp *q, const struct fault *fault, int layer,
                                         const uint8_t *images, int count) {
    struct error err;
    struct faults_workspace ws;
    struct qmlp_workspace scratch;
    assert_non_null(fault);
    assert_true(qmlp_workspace_create(&q->shape, 3, &scratch, &err));
    memset(&ws, 0, sizeof ws);
    for (int i = 0; i <= q->shape.layers; i++)
        assert_non_null(ws.codes[i] = aligned_array((size_t)count * (size_t)q->shape.widths[i], 1, &err));
    faults_forward(q, fault, layer, images, count, &scratch, ws.codes, ws.cut);
    qmlp_workspace_free(&scratch);
    return ws;
}

static struct faults_workspace run(const struct qmlp *q, const char *fault, int layer, const uint8_t *images,
                                   int count) {
    return run_fault(q, fault_find(fault), layer, images, count);
}

/* ---- nothing broken ------------------------------------------------------------------------------------------- */

static void same_as_reference(const struct qmlp *q, const struct fault *fault, const uint8_t *images, int count) {
    int classes = q->shape.widths[q->shape.layers];
    uint8_t *expected = malloc((size_t)(count * classes)), *y = malloc((size_t)count * MAX_WIDTH);
    struct faults_workspace ws = run_fault(q, fault, FAULTS_ALL_LAYERS, images, count);
    qmlp_forward_ref(q, images, (size_t)count, expected);
    assert_memory_equal(ws.codes[q->shape.layers], expected, (size_t)(count * classes));
    for (int l = 0; l < q->shape.layers; l++) { /* the layers between, too */
        qlinear_ref(&q->layer[l], ws.codes[l], (size_t)count, y);
        assert_memory_equal(ws.codes[l + 1], y, (size_t)(count * q->layer[l].out));
    }
    int different = 0; /* codes that are all alike would prove nothing */
    for (int i = 1; i < count * classes; i++) different += expected[i] != expected[0];
    assert_true(different > count);
    faults_workspace_free(&ws);
    free(expected);
    free(y);
}

static void with_no_fault_the_codes_are_the_references(void **state) {
    (void)state;
    static const int hidden[][3] = {{0}, {HIDDEN}, {1}, {33, 17}, {64, 5, 64}};
    static const int counts[] = {0, 1, 1, 2, 3};
    uint8_t images[IMAGES * INPUTS];
    random_bytes(3, 255, images, sizeof images);
    for (int shape = 0; shape < 5; shape++)
        for (int kind = 0; kind < 4; kind++) {
            struct qmlp q;
            make_network(hidden[shape], counts[shape], (uint64_t)shape + 5, kind % 2, kind / 2, &q);
            same_as_reference(&q, &faults[0], images, IMAGES);                           /* by the kernel */
            same_as_reference(&q, &(struct fault){.kind = FAULT_QUIET}, images, IMAGES); /* step by step, each right */
            qmlp_free(&q);
        }
}

static void the_table_has_no_name_twice(void **state) {
    (void)state;
    int count = 0;
    assert_string_equal(faults[0].name, "none");
    for (const struct fault *f = faults; f->name; f++, count++) {
        assert_ptr_equal(fault_find(f->name), f); /* the first of that name */
        assert_true(*f->what && *f->signature);
        assert_true((f->kind == FAULT_NONE) == (f == faults));
        assert_true((f->kind == FAULT_ACCUMULATOR) == (f->bits > 0));
        struct fault_steps s = f->steps; /* one step is replaced, in "none" no step */
        assert_int_equal((s.sum != NULL) + (s.bias != NULL) + (s.scale != NULL) + (s.clamp != NULL), f != faults);
    }
    assert_true(count >= 19);
    assert_null(fault_find("nothing of that name"));
    assert_null(fault_find(""));
}

/* ---- every fault shows ---------------------------------------------------------------------------------------- */

/* The codes of all layers of all kinds of networks on bright, dim and black images: a fault's fingerprint. */
enum { KINDS_OF_IMAGES = 3, PRINT = NETWORKS * KINDS_OF_IMAGES * IMAGES * (HIDDEN + CLASSES) };

static uint8_t *fingerprint(const char *fault) {
    static const int highest[KINDS_OF_IMAGES] = {255, 100, 0};
    uint8_t images[IMAGES * INPUTS], *print = malloc(PRINT), *to = print;
    for (int kind = 0; kind < NETWORKS; kind++) {
        struct qmlp q;
        make_kind(kind, &q);
        for (int i = 0; i < KINDS_OF_IMAGES; i++) {
            random_bytes(11, highest[i], images, sizeof images);
            struct faults_workspace ws = run(&q, fault, FAULTS_ALL_LAYERS, images, IMAGES);
            memcpy(to, ws.codes[1], IMAGES * HIDDEN);
            memcpy(to + IMAGES * HIDDEN, ws.codes[2], IMAGES * CLASSES);
            to += IMAGES * (HIDDEN + CLASSES);
            faults_workspace_free(&ws);
        }
        qmlp_free(&q);
    }
    assert_int_equal(to - print, PRINT);
    return print;
}

static void every_fault_gives_other_codes_than_every_other(void **state) {
    (void)state;
    uint8_t *prints[64] = {0};
    int count = 0;
    for (const struct fault *f = faults; f->name; f++) prints[count++] = fingerprint(f->name);
    for (int i = 0; i < count; i++)
        for (int j = 0; j < i; j++)
            if (memcmp(prints[i], prints[j], PRINT) == 0)
                fail_msg("%s cannot be told from %s", faults[i].name, faults[j].name);
    for (int i = 0; i < count; i++) free(prints[i]);
}

static void a_fault_in_one_layer_leaves_the_others_right(void **state) {
    (void)state;
    uint8_t images[IMAGES * INPUTS], y[IMAGES * CLASSES];
    struct qmlp q;
    make_kind(ASYMMETRIC, &q);
    random_bytes(11, 255, images, sizeof images);
    struct faults_workspace right = run(&q, "none", FAULTS_ALL_LAYERS, images, IMAGES);
    struct faults_workspace first = run(&q, "truncation", 0, images, IMAGES),
                            last = run(&q, "truncation", 1, images, IMAGES);
    assert_memory_not_equal(first.codes[1], right.codes[1], IMAGES * HIDDEN);
    qlinear_ref(&q.layer[1], first.codes[1], IMAGES, y);
    assert_memory_equal(first.codes[2], y, sizeof y);
    assert_memory_equal(last.codes[1], right.codes[1], IMAGES * HIDDEN);
    assert_memory_not_equal(last.codes[2], right.codes[2], IMAGES * CLASSES);
    faults_workspace_free(&right);
    faults_workspace_free(&first);
    faults_workspace_free(&last);
    qmlp_free(&q);
}

/* ---- and is told by its signature ------------------------------------------------------------------------------ */

/* One layer of each kind of network: codes right and wrong from the same inputs. */
struct pair {
    struct qmlp q;
    uint8_t images[IMAGES * INPUTS];
    struct faults_workspace right, wrong;
};

static void pair_make(int kind, int highest, const char *fault, struct pair *p) {
    make_kind(kind, &p->q);
    random_bytes(11, highest, p->images, sizeof p->images);
    p->right = run(&p->q, "none", FAULTS_ALL_LAYERS, p->images, IMAGES);
    p->wrong = run(&p->q, fault, FAULTS_ALL_LAYERS, p->images, IMAGES);
}

static void pair_free(struct pair *p) {
    faults_workspace_free(&p->right);
    faults_workspace_free(&p->wrong);
    qmlp_free(&p->q);
}

/* Of the first layer: how many codes differ, and by how much at least and at most. */
struct spread {
    int count, lowest, highest;
};

static struct spread spread_of(int kind, int highest, const char *fault) {
    struct pair p;
    struct spread s = {0};
    pair_make(kind, highest, fault, &p);
    for (int i = 0; i < IMAGES * HIDDEN; i++) {
        int d = p.wrong.codes[1][i] - p.right.codes[1][i];
        s.count += d != 0;
        s.lowest = d < s.lowest ? d : s.lowest;
        s.highest = d > s.highest ? d : s.highest;
    }
    pair_free(&p);
    return s;
}

static void assert_spread(int kind, const char *fault, int lowest, int highest) {
    struct spread s = spread_of(kind, 255, fault);
    assert_true(s.count > 0);
    assert_int_equal(s.lowest, lowest);
    assert_int_equal(s.highest, highest);
}

static void truncation_is_at_most_1_too_low(void **state) {
    (void)state;
    assert_spread(ASYMMETRIC, "truncation", -1, 0);
    assert_spread(TIES, "truncation", -1, 0);
    assert_true(spread_of(ASYMMETRIC, 255, "truncation").count >
                IMAGES * HIDDEN / 8); /* ReLU hides the negative half */
}

static void two_roundings_are_at_most_1_too_high(void **state) {
    (void)state;
    struct fault_steps s = fault_find("two-roundings")->steps;
    struct qmlp q;
    make_kind(TIES, &q);
    struct output o = fault_output(&q, 0, 0, &faults[0]);
    /* M = 2^-10: 511 is 0.499, the first rounding makes it 256 / 2^9 = 0.5, the second 1 */
    assert_int_equal(s.scale(&o, 511), 1);
    assert_int_equal(s.scale(&o, 510), 0);
    assert_int_equal(s.scale(&o, 512), 1);
    for (int acc = -8192; acc <= 8192; acc++) /* wrong only just below one half */
        assert_int_equal(s.scale(&o, acc), multiplier_apply(acc, q.layer[0].multiplier[0]) + ((acc & 1023) == 511));
    qmlp_free(&q);
}

static void ties_go_where_they_are_said_to(void **state) {
    (void)state;
    struct fault_steps even = fault_find("ties-even")->steps, away = fault_find("ties-away")->steps;
    struct qmlp q;
    make_kind(TIES, &q); /* M = 2^-10 */
    struct output o = fault_output(&q, 0, 0, &faults[0]);
    for (int acc = -8192; acc <= 8192; acc++) {
        double real = acc / 1024.0;
        assert_int_equal(multiplier_apply(acc, q.layer[0].multiplier[0]), floor(real + 0.5));
        assert_int_equal(even.scale(&o, acc), rint(real));
        assert_int_equal(away.scale(&o, acc), round(real));
    }
    qmlp_free(&q);
}

static void truncation_is_floor(void **state) {
    (void)state;
    struct qmlp q;
    make_kind(TIES, &q);
    struct output o = fault_output(&q, 0, 0, &faults[0]);
    for (int acc = -5000; acc <= 5000; acc++)
        assert_int_equal(fault_find("truncation")->steps.scale(&o, acc), floor(acc / 1024.0));
    qmlp_free(&q);
}

static int32_t right_sum(const struct qlinear *layer, int c, const uint8_t *x) {
    int32_t sum = 0;
    for (int k = 0; k < layer->in; k++) sum += (x[k] - layer->x_zero_point) * layer->weight[c * layer->in + k];
    return sum;
}

static int32_t sum_with(const struct qmlp *q, const char *fault, int c, const uint8_t *x) {
    const struct fault *f = fault_find(fault);
    uint16_t term[INPUTS];
    struct output o = fault_output(q, 0, c, f);
    o.term = term;
    o.terms = fault_terms(o.layer, x, term);
    return f->steps.sum(&o, x);
}

/* A sum of the first layer, in each of these checks with codes x as they are. */
static void narrow_sums_wrap_or_saturate(void **state) {
    (void)state;
    uint8_t images[IMAGES * INPUTS];
    struct qmlp q;
    int overflows[2] = {0};
    make_kind(SYMMETRIC, &q);
    random_bytes(11, 255, images, sizeof images);
    for (int i = 0; i < IMAGES; i++)
        for (int c = 0; c < HIDDEN; c++) {
            const uint8_t *x = images + i * INPUTS;
            int32_t right = right_sum(&q.layer[0], c, x);
            int32_t wrap8 = sum_with(&q, "int8-wrap", c, x), wrap16 = sum_with(&q, "int16-wrap", c, x);
            int32_t cut8 = sum_with(&q, "int8-saturate", c, x), cut16 = sum_with(&q, "int16-saturate", c, x);
            assert_in_range(wrap8 + 128, 0, 255);
            assert_in_range(cut8 + 128, 0, 255);
            assert_in_range(wrap16 + 32768, 0, 65535);
            assert_in_range(cut16 + 32768, 0, 65535);
            assert_int_equal((right - wrap8) % 256, 0);
            assert_int_equal((right - wrap16) % 65536, 0);
            int products, never8 = first_overflow(&q.layer[0], c, x, 8, &products) == INPUTS;
            int never16 = first_overflow(&q.layer[0], c, x, 16, &products) == INPUTS;
            if (never8) assert_int_equal(cut8, right);
            if (never16) assert_int_equal(cut16, right);
            overflows[0] += !never8;
            overflows[1] += !never16;
        }
    assert_true(overflows[0] > overflows[1] && overflows[1] > 0);
    qmlp_free(&q);
}

static void faults_of_bright_inputs_leave_dim_ones_right(void **state) {
    (void)state;
    struct qmlp q;
    make_kind(ASYMMETRIC, &q);
    int wrong_bright = 0;
    for (int c = 0; c < HIDDEN; c++) {
        uint8_t dim[INPUTS], bright[INPUTS], alone[INPUTS] = {0};
        memset(dim, 127, sizeof dim);
        assert_int_equal(sum_with(&q, "int8-activations", c, dim), right_sum(&q.layer[0], c, dim));
        memset(dim, 128, sizeof dim); /* 128 * (127 + 127) still fits int16 */
        assert_int_equal(sum_with(&q, "int16-pairs", c, dim), right_sum(&q.layer[0], c, dim));
        memset(bright, 255, sizeof bright);
        wrong_bright += sum_with(&q, "int16-pairs", c, bright) != right_sum(&q.layer[0], c, bright);
        for (int k = 0; k < INPUTS; k += 2) alone[k] = 255; /* beside a 0 a product has the pair to itself */
        assert_int_equal(sum_with(&q, "int16-pairs", c, alone), right_sum(&q.layer[0], c, alone));
        assert_int_not_equal(sum_with(&q, "int8-activations", c, alone), right_sum(&q.layer[0], c, alone));
    }
    assert_true(wrong_bright > 0);
    qmlp_free(&q);
}

static void offsets_are_the_same_on_every_image(void **state) {
    (void)state;
    uint8_t images[IMAGES * INPUTS];
    struct qmlp q;
    random_bytes(11, 255, images, sizeof images);
    for (int kind = ASYMMETRIC; kind <= SYMMETRIC; kind++) {
        make_kind(kind, &q);
        int moved = 0, biases = 0;
        for (int c = 0; c < HIDDEN; c++) {
            int32_t offset = sum_with(&q, "no-zero-point", c, images) - right_sum(&q.layer[0], c, images);
            for (int i = 0; i < IMAGES; i++)
                assert_int_equal(sum_with(&q, "no-zero-point", c, images + i * INPUTS) -
                                     right_sum(&q.layer[0], c, images + i * INPUTS),
                                 offset);
            moved += offset != 0;
            struct output o = fault_output(&q, 0, c, &faults[0]);
            biases += fault_find("bias-scale")->steps.bias(&o) != q.layer[0].bias[c];
        }
        assert_true(kind == SYMMETRIC ? moved > HIDDEN / 2 : moved == 0); /* nobody misses a zero point of 0 */
        assert_true(biases > HIDDEN / 2);
        qmlp_free(&q);
    }
}

static void weight_scales_matter_only_per_channel(void **state) {
    (void)state;
    static const char *const names[] = {"wrong-axis", "rolled-scales"};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(spread_of(PER_TENSOR, 255, names[i]).count, 0);
        assert_true(spread_of(ASYMMETRIC, 255, names[i]).count > 0);
    }
    assert_int_equal(spread_of(ASYMMETRIC, 0, "wrong-axis").count, 0); /* black: nothing but biases */
    assert_true(spread_of(ASYMMETRIC, 0, "rolled-scales").count > 0);  /* which are scaled as well */
}

static void one_pixel_at_a_time_shows_the_weights(void **state) {
    (void)state;
    struct qmlp q;
    make_kind(ASYMMETRIC, &q);
    int wrapped = 0;
    for (int c = 0; c < HIDDEN; c++)
        for (int k = 0; k < INPUTS; k++) {
            uint8_t x[INPUTS] = {0};
            x[k] = 1;
            int w = q.layer[0].weight[c * INPUTS + k], coarse = sum_with(&q, "stretched-scale", c, x);
            assert_int_equal(sum_with(&q, "no-clamp-128", c, x), w == 127 ? -128 : w);
            assert_int_equal(coarse % 10, 0);
            assert_true(abs(coarse - w) <= 5);
            wrapped += w == 127;
        }
    assert_true(wrapped > 0 && wrapped < HIDDEN * INPUTS);
    qmlp_free(&q);
}

static void clamps_are_told_by_the_codes_that_never_come(void **state) {
    (void)state;
    struct pair p;
    int below = 0, cut = 0;
    pair_make(SYMMETRIC, 255, "relu-at-zero", &p);
    for (int i = 0; i < IMAGES * HIDDEN; i++) below += p.wrong.codes[1][i] < 128;
    assert_true(below > 0);
    pair_free(&p);
    assert_int_equal(spread_of(ASYMMETRIC, 255, "relu-at-zero").count, 0);

    pair_make(ASYMMETRIC, 255, "relu-on-logits", &p);
    int z = p.q.layer[1].y_zero_point;
    assert_memory_equal(p.wrong.codes[1], p.right.codes[1], IMAGES * HIDDEN);
    for (int i = 0; i < IMAGES * CLASSES; i++)
        assert_int_equal(p.wrong.codes[2][i], p.right.codes[2][i] < z ? z : p.right.codes[2][i]);
    assert_true(z > 0);
    pair_free(&p);

    static const struct {
        const char *name;
        int highest;
    } cuts[] = {{"clamp-twice", 127}, {"narrow-range", 255 * 6 / 20}};
    for (int k = 0; k < 2; k++, cut = 0) {
        pair_make(ASYMMETRIC, 255, cuts[k].name, &p);
        for (int i = 0; i < IMAGES * HIDDEN; i++) {
            int right = p.right.codes[1][i];
            assert_int_equal(p.wrong.codes[1][i], right > cuts[k].highest ? cuts[k].highest : right);
            cut += right > cuts[k].highest;
        }
        assert_true(cut > 0);
        pair_free(&p);
    }
}

static void half_the_codes_have_the_parity_of_zero(void **state) {
    (void)state;
    struct pair p;
    pair_make(SYMMETRIC, 255, "half-codes", &p);
    for (int i = 0; i < IMAGES * HIDDEN; i++) {
        int code = p.wrong.codes[1][i];
        assert_true(code == 255 || code % 2 == 0);
        assert_true(abs(code - p.right.codes[1][i]) <= 1);
    }
    pair_free(&p);
}

/* ---- counts ---------------------------------------------------------------------------------------------------- */

static void the_first_overflow(void **state) {
    (void)state;
    int8_t weight[6] = {127, 0, 127, -128, 1, 1};
    struct qlinear layer = {.in = 6, .out = 1, .weight = weight};
    uint8_t x[6] = {255, 255, 3, 255, 0, 1};
    int products;
    assert_int_equal(first_overflow(&layer, 0, x, 8, &products), 0); /* 32385 */
    assert_int_equal(products, 1);
    assert_int_equal(first_overflow(&layer, 0, x, 16, &products), 6); /* 32766, -126, ... */
    assert_int_equal(products, 4);
    assert_int_equal(largest_partial_sum(&layer, 0, x), 32766);
    x[2] = 4; /* 32385 + 508 */
    assert_int_equal(first_overflow(&layer, 0, x, 16, &products), 2);
    assert_int_equal(products, 2);
    uint8_t edge[6] = {0, 0, 0, 1, 0, 0}; /* -128 is an int8 */
    assert_int_equal(first_overflow(&layer, 0, edge, 8, &products), 6);
    edge[0] = 1;
    edge[4] = 1; /* 127, -1, 0 */
    assert_int_equal(first_overflow(&layer, 0, edge, 8, &products), 6);
    layer.x_zero_point = 2; /* -254 at once */
    assert_int_equal(first_overflow(&layer, 0, x, 8, &products), 0);
}

static void cut_codes_are_counted(void **state) {
    (void)state;
    uint8_t images[IMAGES * INPUTS];
    struct qmlp q;
    make_kind(TIES, &q); /* its multipliers let many values run over */
    for (int c = 0; c < HIDDEN; c++) q.layer[0].multiplier[c].right = 36;
    pack_again(&q);
    random_bytes(11, 255, images, sizeof images);
    struct faults_workspace ws = run(&q, "none", FAULTS_ALL_LAYERS, images, IMAGES);
    size_t cut = 0;
    for (int i = 0; i < IMAGES; i++)
        for (int c = 0; c < HIDDEN; c++)
            cut += multiplier_apply(right_sum(&q.layer[0], c, ws.codes[0] + i * INPUTS) + q.layer[0].bias[c],
                                    q.layer[0].multiplier[c]) > 255;
    assert_int_equal(ws.cut[1], cut);
    struct faults_workspace steps = run_fault(&q, &(struct fault){.kind = FAULT_QUIET}, 0, images, IMAGES);
    assert_memory_equal(steps.cut, ws.cut, sizeof ws.cut); /* counted before the clamp, there from its codes */
    faults_workspace_free(&steps);
    assert_true(cut > 0 && cut < IMAGES * HIDDEN);
    faults_workspace_free(&ws);
    qmlp_free(&q);
}

/* On more images than measure takes at a time. */
static void a_measurement_is_what_counting_gives(void **state) {
    (void)state;
    enum { MANY = 2100 };
    static uint8_t images[MANY * INPUTS], labels[MANY];
    struct error err;
    struct qmlp q;
    make_kind(ASYMMETRIC, &q);
    random_bytes(11, 255, images, sizeof images);
    random_bytes(12, CLASSES - 1, labels, sizeof labels);
    struct model model = {.kind = MODEL_INT8, .shape = q.shape, .qmlp = q};
    struct split split = {MANY, 1, INPUTS, images, labels};
    struct faults_workspace right = run(&q, "none", FAULTS_ALL_LAYERS, images, MANY);
    struct faults_workspace wrong = run(&q, "bias-scale", 1, images, MANY);
    float logits[MANY * CLASSES];
    for (int i = 0; i < MANY * CLASSES; i++) logits[i] = dequantize(wrong.codes[2][i], q.activation[2]);

    struct measurement m;
    struct evaluation e;
    assert_true(evaluate(&model, &split, false, &e, &err));
    assert_true(measure(&(struct trial){&model, faults, FAULTS_ALL_LAYERS, NULL}, &split, &m, &err));
    assert_memory_equal(m.evaluation.predicted, e.predicted, MANY);
    assert_int_equal(m.evaluation.correct, e.correct);
    assert_true(isnan(m.logit_sqnr_db) && m.different_percent <= 0 && m.largest_difference == 0);
    evaluation_free(&e);
    measurement_free(&m);

    assert_true(measure(&(struct trial){&model, fault_find("bias-scale"), 1, logits}, &split, &m, &err));
    size_t different = 0, seen[256] = {0};
    int largest = 0;
    for (int i = 0; i < MANY * CLASSES; i++) {
        int d = abs(wrong.codes[2][i] - right.codes[2][i]);
        different += d != 0;
        largest = d > largest ? d : largest;
        seen[wrong.codes[2][i]]++;
    }
    assert_true(different > 0 && fabs(m.different_percent - 100.0 * (double)different / (MANY * CLASSES)) < 1e-9);
    assert_int_equal(m.largest_difference, largest);
    assert_true(isinf(m.logit_sqnr_db)); /* against themselves */
    assert_memory_equal(m.histogram[2].seen, seen, sizeof seen);
    for (int l = 1; l <= 2; l++) {
        double share = 100.0 * (double)wrong.cut[l] / (MANY * q.shape.widths[l]);
        assert_true(fabs(m.saturated_percent[l] - share) < 1e-9);
    }
    measurement_free(&m);
    faults_workspace_free(&right);
    faults_workspace_free(&wrong);
    qmlp_free(&q);
}

/* Digests of codes: whatever the batches and the engine, but not with one code that differs. */
static void digests_tell_codes_apart(void **state) {
    (void)state;
    struct model model = {.kind = MODEL_INT8};
    struct error err;
    uint8_t images[IMAGES * INPUTS];
    uint64_t layers[3][2], each[3][IMAGES];
    make_kind(ASYMMETRIC, &model.qmlp);
    model.shape = model.qmlp.shape;
    random_bytes(3, 255, images, sizeof images);
    for (int i = 0; i < 3; i++) { /* the reference; the kernel, in batches of 7; with a fault */
        struct model_run run;
        assert_true(model_run_create(&model, i == 1 ? 7 : IMAGES, 1, RUN_LAYERS, &run, &err));
        if (i > 0) run.fault = i == 1 ? fault_find("none") : fault_find("truncation");
        run.fault_layer = 1;
        layers[i][0] = layers[i][1] = DIGEST_START;
        model_digests(&run, images, IMAGES / 2, layers[i], each[i]);
        model_digests(&run, images + IMAGES / 2 * INPUTS, IMAGES - IMAGES / 2, layers[i], each[i] + IMAGES / 2);
        model_run_free(&run);
    }
    assert_memory_equal(layers[1], layers[0], sizeof layers[0]);
    assert_memory_equal(each[1], each[0], sizeof each[0]);
    assert_true(layers[2][0] == layers[0][0] && layers[2][1] != layers[0][1]);
    assert_true(memcmp(each[2], each[0], sizeof each[0]) != 0 && each[0][0] != each[0][1]);
    assert_true(digest_add(DIGEST_START, "foobar", 6) == 0x85944171f73967e8u); /* the authors' own test vector */
    model_free(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_no_fault_the_codes_are_the_references),
        cmocka_unit_test(the_table_has_no_name_twice),
        cmocka_unit_test(every_fault_gives_other_codes_than_every_other),
        cmocka_unit_test(a_fault_in_one_layer_leaves_the_others_right),
        cmocka_unit_test(truncation_is_at_most_1_too_low),
        cmocka_unit_test(truncation_is_floor),
        cmocka_unit_test(two_roundings_are_at_most_1_too_high),
        cmocka_unit_test(ties_go_where_they_are_said_to),
        cmocka_unit_test(narrow_sums_wrap_or_saturate),
        cmocka_unit_test(faults_of_bright_inputs_leave_dim_ones_right),
        cmocka_unit_test(offsets_are_the_same_on_every_image),
        cmocka_unit_test(weight_scales_matter_only_per_channel),
        cmocka_unit_test(one_pixel_at_a_time_shows_the_weights),
        cmocka_unit_test(clamps_are_told_by_the_codes_that_never_come),
        cmocka_unit_test(half_the_codes_have_the_parity_of_zero),
        cmocka_unit_test(the_first_overflow),
        cmocka_unit_test(cut_codes_are_counted),
        cmocka_unit_test(a_measurement_is_what_counting_gives),
        cmocka_unit_test(digests_tell_codes_apart),
    };
    return cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
