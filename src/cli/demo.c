/* mnistq demo: the two equations on numbers that one types, or any format of the ladder on them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/finite.h"
#include "cli/commands.h"
#include "cli/study.h"
#include "lowbit/formats.h"
#include "lowbit/ternary.h"

enum { MOST = 64 };

struct demo {
    const char *range, *format;
    int bits;
    bool symmetric;
    int count;
    float x[MOST];
};

/* A number and nothing else, or one that a comma ends. */
static bool read_number(const char *text, char end, float *x, const char **rest) {
    char *stop;
    *x = strtof(text, &stop);
    *rest = stop + 1;
    return stop != text && *stop == end && is_finite((double)*x);
}

static bool read_range(const char *text, float *lo, float *hi) {
    return read_number(text, ',', lo, &text) && read_number(text, 0, hi, &text) && *lo <= *hi;
}

/* eq. 1 to 4, a number a row. */
static void show_integers(const struct demo *d, float lo, float hi, struct table *t) {
    int top = (1 << (d->bits - 1)) - 1;
    struct qparams p = d->symmetric ? qparams_symmetric(fmaxf(fabsf(lo), fabsf(hi)), top)
                                    : qparams_asymmetric(lo, hi, 0, 2 * top + 1);
    table_init(t, d->symmetric ? "Symmetric quantization" : "Asymmetric quantization",
               "x x_over_scale:x_/_scale code read_back error bound remark");
    double step = (double)p.scale;
    for (int i = 0; i < d->count; i++) {
        double x = (double)d->x[i], back = (double)fake_quantize(d->x[i], p);
        double low = step * (p.qmin - p.zero_point), high = step * (p.qmax - p.zero_point);
        bool outside = x < low - step / 2 || x > high + step / 2;
        table_row(t, "%.7g | %.4f | %d | %.7g | %+.3g | %.3g | %s", x, x / step, quantize(d->x[i], p), back, back - x,
                  outside ? NAN : step / 2, outside ? "clipped: outside the range" : "");
    }
    if (d->symmetric)
        table_note(t, "eq. 4: scale = absmax / %d = %.7g / %d = %.9g; zero_point 0; codes %d to %d.", top,
                   (double)fmaxf(fabsf(lo), fabsf(hi)), top, step, p.qmin, p.qmax);
    else
        table_note(
            t,
            "eq. 3: range [%.7g, %.7g], widened to hold 0; scale = (hi - lo) / %d = %.9g; zero_point = round(-lo "
            "/ scale) = %d; codes %d to %d.",
            (double)lo, (double)hi, p.qmax - p.qmin, step, p.zero_point, p.qmin, p.qmax);
    table_note(t,
               "eq. 2: code = clamp(round(x / scale) + zero_point); eq. 1: read back = scale * (code - zero_point). "
               "Within the range the error is at most half a step: the bound.");
}

/* The bits of a float as its format has them: "0 01111100 0000101". */
static void print_bits(uint32_t bits, int exponent, int mantissa, char text[48]) {
    for (int i = exponent + mantissa; i >= 0; i--) {
        *text++ = (char)('0' + (bits >> i & 1));
        if (i == exponent + mantissa || i == mantissa) *text++ = ' ';
    }
    *text = 0;
}

static void describe_value(const struct format *f, const uint8_t *block, const uint8_t *value, int i, char text[48]) {
    static const struct {
        const char *dtype;
        int exponent, mantissa;
    } floats[] = {{"F32", 8, 23}, {"BF16", 8, 7}, {"F16", 5, 10}, {"F8_E4M3", 4, 3}, {"F8_E5M2", 5, 2}};
    *text = 0;
    for (size_t k = 0; k < sizeof floats / sizeof *floats; k++)
        if (strcmp(f->dtype, floats[k].dtype) == 0)
            print_bits(f->bits == 32      ? *(const uint32_t *)(const void *)value
                           : f->bits == 8 ? *value
                                          : *(const uint16_t *)(const void *)value,
                       floats[k].exponent, floats[k].mantissa, text);
    uint8_t codes[MOST + 256];
    if (!format_is_integer(f) && !is_ternary(f->bits)) return;
    unpack_bits(block + f->header, (size_t)i + 1, f->bits, codes);
    snprintf(text, 48, "%d", f->grid == ASYMMETRIC_GRID ? codes[i] : signed_code(codes[i], f->bits));
}

