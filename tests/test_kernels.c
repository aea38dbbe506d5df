/* Every integer kernel that this CPU runs, bit for bit against qlinear_ref: all shapes of tiles and what is
 * left over at their ends, every shift of eq. 6, both weight formats, dense and sparse inputs, extreme sums.
 * The arrays are as long as promised and not a byte longer, with garbage in all padding, for AddressSanitizer
 * to judge.
 *
 * test_amx.c includes it, for kernels that no table has, with KERNELS their list.
 * With -DPLAIN_MAIN it is a program of its own, without cmocka: tests/cli/cross.sh compiles it for other machines. */
#include "base/rng.h"
#include "quant/qmlp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef PLAIN_MAIN
enum { THREAD_STEP = 2 }; /* an emulator is slow, and how images are shared out is the same everywhere */
#else
enum { THREAD_STEP = 1 };
#endif
enum { MAX_KERNELS = 16 };

#ifdef KERNELS
#define qkernels KERNELS
#endif

/* What has been compared, for the tests that guard the tests. */
static size_t compared[MAX_KERNELS];
static size_t code_count[256];

/* The first difference that was found; empty when there was none. */
static char difference[512];

/* ---- one layer ---- */

enum weights { ANY_WEIGHT, HIGHEST, LOWEST, WEIGHTS };
enum inputs { ANY_INPUT, SPARSE, BORDERED, ALL_ZERO, ALL_255, INPUTS };

struct layer_case {
    int in, out, rows;
    int four_bit;
    enum weights weights;
    enum inputs inputs;
    int right;           /* 0: such that codes spread; else this shift, in every channel */
    int odd_one;         /* this shift in one channel of 32, where not 0: its tile must go another way */
    int32_t bias;        /* at most, in size */
    int relu, symmetric; /* lower clamp at the zero point; zero point 128 and codes from 1 */
};

static void *exact_array(size_t size) {
    void *memory = NULL;
    if (posix_memalign(&memory, 64, size ? size : 1) != 0) abort();
    memset(memory, 0, size);
    return memory;
}

static void fill_garbage(struct rng *rng, uint8_t *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) bytes[i] = (uint8_t)rng_next(rng);
}

static int8_t make_weight(struct rng *rng, const struct layer_case *t) {
    int low = t->four_bit ? -8 : -128, high = t->four_bit ? 7 : 127;
    return (int8_t)(t->weights == HIGHEST      ? high
                        : t->weights == LOWEST ? low
                                               : low + (int)rng_below(rng, (uint32_t)(high - low + 1)));
}

static int32_t make_bias(struct rng *rng, int32_t size) {
    uint32_t kind = rng_below(rng, 8);
    if (kind < 2) return kind ? size : -size;
    return size ? (int32_t)rng_below(rng, 2 * (uint32_t)size + 1) - size : 0;
}

/* M for codes that spread: sums are about spread in size, and are to reach some 150. */
static struct multiplier make_multiplier(struct rng *rng, const struct layer_case *t, int c) {
    double spread = (t->four_bit ? 4.6 : 74) * 147;
    for (int k = 1; k < t->in; k *= 4) spread *= 2; /* about the root of in */
    int right = 31;
    for (double m = 1.0; m * spread > 100; m /= 2) right++;
    int32_t m = (int32_t)(((uint32_t)1 << 30) + rng_below(rng, (uint32_t)1 << 30));
    uint32_t kind = rng_below(rng, 20);
    if (kind == 0) m = 1 << 30;
    if (kind == 1) m = INT32_MAX;
    if (kind == 2) m = 0;
    if (t->right) right = t->right;
    if (t->odd_one && c % 32 == 5) right = t->odd_one;
    return (struct multiplier){m, right};
}

