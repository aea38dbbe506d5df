/* The IDX format of MNIST (LeCun, Cortes, Burges 1998), plain or gzip-compressed:
 *
 *   | 0 0 | type | dimensions | size 0 (big-endian 32 bit) | size 1 ... | bytes, last dimension fastest |
 *
 * Unsigned bytes (type 0x08) are read, [count][rows][cols] for images, [count] or [count][1] for labels; and labels of
 * int32 (type 0x0c, big-endian) from 0 to 255, [count], [count][1], or QMNIST's [count][8], whose first column is the
 * class. */
#ifndef DATA_IDX_H
#define DATA_IDX_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { IDX_MAX_PIXELS = 4096, IDX_MAX_COUNT = 10000000 };

struct idx {
    int dimensions;      /* 1 (labels, however stored) or 3 */
    size_t count;        /* images or labels */
    size_t rows, cols;   /* 1 x 1 for labels */
    unsigned char *data; /* [count][rows][cols] */
};

/* Reads a file of labels (dimensions 1) or images (3). Memory grows only with bytes that are really
 * there, so a header that lies about its count costs nothing; most is the largest that idx_bytes may be. Errors, one
 * line each with what was expected and found: cannot be opened, wrong magic, a size or a label out of range, shorter or
 * longer than its header says, broken compression, out of memory. Release with idx_free. */
bool idx_read(const char *path, int dimensions, size_t most, struct idx *out, struct error *err);

/* The same without the data: what the first 16 bytes say, before memory is taken for the rest. */
bool idx_header(const char *path, int dimensions, struct idx *out, struct error *err);

static inline size_t idx_bytes(const struct idx *idx) { return idx->count * idx->rows * idx->cols; }

void idx_free(struct idx *idx);

#endif
