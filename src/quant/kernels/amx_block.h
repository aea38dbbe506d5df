/* Blocks of 32 rows x 32 outputs through the tiles (amx.h), what int8 and bf16 share. Included by a kernel that has
 * defined TARGET, LAYER (its struct of a layer), MULTIPLY (its multiplication), and how sums become outputs:
 * struct finish; finish_begin(layer, from, &f), of a block whose sums are now in from; finish_rows(&f), how many of its
 * rows are done two at a time, on the way; finish_two_rows(&f), the next two; finish_rest(layer, from, &f), what is
 * left.
 *
 * A step is 64 bytes of each row: two loads of inputs, two of weights, four products. The sums of a block stay in the
 * tiles until the first step of the next: there each is stored, cleared and used again in turn (four stores in a row
 * fill the reorder buffer, and the products wait). In the steps that follow, between the products, where the vector
 * units have nothing to do, its sums become outputs, two rows at a time. */
#ifndef QUANT_KERNELS_AMX_BLOCK_H
#define QUANT_KERNELS_AMX_BLOCK_H

#include "quant/kernels/amx.h"

INLINE void store_sum(int sum, uint8_t *sums) {
    tile_store(sum, sums + (sum / 2 * TILE_ROWS * BLOCK_OUTPUTS + sum % 2 * TILE_ROWS) * 4, BLOCK_OUTPUTS * 4);
}

/* Clears a sum for the next block, whether wide or not, after what it holds of the block before has left. */
INLINE void clear_sum(int sum, const int wide, struct leaving *before) {
    if (before->of.height && (sum % 2 == 0 || before->of.wide)) store_sum(sum, before->sums);
    if (sum % 2 == 0 || wide) tile_zero(sum);
}

/* The shares of a block's rows that fall to each of its products after the first step. */
struct pace {
    int due, units, products;
    int left; /* pairs of rows that are not done yet */
};

TARGET INLINE void keep_pace(struct pace *pace, struct finish *f) {
    for (pace->due += pace->units; pace->due >= pace->products; pace->due -= pace->products, pace->left--)
        finish_two_rows(f);
}

/* What is left of a block's rows, first in pairs. */
TARGET INLINE void finish_block(const LAYER *layer, const struct leaving *from, int pairs, struct finish *f) {
    int together = finish_rows(f);
    for (; pairs > 0; pairs--) finish_two_rows(f);
    finish_rest(layer, from, together);
}

/* Step k of now. In the first one the sums of the block before leave. */
TARGET INLINE void amx_step(const int first, const int tall, const int wide, const struct tile_block *now, int k,
                            struct leaving *before, struct pace *pace, struct finish *f) {
    const uint8_t *x = now->x + (size_t)k * TILE_ROW_BYTES, *w = now->w + ((size_t)k << (wide ? 11 : 10));
    const uint8_t *ahead = now->ahead + (size_t)k * TILE_ROW_BYTES;
    for (int i = 0; i < now->fetch; i++) __builtin_prefetch(ahead + (size_t)i * now->x_stride, 0, 2);
    UNROLL
    for (int i = 0; i < 2; i++)
        if (i <= wide) tile_load_weights(i, w + i * TILE_ROW_BYTES, (size_t)TILE_ROW_BYTES << wide);
    UNROLL
    for (int i = 0; i < 2; i++) {
        const uint8_t *rows = x + (size_t)i * TILE_ROWS * now->x_stride;
        if (i > tall) continue;
        if (k < now->once) tile_load_inputs(i, rows, now->x_stride);
        else tile_load_inputs_once(i, rows, now->x_stride);
    }
    UNROLL
    for (int sum = 0; sum < 4; sum++) {
        if (sum >= 2 && !tall) continue;
        if (first) clear_sum(sum, wide, before);
        if (sum % 2 && !wide) continue;
        MULTIPLY(sum);
        if (!first) keep_pace(pace, f);
    }
}

/* The products of a block, and the outputs of the block before, of the same layer and height; then it is the one
 * before. (b and f are copies that no address leaves, so that they live in registers across "memory".) */
TARGET INLINE void multiply_block(const int tall, const int wide, const LAYER *layer, const struct tile_block *now,
                                  struct leaving *before) {
    struct finish f = {0};
    struct tile_block b = *now;
    struct pace pace = {.products = (b.steps - 1) * (tall ? 2 : 1) * (wide ? 2 : 1)};
    if (b.steps) amx_step(1, tall, wide, &b, 0, before, &pace, &f);
    else
        for (int sum = 0; sum < (tall ? 4 : 2); sum++) clear_sum(sum, wide, before);
    if (before->of.height) {
        finish_begin(layer, before, &f);
        pace.left = finish_rows(&f) / 2;
        if (pace.products > 0) pace.units = pace.left;
    }
    for (int k = 1; k < b.steps; k++) amx_step(0, tall, wide, &b, k, before, &pace, &f);
    if (before->of.height) finish_block(layer, before, pace.left, &f);
    before->of = *now;
}

/* One function for each shape, so that registers and loops are fixed. */
#define MULTIPLY_FUNCTION(tall, wide)                                                                                  \
    TARGET static void multiply_##tall##_##wide(const LAYER *layer, const struct tile_block *now,                      \
                                                struct leaving *before) {                                              \
        multiply_block(tall, wide, layer, now, before);                                                                \
    }
MULTIPLY_FUNCTION(0, 0)
MULTIPLY_FUNCTION(0, 1)
MULTIPLY_FUNCTION(1, 0)
MULTIPLY_FUNCTION(1, 1)

TARGET static void run_amx_block(const LAYER *layer, const struct tile_block *now, struct leaving *before) {
    static void (*const multiply[2][2])(const LAYER *, const struct tile_block *, struct leaving *) = {
        {multiply_0_0, multiply_0_1}, {multiply_1_0, multiply_1_1}};
    multiply[now->height > TILE_ROWS][now->wide](layer, now, before);
}

/* The outputs of the last block. */
TARGET static void end_amx_blocks(const LAYER *layer, struct leaving *last) {
    struct finish f = {0};
    if (!last->of.height) return;
    for (int sum = 0; sum < (last->of.height > TILE_ROWS ? 4 : 2); sum++)
        if (sum % 2 == 0 || last->of.wide) store_sum(sum, last->sums);
    finish_begin(layer, last, &f);
    finish_block(layer, last, finish_rows(&f) / 2, &f);
    last->of.height = 0;
}

#endif
