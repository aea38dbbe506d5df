/* An integer model as one C99 header that needs nothing but stdint.h: eq. 5 to 7 as a microcontroller runs them. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "export/export.h"

enum { TESTS = 8, PER_LINE = 20 };

/* ---- tables ------------------------------------------------------------------------------------------------------ */

/* static const TYPE NAMEfcN_PART[COUNT] = {...}; element i is of(layer, i). */
struct array {
    const char *type, *part;
    size_t count;
    int32_t (*of)(const struct qmlp *q, int layer, size_t i, int bits);
};

static size_t row_bytes(int in, int bits) { return ((size_t)in * (size_t)bits + 7) / 8; }

/* A byte of a row: codes + 2^(bits-1) from the lowest bits on, as lowbit/formats.h packs them; 8 bits: the code. */
static int32_t weight_byte(const struct qmlp *q, int layer, size_t i, int bits) {
    const struct qlinear *l = &q->layer[layer];
    size_t width = row_bytes(l->in, bits), first = i % width * (size_t)(8 / bits);
    const int8_t *row = l->weight + i / width * (size_t)l->in;
    if (bits == 8) return row[i % width];
    int byte = 0;
    for (int j = 0; j < 8 / bits; j++)
        if (first + (size_t)j < (size_t)l->in) byte |= (row[first + (size_t)j] + (1 << (bits - 1))) << (j * bits);
    return byte;
}
static int32_t bias_at(const struct qmlp *q, int layer, size_t i, int bits) {
    (void)bits;
    return q->layer[layer].folded_bias[i];
}
static int32_t multiplier_at(const struct qmlp *q, int layer, size_t i, int bits) {
    (void)bits;
    return q->layer[layer].multiplier[i].m;
}
static int32_t shift_at(const struct qmlp *q, int layer, size_t i, int bits) {
    (void)bits;
    return q->layer[layer].multiplier[i].right;
}
static int32_t pixel_code_at(const struct qmlp *q, int layer, size_t i, int bits) {
    (void)layer, (void)bits;
    return q->pixel_code[i];
}

static void put_numbers(FILE *to, const struct array *a, const struct qmlp *q, int layer, int bits) {
    for (size_t i = 0; i < a->count; i++)
        fprintf(to, "%s%ld%s", i % PER_LINE ? " " : "\n    ", (long)a->of(q, layer, i, bits),
                i + 1 < a->count ? "," : "\n};\n");
}

/* ---- what is fixed ----------------------------------------------------------------------------------------------- */

/* @ stands for the name in front. */
static const char requantize_text[] =
    "/* >> of a negative number rounds down, which C leaves to the compiler: this does not compile elsewhere. */\n"
    "typedef char @shifts_round_down[(-3 >> 1) == -2 ? 1 : -1];\n\n"
    "struct @layer {\n"
    "    uint16_t in, out;\n"
    "    uint8_t zero, lowest, highest; /* of the output: the code of 0; the clamp, a ReLU where lowest is zero */\n"
    "    uint8_t each;                  /* 1: multiplier and shift for each output; 0: one for all */\n"
    "    const %s *weight;          /* [out][bytes of a row]%s */\n"
    "    const int32_t *bias;           /* [out], less the input's zero point times the sum of the weights */\n"
    "    const int32_t *multiplier;     /* M = multiplier * 2^-shift */\n"
    "    const uint8_t *shift;\n"
    "};\n";

static const char linear_text[] =
    "/* eq. 5: acc = bias + sum of weight * x; eq. 6: code = clamp(zero + round(acc * M)), ties up. */\n"
    "static inline void @linear(const struct @layer *l, const uint8_t *x, uint8_t *y) {\n"
    "    const %s *w = l->weight;\n"
    "    const int32_t *m = l->multiplier;\n"
    "    const uint8_t *s = l->shift;\n"
    "    uint16_t c, k;\n"
    "    for (c = 0; c < l->out; c++) {\n"
    "        int32_t acc = l->bias[c];\n"
    "        int64_t q;\n"
    "        for (k = 0; k < l->in; k++) acc += (int32_t)x[k] * %s;\n"
    "        w += %s;\n"
    "        q = (((int64_t)acc * *m + ((int64_t)1 << (*s - 1))) >> *s) + l->zero;\n"
    "        y[c] = (uint8_t)(q < l->lowest ? l->lowest : q > l->highest ? l->highest : q);\n"
    "        m += l->each;\n"
    "        s += l->each;\n"
    "    }\n"
    "}\n\n";

