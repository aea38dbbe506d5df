/* weights.png: what quantization does to the first layer, where every weight has its place in the image. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/canvas.h"
#include "cli/inspect_views.h"
#include "data/picture.h"

enum { NEURONS = 8, COLUMNS = 7, LABEL = 72, ZERO = 128 };

/* The columns: fp32, then three versions of the weights, each followed by its residual. */
struct version {
    char name[32];
    float *weights; /* [out][in] */
    double gain;    /* the residual is shown this many times as large */
};

struct weights_page {
    struct version versions[4]; /* 0: fp32 */
    int neurons[NEURONS], count;
    int out, in, rows, cols, zoom;
};

static void page_free(struct weights_page *p) {
    for (int i = 0; i < 4; i++) free(p->versions[i].weights);
}

static bool round_to_format(const float *from, int out, int in, const char *format, float *to, struct error *err) {
    struct codec codec = {format_find(format), CODEC_ROW};
    uint8_t *bytes = aligned_array(codec_bytes(codec, out, in), 1, err);
    if (!bytes) return false;
    codec_encode(codec, from, out, in, bytes);
    codec_decode(codec, bytes, out, in, to);
    free(bytes);
    return true;
}

static double row_absmax(const struct weights_page *p, int neuron) {
    return (double)absolute_maximum(p->versions[0].weights + (size_t)neuron * (size_t)p->in, (size_t)p->in);
}

/* As large as the residuals of all shown rows allow when each row's absmax is full black or white. */
static double find_gain(const struct weights_page *p, const float *weights) {
    double gain = INFINITY;
    for (int i = 0; i < p->count; i++) {
        double worst = 0;
        for (int k = 0; k < p->in; k++) {
            size_t at = (size_t)p->neurons[i] * (size_t)p->in + (size_t)k;
            worst = fmax(worst, fabs((double)weights[at] - (double)p->versions[0].weights[at]));
        }
        if (worst > 0) gain = fmin(gain, row_absmax(p, p->neurons[i]) / worst);
    }
    return isfinite(gain) ? gain : 1;
}

static bool page_create(const struct model *fp32, const struct model *model, int rows, int cols, struct weights_page *p,
                        struct error *err) {
    static const char *const rounded[] = {"", "int8", "int4", "int2"};
    *p = (struct weights_page){.in = fp32->shape.widths[0], .out = fp32->shape.widths[1], .rows = rows, .cols = cols};
    p->zoom = cols <= 32 && rows <= 32 ? 3 : cols <= 64 && rows <= 64 ? 2 : 1;
    p->count = p->out < NEURONS ? p->out : NEURONS;
    for (int i = 0; i < p->count; i++) p->neurons[i] = i * p->out / p->count; /* evenly over the layer */
    for (int i = 0; i < 4; i++) {
        struct version *v = &p->versions[i];
        if (!(v->weights = aligned_array((size_t)p->in * (size_t)p->out, sizeof(float), err))) return false;
        if (i == 0) model_weights(fp32, 0, v->weights);
        else if (i == 1 && model->kind != MODEL_FP32) model_weights(model, 0, v->weights);
        else if (!round_to_format(p->versions[0].weights, p->out, p->in, rounded[i], v->weights, err)) return false;
        if (i == 1 && model->kind != MODEL_FP32)
            snprintf(v->name, sizeof v->name, "file: %.2f bits", model->bits_per_weight);
        else snprintf(v->name, sizeof v->name, "%s", i ? rounded[i] : "fp32");
        v->gain = i ? find_gain(p, v->weights) : 1;
    }
    return true;
}

/* Row neuron of a version, or its residual, as gray: 0 is mid gray, the row's absmax black or white. */
static void paint(const struct weights_page *p, int version, bool residual, int neuron, uint8_t *gray) {
    const struct version *v = &p->versions[version];
    double absmax = row_absmax(p, neuron);
    for (int k = 0; k < p->in; k++) {
        size_t at = (size_t)neuron * (size_t)p->in + (size_t)k;
        double w = (double)v->weights[at];
        if (residual) w = (w - (double)p->versions[0].weights[at]) * v->gain;
        double level = absmax > 0 ? ZERO + 127 * w / absmax : ZERO;
        gray[k] = (uint8_t)rint(fmax(0, fmin(255, level)));
    }
}

static void draw_page(const struct weights_page *p, struct canvas *c, uint8_t *gray) {
    char text[96];
    int step = p->cols * p->zoom + CANVAS_MARGIN, head = CANVAS_MARGIN + 2 * CANVAS_LINE;
    canvas_text(c, CANVAS_MARGIN, CANVAS_MARGIN,
                "fc1: 0 is gray, a row's largest weight white or black. Residual: less "
                "fp32, enlarged; shapes in it are what got lost");
    for (int column = 0; column < COLUMNS; column++) {
        const struct version *v = &p->versions[(column + 1) / 2];
        bool residual = column > 0 && column % 2 == 0;
        if (residual) snprintf(text, sizeof text, "residual x%.*f", v->gain < 10, v->gain);
        else snprintf(text, sizeof text, "%s", v->name);
        canvas_text(c, LABEL + column * step, CANVAS_MARGIN + CANVAS_LINE + 4, text);
        for (int i = 0; i < p->count; i++) {
            paint(p, (column + 1) / 2, residual, p->neurons[i], gray);
            canvas_image(c, gray, p->rows, p->cols, p->zoom, LABEL + column * step,
                         head + CANVAS_LINE + i * (p->rows * p->zoom + CANVAS_MARGIN));
        }
    }
    for (int i = 0; i < p->count; i++) {
        int y = head + CANVAS_LINE + i * (p->rows * p->zoom + CANVAS_MARGIN);
        snprintf(text, sizeof text, "neuron %d", p->neurons[i]);
        canvas_text(c, CANVAS_MARGIN, y, text);
        snprintf(text, sizeof text, "max %.3f", row_absmax(p, p->neurons[i]));
        canvas_text(c, CANVAS_MARGIN, y + CANVAS_LINE, text);
    }
}

bool write_weights_picture(const struct model *fp32, const struct model *model, int rows, int cols, const char *path,
                           struct error *err) {
    struct weights_page p;
    struct canvas c = {0};
    uint8_t *gray = NULL;
    bool ok = page_create(fp32, model, rows, cols, &p, err);
    int text_width = LABEL + 640, width = LABEL + COLUMNS * (cols * p.zoom + CANVAS_MARGIN);
    ok = ok && (gray = aligned_array((size_t)p.in, 1, err)) &&
        canvas_create(width > text_width ? width : text_width,
                      CANVAS_MARGIN + 3 * CANVAS_LINE + p.count * (rows * p.zoom + CANVAS_MARGIN), &c, err);
    if (ok) draw_page(&p, &c, gray);
    ok = ok && picture_write_png(path, c.gray, c.width, c.height, err);
    canvas_free(&c);
    free(gray);
    page_free(&p);
    return ok;
}
