#include "model/faults.h"

#include <math.h>
#include <string.h>

#include "base/vectorise.h"

static int32_t clamp32(int64_t x, int32_t lo, int32_t hi) { return x < lo ? lo : x > hi ? hi : (int32_t)x; }

static const int8_t *weights_of(const struct qlinear *layer, int c) {
    return layer->weight + (size_t)c * (size_t)layer->in;
}

/* ---- the sum -------------------------------------------------------------------------------------------------- */

static int32_t sum_right(const struct qmlp *q, int l, int c, const uint8_t *x) {
    const struct qlinear *layer = &q->layer[l];
    return dot_codes(x, layer->x_zero_point, weights_of(layer, c), layer->in);
}

static int32_t sum_without_zero_point(const struct qmlp *q, int l, int c, const uint8_t *x) {
    return dot_codes(x, 0, weights_of(&q->layer[l], c), q->layer[l].in);
}

/* What the low bits of an accumulator hold: two's complement, written without relying on a cast. */
static int32_t wrap(int32_t value, int bits) {
    int32_t half = 1 << (bits - 1), low = (int32_t)((uint32_t)value & (2 * (uint32_t)half - 1));
    return low >= half ? low - 2 * half : low;
}

/* Wrapping is arithmetic modulo 2^bits: to wrap once at the end is to wrap at each step. */
static int32_t sum_int8_wrap(const struct qmlp *q, int l, int c, const uint8_t *x) {
    return wrap(sum_right(q, l, c, x), 8);
}

static int32_t sum_int16_wrap(const struct qmlp *q, int l, int c, const uint8_t *x) {
    return wrap(sum_right(q, l, c, x), 16);
}

static int32_t sum_saturating(const struct qlinear *layer, int c, const uint8_t *x, int bits) {
    const int8_t *w = weights_of(layer, c);
    int32_t hi = (1 << (bits - 1)) - 1, sum = 0;
    for (int k = 0; k < layer->in; k++) {
        sum += (x[k] - layer->x_zero_point) * w[k];
        sum = sum > hi ? hi : sum < -hi - 1 ? -hi - 1 : sum;
    }
    return sum;
}

static int32_t sum_int8_saturate(const struct qmlp *q, int l, int c, const uint8_t *x) {
    return sum_saturating(&q->layer[l], c, x, 8);
}

static int32_t sum_int16_saturate(const struct qmlp *q, int l, int c, const uint8_t *x) {
    return sum_saturating(&q->layer[l], c, x, 16);
}

/* vpmaddubsw: x_q[k] * w_q[k] + x_q[k + 1] * w_q[k + 1] saturated to int16, only then widened. It works on x_q; the
 * zero point's part is taken off at the end, as the folded bias does. */
VECTORISED
static int32_t dot_pairs(const uint8_t *restrict x, int32_t x_zero_point, const int8_t *restrict w, int n) {
    int32_t sum = 0, weights = 0;
    for (int k = 0; k + 1 < n; k += 2) {
        int32_t pair = x[k] * w[k] + x[k + 1] * w[k + 1];
        sum += pair > INT16_MAX ? INT16_MAX : pair < INT16_MIN ? INT16_MIN : pair;
    }
    if (n % 2) sum += x[n - 1] * w[n - 1];
    for (int k = 0; k < n; k++) weights += w[k];
    return sum - x_zero_point * weights;
}

static int32_t sum_int16_pairs(const struct qmlp *q, int l, int c, const uint8_t *x) {
    return dot_pairs(x, q->layer[l].x_zero_point, weights_of(&q->layer[l], c), q->layer[l].in);
}

VECTORISED
static int32_t dot_signed(const uint8_t *restrict x, int32_t x_zero_point, const int8_t *restrict w, int n) {
    int32_t sum = 0;
    for (int k = 0; k < n; k++) sum += (x[k] - (x[k] > 127 ? 256 : 0) - x_zero_point) * w[k];
    return sum;
}

static int32_t sum_signed_activations(const struct qmlp *q, int l, int c, const uint8_t *x) {
    return dot_signed(x, q->layer[l].x_zero_point, weights_of(&q->layer[l], c), q->layer[l].in);
}

/* Code 127 stands for the largest weight of a row; divided by absmax / 128 it is 128, and (int8_t)128 is -128. */
VECTORISED
static int32_t dot_wrapped_weights(const uint8_t *restrict x, int32_t x_zero_point, const int8_t *restrict w, int n) {
    int32_t sum = 0;
    for (int k = 0; k < n; k++) sum += (x[k] - x_zero_point) * (w[k] == 127 ? -128 : w[k]);
    return sum;
}

