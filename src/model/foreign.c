#include "model/foreign.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/finite.h"
#include "lowbit/half.h"
#include "model/contents.h"

enum { MAX_STEP = 3, MAX_DIGITS = 6 };

/* A layer as the file has it. */
struct found {
    long number;
    const struct st_tensor *weight, *bias; /* bias: may be NULL */
};
struct network {
    int layers;
    struct found layer[MLP_MAX_LAYERS]; /* in their order */
};

bool foreign_is(const struct st_file *file) {
    return !st_metadata(file, "architecture") && !st_metadata(file, "fc1.format") &&
        !st_metadata(file, "weight_bits") && !st_metadata(file, "activations") && !st_find(file, "fc1.weight_scale");
}

/* "WHY: found a.weight F32 [10, 784], ...: EXPECTED"; returns false. */
static bool refuse(const struct st_file *file, const char *why, struct error *err) {
    enum { LISTED = 8 };
    char list[600] = "";
    for (size_t i = 0; i < file->tensor_count && i < LISTED; i++) {
        const struct st_tensor *t = &file->tensors[i];
        size_t used = strlen(list);
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%.40s %s [", i ? ", " : "", t->name,
                                 st_types[t->dtype].name);
        for (int d = 0; d < t->dimensions && used < sizeof list; d++)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%zu", d ? ", " : "", t->shape[d]);
        if (used < sizeof list) snprintf(list + used, sizeof list - used, "]");
    }
    return fail(err,
                "%s: found %s%s: not a model of this program, nor layers called fcN, N, net.N, linearN or the like",
                why, *list ? list : "no tensor", file->tensor_count > LISTED ? ", ..." : "");
}

/* A name cut into what is before and behind its last number, and ".weight" or ".bias". */
struct parts {
    size_t before, behind, behind_length; /* length of the one, begin and length of the other */
    long number;
    bool is_word, is_bias;
};

static bool split_name(const char *name, struct parts *p) {
    const char *dot = strrchr(name, '.');
    if (!dot || (strcmp(dot, ".weight") != 0 && strcmp(dot, ".bias") != 0)) return false;
    size_t stem = (size_t)(dot - name), end = stem;
    while (end && !isdigit((unsigned char)name[end - 1])) end--;
    size_t begin = end;
    while (begin && isdigit((unsigned char)name[begin - 1])) begin--;
    if (begin == end || end - begin > MAX_DIGITS || (name[begin] == '0' && end - begin > 1)) return false;
    *p = (struct parts){begin,
                        end,
                        stem - end,
                        strtol(name + begin, NULL, 10),
                        begin && name[begin - 1] != '.',
                        strcmp(dot, ".bias") == 0};
    return true;
}

static bool same_pattern(const char *a, struct parts p, const char *b, struct parts q) {
    return p.before == q.before && p.behind_length == q.behind_length && strncmp(a, b, p.before) == 0 &&
        strncmp(a + p.behind, b + q.behind, p.behind_length) == 0;
}

/* The layer of that number, put in where it belongs; NULL: there are too many. */
static struct found *layer_of(struct network *n, long number) {
    int i = 0;
    while (i < n->layers && n->layer[i].number < number) i++;
    if (i < n->layers && n->layer[i].number == number) return &n->layer[i];
    if (n->layers == MLP_MAX_LAYERS) return NULL;
    memmove(&n->layer[i + 1], &n->layer[i], (size_t)(n->layers++ - i) * sizeof n->layer[0]);
    n->layer[i] = (struct found){.number = number};
    return &n->layer[i];
}

/* No layer is missing as far as numbers tell. */
static bool check_numbers(const struct st_file *file, const struct network *n, bool is_word, struct error *err) {
    long step = n->layers > 1 ? n->layer[1].number - n->layer[0].number : 1;
    for (int i = 0; i < n->layers; i++) {
        if (!n->layer[i].weight) return refuse(file, "a layer has a bias and no weight", err);
        if (i && n->layer[i].number - n->layer[i - 1].number != step)
            return refuse(file, "the numbers of its layers do not tell whether one is missing", err);
    }
    if (step > (is_word ? 1 : MAX_STEP) || n->layer[0].number > (is_word ? 1 : MAX_STEP))
        return refuse(file, "a layer seems to be missing", err);
    return true;
}

static bool find_layers(const struct st_file *file, struct network *n, struct error *err) {
    struct parts first = {0}, p;
    *n = (struct network){0};
    for (size_t i = 0; i < file->tensor_count; i++) {
        const struct st_tensor *t = &file->tensors[i];
        if (!split_name(t->name, &p)) return refuse(file, "its names do not tell the order of layers", err);
        if (i == 0) first = p;
        if (!same_pattern(file->tensors[0].name, first, t->name, p))
            return refuse(file, "its names are of more than one kind and do not tell the order of layers", err);
        struct found *layer = layer_of(n, p.number);
        if (!layer) return fail(err, "more than %d layers", MLP_MAX_LAYERS);
        *(p.is_bias ? &layer->bias : &layer->weight) = t;
    }
    if (n->layers == 0) return refuse(file, "it holds no layer", err);
    return check_numbers(file, n, first.is_word, err);
}

