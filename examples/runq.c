/* Int8 inference in one file: an MLP of `mnistq quantize`, equations 5 to 7 of the lesson on images in IDX files, and
 * how many of them it gets right. C11 on a little-endian machine and the C library, nothing else:
 *
 *     cc -O2 runq.c -lm -o runq
 *     ./runq int8.safetensors t10k-images-idx3-ubyte t10k-labels-idx1-ubyte [PREDICTIONS.csv]
 *
 * Compressed files go through a pipe: runq MODEL <(zcat images.gz) <(zcat labels.gz) */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LAYERS = 16, MAX_WIDTH = 16384 };

struct layer {
    int in, out, scales; /* scales: out, or 1 for the whole matrix */
    int8_t *weight;      /* [out][in] w_q */
    float *scale;        /* [scales] s_w */
    int32_t *bias;       /* [out] b_q */
    float *x_scale;      /* [1] s_x; behind the last layer: s_y of the logits */
    uint8_t *x_zero;     /* [1] z_x */
};

static void stop(const char *which, const char *what) {
    fprintf(stderr, "runq: %s: %s\n", which, what);
    exit(1);
}

/* A whole file, or what comes out of a pipe, with a 0 behind it. */
static uint8_t *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = NULL;
    if (!file) stop(path, "cannot be opened");
    for (size_t room = *size = 0; *size == room;) {
        room = room ? 2 * room : 1 << 20;
        if (room > (size_t)1 << 30 || !(bytes = realloc(bytes, room + 1))) stop(path, "is too large");
        *size += fread(bytes + *size, 1, room - *size, file);
    }
    if (ferror(file)) stop(path, "cannot be read");
    fclose(file);
    bytes[*size] = 0;
    return bytes;
}

/* ---- the model: | N: 8 bytes | N bytes of JSON | tensors |, with JSON like
 *      {"fc1.weight":{"dtype":"I8","shape":[256,784],"data_offsets":[2048,202752]},...} ---- */

struct model {
    const char *json;
    const uint8_t *tensors;
    size_t bytes; /* of the tensors */
};

static struct model open_model(const char *path) {
    size_t size, header = 0;
    uint8_t *bytes = read_file(path, &size);
    for (int i = 7; size >= 8 && i >= 0; i--) header = header << 8 | bytes[i];
    char *json = size >= 8 && header <= size - 8 ? calloc(header + 1, 1) : NULL;
    if (!json) stop(path, "is not a safetensors file, or cut short");
    return (struct model){memcpy(json, bytes + 8, header), bytes + 8 + header, size - 8 - header};
}

/* A copy of tensor fcN.part (layer < 0: part) with elements of width bytes. rows and cols are what they have to be, or
 * where they are 0 become what they are; cols is 1 where there is one dimension. NULL: there is no such tensor. */
static void *tensor(struct model m, int layer, const char *part, const char *type, size_t width, int *rows, int *cols) {
    char name[64], key[80], dtype[8];
    size_t begin, end;
    int r, c = 1, used = 0;
    if (layer < 0) snprintf(name, sizeof name, "%s", part);
    else snprintf(name, sizeof name, "fc%d.%s", layer + 1, part);
    snprintf(key, sizeof key, "\"%s\":{", name);
    const char *at = strstr(m.json, key); /* quotes inside of texts are escaped: this is a key */
    if (!at) return NULL;
    at += strlen(key);
    if (sscanf(at, "\"dtype\":\"%7[A-Z0-9]\",\"shape\":[%9d%n", dtype, &r, &used) != 2)
        stop(name, "has no dtype, shape");
    at += used;
    if (sscanf(at, ",%9d%n", &c, &used) == 1) at += used;
    if (sscanf(at, "],\"data_offsets\":[%18zu,%18zu]", &begin, &end) != 2) stop(name, "has no offsets");
    if (strcmp(dtype, type) != 0 || r < 1 || c < 1 || r > MAX_WIDTH || c > MAX_WIDTH || (*rows && *rows != r) ||
        (*cols && *cols != c))
        stop(name, "has another type or shape than in an int8 model");
    size_t bytes = (size_t)(*rows = r) * (size_t)(*cols = c) * width;
    if (begin > end || end > m.bytes || end - begin != bytes) stop(name, "has other bytes than its shape needs");
    void *copy = malloc(bytes);
    if (!copy) stop(name, "is too large");
    return memcpy(copy, m.tensors + begin, bytes);
}

static void check_scales(const float *scale, int count, const char *name) {
    for (int i = 0; i < count; i++)
        if (!(scale[i] > 0) || !isfinite(scale[i])) stop(name, "is not a finite number > 0");
}

/* Fills layer [0..n]; of the n-th there is only what the output is scaled by. Returns n. */
static int read_layers(struct model m, struct layer layer[MAX_LAYERS + 1]) {
    for (int l = 0;; l++) {
        struct layer *y = &layer[l];
        int one = 1, is_last;
        y->in = l ? layer[l - 1].out : 0; /* as many as the layer before gives */
        is_last = l == MAX_LAYERS || !(y->weight = tensor(m, l, "weight", "I8", 1, &y->out, &y->in));
        y->x_scale = tensor(m, is_last ? -1 : l, is_last ? "output_scale" : "input_scale", "F32", 4, &one, &one);
        y->x_zero = tensor(m, is_last ? -1 : l, is_last ? "output_zero_point" : "input_zero_point", "U8", 1, &one,
                           &one);
        if (!y->x_scale || !y->x_zero) stop("input or output", "has no scale or zero point: not an int8 model");
        check_scales(y->x_scale, 1, "a scale of an activation");
        if (is_last) return l;
        y->scale = tensor(m, l, "weight_scale", "F32", 4, &y->scales, &one);
        y->bias = tensor(m, l, "bias", "I32", 4, &y->out, &one);
        if (!y->scale || !y->bias || (y->scales != 1 && y->scales != y->out)) stop("a layer", "lacks scales or biases");
        check_scales(y->scale, y->scales, "a scale of weights");
    }
}