static int32_t sum_wrapped_weights(const struct qmlp *q, int l, int c, const uint8_t *x) {
    return dot_wrapped_weights(x, q->layer[l].x_zero_point, weights_of(&q->layer[l], c), q->layer[l].in);
}

/* Only every tenth weight code: a scale ten times too wide. */
VECTORISED
static int32_t dot_coarse_weights(const uint8_t *restrict x, int32_t x_zero_point, const int8_t *restrict w, int n) {
    int32_t sum = 0;
    for (int k = 0; k < n; k++) sum += (x[k] - x_zero_point) * ((w[k] + (w[k] < 0 ? -5 : 5)) / 10 * 10);
    return sum;
}

static int32_t sum_coarse_weights(const struct qmlp *q, int l, int c, const uint8_t *x) {
    return dot_coarse_weights(x, q->layer[l].x_zero_point, weights_of(&q->layer[l], c), q->layer[l].in);
}

/* Weight [c][k] read with the scale of row k, as by `W_q * scale` in NumPy without keepdims, or axis = 1 in ONNX;
 * more columns than scales begin again at the first. In units of the right scale, so that eq. 6 can go on. */
static int32_t sum_wrong_axis(const struct qmlp *q, int l, int c, const uint8_t *x) {
    const struct qlinear *layer = &q->layer[l];
    const int8_t *w = weights_of(layer, c);
    double sum = 0;
    for (int k = 0, row = 0; k < layer->in; k++, row = row + 1 < layer->out ? row + 1 : 0)
        sum += (double)((x[k] - layer->x_zero_point) * w[k]) * (double)qmlp_weight_scale(q, l, row);
    sum = rint(sum / (double)qmlp_weight_scale(q, l, c));
    return sum < -0x1p30 ? -(1 << 30) : sum > 0x1p30 ? 1 << 30 : (int32_t)sum;
}

/* ---- the bias ------------------------------------------------------------------------------------------------- */

static int32_t bias_right(const struct qmlp *q, int l, int c) { return q->layer[l].bias[c]; }

/* b / s_w, where the sum is in units of s_x * s_w */
static int32_t bias_without_input_scale(const struct qmlp *q, int l, int c) {
    double code = rint((double)q->layer[l].bias[c] * (double)q->activation[l].scale);
    return code < -0x1p30 ? -(1 << 30) : code > 0x1p30 ? 1 << 30 : (int32_t)code;
}

/* ---- the scale ------------------------------------------------------------------------------------------------ */

static int64_t scale_right(const struct qmlp *q, int l, int c, int32_t acc) {
    return multiplier_apply(acc, q->layer[l].multiplier[c]);
}

static int64_t scale_of_next_row(const struct qmlp *q, int l, int c, int32_t acc) {
    return multiplier_apply(acc, q->layer[l].multiplier[(c + 1) % q->layer[l].out]);
}

static int64_t product_of(const struct qmlp *q, int l, int c, int32_t acc) {
    return (int64_t)acc * q->layer[l].multiplier[c].m;
}

/* The half that should be added before the shift is forgotten: rounds towards minus infinity. */
static int64_t scale_truncated(const struct qmlp *q, int l, int c, int32_t acc) {
    return product_of(q, l, c, acc) >> q->layer[l].multiplier[c].right;
}

static int64_t rounded_shift(int64_t x, int right) {
    return right < 1 ? x : (x + ((int64_t)1 << (right - 1))) >> right;
}

/* As gemmlowp and CMSIS-NN do: the upper half of the product is rounded, then the shift rounds again. */
static int64_t scale_rounded_twice(const struct qmlp *q, int l, int c, int32_t acc) {
    int right = q->layer[l].multiplier[c].right;
    return right <= 31 ? scale_right(q, l, c, acc)
                       : rounded_shift(rounded_shift(product_of(q, l, c, acc), 31), right - 31);
}

static bool is_tie(int64_t product, int right) {
    int64_t half = (int64_t)1 << (right - 1);
    return (product & (2 * half - 1)) == half;
}

/* round() of C: +2.5 gives 3, -2.5 gives -3. Ties of eq. 6 go up. */
static int64_t scale_ties_away(const struct qmlp *q, int l, int c, int32_t acc) {
    int64_t up = scale_right(q, l, c, acc), product = product_of(q, l, c, acc);
    return up - (product < 0 && is_tie(product, q->layer[l].multiplier[c].right));
}