static void layer_make(const struct layer_case *t, struct rng *rng, struct qlinear *layer) {
    size_t in = (size_t)t->in, out = (size_t)t->out;
    int zero_point = t->symmetric ? 128 : (int)rng_below(rng, 3) * 90;
    *layer = (struct qlinear){.in = t->in,
                              .out = t->out,
                              .x_zero_point = (int32_t)rng_below(rng, 2) * (int32_t)rng_below(rng, 256),
                              .y_zero_point = zero_point,
                              .y_min = t->relu ? zero_point : t->symmetric,
                              .y_max = t->symmetric && rng_below(rng, 2) ? 254 : 255,
                              .four_bit = t->four_bit};
    layer->weight = exact_array(in * out);
    layer->bias = exact_array(out * sizeof(int32_t));
    layer->folded_bias = exact_array(out * sizeof(int32_t));
    layer->multiplier = exact_array(out * sizeof(struct multiplier));
    for (size_t i = 0; i < in * out; i++) layer->weight[i] = make_weight(rng, t);
    for (int c = 0; c < t->out; c++) {
        layer->bias[c] = make_bias(rng, t->bias);
        layer->multiplier[c] = make_multiplier(rng, t, c);
    }
    qlinear_fold_bias(layer);
}

static void layer_free(struct qlinear *layer) {
    free(layer->weight);
    free(layer->bias);
    free(layer->folded_bias);
    free(layer->multiplier);
}

static void make_inputs(struct rng *rng, const struct layer_case *t, uint8_t *x) {
    size_t count = (size_t)t->in * (size_t)t->rows;
    fill_garbage(rng, x, count);
    if (t->inputs == ALL_ZERO || t->inputs == ALL_255) memset(x, t->inputs == ALL_255 ? 255 : 0, count);
    if (t->inputs == BORDERED) /* a quarter of each row, at both ends */
        for (size_t i = 0, in = (size_t)t->in; i < count; i++)
            if (i % in < in / 4 || i % in >= in - in / 4) x[i] = 0;
    if (t->inputs == SPARSE)
        for (size_t i = 0; i < count; i++)
            if (rng_below(rng, 16)) x[i] = 0;
}

enum way { PADDED, BACK_TO_BACK, WAYS }; /* how the rows of x lie */

/* One run of a kernel -> y [rows][out]; false where the kernel does not offer that way. */
static bool run_kernel(const struct qkernel *kernel, struct qlinear *layer, const struct layer_case *t, enum way way,
                       const uint8_t *x, struct rng *garbage, uint8_t *y) {
    size_t in = (size_t)t->in, out = (size_t)t->out, rows = (size_t)t->rows;
    if (way == BACK_TO_BACK && t->in % kernel->reads != 0) return false;
    size_t x_stride = way == BACK_TO_BACK ? in : qlinear_stride(t->in) + 64 * (size_t)rng_below(garbage, 2);
    size_t y_stride = qlinear_stride(t->out) + 64 * (size_t)rng_below(garbage, 2);
    uint8_t *wide_x = exact_array(rows * x_stride), *wide_y = exact_array(rows * y_stride);
    fill_garbage(garbage, wide_x, rows * x_stride);
    fill_garbage(garbage, wide_y, rows * y_stride);
    for (size_t r = 0; r < rows; r++) memcpy(wide_x + r * x_stride, x + r * in, in);
    layer->packed = exact_array(kernel->layer_bytes(layer));
    kernel->pack_layer(layer);
    void *scratch = exact_array(QLINEAR_SCRATCH * qlinear_stride(layer->in));
    kernel->run(layer, wide_x, x_stride, rows, wide_y, y_stride, scratch);
    free(scratch);
    for (size_t r = 0; r < rows; r++) memcpy(y + r * out, wide_y + r * y_stride, out);
    free(layer->packed);
    free(wide_x);
    free(wide_y);
    return true;
}

