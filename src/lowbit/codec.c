#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lowbit/formats.h"

void codec_print(struct codec c, char *text, size_t size) {
    if (c.format->block) snprintf(text, size, "%s", c.format->name);
    else if (c.block > 0) snprintf(text, size, "%s/%d", c.format->name, c.block);
    else snprintf(text, size, "%s/%s", c.format->name, c.block == CODEC_ROW ? "row" : "tensor");
}

enum { MAX_GROUP = 16384 }; /* the widest layer */

bool codec_parse(const char *text, struct codec *c) {
    char name[32];
    size_t length = strcspn(text, "/");
    if (length >= sizeof name) return false;
    memcpy(name, text, length);
    name[length] = 0;
    *c = (struct codec){format_find(name), CODEC_ROW};
    if (!c->format) return false;
    const char *block = text + length;
    if (c->format->block) return *block == 0;
    if (strcmp(block, "/row") == 0) return true;
    if (strcmp(block, "/tensor") == 0) {
        c->block = CODEC_TENSOR;
        return true;
    }
    char *end;
    long n = *block && block[1] >= '1' && block[1] <= '9' ? strtol(block + 1, &end, 10) : 0;
    if (n < 1 || n > MAX_GROUP || *end) return false;
    c->block = (int)n;
    return true;
}

/* A matrix as lines of weights that blocks do not cross: its rows, or one line for all. */
struct lines {
    int count, length, block;
    bool padded;
};

static struct lines lines_of(struct codec c, int out, int in) {
    const struct format *f = c.format;
    bool flat = f->layout == LAYOUT_FLAT || (f->block == 0 && c.block == CODEC_TENSOR);
    int block = f->block ? f->block : c.block > 0 ? c.block : flat ? out * in : in;
    if (f->block == 1) block = out * in; /* plain floats: one run is as good as blocks of one */
    return (struct lines){flat ? 1 : out, flat ? out * in : in, block, f->layout == LAYOUT_ROWS};
}

static size_t line_bytes(struct codec c, struct lines l) {
    size_t blocks = (size_t)(l.length / l.block), rest = (size_t)(l.length % l.block);
    size_t bytes = blocks * format_bytes(c.format, l.block);
    return rest ? bytes + format_bytes(c.format, l.padded ? l.block : (int)rest) : bytes;
}

/* Scales of the codec: one for each block, or one for the matrix where blocks have some of their own. */
static bool is_scaled(const struct format *f) { return f->grid == SCALED_GRID; }

static bool scale_for_each(struct codec c) { return is_scaled(c.format) && !c.format->block; }

size_t codec_scales(struct codec c, int out, int in) {
    struct lines l = lines_of(c, out, in);
    if (!scale_for_each(c)) return is_scaled(c.format);
    return (size_t)l.count * (size_t)((l.length + l.block - 1) / l.block);
}

size_t codec_bytes(struct codec c, int out, int in) {
    struct lines l = lines_of(c, out, in);
    return codec_scales(c, out, in) * sizeof(float) + (size_t)l.count * line_bytes(c, l);
}

/* The end of a format's range, which is what it holds in place of infinity. */
static float widest_number(const struct format *f) {
    const float infinite = INFINITY;
    float widest;
    uint8_t bytes[8];
    f->encode(f, &infinite, NULL, 1, bytes);
    f->decode(f, bytes, 1, &widest);
    return widest;
}

/* Written, and returned. 1 for weights that are all 0. */
static float choose_scale(const struct format *f, const float *w, size_t n, uint8_t *bytes) {
    float scale = absolute_maximum(w, n) / widest_number(f);
    if (!(scale > 0)) scale = 1;
    memcpy(bytes, &scale, sizeof scale);
    return scale;
}

/* A block of `full` weights of which n are there, filled up with zeros and divided by scale. */
static void encode_block(const struct format *f, const float *w, const float *importance, int n, int full, float scale,
                         uint8_t *bytes) {
    if (!is_scaled(f) && n == full) {
        f->encode(f, w, importance, n, bytes);
        return;
    }
    for (int first = 0; first < n; first += CODEC_PIECE) {
        float part[CODEC_PIECE] = {0}, part_importance[CODEC_PIECE] = {0};
        int m = n - first < CODEC_PIECE ? n - first : CODEC_PIECE, length = n < full ? full : m;
        for (int i = 0; i < m; i++) part[i] = w[first + i] / scale;
        if (importance) memcpy(part_importance, importance + first, (size_t)m * sizeof *importance);
        f->encode(f, part, importance ? part_importance : NULL, length, bytes);
        bytes += format_bytes(f, length);
    }
}

void codec_encode(struct codec c, const float *w, const float *importance, int out, int in, uint8_t *bytes) {
    const struct format *f = c.format;
    struct lines l = lines_of(c, out, in);
    uint8_t *scales = bytes;
    bool each = scale_for_each(c);
    float scale = is_scaled(f) && !each ? choose_scale(f, w, (size_t)out * (size_t)in, scales) : 1;
    bytes += codec_scales(c, out, in) * sizeof scale;
    for (int line = 0; line < l.count; line++, w += l.length)
        for (int first = 0; first < l.length; first += l.block) {
            int n = l.length - first < l.block ? l.length - first : l.block, full = l.padded ? l.block : n;
            if (each) scale = choose_scale(f, w + first, (size_t)n, scales), scales += sizeof scale;
            encode_block(f, w + first, importance ? importance + first : NULL, n, full, scale, bytes);
            bytes += format_bytes(f, full);
        }
}

void codec_decode(struct codec c, const uint8_t *bytes, int out, int in, float *w) {
    const struct format *f = c.format;
    struct lines l = lines_of(c, out, in);
    const uint8_t *scales = bytes;
    size_t step = scale_for_each(c) ? sizeof(float) : 0;
    bytes += codec_scales(c, out, in) * sizeof(float);
    for (int line = 0; line < l.count; line++, w += l.length)
        for (int first = 0; first < l.length; first += l.block) {
            int n = l.length - first < l.block ? l.length - first : l.block;
            float padded[CODEC_PIECE], scale;
            bool pad = l.padded && n < l.block;
            f->decode(f, bytes, pad ? l.block : n, pad ? padded : w + first);
            if (pad) memcpy(w + first, padded, (size_t)n * sizeof *w);
            bytes += format_bytes(f, pad ? l.block : n);
            if (!is_scaled(f)) continue;
            memcpy(&scale, scales, sizeof scale);
            for (int i = 0; i < n; i++) w[first + i] *= scale;
            scales += step;
        }
}
