#include "model/faults.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/vectorise.h"

static int32_t clamp32(int64_t x, int32_t lo, int32_t hi) { return x < lo ? lo : x > hi ? hi : (int32_t)x; }

static int32_t within_2_to_30(double x) { return x < -0x1p30 ? -(1 << 30) : x > 0x1p30 ? 1 << 30 : (int32_t)x; }

static const int8_t *weights_of(const struct qlinear *layer, int c) {
    return layer->weight + (size_t)c * (size_t)layer->in;
}

/* ---- the sum -------------------------------------------------------------------------------------------------- */

static int32_t sum_right(const struct output *o, const uint8_t *x) {
    return dot_codes(x, o->layer->x_zero_point, o->w, o->layer->in);
}

static int32_t sum_without_zero_point(const struct output *o, const uint8_t *x) {
    return dot_codes(x, 0, o->w, o->layer->in);
}

/* Two's complement, written without relying on a cast. Wrapping is arithmetic modulo 2^bits: to wrap once at the end is
 * to wrap at each step. */
static int32_t sum_wrapping(const struct output *o, const uint8_t *x) {
    int32_t half = 1 << (o->bits - 1), low = (int32_t)((uint32_t)sum_right(o, x) & (2 * (uint32_t)half - 1));
    return low >= half ? low - 2 * half : low;
}

static int32_t sum_saturating(const struct output *o, const uint8_t *x) {
    int32_t hi = (1 << (o->bits - 1)) - 1, z = o->layer->x_zero_point, sum = 0;
    for (int i = 0; i < o->terms; i++) {
        sum += (x[o->term[i]] - z) * o->w[o->term[i]];
        sum = sum > hi ? hi : sum < -hi - 1 ? -hi - 1 : sum;
    }
    return sum;
}

/* vpmaddubsw: x_q[k] * w_q[k] + x_q[k + 1] * w_q[k + 1] saturated to int16, only then widened. It works on x_q; the
 * zero point's part is taken off at the end, as the folded bias does. */
VECTORISED
static int32_t sum_in_int16_pairs(const struct output *o, const uint8_t *x) {
    const int8_t *w = o->w;
    int32_t sum = 0, weights = 0, n = o->layer->in;
    for (int k = 0; k + 1 < n; k += 2) {
        int32_t pair = x[k] * w[k] + x[k + 1] * w[k + 1];
        sum += pair > INT16_MAX ? INT16_MAX : pair < INT16_MIN ? INT16_MIN : pair;
    }
    if (n % 2) sum += x[n - 1] * w[n - 1];
    for (int k = 0; k < n; k++) weights += w[k];
    return sum - o->layer->x_zero_point * weights;
}

VECTORISED
static int32_t sum_of_signed_activations(const struct output *o, const uint8_t *x) {
    const int8_t *w = o->w;
    int32_t sum = 0, n = o->layer->in, z = o->layer->x_zero_point;
    for (int k = 0; k < n; k++) sum += (x[k] - (x[k] > 127 ? 256 : 0) - z) * w[k];
    return sum;
}

/* Code 127 stands for the largest weight of a row; divided by absmax / 128 it is 128, and (int8_t)128 is -128. */
VECTORISED
static int32_t sum_of_wrapped_weights(const struct output *o, const uint8_t *x) {
    const int8_t *w = o->w;
    int32_t sum = 0, n = o->layer->in, z = o->layer->x_zero_point;
    for (int k = 0; k < n; k++) sum += (x[k] - z) * (w[k] == 127 ? -128 : w[k]);
    return sum;
}

/* Only every tenth weight code: a scale ten times too wide. */
VECTORISED
static int32_t sum_of_coarse_weights(const struct output *o, const uint8_t *x) {
    const int8_t *w = o->w;
    int32_t sum = 0, n = o->layer->in, z = o->layer->x_zero_point;
    for (int k = 0; k < n; k++) sum += (x[k] - z) * ((w[k] + (w[k] < 0 ? -5 : 5)) / 10 * 10);
    return sum;
}