static const char predict_text[] =
    "/* eq. 7: the class with the highest code, the lowest on a tie. */\n"
    "static inline int @predict(const uint8_t pixels[@@INPUTS]) {\n"
    "    uint8_t codes[@@CLASSES];\n"
    "    int c, best = 0;\n"
    "    @logit_codes(pixels, codes);\n"
    "    for (c = 1; c < @@CLASSES; c++)\n"
    "        if (codes[c] > codes[best]) best = c;\n"
    "    return best;\n"
    "}\n\n"
    "/* 0, or the number of the first made-up image whose codes are not those of the program that wrote this. */\n"
    "static inline int @self_test(void) {\n"
    "    uint32_t state = 1;\n"
    "    int i, k;\n"
    "    for (i = 0; i < @@TESTS; i++) {\n"
    "        uint8_t pixels[@@INPUTS], codes[@@CLASSES];\n"
    "        for (k = 0; k < @@INPUTS; k++) {\n"
    "            state = state * 1664525u + 1013904223u;\n"
    "            pixels[k] = (uint8_t)(state & 0x80000000u ? 0 : state >> 23);\n"
    "        }\n"
    "        @logit_codes(pixels, codes);\n"
    "        for (k = 0; k < @@CLASSES; k++)\n"
    "            if (codes[k] != @expected[i][k]) return i + 1;\n"
    "    }\n"
    "    return 0;\n"
    "}\n\n";

/* text with the name for @, and NAME_ in capitals for @@. */
static void put(FILE *to, const char *name, const char *text) {
    for (; *text; text++) {
        if (*text != '@') fputc(*text, to);
        else if (text[1] != '@') fputs(name, to);
        else {
            text++;
            for (const char *c = name; *c; c++) fputc(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c, to);
        }
    }
}

/* put of a text that printf makes of text. */
static void put_format(FILE *to, const char *name, const char *text, ...) {
    char made[4096];
    va_list args;
    va_start(args, text);
    vsnprintf(made, sizeof made, text, args);
    va_end(args);
    put(to, name, made);
}

/* ---- the header -------------------------------------------------------------------------------------------------- */

/* The fewest bits, 8, 4 or 2, that hold every weight. */
static int bits_of(const struct qmlp *q) {
    int lo = 0, hi = 0;
    for (int l = 0; l < q->shape.layers; l++)
        for (size_t i = 0; i < (size_t)q->layer[l].in * (size_t)q->layer[l].out; i++) {
            int w = q->layer[l].weight[i];
            lo = w < lo ? w : lo;
            hi = w > hi ? w : hi;
        }
    return lo >= -2 && hi <= 1 ? 2 : lo >= -8 && hi <= 7 ? 4 : 8;
}

/* Returns the bytes of all tables, and adds a row for each layer. */
static size_t put_layers(FILE *to, const char *name, const struct qmlp *q, int bits, struct table *t) {
    size_t flash = 0;
    for (int l = 0; l < q->shape.layers; l++) {
        const struct qlinear *layer = &q->layer[l];
        size_t out = (size_t)layer->out, each = q->per_channel ? out : 1;
        const struct array arrays[] = {
            {bits == 8 ? "int8_t" : "uint8_t", "weight", out * row_bytes(layer->in, bits), weight_byte},
            {"int32_t", "bias", out, bias_at},
            {"int32_t", "multiplier", each, multiplier_at},
            {"uint8_t", "shift", each, shift_at}};
        size_t bytes = 0;
        for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
            fprintf(to, "static const %s %sfc%d_%s[%zu] = {", arrays[i].type, name, l + 1, arrays[i].part,
                    arrays[i].count);
            put_numbers(to, &arrays[i], q, l, bits);
            bytes += arrays[i].count * (strncmp(arrays[i].type, "int32", 5) == 0 ? 4 : 1);
        }
        flash += bytes;
        table_row(t, "fc%d | %d | %zu | %d | %zu", l + 1, bits, bytes, layer->out, (size_t)layer->in * out);
    }
    fprintf(to, "static const struct %slayer %slayers[%d] = {\n", name, name, q->shape.layers);
    for (int l = 0; l < q->shape.layers; l++) {
        const struct qlinear *layer = &q->layer[l];
        fprintf(to, "    {%d, %d, %d, %d, %d, %d", layer->in, layer->out, layer->y_zero_point, layer->y_min,
                layer->y_max, q->per_channel);
        static const char *const parts[] = {"weight", "bias", "multiplier", "shift"};
        for (int i = 0; i < 4; i++) fprintf(to, ", %sfc%d_%s", name, l + 1, parts[i]);
        fprintf(to, "}%s\n", l + 1 < q->shape.layers ? "," : "");
    }
    fprintf(to, "};\n\n");
    return flash;
}

