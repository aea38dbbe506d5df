#include "base/block.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of an array rounded up to the alignment, or SIZE_MAX where that does not fit a size_t. */
static size_t padded_bytes(size_t count, size_t size) {
    if (size && count > (SIZE_MAX - BLOCK_ALIGN) / size) return SIZE_MAX;
    return (count * size + BLOCK_ALIGN - 1) / BLOCK_ALIGN * BLOCK_ALIGN;
}

static void *allocate(size_t bytes, struct error *err) {
    if (bytes == 0) bytes = BLOCK_ALIGN;
    void *memory = bytes > SIZE_MAX / 2 ? NULL : aligned_alloc(BLOCK_ALIGN, bytes);
    if (!memory) {
        fail(err, "out of memory: %zu bytes could not be had", bytes);
        return NULL;
    }
    return memset(memory, 0, bytes);
}

void *block_take(struct block *block, size_t count, size_t size) {
    size_t bytes = padded_bytes(count, size);
    void *array = block->memory ? block->memory + block->used : NULL;
    if (bytes > SIZE_MAX - block->used) bytes = SIZE_MAX - block->used;
    block->used += bytes;
    return array;
}

bool block_reserve(struct block *block, struct error *err) {
    block->memory = allocate(block->used, err);
    block->used = 0;
    return block->memory != NULL;
}

bool block_again(struct block *block, struct error *err) { return !block->memory && block_reserve(block, err); }

void block_free(struct block *block) {
    free(block->memory);
    *block = (struct block){0};
}

void *aligned_array(size_t count, size_t size, struct error *err) { return allocate(padded_bytes(count, size), err); }
