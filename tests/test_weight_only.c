/* Networks with coded weights: every format, block and method that go together, what is refused, sizes
 * counted by hand, whose activations GPTQ sees, and AWQ's scales folded through ReLU and undone again. */
#include "base/rng.h"
#include "nn/gemm.h"
#include "lowbit/weight_only.h"
#include "lowbit/half.h"
#include "model/contents.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/affine.h"

enum { IMAGES = 90, MAX_INPUTS = 64 };

static const struct mlp_shape shapes[] = {{2, {5, 3, 2}}, {2, {17, 31, 10}}, {3, {49, 64, 33, 10}}};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };
static uint8_t images[IMAGES * MAX_INPUTS];
static struct error err;

#define CHECK(call)                                                                                                    \
    do {                                                                                                               \
        if (!(call)) fail_msg("%s: %s", #call, err.text);                                                              \
    } while (0)

/* Images whose pixels differ much in size, the first always 0; hidden neurons that differ much in size too.
 */
static void make_network(const struct mlp_shape *shape, uint64_t seed, struct mlp *mlp) {
    struct rng rng = rng_seeded(seed);
    CHECK(mlp_create(shape, mlp, &err));
    mlp_initialise(mlp, &rng);
    for (int l = 0; l < shape->layers; l++) {
        const struct dense *d = &mlp->layer[l];
        for (int c = 0; c < d->out; c++) {
            float size = l + 1 < shape->layers ? c % 8 == 1 ? 6.0f : 0.3f : 1.0f;
            for (int k = 0; k < d->in; k++) d->weight[c * d->in + k] *= size;
            d->bias[c] = (float)(0.1 * rng_normal(&rng));
        }
    }
    int inputs = shape->widths[0];
    for (int i = 0; i < IMAGES * inputs; i++) {
        uint32_t highest = i % inputs % 7 == 2 ? 256 : 12;
        images[i] = i % inputs == 0 || rng_below(&rng, 3) == 0 ? 0 : (uint8_t)rng_below(&rng, highest);
    }
}

static struct coding_config configured(const char *format, int block, enum method method) {
    struct coding_config config = {
        .format = format_find(format), .block = block, .method = method, .rule = GRID_MINMAX, .damping = 0.01};
    assert_non_null(config.format);
    return config;
}

/* Encodes and decodes; effective may be NULL. */
static void coded(const struct mlp *mlp, const struct coding_config *config, struct mlp *decoded,
                  struct mlp *effective) {
    struct weight_only c;
    CHECK(weight_only_encode(mlp, images, IMAGES, config, &c, effective, &err));
    CHECK(weight_only_decode(&c, decoded, &err));
    weight_only_free(&c);
}

static void refused(const struct mlp *mlp, const struct coding_config *config, const char *why) {
    struct weight_only c;
    if (weight_only_encode(mlp, images, IMAGES, config, &c, NULL, &err))
        fail_msg("%s, block %d, %s was not refused", config->format->name, config->block, method_names[config->method]);
    if (!strstr(err.text, why)) fail_msg("\"%s\" does not say \"%s\"", err.text, why);
}

static double network_sqnr(const struct mlp *a, const struct mlp *b) {
    double signal = 0, noise = 0;
    for (int l = 0; l < a->shape.layers; l++)
        for (int i = 0; i < a->layer[l].in * a->layer[l].out; i++) {
            double x = (double)a->layer[l].weight[i], e = x - (double)b->layer[l].weight[i];
            signal += x * x;
            noise += e * e;
        }
    return 10 * log10(signal / noise);
}

/* The largest difference between two networks' logits, in shares of the largest logit. */
static double logits_differ(const struct mlp *a, const struct mlp *b) {
    const struct mlp *networks[2] = {a, b};
    struct mlp_workspace ws[2];
    double widest = 0, largest = 0;
    for (int i = 0; i < 2; i++) {
        CHECK(mlp_workspace_create(&a->shape, IMAGES, false, &ws[i], &err));
        mlp_load_images(networks[i], images, IMAGES, &ws[i]);
        mlp_forward(networks[i], IMAGES, &ws[i]);
    }
    for (int i = 0; i < IMAGES * a->shape.widths[a->shape.layers]; i++) {
        double x = (double)ws[0].activation[a->shape.layers][i], y = (double)ws[1].activation[a->shape.layers][i];
        assert_true(isfinite(x) && isfinite(y));
        widest = fmax(widest, fabs(x - y));
        largest = fmax(largest, fabs(x));
    }
    for (int i = 0; i < 2; i++) mlp_workspace_free(&ws[i]);
    assert_true(largest > 0.1);
    return widest / largest;
}

/* ---- everything with everything ---- */

static bool may_be(const struct mlp_shape *shape, const struct format *f, int block, enum method method) {
    bool symmetric, integer = format_integer_bits(f, &symmetric) != 0, divides = f->block || block <= 0;
    for (int l = 0; l < shape->layers; l++) divides = divides || shape->widths[l] % block == 0;
    if (method == METHOD_IMATRIX) return f->grid == SEARCHED_GRID;
    return divides && (method == METHOD_RTN || (integer && block != CODEC_TENSOR));
}

/* What a weight of few bits may lose at most, in dB: the methods of 3 and 2 bits leave little of single
 * weights, and AWQ clips those that do not matter to the output. */
static double least_sqnr(const struct format *f, enum method method) {
    int bits = f->bits;
    if (bits <= 1) return bits == 1 ? 0.5 : 1;
    if (method == METHOD_AWQ) return bits == 8 ? 10 : -6;
    if (strstr(f->name, "e5m2") || strstr(f->name, "e3m2")) return 20; /* a mantissa of 2 bits */
    return bits >= 32 ? INFINITY
        : bits >= 16  ? 45
        : bits == 8   ? 28
        : bits == 6   ? 20
        : bits == 4   ? 8
        : bits == 3   ? 1
                      : -4;
}

static void every_format_block_and_method(void **state) {
    (void)state;
    static const int blocks[] = {CODEC_TENSOR, CODEC_ROW, 1, 5, 7, 11, 17};
    int encoded = 0, not_allowed = 0;
    for (int s = 0; s < SHAPES; s++) {
        struct mlp mlp, effective;
        make_network(&shapes[s], 1, &mlp);
        CHECK(mlp_create(&shapes[s], &effective, &err));
        for (const struct format *f = formats; f->name; f++)
            for (size_t b = 0; b < sizeof blocks / sizeof *blocks; b++)
                for (int method = 0; method < METHODS; method++) {
                    struct coding_config config = configured(f->name, blocks[b], (enum method)method);
                    struct mlp decoded;
                    if (!may_be(&shapes[s], f, blocks[b], (enum method)method)) {
                        refused(&mlp, &config, "");
                        not_allowed++;
                        continue;
                    }
                    coded(&mlp, &config, &decoded, &effective);
                    double sqnr = network_sqnr(&mlp, &effective);
                    if (!(sqnr >= least_sqnr(f, (enum method)method)))
                        fail_msg("shape %d, %s, block %d, %s: %.1f dB", s, f->name, blocks[b], method_names[method],
                                 sqnr);
                    for (int l = 0; method != METHOD_AWQ && l < mlp.shape.layers; l++) {
                        const struct dense *d = &decoded.layer[l];
                        assert_memory_equal(d->weight, effective.layer[l].weight,
                                            (size_t)(d->in * d->out) * sizeof(float));
                        assert_memory_equal(d->bias, mlp.layer[l].bias, (size_t)d->out * sizeof(float));
                    }
                    encoded++;
                    mlp_free(&decoded);
                }
        mlp_free(&effective);
        mlp_free(&mlp);
    }
    assert_true(encoded > 400 && not_allowed > 400);
}

static void what_is_refused(void **state) {
    (void)state;
    struct mlp mlp;
    make_network(&shapes[1], 2, &mlp);
    struct coding_config config = configured("int4", 16, METHOD_RTN); /* 17 and 31 inputs */
    refused(&mlp, &config, "a group of 16 weights divides the inputs of no layer");
    config.method = METHOD_GPTQ;
    refused(&mlp, &config, "a group of 16 weights");
    config = configured("int4", 5000, METHOD_RTN);
    refused(&mlp, &config, "a group of 5000 weights");
    config = configured("q4_K", CODEC_ROW, METHOD_GPTQ);
    refused(&mlp, &config, "gptq does not apply to the format q4_K");
    config = configured("q4_0", CODEC_ROW, METHOD_IMATRIX);
    refused(&mlp, &config, "imatrix does not apply to the format q4_0");
    config = configured("nf4", CODEC_ROW, METHOD_AWQ);
    refused(&mlp, &config, "awq does not apply to the format nf4");
    config = configured("f16", CODEC_ROW, METHOD_RTN_MSE);
    refused(&mlp, &config, "rtn-mse does not apply to the format f16");
    for (int method = METHOD_RTN_MSE; method < METHODS; method++) {
        config = configured("int4", CODEC_TENSOR, (enum method)method);
        refused(&mlp, &config, "not one for the tensor");
    }
    config = configured("int4", CODEC_ROW, METHOD_GPTQ);
    config.more_format = format_find("q6_K");
    refused(&mlp, &config, "gptq does not apply to the format q6_K");
    mlp_free(&mlp);
}

static void a_weight_that_is_no_number(void **state) {
    (void)state;
    static const float wrong[] = {NAN, INFINITY, -INFINITY};
    for (int t = 0; t < 3 * METHODS; t++)
        for (int l = 0; l < 3; l++) {
            struct mlp mlp;
            char name[32];
            make_network(&shapes[2], 3, &mlp);
            struct coding_config config = configured("int4", CODEC_ROW, (enum method)(t / 3));
            snprintf(name, sizeof name, "fc%d", l + 1);
            mlp.layer[l].weight[20] = wrong[t % 3];
            /* GPTQ and AWQ may stumble over the activations behind it first */
            refused(&mlp, &config, t / 3 == METHOD_RTN ? name : "");
            mlp_free(&mlp);
        }
}

static void a_weight_too_large_for_f16(void **state) {
    (void)state;
    struct mlp mlp, decoded;
    struct weight_only c;
    make_network(&shapes[1], 3, &mlp);
    mlp.layer[1].weight[7] = 1e6f;
    struct coding_config config = configured("f16", CODEC_ROW, METHOD_RTN);
    CHECK(weight_only_encode(&mlp, images, IMAGES, &config, &c, NULL, &err));
    assert_false(weight_only_decode(&c, &decoded, &err));
    assert_non_null(strstr(err.text, "fc2.weight: weight 7 is not a finite number"));
    weight_only_free(&c);
    config = configured("bf16", CODEC_ROW, METHOD_RTN);
    coded(&mlp, &config, &decoded, NULL);
    mlp_free(&decoded);
    mlp_free(&mlp);
}

/* ---- sizes ---- */

static void bits_per_weight_counted_by_hand(void **state) {
    (void)state;
    static const struct mlp_shape grouped = {2, {14, 31, 10}};
    /* bytes of 31 rows of 17 (14 for groups of 7), then of 10 rows of 31; bits of divisors */
    static const struct {
        const char *format, *last;
        int block;
        enum method method;
        double bytes, divisors;
    } cases[] = {
        {"f32", NULL, 0, METHOD_RTN, 4 * 837, 0},
        {"bf16", NULL, 0, METHOD_RTN, 2 * 837, 0},
        {"int8", NULL, CODEC_ROW, METHOD_RTN, 31 * (2 + 17) + 10 * (2 + 31), 0},
        {"int4", NULL, CODEC_TENSOR, METHOD_RTN, (2 + 264) + (2 + 155), 0},
        {"int4", NULL, CODEC_ROW, METHOD_GPTQ, 31 * (2 + 9) + 10 * (2 + 16), 0},
        {"uint4", NULL, CODEC_ROW, METHOD_AWQ, 31 * (3 + 9) + 10 * (3 + 16), 16 * 17},
        {"int2", NULL, 17, METHOD_RTN, 31 * (2 + 5) + 10 * (2 + 5 + 2 + 4), 0},
        {"int3", NULL, 7, METHOD_RTN, 31 * (2 * (2 + 3)) + 10 * (4 * (2 + 3) + (2 + 2)), 0},
        {"fp8_e4m3", NULL, CODEC_TENSOR, METHOD_RTN, 837 + 2 * 4, 0},
        {"fp8_e5m2", NULL, CODEC_ROW, METHOD_RTN, 837 + 41 * 4, 0},
        {"fp8_e4m3", NULL, 17, METHOD_RTN, 837 + (31 + 2 * 10) * 4, 0},
        {"mxfp4", NULL, 0, METHOD_RTN, 31 * (1 + 9) + 10 * (1 + 16), 0},
        {"nvfp4", NULL, 0, METHOD_RTN, 31 * (2 + 8 + 1) + 10 * (2 + 8 + 8) + 2 * 4, 0},
        {"nf4", NULL, 0, METHOD_RTN, 8 * 36 + (4 + 8) + 4 * 36 + (4 + 27), 0},
        {"nf4-dq", NULL, 0, METHOD_RTN, (8 + 9 + 264) + (8 + 5 + 155), 0},
        {"q4_0", NULL, 0, METHOD_RTN, 41 * 18, 0},
        {"q8_0", NULL, 0, METHOD_RTN, 41 * 34, 0},
        {"q2_K", NULL, 0, METHOD_IMATRIX, 41 * 84, 0},
        {"q3_K", NULL, 0, METHOD_RTN, 41 * 110, 0},
        {"q5_K", NULL, 0, METHOD_RTN, 41 * 176, 0},
        {"iq4_nl", NULL, 0, METHOD_IMATRIX, 41 * 18, 0},
        {"q4_K", "q6_K", 0, METHOD_RTN, 31 * 144 + 10 * 210, 0},
    };
    for (size_t t = 0; t < sizeof cases / sizeof *cases; t++) {
        const struct mlp_shape *shape = cases[t].block == 7 ? &grouped : &shapes[1];
        struct mlp mlp;
        struct weight_only c;
        make_network(shape, 4, &mlp);
        struct coding_config config = configured(cases[t].format, cases[t].block, cases[t].method);
        if (cases[t].last) config.more_format = format_find(cases[t].last);
        CHECK(weight_only_encode(&mlp, images, IMAGES, &config, &c, NULL, &err));
        double expected = (8 * cases[t].bytes + cases[t].divisors) / (cases[t].block == 7 ? 14 * 31 + 310 : 837);
        double bits = contents_bits_per_weight(&(struct contents){.shape = shape, .coded = &c});
        if (!(fabs(bits - expected) <= 1e-9)) fail_msg("%s: %.9g bits, expected %.9g", cases[t].format, bits, expected);
        assert_string_equal(c.layer[1].codec.format->name, cases[t].last ? cases[t].last : cases[t].format);
        weight_only_free(&c);
        mlp_free(&mlp);
    }
}

/* ---- what the methods look at ---- */

/* By hand, from llama.cpp's use_more_bits(i, n) = i < n/8 || i >= 7n/8 || (i - n/8) % 3 == 2, n inner layers. */
static void a_mix_gives_the_layers_of_llama_cpp_more_bits(void **state) {
    (void)state;
    static const char *const expected[] = {"-+", "-++", "-+--+--+++"}; /* n = 0, 1, 8; + is q6_K */
    for (size_t t = 0; t < sizeof expected / sizeof *expected; t++) {
        struct mlp_shape shape;
        int hidden[9] = {20, 20, 20, 20, 20, 20, 20, 20, 20}, layers = (int)strlen(expected[t]);
        struct mlp mlp;
        struct weight_only c;
        CHECK(mlp_shape_make(17, hidden, layers - 1, 10, &shape, &err));
        make_network(&shape, 4, &mlp);
        struct coding_config config = configured("q4_K", 0, METHOD_RTN);
        config.more_format = format_find("q6_K");
        CHECK(weight_only_encode(&mlp, images, IMAGES, &config, &c, NULL, &err));
        for (int l = 0; l < layers; l++)
            assert_string_equal(c.layer[l].codec.format->name, expected[t][l] == '+' ? "q6_K" : "q4_K");
        weight_only_free(&c);
        mlp_free(&mlp);
    }
}

static void the_second_moment_of_the_inputs(void **state) {
    (void)state;
    enum { COUNT = 300, IN = 13 }; /* more than one part of 256 */
    static const int counts[] = {1, 255, 256, 257, COUNT};
    float x[COUNT * IN];
    double gram[IN * IN];
    struct rng rng = rng_seeded(5);
    for (int i = 0; i < COUNT * IN; i++) x[i] = (float)rng_normal(&rng);
    for (int t = 0; t < 5; t++) {
        CHECK(gram_matrix(x, (size_t)counts[t], IN, gram, &err));
        for (int j = 0; j < IN; j++)
            for (int k = 0; k < IN; k++) {
                double sum = 0;
                for (int i = 0; i < counts[t]; i++) sum += (double)x[i * IN + j] * (double)x[i * IN + k];
                assert_true(fabs(gram[j * IN + k] - sum) <= 1e-4 * counts[t] / 16 + 1e-6);
                assert_true(gram[j * IN + k] == gram[k * IN + j]);
                if (j == k) assert_true(sum > 0);
            }
    }
}

/* The bytes of each layer, by gptq_codes on the activations of the network whose earlier layers are decoded.
 */
static void gptq_sees_the_layers_before_quantized(void **state) {
    (void)state;
    for (int act_order = 0; act_order < 2; act_order++) {
        struct mlp mlp, now, decoded;
        struct mlp_workspace ws;
        struct weight_only c;
        make_network(&shapes[2], 6, &mlp);
        make_network(&shapes[2], 6, &now);
        struct coding_config config = configured("int3", CODEC_ROW, act_order ? METHOD_GPTQ_ACT_ORDER : METHOD_GPTQ);
        CHECK(weight_only_encode(&mlp, images, IMAGES, &config, &c, NULL, &err));
        CHECK(weight_only_decode(&c, &decoded, &err));
        CHECK(mlp_workspace_create(&mlp.shape, IMAGES, false, &ws, &err));
        for (int l = 0; l < 3; l++) {
            const struct dense *d = &mlp.layer[l];
            struct coded_matrix m;
            struct gptq_config gptq = {act_order, GRID_MINMAX, 0.01};
            double *gram = calloc((size_t)(d->in * d->in), sizeof *gram);
            uint8_t *bytes = calloc(c.layer[l].size, 1);
            assert_true(gram && bytes);
            mlp_load_images(&now, images, IMAGES, &ws);
            mlp_forward(&now, IMAGES, &ws);
            CHECK(gram_matrix(ws.activation[l], IMAGES, d->in, gram, &err));
            CHECK(coded_matrix_create(d->out, d->in, 3, true, d->in, &m, &err));
            CHECK(gptq_codes(d->weight, gram, &gptq, &m, &err));
            coded_matrix_pack(&m, bytes);
            assert_memory_equal(bytes, c.layer[l].bytes, c.layer[l].size);
            memcpy(now.layer[l].weight, decoded.layer[l].weight, (size_t)(d->in * d->out) * sizeof(float));
            coded_matrix_free(&m);
            free(gram);
            free(bytes);
        }
        mlp_workspace_free(&ws);
        weight_only_free(&c);
        mlp_free(&decoded);
        mlp_free(&now);
        mlp_free(&mlp);
    }
}

static void codes_for_the_integer_engine_are_the_same(void **state) {
    (void)state;
    static const enum method methods[] = {METHOD_RTN, METHOD_RTN_MSE, METHOD_GPTQ, METHOD_GPTQ_ACT_ORDER};
    struct mlp mlp;
    make_network(&shapes[1], 7, &mlp);
    for (int t = 0; t < 4; t++) {
        struct coding_config config = configured("int4", CODEC_ROW, methods[t]);
        struct coded_matrix codes[MLP_MAX_LAYERS] = {{0}};
        struct weight_only c;
        uint8_t bytes[1024];
        CHECK(weight_only_encode(&mlp, images, IMAGES, &config, &c, NULL, &err));
        CHECK(weight_only_codes(&mlp, images, IMAGES, &config, codes, &err));
        for (int l = 0; l < 2; l++) {
            assert_true(c.layer[l].size <= sizeof bytes);
            coded_matrix_pack(&codes[l], bytes);
            assert_memory_equal(bytes, c.layer[l].bytes, c.layer[l].size);
            coded_matrix_free(&codes[l]);
        }
        weight_only_free(&c);
    }
    mlp_free(&mlp);
}

/* ---- AWQ ---- */

static void awq_folds_without_a_trace(void **state) {
    (void)state;
    static const char *const names[] = {"int8", "int4", "uint4", "int3", "int2"};
    for (int t = 0; t < 3 * 5; t++) {
        struct mlp mlp, decoded, effective;
        struct weight_only c;
        make_network(&shapes[2], 8, &mlp);
        CHECK(mlp_create(&shapes[2], &effective, &err));
        memcpy(mlp_parameters(&effective), mlp_parameters(&mlp), mlp_padded_count(&mlp) * sizeof(float));
        struct coding_config config = configured(names[t / 3],
                                                 t % 3 == 0       ? CODEC_ROW
                                                     : t % 3 == 1 ? 7
                                                                  : 11,
                                                 METHOD_AWQ);
        config.rule = t % 2 ? GRID_MSE : GRID_MINMAX;
        CHECK(weight_only_encode(&mlp, images, IMAGES, &config, &c, &effective, &err));
        CHECK(weight_only_decode(&c, &decoded, &err));
        /* scales other than 1 are there: in the divisor, and in the biases they were folded into */
        assert_non_null(c.layer[0].divisor);
        assert_null(c.layer[1].divisor);
        int divided = 0, folded = 0;
        for (int k = 0; k < 49; k++) divided += c.layer[0].divisor[k] != half_from_float(1);
        for (int k = 0; k < 64; k++) folded += c.layer[0].bias[k] != mlp.layer[0].bias[k];
        assert_int_equal(c.layer[0].divisor[0], half_from_float(1)); /* pixel 0 is dead */
        if (t / 3 > 0) assert_true(divided > 40 && folded > 40);
        /* folded or not, the same function: effective has the fp32 network's biases */
        double difference = logits_differ(&effective, &decoded);
        if (!(difference <= 2e-6)) fail_msg("%s, %d: logits differ by %g", names[t / 3], t % 3, difference);
        if (t / 3 == 0) { /* and nearly that of the fp32 network */
            difference = logits_differ(&mlp, &decoded);
            if (!(difference > 0 && difference <= 0.02)) fail_msg("int8: logits differ by %g", difference);
        }
        weight_only_free(&c);
        mlp_free(&decoded);
        mlp_free(&effective);
        mlp_free(&mlp);
    }
}

/* Each layer's output error on the fp32 network's own inputs, against round to nearest on the same kind of
 * grid. (AdaRound's is another error, behind ReLU: test_methods.) */
static void methods_lower_the_output_error_of_each_layer(void **state) {
    (void)state;
    static const int blocks[] = {CODEC_ROW, 7};
    for (int t = 0; t < 2 * 2; t++) {
        struct mlp mlp;
        struct mlp_workspace ws;
        double errors[METHODS][3];
        make_network(&shapes[2], 9, &mlp);
        CHECK(mlp_workspace_create(&mlp.shape, IMAGES, false, &ws, &err));
        mlp_load_images(&mlp, images, IMAGES, &ws);
        mlp_forward(&mlp, IMAGES, &ws);
        for (int method = 0; method < METHODS; method++) {
            struct mlp decoded, effective;
            if (method == METHOD_IMATRIX) continue; /* not of integers */
            struct coding_config config = configured(t / 2 ? "int3" : "int4", blocks[t % 2], (enum method)method);
            CHECK(mlp_create(&mlp.shape, &effective, &err));
            coded(&mlp, &config, &decoded, &effective);
            for (int l = 0; l < 3; l++) {
                int in = mlp.shape.widths[l];
                double *gram = calloc((size_t)(in * in), sizeof *gram);
                CHECK(gram_matrix(ws.activation[l], IMAGES, in, gram, &err));
                errors[method][l] = output_error(mlp.layer[l].weight, effective.layer[l].weight, mlp.layer[l].out, in,
                                                 gram);
                free(gram);
            }
            mlp_free(&decoded);
            mlp_free(&effective);
        }
        for (int l = 0; l < 3; l++) {
            assert_true(errors[METHOD_RTN][l] > 0);
            for (int method = METHOD_GPTQ; method < METHOD_ADAROUND; method++)
                if (!(errors[method][l] < errors[METHOD_RTN][l]))
                    fail_msg("fc%d, block %d, %s: %g, round to nearest %g", l + 1, blocks[t % 2], method_names[method],
                             errors[method][l], errors[METHOD_RTN][l]);
        }
        mlp_workspace_free(&ws);
        mlp_free(&mlp);
    }
}

/* An importance matrix lowers the output error of the network's layers where ggml's searches take it. */
static void importance_lowers_the_output_error(void **state) {
    (void)state;
    static const char *const names[] = {"q2_K", "q3_K", "iq4_nl"};
    static const struct mlp_shape shape = {2, {MAX_INPUTS, 48, 10}};
    for (int t = 0; t < 3; t++) {
        struct mlp mlp;
        struct mlp_workspace ws;
        double errors[2] = {0}, gram[MAX_INPUTS * MAX_INPUTS];
        make_network(&shape, 13, &mlp);
        CHECK(mlp_workspace_create(&shape, IMAGES, false, &ws, &err));
        mlp_load_images(&mlp, images, IMAGES, &ws);
        mlp_forward(&mlp, IMAGES, &ws);
        for (int weighed = 0; weighed < 2; weighed++) {
            struct mlp decoded;
            struct coding_config config = configured(names[t], CODEC_ROW, weighed ? METHOD_IMATRIX : METHOD_RTN);
            coded(&mlp, &config, &decoded, NULL);
            const struct dense *d = &mlp.layer[0];
            CHECK(gram_matrix(ws.activation[0], IMAGES, d->in, gram, &err));
            errors[weighed] = output_error(d->weight, decoded.layer[0].weight, d->out, d->in, gram);
            mlp_free(&decoded);
        }
        if (!(errors[1] < 0.95 * errors[0]))
            fail_msg("%s: output error %g with an importance matrix, %g without", names[t], errors[1], errors[0]);
        mlp_workspace_free(&ws);
        mlp_free(&mlp);
    }
}

static void black_images(void **state) {
    (void)state;
    for (int method = METHOD_GPTQ; method < METHODS; method++) {
        struct mlp mlp, decoded, plain;
        make_network(&shapes[1], 10, &mlp);
        memset(images, 0, sizeof images);
        for (int l = 0; l < 2; l++) memset(mlp.layer[l].bias, 0, (size_t)mlp.layer[l].out * sizeof(float));
        struct coding_config config = configured("int4", CODEC_ROW, (enum method)method);
        struct coding_config rtn = configured("int4", CODEC_ROW, METHOD_RTN);
        coded(&mlp, &config, &decoded, NULL);
        coded(&mlp, &rtn, &plain, NULL);
        assert_memory_equal(mlp_parameters(&decoded), mlp_parameters(&plain), mlp_padded_count(&plain) * sizeof(float));
        mlp_free(&decoded);
        mlp_free(&plain);
        mlp_free(&mlp);
    }
}

static void a_network_of_zeros(void **state) {
    (void)state;
    for (const struct format *f = formats; f->name; f++)
        for (int method = 0; method < METHODS; method++) {
            struct mlp mlp, decoded;
            if (!may_be(&shapes[0], f, CODEC_ROW, (enum method)method)) continue;
            make_network(&shapes[0], 11, &mlp);
            memset(mlp_parameters(&mlp), 0, mlp_padded_count(&mlp) * sizeof(float));
            struct coding_config config = configured(f->name, CODEC_ROW, (enum method)method);
            coded(&mlp, &config, &decoded, NULL);
            for (size_t i = 0; i < mlp_padded_count(&decoded); i++) assert_true(mlp_parameters(&decoded)[i] == 0);
            mlp_free(&decoded);
            mlp_free(&mlp);
        }
}

int main(void) {
    omp_set_num_threads(1); /* small matrices: on a busy machine threads would only wait for each other */
    gemm_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_block_and_method),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(a_weight_that_is_no_number),
        cmocka_unit_test(a_weight_too_large_for_f16),
        cmocka_unit_test(bits_per_weight_counted_by_hand),
        cmocka_unit_test(a_mix_gives_the_layers_of_llama_cpp_more_bits),
        cmocka_unit_test(the_second_moment_of_the_inputs),
        cmocka_unit_test(gptq_sees_the_layers_before_quantized),
        cmocka_unit_test(codes_for_the_integer_engine_are_the_same),
        cmocka_unit_test(awq_folds_without_a_trace),
        cmocka_unit_test(methods_lower_the_output_error_of_each_layer),
        cmocka_unit_test(importance_lowers_the_output_error),
        cmocka_unit_test(black_images),
        cmocka_unit_test(a_network_of_zeros),
    };
    return cmocka_run_group_tests_name("weight_only", tests, NULL, NULL);
}
