/* mnistq in another program: classify images with a model that `mnistq train` or `mnistq quantize` wrote.
 *
 *     char why[MNISTQ_ERROR_SIZE];
 *     mnistq_model *model = mnistq_open("int8.safetensors", why, sizeof why);
 *     if (!model) { fprintf(stderr, "%s\n", why); return 1; }
 *     uint8_t digit;
 *     mnistq_classify(model, pixels, 1, &digit);       784 bytes, 0 the background, 255 full ink
 *     mnistq_close(model);
 *
 * Link build/libmnistq.a and -lm; no BLAS, no OpenMP. It exports the names below and nothing else.
 *
 * Pixels are bytes, row by row, as in MNIST's files. All arrays are the caller's; none is kept, but by the model itself
 * what it copies when it is opened. After opening nothing is allocated and no call fails for want of memory.
 *
 * Threads: no call changes state of the process or takes more than 64 KB of stack. A model holds the scratch of its
 * own computation, so each is for one thread at a time; different models are independent. For several threads, open
 * the model once for each.
 *
 * Every CPU gives the same answers of an integer model, bit for bit, and they are those of `mnistq eval`. Other models
 * compute in floating point, without BLAS, where sums are rounded in another order. */
#ifndef MNISTQ_H
#define MNISTQ_H

#include <stddef.h>
#include <stdint.h>

#define MNISTQ_VERSION "0.10.0"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mnistq_model mnistq_model;

enum { MNISTQ_ERROR_SIZE = 1024 }; /* bytes that hold every error text, its NUL included */

/* The version of the library that was linked: MNISTQ_VERSION as it was compiled. */
const char *mnistq_version(void);

/* Reads a model file of any kind and makes it ready to run; nothing in the file is trusted. NULL on an error: then
 * error [error_size] holds one line that says what is wrong with which tensor, what was expected and found. error may
 * be NULL where error_size is 0. Release with mnistq_close. */
mnistq_model *mnistq_open(const char *path, char *error, size_t error_size);

/* The same from the bytes [size] of such a file, which may go as soon as this returns. */
mnistq_model *mnistq_open_memory(const void *bytes, size_t size, char *error, size_t error_size);

/* NULL is allowed. */
void mnistq_close(mnistq_model *model);

int mnistq_inputs(const mnistq_model *model);  /* pixels of an image: 784 for MNIST */
int mnistq_classes(const mnistq_model *model); /* 2 to 256 */
int mnistq_layers(const mnistq_model *model);  /* linear layers; all but the last end in a ReLU */

/* Values behind a layer: of layer 0 the pixels, of layer mnistq_layers the logits; 0 for a layer that is not there. */
int mnistq_width(const mnistq_model *model, int layer);

/* Whether the model runs in integers from the pixels to the logits: only then are there codes. */
int mnistq_is_integer(const mnistq_model *model);

/* The class of each of images [count][inputs] into classes [count]: that of the highest logit, the lowest class on a
 * tie. Returns the number of ties. Models of dynamic quantization take their ranges from batches of 64 images,
 * in the order given; the answers of all others do not depend on count. */
size_t mnistq_classify(mnistq_model *model, const uint8_t *images, size_t count, uint8_t *classes);

/* The logits of images [count][inputs] as real numbers, into logits [count][classes]. */
void mnistq_logits(mnistq_model *model, const uint8_t *images, size_t count, float *logits);

/* What one image [inputs] becomes behind a layer, as real numbers into values [width]. Returns the width; 0, with
 * nothing written, for a layer that is not there. */
int mnistq_values(mnistq_model *model, const uint8_t *image, int layer, float *values);

/* The same in codes [width], of an integer model; 0 for any other. Each stands for scale * (code - zero_point). */
int mnistq_codes(mnistq_model *model, const uint8_t *image, int layer, uint8_t *codes);

/* The scale and zero point of a layer's codes; either pointer may be NULL. Returns 1, or 0 where there are no codes. */
int mnistq_scale(const mnistq_model *model, int layer, float *scale, int *zero_point);

#ifdef __cplusplus
}
#endif

#endif