/* ---- the lesson ---- */

/* Eq. 6: y_q = clamp(z_y + round(acc * M)) in integers: M = m * 2^-right, one rounding, ties up. */
static uint8_t requantize(int64_t acc, double M, int y_zero, int lowest) {
    int exponent;
    int64_t m = llrint(frexp(M, &exponent) * 0x1p31), right = 31 - exponent, q = y_zero; /* m in [2^30, 2^31] */
    if (right < 1 || acc > INT32_MAX || acc < INT32_MIN) stop("a layer", "has a bias or multiplier beyond 2^30");
    if (right < 63) q += (acc * m + ((int64_t)1 << (right - 1))) >> right; /* else |acc * M| < 1/2 */
    return (uint8_t)(q < lowest ? lowest : q > 255 ? 255 : q);
}

/* Eq. 5: acc = sum_k (x_q[k] - z_x) * w_q[k] + b_q for each output. next: the layer whose input y becomes. */
static void linear(const struct layer *l, const struct layer *next, int lowest, const uint8_t *x, uint8_t *y) {
    for (int c = 0; c < l->out; c++) {
        int64_t acc = l->bias[c];
        for (int k = 0; k < l->in; k++) acc += (x[k] - *l->x_zero) * l->weight[(size_t)c * (size_t)l->in + (size_t)k];
        double M = (double)*l->x_scale * (double)l->scale[l->scales > 1 ? c : 0] / (double)*next->x_scale;
        y[c] = requantize(acc, M, *next->x_zero, lowest);
    }
}

/* Pixels to a class. lowest: the lowest code, 1 for symmetric activations. ReLU is no step of its own: no code of a
 * hidden layer is below z_y, the code of real 0. */
static int classify(const struct layer *layer, int layers, int lowest, const uint8_t *image) {
    static uint8_t x[MAX_WIDTH], y[MAX_WIDTH];
    for (int k = 0; k < layer[0].in; k++) { /* eq. 2 of x = byte / 255, ties to even */
        float q = rintf((float)image[k] / 255.0f / *layer[0].x_scale) + *layer[0].x_zero;
        x[k] = (uint8_t)(q < (float)lowest ? lowest : q > 255 ? 255 : q);
    }
    for (int l = 0; l < layers; l++) {
        linear(&layer[l], &layer[l + 1], l + 1 < layers ? *layer[l + 1].x_zero : lowest, x, y);
        memcpy(x, y, (size_t)layer[l].out);
    }
    int best = 0; /* eq. 7: the lowest class on a tie */
    for (int c = 1; c < layer[layers - 1].out; c++) best = y[c] > y[best] ? c : best;
    return best;
}

/* ---- images [count][each] or labels: | 0 0 8 dimensions | big-endian sizes | bytes | ---- */

static const uint8_t *read_idx(const char *path, int dimensions, size_t *count, size_t *each) {
    size_t size, head = 4 + 4 * (size_t)dimensions;
    const uint8_t *bytes = read_file(path, &size), *p = bytes + 4;
    if (size < head || memcmp(bytes, (uint8_t[]){0, 0, 8, (uint8_t)dimensions}, 4) != 0)
        stop(path, "is not such a file");
    for (*count = *each = 1; p < bytes + head; p += 4) {
        size_t n = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
        if (p == bytes + 4) *count = n;
        else if (n < 1 || n > MAX_WIDTH || (*each *= n) > MAX_WIDTH) stop(path, "has images that are too large");
    }
    if (*count < 1 || *count != (size - head) / *each || (size - head) % *each) stop(path, "is empty, cut or too long");
    return p;
}

int main(int argc, char **argv) {
    if (argc < 4 || argc > 5) return fprintf(stderr, "usage: runq MODEL IMAGES LABELS [PREDICTIONS.csv]\n"), 2;
    struct layer layer[MAX_LAYERS + 1] = {{0}};
    struct model model = open_model(argv[1]);
    int layers = read_layers(model, layer), lowest = strstr(model.json, "\"activations\":\"symmetric\"") != NULL;
    size_t count, pixels, labels, one, right = 0;
    const uint8_t *image = read_idx(argv[2], 3, &count, &pixels), *label = read_idx(argv[3], 1, &labels, &one);
    if (layers < 1 || (size_t)layer[0].in != pixels) stop(argv[1], "is a model of other images");
    if (labels != count) stop(argv[3], "has not one label for each image");
    FILE *csv = argc == 5 ? fopen(argv[4], "w") : NULL;
    if (argc == 5 && !csv) stop(argv[4], "cannot be written");
    if (csv) fprintf(csv, "index,label,predicted\n");
    for (size_t i = 0; i < count; i++) {
        int predicted = classify(layer, layers, lowest, image + i * pixels);
        right += predicted == label[i];
        if (csv) fprintf(csv, "%zu,%d,%d\n", i, label[i], predicted);
    }
    if (csv && (ferror(csv) || fclose(csv) != 0)) stop(argv[4], "could not be written");
    printf("%zu of %zu right, %.2f%%\n", right, count, 100.0 * (double)right / (double)count);
}
