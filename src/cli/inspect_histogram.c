/* How a model's tensors use their codes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/inspect.h"
#include "studies/pitfalls.h"
#include "model/contents.h"

enum { LEVELS = HISTOGRAM_MAX, LINE = 32 };

const char histogram_columns[] = "tensor dtype holds elements codes used used_percent never_used at_lowest_percent "
                                 "at_highest_percent saturated_percent entropy_bits histogram";

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

/* ---- tensors of a file ------------------------------------------------------------------------------------------ */

/* Runs of packed codes, each behind a header of its own: the rows of an integer model (no header), or the blocks of a
 * format of the ladder. A run may be shorter at the end of its line. */
struct packed_runs {
    int bits, lowest; /* of a code; the stored value of the lowest code that is used */
    int levels;
    size_t header, lines, length, run; /* bytes; lines of length codes, cut into runs */
};

/* Of a layer's weights, those that lie beyond the codes by more than half a step. */
static double saturated_weights(const struct st_file *file, const struct origin *origin, int layer) {
    if (!origin->fp32 || origin->model->kind != MODEL_INT8) return NAN;
    const struct qlinear *q = &origin->model->qmlp.layer[layer];
    const float *w = origin->fp32->mlp.layer[layer].weight;
    const char *bits = st_metadata(file, "weight_bits");
    int highest = (1 << ((bits ? atoi(bits) : 8) - 1)) - 1;
    size_t beyond = 0, n = (size_t)q->in * (size_t)q->out;
    for (size_t i = 0; i < n; i++) {
        float scale = qmlp_weight_scale(&origin->model->qmlp, layer, (int)(i / (size_t)q->in));
        beyond += fabs(rint((double)w[i] / (double)scale)) > highest;
    }
    return 100.0 * (double)beyond / (double)n;
}

static bool is_weight(const struct st_tensor *t, int *layer) {
    int end = 0;
    if (sscanf(t->name, "fc%d.weight%n", layer, &end) != 1 || end == 0 || t->name[end]) return false;
    *layer -= 1;
    return true;
}

static bool integer_runs(const struct st_file *file, const struct mlp_shape *shape, int layer, struct packed_runs *r) {
    const char *text = st_metadata(file, "weight_bits");
    if (!text) return false;
    int bits = atoi(text), half = 1 << (bits - 1);
    *r = (struct packed_runs){bits,
                              1,
                              2 * half - 1,
                              0,
                              (size_t)shape->widths[layer + 1],
                              (size_t)shape->widths[layer],
                              (size_t)shape->widths[layer]};
    return true;
}

/* The formats whose blocks are a header and packed codes in their order; of the others the values are shown. */
static bool format_runs(struct codec codec, const struct mlp_shape *shape, int layer, struct packed_runs *r) {
    size_t in = (size_t)shape->widths[layer], out = (size_t)shape->widths[layer + 1];
    bool symmetric, whole = codec.format->block || codec.block == CODEC_TENSOR;
    int bits = format_integer_bits(codec.format, &symmetric), levels = 1 << codec.format->bits;
    size_t length = whole ? in * out : in;
    if (bits)
        *r = (struct packed_runs){bits,
                                  symmetric,
                                  levels - symmetric,
                                  symmetric ? 2 : 3,
                                  whole ? 1 : out,
                                  length,
                                  codec.block > 0 ? (size_t)codec.block : length};
    else if (strcmp(codec.format->name, "nf4") == 0)
        *r = (struct packed_runs){4, 0, levels, 4, 1, length, (size_t)codec.format->block};
    else return false;
    return true;
}

static bool see_runs(const struct st_tensor *t, const struct packed_runs *r, struct histogram *h, struct error *err) {
    const uint8_t *bytes = t->data;
    uint8_t *codes = aligned_array(r->run, 1, err);
    if (!codes) return false;
    h->levels = r->levels;
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

/* Values in LEVELS equal steps from the lowest to the highest. */
static void see_values(const double *x, size_t count, struct histogram *h) {
    double lowest = INFINITY, highest = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        lowest = fmin(lowest, x[i]);
        highest = fmax(highest, x[i]);
    }
    h->levels = LEVELS;
    for (size_t i = 0; i < count; i++) {
        double at = highest > lowest ? (x[i] - lowest) / (highest - lowest) * LEVELS : 0;
        histogram_add(h, at >= 0 && at < LEVELS ? (int)at : LEVELS - 1, 1);
    }
}

/* The weights of a block format, decoded; NULL when out of memory. */
static double *decoded(const struct st_tensor *t, struct codec codec, int out, int in, struct error *err) {
    size_t n = (size_t)out * (size_t)in;
    double *values = aligned_array(n, sizeof *values, err);
    float *weights = values ? aligned_array(n, sizeof *weights, err) : NULL;
    uint8_t *bytes = weights ? aligned_array(t->bytes, 1, err) : NULL; /* aligned, as codec_decode may want it */
    if (bytes) {
        memcpy(bytes, t->data, t->bytes);
        codec_decode(codec, bytes, out, in, weights);
        for (size_t i = 0; i < n; i++) values[i] = (double)weights[i];
    } else {
        free(values);
        values = NULL;
    }
    free(weights);
    free(bytes);
    return values;
}

