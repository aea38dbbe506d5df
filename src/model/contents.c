#include "model/contents.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/finite.h"
#include "lowbit/half.h"

const char *layer_tensor(char name[ST_NAME], int layer, const char *part) {
    if (layer < 0) snprintf(name, ST_NAME, "%s", part);
    else snprintf(name, ST_NAME, "fc%d.%s", layer + 1, part);
    return name;
}

enum values { ANY, FINITE, POSITIVE }; /* what the numbers of a float tensor have to be */

struct part {
    const char *name; /* after "fcN." */
    enum st_dtype dtype;
    size_t rows, cols; /* cols 0: one dimension */
    void *data;        /* where the elements are, or go to */
    enum values values;
};
enum { MAX_PARTS = 5 };

/* How the blocks of a coded weight stand in the file. */
static struct part coded_weight(const struct coded_layer *layer, size_t out, size_t in) {
    struct codec c = layer->codec;
    size_t scales = codec_scales(c, (int)out, (int)in) * sizeof(float);
    size_t bytes = codec_bytes(c, (int)out, (int)in) - scales;
    uint8_t *blocks = layer->bytes ? layer->bytes + scales : NULL; /* not there before its size is checked */
    enum st_dtype dtype = 0;
    while (strcmp(st_types[dtype].name, c.format->dtype) != 0) dtype++;
    if (dtype != ST_U8) return (struct part){"weight", dtype, out, in, blocks, ANY};
    if (c.format->layout == LAYOUT_FLAT || (c.format->block == 0 && c.block == CODEC_TENSOR))
        return (struct part){"weight", ST_U8, bytes, 0, blocks, ANY};
    return (struct part){"weight", ST_U8, out, bytes / out, blocks, ANY};
}

static int integer_parts(const struct contents *c, int l, size_t out, size_t in, struct part *p) {
    const struct qlinear *d = &c->q->layer[l];
    size_t scales = c->q->per_channel ? out : 1;
    p[0] = c->bits < 8 ? (struct part){"weight", ST_U8, out, packed_bytes(in, c->bits), c->packed[l], ANY}
                       : (struct part){"weight", ST_I8, out, in, d->weight, ANY};
    p[1] = (struct part){"weight_scale", ST_F32, scales, 0, c->q->weight_scale[l], FINITE}; /* qmlp_finish: > 0 */
    p[2] = (struct part){"bias", ST_I32, out, 0, d->bias, ANY};
    p[3] = (struct part){"input_scale", ST_F32, 1, 0, (void *)&c->q->activation[l].scale, FINITE};
    p[4] = (struct part){"input_zero_point", ST_U8, 1, 0, (void *)&c->zero_point[l], ANY};
    return 5;
}

static int dynamic_parts(const struct dynamic_mlp_layer *d, size_t out, size_t in, struct part *p) {
    size_t n = (size_t)d->outliers;
    p[0] = (struct part){"weight", ST_I8, out, in, d->weight, ANY};
    p[1] = (struct part){"weight_scale", ST_F32, out, 0, d->weight_scale, POSITIVE};
    p[2] = (struct part){"bias", ST_F32, out, 0, d->bias, FINITE};
    p[3] = (struct part){"outlier_columns", ST_I32, n, 0, d->outlier_columns, ANY};
    p[4] = (struct part){"outlier_weight", ST_F16, out, n, d->outlier_weight, FINITE};
    return n ? 5 : 3;
}

