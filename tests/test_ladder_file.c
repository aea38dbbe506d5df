/* The files of the ladder's rungs: each kind comes back as it was written, and nothing that an enemy may do
 * to them reads outside the file, takes memory that the file does not account for, or loads what cannot be
 * run. */
#include "base/rng.h"
#include "model/contents.h"
#include "model/model_file.h"
#include "nn/gemm.h"
#include "lowbit/half.h"
#include "mlp_predict.h"
#include "support.h"

#include <math.h>
#include <omp.h>
#include <sys/resource.h>

enum { INPUTS = 21, CLASSES = 10, IMAGES = 60, KINDS = 16 };

static const struct mlp_shape shape = {3, {INPUTS, 14, 17, CLASSES}};
static uint8_t images[IMAGES * INPUTS];
static struct error err;

#define CHECK(call)                                                                                                    \
    do {                                                                                                               \
        if (!(call)) fail_msg("%s: %s", #call, err.text);                                                              \
    } while (0)

static void make_network(const struct mlp_shape *s, struct mlp *mlp) {
    struct rng rng = rng_seeded(1);
    CHECK(mlp_create(s, mlp, &err));
    mlp_initialise(mlp, &rng);
    for (int l = 0; l < s->layers; l++)
        for (int c = 0; c < s->widths[l + 1]; c++) {
            mlp->layer[l].bias[c] = (float)(0.1 * rng_normal(&rng));
            for (int k = 0; c % 5 == 1 && l + 1 < s->layers && k < s->widths[l];
                 k++) /* loud: an outlier of LLM.int8() */
                mlp->layer[l].weight[c * s->widths[l] + k] *= 10;
        }
    for (size_t i = 0; i < sizeof images; i++) images[i] = rng_below(&rng, 3) ? (uint8_t)rng_next(&rng) : 0;
}

/* ---- one file of each kind ---- */

static const struct file_kind {
    const char *format, *last; /* "dynamic", "vector-wise": int8 so; "packed": in the integer engine */
    int block;                 /* packed: the bits */
    enum method method;
} kinds[KINDS] = {
    {"int4", NULL, 7, METHOD_AWQ},
    {"int4", NULL, CODEC_TENSOR, METHOD_RTN},
    {"uint3", NULL, CODEC_ROW, METHOD_GPTQ},
    {"nf4-dq", NULL, 0, METHOD_RTN},
    {"nf4", NULL, 0, METHOD_RTN},
    {"q4_K", "q6_K", 0, METHOD_RTN},
    {"q8_0", NULL, 0, METHOD_RTN},
    {"bf16", "f16", 0, METHOD_RTN},
    {"dynamic", NULL, 0, METHOD_RTN},
    {"vector-wise", NULL, 0, METHOD_RTN},
    {"packed", NULL, 4, METHOD_GPTQ},
    {"packed", NULL, 3, METHOD_RTN_MSE},
    {"fp8_e4m3", NULL, CODEC_ROW, METHOD_RTN},
    {"nvfp4", NULL, 0, METHOD_RTN},
    {"ternary", NULL, 7, METHOD_RTN},
    {"q2_K", NULL, 0, METHOD_IMATRIX},
};

static bool is_coded(const struct file_kind *kind) { return format_find(kind->format) != NULL; }

static void encode(const struct mlp *mlp, const struct file_kind *kind, struct weight_only *c) {
    struct coding_config config = {.format = format_find(kind->format),
                                   .more_format = kind->last ? format_find(kind->last) : NULL,
                                   .block = kind->block,
                                   .method = kind->method,
                                   .damping = 0.01};
    CHECK(weight_only_encode(mlp, images, IMAGES, &config, c, NULL, &err));
}

static void pack(const struct mlp *mlp, int bits, enum method method, struct qmlp *q) {
    static const char *const names[] = {"", "", "int2", "int3", "int4"};
    struct coded_matrix codes[MLP_MAX_LAYERS] = {{0}};
    struct range ranges[MLP_MAX_LAYERS + 1];
    struct convert_config minmax = {.per_channel = true};
    struct coding_config config = {
        .format = format_find(names[bits]), .block = CODEC_ROW, .method = method, .damping = 0.01};
    struct mlp_workspace ws;
    size_t saturated;
    CHECK(mlp_workspace_create(&mlp->shape, CALIBRATION_BATCH, false, &ws, &err));
    CHECK(calibrate(mlp, images, IMAGES, &minmax, &ws, ranges, &err));
    CHECK(weight_only_codes(mlp, images, IMAGES, &config, codes, &err));
    CHECK(convert_codes(mlp, codes, ranges, false, q, &saturated, &err));
    for (int l = 0; l < MLP_MAX_LAYERS; l++) coded_matrix_free(&codes[l]);
    mlp_workspace_free(&ws);
}

static void convert_dynamic(const struct mlp *mlp, bool vector_wise, struct dynamic_mlp *q) {
    CHECK(dynamic_convert(mlp, vector_wise, 1.5f, images, IMAGES, q, &err));
    if (vector_wise) assert_true(q->layer[1].outliers > 1 && q->layer[1].outliers < q->layer[1].in);
}

static const char *write_kind(const struct file_kind *kind, const char *name) {
    const char *path = in_folder(name);
    struct model_notes notes = {.seed = "1"};
    struct mlp mlp;
    make_network(&shape, &mlp);
    if (is_coded(kind)) {
        struct weight_only c;
        encode(&mlp, kind, &c);
        CHECK(model_write_coded(path, &c, &notes, &err));
        weight_only_free(&c);
    } else if (strcmp(kind->format, "packed") == 0) {
        struct qmlp q;
        notes.weight_bits = kind->block;
        pack(&mlp, kind->block, kind->method, &q);
        CHECK(model_write_qmlp(path, &q, &notes, &err));
        qmlp_free(&q);
    } else {
        struct dynamic_mlp q;
        convert_dynamic(&mlp, kind->format[0] == 'v', &q);
        CHECK(model_write_dynamic(path, &q, &notes, &err));
        dynamic_free(&q);
    }
    mlp_free(&mlp);
    return path;
}

/* Runs a model that was read: every prediction must be a class. Returns a checksum of them. */
static unsigned run_model(const struct model *m) {
    uint8_t predicted[4], codes[4 * MLP_MAX_WIDTH / 64];
    unsigned sum = 0;
    int classes = m->shape.widths[m->shape.layers];
    size_t inputs = (size_t)m->shape.widths[0], count = inputs * 4 <= sizeof images ? 4 : 0;
    if (count == 0 || classes > MLP_MAX_WIDTH / 64) return 0; /* another shape than ours: not with these images */
    if (m->kind == MODEL_DYNAMIC) {
        struct dynamic_mlp_workspace ws;
        CHECK(dynamic_workspace_create(&m->shape, 4, &ws, &err));
        highest_classes(dynamic_forward(&m->dynamic, images, (int)count, &ws), count, classes, predicted);
        dynamic_workspace_free(&ws);
    } else if (m->kind == MODEL_INT8) {
        struct qmlp_workspace ws;
        uint8_t reference[sizeof codes];
        CHECK(qmlp_workspace_create(&m->shape, 1, &ws, &err));
        qmlp_forward(&m->qmlp, images, count, &ws, codes);
        qmlp_forward_ref(&m->qmlp, images, count, reference);
        assert_memory_equal(codes, reference, count * (size_t)classes);
        qmlp_classify(codes, count, classes, predicted);
        qmlp_workspace_free(&ws);
    } else {
        struct mlp_workspace ws;
        CHECK(mlp_workspace_create(&m->shape, 4, false, &ws, &err));
        mlp_predict(&m->mlp, images, count, &ws, predicted);
        mlp_workspace_free(&ws);
    }
    for (size_t i = 0; i < count; i++) {
        assert_true(predicted[i] < classes);
        sum = sum * 31 + predicted[i];
    }
    assert_true(isfinite(m->bits_per_weight) && m->bits_per_weight > 0);
    return sum;
}

static void refused(const char *path, const char *why) {
    struct model model;
    if (model_read(path, &model, NULL, &err)) fail_msg("%s was read: expected \"%s\"", path, why);
    assert_error(err.text, path, why);
    assert_null(strstr(err.text, "out of memory"));
}

/* ---- what is written comes back ---- */

static void coded_files_come_back(void **state) {
    (void)state;
    for (const struct file_kind *kind = kinds; is_coded(kind); kind++) {
        struct mlp mlp, decoded;
        struct weight_only c;
        struct model model;
        struct model_notes notes;
        const char *path = write_kind(kind, "coded");
        make_network(&shape, &mlp);
        encode(&mlp, kind, &c);
        CHECK(weight_only_decode(&c, &decoded, &err));
        CHECK(model_read(path, &model, &notes, &err));
        assert_int_equal(model.kind, MODEL_WEIGHT_ONLY);
        assert_string_equal(notes.seed, "1");
        assert_memory_equal(&model.shape, &shape, sizeof(int) * 5);
        assert_memory_equal(mlp_parameters(&model.mlp), mlp_parameters(&decoded),
                            mlp_padded_count(&decoded) * sizeof(float));
        assert_true(model.bits_per_weight ==
                    contents_bits_per_weight(&(struct contents){.shape = &shape, .coded = &c}));
        run_model(&model);
        model_free(&model);
        weight_only_free(&c);
        mlp_free(&decoded);
        mlp_free(&mlp);
    }
}

static void dynamic_files_come_back(void **state) {
    (void)state;
    for (int vector_wise = 0; vector_wise < 2; vector_wise++) {
        struct mlp mlp;
        struct dynamic_mlp q;
        struct dynamic_mlp_workspace ws;
        struct model model;
        float logits[IMAGES * CLASSES];
        double bits = 0, weights = 0;
        const char *path = write_kind(&kinds[8 + vector_wise], "dynamic");
        make_network(&shape, &mlp);
        convert_dynamic(&mlp, vector_wise, &q);
        CHECK(dynamic_workspace_create(&shape, IMAGES, &ws, &err));
        memcpy(logits, dynamic_forward(&q, images, IMAGES, &ws), sizeof logits);
        CHECK(model_read(path, &model, NULL, &err));
        assert_int_equal(model.kind, MODEL_DYNAMIC);
        assert_memory_equal(dynamic_forward(&model.dynamic, images, IMAGES, &ws), logits, sizeof logits);
        for (int l = 0; l < 3; l++) { /* 8 bits a weight, 32 a scale; a column apart: 32, and 16 a weight */
            const struct dynamic_mlp_layer *d = &q.layer[l];
            bits += 8.0 * d->in * d->out + 32.0 * d->out + d->outliers * (32 + 16.0 * d->out);
            weights += (double)d->in * d->out;
        }
        assert_close(model.bits_per_weight, bits / weights, 1e-9);
        model_free(&model);
        dynamic_workspace_free(&ws);
        dynamic_free(&q);
        mlp_free(&mlp);
    }
}

/* Rows of 5, 7, 17 and more codes of 4, 3 and 2 bits: most end within a byte. */
static void packed_codes_come_back(void **state) {
    (void)state;
    static const struct mlp_shape odd[] = {{3, {5, 7, 17, 10}}, {2, {17, 1, 2}}, {1, {21, 10}}, {3, {8, 16, 9, 3}}};
    for (int t = 0; t < 3 * 4; t++) {
        int bits = 2 + t % 3;
        const struct mlp_shape *s = &odd[t / 3];
        const char *path = in_folder("packed");
        struct model_notes notes = {.weight_bits = bits};
        struct mlp mlp;
        struct qmlp q;
        struct model model;
        uint8_t codes[2][IMAGES * 10];
        double stored = 0, weights = 0;
        make_network(s, &mlp);
        pack(&mlp, bits, METHOD_RTN, &q);
        CHECK(model_write_qmlp(path, &q, &notes, &err));
        CHECK(model_read(path, &model, NULL, &err));
        assert_int_equal(model.kind, MODEL_INT8);
        for (int l = 0; l < s->layers; l++) {
            size_t in = (size_t)s->widths[l], out = (size_t)s->widths[l + 1];
            int used = 0;
            assert_memory_equal(model.qmlp.layer[l].weight, q.layer[l].weight, in * out);
            assert_memory_equal(model.qmlp.layer[l].bias, q.layer[l].bias, out * sizeof(int32_t));
            assert_memory_equal(model.qmlp.weight_scale[l], q.weight_scale[l], out * sizeof(float));
            for (size_t i = 0; i < in * out; i++) used += q.layer[l].weight[i] != 0;
            assert_true(used > 0);
            stored += (double)out * ((double)((in * (size_t)bits + 7) / 8 * 8) + 32);
            weights += (double)(in * out);
        }
        assert_close(model.bits_per_weight, stored / weights, 1e-9);
        qmlp_forward_ref(&q, images, IMAGES * INPUTS / 21, codes[0]);
        qmlp_forward_ref(&model.qmlp, images, IMAGES * INPUTS / 21, codes[1]);
        assert_memory_equal(codes[0], codes[1], (size_t)(IMAGES * s->widths[s->layers]));
        model_free(&model);
        qmlp_free(&q);
        mlp_free(&mlp);
    }
}

/* ---- files with one thing wrong ---- */

/* The parts of a file before it is written, to be spoiled. */
struct parts {
    struct mlp mlp;
    struct weight_only coded;
    struct dynamic_mlp dynamic;
    struct st_file *file;
};

static void parts_of(const struct file_kind *kind, struct parts *p) {
    *p = (struct parts){.file = calloc(1, sizeof *p->file)};
    assert_non_null(p->file);
    make_network(&shape, &p->mlp);
    st_add_metadata(p->file, "architecture", "mlp 21-14-17-10");
    if (is_coded(kind)) {
        encode(&p->mlp, kind, &p->coded);
        contents_add(&(struct contents){.shape = &shape, .coded = &p->coded}, p->file);
    } else {
        convert_dynamic(&p->mlp, kind->format[0] == 'v', &p->dynamic);
        contents_add(&(struct contents){.shape = &shape, .dynamic = &p->dynamic}, p->file);
    }
}

/* Writes what became of the parts; it must be refused, or, with why NULL, read. */
static void parts_refused(struct parts *p, const char *why) {
    const char *path = in_folder("parts");
    struct model model;
    CHECK(st_write(path, p->file, &err));
    if (why) {
        refused(path, why);
    } else {
        CHECK(model_read(path, &model, NULL, &err));
        run_model(&model);
        model_free(&model);
    }
    free(p->file);
    weight_only_free(&p->coded);
    dynamic_free(&p->dynamic);
    mlp_free(&p->mlp);
}

static void set_metadata(struct st_file *file, const char *key, const char *text) {
    for (size_t i = 0; i < file->metadata_count; i++)
        if (strcmp(file->metadata[i].key, key) == 0) {
            if (text) strcpy(file->metadata[i].text, text);
            else file->metadata[i] = file->metadata[--file->metadata_count];
            return;
        }
    fail_msg("no metadata %s", key);
}

static struct st_tensor *tensor(struct st_file *file, const char *name) {
    for (size_t i = 0; i < file->tensor_count; i++)
        if (strcmp(file->tensors[i].name, name) == 0) return &file->tensors[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

static void remove_tensor(struct st_file *file, const char *name) {
    *tensor(file, name) = file->tensors[file->tensor_count - 1];
    file->tensor_count--;
}

static void nothing_is_wrong_with_the_parts(void **state) {
    (void)state;
    struct parts p;
    for (int i = 0; i < 10; i++) {
        parts_of(&kinds[i], &p);
        parts_refused(&p, NULL);
    }
}

static void formats_that_are_none(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",          "none/7",           "int4",     "int4/",      "int4/0",
        "int4/-3",   "int4/99999999999", "int4/+7",  "int4/ 7",    "int4/7x",
        "int4/7/7",  "int4/07",          "int4/ROW", "int4/row ",  "int4/99999999999999999999999",
        "q4_0/32",   "f16/row",          "nf4/64",   "INT4/7",     "/7",
        "/",         "int4/16385",       "int4/0x7", "q4_K_M",     "int4/7.0",
        "int4/tens", "uint8/row",        "int4\t/7", "q4_0 + q6_K"};
    struct parts p;
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++)
        for (int l = 0; l < 2; l++) {
            parts_of(&kinds[0], &p);
            set_metadata(p.file, l ? "fc3.format" : "fc1.format", texts[t]);
            parts_refused(&p, "not a format of this program");
        }
    char long_name[400];
    memset(long_name, 'i', sizeof long_name);
    strcpy(long_name + 390, "/row");
    parts_of(&kinds[0], &p);
    set_metadata(p.file, "fc2.format", long_name);
    parts_refused(&p, "not a format of this program");
}

static void formats_that_do_not_fit_the_weights(void **state) {
    (void)state;
    static const char *const texts[] = {"int4/row", "int4/tensor", "int4/14", "int3/7",    "uint4/7",
                                        "int8/row", "q4_0",        "q4_K",    "nf4",       "nf4-dq",
                                        "f32",      "f16",         "bf16",    "int4/16384"};
    struct parts p;
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
        parts_of(&kinds[0], &p);
        set_metadata(p.file, "fc2.format", texts[t]);
        parts_refused(&p, "tensor fc2.weight");
    }
}

