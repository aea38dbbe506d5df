/* Every fp32 kernel that this CPU runs, bit for bit against fp32_layer_ref (eq. 9): all shapes of tiles and what is
 * left over at their ends, inputs with and without zeros, sums that are -0, subnormal or a tie. Arrays are as long as
 * promised and not longer, for AddressSanitizer to judge. The reference itself is held to sums done by hand. */
#include "base/rng.h"
#include "nn/fp32.h"

#include "support.h"

#include <math.h>

static struct error err;
#define CHECK(call)                                                                                                    \
    do {                                                                                                               \
        if (!(call)) fail_msg("%s: %s", #call, err.text);                                                              \
    } while (0)

enum { MAX_KERNELS = 16 };
static size_t compared[MAX_KERNELS], positive, vanished; /* outputs; of them > 0; sums that were -0 but for the + 0 */

static void *exact_array(size_t size) {
    void *memory = aligned_alloc(64, (size + 63) / 64 * 64);
    if (!memory) abort();
    return memory;
}

/* ---- one layer ----------------------------------------------------------------------------------------------------
 */

enum inputs { PIXELS, DENSE, ALL_ZERO, HARD, INPUTS };

/* HARD: a few bits at any of many exponents, of either sign, and zeros of either sign: ties, cancellation, numbers too
 * small to be normal or to be anything but 0. */
static float hard(struct rng *rng) {
    float sign = rng_below(rng, 2) ? -1 : 1;
    if (rng_below(rng, 4) == 0) return 0 * sign;
    return sign *
        ldexpf(1 + (float)rng_below(rng, 8) / 8,
               -(int)(rng_below(rng, 3) ? 60 + rng_below(rng, 16) : rng_below(rng, 30)));
}

static float input(struct rng *rng, enum inputs kind) {
    switch (kind) {
    case PIXELS: return rng_below(rng, 3) ? 0 : (float)rng_below(rng, 256) / 255;
    case DENSE: return (float)(1 + rng_below(rng, 255)) / 255;
    case HARD: return hard(rng);
    default: return 0;
    }
}

/* A network whose first layer is in x out; a second layer gives it a ReLU. */
static void make_network(int in, int out, bool relu, enum inputs kind, struct rng *rng, struct mlp *mlp) {
    CHECK(mlp_create(&(struct mlp_shape){relu ? 2 : 1, {in, out, 1}}, mlp, &err));
    mlp_initialise(mlp, rng);
    struct dense *d = &mlp->layer[0];
    for (int c = 0; c < out; c++) d->bias[c] = (float)rng_normal(rng) / 4;
    if (kind != HARD) return;
    for (int i = 0; i < in * out; i++) d->weight[i] = hard(rng);
    for (int c = 0; c < out; c++) d->bias[c] = rng_below(rng, 2) ? -0.0f : hard(rng);
}

/* Eq. 9 without "+ 0" is -0. */
static bool is_negative_zero(const struct fp32_layer *layer, const float *x, int c) {
    float sum = layer->bias[c];
    for (int k = 0; k < layer->in; k++) sum = fmaf(x[k], layer->weight[c * layer->in + k], sum);
    return sum == 0 && signbit(sum);
}

/* x [rows][in] by one kernel, all panels at once or one at a time -> y [rows][out] */
static void run_kernel(const struct fp32_kernel *kernel, const struct mlp *mlp, const float *x, int rows, bool at_once,
                       float *y) {
    struct fp32_mlp net;
    CHECK(fp32_mlp_create(mlp, kernel, &net, &err));
    fp32_mlp_pack(&net);
    const struct fp32_layer *layer = &net.layer[0];
    size_t in = (size_t)layer->in, out = (size_t)layer->out, stride = fp32_padded(layer->out, kernel->lanes);
    int panels = (layer->out + kernel->panel - 1) / kernel->panel;
    float *wide = exact_array((size_t)rows * stride * sizeof *wide);
    uint16_t *nonzero = exact_array(in * sizeof *nonzero);
    for (int first = 0, n; first < rows; first += n) {
        n = rows - first < kernel->rows ? rows - first : kernel->rows;
        struct fp32_inputs inputs = {x + (size_t)first * in, in, n, nonzero, 0};
        for (size_t k = 0; k < in; k++) {
            bool any = false;
            for (int r = 0; r < n; r++) any = any || inputs.x[(size_t)r * in + k] != 0;
            if (any) nonzero[inputs.count++] = (uint16_t)k;
        }
        for (int panel = 0, step = at_once ? panels : 1; panel < panels; panel += step)
            kernel->run(layer, &inputs, panel, panel + step, wide + (size_t)first * stride, stride);
    }
    for (int r = 0; r < rows; r++) memcpy(y + (size_t)r * out, wide + (size_t)r * stride, out * sizeof *y);
    free(wide);
    free(nonzero);
    fp32_mlp_free(&net);
}

static void compare_layer(int in, int out, int rows, bool relu, enum inputs kind, struct rng *rng) {
    struct mlp mlp;
    make_network(in, out, relu, kind, rng, &mlp);
    size_t n = (size_t)rows * (size_t)out;
    float *x = exact_array((size_t)rows * (size_t)in * sizeof *x);
    float *expected = exact_array(n * sizeof *expected), *y = exact_array(n * sizeof *y);
    struct fp32_layer layer = {in, out, relu, mlp.layer[0].weight, mlp.layer[0].bias, NULL};
    for (int i = 0; i < rows * in; i++) x[i] = input(rng, kind);
    fp32_layer_ref(&layer, x, (size_t)rows, expected);
    for (size_t i = 0; i < n; i++) {
        positive += expected[i] > 0;
        if (kind == HARD)
            vanished += is_negative_zero(&layer, x + i / (size_t)out * (size_t)in, (int)(i % (size_t)out));
        assert_false(expected[i] == 0 && signbit(expected[i]));
    }
    for (int k = 0; fp32_kernels[k]; k++) {
        if (!fp32_kernels[k]->supported()) continue;
        run_kernel(fp32_kernels[k], &mlp, x, rows, rng_below(rng, 2), y);
        for (size_t i = 0; i < n; i++)
            if (memcmp(&y[i], &expected[i], sizeof *y) != 0)
                fail_msg("%s: in %d, out %d, rows %d, relu %d, inputs %d: y[%zu] is %a, not %a", fp32_kernels[k]->name,
                         in, out, rows, relu, kind, i, (double)y[i], (double)expected[i]);
        compared[k] += n;
    }
    free(x);
    free(expected);
    free(y);
    mlp_free(&mlp);
}

static void test_every_width(void **state) {
    (void)state;
    struct rng rng = rng_seeded(1);
    for (int out = 1; out <= 200; out++)
        compare_layer(1 + (int)rng_below(&rng, 40), out, 1 + out % 7, out % 3, out % INPUTS, &rng);
    for (int in = 1; in <= 100; in++)
        compare_layer(in, 1 + (int)rng_below(&rng, 80), 1 + in % 13, in % 2, in % INPUTS, &rng);
}

static void test_every_number_of_rows(void **state) {
    (void)state;
    static const int outs[] = {1, 10, 16, 17, 33, 64, 65, 128, 150};
    struct rng rng = rng_seeded(2);
    for (int rows = 1; rows <= 20; rows++)
        for (size_t i = 0; i < sizeof outs / sizeof outs[0]; i++)
            compare_layer(1 + (int)rng_below(&rng, 50), outs[i], rows, rows % 2, (rows + (int)i) % INPUTS, &rng);
}

static void test_wide_layers(void **state) {
    (void)state;
    struct rng rng = rng_seeded(3);
    compare_layer(784, 256, 13, true, PIXELS, &rng);
    compare_layer(4096, 70, 7, true, PIXELS, &rng);
    compare_layer(60, 4096, 7, false, DENSE, &rng);
    compare_layer(16384, 17, 2, true, HARD, &rng);
    for (int i = 0; i < 200; i++) compare_layer(1 + i % 3, 64, 1 + i % 6, i % 2, HARD, &rng);
}

/* ---- the equation itself ------------------------------------------------------------------------------------------
 */

static float ref(const float *x, const float *w, int in, float bias, bool relu) {
    struct fp32_layer layer = {in, 1, relu, w, &bias, NULL};
    float y;
    fp32_layer_ref(&layer, x, 1, &y);
    return y;
}

static void test_reference_by_hand(void **state) {
    (void)state;
    const float ones[3] = {1, 1, 1}, a = 1 + 0x1p-12f, big = 0x1p25f;
    /* (1 + 2^-12)^2 = 1 + 2^-11 + 2^-24, whose last bit no float has: it must not be rounded before the addition */
    assert_true(ref(&a, &a, 1, -(1 + 0x1p-11f), false) == 0x1p-24f);
    assert_true(ref(ones, (float[]){big, -big}, 2, 1, false) == 0);    /* the bias comes first and is lost in 2^25 */
    assert_true(ref(ones, (float[]){big, -big, 1}, 3, 0, false) == 1); /* then k ascending: ... */
    assert_true(ref(ones, (float[]){1, big, -big}, 3, 0, false) == 0); /* ... the 1 is lost when it comes before */
    assert_true(ref(ones, (float[]){-1, -2}, 2, 0.5f, false) == -2.5f &&
                ref(ones, (float[]){-1, -2}, 2, 0.5f, true) == 0);
    assert_true(isnan(ref((float[]){NAN}, ones, 1, 0, true))); /* ReLU hides none */
}

/* 1 + 2^-23 + 2^-24 - 2^-54 is 1 + 2^-23 as a float; rounded to a double first it would be a tie and go up. The other
 * way round, and with the signs changed. */
static void test_kernels_round_once(void **state) {
    (void)state;
    const float x = 0x1p-12f * (1 + 0x1p-15f), w = 0x1p-12f * (1 - 0x1p-15f), up = 1 + 0x1p-23f;
    const struct {
        float bias, w, y;
    } cases[] = {{up, w, up}, {-up, -w, -up}, {1 + 0x1p-22f, -w, 1 + 0x1p-22f}, {-1 - 0x1p-22f, w, -1 - 0x1p-22f}};
    for (int k = 0; fp32_kernels[k]; k++)
        for (size_t i = 0; i < sizeof cases / sizeof cases[0] && fp32_kernels[k]->supported(); i++) {
            struct mlp mlp;
            float y;
            CHECK(mlp_create(&(struct mlp_shape){1, {1, 1}}, &mlp, &err));
            mlp.layer[0].bias[0] = cases[i].bias, mlp.layer[0].weight[0] = cases[i].w;
            run_kernel(fp32_kernels[k], &mlp, &x, 1, true, &y);
            if (y != cases[i].y)
                fail_msg("%s: %zu: %a, not %a", fp32_kernels[k]->name, i, (double)y, (double)cases[i].y);
            mlp_free(&mlp);
        }
}

/* An input of 0 changes no bit, whatever the weight and wherever it stands; not even where sums are -0. */
static void test_zeros_may_be_left_out(void **state) {
    (void)state;
    struct rng rng = rng_seeded(4);
    for (int i = 0; i < 20000; i++) {
        enum { IN = 4 };
        float x[IN], w[IN], kept_x[IN], kept_w[IN], bias = rng_below(&rng, 2) ? -0.0f : hard(&rng);
        int kept = 0;
        for (int k = 0; k < IN; k++) {
            x[k] = hard(&rng), w[k] = hard(&rng);
            if (x[k] != 0) kept_x[kept] = x[k], kept_w[kept++] = w[k];
        }
        float with = ref(x, w, IN, bias, i % 2), without = ref(kept_x, kept_w, kept, bias, i % 2);
        assert_memory_equal(&with, &without, sizeof with);
    }
}

/* ---- whole networks -----------------------------------------------------------------------------------------------
 */

enum { IMAGES = 103, MOST = 131 };

/* By the reference: what each layer gives for images [IMAGES]; x[0] the pixels. */
static void expect(const struct mlp *mlp, const uint8_t *images, float *x[]) {
    const struct mlp_shape *s = &mlp->shape;
    for (int l = 0; l <= s->layers; l++) x[l] = exact_array(IMAGES * (size_t)s->widths[l] * sizeof(float));
    for (int i = 0; i < IMAGES * s->widths[0]; i++) x[0][i] = (float)images[i] / 255.0f;
    for (int l = 0; l < s->layers; l++) {
        const struct dense *d = &mlp->layer[l];
        struct fp32_layer layer = {d->in, d->out, l + 1 < s->layers, d->weight, d->bias, NULL};
        fp32_layer_ref(&layer, x[l], IMAGES, x[l + 1]);
    }
}

static void check_network(const struct fp32_mlp *net, const uint8_t *images, size_t count, int threads,
                          float *const *expected) {
    const struct mlp_shape *s = &net->shape;
    struct fp32_workspace ws;
    float *layers[MLP_MAX_LAYERS + 1];
    size_t left_out = 0, zeros = 0;
    CHECK(fp32_workspace_create(s, threads, &ws, &err));
    for (int l = 0; l <= s->layers; l++) layers[l] = exact_array(count * (size_t)s->widths[l] * sizeof(float) + 1);
    ws.left_out = &left_out;
    fp32_mlp_forward(net, images, count, &ws, NULL, layers[s->layers]);
    assert_memory_equal(layers[s->layers], expected[s->layers], count * (size_t)s->widths[s->layers] * sizeof(float));
    for (int l = 0; l < s->layers; l++)
        for (size_t i = 0; i < count * (size_t)s->widths[l]; i++)
            zeros += expected[l][i] == 0 ? (size_t)s->widths[l + 1] : 0;
    /* of one row all zeros; of six those that they share */
    if (count == 1 || net->kernel->rows == 1) assert_int_equal(left_out, zeros);
    else assert_true(left_out <= zeros && (count < 12 || left_out > zeros / 10));
    ws.left_out = NULL;
    fp32_mlp_forward(net, images, count, &ws, layers, layers[s->layers]);
    for (int l = 0; l <= s->layers; l++)
        assert_memory_equal(layers[l], expected[l], count * (size_t)s->widths[l] * sizeof(float));
    for (int l = 0; l <= s->layers; l++) free(layers[l]);
    fp32_workspace_free(&ws);
}

static void test_networks(void **state) {
    (void)state;
    static const struct mlp_shape shapes[] = {
        {1, {7, 3}}, {3, {MOST, 77, 9, 10}}, {3, {20, 17, 33, 7}}, {2, {64, 1, 5}}, {4, {9, 130, 70, 6, 1}}};
    static const size_t counts[] = {0, 1, 2, 5, 6, 7, 12, 47, 48, 49, 96, IMAGES};
    struct rng rng = rng_seeded(5);
    for (size_t n = 0; n < sizeof shapes / sizeof shapes[0]; n++) {
        uint8_t images[IMAGES * MOST];
        float *expected[MLP_MAX_LAYERS + 1];
        struct mlp mlp;
        CHECK(mlp_create(&shapes[n], &mlp, &err));
        mlp_initialise(&mlp, &rng);
        /* columns that are 0 in all images, pixels that are 0 in some */
        for (size_t i = 0; i < sizeof images; i++)
            images[i] = i % (size_t)shapes[n].widths[0] % 5 < 2 || rng_below(&rng, 4) == 0 ? 0
                                                                                           : (uint8_t)rng_next(&rng);
        expect(&mlp, images, expected);
        for (int k = 0; fp32_kernels[k]; k++) {
            struct fp32_mlp net;
            if (!fp32_kernels[k]->supported()) continue;
            CHECK(fp32_mlp_create(&mlp, fp32_kernels[k], &net, &err));
            fp32_mlp_pack(&net);
            for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
                for (int threads = 1; threads <= 3; threads++)
                    check_network(&net, images, counts[i], threads, expected);
            fp32_mlp_free(&net);
        }
        for (int l = 0; l <= shapes[n].layers; l++) free(expected[l]);
        mlp_free(&mlp);
    }
}

static void test_forcing(void **state) {
    (void)state;
    const struct fp32_kernel *best = fp32_kernel_best();
    for (int k = 0; fp32_kernels[k]; k++) {
        if (!fp32_kernels[k]->supported()) continue;
        fp32_kernel_force(fp32_kernels[k]);
        assert_ptr_equal(fp32_kernel_best(), fp32_kernels[k]);
    }
    fp32_kernel_force(NULL);
    assert_ptr_equal(fp32_kernel_best(), best);
}

/* What the system says of this CPU, apart from what the kernel finds out. */
static bool system_names(const char *feature) {
    FILE *info = fopen("/proc/cpuinfo", "r");
    char line[8192];
    bool found = false;
    while (info && !found && fgets(line, sizeof line, info)) found = strstr(line, feature) != NULL;
    if (info) fclose(info);
    return found;
}

/* A kernel that this CPU runs and that nothing was compared of has not been tested, whatever else passed. */
static void test_that_kernels_ran(void **state) {
    (void)state;
    int supported = 0;
    for (int k = 0; fp32_kernels[k]; k++) {
        print_message("# %s: %zu outputs compared%s\n", fp32_kernels[k]->name, compared[k],
                      fp32_kernels[k]->supported() ? "" : ", this CPU does not support it");
        if (fp32_kernels[k]->supported()) assert_true(compared[k] > 200000);
        supported += fp32_kernels[k]->supported() != 0;
    }
    assert_true(supported >= 1 + system_names(" avx512f ") + (system_names(" fma ") && system_names(" avx2 ")));
    assert_true(positive > compared[0] / 8 && vanished > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_by_hand),
        cmocka_unit_test(test_zeros_may_be_left_out),
        cmocka_unit_test(test_kernels_round_once),
        cmocka_unit_test(test_every_width),
        cmocka_unit_test(test_every_number_of_rows),
        cmocka_unit_test(test_wide_layers),
        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_forcing),
        cmocka_unit_test(test_that_kernels_ran),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