static void note_difference(const struct qkernel *kernel, const struct layer_case *t, enum way way, const uint8_t *y,
                            const uint8_t *expected) {
    size_t i = 0;
    while (y[i] == expected[i]) i++;
    if (!difference[0])
        snprintf(difference, sizeof difference,
                 "%s: row %zu, output %zu is %d, not %d (in %d, out %d, rows %d, four bits %d, weights %d, "
                 "inputs %d, "
                 "right %d, odd one %d, bias %d, relu %d, symmetric %d, rows the way %d)",
                 kernel->name, i / (size_t)t->out, i % (size_t)t->out, y[i], expected[i], t->in, t->out, t->rows,
                 t->four_bit, t->weights, t->inputs, t->right, t->odd_one, t->bias, t->relu, t->symmetric, way);
}

static void check_layer(const struct layer_case *t, uint64_t seed) {
    struct rng rng = rng_seeded(seed), garbage = rng_seeded(~seed);
    struct qlinear layer;
    layer_make(t, &rng, &layer);
    size_t count = (size_t)t->rows * (size_t)t->out;
    uint8_t *x = exact_array((size_t)t->rows * (size_t)t->in), *y = exact_array(count), *expected = exact_array(count);
    make_inputs(&rng, t, x);
    qlinear_ref(&layer, x, (size_t)t->rows, expected);
    for (size_t i = 0; i < count; i++) code_count[expected[i]]++;
    for (int k = 0; qkernels[k]; k++)
        for (int way = 0; qkernels[k]->supported() && way < WAYS; way++) {
            if (!run_kernel(qkernels[k], &layer, t, (enum way)way, x, &garbage, y)) continue;
            if (memcmp(y, expected, count) != 0) note_difference(qkernels[k], t, (enum way)way, y, expected);
            compared[k] += count;
        }
    free(x);
    free(y);
    free(expected);
    layer_free(&layer);
}

/* ---- the checks: each leaves its findings in difference ---- */

static struct layer_case random_case(struct rng *rng) {
    static const int sizes[] = {1,  2,  3,  4,  5,  7,  8,  9,  12, 15, 16,  17,  20,  24,
                                31, 32, 33, 36, 47, 48, 49, 63, 64, 65, 100, 127, 128, 129};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    return (struct layer_case){.in = rng_below(rng, 8) ? sizes[rng_below(rng, SIZES)] : 1 + (int)rng_below(rng, 800),
                               .out = rng_below(rng, 8) ? sizes[rng_below(rng, SIZES)] : 1 + (int)rng_below(rng, 300),
                               .rows = 1 + (int)rng_below(rng, rng_below(rng, 4) ? 13 : 50),
                               .four_bit = (int)rng_below(rng, 2),
                               .weights = rng_below(rng, 4) ? ANY_WEIGHT : (enum weights)rng_below(rng, WEIGHTS),
                               .inputs = rng_below(rng, 2) ? ANY_INPUT : (enum inputs)rng_below(rng, INPUTS),
                               .bias = 20000,
                               .relu = (int)rng_below(rng, 2),
                               .symmetric = !rng_below(rng, 3)};
}

static void check_random_shapes(void) {
    struct rng rng = rng_seeded(1);
    for (int i = 0; i < 1500; i++) {
        struct layer_case t = random_case(&rng);
        check_layer(&t, rng_next(&rng));
    }
}

/* Heights of tiles and what is left of rows: all of them, on a layer with a whole tile, a half and a bit. */
static void check_every_number_of_rows(void) {
    for (int rows = 1; rows <= 50; rows++)
        for (int four_bit = 0; four_bit < 2; four_bit++)
            check_layer(&(struct layer_case){.in = 45, .out = 74, .rows = rows, .four_bit = four_bit}, (uint64_t)rows);
}

/* Batches, of rows that are whole cache lines and of others: 2 or 4 rows of 96 and of 784 bytes are. Borders of zeros.
 */