static void metadata_that_is_missing_or_wrong(void **state) {
    (void)state;
    static const char *const architectures[] = {"",
                                                "mlp",
                                                "mlp ",
                                                "cnn 21-14-17-10",
                                                "mlp 21",
                                                "mlp 21-14-17-10-",
                                                "mlp 0-5",
                                                "mlp -1-5",
                                                "mlp 16385-10",
                                                "mlp 21--14",
                                                "mlp 21-14-17-10x",
                                                "mlp 1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1",
                                                "mlp 21 - 5",
                                                "mlp 21-1e1",
                                                "mlp 99999999999999999999-10"};
    static const int some[] = {0, 8, 9};
    struct parts p;
    for (int k = 0; k < 3; k++) {
        for (size_t t = 0; t < sizeof architectures / sizeof *architectures; t++) {
            parts_of(&kinds[some[k]], &p);
            set_metadata(p.file, "architecture", architectures[t]);
            parts_refused(&p, "");
        }
        parts_of(&kinds[some[k]], &p);
        set_metadata(p.file, "architecture", NULL);
        parts_refused(&p, "architecture");
        parts_of(&kinds[some[k]], &p); /* a network that is another */
        set_metadata(p.file, "architecture", "mlp 21-14-10");
        parts_refused(&p, "tensor");
    }
    parts_of(&kinds[0], &p);
    set_metadata(p.file, "fc2.format", NULL);
    parts_refused(&p, "metadata fc2.format is missing");
    parts_of(&kinds[0], &p);
    set_metadata(p.file, "fc1.format", NULL);
    parts_refused(&p, "");
    parts_of(&kinds[9], &p);
    set_metadata(p.file, "activations", NULL);
    parts_refused(&p, "");
    parts_of(&kinds[9], &p);
    set_metadata(p.file, "activations", "dynamic"); /* which has no outliers */
    parts_refused(&p, "fc2.outlier_columns");
    parts_of(&kinds[8], &p);
    set_metadata(p.file, "activations", "sometimes");
    parts_refused(&p, "");
}