/* rint() of C: 2.5 gives 2, 3.5 gives 4. */
static int64_t scale_ties_even(const struct qmlp *q, int l, int c, int32_t acc) {
    int64_t up = scale_right(q, l, c, acc);
    return up - (up % 2 != 0 && is_tie(product_of(q, l, c, acc), q->layer[l].multiplier[c].right));
}

/* Only every second activation code: what a symmetric range leaves to values that are never negative. */
static int64_t scale_to_even_codes(const struct qmlp *q, int l, int c, int32_t acc) {
    return 2 * rounded_shift(scale_right(q, l, c, acc), 1);
}

/* ---- the clamp ------------------------------------------------------------------------------------------------ */

static uint8_t clamp_right(const struct qlinear *layer, int64_t value) {
    return (uint8_t)clamp32(layer->y_zero_point + value, layer->y_min, layer->y_max);
}

static bool has_relu(const struct qlinear *layer) { return layer->y_min == layer->y_zero_point; }

/* max(code, 0) is not max(real, 0) when real 0 has another code. */
static uint8_t clamp_relu_at_code_0(const struct qlinear *layer, int64_t value) {
    return (uint8_t)clamp32(layer->y_zero_point + value, has_relu(layer) ? 0 : layer->y_min, layer->y_max);
}

static uint8_t clamp_relu_everywhere(const struct qlinear *layer, int64_t value) {
    return (uint8_t)clamp32(layer->y_zero_point + value, layer->y_zero_point, layer->y_max);
}

/* Packed to int8 before the zero point is added, then clamped again: what lay above 127 is lost. */
static uint8_t clamp_twice(const struct qlinear *layer, int64_t value) {
    return clamp_right(layer, clamp32(value, INT8_MIN, INT8_MAX));
}

/* Everything above 6/20 of the range is cut: [0, 6] seen, [0, 20] met. */
static uint8_t clamp_narrow(const struct qlinear *layer, int64_t value) {
    return clamp_right(layer, clamp32(value, INT32_MIN / 2, (layer->y_max - layer->y_zero_point) * 6 / 20));
}

/* ---- the table ------------------------------------------------------------------------------------------------ */

const struct fault faults[] = {
    {.name = "none", .what = "nothing is broken", .signature = "every code is right"},
    {"int8-wrap",
     "sums are kept in int8 and wrap around",
     "sums inside [-128, 127] are right; others are off by multiples of 256",
     FAULT_ACCUMULATOR,
     8,
     {.sum = sum_int8_wrap}},
    {"int8-saturate",
     "sums are kept in int8 and saturate",
     "no sum leaves [-128, 127], and the order of the products matters",
     FAULT_ACCUMULATOR,
     8,
     {.sum = sum_int8_saturate}},
    {"int16-wrap",
     "sums are kept in int16 and wrap around",
     "sums inside int16 are right; others are off by multiples of 65536",
     FAULT_ACCUMULATOR,
     16,
     {.sum = sum_int16_wrap}},
    {"int16-saturate",
     "sums are kept in int16 and saturate",
     "no sum leaves int16, and the order of the products matters",
     FAULT_ACCUMULATOR,
     16,
     {.sum = sum_int16_saturate}},
    {"stretched-scale",
     "weights keep only every 10th code, as if an outlier had stretched the scale of each layer",
     "one pixel at a time gives steps of 10 weight codes",
     FAULT_RANGE,
     0,
     {.sum = sum_coarse_weights}},
    {"narrow-range",
     "outputs above 6/20 of their range are cut, as if calibrated on [0, 6] and run on [0, 20]",
     "no code lies above 6/20 of the range; all below are right",
     FAULT_RANGE,
     0,
     {.clamp = clamp_narrow}},
    {"half-codes",
     "outputs use only every 2nd code, as symmetric activations do after a ReLU",
     "every code has the parity of the zero point, but for the ends of the range",
     FAULT_RANGE,
     0,
     {.scale = scale_to_even_codes}},
    {"truncation",
     "the half before the shift is forgotten: truncated instead of rounded",
     "codes are right or 1 too low, never too high; about half of them",
     FAULT_QUIET,
     0,
     {.scale = scale_truncated}},
    {"two-roundings",
     "requantized with two roundings instead of one",
     "codes are right or 1 too high, where the fraction is just below one half",
     FAULT_QUIET,
     0,
     {.scale = scale_rounded_twice}},
    {"ties-away",
     "ties are rounded away from zero instead of up",
     "1 too low at exact ties of negative values, nowhere else",
     FAULT_QUIET,
     0,
     {.scale = scale_ties_away}},
    {"ties-even",
     "ties are rounded to even instead of up",
     "1 too low at exact ties with an even code below, nowhere else",
     FAULT_QUIET,
     0,
     {.scale = scale_ties_even}},
    {"no-zero-point",
     "the zero point of the inputs is not subtracted",
     "each output is off by z_x * sum(w_q), the same on every image; right where z_x = 0",
     FAULT_QUIET,
     0,
     {.sum = sum_without_zero_point}},
    {"bias-scale",
     "the bias is in units of s_w instead of s_x * s_w",
     "each output is off by the same amount on every image, also where z_x = 0",
     FAULT_QUIET,
     0,
     {.bias = bias_without_input_scale}},
    {"wrong-axis",
     "the weight scales are applied along the inputs instead of the outputs",
     "right per tensor and where all inputs are zero; else each input is off by its own factor",
     FAULT_QUIET,
     0,
     {.sum = sum_wrong_axis}},
    {"rolled-scales",
     "each output takes the weight scale of the next",
     "right per tensor; else each output is off by one factor, the bias too",
     FAULT_QUIET,
     0,
     {.scale = scale_of_next_row}},
    {"int16-pairs",
     "pairs of products saturate in int16, as in vpmaddubsw",
     "right while input codes stay below 129, and for any code whose neighbour is 0",
     FAULT_QUIET,
     0,
     {.sum = sum_int16_pairs}},
    {"int8-activations",
     "unsigned activation codes are read as signed",
     "right while all input codes stay below 128; one above is enough",
     FAULT_QUIET,
     0,
     {.sum = sum_signed_activations}},
    {"no-clamp-128",
     "weights divided by absmax / 128 and not clamped: the largest, 128, wraps to -128",
     "the inputs of weight code 127, and only they, act with the wrong sign",
     FAULT_QUIET,
     0,
     {.sum = sum_wrapped_weights}},
    {"relu-at-zero",
     "ReLU clamps at code 0 instead of the zero point",
     "codes below z_y appear in hidden layers; right where z_y = 0",
     FAULT_QUIET,
     0,
     {.clamp = clamp_relu_at_code_0}},
    {"relu-on-logits",
     "ReLU is applied to the last layer too",
     "no logit lies below z_y; hidden layers are right",
     FAULT_QUIET,
     0,
     {.clamp = clamp_relu_everywhere}},
    {"clamp-twice",
     "clamped to int8 before the zero point is added, then again",
     "no code lies above z_y + 127; all below are right",
     FAULT_QUIET,
     0,
     {.clamp = clamp_twice}},
    {0},
};

