/* The built-in data set: handwriting-like digits drawn from strokes with random slant, size, width, jitter
 * and noise. It stands in for MNIST on a machine without the network and in hermetic tests. */
#ifndef DATA_DIGITS_H
#define DATA_DIGITS_H

#include <stddef.h>
#include <stdint.h>

enum { DIGITS_ROWS = 28, DIGITS_COLS = 28, DIGITS_PIXELS = 784, DIGITS_TRAIN = 60000, DIGITS_TEST = 10000 };

/* Draws images first .. first + count - 1 of the stream that belongs to seed. Image i depends only on seed
 * and i, so any part can be drawn alone, in any order, on any machine, with the same bytes.
 * Outputs: images [count][28][28], 0 paper to 255 ink; labels [count], 0 to 9, in random order. */
void digits_draw(uint64_t seed, size_t first, size_t count, uint8_t *images, uint8_t *labels);

#endif