static void tensors_missing_or_too_many(void **state) {
    (void)state;
    static const char *const coded[] = {"fc1.weight", "fc1.bias", "fc2.weight", "fc3.bias"};
    static const char *const dynamic[] = {"fc1.weight", "fc2.weight_scale", "fc3.bias", "fc2.outlier_weight",
                                          "fc2.outlier_columns"};
    struct parts p;
    for (int t = 0; t < 4; t++) {
        parts_of(&kinds[0], &p);
        remove_tensor(p.file, coded[t]);
        parts_refused(&p, coded[t]);
    }
    for (int t = 0; t < 5; t++) {
        parts_of(&kinds[9], &p);
        remove_tensor(p.file, dynamic[t]);
        parts_refused(&p, t < 4 ? dynamic[t] : "tensors: expected");
    }
    for (int k = 0; k < 9; k += 8) {
        parts_of(&kinds[k], &p);
        st_add(p.file, "fc4.bias", ST_F32, 3, 0, p.mlp.layer[0].bias);
        parts_refused(&p, "tensors: expected");
    }
    parts_of(&kinds[0], &p);
    st_add(p.file, "fc2.input_divisor", ST_F16, 14, 0, p.coded.layer[0].divisor); /* only the pixels have one */
    parts_refused(&p, "tensors: expected");
}

