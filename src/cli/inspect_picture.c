/* weights.png: what quantization does to the first layer, where every weight has its place in the image. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/canvas.h"
#include "cli/inspect_views.h"

enum { NEURONS = 8, COLUMNS = 7, LABEL = 72, TEXT = 640, ZERO = 128, TOP = CANVAS_MARGIN + 3 * CANVAS_LINE };

struct weights_page {
    struct canvas canvas;
    int out, in, rows, cols, zoom;
    int count;              /* rows of pictures: neurons, evenly over the layer */
    float *fp32, *version;  /* [out][in] */
    double *shown;          /* [count][in]: the column being drawn */
    double absmax[NEURONS]; /* of fp32's rows */
};

static int neuron_at(const struct weights_page *p, int i) { return i * p->out / p->count; }
static int top_of(const struct weights_page *p, int i) { return TOP + i * (p->rows * p->zoom + CANVAS_MARGIN); }

/* What is shown, times gain, as gray: 0 is mid gray, the row's absmax in fp32 black or white. */
static void draw_column(struct weights_page *p, int column, const char *name, double gain) {
    uint8_t gray[4096]; /* [rows][cols] */
    int x = LABEL + column * (p->cols * p->zoom + CANVAS_MARGIN);
    canvas_text(&p->canvas, x, CANVAS_MARGIN + CANVAS_LINE + 4, name);
    for (int i = 0; i < p->count; i++) {
        for (int k = 0; k < p->in; k++) {
            double w = p->shown[i * p->in + k] * gain;
            double level = p->absmax[i] > 0 ? ZERO + 127 * w / p->absmax[i] : ZERO;
            gray[k] = (uint8_t)rint(fmax(0, fmin(255, level)));
        }
        canvas_image(&p->canvas, gray, p->rows, p->cols, p->zoom, x, top_of(p, i));
    }
}

/* Takes the shown rows of weights, less those of other (NULL: nothing), into p->shown. Returns how much they can be
 * enlarged before one of them passes its row's absmax; 1 when all are 0. */
static double take_rows(struct weights_page *p, const float *weights, const float *other) {
    double gain = INFINITY;
    for (int i = 0; i < p->count; i++) {
        double worst = 0;
        for (int k = 0; k < p->in; k++) {
            size_t at = (size_t)neuron_at(p, i) * (size_t)p->in + (size_t)k;
            double w = (double)weights[at] - (other ? (double)other[at] : 0);
            p->shown[i * p->in + k] = w;
            worst = fmax(worst, fabs(w));
        }
        if (worst > 0) gain = fmin(gain, p->absmax[i] / worst);
    }
    return isfinite(gain) ? gain : 1;
}

static void draw_labels(struct weights_page *p) {
    char text[64];
    canvas_text(
        &p->canvas, CANVAS_MARGIN, CANVAS_MARGIN,
        "fc1: 0 is gray, a row's largest weight white or black. Residual: less fp32, enlarged; shapes in it are "
        "what got lost");
    for (int i = 0; i < p->count; i++) {
        const float *row = p->fp32 + (size_t)neuron_at(p, i) * (size_t)p->in;
        p->absmax[i] = (double)absolute_maximum(row, (size_t)p->in);
        snprintf(text, sizeof text, "neuron %d", neuron_at(p, i));
        canvas_text(&p->canvas, CANVAS_MARGIN, top_of(p, i), text);
        snprintf(text, sizeof text, "max %.3f", p->absmax[i]);
        canvas_text(&p->canvas, CANVAS_MARGIN, top_of(p, i) + CANVAS_LINE, text);
    }
}

/* fp32, then three versions of the weights, each followed by its residual. */
static bool draw_page(struct weights_page *p, const struct model *fp32, const struct model *model, struct error *err) {
    static const char *const formats[] = {"fp32", "int8", "int4", "int2"};
    model_weights(fp32, 0, p->fp32);
    draw_labels(p);
    take_rows(p, p->fp32, NULL);
    draw_column(p, 0, formats[0], 1);
    for (int i = 1; i < 4; i++) {
        char text[64];
        struct codec codec = {format_find(formats[i]), CODEC_ROW};
        snprintf(text, sizeof text, "%s", formats[i]);
        if (i == 1 && model->kind != MODEL_FP32) {
            model_weights(model, 0, p->version);
            snprintf(text, sizeof text, "file: %.2f bits", model->bits_per_weight);
        } else {
            uint8_t *bytes = aligned_array(codec_bytes(codec, p->out, p->in), 1, err);
            if (!bytes) return false;
            codec_encode(codec, p->fp32, p->out, p->in, bytes);
            codec_decode(codec, bytes, p->out, p->in, p->version);
            free(bytes);
        }
        take_rows(p, p->version, NULL);
        draw_column(p, 2 * i - 1, text, 1);
        double gain = take_rows(p, p->version, p->fp32);
        snprintf(text, sizeof text, "residual x%.*f", gain < 10, gain);
        draw_column(p, 2 * i, text, gain);
    }
    return true;
}

bool write_weights_picture(const struct model *fp32, const struct model *model, int rows, int cols, const char *path,
                           struct error *err) {
    struct weights_page p = {.in = fp32->shape.widths[0], .out = fp32->shape.widths[1], .rows = rows, .cols = cols};
    size_t weights = (size_t)p.in * (size_t)p.out;
    p.zoom = cols <= 32 && rows <= 32 ? 3 : cols <= 64 && rows <= 64 ? 2 : 1;
    p.count = p.out < NEURONS ? p.out : NEURONS;
    int width = COLUMNS * (cols * p.zoom + CANVAS_MARGIN);
    bool ok = (p.fp32 = aligned_array(weights, sizeof(float), err)) &&
        (p.version = aligned_array(weights, sizeof(float), err)) &&
        (p.shown = aligned_array((size_t)(p.count * p.in), sizeof(double), err)) &&
        canvas_create(LABEL + (width > TEXT ? width : TEXT), top_of(&p, p.count), &p.canvas, err) &&
        draw_page(&p, fp32, model, err);
    ok = canvas_write(&p.canvas, ok ? path : NULL, err) && ok;
    free(p.fp32);
    free(p.version);
    free(p.shown);
    return ok;
}
