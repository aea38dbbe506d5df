/* What becomes of the sums of a block of int8 (amx_block.h): codes by eq. 6, or sums. */
#ifndef QUANT_KERNELS_AMX_CODES_H
#define QUANT_KERNELS_AMX_CODES_H

#include "quant/kernels/amx.h"

INLINE const int32_t *sums_of(const struct leaving *from, int row) {
    return (const int32_t *)from->sums + row * BLOCK_OUTPUTS;
}

/* Row of a block's y from its first output on. */
INLINE uint8_t *codes_of(const struct tile_block *b, int row) {
    return (uint8_t *)b->y + (size_t)row * b->y_stride + (size_t)b->tile * TILE;
}

INLINE int32_t *place_of_sums(const struct tile_block *b, int row) {
    return (int32_t *)((uint8_t *)b->y + (size_t)row * b->y_stride) + b->tile * TILE;
}

#ifdef AMX_MODEL

/* On any CPU: every row at the end. What follows is tested with the tiles' instructions emulated (test_amx.c). */
struct finish {
    int unused;
};

INLINE int finish_rows(const struct finish *f) { return f->unused; }

INLINE void finish_begin(const struct qlinear *layer, const struct leaving *from, struct finish *f) {
    (void)layer, (void)from;
    f->unused = 0;
}

INLINE void finish_two_rows(struct finish *f) { (void)f; }

static void finish_rest(const struct qlinear *layer, const struct leaving *from, int first) {
    const struct tile_block *b = &from->of;
    int left = layer->out - b->tile * TILE, registers = b->wide ? 2 : 1;
    for (int r = first; r < b->height; r++) {
        if (!b->as_sums) store_one_by_one(sums_of(from, r), 0, layer, b->tile, codes_of(b, r));
        for (int lane = 0; b->as_sums && lane < registers * LANES; lane++)
            if (lane_output(registers, lane) < left)
                place_of_sums(b, r)[lane_output(registers, lane)] = sums_of(from, r)[lane];
    }
}

#else

/* Two rows at a time pay in whole tiles that are requantized in floats, nearly all there are. */
struct finish {
    const int32_t *acc; /* of the next row */
    uint8_t *y;
    size_t y_stride;
    int rows; /* that are done so; or 0 */
    __m512i start[2];
    __m512 high[2], low[2];
    struct clamp clamp;
};

INLINE int finish_rows(const struct finish *f) { return f->rows; }

TARGET INLINE void finish_begin(const struct qlinear *layer, const struct leaving *from, struct finish *f) {
    const struct tile *t = tile_constants(layer, from->of.tile);
    f->acc = sums_of(from, 0), f->y = codes_of(&from->of, 0), f->y_stride = from->of.y_stride;
    f->rows = from->of.wide && t->form == IN_FLOATS && !from->of.as_sums ? from->of.height / 2 * 2 : 0;
    f->clamp = clamp_of(layer);
    for (int z = 0; z < 2; z++) {
        f->start[z] = _mm512_load_si512(t->start + z * LANES);
        f->high[z] = _mm512_load_ps(t->high + z * LANES), f->low[z] = _mm512_load_ps(t->low + z * LANES);
    }
}

TARGET INLINE void finish_two_rows(struct finish *f) {
    __m512i code[4];
    UNROLL
    for (int i = 0; i < 4; i++) {
        __m512i acc = _mm512_add_epi32(_mm512_load_si512(f->acc + i * LANES), f->start[i % 2]);
        code[i] = in_floats(acc, f->high[i % 2], f->low[i % 2]);
    }
    store_two(narrow(IN_FLOATS, code[0], code[1], code[2], code[3], &f->clamp), f->y, f->y + f->y_stride);
    f->acc += 2 * BLOCK_OUTPUTS, f->y += 2 * f->y_stride;
}

/* One row in either form, with the idle halves of registers repeated. */
TARGET INLINE void finish_one_row(const int form, const struct tile *t, const struct tile_block *b, const int32_t *acc,
                                  const struct clamp *clamp, uint8_t *y) {
    __m512i code[2];
    for (int z = 0; z < 2; z++) {
        int there = b->wide ? z : 0;
        struct constants by = load_constants(t, there);
        __m512i start = _mm512_load_si512(t->start + there * LANES);
        code[z] = requantize_held(form, _mm512_add_epi32(_mm512_load_si512(acc + there * LANES), start), &by);
    }
    __m512i bytes = narrow(form, code[0], code[1], code[0], code[1], clamp);
    if (b->wide) store_two(bytes, y, y);
    else store_four(bytes, y, 0);
}

TARGET static void finish_rest(const struct qlinear *layer, const struct leaving *from, int first) {
    struct clamp clamp = clamp_of(layer);
    const struct tile_block *b = &from->of;
    const struct tile *t = tile_constants(layer, b->tile);
    for (int r = first; r < b->height; r++) {
        const int32_t *acc = sums_of(from, r);
        if (b->as_sums) store_sums(acc, b->wide ? 2 : 1, 0, layer->out - b->tile * TILE, place_of_sums(b, r));
        else if (t->form == ONE_BY_ONE) store_one_by_one(acc, 0, layer, b->tile, codes_of(b, r));
        else if (t->form == IN_FLOATS) finish_one_row(IN_FLOATS, t, b, acc, &clamp, codes_of(b, r));
        else finish_one_row(IN_INTEGERS, t, b, acc, &clamp, codes_of(b, r));
    }
}

#endif
#endif