static void divisors_that_cannot_divide(void **state) {
    (void)state;
    static const float wrong[] = {0, -0.0f, NAN, INFINITY, -INFINITY, -1};
    struct parts p;
    for (int t = 0; t < 6; t++) {
        parts_of(&kinds[0], &p);
        p.coded.layer[0].divisor[t * 4] = half_from_float(wrong[t]);
        parts_refused(&p, "tensor fc1.input_divisor: element");
    }
    parts_of(&kinds[0], &p); /* the smallest fp16: 2^24 times larger weights, and finite */
    p.coded.layer[0].divisor[3] = 1;
    parts_refused(&p, NULL);
    parts_of(&kinds[0], &p);
    *tensor(p.file, "fc1.input_divisor") = (struct st_tensor){"fc1.input_divisor",     ST_F16, 1, {20}, 20, 40,
                                                              p.coded.layer[0].divisor};
    parts_refused(&p, "fc1.input_divisor has the shape [20]: expected [21]");
    parts_of(&kinds[0], &p);
    tensor(p.file, "fc1.input_divisor")->dtype = ST_BF16;
    parts_refused(&p, "fc1.input_divisor is BF16: expected F16");
}

/* NaN and infinity in the scales of blocks: at byte 0 of fc2's, or where it says. */
static void scales_that_are_no_numbers(void **state) {
    (void)state;
    static const uint8_t half_nan[] = {0x01, 0x7e}, half_inf[] = {0x00, 0x7c}, float_nan[] = {0, 0, 0xc0, 0x7f};
    static const struct {
        int kind, layer;
        size_t at, size;
    } scales[] = {{0, 1, 0, 2}, {1, 1, 0, 2}, {2, 1, 0, 2},   {3, 1, 0, 4}, {3, 1, 4, 4}, {4, 1, 0, 4},
                  {5, 0, 0, 2}, {5, 0, 2, 2}, {5, 1, 208, 2}, {6, 1, 0, 2}, {7, 2, 8, 2}};
    struct parts p;
    for (size_t t = 0; t < sizeof scales / sizeof *scales; t++)
        for (int infinite = 0; infinite < 2; infinite++) {
            if (infinite && (scales[t].size == 4 || scales[t].kind == 7)) continue;
            parts_of(&kinds[scales[t].kind], &p);
            char expected[32]; /* bf16's NaN has other bytes: the f16 of the last layer */
            uint8_t *at = p.coded.layer[scales[t].layer].bytes + scales[t].at;
            memcpy(at, scales[t].size == 4 ? float_nan : infinite ? half_inf : half_nan, scales[t].size);
            snprintf(expected, sizeof expected, "fc%d.weight: weight", scales[t].layer + 1);
            parts_refused(&p, expected);
        }
    for (int l = 0; l < 3; l++) {
        parts_of(&kinds[0], &p);
        p.coded.layer[l].bias[1] = NAN;
        parts_refused(&p, "bias: element 1 is not a finite number");
    }
}

