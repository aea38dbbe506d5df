/* The packed form of a layer that the vector kernels share, and how it is made. Included by one kernel per
 * file, which defines before it, in an enum: TILE         outputs that are computed together, LANES        of
 * them in one register of int32, HALF_TILES   whether a last tile may do with fewer registers, GROUP_BYTES
 * what the weights of 4 inputs take, the group that a dot-product instruction adds up, NIBBLES      whether
 * it keeps four-bit weights two to a byte; if not, they are bytes like all others; and pack_layer somewhere.
 *
 *   | struct tile [tiles] | weights of tile 0 [in / 4][GROUP_BYTES] | weights of tile 1 | ...
 *
 * Requantizing (eq. 6) competes with the dot products for the same ports, so it is cut to what 32-bit lanes
 * need: (acc * m + (2 z_y + 1) * 2^(right - 1)) >> right = ((acc * m >> 32) + (2 z_y + 1) * 2^(right - 33))
 * >> (right - 32) exactly, where right >= 33: the addend is then a multiple of 2^32, and a floor of a floor
 * is a floor. It keeps to 32 bits while right <= 53: |acc * m >> 32| < 2^30, the addend < 511 * 2^20 < 2^30.
 * A tile with any other multiplier goes through requantize() one by one. zmm.h has a form in floats for tiles of whose
 * multipliers it can prove that it gives the same codes. */
#ifndef QUANT_KERNELS_TILES_H
#define QUANT_KERNELS_TILES_H

#include <string.h>

#include "base/unroll.h"
#include "quant/qlinear.h"

/* How the sums of a tile become codes: by requantize(), or in one of two forms that equal it. */
enum { ONE_BY_ONE, IN_INTEGERS, IN_FLOATS };

/* The constants of a tile, in the order of its lanes. */
struct tile {
    int32_t start[TILE]; /* accumulators begin here: at the folded bias */
    int32_t m[TILE];     /* eq. 6 */
    int32_t m_odd[TILE]; /* m of the odd lanes, where a widening multiply of even lanes finds it */
    int32_t add[TILE];   /* (2 z_y + 1) * 2^(right - 33) */
    int32_t shift[TILE]; /* right - 32 */
    float high[TILE];    /* m / 2^right = high + low: see zmm.h, where form is IN_FLOATS */
    float low[TILE];
    int32_t form;       /* ONE_BY_ONE: start is 0, the rest unknown */
    int32_t unused[15]; /* a cache line */
};

INLINE int groups_of_4(int in) { return (in + 3) / 4; }

INLINE int tiles_of(int out) { return (out + TILE - 1) / TILE; }

/* Registers of outputs in use in a tile: a layer of 10 classes needs one of 16 lanes, not two. */
INLINE int tile_registers(int out, int tile) {
    int left = out - tile * TILE;
    return left >= TILE || !HALF_TILES ? TILE / LANES : (left + LANES - 1) / LANES;
}

/* Which output of the tile a lane holds. Narrowing packs 128 bits at a time, [4 of one register][4 of the
 * next]; with the outputs of two registers interleaved to suit, bytes leave in order without a shuffle. */
INLINE int lane_output(int registers, int lane) {
    if (registers != 2) return lane;
    int in_register = lane % LANES;
    return in_register / 4 * 8 + lane / LANES * 4 + in_register % 4;
}

INLINE const struct tile *tile_constants(const struct qlinear *layer, int tile) {
    return (const struct tile *)layer->packed + tile;
}

/* Whether the weights are packed two to a byte: two groups then take the place of one. */
INLINE int nibbles(const struct qlinear *layer) { return NIBBLES && layer->four_bit; }

INLINE size_t tile_bytes(int in, int nibbles) {
    int groups = groups_of_4(in);
    return (size_t)(nibbles ? (groups + 1) / 2 : groups) * GROUP_BYTES;
}

INLINE const uint8_t *tile_weights(const struct qlinear *layer, int nibbles, int tile) {
    return (const uint8_t *)tile_constants(layer, tiles_of(layer->out)) + (size_t)tile * tile_bytes(layer->in, nibbles);
}

/* How a kernel holds its operands. */
struct form {
    int log2_scale; /* weights are multiplied by 2^this: it goes into the shift of eq. 6 */
    int x_minus;    /* this is subtracted from every input: this * sum_k w goes into start */
};