/* Through two arrays in turn, as wide as the widest of what they hold. Returns the bytes of both. */
static size_t put_forward(FILE *to, const char *name, const struct qmlp *q) {
    int layers = q->shape.layers, hidden = 1;
    bool a = layers > 1, b = layers > 2 || !q->pixels_are_codes;
    for (int i = q->pixels_are_codes ? 1 : 0; i < layers; i++)
        hidden = q->shape.widths[i] > hidden ? q->shape.widths[i] : hidden;
    put(to, name,
        "/* The codes of the logits. */\n"
        "static inline void @logit_codes(const uint8_t pixels[@@INPUTS], uint8_t codes[@@CLASSES]) {\n");
    if (a) fprintf(to, "    uint8_t a[%d];\n", hidden);
    if (b) fprintf(to, "    uint8_t b[%d];\n", hidden);
    if (!q->pixels_are_codes)
        put(to, name, "    uint16_t k;\n    for (k = 0; k < @@INPUTS; k++) b[k] = @pixel_code[pixels[k]];\n");
    for (int l = 0; l < layers; l++)
        fprintf(to, "    %slinear(&%slayers[%d], %s, %s);\n", name, name, l,
                l == 0 && q->pixels_are_codes ? "pixels"
                    : l % 2                   ? "a"
                                              : "b",
                l + 1 == layers ? "codes"
                    : l % 2     ? "b"
                                : "a");
    fprintf(to, "}\n\n");
    return (size_t)(a + b) * (size_t)hidden;
}

/* The images of self_test, run by the reference. */
static bool put_expected(FILE *to, const char *name, const struct qmlp *q, struct error *err) {
    int inputs = q->shape.widths[0], classes = q->shape.widths[q->shape.layers];
    uint8_t *pixels = malloc((size_t)inputs * TESTS), codes[TESTS * 256];
    if (!pixels) return fail(err, "out of memory");
    uint32_t state = 1;
    for (int i = 0; i < inputs * TESTS; i++) {
        state = state * 1664525u + 1013904223u;
        pixels[i] = (uint8_t)(state & 0x80000000u ? 0 : state >> 23);
    }
    qmlp_forward_ref(q, pixels, TESTS, codes);
    fprintf(to, "static const uint8_t %sexpected[%d][%d] = {\n", name, TESTS, classes);
    for (int i = 0; i < TESTS; i++)
        for (int c = 0; c < classes; c++)
            fprintf(to, "%s%d%s", c ? ", " : "    {", codes[i * classes + c],
                    c + 1 < classes     ? ""
                        : i + 1 < TESTS ? "},\n"
                                        : "}\n};\n\n");
    free(pixels);
    return true;
}

bool export_c_header(const struct export_source *source, FILE *to, struct table *t, struct error *err) {
    const struct qmlp *q = &source->model->qmlp;
    const char *name = source->name;
    char shape[128], row[64], code[96];
    if (source->model->kind != MODEL_INT8)
        return fail(err, "a C header runs in integers: expected an int8 or W4A8 model, found other arithmetic");
    int bits = bits_of(q), layers = q->shape.layers, classes = q->shape.widths[layers];
    if (classes > 256) return fail(err, "%d classes: a C header has at most 256", classes);
    mlp_shape_print(&q->shape, shape, sizeof shape);
    put_format(to, name,
               "/* An mlp %s in integers, %d-bit weights and 8-bit activations, written by `mnistq export`.\n"
               " * %spredict(pixels) gives the class of an image; %sself_test() is 0 where this machine computes as it "
               "should. */\n"
               "#ifndef @@MNISTQ_MODEL_H\n#define @@MNISTQ_MODEL_H\n\n#include <stdint.h>\n\n"
               "#define @@INPUTS %d\n#define @@CLASSES %d\n#define @@TESTS %d\n\n",
               shape, bits, name, name, q->shape.widths[0], classes, TESTS);
    const char *type = bits == 8 ? "int8_t" : "uint8_t";
    put_format(to, name, requantize_text, type,
               bits == 8       ? ""
                   : bits == 4 ? ": two codes + 8 a byte, the first in the low bits"
                               : ": four codes + 2 a byte, the first in the low bits");
    if (!q->pixels_are_codes) {
        const struct array a = {"uint8_t", "pixel_code", 256, pixel_code_at};
        fprintf(to, "static const uint8_t %spixel_code[256] = {", name);
        put_numbers(to, &a, q, 0, bits);
    }
    size_t flash = put_layers(to, name, q, bits, t) + (q->pixels_are_codes ? 0 : 256), macs = 0;
    snprintf(code, sizeof code, bits == 8 ? "w[k]" : "((w[k / %d] >> (k %% %d * %d) & %d) - %d)", 8 / bits, 8 / bits,
             bits, (1 << bits) - 1, 1 << (bits - 1));
    snprintf(row, sizeof row, bits == 8 ? "l->in" : "(l->in + %d) / %d", 8 / bits - 1, 8 / bits);
    put_format(to, name, linear_text, type, code, row);
    size_t ram = put_forward(to, name, q);
    if (!put_expected(to, name, q, err)) return false;
    put(to, name, predict_text);
    put(to, name, "#endif\n");
    for (int l = 0; l < layers; l++) macs += (size_t)q->layer[l].in * (size_t)q->layer[l].out;
    table_row(t, "all | %d | %zu | %zu | %zu", bits, flash, ram + (size_t)classes, macs);
    table_note(t, "Flash: the tables, without code; %d bytes more for self_test where it is called.", TESTS * classes);
    table_note(t, "RAM: the arrays on the stack that the layers fill in turn, and the codes of the logits.");
    return true;
}
