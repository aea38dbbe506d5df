/* A data set: training and test images with their labels, from a folder of IDX files or built in. */
#ifndef DATA_DATASET_H
#define DATA_DATASET_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Images that belong together. */
struct split {
    size_t count;
    int rows, cols;
    uint8_t *images; /* [count][rows * cols] */
    uint8_t *labels; /* [count] */
};

struct dataset {
    char name[128];  /* "MNIST" for the real files (told by their SHA-256), else the folder or "digits" */
    char sha256[65]; /* of the four files, decompressed, in the order train images, train labels, test images, test
                        labels: what `gzip -dc FILES | sha256sum` prints */
    struct split train, test;
    int classes; /* highest training label + 1 */
};

/* Loads a folder with {train,t10k}-{images-idx3,labels-idx1}-ubyte, plain or .gz (other names: idx_files.h), or the
 * built-in set for the name "digits". Errors, naming the file: missing, unreadable, counts or picture sizes that do not
 * match, fewer than 2 classes, a highest training label that hardly an image has where more than half of the classes
 * have none, a test label above the highest training label. Release with dataset_free. */
bool dataset_load(const char *source, struct dataset *out, struct error *err);
void dataset_free(struct dataset *dataset);

/* What images and labels of a data set may take of memory, by their headers, before the rest is read: all that is
 * loaded at once. Those built in are 53 MiB. */
enum { DATASET_DEFAULT_MIB = 1024, DATASET_MOST_MIB = 1 << 20 };
void dataset_memory_limit(int mib);

/* As dataset_load, from the test files alone: train is empty, sha256 that of the two test files, classes the highest
 * test label + 1. */
bool dataset_load_test_only(const char *source, struct dataset *out, struct error *err);

/* Only the test split of a source, for commands that need no training data. */
bool dataset_load_test(const char *source, struct split *out, struct error *err);
void split_free(struct split *split);

/* Checks that a model with the given input and output sizes can run on these images. source is named in the error. */
bool split_fits(const struct split *split, int inputs, int classes, const char *source, struct error *err);

#endif
