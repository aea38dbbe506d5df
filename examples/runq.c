/* Int8 inference in one file: an MLP of `mnistq quantize`, equations 5 to 7 of the lesson on images in IDX files, and
 * how many of them it gets right. C11 on a little-endian machine and the C library, nothing else:
 *
 *     cc -O2 examples/runq.c -lm -o build/runq
 *     for f in t10k-images-idx3 t10k-labels-idx1; do gunzip -c data/mnist/$f-ubyte.gz >build/$f; done
 *     build/runq results/mnist/models/int8-per-channel.safetensors build/t10k-images-idx3 build/t10k-labels-idx1
 *
 * --classes behind them prints each image's class first. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LAYERS = 16, MAX_WIDTH = 16384, MAX_FILE = 1 << 28 };

struct layer {
    size_t in, out, scales; /* scales: out, or 1 for the whole matrix */
    int8_t *weight;         /* [out][in] w_q */
    float *scale;           /* [scales] s_w */
    int32_t *bias;          /* [out] b_q */
    float *x_scale;         /* [1] s_x; behind the last layer: s_y of the logits */
    uint8_t *x_zero;        /* [1] z_x */
};

static void stop(const char *which, const char *what) {
    fprintf(stderr, "runq: %s: %s\n", which, what);
    exit(1);
}

static uint8_t *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = calloc(MAX_FILE, 1);
    if (!file || !bytes) stop(path, "cannot be opened");
    *size = fread(bytes, 1, MAX_FILE, file);
    if (ferror(file) || *size == MAX_FILE) stop(path, "cannot be read, or has 256 MiB or more");
    fclose(file);
    return bytes;
}

/* ---- the model: | N: 8 bytes | N bytes of JSON | tensors |, with JSON like
 *      {"fc1.weight":{"dtype":"I8","shape":[256,784],"data_offsets":[2048,202752]},...} ---- */

static char *json;
static uint8_t *tensors;
static size_t tensor_bytes;

static void read_model(const char *path) {
    size_t size, length = 0;
    uint8_t *bytes = read_file(path, &size);
    for (int i = 7; i >= 0; i--) length = length << 8 | bytes[i];
    if (size < 8 || length > size - 8) stop(path, "is not a safetensors file, or cut short");
    tensors = bytes + 8 + length;
    tensor_bytes = size - 8 - length;
    json = memmove(bytes, bytes + 8, length); /* makes room for the 0 that ends a string */
    json[length] = 0;
}

/* The tensor called format with this number, like "fc%d.bias". It must have *count elements; 0 becomes how many. */
static void *tensor(const char *format, int number, const char *type, size_t *count) {
    char name[32], key[80];
    snprintf(name, sizeof name, format, number);
    snprintf(key, sizeof key, "\"%s\":{\"dtype\":\"%s\",\"shape\":[", name, type);
    const char *at = strstr(json, key); /* quotes inside of texts are escaped: this is a key */
    if (!at) stop(name, "is missing, or has another type than in an int8 model");
    size_t rows, cols = 1, begin, end, width = strchr(type, '8') ? 1 : 4;
    if (sscanf(at += strlen(key), "%9zu,%9zu],\"data_offsets\":[%18zu,%18zu]", &rows, &cols, &begin, &end) != 4 &&
        sscanf(at, "%9zu],\"data_offsets\":[%18zu,%18zu]", &rows, &begin, &end) != 3)
        stop(name, "has no shape and data_offsets");
    if (rows * cols < 1 || (*count && *count != rows * cols)) stop(name, "has another shape than its layer needs");
    if (begin > end || end > tensor_bytes || end - begin != rows * cols * width || (uintptr_t)(tensors + begin) % width)
        stop(name, "has other bytes than its shape needs, or is not aligned");
    *count = rows * cols;
    const float *scale = (void *)(tensors + begin); /* all floats of an int8 model are scales */
    for (size_t i = 0; strcmp(type, "F32") == 0 && i < *count; i++)
        if (!(scale[i] > 0) || !isfinite(scale[i])) stop(name, "is not a finite number > 0");
    return tensors + begin;
}

/* Fills layer[0..n]; of the n-th there is only what the output is scaled by. Returns n. */
static int read_layers(struct layer layer[MAX_LAYERS + 1]) {
    for (int l = 0;; l++) {
        struct layer *y = &layer[l];
        char any[32];
        snprintf(any, sizeof any, "\"fc%d.", l + 1);
        int is_last = l == MAX_LAYERS || (l > 0 && !strstr(json, any));
        size_t one = 1, weights;
        y->x_scale = tensor(is_last ? "output_scale" : "fc%d.input_scale", l + 1, "F32", &one);
        y->x_zero = tensor(is_last ? "output_zero_point" : "fc%d.input_zero_point", l + 1, "U8", &one);
        if (is_last) return l;
        y->bias = tensor("fc%d.bias", l + 1, "I32", &y->out);
        y->scale = tensor("fc%d.weight_scale", l + 1, "F32", &y->scales);
        weights = l ? y->out * layer[l - 1].out : 0; /* the first layer takes as many pixels as it has weights for */
        y->weight = tensor("fc%d.weight", l + 1, "I8", &weights);
        y->in = weights / y->out;
        if (y->in > MAX_WIDTH || y->out > MAX_WIDTH || (y->scales != 1 && y->scales != y->out))
            stop("a layer", "is too wide, or has neither one scale nor one for each output");
    }
}