static void check_batches(void) {
    static const int widths[] = {16, 48, 64, 80, 96, 128, 240, 784, 1040, 1056},
                     heights[] = {31, 33, 64, 67, 130, 257, 390};
    for (size_t i = 0; i < sizeof widths / sizeof *widths * (sizeof heights / sizeof *heights); i++)
        check_layer(&(struct layer_case){.in = widths[i % 10],
                                         .out = i % 3 ? 33 : 74,
                                         .rows = heights[i / 10],
                                         .inputs = i % 4 ? BORDERED : ANY_INPUT},
                    (uint64_t)i);
    check_layer(&(struct layer_case){.in = 528, .out = 2050, .rows = 150}, 1); /* of over 1 MB */
}

/* Every shift of eq. 6, in all channels and in one of many; sums from 0 to the ends of int32. */
static void check_every_shift(void) {
    struct rng rng = rng_seeded(2);
    for (int right = 1; right <= 62; right++)
        for (int i = 0; i < 24; i++) {
            struct layer_case t = random_case(&rng);
            t.in = t.in % 200 + 1, t.out = t.out % 100 + 1, t.rows = t.rows % 13 + 1;
            t.bias = i % 3 == 0 ? QLINEAR_MAX_BIAS : i % 3 == 1 ? 1 << (right > 30 ? 30 - (62 - right) % 30 : 4) : 1000;
            *(i % 2 ? &t.right : &t.odd_one) = right;
            check_layer(&t, rng_next(&rng));
        }
}

/* The widest layer, the largest sums. */
static void check_extremes(void) {
    for (int i = 0; i < WEIGHTS * INPUTS * 2; i++)
        for (int rows = 1; rows <= 13; rows += 4)
            check_layer(&(struct layer_case){.in = i % 5 ? 16384 : 16381,
                                             .out = 3,
                                             .rows = rows,
                                             .four_bit = i % 2,
                                             .weights = (enum weights)(i / 2 % WEIGHTS),
                                             .inputs = (enum inputs)(i / 2 / WEIGHTS),
                                             .right = rows == 5 ? 53
                                                 : rows == 9    ? 33
                                                                : 0,
                                             .bias = rows == 1 ? 0 : QLINEAR_MAX_BIAS},
                        (uint64_t)(i * 100 + rows));
}

/* Sums without bias or requantizing, against dot_codes; and what a kernel says that it left out, at both ends. */
static void check_sums_of(const struct layer_case *t, const struct qkernel *kernel, struct rng *rng) {
    struct qlinear layer;
    layer_make(t, rng, &layer);
    size_t in = (size_t)t->in, out = (size_t)t->out, rows = (size_t)t->rows, whole = (rows + 3) / 4 * 4;
    size_t stride = qlinear_stride(t->in);
    memset(layer.folded_bias, 0, out * sizeof *layer.folded_bias);
    uint8_t *dense = exact_array(rows * in), *x = exact_array(whole * stride);
    int32_t *acc = exact_array(whole * out * sizeof *acc);
    void *scratch = exact_array(QLINEAR_SCRATCH * stride);
    layer.packed = exact_array(kernel->layer_bytes(&layer));
    kernel->pack_layer(&layer);
    make_inputs(rng, t, dense);
    fill_garbage(rng, x, whole * stride);
    for (size_t r = 0; r < rows; r++) memcpy(x + r * stride, dense + r * in, in);
    kernel->sums(&layer, x, stride, rows, acc, scratch);
    for (size_t i = 0; i < rows * out; i++) {
        int32_t expected = dot_codes(dense + i / out * in, 0, layer.weight + i % out * in, t->in);
        if (acc[i] != expected && !difference[0])
            snprintf(difference, sizeof difference,
                     "%s: sum %zu of row %zu is %d, not %d (in %d, out %d, rows %d, four %d)", kernel->name, i % out,
                     i / out, acc[i], expected, t->in, t->out, t->rows, t->four_bit);
    }
    size_t left_out = kernel->left_out ? kernel->left_out(&layer, x, stride, rows, scratch) : 0;
    if (kernel->left_out && t->in % 8 == 0 &&
        ((t->inputs == ALL_255 && left_out != 0) || (t->inputs == ALL_ZERO && left_out != rows * in * out) ||
         left_out > rows * in * out))
        snprintf(difference, sizeof difference, "%s left out %zu of %zu products", kernel->name, left_out,
                 rows * in * out);
    free(dense), free(x), free(acc), free(scratch), free(layer.packed);
    layer_free(&layer);
}