static inline int32_t weight_sum(const struct qlinear *layer, int c) {
    int32_t sum = 0;
    for (int k = 0; k < layer->in; k++) sum += layer->weight[(size_t)c * (size_t)layer->in + (size_t)k];
    return sum;
}

/* The constants of one lane; false where 32 bits are not enough. */
static inline int lane_constants(const struct qlinear *layer, int c, struct form form, struct tile *t, int lane) {
    struct multiplier by = layer->multiplier[c];
    int right = by.m ? by.right + form.log2_scale : 33; /* 0 * acc shifted by anything is 0 */
    int64_t scale = (int64_t)1 << form.log2_scale, bias = layer->folded_bias[c] * scale;
    int64_t reach = (int64_t)layer->in * 255 * (form.log2_scale ? 8 * scale : 128);
    if (right < 33 || right > 53 || bias + reach > INT32_MAX || bias - reach < INT32_MIN) return 0;
    t->start[lane] += (int32_t)bias;
    t->m[lane] = by.m;
    if (lane % 2) t->m_odd[lane - 1] = by.m;
    t->add[lane] = (2 * layer->y_zero_point + 1) * (1 << (right - 33));
    t->shift[lane] = right - 32;
    return 1;
}

static inline void pack_tile_constants(const struct qlinear *layer, int tile, struct form form) {
    struct tile *t = (struct tile *)layer->packed + tile, plain = {.form = ONE_BY_ONE};
    int registers = tile_registers(layer->out, tile), fits = 1;
    for (int lane = 0; lane < registers * LANES; lane++) {
        int c = tile * TILE + lane_output(registers, lane);
        if (c < layer->out && form.x_minus) plain.start[lane] = form.x_minus * weight_sum(layer, c);
    }
    *t = plain;
    for (int lane = 0; lane < registers * LANES && fits; lane++) {
        int c = tile * TILE + lane_output(registers, lane);
        if (c < layer->out) fits = lane_constants(layer, c, form, t, lane);
    }
    if (!fits) *t = plain;
    t->form = fits ? IN_INTEGERS : ONE_BY_ONE;
}

/* Writes the weight of input k and a lane to where the kernel reads it; packed is zeroed memory. */
typedef void put_weight(uint8_t *packed, int lanes, int lane, int k, int8_t weight);

static inline void pack_tiles(const struct qlinear *layer, struct form form, put_weight *put) {
    for (int tile = 0; tile < tiles_of(layer->out); tile++) {
        int registers = tile_registers(layer->out, tile);
        uint8_t *packed = (uint8_t *)tile_weights(layer, nibbles(layer), tile);
        pack_tile_constants(layer, tile, form);
        for (int lane = 0; lane < registers * LANES; lane++) {
            int c = tile * TILE + lane_output(registers, lane);
            if (c >= layer->out) continue;
            const int8_t *w = layer->weight + (size_t)c * (size_t)layer->in;
            for (int k = 0; k < layer->in; k++) put(packed, registers * LANES, lane, k, w[k]);
        }
    }
}

/* [in / 4][lanes][4] */
static inline void put_int8(uint8_t *packed, int lanes, int lane, int k, int8_t weight) {
    packed[((size_t)(k / 4) * (size_t)lanes + (size_t)lane) * 4 + (size_t)(k % 4)] = (uint8_t)weight;
}

static inline size_t layer_bytes(const struct qlinear *layer) {
    return (size_t)tiles_of(layer->out) * (sizeof(struct tile) + tile_bytes(layer->in, nibbles(layer)));
}

/* One row of a tile that is ONE_BY_ONE, one output at a time: acc [TILE], without the bias. */
static __attribute__((noinline)) void store_one_by_one(const int32_t *acc, int log2_scale, const struct qlinear *layer,
                                                       int tile, uint8_t *y) {
    int registers = tile_registers(layer->out, tile);
    for (int lane = 0; lane < registers * LANES; lane++) {
        int j = lane_output(registers, lane), c = tile * TILE + j;
        if (c < layer->out)
            y[j] = requantize((acc[lane] >> log2_scale) + layer->folded_bias[c], layer->multiplier[c],
                              layer->y_zero_point, layer->y_min, layer->y_max);
    }
}

#endif