static double *elements(const struct st_tensor *t, struct error *err) {
    double *values = aligned_array(t->elements, sizeof *values, err);
    for (size_t i = 0; values && i < t->elements; i++) values[i] = tensor_element(t, i);
    return values;
}

static bool add_values(struct table *table, const char *name, const char *dtype, double *values, size_t count) {
    struct histogram h = {0};
    if (!values) return false;
    see_values(values, count, &h);
    free(values);
    add_row(table, name, dtype, false, &h, NAN);
    return true;
}

/* A packed weight: its codes, or its values where they stand in an order of their own. */
static bool add_packed(struct table *table, const struct st_file *file, const struct st_tensor *t, int layer,
                       const struct mlp_shape *shape, const struct origin *origin, struct error *err) {
    char name[ST_NAME];
    const char *format = st_metadata(file, layer_tensor(name, layer, "format"));
    struct codec codec = {0};
    struct packed_runs runs;
    struct histogram h = {0};
    bool coded = format && codec_parse(format, &codec), is_runs;
    is_runs = coded ? format_runs(codec, shape, layer, &runs) : integer_runs(file, shape, layer, &runs);
    if (!is_runs && coded)
        return add_values(table, t->name, format,
                          decoded(t, codec, shape->widths[layer + 1], shape->widths[layer], err),
                          (size_t)shape->widths[layer + 1] * (size_t)shape->widths[layer]);
    if (!is_runs) return add_values(table, t->name, st_types[t->dtype].name, elements(t, err), t->elements);
    char dtype[32];
    snprintf(dtype, sizeof dtype, "%d bit", runs.bits);
    if (!see_runs(t, &runs, &h, err)) return false;
    add_row(table, t->name, coded ? format : dtype, true, &h, coded ? NAN : saturated_weights(file, origin, layer));
    return true;
}

static bool add_tensor(struct table *table, const struct st_file *file, const struct st_tensor *t,
                       const struct mlp_shape *shape, const struct origin *origin, struct error *err) {
    struct histogram h = {0};
    int layer;
    bool weight = is_weight(t, &layer);
    if (weight && t->dtype == ST_U8 && layer >= 0 && layer < shape->layers)
        return add_packed(table, file, t, layer, shape, origin, err);
    if (!weight || t->dtype != ST_I8)
        return add_values(table, t->name, st_types[t->dtype].name, elements(t, err), t->elements);
    see_int8(t, &h);
    add_row(table, t->name, st_types[t->dtype].name, true, &h, saturated_weights(file, origin, layer));
    return true;
}

bool fill_histogram(struct table *table, const struct st_file *file, const struct origin *origin, struct error *err) {
    struct mlp_shape shape = {0};
    struct error ignored;
    size_t skipped = 0;
    if (st_metadata(file, "architecture") && !st_architecture(file, &shape, &ignored)) shape.layers = 0;
    for (size_t i = 0; i < file->tensor_count; i++) {
        if (file->tensors[i].elements < 2) skipped++;
        else if (!add_tensor(table, file, &file->tensors[i], &shape, origin, err)) return false;
    }
    table_note(table,
               "codes: those that the format has (of int8, -127 to 127: eq. 4 leaves -128 out); of values, 256 equal "
               "steps from the lowest to the highest. at lowest, at highest: the share of elements on the first and "
               "the last code. saturated: the share whose real value lies beyond the codes and was clipped to one of "
               "these (weights: needs --fp32). With the scale set by the largest value (absmax) there is none, and "
               "each row or tensor has at least one element on an end.");
    table_note(table,
               "entropy: -sum p log2 p, the bits a code carries; a lossless packer could not do with fewer. "
               "histogram: %d characters (or one a code) from the lowest to the highest, . for none, then : - = + o "
               "x %% # @ up to the most frequent, each twice as many as the one before.",
               LINE);
    if (skipped) table_note(table, "%zu tensors of one element are left out.", skipped);
    return true;
}

/* ---- activations ------------------------------------------------------------------------------------------------ */

bool fill_activation_histogram(struct table *table, const struct model *model, const struct split *split,
                               struct error *err) {
    const struct qmlp *q = &model->qmlp;
    struct trial trial = {q, &faults[0], FAULTS_ALL_LAYERS, NULL};
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
               "pixels and outputs: the codes of the integer engine's activations on %zu test images. ReLU gathers "
               "on the code of 0, which does not count as saturated.",
               split->count);
    measurement_free(&m);
    return true;
}