/* ---- the lesson ---- */

/* Eq. 6: y_q = clamp(z_y + round(acc * M)) in integers: M = m * 2^-right, one rounding, ties up. */
static uint8_t requantize(int64_t acc, double M, int y_zero, int lowest) {
    int exponent;
    int64_t m = llrint(frexp(M, &exponent) * 0x1p31), right = 31 - exponent, q = y_zero; /* m in [2^30, 2^31] */
    if (right < 1) stop("a layer", "has a multiplier beyond 2^30");
    if (right < 63) q += (acc * m + ((int64_t)1 << (right - 1))) >> right; /* else |acc * M| < 1/2 */
    return (uint8_t)(q < lowest ? lowest : q > 255 ? 255 : q);
}

/* Eq. 5: acc = sum_k (x_q[k] - z_x) * w_q[k] + b_q for each output. next: the layer whose input y becomes. */
static void linear(const struct layer *l, const struct layer *next, int lowest, const uint8_t *x, uint8_t *y) {
    for (size_t c = 0; c < l->out; c++) {
        int64_t acc = l->bias[c];
        for (size_t k = 0; k < l->in; k++) acc += (x[k] - *l->x_zero) * l->weight[c * l->in + k];
        double M = (double)*l->x_scale * (double)l->scale[l->scales > 1 ? c : 0] / (double)*next->x_scale;
        y[c] = requantize(acc, M, *next->x_zero, lowest);
    }
}

/* Pixels to a class. lowest: the lowest code, 1 for symmetric activations. ReLU is no step of its own: no code of a
 * hidden layer is below z_y, the code of real 0. */
static int classify(const struct layer *layer, int layers, int lowest, const uint8_t *image) {
    static uint8_t x[MAX_WIDTH], y[MAX_WIDTH];
    for (size_t k = 0; k < layer[0].in; k++) { /* eq. 2 of x = byte / 255, ties to even */
        float q = rintf((float)image[k] / 255.0f / *layer[0].x_scale) + *layer[0].x_zero;
        x[k] = (uint8_t)(q < (float)lowest ? lowest : q > 255 ? 255 : q);
    }
    for (int l = 0; l < layers; l++) {
        linear(&layer[l], &layer[l + 1], l + 1 < layers ? *layer[l + 1].x_zero : lowest, x, y);
        memcpy(x, y, layer[l].out);
    }
    int best = 0; /* eq. 7: the lowest class on a tie */
    for (int c = 1; c < (int)layer[layers - 1].out; c++) best = y[c] > y[best] ? c : best;
    return best;
}

/* Images or labels of each bytes: | 0 0 8 dimensions | big-endian sizes, of which the first is count | bytes | */
static const uint8_t *read_idx(const char *path, uint8_t dimensions, size_t each, size_t *count) {
    size_t size, head = 4 + 4 * (size_t)dimensions;
    const uint8_t *bytes = read_file(path, &size);
    *count = (size_t)bytes[4] << 24 | (size_t)bytes[5] << 16 | (size_t)bytes[6] << 8 | bytes[7];
    if (memcmp(bytes, (uint8_t[]){0, 0, 8, dimensions}, 4) != 0) stop(path, "is not such a file");
    if (size <= head || *count != (size - head) / each || (size - head) % each)
        stop(path, "is empty, cut or too long, or has images of another size than the model's");
    return bytes + head;
}

int main(int argc, char **argv) {
    if (argc < 4) return fprintf(stderr, "usage: runq MODEL IMAGES LABELS [--classes]\n"), 2;
    struct layer layer[MAX_LAYERS + 1] = {{0}};
    read_model(argv[1]);
    int layers = read_layers(layer), lowest = strstr(json, "\"activations\":\"symmetric\"") != NULL;
    size_t count, labels, right = 0;
    const uint8_t *image = read_idx(argv[2], 3, layer[0].in, &count), *label = read_idx(argv[3], 1, 1, &labels);
    if (labels != count) stop(argv[3], "has not one label for each image");
    for (size_t i = 0; i < count; i++) {
        int class = classify(layer, layers, lowest, image + i * layer[0].in);
        right += class == label[i];
        if (argc > 4) printf("%d\n", class);
    }
    printf("%zu of %zu right, %.2f%%\n", right, count, 100.0 * (double)right / (double)count);
    return fflush(stdout) != 0;
}