static void outliers_out_of_order_or_range(void **state) {
    (void)state;
    struct parts p;
    static const int32_t wrong[] = {-1, INT32_MIN, 14, INT32_MAX};
    for (int t = 0; t < 4; t++) {
        parts_of(&kinds[9], &p);
        p.dynamic.layer[1].outlier_columns[p.dynamic.layer[1].outliers - 1] = wrong[t];
        parts_refused(&p, "tensor fc2.outlier_columns: element");
        parts_of(&kinds[9], &p);
        p.dynamic.layer[1].outlier_columns[0] = wrong[t];
        parts_refused(&p, "tensor fc2.outlier_columns: element");
    }
    parts_of(&kinds[9], &p);
    p.dynamic.layer[1].outlier_columns[1] = p.dynamic.layer[1].outlier_columns[0];
    parts_refused(&p, "tensor fc2.outlier_columns: element 1");
    parts_of(&kinds[9], &p);
    p.dynamic.layer[1].outlier_weight[3] = 0x7e00;
    parts_refused(&p, "tensor fc2.outlier_weight: element 3 is not a finite number");
    parts_of(&kinds[9], &p); /* more columns than inputs */
    static const int32_t many[15] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
    *tensor(p.file, "fc2.outlier_columns") = (struct st_tensor){"fc2.outlier_columns", ST_I32, 1, {15}, 15, 60, many};
    parts_refused(&p, "fc2.outlier_columns has 15 columns: expected 1 to 14");
    parts_of(&kinds[9], &p); /* none: then the tensor is not there */
    *tensor(p.file, "fc2.outlier_columns") = (struct st_tensor){"fc2.outlier_columns", ST_I32, 1, {0}, 0, 0, many};
    parts_refused(&p, "fc2.outlier_columns has 0 columns");
    parts_of(&kinds[9], &p); /* fewer columns than weights */
    *tensor(p.file, "fc2.outlier_columns") = (struct st_tensor){"fc2.outlier_columns", ST_I32, 1, {1}, 1, 4, many};
    parts_refused(&p, "fc2.outlier_weight");
}

