/* One aligned block of memory with arrays carved out of it: a model is one allocation, freed in one call.
 * The owner writes one function that takes its arrays in order; block_carve runs it twice: first on an empty block,
 * where every take returns NULL and only counts; then on real memory. */
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

/* Counts, reserves and takes: runs carve(owner), which takes the owner's arrays out of block, twice. Error: out of
 * memory. */
bool block_carve(struct block *block, void (*carve)(void *owner), void *owner, struct error *err);

void block_free(struct block *block);

/* One array on its own, aligned to BLOCK_ALIGN and zeroed; release with free(). Error: out of memory. */
void *aligned_array(size_t count, size_t size, struct error *err);

#endif
