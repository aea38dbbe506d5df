/* How a model's tensors use their codes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/stats.h"
#include "cli/inspect_histogram.h"
#include "lowbit/half.h"
#include "lowbit/minifloat.h"
#include "lowbit/ternary.h"
#include "model/contents.h"
#include "model/evaluation.h"

enum { LEVELS = HISTOGRAM_MAX, LINE = 32 };

const char histogram_columns[] =
    "tensor dtype- holds- elements- codes- used used_percent- never_used- at_lowest_percent- at_highest_percent- "
    "saturated_percent:saturated_% entropy_bits:bits histogram=";

/* One character for each run of levels: . for none, then steps of 2 in frequency, so that tails show beside a peak. */
static void draw(const struct histogram *h, char line[LINE + 1]) {
    static const char ramp[] = ":-=+ox%#@";
    int width = h->levels < LINE ? h->levels : LINE;
    double mean[LINE], most = 0;
    for (int i = 0; i < width; i++) {
        int first = i * h->levels / width, end = (i + 1) * h->levels / width;
        mean[i] = 0;
        for (int k = first; k < end; k++) mean[i] += (double)h->seen[k] / (end - first);
        most = fmax(most, mean[i]);
    }
    for (int i = 0; i < width; i++)
        line[i] = mean[i] > 0 ? ramp[(int)fmax(0, 8 - floor(log(most / mean[i]) / log(2)))] : '.';
    line[width] = 0;
}

/* saturated: percent, NAN where nobody knows */
static void add_row(struct table *table, const char *name, const char *dtype, bool codes, const struct histogram *h,
                    double saturated) {
    char line[LINE + 1];
    int used = histogram_used(h);
    draw(h, line);
    table_row(table, "%s | %s | %s | %zu | %d | %d | %.1f | %d | %.4f | %.4f | %.4f | %.3f | %s", name, dtype,
              codes ? "codes" : "values", h->count, h->levels, used, 100.0 * used / h->levels, h->levels - used,
              codes ? 100.0 * (double)h->seen[0] / (double)h->count : NAN,
              codes ? 100.0 * (double)h->seen[h->levels - 1] / (double)h->count : NAN, saturated,
              histogram_entropy_bits(h), line);
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

double tensor_element(const struct st_tensor *t, size_t i) {
    const unsigned char *at = (const unsigned char *)t->data + i * st_types[t->dtype].bytes;
    float f32;
    double f64;
    int32_t i32;
    uint16_t half;
    switch (t->dtype) {
    case ST_F32: memcpy(&f32, at, 4); return (double)f32;
    case ST_F64: memcpy(&f64, at, 8); return f64;
    case ST_F16: memcpy(&half, at, 2); return (double)float_from_half(half);
    case ST_BF16: memcpy(&half, at, 2); return (double)float_from_bfloat(half);
    case ST_I32: memcpy(&i32, at, 4); return i32;
    case ST_I8: return (int8_t)*at;
    case ST_U8: return *at;
    case ST_F8_E4M3: return (double)float_from_minifloat(&minifloats[FP8_E4M3], *at);
    case ST_F8_E5M2: return (double)float_from_minifloat(&minifloats[FP8_E5M2], *at);
    default: return NAN;
    }
}

/* The elements of a tensor, or with a layer's weights decoded these, in LEVELS equal steps from lowest to highest. */
static void add_values(struct table *table, const struct st_tensor *t, const char *dtype, const float *decoded,
                       size_t count) {
    struct histogram h = {.levels = LEVELS};
    double lowest = INFINITY, highest = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        double x = decoded ? (double)decoded[i] : tensor_element(t, i);
        lowest = fmin(lowest, x);
        highest = fmax(highest, x);
    }
    for (size_t i = 0; i < count; i++) {
        double x = decoded ? (double)decoded[i] : tensor_element(t, i);
        double at = highest > lowest ? (x - lowest) / (highest - lowest) * LEVELS : 0;
        histogram_add(&h, at >= 0 && at < LEVELS ? (int)at : LEVELS - 1, 1);
    }
    add_row(table, t->name, dtype, false, &h, NAN);
}

