/* One aligned block of memory with arrays carved out of it: a model is one allocation, freed in one call. Its owner
 * takes the arrays in order, twice: from an empty block every take gives NULL and only counts; then from real memory.
 *     do {
 *         a = block_take(&block, n, sizeof *a);
 *         b = block_take(&block, m, sizeof *b);
 *     } while (block_again(&block, err));
 *     return block.memory != NULL; */
#ifndef BASE_BLOCK_H
#define BASE_BLOCK_H

#include <stddef.h>

#include "base/error.h"

enum { BLOCK_ALIGN = 64 }; /* bytes: a cache line, and one AVX-512 register */

struct block {
    unsigned char *memory; /* NULL while counting */
    size_t used;           /* bytes taken so far, a multiple of BLOCK_ALIGN; SIZE_MAX after an overflow */
};

/* The next array of count elements of the given size: zeroed, aligned to BLOCK_ALIGN; NULL while counting. */
void *block_take(struct block *block, size_t count, size_t size);

/* Allocates what was counted and starts again from the front. Error: out of memory. */
bool block_reserve(struct block *block, struct error *err);

/* After counting: reserves the memory and is true. After taking, or when memory is short (an error): false. */
bool block_again(struct block *block, struct error *err);

void block_free(struct block *block);

/* One array on its own, aligned to BLOCK_ALIGN and zeroed; release with free(). Error: out of memory. */
void *aligned_array(size_t count, size_t size, struct error *err);

#endif