/* Weight [c][k] read with the scale of row k, as by `W_q * scale` in NumPy without keepdims, or axis = 1 in ONNX;
 * more columns than scales begin again at the first. In units of the right scale, so that eq. 6 can go on. */
static int32_t sum_along_wrong_axis(const struct output *o, const uint8_t *x) {
    const float *scale = o->q->weight_scale[o->l];
    int scales = o->q->per_channel ? o->layer->out : 1;
    double sum = 0;
    for (int i = 0; i < o->terms; i++) {
        int k = o->term[i];
        sum += (double)((x[k] - o->layer->x_zero_point) * o->w[k]) * (double)scale[k % scales];
    }
    return within_2_to_30(rint(sum / (double)qmlp_weight_scale(o->q, o->l, o->c)));
}

/* ---- the bias ------------------------------------------------------------------------------------------------- */

static int32_t bias_right(const struct output *o) { return o->layer->bias[o->c]; }

/* b / s_w, where the sum is in units of s_x * s_w */
static int32_t bias_without_input_scale(const struct output *o) {
    return within_2_to_30(rint((double)o->layer->bias[o->c] * (double)o->q->activation[o->l].scale));
}

/* ---- the scale ------------------------------------------------------------------------------------------------ */

static int64_t scale_right(const struct output *o, int32_t acc) {
    return multiplier_apply(acc, o->layer->multiplier[o->c]);
}

static int64_t scale_of_next_row(const struct output *o, int32_t acc) {
    return multiplier_apply(acc, o->layer->multiplier[(o->c + 1) % o->layer->out]);
}

static int64_t product_of(const struct output *o, int32_t acc) { return (int64_t)acc * o->layer->multiplier[o->c].m; }

/* The half that should be added before the shift is forgotten: rounds towards minus infinity. */
static int64_t scale_truncated(const struct output *o, int32_t acc) {
    return product_of(o, acc) >> o->layer->multiplier[o->c].right;
}

static int64_t rounded_shift(int64_t x, int right) {
    return right < 1 ? x : (x + ((int64_t)1 << (right - 1))) >> right;
}

/* As gemmlowp and CMSIS-NN do: the upper half of the product is rounded, then the shift rounds again. */
static int64_t scale_rounded_twice(const struct output *o, int32_t acc) {
    int right = o->layer->multiplier[o->c].right;
    return right <= 31 ? scale_right(o, acc) : rounded_shift(rounded_shift(product_of(o, acc), 31), right - 31);
}

/* Whether the product lies half way between two results. */
static bool is_tie(const struct output *o, int32_t acc) {
    int64_t half = (int64_t)1 << (o->layer->multiplier[o->c].right - 1);
    return (product_of(o, acc) & (2 * half - 1)) == half;
}

/* round() of C: +2.5 gives 3, -2.5 gives -3. Ties of eq. 6 go up. */
static int64_t scale_ties_away(const struct output *o, int32_t acc) {
    return scale_right(o, acc) - (acc < 0 && is_tie(o, acc));
}

/* rint() of C: 2.5 gives 2, 3.5 gives 4. */
static int64_t scale_ties_even(const struct output *o, int32_t acc) {
    int64_t up = scale_right(o, acc);
    return up - (up % 2 != 0 && is_tie(o, acc));
}

/* Only every second activation code: what a symmetric range leaves to values that are never negative. */
static int64_t scale_to_even_codes(const struct output *o, int32_t acc) {
    return 2 * rounded_shift(scale_right(o, acc), 1);
}

/* ---- the clamp ------------------------------------------------------------------------------------------------ */

static uint8_t clamp_right(const struct output *o, int64_t value) {
    return (uint8_t)clamp32(o->layer->y_zero_point + value, o->layer->y_min, o->layer->y_max);
}

static bool has_relu(const struct qlinear *layer) { return layer->y_min == layer->y_zero_point; }

/* max(code, 0) is not max(real, 0) when real 0 has another code. */
static uint8_t clamp_relu_at_code_0(const struct output *o, int64_t value) {
    const struct qlinear *layer = o->layer;
    return (uint8_t)clamp32(layer->y_zero_point + value, has_relu(layer) ? 0 : layer->y_min, layer->y_max);
}