static void check_sums(void) {
    struct rng rng = rng_seeded(4);
    for (int k = 0; qkernels[k]; k++)
        for (int i = 0; i < 400 && qkernels[k]->sums && qkernels[k]->supported(); i++) {
            struct layer_case t = random_case(&rng);
            if (i % 2) t.in = (t.in + 7) / 8 * 8;
            check_sums_of(&t, qkernels[k], &rng);
        }
}

/* ---- the network ---- */

static void make_network(const struct mlp_shape *shape, struct rng *rng, bool identity, struct qmlp *q) {
    struct error err;
    if (!qmlp_create(shape, true, false, q, &err)) abort();
    for (int l = 0; l < shape->layers; l++) {
        struct qlinear *layer = &q->layer[l];
        struct layer_case t = {.in = layer->in, .out = layer->out};
        layer->y_max = 255, layer->four_bit = l == 1;
        for (int i = 0; i < layer->in * layer->out; i++)
            layer->weight[i] = make_weight(rng, &(struct layer_case){.four_bit = layer->four_bit});
        t.four_bit = layer->four_bit;
        for (int c = 0; c < layer->out; c++) {
            layer->bias[c] = make_bias(rng, 1000);
            layer->multiplier[c] = make_multiplier(rng, &t, c);
        }
        qlinear_fold_bias(layer);
    }
    for (int i = 0; i < 256; i++) q->pixel_code[i] = (uint8_t)(identity ? i : 255 - i);
}

enum { MOST_IMAGES = 240 };

/* expected: the reference's answers to MOST_IMAGES images. */
static void check_counts(struct qmlp *q, const char *kernel, int threads, const uint8_t *images,
                         const uint8_t *expected) {
    static const size_t counts[] = {1, 2, 3, 4, 5, 12, 23, 24, 47, 48, 49, 95, 96, 97, 193, MOST_IMAGES};
    size_t in = (size_t)q->shape.widths[0], classes = (size_t)q->shape.widths[q->shape.layers];
    struct error err;
    struct qmlp_workspace ws;
    if (!qmlp_workspace_create(&q->shape, threads, &ws, &err)) abort();
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        size_t n = counts[i], first = (MOST_IMAGES - n) / 2;
        uint8_t *some = exact_array(n * in), *codes = exact_array(n * classes);
        memcpy(some, images + first * in, n * in);
        qmlp_forward(q, some, n, &ws, codes);
        if (memcmp(codes, expected + first * classes, n * classes) != 0 && !difference[0])
            snprintf(difference, sizeof difference, "%s: a network of %d inputs, %zu images on %d threads", kernel,
                     q->shape.widths[0], n, threads);
        free(some);
        free(codes);
    }
    qmlp_workspace_free(&ws);
}

static void check_networks(void) {
    static const struct mlp_shape shapes[] = {
        {3, {784, 256, 256, 10}}, {2, {49, 33, 3}}, {2, {30, 40, 17}}, {1, {64, 10}}, {3, {12, 70, 20, 256}}};
    struct rng rng = rng_seeded(3);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int identity = 0; identity < 2; identity++) {
            size_t pixels = MOST_IMAGES * (size_t)shapes[s].widths[0];
            uint8_t *images = exact_array(pixels), expected[MOST_IMAGES * 256];
            struct qmlp q;
            struct error err;
            make_network(&shapes[s], &rng, identity, &q);
            for (size_t j = 0; j < pixels; j++) images[j] = rng_below(&rng, 3) ? 0 : (uint8_t)rng_next(&rng);
            qmlp_forward_ref(&q, images, MOST_IMAGES, expected);
            for (int k = 0; qkernels[k]; k++) {
                if (!qkernels[k]->supported()) continue;
                if (!qmlp_use_kernel(&q, qkernels[k], &err)) abort();
                for (int threads = 1; threads <= 3; threads += THREAD_STEP)
                    check_counts(&q, qkernels[k]->name, threads, images, expected);
            }
            free(images);
            qmlp_free(&q);
        }
}