static void dynamic_values_that_are_no_numbers(void **state) {
    (void)state;
    static const float wrong[] = {NAN, INFINITY, 0, -1};
    struct parts p;
    for (int t = 0; t < 4; t++) {
        parts_of(&kinds[8], &p);
        p.dynamic.layer[2].weight_scale[9] = wrong[t];
        parts_refused(&p, "tensor fc3.weight_scale: element 9");
    }
    parts_of(&kinds[8], &p);
    p.dynamic.layer[0].bias[0] = NAN;
    parts_refused(&p, "tensor fc1.bias: element 0");
}

/* ---- sums that leave fp32 ---- */

/* All weights of each layer alike, biases 0. */
static void even_network(const float weights[3], struct mlp *mlp) {
    make_network(&shape, mlp);
    for (int l = 0; l < 3; l++) {
        const struct dense *d = &mlp->layer[l];
        memset(d->bias, 0, (size_t)d->out * sizeof(float));
        for (int i = 0; i < d->in * d->out; i++) d->weight[i] = weights[l];
    }
}

/* Files of finite numbers whose sums are not: in fp32 at the first or at a hidden layer; in bf16, whose kernel scales
 * by 1/255 only after the sum, at a 255th of the weights. Whatever CPU reads them. */
static void sums_beyond_fp32(void **state) {
    (void)state;
    static const struct {
        bool bf16;
        float weights[3];
        bool fits;
    } cases[] = {{false, {7e36f, 1e-20f, 1}, true},       {false, {9e36f, 1e-20f, 1}, false},
                 {false, {1e30f, 1e5f, 1e-30f}, true},    {false, {1e30f, 1e8f, 1e-30f}, false},
                 {false, {-1e20f, -1e20f, 1e20f}, false}, {true, {2.5e34f, 1e-20f, 1}, true},
                 {true, {4e34f, 1e-20f, 1}, false},       {true, {7e36f, 1e-20f, 1}, false},
                 {true, {1e30f, 1e5f, 1e-30f}, true},     {true, {1e30f, 1e8f, 1e-30f}, false}};
    static const struct file_kind bf16 = {"bf16", NULL, 0, METHOD_RTN};
    for (size_t t = 0; t < sizeof cases / sizeof *cases; t++) {
        struct parts p = {.file = calloc(1, sizeof *p.file)};
        even_network(cases[t].weights, &p.mlp);
        st_add_metadata(p.file, "architecture", "mlp 21-14-17-10");
        if (cases[t].bf16) encode(&p.mlp, &bf16, &p.coded);
        struct contents c = {.shape = &shape};
        if (cases[t].bf16) c.coded = &p.coded;
        else c.mlp = &p.mlp;
        contents_add(&c, p.file);
        parts_refused(&p, cases[t].fits ? NULL : "sums of a layer can leave fp32");
    }
}