/* ---- codes ------------------------------------------------------------------------------------------------------ */

/* Runs of packed codes, each behind a header of its own: the rows of an integer model (no header), or the blocks of a
 * format of the ladder. A run may be shorter at the end of its line. */
struct packed_runs {
    int bits, lowest;                  /* of a code; the stored value of the lowest code that is used */
    size_t header, lines, length, run; /* bytes; lines of length codes, cut into runs */
};

/* Only some formats' blocks are a header and packed codes in their order. codec NULL: an integer model's rows. */
static bool find_runs(const struct codec *codec, int integer_bits, int out, int in, struct packed_runs *r) {
    bool nf4 = codec && strcmp(codec->format->name, "nf4") == 0;
    *r = (struct packed_runs){integer_bits, integer_bits > 1, 0, (size_t)out, (size_t)in, (size_t)in};
    if (!codec) return integer_bits < 8;
    if (!format_is_integer(codec->format) && !is_ternary(codec->format->bits) && !nf4) return false;
    if (nf4 || codec->format->block || codec->block == CODEC_TENSOR) r->lines = 1, r->length *= (size_t)out;
    r->bits = codec->format->bits;
    r->lowest = format_lowest_code(codec->format);
    r->header = codec->format->header;
    r->run = nf4 ? (size_t)codec->format->block : codec->block > 0 ? (size_t)codec->block : r->length;
    return true;
}

static bool see_runs(const struct st_tensor *t, const struct packed_runs *r, struct histogram *h, struct error *err) {
    const uint8_t *bytes = t->data;
    uint8_t *codes = aligned_array(r->run, 1, err);
    if (!codes) return false;
    h->levels = r->bits == TRITS ? 3 : (1 << r->bits) - r->lowest;
    for (size_t line = 0; line < r->lines; line++)
        for (size_t first = 0; first < r->length; first += r->run) {
            size_t n = r->length - first < r->run ? r->length - first : r->run;
            unpack_bits(bytes + r->header, n, r->bits, codes);
            bytes += r->header + packed_bytes(n, r->bits);
            for (size_t i = 0; i < n; i++) histogram_add(h, codes[i] < r->lowest ? 0 : codes[i] - r->lowest, 1);
        }
    free(codes);
    return true;
}

static void see_int8(const struct st_tensor *t, struct histogram *h) {
    const int8_t *codes = t->data;
    int lowest = -127; /* symmetric, eq. 4; a file from elsewhere may use -128 too */
    for (size_t i = 0; i < t->elements; i++) lowest = codes[i] < lowest ? codes[i] : lowest;
    h->levels = 128 - lowest;
    for (size_t i = 0; i < t->elements; i++) histogram_add(h, codes[i] - lowest, 1);
}

/* Of a layer's weights, those that lie beyond the codes by more than half a step, in percent. */
static double saturated_weights(const struct model *model, const struct model *fp32, int layer, int bits) {
    if (!fp32 || model->kind != MODEL_INT8) return NAN;
    const struct qlinear *q = &model->qmlp.layer[layer];
    const float *w = fp32->mlp.layer[layer].weight;
    int highest = (1 << ((bits ? bits : 8) - 1)) - 1, lowest = bits && bits < 8 ? -highest - 1 : -highest;
    size_t beyond = 0, n = (size_t)q->in * (size_t)q->out;
    for (size_t i = 0; i < n; i++) {
        float scale = qmlp_weight_scale(&model->qmlp, layer, (int)(i / (size_t)q->in));
        double code = rint((double)w[i] / (double)scale);
        beyond += code < lowest || code > highest;
    }
    return 100.0 * (double)beyond / (double)n;
}

/* The layer whose weights a tensor holds; -1: it holds something else. */
static int layer_of(const struct st_tensor *t, const struct mlp_shape *shape) {
    int layer, end = 0;
    if (sscanf(t->name, "fc%d.weight%n", &layer, &end) != 1 || end == 0 || t->name[end]) return -1;
    return layer >= 1 && layer <= shape->layers ? layer - 1 : -1;
}