static uint8_t clamp_relu_everywhere(const struct output *o, int64_t value) {
    return (uint8_t)clamp32(o->layer->y_zero_point + value, o->layer->y_zero_point, o->layer->y_max);
}

/* Packed to int8 before the zero point is added, then clamped again: what lay above 127 is lost. */
static uint8_t clamp_twice(const struct output *o, int64_t value) {
    return clamp_right(o, clamp32(value, INT8_MIN, INT8_MAX));
}

/* Everything above 6/20 of the range is cut: [0, 6] seen, [0, 20] met. */
static uint8_t clamp_narrow(const struct output *o, int64_t value) {
    return clamp_right(o, clamp32(value, INT32_MIN / 2, (o->layer->y_max - o->layer->y_zero_point) * 6 / 20));
}

/* ---- the table ------------------------------------------------------------------------------------------------ */

/* clang-format off */
#define NARROW FAULT_ACCUMULATOR
#define RANGE FAULT_RANGE, 0
#define QUIET FAULT_QUIET, 0

const struct fault faults[] = {
    {"none", FAULT_NONE, 0, {0}, "nothing is broken", "every code is right"},

    {"int8-wrap", NARROW, 8, {.sum = sum_wrapping}, "sums are kept in int8 and wrap around",
     "sums inside [-128, 127] are right; others are off by multiples of 256"},
    {"int8-saturate", NARROW, 8, {.sum = sum_saturating}, "sums are kept in int8 and saturate",
     "no sum leaves [-128, 127], and the order of the products matters"},
    {"int16-wrap", NARROW, 16, {.sum = sum_wrapping}, "sums are kept in int16 and wrap around",
     "sums inside int16 are right; others are off by multiples of 65536"},
    {"int16-saturate", NARROW, 16, {.sum = sum_saturating}, "sums are kept in int16 and saturate",
     "no sum leaves int16, and the order of the products matters"},

    {"stretched-scale", RANGE, {.sum = sum_of_coarse_weights},
     "weights keep only every 10th code, as if an outlier had stretched the scale of each layer",
     "one pixel at a time gives steps of 10 weight codes"},
    {"narrow-range", RANGE, {.clamp = clamp_narrow},
     "outputs above 6/20 of their range are cut, as if calibrated on [0, 6] and run on [0, 20]",
     "no code lies above 6/20 of the range; all below are right"},
    {"half-codes", RANGE, {.scale = scale_to_even_codes},
     "outputs use only every 2nd code, as symmetric activations do after a ReLU",
     "every code has the parity of the zero point, but for the ends of the range"},

    {"truncation", QUIET, {.scale = scale_truncated},
     "the half before the shift is forgotten: truncated instead of rounded",
     "codes are right or 1 too low, never too high; about half of them"},
    {"two-roundings", QUIET, {.scale = scale_rounded_twice}, "requantized with two roundings instead of one",
     "codes are right or 1 too high, where the fraction is just below one half"},
    {"ties-away", QUIET, {.scale = scale_ties_away}, "ties are rounded away from zero instead of up",
     "1 too low at exact ties of negative values, nowhere else"},
    {"ties-even", QUIET, {.scale = scale_ties_even}, "ties are rounded to even instead of up",
     "1 too low at exact ties with an even code below, nowhere else"},
    {"no-zero-point", QUIET, {.sum = sum_without_zero_point}, "the zero point of the inputs is not subtracted",
     "each output is off by z_x * sum(w_q), the same on every image; right where z_x = 0"},
    {"bias-scale", QUIET, {.bias = bias_without_input_scale}, "the bias is in units of s_w instead of s_x * s_w",
     "each output is off by the same amount on every image, also where z_x = 0"},
    {"wrong-axis", QUIET, {.sum = sum_along_wrong_axis},
     "the weight scales are applied along the inputs instead of the outputs",
     "right per tensor and where all inputs are zero; else each input is off by its own factor"},
    {"rolled-scales", QUIET, {.scale = scale_of_next_row}, "each output takes the weight scale of the next",
     "right per tensor; else each output is off by one factor, the bias too"},
    {"int16-pairs", QUIET, {.sum = sum_in_int16_pairs}, "pairs of products saturate in int16, as in vpmaddubsw",
     "right while input codes stay below 129, and for any code whose neighbour is 0"},
    {"int8-activations", QUIET, {.sum = sum_of_signed_activations}, "unsigned activation codes are read as signed",
     "right while all input codes stay below 128; one above is enough"},
    {"no-clamp-128", QUIET, {.sum = sum_of_wrapped_weights},
     "weights divided by absmax / 128 and not clamped: the largest, 128, wraps to -128",
     "the inputs of weight code 127, and only they, act with the wrong sign"},
    {"relu-at-zero", QUIET, {.clamp = clamp_relu_at_code_0}, "ReLU clamps at code 0 instead of the zero point",
     "codes below z_y appear in hidden layers; right where z_y = 0"},
    {"relu-on-logits", QUIET, {.clamp = clamp_relu_everywhere}, "ReLU is applied to the last layer too",
     "no logit lies below z_y; hidden layers are right"},
    {"clamp-twice", QUIET, {.clamp = clamp_twice}, "clamped to int8 before the zero point is added, then again",
     "no code lies above z_y + 127; all below are right"},
    {0},
};
/* clang-format on */
static_assert(sizeof faults / sizeof faults[0] <= FAULTS_MAX, "more faults than FAULTS_MAX");