/* The tensors of layer l, the weight first; of layer shape->layers what an integer model says of its output. */
static int list_parts(const struct contents *c, int l, struct part *p) {
    if (l == c->shape->layers) {
        if (!c->q) return 0;
        p[0] = (struct part){"output_scale", ST_F32, 1, 0, (void *)&c->q->activation[l].scale, FINITE};
        p[1] = (struct part){"output_zero_point", ST_U8, 1, 0, (void *)&c->zero_point[l], ANY};
        return 2;
    }
    size_t in = (size_t)c->shape->widths[l], out = (size_t)c->shape->widths[l + 1];
    if (c->q) return integer_parts(c, l, out, in, p);
    if (c->dynamic) return dynamic_parts(&c->dynamic->layer[l], out, in, p);
    if (c->mlp) {
        p[0] = (struct part){"weight", ST_F32, out, in, c->mlp->layer[l].weight, FINITE};
        p[1] = (struct part){"bias", ST_F32, out, 0, c->mlp->layer[l].bias, FINITE};
        return 2;
    }
    const struct coded_layer *layer = &c->coded->layer[l];
    int count = 2;
    size_t scales = codec_scales(layer->codec, (int)out, (int)in);
    p[0] = coded_weight(layer, out, in);
    p[1] = (struct part){"bias", ST_F32, out, 0, layer->bias, FINITE};
    if (scales) p[count++] = (struct part){"weight_scale", ST_F32, scales, 0, layer->bytes, POSITIVE};
    if (layer->divisor) p[count++] = (struct part){"input_divisor", ST_F16, in, 0, layer->divisor, POSITIVE};
    return count;
}

static const char *part_name(char name[ST_NAME], const struct contents *c, int l, const char *part) {
    return layer_tensor(name, l < c->shape->layers ? l : -1, part);
}

void contents_add(const struct contents *c, struct st_file *file) {
    struct part parts[MAX_PARTS];
    char name[ST_NAME], format[64];
    if (c->dynamic) st_add_metadata(file, "activations", c->dynamic->vector_wise ? "vector-wise" : "dynamic");
    for (int l = 0; l <= c->shape->layers; l++) {
        if (c->coded && l < c->shape->layers) {
            codec_print(c->coded->layer[l].codec, format, sizeof format);
            st_add_metadata(file, layer_tensor(name, l, "format"), "%s", format);
        }
        int count = list_parts(c, l, parts);
        for (const struct part *p = parts; p < parts + count; p++)
            st_add(file, part_name(name, c, l, p->name), p->dtype, p->rows, p->cols, p->data);
    }
}

/* The tensor of a part, of its dtype and shape; NULL and an error when it is missing or another. */
static const struct st_tensor *find_part(const struct st_file *file, const struct contents *c, int l,
                                         const struct part *p, struct error *err) {
    char full[ST_NAME];
    const struct st_tensor *t = st_find(file, part_name(full, c, l, p->name));
    if (!t) fail(err, "tensor %s is missing", full);
    else if (t->dtype != p->dtype)
        fail(err, "tensor %s is %s: expected %s", full, st_types[t->dtype].name, st_types[p->dtype].name);
    else if (t->dimensions != (p->cols ? 2 : 1))
        fail(err, "tensor %s has %d dimensions: expected %d", full, t->dimensions, p->cols ? 2 : 1);
    else if (t->shape[0] != p->rows || (p->cols && t->shape[1] != p->cols))
        fail(err, "tensor %s has the shape [%zu%s%.0zu]: expected [%zu%s%.0zu]", full, t->shape[0], p->cols ? ", " : "",
             p->cols ? t->shape[1] : 0, p->rows, p->cols ? ", " : "", p->cols);
    else return t;
    return NULL;
}

static bool check_values(const struct part *p, const struct st_tensor *t, struct error *err) {
    for (size_t i = 0; p->values != ANY && i < t->elements; i++) {
        float x = p->dtype == ST_F32 ? ((const float *)p->data)[i] : float_from_half(((const uint16_t *)p->data)[i]);
        if (!is_finite((double)x)) return fail(err, "tensor %s: element %zu is not a finite number", t->name, i);
        if (p->values == POSITIVE && !(x > 0))
            return fail(err, "tensor %s: element %zu is %g: expected a finite number > 0", t->name, i, (double)x);
    }
    return true;
}

bool contents_check_weights(const struct contents *c, const struct st_file *file, struct error *err) {
    struct part parts[MAX_PARTS];
    for (int l = 0; l < c->shape->layers; l++) {
        list_parts(c, l, parts);
        if (!find_part(file, c, l, parts, err)) return false;
    }
    return true;
}