static void dynamic_sums_beyond_fp32(void **state) {
    (void)state;
    struct parts p;
    for (int vector_wise = 0; vector_wise < 2; vector_wise++) {
        const struct file_kind *kind = &kinds[8 + vector_wise];
        parts_of(kind, &p);
        p.dynamic.layer[0].weight_scale[5] = 1e30f;
        parts_refused(&p, NULL);
        parts_of(kind, &p);
        p.dynamic.layer[0].weight_scale[5] = 3e38f;
        parts_refused(&p, "sums of a layer can leave fp32");
        parts_of(kind, &p); /* no weight at all, but s_x s_w is infinite, and 0 times that a NaN */
        p.dynamic.layer[0].weight_scale[5] = 1e30f;
        p.dynamic.layer[1].weight_scale[2] = 3e38f;
        memset(p.dynamic.layer[1].weight + 2 * 14, 0, 14);
        parts_refused(&p, "sums of a layer can leave fp32");
        parts_of(kind, &p);
        p.dynamic.layer[2].bias[0] = -3e38f;
        parts_refused(&p, "sums of a layer can leave fp32");
    }
    parts_of(&kinds[9], &p); /* an outlier's weight, however small, on a huge input */
    p.dynamic.layer[0].weight_scale[1] = 1e35f;
    p.dynamic.layer[1].outlier_weight[0] = 0x7bff;
    parts_refused(&p, "sums of a layer can leave fp32");
}

static void bits_that_are_none(void **state) {
    (void)state;
    static const char *const texts[] = {"",   "0",  "1.5", "1.60", "5",    "8",
                                        "44", "-4", "4 ",  " 4",   "four", "\x34\x34\x34"};
    char path[128];
    strcpy(path, write_kind(&kinds[10], "bits")); /* in_folder's texts do not last */
    struct st_file *file = calloc(1, sizeof *file);
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
        CHECK(st_read(path, file, &err));
        set_metadata(file, "weight_bits", texts[t]);
        CHECK(st_write(in_folder("changed"), file, &err));
        refused(in_folder("changed"), "weight_bits");
        st_free(file);
    }
    static const char *const other[] = {"1", "1.6", "2", "3", NULL};
    for (int t = 0; t < 5; t++) { /* rows of another length; then no word of packing */
        CHECK(st_read(path, file, &err));
        set_metadata(file, "weight_bits", other[t]);
        CHECK(st_write(in_folder("changed"), file, &err));
        refused(in_folder("changed"), t < 4 ? "fc1.weight has the shape [14, 11]" : "");
        st_free(file);
    }
    CHECK(st_read(path, file, &err));
    set_metadata(file, "architecture", NULL);
    CHECK(st_write(in_folder("changed"), file, &err));
    refused(in_folder("changed"), "architecture");
    st_free(file);
    free(file);
}

/* ---- memory ---- */

/* A quarter of a gigabyte more than there is. Returns the limit to go back to. */
static struct rlimit limit_address_space(void) {
#ifdef CAN_LIMIT_MEMORY
    return limit_memory((size_t)1 << 28);
#else
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
    return old;
#endif
}

static void a_small_file_that_promises_gigabytes(void **state) {
    (void)state;
    static const char *const huge[] = {"int4/row", "int2/tensor", "q4_K",       "nf4",    "nf4-dq",
                                       "f16",      "f32",         "int8/16384", "uint2/1"};
    static const char *const shapes[] = {"mlp 16384-16384-10", "mlp 21-14-16384-16384-10",
                                         "mlp 16384-16384-16384-16384-16384-16384-16384-16384-16384-16384-16384-10"};
    for (int s = 0; s < 3; s++) {
        for (size_t t = 0; t < sizeof huge / sizeof *huge; t++) {
            struct parts p;
            char key[32];
            parts_of(&kinds[0], &p);
            set_metadata(p.file, "architecture", shapes[s]);
            for (int l = 0; l < 12; l++) {
                snprintf(key, sizeof key, "fc%d.format", l + 1);
                if (l < 3) set_metadata(p.file, key, s == 1 && l < 1 ? "int4/7" : huge[t]);
                else st_add_metadata(p.file, key, "%s", huge[t]);
            }
            struct rlimit before = limit_address_space();
            parts_refused(&p, "tensor fc");
            assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
        }
        for (int k = 8; k < 10; k++) {
            struct parts p;
            parts_of(&kinds[k], &p);
            set_metadata(p.file, "architecture", shapes[s]);
            struct rlimit before = limit_address_space();
            parts_refused(&p, "tensor fc");
            assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
        }
        struct st_file *file = calloc(1, sizeof *file);
        CHECK(st_read(write_kind(&kinds[11], "packed"), file, &err));
        set_metadata(file, "architecture", shapes[s]);
        CHECK(st_write(in_folder("changed"), file, &err));
        struct rlimit before = limit_address_space();
        refused(in_folder("changed"), "tensor fc");
        assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
        st_free(file);
        free(file);
    }
}