const struct fault *fault_find(const char *name) {
    for (const struct fault *f = faults; f->name; f++)
        if (strcmp(f->name, name) == 0) return f;
    return NULL;
}

/* ---- running -------------------------------------------------------------------------------------------------- */

struct output fault_output(const struct qmlp *q, int l, int c, const struct fault *fault) {
    return (struct output){
        .q = q, .layer = &q->layer[l], .l = l, .c = c, .w = weights_of(&q->layer[l], c), .bits = fault->bits};
}

int fault_terms(const struct qlinear *layer, const uint8_t *x, uint16_t *term) {
    int terms = 0;
    for (int k = 0; k < layer->in; k++)
        if (x[k] != layer->x_zero_point) term[terms++] = (uint16_t)k;
    return terms;
}

/* Whether the clamp cuts what stands before it, ReLU's zeros not counted. */
static bool is_cut(const struct qlinear *layer, int64_t value) {
    int64_t code = layer->y_zero_point + value;
    return code > layer->y_max || (!has_relu(layer) && code < layer->y_min);
}

/* A row of layer l, x [in] -> y [out], step by step; returns how many codes the clamp cut. term [in]: scratch. */
static size_t run_broken(const struct qmlp *q, int l, const struct fault *fault, const uint8_t *x, uint16_t *term,
                         uint8_t *y) {
    const struct fault_steps f = fault->steps;
    int terms = fault_terms(&q->layer[l], x, term);
    size_t cut = 0;
    for (int c = 0; c < q->layer[l].out; c++) {
        struct output o = fault_output(q, l, c, fault);
        o.term = term;
        o.terms = terms;
        int32_t acc = (f.bias ? f.bias : bias_right)(&o) + (f.sum ? f.sum : sum_right)(&o, x);
        int64_t value = (f.scale ? f.scale : scale_right)(&o, acc);
        y[c] = (f.clamp ? f.clamp : clamp_right)(&o, value);
        cut += is_cut(o.layer, value);
    }
    return cut;
}

/* Of the codes y [out] of a sound row, those that were cut: of those at an end of the range, the sum tells. */
static size_t count_cut(const struct qmlp *q, int l, const uint8_t *x, const uint8_t *y) {
    const struct qlinear *layer = &q->layer[l];
    size_t cut = 0;
    for (int c = 0; c < layer->out; c++) {
        if (y[c] != layer->y_max && (has_relu(layer) || y[c] != layer->y_min)) continue;
        struct output o = fault_output(q, l, c, &faults[0]);
        cut += is_cut(layer, scale_right(&o, bias_right(&o) + sum_right(&o, x)));
    }
    return cut;
}

