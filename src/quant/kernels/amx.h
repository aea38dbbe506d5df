/* The tiles of AMX: eight registers of 16 rows x 64 bytes and the instructions on them, as functions over lines of
 * assembly. (GCC 12's intrinsics do not serve: to it _tile_loadconfig reads 8 of its 64 bytes and _tile_loadd none, so
 * that the stores before them are dropped; and these lines need no -m flags.) "memory" keeps them in order among
 * themselves and with all loads and stores.
 *
 * The registers by their parts in a block of 32 rows x 32 outputs:
 *   0 1   sums, int32 or fp32: rows 0 to 15 of outputs 0 to 15, and of outputs 16 to 31
 *   2 3   the same of rows 16 to 31
 *   4 5   inputs: 64 bytes of rows 0 to 15, of rows 16 to 31
 *   6 7   weights: of outputs 0 to 15, of outputs 16 to 31; row i [16 outputs][4 bytes] meets bytes 4 i .. 4 i + 3 of
 *         the inputs
 * A number that is given to these functions counts within the part.
 *
 * Tests define AMX_MODEL and, before they include a kernel, the same functions over a register file in plain C
 * (tests/amx_model.h): packing, blocking and remainders then run on any CPU. */
#ifndef QUANT_KERNELS_AMX_H
#define QUANT_KERNELS_AMX_H

#include <stddef.h>
#include <stdint.h>

#include "base/unroll.h"

enum { TILE_ROWS = 16, TILE_ROW_BYTES = 64 };

/* What LDTILECFG reads. */
struct tile_shapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* Whether this CPU has tiles with that kind of product, and the system lets this process use them: it is asked once,
 * and a refusal is a no. */
enum amx_products { AMX_BYTES, AMX_BFLOATS };
int amx_supported(enum amx_products products);

/* The shapes for blocks of height rows, 1 to 32. */
INLINE struct tile_shapes tile_shapes_of(int height) {
    struct tile_shapes s = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        int low = i == 2 || i == 3 || i == 5, rows = low ? height - TILE_ROWS : height;
        s.rows[i] = (uint8_t)(i >= 6 || rows > TILE_ROWS ? TILE_ROWS : rows > 0 ? rows : 0);
        s.row_bytes[i] = s.rows[i] ? TILE_ROW_BYTES : 0; /* without rows there is no register */
    }
    return s;
}

#ifndef AMX_MODEL

#define TILE_CASE(number, line, ...)                                                                                   \
    case number:                                                                                                       \
        __asm__ volatile(line : : __VA_ARGS__ : "memory");                                                             \
        break
#define TILE_CASES_2(i, line, first, second, ...)                                                                      \
    switch (i) {                                                                                                       \
        TILE_CASE(0, line first, __VA_ARGS__);                                                                         \
        TILE_CASE(1, line second, __VA_ARGS__);                                                                        \
    }
#define TILE_CASES_4(i, line, ...)                                                                                     \
    switch (i) {                                                                                                       \
        TILE_CASE(0, line(0, 4, 6), __VA_ARGS__);                                                                      \
        TILE_CASE(1, line(1, 4, 7), __VA_ARGS__);                                                                      \
        TILE_CASE(2, line(2, 5, 6), __VA_ARGS__);                                                                      \
        TILE_CASE(3, line(3, 5, 7), __VA_ARGS__);                                                                      \
    }

INLINE void tiles_configure(const struct tile_shapes *shapes) {
    __asm__ volatile("ldtilecfg %0" : : "m"(*shapes) : "memory");
}

INLINE void tiles_release(void) { __asm__ volatile("tilerelease" : : : "memory"); }

/* sum 0 to 3 = 0 */
INLINE void tile_zero(int sum){
#define ZERO(c, a, b) "tilezero %%tmm" #c
    TILE_CASES_4(sum, ZERO, "i"(0))
#undef ZERO
}

/* inputs 0 or 1 = 64 bytes of each row; rows are stride bytes apart */
INLINE void tile_load_inputs(int i, const void *rows, size_t stride){
    TILE_CASES_2(i, "tileloadd (%0,%1,1), ", "%%tmm4", "%%tmm5", "r"(rows), "r"(stride))}

/* The same for what does not stay in the first-level cache. */
INLINE void tile_load_inputs_once(int i, const void *rows, size_t stride){
    TILE_CASES_2(i, "tileloaddt1 (%0,%1,1), ", "%%tmm4", "%%tmm5", "r"(rows), "r"(stride))}

/* weights 0 or 1, which do not stay in the first-level cache: the inputs do, and meet all weights */
INLINE void tile_load_weights(int i, const void *rows, size_t stride){
    TILE_CASES_2(i, "tileloaddt1 (%0,%1,1), ", "%%tmm6", "%%tmm7", "r"(rows), "r"(stride))}

INLINE void tile_store(int sum, void *rows, size_t stride){
#define STORE(c, a, b) "tilestored %%tmm" #c ", (%0,%1,1)"
    TILE_CASES_4(sum, STORE, "r"(rows), "r"(stride))
#undef STORE
}

/* sum += its inputs, unsigned bytes, . its weights, signed bytes, by fours */
INLINE void tile_multiply_bytes(int sum){
#define PRODUCT(c, a, b) "tdpbusd %%tmm" #b ", %%tmm" #a ", %%tmm" #c
    TILE_CASES_4(sum, PRODUCT, "i"(0))
#undef PRODUCT
}

/* The same of bf16 by twos, sums in fp32. The order of the additions is bf16_amx.c's matter. */
INLINE void tile_multiply_bfloats(int sum) {
#define PRODUCT(c, a, b) "tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c
    TILE_CASES_4(sum, PRODUCT, "i"(0))
#undef PRODUCT
}

#endif

/* ---- blocks: amx_block.h runs them ---- */

enum { BLOCK_ROWS = 2 * TILE_ROWS, BLOCK_OUTPUTS = 32 };

/* Of a block's inputs, those that a first-level cache of 48 KB holds beside what else is in it. */
enum { STEPS_IN_L1 = (32 << 10) / (BLOCK_ROWS * TILE_ROW_BYTES) };

struct tile_block {
    const uint8_t *x; /* [height] rows, from the first step that counts on */
    size_t x_stride;  /* bytes, as all strides here */
    const uint8_t *w; /* [steps][16][wide ? 32 : 16 outputs][4 bytes] */
    int steps;        /* 0: all sums are 0 */
    int once;         /* from this step on inputs are loaded past the first-level cache, which does not hold them all */
    int height, wide; /* rows, 1 to 32; whether outputs 16 to 31 are there */
    int tile;         /* which 32 outputs of the layer */
    void *y;          /* where its rows begin: output 0 of the layer */
    size_t y_stride;
    int as_sums;          /* not outputs leave, but the sums themselves (of int8) */
    const uint8_t *ahead; /* as many rows as fetch, x_stride apart, are fetched to the second-level cache on the way */
    int fetch;
};

/* The sums of a block [32][32], int32 or fp32, on their way from the tiles to y. */
struct leaving {
    _Alignas(64) uint8_t sums[BLOCK_ROWS * BLOCK_OUTPUTS * 4];
    struct tile_block of; /* height 0: none */
};

#endif