bool contents_read(const struct contents *c, const struct st_file *file, struct error *err) {
    struct part parts[MAX_PARTS];
    size_t expected = 0;
    for (int l = 0; l <= c->shape->layers; l++) {
        int count = list_parts(c, l, parts);
        for (const struct part *p = parts; p < parts + count; p++, expected++) {
            const struct st_tensor *t = find_part(file, c, l, p, err);
            if (!t) return false;
            st_copy(p->data, t->data, t->elements, t->dtype);
            if (!check_values(p, t, err)) return false;
        }
    }
    if (file->tensor_count == expected) return true;
    return fail(err, "%zu tensors: expected %zu for %d layers", file->tensor_count, expected, c->shape->layers);
}

static bool is_for_weights(const char *part) {
    return strcmp(part, "bias") != 0 && strcmp(part, "input_scale") != 0 && strcmp(part, "input_zero_point") != 0;
}

double contents_bits_per_weight(const struct contents *c) {
    struct part parts[MAX_PARTS];
    double bytes = 0, weights = 0;
    for (int l = 0; l < c->shape->layers; l++) {
        int count = list_parts(c, l, parts);
        weights += (double)c->shape->widths[l] * c->shape->widths[l + 1];
        for (const struct part *p = parts; p < parts + count; p++)
            if (is_for_weights(p->name))
                bytes += (double)(p->rows * (p->cols ? p->cols : 1) * st_types[p->dtype].bytes);
    }
    return 8 * bytes / weights;
}

uint8_t *contents_reserve_packed(struct contents *c, struct error *err) {
    uint8_t *row;
    do {
        row = block_take(&c->block, MLP_MAX_WIDTH, 1);
        for (int l = 0; l < c->shape->layers && c->bits < 8; l++)
            c->packed[l] = block_take(&c->block, (size_t)c->shape->widths[l + 1],
                                      packed_bytes((size_t)c->shape->widths[l], c->bits));
    } while (block_again(&c->block, err));
    return row;
}

void contents_pack(const struct contents *c, uint8_t *row) {
    for (int l = 0; l < c->shape->layers; l++) {
        size_t in = (size_t)c->q->layer[l].in, size = packed_bytes(in, c->bits);
        const int8_t *codes = c->q->layer[l].weight;
        for (int i = 0; i < c->q->layer[l].out; i++, codes += in) {
            for (size_t k = 0; k < in; k++) row[k] = (uint8_t)stored_code(codes[k], c->bits);
            pack_bits(row, in, c->bits, c->packed[l] + (size_t)i * size);
        }
    }
}

void contents_unpack(const struct contents *c, struct qmlp *q, uint8_t *row) {
    for (int l = 0; l < c->shape->layers; l++) {
        size_t in = (size_t)q->layer[l].in, size = packed_bytes(in, c->bits);
        int8_t *codes = q->layer[l].weight;
        for (int i = 0; i < q->layer[l].out; i++, codes += in) {
            unpack_bits(c->packed[l] + (size_t)i * size, in, c->bits, row);
            for (size_t k = 0; k < in; k++) codes[k] = (int8_t)signed_code(row[k], c->bits);
        }
    }
}

bool st_architecture(const struct st_file *file, struct mlp_shape *shape, struct error *err) {
    const char *text = st_metadata(file, "architecture");
    int widths[MLP_MAX_LAYERS + 1], count = 0;
    if (!text || strncmp(text, "mlp ", 4) != 0) return fail(err, "metadata architecture: expected \"mlp N-N-...\"");
    for (const char *at = text + 4;;) {
        char *end;
        long width = strtol(at, &end, 10);
        if (end == at || *at < '0' || *at > '9' || width < 1 || width > MLP_MAX_WIDTH || count > MLP_MAX_LAYERS ||
            (*end != '-' && *end != 0))
            return fail(err, "metadata architecture is \"%.80s\": expected \"mlp N-N-...\", N from 1 to %d", text,
                        MLP_MAX_WIDTH);
        widths[count++] = (int)width;
        if (*end == 0) break;
        at = end + 1;
    }
    if (count < 2) return fail(err, "metadata architecture is \"%.80s\": expected two widths at least", text);
    return mlp_shape_make(widths[0], widths + 1, count - 2, widths[count - 1], shape, err);
}