/* rows of layer l, at most QMLP_BLOCK, by the kernel, whose rows are padded: scratch [QMLP_ROWS][stride]. */
static size_t run_sound(const struct qmlp *q, int l, const uint8_t *x, size_t rows, uint8_t *scratch, size_t stride,
                        uint8_t *y) {
    size_t in = (size_t)q->layer[l].in, out = (size_t)q->layer[l].out, cut = 0;
    uint8_t *to = scratch + QMLP_BLOCK * stride;
    for (size_t r = 0; r < rows; r++) memcpy(scratch + r * stride, x + r * in, in);
    q->kernel->run(&q->layer[l], scratch, stride, rows, to, stride, scratch + 2 * QMLP_BLOCK * stride);
    for (size_t r = 0; r < rows; r++) {
        memcpy(y + r * out, to + r * stride, out);
        cut += count_cut(q, l, x + r * in, y + r * out);
    }
    return cut;
}

/* x [count][in] -> y [count][out], a stretch of images for each thread; fault NULL: sound. */
static size_t run_layer(const struct qmlp *q, int l, const struct fault *fault, const uint8_t *x, size_t count,
                        struct qmlp_workspace *ws, uint8_t *y) {
    size_t in = (size_t)q->layer[l].in, out = (size_t)q->layer[l].out, cut = 0;
    size_t threads = (size_t)ws->threads, each = (count + threads - 1) / threads;
#pragma omp parallel for schedule(static, 1) num_threads(ws->threads) reduction(+ : cut)
    for (size_t part = 0; part < threads; part++) {
        uint8_t *scratch = ws->rows + part * QMLP_ROWS * ws->stride;
        size_t end = (part + 1) * each < count ? (part + 1) * each : count;
        for (size_t i = part * each, n; i < end; i += n) {
            n = fault ? 1 : end - i < QMLP_BLOCK ? end - i : QMLP_BLOCK;
            cut += fault ? run_broken(q, l, fault, x + i * in, (uint16_t *)(void *)scratch, y + i * out)
                         : run_sound(q, l, x + i * in, n, scratch, ws->stride, y + i * out);
        }
    }
    return cut;
}

void faults_forward(const struct qmlp *q, const struct fault *fault, int layer, const uint8_t *images, int count,
                    struct qmlp_workspace *ws, uint8_t *const *codes, size_t *cut) {
    cut[0] = 0;
    for (size_t i = 0; i < (size_t)count * (size_t)q->shape.widths[0]; i++) codes[0][i] = q->pixel_code[images[i]];
    for (int l = 0; l < q->shape.layers; l++) {
        bool broken = fault->kind != FAULT_NONE && (layer == FAULTS_ALL_LAYERS || layer == l);
        cut[l + 1] = run_layer(q, l, broken ? fault : NULL, codes[l], (size_t)count, ws, codes[l + 1]);
    }
}

/* ---- where an accumulator overflows --------------------------------------------------------------------------- */

int first_overflow(const struct qlinear *layer, int c, const uint8_t *x, int bits, int *products) {
    const int8_t *w = weights_of(layer, c);
    int32_t hi = (1 << (bits - 1)) - 1, sum = 0;
    *products = 0;
    for (int k = 0; k < layer->in; k++) {
        int32_t product = (x[k] - layer->x_zero_point) * w[k];
        *products += product != 0;
        sum += product;
        if (sum > hi || sum < -hi - 1) return k;
    }
    return layer->in;
}

int32_t largest_partial_sum(const struct qlinear *layer, int c, const uint8_t *x) {
    const int8_t *w = weights_of(layer, c);
    int32_t sum = 0, largest = 0;
    for (int k = 0; k < layer->in; k++) {
        sum += (x[k] - layer->x_zero_point) * w[k];
        int32_t size = sum < 0 ? -sum : sum;
        largest = size > largest ? size : largest;
    }
    return largest;
}