/* ---- broken files ---- */

static void cut_files_are_refused(void **state) {
    (void)state;
    for (int k = 0; k < KINDS; k += k == 3 || k == 6 ? 2 : 1) {
        size_t size;
        const char *path = write_kind(&kinds[k], "whole"), *cut = in_folder("cut");
        char *bytes = read_bytes(path, &size);
        int tried = 0;
        for (size_t length = 0; length < size; length += length < 3000 && k % 4 == 0 ? 1 : 97) {
            struct model model;
            write_bytes(cut, bytes, length);
            if (model_read(cut, &model, NULL, &err))
                fail_msg("%s: %zu of %zu bytes were read", kinds[k].format, length, size);
            assert_error(err.text, cut, "");
            tried++;
        }
        assert_true(tried >= 10);
        free(bytes);
    }
}

/* Bytes changed at random, half of the time in the header: no crash, and what loads can be run. */
static void mutations(void **state) {
    (void)state;
    enum { EACH = 900 };
    struct rng rng = rng_seeded(99);
    int loaded = 0, not_loaded = 0, other = 0;
    for (int k = 0; k < KINDS; k++) {
        size_t size;
        const char *path = write_kind(&kinds[k], "whole"), *changed = in_folder("changed");
        struct model model;
        char *bytes = read_bytes(path, &size);
        size_t header = 8 + (size_t)(uint8_t)bytes[0] + 256 * (size_t)(uint8_t)bytes[1];
        assert_true(header < size);
        CHECK(model_read(path, &model, NULL, &err));
        unsigned right = run_model(&model);
        model_free(&model);
        for (int t = 0; t < EACH; t++) {
            char kept[4];
            size_t at[4];
            int changes = 1 + (int)rng_below(&rng, 4);
            bool in_header = rng_below(&rng, 2);
            for (int i = 0; i < changes; i++) {
                at[i] = in_header ? rng_below(&rng, (uint32_t)header)
                                  : header + rng_below(&rng, (uint32_t)(size - header));
                kept[i] = bytes[at[i]];
                switch (rng_below(&rng, 3)) {
                case 0: bytes[at[i]] = (char)rng_next(&rng); break;
                case 1: bytes[at[i]] = (char)(bytes[at[i]] ^ 1 << rng_below(&rng, 8)); break;
                default: bytes[at[i]] = in_header ? "0123456789-/[]{},\":"[rng_below(&rng, 19)] : (char)0xff;
                }
            }
            write_bytes(changed, bytes, size);
            if (model_read(changed, &model, NULL, &err)) {
                loaded++;
                other += run_model(&model) != right;
                model_free(&model);
            } else {
                not_loaded++;
                assert_error(err.text, changed, "");
            }
            for (int i = changes - 1; i >= 0; i--) bytes[at[i]] = kept[i];
        }
        free(bytes);
    }
    assert_int_equal(loaded + not_loaded, KINDS * EACH);
    assert_true(loaded > 1000 && not_loaded > 3000 && other > 50);
}

int main(void) {
    omp_set_num_threads(1); /* small matrices: on a busy machine threads would only wait for each other */
    gemm_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(coded_files_come_back),
        cmocka_unit_test(dynamic_files_come_back),
        cmocka_unit_test(packed_codes_come_back),
        cmocka_unit_test(nothing_is_wrong_with_the_parts),
        cmocka_unit_test(formats_that_are_none),
        cmocka_unit_test(formats_that_do_not_fit_the_weights),
        cmocka_unit_test(metadata_that_is_missing_or_wrong),
        cmocka_unit_test(tensors_missing_or_too_many),
        cmocka_unit_test(divisors_that_cannot_divide),
        cmocka_unit_test(scales_that_are_no_numbers),
        cmocka_unit_test(outliers_out_of_order_or_range),
        cmocka_unit_test(dynamic_values_that_are_no_numbers),
        cmocka_unit_test(sums_beyond_fp32),
        cmocka_unit_test(dynamic_sums_beyond_fp32),
        cmocka_unit_test(bits_that_are_none),
        cmocka_unit_test(a_small_file_that_promises_gigabytes),
        cmocka_unit_test(cut_files_are_refused),
        cmocka_unit_test(mutations),
    };
    return cmocka_run_group_tests_name("ladder_file", tests, folder_setup, folder_teardown);
}