/* ---- the guards ---- */

/* A kernel that this CPU runs and that nothing was compared of has not been tested, whatever else passed. */
static void check_all_kernels_ran(void) {
    for (int k = 0; qkernels[k]; k++) {
        fprintf(stderr, "# %s: %zu codes compared%s\n", qkernels[k]->name, compared[k],
                qkernels[k]->supported() ? "" : ", this CPU does not support it");
        if (qkernels[k]->supported() && compared[k] < 1000000)
            snprintf(difference, sizeof difference, "%s: only %zu codes were compared", qkernels[k]->name, compared[k]);
    }
    size_t sum = 0, different = 0, clamped = code_count[0] + code_count[255];
    for (int i = 0; i < 256; i++) sum += code_count[i], different += code_count[i] > 0;
    if (different != 256 || clamped > sum * 3 / 4)
        snprintf(difference, sizeof difference, "the data prove little: %zu different codes, %zu of %zu at the ends",
                 different, clamped, sum);
}

#ifndef KERNELS

static void check_dispatch(void) {
    const char *wrong = NULL;
    int count = 0;
    while (qkernels[count]) count++;
    for (int k = 0; k < count; k++)
        if (qkernel_find(qkernels[k]->name) != qkernels[k]) wrong = "qkernel_find does not find what is there";
    if (qkernel_find("no such kernel") != NULL) wrong = "qkernel_find finds what is not there";
    if (strcmp(qkernels[count - 1]->name, "portable") != 0 || !qkernels[count - 1]->supported())
        wrong = "the last kernel is not the one that always runs";
    const struct qkernel *first = NULL;
    for (int k = count - 1; k >= 0; k--)
        if (qkernels[k]->supported()) first = qkernels[k];
    if (qkernel_best() != first) wrong = "qkernel_best is not the first that runs";
    if (wrong) snprintf(difference, sizeof difference, "%s", wrong);
}

#endif

static const struct {
    const char *name;
    void (*run)(void);
} checks[] = {{"random shapes", check_random_shapes},
              {"every number of rows", check_every_number_of_rows},
              {"batches", check_batches},
              {"every shift", check_every_shift},
              {"extreme sums", check_extremes},
              {"sums", check_sums},
              {"networks", check_networks},
#ifndef KERNELS
              {"the dispatch table", check_dispatch},
#endif
              {"all kernels ran, on data that tell", check_all_kernels_ran}};
enum { CHECKS = sizeof checks / sizeof *checks };

#ifdef PLAIN_MAIN

int main(void) {
    int failed = 0;
    for (int i = 0; i < CHECKS; i++) {
        difference[0] = 0;
        checks[i].run();
        printf("%s: %s\n", checks[i].name, difference[0] ? difference : "same");
        failed += difference[0] != 0;
    }
    for (int k = 0; qkernels[k]; k++) printf("kernel %s: %zu codes\n", qkernels[k]->name, compared[k]);
    return failed != 0;
}

#elif !defined(KERNELS)

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

static void run_check(void **state) {
    int i = (int)(intptr_t)*state;
    difference[0] = 0;
    checks[i].run();
    if (difference[0]) fail_msg("%s", difference);
}

int main(void) {
    struct CMUnitTest kernels[CHECKS];
    for (int i = 0; i < CHECKS; i++)
        kernels[i] = (struct CMUnitTest){checks[i].name, run_check, NULL, NULL, (void *)(intptr_t)i};
    return cmocka_run_group_tests_name("kernels", kernels, NULL, NULL);
}

#endif