static bool check_dtype(const struct st_tensor *t, struct error *err) {
    return t->dtype == ST_F32 || t->dtype == ST_F16 || t->dtype == ST_BF16 || t->dtype == ST_F64 ||
        fail(err, "tensor %s is %s: expected F32, F16, BF16 or F64", t->name, st_types[t->dtype].name);
}

static bool check_layer(const struct found *f, size_t inputs, struct error *err) {
    const struct st_tensor *w = f->weight, *b = f->bias;
    if (!check_dtype(w, err) || (b && !check_dtype(b, err))) return false;
    if (w->dimensions != 2 || w->shape[0] < 1 || w->shape[1] < 1 || w->shape[0] > MLP_MAX_WIDTH ||
        w->shape[1] > MLP_MAX_WIDTH)
        return fail(err, "tensor %s: expected a matrix of 1 to %d rows and columns", w->name, MLP_MAX_WIDTH);
    if (inputs && w->shape[1] != inputs)
        return fail(err, "tensor %s takes %zu inputs, the layer before gives %zu: expected [outputs][inputs]", w->name,
                    w->shape[1], inputs);
    if (b && (b->dimensions != 1 || b->shape[0] != w->shape[0]))
        return fail(err, "tensor %s: expected %zu numbers, one for each row of %s", b->name, w->shape[0], w->name);
    return true;
}

static bool find_network(const struct st_file *file, struct network *n, struct mlp_shape *shape, struct error *err) {
    int widths[MLP_MAX_LAYERS + 1] = {0};
    if (!find_layers(file, n, err)) return false;
    for (int l = 0; l < n->layers; l++) {
        if (!check_layer(&n->layer[l], (size_t)widths[l], err)) return false;
        widths[l] = (int)n->layer[l].weight->shape[1];
        widths[l + 1] = (int)n->layer[l].weight->shape[0];
    }
    return mlp_shape_make(widths[0], widths + 1, n->layers - 1, widths[n->layers], shape, err);
}

bool foreign_shape(const struct st_file *file, struct mlp_shape *shape, struct error *err) {
    struct network n;
    return find_network(file, &n, shape, err);
}

static double element(const struct st_tensor *t, size_t i) {
    const uint8_t *at = (const uint8_t *)t->data + i * st_types[t->dtype].bytes;
    double wide;
    switch (t->dtype) {
    case ST_F16: return (double)half_read(at);
    case ST_BF16: return (double)float_from_bfloat(read_16(at));
    case ST_F32: return (double)float_read(at);
    default: st_copy(&wide, at, 1, ST_F64); return wide;
    }
}

/* In the order of files. */
static bool copy_floats(const struct st_tensor *t, uint8_t *to, struct error *err) {
    for (size_t i = 0; i < t->elements; i++) {
        double x = element(t, i);
        if (!is_finite(x)) return fail(err, "tensor %s: element %zu is not a finite number", t->name, i);
        float narrow = (float)x;
        if (!is_finite((double)narrow))
            return fail(err, "tensor %s: element %zu is %g: larger than fp32 holds", t->name, i, x);
        float_write(narrow, to + 4 * i);
    }
    return true;
}

static bool fill(const struct network *n, struct st_file *out, struct error *err) {
    uint8_t *at = out->owned;
    char name[ST_NAME];
    for (int l = 0; l < n->layers; l++) {
        const struct found *f = &n->layer[l];
        size_t rows = f->weight->shape[0];
        st_add(out, layer_tensor(name, l, "weight"), ST_F32, rows, f->weight->shape[1], at);
        if (!copy_floats(f->weight, at, err)) return false;
        at += 4 * f->weight->elements;
        st_add(out, layer_tensor(name, l, "bias"), ST_F32, rows, 0, at);
        if (f->bias && !copy_floats(f->bias, at, err)) return false;
        at += 4 * rows;
    }
    return true;
}

bool foreign_convert(struct st_file *file, struct error *err) {
    struct network n;
    struct mlp_shape shape;
    char text[128];
    size_t numbers = 0;
    if (!find_network(file, &n, &shape, err)) return false;
    for (int l = 0; l < n.layers; l++) numbers += n.layer[l].weight->elements + n.layer[l].weight->shape[0];
    struct st_file *out = calloc(1, sizeof *out);
    uint8_t *memory = calloc(numbers, 4);
    if (!out || !memory) {
        free(out);
        free(memory);
        return fail(err, "out of memory");
    }
    memcpy(out, file, sizeof *out);
    out->tensor_count = 0;
    out->owned = memory;
    mlp_shape_print(&shape, text, sizeof text);
    bool ok = fill(&n, out, err);
    if (ok) {
        if (out->metadata_count < ST_MAX_METADATA) st_add_metadata(out, "architecture", "mlp %s", text);
        free(file->owned);
        *file = *out;
    } else free(memory);
    free(out);
    return ok;
}