const struct fault *fault_find(const char *name) {
    for (const struct fault *f = faults; f->name; f++)
        if (strcmp(f->name, name) == 0) return f;
    return NULL;
}

/* ---- running -------------------------------------------------------------------------------------------------- */

static struct fault_steps complete_steps(struct fault_steps steps) {
    return (struct fault_steps){steps.sum ? steps.sum : sum_right, steps.bias ? steps.bias : bias_right,
                                steps.scale ? steps.scale : scale_right, steps.clamp ? steps.clamp : clamp_right};
}

/* x [count][in] -> y [count][out]; returns how many codes the clamp cut. */
static size_t run_layer(const struct qmlp *q, int l, const struct fault *fault, const uint8_t *x, int count,
                        uint8_t *y) {
    const struct qlinear *layer = &q->layer[l];
    const struct fault_steps steps = complete_steps(fault->steps);
    size_t cut = 0;
#pragma omp parallel for schedule(static) reduction(+ : cut)
    for (int i = 0; i < count; i++)
        for (int c = 0; c < layer->out; c++) {
            int32_t acc = steps.bias(q, l, c) + steps.sum(q, l, c, x + (size_t)i * (size_t)layer->in);
            int64_t value = steps.scale(q, l, c, acc);
            y[(size_t)i * (size_t)layer->out + (size_t)c] = steps.clamp(layer, value);
            cut += layer->y_zero_point + value > layer->y_max ||
                (!has_relu(layer) && layer->y_zero_point + value < layer->y_min);
        }
    return cut;
}

void faults_forward(const struct qmlp *q, const struct fault *fault, int layer, const uint8_t *images, int count,
                    uint8_t *const *codes, size_t *cut) {
    cut[0] = 0;
    for (size_t i = 0; i < (size_t)count * (size_t)q->shape.widths[0]; i++) codes[0][i] = q->pixel_code[images[i]];
    for (int l = 0; l < q->shape.layers; l++)
        cut[l + 1] = run_layer(q, l, layer == FAULTS_ALL_LAYERS || layer == l ? fault : &faults[0], codes[l], count,
                               codes[l + 1]);
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
