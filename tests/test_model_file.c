/* Model files: fp32 and int8 networks of odd sizes round-trip exactly; a damaged file is refused, or, when
 * the damage is a weight like another, runs safely. */
#include "base/file.h"
#include "model/model_file.h"
#include "model/residual.h"

#include "mlp_predict.h"
#include "base/progress.h"
#include "support.h"

#include <math.h>
#include <signal.h>
#include <sys/resource.h>

enum { IMAGES = 70 }; /* two blocks of the integer engine and a part of one */

static const struct mlp_shape shapes[] = {
    {1, {5, 3}}, {1, {1, 1}}, {2, {17, 1, 5}}, {3, {3, 31, 17, 2}}, {4, {31, 17, 31, 5, 10}}, {4, {1, 3, 5, 17, 256}},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static const struct {
    bool per_channel, symmetric;
} schemes[] = {{true, false}, {false, false}, {true, true}, {false, true}};
enum { SCHEMES = sizeof schemes / sizeof schemes[0] };

static const struct model_notes notes = {
    .seed = "7", .training = "adam, 1 epoch", .observer = "minmax", .calibration = "70"};

/* ---- Networks and images, seeded ---- */

static uint8_t *random_images(size_t inputs) {
    struct rng rng = rng_seeded(inputs);
    uint8_t *images = malloc(IMAGES * inputs);
    assert_non_null(images);
    for (size_t i = 0; i < IMAGES * inputs; i++) images[i] = (uint8_t)rng_below(&rng, 256);
    memset(images, 0, inputs), memset(images + inputs, 255, inputs); /* the ends of the range, too */
    return images;
}

static struct mlp random_mlp(const struct mlp_shape *shape) {
    struct mlp mlp;
    struct error err;
    struct rng rng = rng_seeded(11);
    assert_true(mlp_create(shape, &mlp, &err));
    mlp_initialise(&mlp, &rng);
    for (int i = 0; i < shape->layers; i++)
        for (int c = 0; c < mlp.layer[i].out; c++) mlp.layer[i].bias[c] = (float)(0.3 * rng_normal(&rng));
    return mlp;
}

static struct qmlp random_qmlp(const struct mlp_shape *shape, bool per_channel, bool symmetric) {
    struct convert_config config = {.per_channel = per_channel, .symmetric_activations = symmetric};
    struct mlp mlp = random_mlp(shape);
    struct mlp_workspace ws;
    struct range ranges[MLP_MAX_LAYERS + 1];
    struct qmlp q;
    struct error err;
    size_t saturated;
    uint8_t *images = random_images((size_t)shape->widths[0]);
    assert_true(mlp_workspace_create(shape, CALIBRATION_BATCH, false, &ws, &err));
    assert_true(calibrate(&mlp, images, IMAGES, &config, &ws, ranges, &err));
    assert_true(convert(&mlp, ranges, &config, &q, &saturated, &err));
    free(images);
    mlp_workspace_free(&ws);
    mlp_free(&mlp);
    return q;
}

/* The classes of IMAGES random images. */
static void predict(const struct mlp *mlp, uint8_t predicted[IMAGES]) {
    struct mlp_workspace ws;
    struct error err;
    uint8_t *images = random_images((size_t)mlp->shape.widths[0]);
    assert_true(mlp_workspace_create(&mlp->shape, 16, false, &ws, &err));
    mlp_predict(mlp, images, IMAGES, &ws, predicted);
    mlp_workspace_free(&ws);
    free(images);
}

/* The codes of the logits [IMAGES][classes]; the fast path on 1 to max_threads must equal the reference. */
static uint8_t *codes_of(const struct qmlp *q, int max_threads) {
    struct error err;
    size_t size = IMAGES * (size_t)q->shape.widths[q->shape.layers];
    uint8_t *images = random_images((size_t)q->shape.widths[0]), *codes = malloc(size), *fast = malloc(size);
    qmlp_forward_ref(q, images, IMAGES, codes);
    for (int threads = 1; threads <= max_threads; threads++) {
        struct qmlp_workspace ws;
        assert_true(qmlp_workspace_create(&q->shape, threads, &ws, &err));
        memset(fast, 0xa5, size);
        qmlp_forward(q, images, IMAGES, &ws, fast);
        assert_memory_equal(fast, codes, size);
        qmlp_workspace_free(&ws);
    }
    free(fast), free(images);
    return codes;
}

static size_t count_different(const uint8_t *codes, size_t count) {
    size_t different = 0;
    bool seen[256] = {false};
    for (size_t i = 0; i < count; i++) different += !seen[codes[i]], seen[codes[i]] = true;
    return different;
}

static struct model loaded(const char *path) {
    struct model model;
    struct error err = {""};
    if (!model_read(path, &model, NULL, &err)) fail_msg("%s", err.text);
    return model;
}

static void assert_refused(const char *path, const char *expected) {
    struct model model;
    struct error err = {""};
    if (model_read(path, &model, NULL, &err)) fail_msg("%s was read; expected: %s", path, expected);
    assert_error(err.text, path, expected);
    assert_null(model.mlp.block.memory);
    assert_null(model.qmlp.block.memory);
    assert_null(model.qmlp.packed.memory);
}

/* ---- Round trips ---- */

static void test_fp32_reads_back_bit_for_bit(void **state) {
    (void)state;
    struct error err;
    const char *path = in_folder("fp32");
    for (int i = 0; i < SHAPES; i++) {
        struct mlp mlp = random_mlp(&shapes[i]);
        assert_true(model_write_mlp(path, &mlp, &notes, &err));
        struct model model = loaded(path);
        uint8_t before[IMAGES], after[IMAGES];
        assert_int_equal(model.kind, MODEL_FP32);
        assert_memory_equal(&model.shape, &shapes[i], sizeof shapes[i]);
        assert_true(mlp.layer[0].weight[0] != 0);
        assert_memory_equal(mlp_parameters(&model.mlp), mlp_parameters(&mlp), mlp_padded_count(&mlp) * sizeof(float));
        predict(&mlp, before), predict(&model.mlp, after);
        assert_memory_equal(before, after, IMAGES);
        if (shapes[i].widths[0] == 31) assert_true(count_different(after, IMAGES) > 1);
        model_free(&model), mlp_free(&mlp);
    }
}

static void assert_same_qmlp(const struct qmlp *a, const struct qmlp *b) {
    assert_int_equal(a->per_channel, b->per_channel);
    assert_int_equal(a->symmetric_activations, b->symmetric_activations);
    for (int l = 0; l < a->shape.layers; l++) {
        const struct qlinear *x = &a->layer[l], *y = &b->layer[l];
        size_t in = (size_t)x->in, out = (size_t)x->out;
        assert_memory_equal(x->weight, y->weight, out * in);
        assert_memory_equal(x->bias, y->bias, out * sizeof *x->bias);
        assert_memory_equal(x->folded_bias, y->folded_bias, out * sizeof *x->folded_bias);
        assert_memory_equal(x->multiplier, y->multiplier, out * sizeof *x->multiplier);
        assert_memory_equal(a->weight_scale[l], b->weight_scale[l], (a->per_channel ? out : 1) * sizeof(float));
    }
    assert_memory_equal(a->activation, b->activation, sizeof a->activation[0] * (size_t)(a->shape.layers + 1));
    assert_memory_equal(a->pixel_code, b->pixel_code, sizeof a->pixel_code);
}

static void round_trip_int8(const struct mlp_shape *shape, bool per_channel, bool symmetric) {
    struct error err;
    const char *path = in_folder("int8");
    size_t codes_count = IMAGES * (size_t)shape->widths[shape->layers];
    struct qmlp q = random_qmlp(shape, per_channel, symmetric);
    assert_true(model_write_qmlp(path, &q, &notes, &err));
    struct model model = loaded(path);
    assert_int_equal(model.kind, MODEL_INT8);
    assert_memory_equal(&model.shape, shape, sizeof *shape);
    assert_same_qmlp(&model.qmlp, &q);
    uint8_t *before = codes_of(&q, 2), *after = codes_of(&model.qmlp, 2);
    assert_memory_equal(before, after, codes_count);
    if (shape->widths[0] == 31) assert_true(count_different(after, codes_count) > 20); /* not all clamped */
    free(before), free(after);
    model_free(&model), qmlp_free(&q);
}

static void test_int8_reads_back_bit_for_bit(void **state) {
    (void)state;
    for (int i = 0; i < SHAPES; i++)
        for (int s = 0; s < SCHEMES; s++) round_trip_int8(&shapes[i], schemes[s].per_channel, schemes[s].symmetric);
}

static void test_notes_are_kept(void **state) {
    (void)state;
    struct error err;
    struct model model;
    struct model_notes found;
    struct qmlp q = random_qmlp(&shapes[0], true, false);
    memset(&found, 0xa5, sizeof found);
    assert_true(model_write_qmlp(in_folder("notes"), &q, &notes, &err));
    assert_true(model_read(in_folder("notes"), &model, &found, &err));
    assert_string_equal(found.seed, "7");
    assert_string_equal(found.training, "adam, 1 epoch");
    assert_string_equal(found.observer, "minmax");
    assert_string_equal(found.calibration, "70");
    model_free(&model);
    assert_true(model_write_qmlp(in_folder("notes"), &q, &(struct model_notes){.seed = ""}, &err));
    assert_true(model_read(in_folder("notes"), &model, &found, &err));
    assert_string_equal(found.seed, "");
    assert_string_equal(found.training, "");
    model_free(&model), qmlp_free(&q);
}

static void test_the_same_model_gives_the_same_bytes(void **state) {
    (void)state;
    struct error err;
    size_t size[2];
    struct qmlp q = random_qmlp(&shapes[4], true, false);
    assert_true(model_write_qmlp(in_folder("one"), &q, &notes, &err));
    struct model model = loaded(in_folder("one"));
    assert_true(model_write_qmlp(in_folder("two"), &model.qmlp, &notes, &err)); /* also after a round trip */
    char *one = read_bytes(in_folder("one"), &size[0]), *two = read_bytes(in_folder("two"), &size[1]);
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(one, two, size[0]);
    free(one), free(two);
    model_free(&model), qmlp_free(&q);
}

/* What the exercise promises of 784-256-256-10. */
static void test_int8_files_are_nearly_a_quarter(void **state) {
    (void)state;
    static const struct mlp_shape shape = {3, {784, 256, 256, 10}};
    struct error err;
    uint64_t bytes[3];
    struct mlp mlp = random_mlp(&shape);
    assert_true(model_write_mlp(in_folder("size"), &mlp, &notes, &err));
    assert_true(file_size(in_folder("size"), &bytes[0], &err));
    for (int i = 0; i < 2; i++) {
        struct qmlp q = random_qmlp(&shape, schemes[i].per_channel, schemes[i].symmetric);
        assert_true(model_write_qmlp(in_folder("size"), &q, &notes, &err));
        assert_true(file_size(in_folder("size"), &bytes[1 + i], &err));
        qmlp_free(&q);
    }
    mlp_free(&mlp);
    assert_in_range(bytes[0], 1077288, 1077288 + 4096); /* 4 * 269,322 parameters and a header */
    assert_true((double)bytes[0] / (double)bytes[1] >= 3.92);
    assert_true((double)bytes[0] / (double)bytes[2] >= 3.95);
}

/* ---- Damage: one thing in a good file of 5-4-3 is changed ---- */

static const struct mlp_shape victim_shape = {2, {5, 4, 3}};

enum action { NOTHING, REMOVE, ADD, DTYPE, SHAPE, SET_FLOAT, SET_INT, SET_BYTE, METADATA };

struct damage {
    const char *tensor; /* or the key of a metadata text */
    enum action action;
    size_t a, b;          /* DTYPE: the new one; SHAPE: rows, cols (0: one dimension); SET_*: the element */
    double value;         /* SET_* */
    const char *text;     /* METADATA */
    const char *expected; /* in the error text */
};

static void reshape(struct st_tensor *t, size_t rows, size_t cols) {
    static unsigned char filler[1 << 18]; /* 0x3f3f3f3f is the float 0.747 and the code 63 */
    memset(filler, 0x3f, sizeof filler);
    t->dimensions = cols ? 2 : 1;
    t->shape[0] = rows, t->shape[1] = cols;
    t->elements = rows * (cols ? cols : 1);
    t->bytes = t->elements * st_types[t->dtype].bytes;
    t->data = filler;
    assert_true(t->bytes <= sizeof filler);
}

static void set_element(struct st_tensor *t, size_t i, const void *value) {
    assert_true(i < t->elements);
    memcpy((unsigned char *)t->data + i * st_types[t->dtype].bytes, value, st_types[t->dtype].bytes);
}

static void apply(const struct damage *d, struct st_file *file) {
    struct st_tensor *t = (struct st_tensor *)st_find(file, d->tensor);
    float f = (float)d->value;
    int32_t i32 = d->action == SET_INT ? (int32_t)d->value : 0;
    uint8_t u8 = d->action == SET_BYTE ? (uint8_t)d->value : 0;
    switch (d->action) {
    case NOTHING: return;
    case ADD: st_add(file, d->tensor, ST_U8, 1, 0, "x"); return;
    case METADATA:
        for (size_t i = 0; i < file->metadata_count; i++)
            if (strcmp(file->metadata[i].key, d->tensor) == 0) strcpy(file->metadata[i].text, d->text);
        return;
    default: break;
    }
    assert_non_null(t);
    switch (d->action) {
    case REMOVE: *t = file->tensors[--file->tensor_count]; return;
    case DTYPE:
        t->dtype = (enum st_dtype)d->a;
        reshape(t, t->shape[0], t->dimensions == 2 ? t->shape[1] : 0);
        return;
    case SHAPE: reshape(t, d->a, d->b); return;
    case SET_FLOAT: set_element(t, d->a, &f); return;
    case SET_INT: set_element(t, d->a, &i32); return;
    default: set_element(t, d->a, &u8); return;
    }
}

/* The good file at path "good" with this damage, at path "damaged". */
static const char *damaged(const struct damage *d) {
    static struct st_file file;
    struct error err;
    assert_true(st_read(in_folder("good"), &file, &err));
    apply(d, &file);
    assert_true(st_write(in_folder("damaged"), &file, &err));
    st_free(&file);
    return in_folder("damaged");
}

static void write_good_mlp(void) {
    struct error err;
    struct mlp mlp = random_mlp(&victim_shape);
    assert_true(model_write_mlp(in_folder("good"), &mlp, &notes, &err));
    mlp_free(&mlp);
}

static void write_good_qmlp(bool per_channel, bool symmetric) {
    struct error err;
    struct qmlp q = random_qmlp(&victim_shape, per_channel, symmetric);
    assert_true(model_write_qmlp(in_folder("good"), &q, &notes, &err));
    qmlp_free(&q);
}

static void assert_all_refused(const struct damage *damages, size_t count) {
    struct model model = loaded(
        damaged(&(struct damage){.tensor = "", .action = NOTHING})); /* it is the damage that does it */
    model_free(&model);
    for (size_t i = 0; i < count; i++) assert_refused(damaged(&damages[i]), damages[i].expected);
}

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void test_damaged_fp32_models_are_refused(void **state) {
    (void)state;
    static const struct damage damages[] = {
        {"fc1.weight", REMOVE, .expected = "tensor fc1.weight is missing: not a model"},
        {"fc1.bias", REMOVE, .expected = "tensor fc1.bias is missing"},
        {"fc2.weight", REMOVE, .expected = "3 tensors: expected 2"},
        {"fc2.bias", REMOVE, .expected = "tensor fc2.bias is missing"},
        {"fc3.bias", ADD, .expected = "5 tensors: expected 4"},
        {"fc3.weight", ADD, .expected = "fc3.weight: expected a matrix"},
        {"fc1.weight", DTYPE, ST_F16, .expected = "fc1.weight is F16: expected F32"},
        {"fc1.weight", DTYPE, ST_I8, .expected = "fc1.weight is I8: expected F32"},
        {"fc2.bias", DTYPE, ST_I32, .expected = "fc2.bias is I32: expected F32"},
        {"fc1.weight", SHAPE, 20, 0, .expected = "expected a matrix of 1 to 16384"},
        {"fc1.weight", SHAPE, 0, 5, .expected = "expected a matrix of 1 to 16384"},
        {"fc1.weight", SHAPE, 16385, 1, .expected = "expected a matrix of 1 to 16384"},
        {"fc1.weight", SHAPE, 1, 16385, .expected = "expected a matrix of 1 to 16384"},
        {"fc1.weight", SHAPE, 5, 4, .expected = "fc2.weight takes 4 inputs, the layer before gives 5"},
        {"fc2.weight", SHAPE, 4, 3, .expected = "fc2.weight takes 3 inputs, the layer before gives 4"},
        {"fc2.weight", SHAPE, 2, 4, .expected = "fc2.bias has the shape [3]: expected [2]"},
        {"fc2.weight", SHAPE, 257, 4, .expected = "257 classes: expected at most 256"},
        {"fc1.bias", SHAPE, 5, 0, .expected = "fc1.bias has the shape [5]: expected [4]"},
        {"fc1.bias", SHAPE, 4, 1, .expected = "fc1.bias has 2 dimensions: expected 1"},
        {"fc1.weight", SET_FLOAT, 7, 0, NAN, .expected = "fc1.weight: element 7 is not a finite number"},
        {"fc2.weight", SET_FLOAT, 0, 0, INFINITY, .expected = "fc2.weight: element 0 is not a finite number"},
        {"fc2.bias", SET_FLOAT, 2, 0, -INFINITY, .expected = "fc2.bias: element 2 is not a finite number"},
    };
    write_good_mlp();
    assert_all_refused(damages, COUNT(damages));
}

static void test_damaged_int8_models_are_refused(void **state) {
    (void)state;
    static const struct damage damages[] = {
        {"fc1.weight", REMOVE, .expected = "tensor fc1.weight is missing"},
        {"fc2.weight_scale", REMOVE, .expected = "tensor fc2.weight_scale is missing"},
        {"fc1.bias", REMOVE, .expected = "tensor fc1.bias is missing"},
        {"fc2.input_scale", REMOVE, .expected = "tensor fc2.input_scale is missing"},
        {"fc1.input_zero_point", REMOVE, .expected = "tensor fc1.input_zero_point is missing"},
        {"output_scale", REMOVE, .expected = "tensor output_scale is missing"},
        {"output_zero_point", REMOVE, .expected = "tensor output_zero_point is missing"},
        {"extra", ADD, .expected = "13 tensors: expected 12"},
        {"fc1.weight", DTYPE, ST_U8, .expected = "fc1.weight is U8: expected I8"},
        {"fc2.weight", DTYPE, ST_F32, .expected = "fc2.weight is F32: expected I8"},
        {"fc1.weight_scale", DTYPE, ST_F16, .expected = "fc1.weight_scale is F16: expected F32"},
        {"fc1.bias", DTYPE, ST_F32, .expected = "fc1.bias is F32: expected I32"},
        {"fc1.input_scale", DTYPE, ST_BF16, .expected = "fc1.input_scale is BF16: expected F32"},
        {"output_zero_point", DTYPE, ST_I8, .expected = "output_zero_point is I8: expected U8"},
        {"output_zero_point", DTYPE, ST_I32, .expected = "output_zero_point is I32: expected U8"},
        {"fc2.weight", SHAPE, 3, 5, .expected = "fc2.weight takes 5 inputs, the layer before gives 4"},
        {"fc1.weight_scale", SHAPE, 3, 0, .expected = "fc1.weight_scale has the shape [3]: expected [4]"},
        {"fc1.weight_scale", SHAPE, 1, 0, .expected = "fc1.weight_scale has the shape [1]: expected [4]"},
        {"fc2.weight_scale", SHAPE, 1, 0, .expected = "fc2.weight_scale has the shape [1]: expected [3]"},
        {"fc2.weight_scale", SHAPE, 0, 0, .expected = "fc2.weight_scale has the shape [0]: expected [3]"},
        {"fc2.bias", SHAPE, 4, 0, .expected = "fc2.bias has the shape [4]: expected [3]"},
        {"fc2.input_scale", SHAPE, 4, 0, .expected = "fc2.input_scale has the shape [4]: expected [1]"},
        {"fc2.input_zero_point", SHAPE, 0, 0, .expected = "fc2.input_zero_point has the shape [0]: expected [1]"},
        {"output_scale", SHAPE, 1, 1, .expected = "output_scale has 2 dimensions: expected 1"},
        {"fc1.weight_scale", SET_FLOAT, 3, 0, 0, .expected = "fc1.weight_scale[3] is 0: expected a number > 0"},
        {"fc2.weight_scale", SET_FLOAT, 0, 0, -0.5, .expected = "fc2.weight_scale[0] is -0.5"},
        {"fc1.weight_scale", SET_FLOAT, 1, 0, NAN, .expected = "fc1.weight_scale: element 1 is not a finite number"},
        {"fc1.weight_scale", SET_FLOAT, 1, 0, INFINITY, .expected = "fc1.weight_scale: element 1 is not a finite"},
        {"fc1.input_scale", SET_FLOAT, 0, 0, 0, .expected = "the scale of the input of fc1 is 0"},
        {"fc2.input_scale", SET_FLOAT, 0, 0, -1, .expected = "the scale of the input of fc2 is -1"},
        {"fc2.input_scale", SET_FLOAT, 0, 0, NAN, .expected = "fc2.input_scale: element 0 is not a finite number"},
        {"output_scale", SET_FLOAT, 0, 0, -0.0, .expected = "the scale of the output is -0"},
        {"output_scale", SET_FLOAT, 0, 0, INFINITY, .expected = "output_scale: element 0 is not a finite number"},
        {"fc2.input_scale", SET_FLOAT, 0, 0, 2e36,
         .expected = "the scale of the input of fc2 is 2e+36"}, /* 255 steps */
        {"output_scale", SET_FLOAT, 0, 0, 3e38, .expected = "the scale of the output is 3e+38"},
        {"output_scale", SET_FLOAT, 0, 0, 1e-45, .expected = "the multiplier of output 0 is"}, /* denormal: M > 2^30 */
        {"fc1.weight_scale", SET_FLOAT, 2, 0, 1e36, .expected = "fc1: the multiplier of output 2 is"},
        {"fc1.bias", SET_INT, 2, 0, INT32_MIN, .expected = "fc1.bias[2] is -2147483648: expected at most 2^30"},
        {"fc2.bias", SET_INT, 0, 0, INT32_MAX, .expected = "fc2.bias[0] is 2147483647: expected at most 2^30"},
        {"fc2.bias", SET_INT, 0, 0, 0x1p30 + 1, .expected = "fc2.bias[0] is 1073741825"},
        {"fc2.bias", SET_INT, 0, 0, -0x1p30 - 1, .expected = "fc2.bias[0] is -1073741825"},
        {"activations", METADATA, .text = "symmetric",
         .expected = "input_zero_point is 0: symmetric activations have 128"},
    };
    write_good_qmlp(true, false);
    assert_all_refused(damages, COUNT(damages));
}

static void test_damaged_per_tensor_and_symmetric_models_are_refused(void **state) {
    (void)state;
    static const struct damage per_tensor[] = {
        {"fc1.weight_scale", SHAPE, 4, 0, .expected = "fc2.weight_scale has the shape [1]: expected [3]"},
        {"fc2.weight_scale", SHAPE, 3, 0, .expected = "fc2.weight_scale has the shape [3]: expected [1]"},
        {"fc2.weight_scale", SET_FLOAT, 0, 0, 0, .expected = "fc2.weight_scale[0] is 0"},
        {"scheme", METADATA, .text = "per-channel", .expected = "fc1.weight_scale has the shape [1]: expected [4]"},
    };
    static const struct damage symmetric[] = {
        {"fc1.input_zero_point", SET_BYTE, 0, 0, 127,
         .expected = "fc1.input_zero_point is 127: symmetric activations have 128"},
        {"fc2.input_zero_point", SET_BYTE, 0, 0, 0, .expected = "fc2.input_zero_point is 0: symmetric"},
        {"output_zero_point", SET_BYTE, 0, 0, 255, .expected = "output_zero_point is 255: symmetric"},
    };
    write_good_qmlp(false, false);
    assert_all_refused(per_tensor, COUNT(per_tensor));
    write_good_qmlp(true, true);
    assert_all_refused(symmetric, COUNT(symmetric));
}

/* At the edge of what is allowed the engine must neither overflow (UBSan) nor leave its reference. */
static void test_extreme_values_run_safely(void **state) {
    (void)state;
    static const struct damage damages[] = {
        {"fc1.bias", SET_INT, 0, 0, 0x1p30, .expected = ""},
        {"fc2.bias", SET_INT, 1, 0, -0x1p30, .expected = ""},
        {"fc1.weight_scale", SET_FLOAT, 0, 0, 1e-45, .expected = ""}, /* denormal: M is 0 */
        {"fc1.input_scale", SET_FLOAT, 0, 0, 1e-45, .expected = ""},  /* every pixel saturates */
        {"fc1.input_scale", SET_FLOAT, 0, 0, 1e30, .expected = "multiplier"},
        {"output_scale", SET_FLOAT, 0, 0, 1.3e36, .expected = ""},
        {"output_scale", SET_FLOAT, 0, 0, 1e-9, .expected = ""},
        {"fc1.input_zero_point", SET_BYTE, 0, 0, 255, .expected = ""},
        {"output_zero_point", SET_BYTE, 0, 0, 255, .expected = ""},
        {"fc2.weight", SET_BYTE, 5, 0, 128, .expected = ""}, /* the code -128, which eq. 4 never gives */
    };
    write_good_qmlp(true, false);
    for (size_t i = 0; i < COUNT(damages); i++) {
        const char *path = damaged(&damages[i]);
        if (damages[i].expected[0]) {
            assert_refused(path, damages[i].expected);
            continue;
        }
        struct model model = loaded(path);
        free(codes_of(&model.qmlp, 2));
        model_free(&model);
    }
}

/* The widest layer, every weight and every pixel at its end, and the largest bias: the accumulator is at its
 * largest, and must still be what int64 arithmetic gives. */
static void test_largest_accumulator_does_not_overflow(void **state) {
    (void)state;
    struct error err;
    struct qmlp q;
    static const int zero_points[] = {0, 255};
    for (int i = 0; i < 2; i++) {
        assert_true(qmlp_create(&(struct mlp_shape){1, {MLP_MAX_WIDTH, 4}}, true, false, &q, &err));
        for (int c = 0; c < 4; c++) {
            memset(q.layer[0].weight + c * MLP_MAX_WIDTH, c % 2 ? 127 : -128, MLP_MAX_WIDTH);
            q.weight_scale[0][c] = 1;
            q.layer[0].bias[c] = c < 2 ? QLINEAR_MAX_BIAS : -QLINEAR_MAX_BIAS;
        }
        q.activation[0] = (struct qparams){1.0f / 255, zero_points[i], 0, 255};
        q.activation[1] = (struct qparams){0x1p-1f * 16384 * 2, 128, 0, 255}; /* codes away from the clamps */
        assert_true(model_write_qmlp(in_folder("extreme"), &q, &notes, &err));
        qmlp_free(&q);
        struct model model = loaded(in_folder("extreme"));
        uint8_t *codes = codes_of(&model.qmlp, 2); /* image 0 is black, image 1 white */
        for (int image = 0; image < 2; image++)
            for (int c = 0; c < 4; c++) {
                int64_t x = model.qmlp.pixel_code[image ? 255 : 0] - zero_points[i];
                int64_t acc = MLP_MAX_WIDTH * x * (c % 2 ? 127 : -128) + (c < 2 ? 1 : -1) * ((int64_t)1 << 30);
                double y = 128 + (double)acc / 255 / 16384;
                assert_close(codes[image * 4 + c], y < 0 ? 0 : y > 255 ? 255 : y, 0.5001);
            }
        free(codes);
        model_free(&model);
    }
}

static void test_too_many_layers_are_refused(void **state) {
    (void)state;
    static const float one = 1;
    static struct st_file file;
    struct error err;
    char name[ST_NAME];
    for (int layers = MLP_MAX_LAYERS; layers <= MLP_MAX_LAYERS + 1; layers++) {
        memset(&file, 0, sizeof file);
        for (int i = 1; i <= layers; i++) {
            snprintf(name, sizeof name, "fc%d.weight", i);
            st_add(&file, name, ST_F32, 1, 1, &one);
            snprintf(name, sizeof name, "fc%d.bias", i);
            st_add(&file, name, ST_F32, 1, 0, &one);
        }
        assert_true(st_write(in_folder("deep"), &file, &err));
        if (layers > MLP_MAX_LAYERS) {
            assert_refused(in_folder("deep"), "more than 16 layers");
            continue;
        }
        struct model model = loaded(in_folder("deep"));
        assert_int_equal(model.shape.layers, MLP_MAX_LAYERS);
        model_free(&model);
    }
}

static void test_file_cut_at_any_byte_is_refused(void **state) {
    (void)state;
    size_t size;
    for (int int8 = 0; int8 < 2; int8++) {
        if (int8) write_good_qmlp(true, false);
        else write_good_mlp();
        char *whole = read_bytes(in_folder("good"), &size);
        for (size_t n = 0; n < size; n++) {
            write_bytes(in_folder("cut"), whole, n);
            assert_refused(in_folder("cut"), "");
        }
        free(whole);
    }
}

static void test_what_is_no_model_is_refused(void **state) {
    (void)state;
    struct error err;
    static struct st_file empty;
    assert_true(st_write(in_folder("nothing"), &empty, &err));
    assert_refused(in_folder("nothing"), "not a model of this program");
    assert_refused(in_folder("missing"), "No such file or directory");
    assert_refused(test_folder, "is not a regular file");
    write_bytes(in_folder("picture"), "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16);
    assert_refused(in_folder("picture"), "not a safetensors file");
}

/* The writer holds each file to the reader's rules before it gets its name. */
static void test_what_could_not_be_read_is_not_written(void **state) {
    (void)state;
    struct error err;
    size_t size[2];
    struct qmlp q = random_qmlp(&shapes[4], true, false);
    struct mlp mlp = random_mlp(&shapes[4]);
    write_good_qmlp(true, false);
    char *before = read_bytes(in_folder("good"), &size[0]);
    int entries = count_entries(test_folder);
    struct model_notes latin = {.training = "caf\xe9, 1 epoch"};
    assert_false(model_write_mlp(in_folder("good"), &mlp, &latin, &err));
    assert_error(err.text, in_folder("good"), "not written, since it could not be read: its header is not UTF-8");
    mlp.layer[0].weight[0] = NAN;
    assert_false(model_write_mlp(in_folder("good"), &mlp, &notes, &err));
    assert_error(err.text, in_folder("good"), "not written");
    float *scale = q.weight_scale[0];
    scale[0] = -scale[0];
    assert_false(model_write_qmlp(in_folder("good"), &q, &notes, &err));
    assert_error(err.text, in_folder("good"), "not written");
    assert_false(model_write_qmlp("/dev/null", &q, &notes, &err)); /* what cannot be renamed as well */
    assert_int_equal(count_entries(test_folder), entries);
    char *after = read_bytes(in_folder("good"), &size[1]);
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(before, after, size[0]);
    free(before), free(after);
    mlp_free(&mlp), qmlp_free(&q);
}

static void test_failed_write_keeps_the_good_file(void **state) {
    (void)state;
    struct error err;
    struct rlimit old, small;
    struct qmlp q = random_qmlp(&shapes[4], true, false);
    struct mlp mlp = random_mlp(&shapes[4]);
    size_t size[2];
    write_good_qmlp(true, false);
    char *before = read_bytes(in_folder("good"), &size[0]);
    int entries = count_entries(test_folder);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = old, small.rlim_cur = 1500; /* a disk that is full after 1,500 bytes */
    setrlimit(RLIMIT_FSIZE, &small);
    bool written = model_write_qmlp(in_folder("good"), &q, &notes, &err);
    bool written_mlp = model_write_mlp(in_folder("good"), &mlp, &notes, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, handler);
    assert_false(written);
    assert_false(written_mlp);
    assert_error(err.text, in_folder("good"), "could not be written");
    assert_false(model_write_qmlp(in_folder("nowhere/model"), &q, &notes, &err));
    assert_error(err.text, in_folder("nowhere/model"), "No such file or directory");
    assert_false(model_write_mlp(test_folder, &mlp, &notes, &err));
    assert_error(err.text, test_folder, "is a folder");
    assert_int_equal(count_entries(test_folder), entries);
    char *after = read_bytes(in_folder("good"), &size[1]);
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(before, after, size[0]);
    free(before), free(after);
    mlp_free(&mlp), qmlp_free(&q);
}

/* ---- Fuzzing: seeded, so that a crash can be found again ---- */

enum { MUTATIONS = 20000 };

struct bytes {
    size_t size, header; /* header: where the tensors begin */
    unsigned char at[8192];
};

/* Half of the changes hit the header, half the tensors. */
static size_t any_place(const struct bytes *b, struct rng *rng) {
    if (b->size == 0) return 0;
    size_t header = b->header < b->size ? b->header : b->size;
    if (rng_below(rng, 2) || header == b->size) return rng_below(rng, (uint32_t)header);
    return header + rng_below(rng, (uint32_t)(b->size - header));
}

static void mutate(struct bytes *b, struct rng *rng) {
    static const char likely[] = "0123456789-+.eE[]{}\",: \\\0\x7f\x80\xff";
    size_t at = any_place(b, rng), from = any_place(b, rng), count = 1 + rng_below(rng, 8);
    if (at + count > b->size || from + count > b->size || b->size + count > sizeof b->at) return;
    switch (rng_below(rng, 8)) {
    case 0: b->at[at] = (unsigned char)rng_below(rng, 256); break;
    case 1: b->at[at] = (unsigned char)likely[rng_below(rng, sizeof likely - 1)]; break;
    case 2: memmove(b->at + at, b->at + from, count); break;
    case 3: memset(b->at + at, rng_below(rng, 2) ? 0xff : 0, count); break;
    case 4: /* a few bytes more or less */
        memmove(b->at + at + count, b->at + at, b->size - at);
        b->size += count;
        break;
    case 5:
        memmove(b->at + at, b->at + at + count, b->size - at - count);
        b->size -= count;
        break;
    default: b->at[at] ^= (unsigned char)(1 << rng_below(rng, 8));
    }
}

static void run_model(const struct model *model) {
    uint8_t predicted[IMAGES];
    if (model->kind == MODEL_INT8) free(codes_of(&model->qmlp, 1));
    if (model->kind == MODEL_FP32) predict(&model->mlp, predicted);
}

/* Reads MUTATIONS variants of the good file and runs what is read. */
static void fuzz_good_file(uint64_t seed) {
    static struct bytes good, bad;
    struct rng rng = rng_seeded(seed);
    char *whole = read_bytes(in_folder("good"), &good.size);
    size_t read = 0;
    assert_true(good.size < sizeof good.at / 2);
    memcpy(good.at, whole, good.size);
    free(whole);
    good.header = 8 + good.at[0] + 256u * good.at[1];
    const char *path = in_folder("fuzzed");
    for (int i = 0; i < MUTATIONS; i++) {
        struct model model;
        struct error err = {""};
        bad = good;
        for (uint32_t n = 1 + rng_below(&rng, 3); n > 0; n--) mutate(&bad, &rng);
        write_bytes(path, bad.at, bad.size);
        if (model_read(path, &model, NULL, &err)) {
            run_model(&model);
            read++;
        } else assert_error(err.text, path, "");
        model_free(&model);
    }
    assert_in_range(read, MUTATIONS / 20, MUTATIONS * 19 / 20); /* both ways are taken */
}

static void test_fuzzed_models_are_refused_or_run_safely(void **state) {
    (void)state;
    write_good_mlp();
    fuzz_good_file(1);
    write_good_qmlp(true, false);
    fuzz_good_file(2);
}

static void read_file(const char *name, unsigned char *bytes, size_t *size) {
    FILE *file = fopen(in_folder(name), "rb");
    assert_non_null(file);
    *size = fread(bytes, 1, 1 << 20, file);
    fclose(file);
}

/* What int8 adds to fp32 are a few scales; of codes that round to nearest did not choose, whatever it takes. */
static void test_int8_without_its_fp32_network(void **state) {
    (void)state;
    static unsigned char whole[1 << 20], left[1 << 20];
    const struct mlp_shape shape = {2, {30, 20, 7}};
    struct mlp mlp = random_mlp(&shape);
    struct error err;
    size_t size;
    for (int per_channel = 0; per_channel < 2; per_channel++) {
        static struct st_file file;
        struct qmlp q = random_qmlp(&shape, per_channel, false);
        assert_true(model_write_qmlp(in_folder("int8"), &q, &(struct model_notes){.weight_bits = 8}, &err));
        read_file("int8", whole, &size);
        memcpy(left, whole, size);
        assert_true(residual_add(&mlp, left, size, -1, &err) && st_parse(left, size, &file, &err));
        const struct st_tensor *weight = st_find(&file, "fc2.weight");
        for (size_t i = 0; i < weight->bytes; i++) assert_int_equal(((const char *)weight->data)[i], 0);
        assert_true(residual_add(&mlp, left, size, 1, &err));
        assert_memory_equal(left, whole, size);
        mlp.layer[0].weight[3] += 1; /* then it is another network, and still the way back is the same */
        assert_true(residual_add(&mlp, left, size, -1, &err) && residual_add(&mlp, left, size, 1, &err));
        assert_memory_equal(left, whole, size);
        mlp.layer[0].weight[3] -= 1;
        assert_false(residual_add(&mlp, left, size - 1, 1, &err));
        qmlp_free(&q);
    }
    mlp_free(&mlp);
}

static void write_model_of(const char *path, int which) {
    struct error err;
    struct mlp mlp = random_mlp(&shapes[which]);
    if (!model_write_mlp(path, &mlp, &notes, &err)) _exit(1);
    mlp_free(&mlp);
}

static void test_a_reader_beside_a_writer_gets_whole_models(void **state) {
    (void)state;
    const char *path = in_folder("turns");
    int seen[2] = {0};
    pid_t child = writer_begins(write_model_of, path);
    for (double end = seconds_now() + 1; seconds_now() < end || !seen[0] || !seen[1];) {
        struct model m;
        struct error err;
        if (!model_read(path, &m, NULL, &err)) fail_msg("%s", err.text);
        int which = memcmp(&m.shape, &shapes[1], sizeof m.shape) == 0;
        assert_memory_equal(&m.shape, &shapes[which], sizeof m.shape);
        seen[which]++;
        model_free(&m);
    }
    writer_ends(child);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_reader_beside_a_writer_gets_whole_models),
        cmocka_unit_test(test_fp32_reads_back_bit_for_bit),
        cmocka_unit_test(test_int8_reads_back_bit_for_bit),
        cmocka_unit_test(test_notes_are_kept),
        cmocka_unit_test(test_the_same_model_gives_the_same_bytes),
        cmocka_unit_test(test_int8_files_are_nearly_a_quarter),
        cmocka_unit_test(test_int8_without_its_fp32_network),
        cmocka_unit_test(test_damaged_fp32_models_are_refused),
        cmocka_unit_test(test_damaged_int8_models_are_refused),
        cmocka_unit_test(test_damaged_per_tensor_and_symmetric_models_are_refused),
        cmocka_unit_test(test_extreme_values_run_safely),
        cmocka_unit_test(test_largest_accumulator_does_not_overflow),
        cmocka_unit_test(test_too_many_layers_are_refused),
        cmocka_unit_test(test_file_cut_at_any_byte_is_refused),
        cmocka_unit_test(test_what_is_no_model_is_refused),
        cmocka_unit_test(test_what_could_not_be_read_is_not_written),
        cmocka_unit_test(test_failed_write_keeps_the_good_file),
        cmocka_unit_test(test_fuzzed_models_are_refused_or_run_safely),
    };
    return cmocka_run_group_tests_name("model_file", tests, folder_setup, folder_teardown);
}