/* Codes where their order in the tensor is known, else values; of a format of the ladder the weights it stands for. */
static bool add_tensor(struct table *table, const struct st_file *file, const struct st_tensor *t,
                       const struct model *model, const struct model *fp32, struct error *err) {
    char name[ST_NAME], dtype[32];
    int layer = layer_of(t, &model->shape);
    const char *format = layer < 0 ? NULL : st_metadata(file, layer_tensor(name, layer, "format"));
    int bits = model_weight_bits(file);
    struct codec codec = {0};
    struct packed_runs runs;
    struct histogram h = {0};
    bool coded = format && codec_parse(format, &codec);
    snprintf(dtype, sizeof dtype, "%s", st_types[t->dtype].name);
    if (layer >= 0 && t->dtype == ST_I8) {
        see_int8(t, &h);
    } else if (layer >= 0 && t->dtype == ST_U8) {
        int out = model->shape.widths[layer + 1], in = model->shape.widths[layer];
        bool in_order = find_runs(coded ? &codec : NULL, bits, out, in, &runs);
        if (in_order && !see_runs(t, &runs, &h, err)) return false;
        if (in_order && !coded) snprintf(dtype, sizeof dtype, runs.bits == TRITS ? "ternary" : "%d bit", runs.bits);
        if (!in_order && coded) { /* blocks of a shape of their own: the weights they stand for */
            add_values(table, t, format, model->mlp.layer[layer].weight, (size_t)out * (size_t)in);
            return true;
        }
    }
    if (h.count == 0) add_values(table, t, dtype, NULL, t->elements);
    else
        add_row(table, t->name, coded ? format : dtype, true, &h,
                coded ? NAN : saturated_weights(model, fp32, layer, bits));
    return true;
}

bool fill_histogram(struct table *table, const struct st_file *file, const struct model *model,
                    const struct model *fp32, struct error *err) {
    size_t skipped = 0;
    for (size_t i = 0; i < file->tensor_count; i++) {
        if (file->tensors[i].elements < 2) skipped++;
        else if (!add_tensor(table, file, &file->tensors[i], model, fp32, err)) return false;
    }
    table_note(table,
               "What to see: codes that never come and the bits that a code carries (entropy, -sum p log2 p: a "
               "lossless packer could not do with fewer) tell what a scale for all, or a wide range, wastes. "
               "histogram: %d characters (or one a code) from the lowest to the highest, . for none, then : - = + o x "
               "%% # @ up to the most frequent, each twice as many as the one before.",
               LINE);
    table_note(table,
               "codes: those that the format has (of int8, -127 to 127: eq. 4 leaves -128 out); of values, 256 equal "
               "steps from the lowest to the highest. at lowest, at highest: the share of elements on the first and "
               "the last code; saturated: that was clipped to these (weights: needs --fp32). With the scale set by the "
               "largest value (absmax) there is none, and each row or tensor has at least one element on an end.");
    if (skipped) table_note(table, "%zu tensors of one element are left out.", skipped);
    return true;
}

/* ---- activations ------------------------------------------------------------------------------------------------ */

bool fill_activation_histogram(struct table *table, const struct model *model, const struct split *split,
                               struct error *err) {
    const struct qmlp *q = &model->qmlp;
    struct trial trial = {model, &faults[0], FAULTS_ALL_LAYERS, NULL};
    struct measurement m;
    if (!measure(&trial, split, &m, err)) return false;
    for (int i = 0; i <= q->shape.layers; i++) {
        struct histogram h = {.levels = q->activation[i].qmax - q->activation[i].qmin + 1};
        char name[32] = "pixels";
        for (int code = q->activation[i].qmin; code <= q->activation[i].qmax; code++)
            histogram_add(&h, code - q->activation[i].qmin, m.histogram[i].seen[code]);
        if (i > 0) snprintf(name, sizeof name, "fc%d output", i);
        add_row(table, name, "U8", true, &h, m.saturated_percent[i]);
    }
    table_note(table,
               "pixels and outputs: the codes of the integer engine's activations on %zu test images. ReLU gathers on "
               "the code of 0, which does not count as saturated.",
               split->count);
    measurement_free(&m);
    return true;
}