/* The numbers as a row of weights in a format of the ladder. */
static bool show_format(const struct demo *d, struct codec codec, struct table *t, struct error *err) {
    const struct format *f = codec.format;
    size_t bytes = codec_bytes(codec, 1, d->count);
    uint8_t *row = aligned_array(bytes, 1, err);
    float back[MOST];
    char title[96], text[64];
    if (!row) return false;
    codec_encode(codec, d->x, NULL, 1, d->count, row);
    codec_decode(codec, row, 1, d->count, back);
    snprintf(title, sizeof title, "As weights in %s", d->format);
    bool is_float = strcmp(f->dtype, "U8") != 0;
    table_init(t, title,
               is_float                                          ? "x bits:sign_exponent_mantissa read_back error"
                   : format_is_integer(f) || is_ternary(f->bits) ? "x code read_back error"
                                                                 : "x code- read_back error");
    size_t scales = codec_scales(codec, 1, d->count) * sizeof(float);
    const uint8_t *blocks = row + scales;
    for (int i = 0; i < d->count; i++) {
        int block = codec.block > 0 ? codec.block : d->count;
        size_t at = (size_t)(i / block) * format_bytes(f, block);
        describe_value(f, blocks + at, blocks + (size_t)i * (bytes - scales) / (size_t)d->count, i % block, text);
        table_row(t, "%.7g | %s | %.7g | %+.3g", (double)d->x[i], text, (double)back[i],
                  (double)back[i] - (double)d->x[i]);
    }
    for (int i = 0; i < d->count; i++)
        if (!is_finite((double)back[i]))
            table_note(t, "%.7g is beyond the largest number of %s.", (double)d->x[i], d->format);
    char hex[3 * 64 + 8] = "";
    for (size_t i = 0; i < bytes && i < 64; i++) snprintf(hex + 3 * i, 4, " %02x", row[i]);
    table_note(t, "%zu bytes for %d weight%s, %.2f bits each:%s%s", bytes, d->count, d->count == 1 ? "" : "s",
               8.0 * (double)bytes / d->count, hex, bytes > 64 ? " ..." : "");
    free(row);
    return true;
}

int command_demo(int argc, char **argv) {
    struct options o = {.command = argv[0],
                        .arguments = "NUMBER...",
                        .numbers = true,
                        .what = "Quantizes the numbers that one types, and shows every step.",
                        .examples = "mnistq demo --range -0.5,0.5 --bits 8 0.13 -0.42 0.7\n"
                                    "mnistq demo --symmetric --bits 4 0.13 -0.42 0.7\n"
                                    "mnistq demo --format bf16 0.13 -0.42 0.7"};
    struct demo d = {.bits = 8};
    bool json = false;
    option_text(&o, "range", "LO,HI", &d.range, "what the observer saw; without it the range of the numbers");
    option_int(&o, "bits", &d.bits, 2, 16, "of a code");
    option_flag(&o, "symmetric", &d.symmetric,
                "zero point 0 (eq. 4), as weights; else asymmetric (eq. 3), as activations");
    option_text(&o, "format", "NAME", &d.format, "a format of the ladder instead: f16, int4/row, nf4, q4_0, ...");
    option_flag(&o, "json", &json, "print the table as JSON");
    int status = options_parse(&o, argc, argv, 1, MOST);
    if (status != OPTIONS_GO_ON) return status;
    float lo, hi;
    const char *rest;
    for (d.count = 0; d.count < o.file_count; d.count++)
        if (!read_number(o.files[d.count], 0, &d.x[d.count], &rest))
            return usage_error(&o, "\"%s\": expected a number", o.files[d.count]);
    range_with_zero(d.x, (size_t)d.count, &lo, &hi);
    if (d.range && !read_range(d.range, &lo, &hi))
        return usage_error(&o, "--range: expected two rising numbers as -0.5,0.5, found \"%s\"", d.range);
    if (!d.range && !d.symmetric) lo = fminf(lo, 0), hi = fmaxf(hi, 0);
    struct codec codec;
    if (d.format && !codec_parse(d.format, &codec)) {
        const char *meant = NULL;
        for (const struct format *f = formats; f->name; f++) meant = likelier(d.format, f->name, meant);
        return no_such(&o, "--format", "format", d.format, meant, "quantize --format list names them");
    }
    struct error err;
    struct table t = {0};
    bool ok = true;
    if (d.format) ok = show_format(&d, codec, &t, &err);
    else show_integers(&d, lo, hi, &t);
    return report_table(&t, NULL, json, ok, &err);
}
