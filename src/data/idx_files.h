/* Which files of a folder are a data set's: its names differ with where it was downloaded. */
#ifndef DATA_IDX_FILES_H
#define DATA_IDX_FILES_H

#include <stddef.h>

#include "base/error.h"

enum idx_part { IDX_TRAIN, IDX_TEST };
enum idx_kind { IDX_IMAGES, IDX_LABELS };

enum { IDX_PATH = 4096 };

/* The path of one of the four. Names are read as
 *
 *   [PREFIX-] train | t10k | test - images - idx3 - ubyte [.gz]
 *   [PREFIX-] train | t10k | test - labels - idx1 | idx2 - ubyte | int [.gz]
 *
 * in letters of either case, with . or _ for any - (MNIST's own; train-images.idx3-ubyte; emnist-letters-...,
 * qmnist-...-idx2-int; .GZ); or the file lies alone in a folder of such a name (Kaggle's download). MNIST's own names
 * come before others, .gz before plain. Errors: the folder cannot be read; it has no such file (the error names what
 * there is); files of several prefixes, and none without one. */
bool idx_find(const char *folder, enum idx_part part, enum idx_kind kind, char path[IDX_PATH], struct error *err);

#endif
