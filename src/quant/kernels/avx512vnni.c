/* AVX-512 VNNI: vpdpbusd multiplies 64 bytes and adds them up by fours, once or twice a cycle.
 *
 * A tile is 12 rows x 32 outputs: 24 of the 32 registers accumulate, and each step of 4 inputs is 2 loads of
 * weights and 12 broadcasts of inputs for 24 vpdpbusd. 32 outputs and not 64: the weights of a tile of 784
 * inputs are then 25 KB and stay in a first-level cache of 32 or 48 KB while all rows of a block pass.
 *
 * vpdpbusd is one line of assembly, because GCC 12 copies and spills accumulators around _mm512_dpbusd_epi32:
 * 44% of the peak instead of 94% was measured on such a tile.
 *
 * Four-bit weights: two groups of 4 inputs share a byte each, the first in the low half. Either half, moved
 * to the upper half of its byte, is 16 * code as a signed byte; the factor 16 ends in the shift of eq. 6
 * (right + 4). */
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

enum { TILE = 32, LANES = 16, HALF_TILES = 1, GROUP_BYTES = TILE * 4, NIBBLES = 1, ROWS = 12 };
#include "quant/kernels/tiles.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#include "quant/kernels/zmm.h"

static int supported(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vnni");
}

/* acc + x . w by fours: x unsigned, w signed */
TARGET INLINE __m512i dot4(__m512i acc, __m512i x, __m512i w) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(x), "v"(w));
    return acc;
}

TARGET INLINE __m512i low_halves(__m512i w) {
    return _mm512_and_si512(_mm512_slli_epi16(w, 4), _mm512_set1_epi8((char)0xf0));
}

TARGET INLINE __m512i high_halves(__m512i w) { return _mm512_and_si512(w, _mm512_set1_epi8((char)0xf0)); }

TARGET INLINE __m512i broadcast4(const uint8_t *x) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm512_set1_epi32(four);
}

/* The factor that weights of a layer carry. */
INLINE int log2_scale(const struct qlinear *layer) { return layer->four_bit ? 4 : 0; }

/* ---- many rows: the tile ---- */

/* A tile of height rows between its two halves: the dot products, which leave their sums here, and the
 * requantizing. That of one tile runs after the dot products of the next: its operands are then long ready
 * and it fills what ports are free. Straight from the registers, it waited for the last sums: 5 to 7 cycles
 * for 16 outputs instead of 3. */
struct pending {
    _Alignas(64) int32_t acc[ROWS * TILE]; /* [height][registers * LANES] */
    int height;
    uint8_t *y;
};

/* One step of 4 inputs; x [height / 3] points at every third row, so that all rows are within reach of one addressing
 * mode (0, 1 or 2 strides away). With a plain loop over the rows clang 14 reached 24% of the peak: see EACH_OF_12. */
#define ROW(r)                                                                                                         \
    do                                                                                                                 \
        if (r < height) {                                                                                              \
            __m512i four = broadcast4(x[r / 3] + r % 3 * stride + k);                                                  \
            acc[r][0] = dot4(acc[r][0], four, w[0]);                                                                   \
            if (registers == 2) acc[r][1] = dot4(acc[r][1], four, w[1]);                                               \
        }                                                                                                              \
    while (0)

TARGET INLINE void step(const int height, const int registers, __m512i acc[][2], const uint8_t *const x[],
                        size_t stride, size_t k, const __m512i w[2]) {
    EACH_OF_12(ROW);
}

TARGET INLINE void load_weights(const int registers, const uint8_t *weights, __m512i w[2]) {
    w[0] = _mm512_load_si512(weights);
    w[1] = registers == 2 ? _mm512_load_si512(weights + 64) : w[0];
}

/* The groups of 4 inputs (four-bit weights: pairs of groups) that are not zero in all of height rows: zeros add nothing
 * to a sum. One image of MNIST leaves 27% of its groups, 12 images 58%. Writes up to LANES indices more than it finds.
 */
TARGET static int find_groups(const uint8_t *x, size_t stride, int height, const struct qlinear *layer,
                              uint16_t *found) {
    int n = 0, groups = groups_of_4(layer->in);
    __m512i index = layer->four_bit ? _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7)
                                    : _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (int g = 0; g < groups; g += LANES, x += 64) {
        __mmask16 there = (__mmask16)(groups - g >= LANES ? 0xffff : (1 << (groups - g)) - 1), some;
        __m512i any = _mm512_maskz_loadu_epi32(there, x);
        for (int r = 1; r < height; r++)
            any = _mm512_or_si512(any, _mm512_maskz_loadu_epi32(there, x + (size_t)r * stride));
        if (layer->four_bit) {
            some = _mm512_test_epi64_mask(any, any);
            _mm_storeu_si128((__m128i *)(found + n),
                             _mm512_cvtepi64_epi16(_mm512_maskz_compress_epi64((__mmask8)some, index)));
            index = _mm512_add_epi64(index, _mm512_set1_epi64(LANES / 2));
        } else {
            some = _mm512_test_epi32_mask(any, any);
            _mm256_storeu_si256((__m256i *)(found + n),
                                _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(some, index)));
            index = _mm512_add_epi32(index, _mm512_set1_epi32(LANES));
        }
        n += __builtin_popcount(some);
    }
    return n;
}

/* Rows that go through a tile together, of a block of BLOCK rows at most. */
enum { BLOCK = 8 * ROWS };
struct rows {
    int height;
    const uint8_t *x;
    uint8_t *y;
    uint16_t *group; /* [groups] what find_groups found */
    int groups;
};

/* acc [height][registers] of height rows and the groups that count. On the way the rows that come next are fetched, two
 * cache lines a step: rows of 784 bytes are too short for the CPU to see the streams, and images that come from another
 * core's cache or from memory cost 6% of a batch. (Rows of later layers are in the cache, and their stride is not what
 * is assumed.) */
TARGET INLINE void dot_tile(const int height, const int registers, const int four_bit, const struct qlinear *layer,
                            const uint8_t *weights, const struct rows *rows, size_t stride, __m512i acc[][2]) {
    const uint8_t *x[ROWS / 3] = {rows->x, rows->x + 3 * stride, rows->x + 6 * stride, rows->x + 9 * stride};
    size_t step_bytes = (size_t)registers * 64;
    const uint8_t *ahead = rows->x + (size_t)height * stride; /* fetching never faults, past the last row neither */
    __m512i w[2], half[2];
    for (int i = 0; i < rows->groups; i++, ahead += 128) {
        size_t group = rows->group[i];
        __builtin_prefetch(ahead);
        __builtin_prefetch(ahead + 64);
        load_weights(registers, weights + group * step_bytes, w);
        if (!four_bit) {
            step(height, registers, acc, x, stride, 4 * group, w);
            continue;
        }
        half[0] = low_halves(w[0]), half[1] = low_halves(w[1]);
        step(height, registers, acc, x, stride, 8 * group, half);
        if (8 * group + 4 >= (size_t)layer->in) break; /* no second group */
        half[0] = high_halves(w[0]), half[1] = high_halves(w[1]);
        step(height, registers, acc, x, stride, 8 * group + 4, half);
    }
}

/* acc [height][registers * LANES]: the sums of a tile */
TARGET INLINE void dot_rows(const int height, const int registers, const int four_bit, const struct qlinear *layer,
                            int tile, const struct rows *rows, size_t x_stride, int32_t *sums) {
    const struct tile *t = tile_constants(layer, tile);
    __m512i acc[ROWS][2];
    UNROLL
    for (int r = 0; r < height; r++) {
        acc[r][0] = _mm512_load_si512(t->start);
        acc[r][1] = _mm512_load_si512(t->start + LANES);
    }
    dot_tile(height, registers, four_bit, layer, tile_weights(layer, four_bit, tile), rows, x_stride, acc);
    UNROLL
    for (int r = 0; r < height; r++) {
        _mm512_store_si512(sums + r * registers * LANES, acc[r][0]);
        if (registers == 2) _mm512_store_si512(sums + (r * 2 + 1) * LANES, acc[r][1]);
    }
}

typedef void dot_function(const struct qlinear *layer, int tile, const struct rows *rows, size_t x_stride,
                          int32_t *sums);

/* One function for each height, number of registers and weight format, so that all loops over rows unroll. */
#define DOT_FUNCTION(height, registers, four_bit)                                                                      \
    TARGET static void dot_##height##_##registers##_##four_bit(                                                        \
        const struct qlinear *layer, int tile, const struct rows *rows, size_t x_stride, int32_t *sums) {              \
        dot_rows(height, registers, four_bit, layer, tile, rows, x_stride, sums);                                      \
    }
#define DOT_FUNCTIONS(height)                                                                                          \
    DOT_FUNCTION(height, 1, 0)                                                                                         \
    DOT_FUNCTION(height, 2, 0) DOT_FUNCTION(height, 1, 1) DOT_FUNCTION(height, 2, 1)
#define DOT_NAMES(height)                                                                                              \
    { {dot_##height##_1_0, dot_##height##_2_0}, {dot_##height##_1_1, dot_##height##_2_1}, }
DOT_FUNCTIONS(4)
DOT_FUNCTIONS(8)
DOT_FUNCTIONS(12)
static dot_function *const dot_functions[3][2][2] = {DOT_NAMES(4), DOT_NAMES(8), DOT_NAMES(12)};

TARGET INLINE void finish_two_registers(const int form, const struct tile *t, const struct clamp *clamp,
                                        const int32_t *acc, int height, uint8_t *y, size_t y_stride) {
    struct constants left = load_constants(t, 0), right = load_constants(t, 1);
    for (int r = 0; r < height; r += 2, acc += 2 * TILE, y += 2 * y_stride) {
        __m512i a = requantize_stored(form, acc, &left), b = requantize_stored(form, acc + LANES, &right);
        __m512i c = requantize_stored(form, acc + TILE, &left), d = requantize_stored(form, acc + TILE + LANES, &right);
        store_two(narrow(form, a, b, c, d, clamp), y, y + y_stride);
    }
}

TARGET INLINE void finish_one_register(const int form, const struct tile *t, const struct clamp *clamp,
                                       const int32_t *acc, int height, uint8_t *y, size_t y_stride) {
    struct constants by = load_constants(t, 0);
    for (int r = 0; r < height; r += 4, acc += 4 * LANES, y += 4 * y_stride) {
        __m512i a = requantize_stored(form, acc, &by), b = requantize_stored(form, acc + LANES, &by);
        __m512i c = requantize_stored(form, acc + 2 * LANES, &by), d = requantize_stored(form, acc + 3 * LANES, &by);
        store_four(narrow(form, a, b, c, d, clamp), y, y_stride);
    }
}

TARGET INLINE void finish_registers(const int form, const int registers, const struct tile *t,
                                    const struct clamp *clamp, const struct pending *p, size_t y_stride) {
    if (registers == 2) finish_two_registers(form, t, clamp, p->acc, p->height, p->y, y_stride);
    else finish_one_register(form, t, clamp, p->acc, p->height, p->y, y_stride);
}

TARGET INLINE void finish_tile(const struct qlinear *layer, int tile, const struct clamp *clamp,
                               const struct pending *p, size_t y_stride) {
    const struct tile *t = tile_constants(layer, tile);
    int registers = tile_registers(layer->out, tile);
    if (t->form == ONE_BY_ONE)
        for (int r = 0; r < p->height; r++)
            store_one_by_one(p->acc + r * registers * LANES, log2_scale(layer), layer, tile,
                             p->y + (size_t)r * y_stride);
    else if (t->form == IN_FLOATS) finish_registers(IN_FLOATS, registers, t, clamp, p, y_stride);
    else finish_registers(IN_INTEGERS, registers, t, clamp, p, y_stride);
}

/* Tiles of 12 rows, and of 8 or 4 at the end: 16 are twice 8, since 4 rows keep few accumulators busy. */
static int tile_height(size_t left) { return left == 16 || left == 8 ? 8 : left >= 12 ? 12 : 4; }

/* A block of rows through one tile of outputs. The first looks for the groups, the others find them there. */
TARGET static void run_tile(const struct qlinear *layer, int tile, const struct clamp *clamp, struct rows *rows,
                            int count, size_t x_stride, size_t y_stride) {
    struct pending pending[2];
    int registers = tile_registers(layer->out, tile), turn = 0;
    pending[1].height = 0; /* the first round has nothing to finish */
    for (int i = 0; i < count; i++, turn ^= 1) {
        struct pending *p = &pending[turn];
        p->height = rows[i].height;
        p->y = rows[i].y + (size_t)tile * TILE;
        if (tile == 0) rows[i].groups = find_groups(rows[i].x, x_stride, p->height, layer, rows[i].group);
        dot_functions[p->height / 4 - 1][layer->four_bit != 0][registers - 1](layer, tile, &rows[i], x_stride, p->acc);
        finish_tile(layer, tile, clamp, &pending[!turn], y_stride);
    }
    finish_tile(layer, tile, clamp, &pending[!turn], y_stride);
}

/* A block of count rows, a multiple of 4, in all outputs. */
TARGET static void run_block(const struct qlinear *layer, const struct clamp *clamp, const uint8_t *x, size_t x_stride,
                             size_t count, uint8_t *y, size_t y_stride, uint16_t *scratch) {
    struct rows rows[BLOCK / ROWS + 1];
    int n = 0;
    for (size_t row = 0; row < count; row += (size_t)rows[n++].height)
        rows[n] = (struct rows){.height = tile_height(count - row),
                                .x = x + row * x_stride,
                                .y = y + row * y_stride,
                                .group = scratch + n * (groups_of_4(layer->in) + LANES)};
    for (int tile = 0; tile < tiles_of(layer->out); tile++) run_tile(layer, tile, clamp, rows, n, x_stride, y_stride);
}

/* ---- one row: the weights are streamed once, those of zero inputs not at all ---- */

/* acc [tiles][registers] += row . weights, for tiles that lie tile_stride bytes apart */
TARGET INLINE void sparse_step(const int tiles, const int registers, const int four_bit, const struct qlinear *layer,
                               const struct rows *row, int i, const uint8_t *weights, size_t tile_stride,
                               __m512i acc[][2]) {
    size_t group = row->group[i], k = group * (four_bit ? 8 : 4);
    __m512i four = broadcast4(row->x + k), next = _mm512_setzero_si512();
    if (four_bit && k + 4 < (size_t)layer->in) next = broadcast4(row->x + k + 4);
    weights += group * (size_t)registers * 64;
    UNROLL
    for (int t = 0; t < tiles; t++) UNROLL
    for (int z = 0; z < registers; z++) {
        __m512i w = _mm512_load_si512(weights + (size_t)t * tile_stride + z * 64);
        acc[t][z] = dot4(acc[t][z], four, four_bit ? low_halves(w) : w);
        if (four_bit) acc[t][z] = dot4(acc[t][z], next, high_halves(w));
    }
}

TARGET INLINE void finish_row_in(const int form, const int registers, const struct tile *t, const struct clamp *clamp,
                                 const __m512i acc[2], uint8_t *y) {
    struct constants left = load_constants(t, 0), right = load_constants(t, 1);
    __m512i a = requantize_held(form, acc[0], &left), b = a;
    if (registers == 2) b = requantize_held(form, acc[1], &right);
    __m512i bytes = narrow(form, a, b, a, b, clamp);
    if (registers == 2) store_two(bytes, y, y);
    else store_four(bytes, y, 0);
}

TARGET INLINE void finish_row(const int registers, const struct qlinear *layer, int tile, const struct clamp *clamp,
                              const __m512i acc[2], uint8_t *y) {
    const struct tile *t = tile_constants(layer, tile);
    if (t->form == ONE_BY_ONE) {
        int32_t lanes[TILE];
        for (int z = 0; z < registers; z++) _mm512_storeu_si512(lanes + z * LANES, acc[z]);
        store_one_by_one(lanes, log2_scale(layer), layer, tile, y);
    } else if (t->form == IN_FLOATS) finish_row_in(IN_FLOATS, registers, t, clamp, acc, y);
    else finish_row_in(IN_INTEGERS, registers, t, clamp, acc, y);
}

/* tiles tiles from the first on; ways sums side by side, where few accumulators would wait for one another */
TARGET INLINE void run_row_tiles(const int tiles, const int registers, const int four_bit, const int ways,
                                 const struct qlinear *layer, int first, const struct clamp *clamp,
                                 const struct rows *row) {
    const uint8_t *weights = tile_weights(layer, four_bit, first);
    size_t tile_stride = tile_bytes(layer->in, four_bit);
    __m512i acc[4][4][2];
    UNROLL
    for (int u = 0; u < ways; u++) UNROLL
    for (int t = 0; t < tiles; t++) UNROLL
    for (int z = 0; z < registers; z++)
        acc[u][t][z] = u ? _mm512_setzero_si512()
                         : _mm512_load_si512(tile_constants(layer, first + t)->start + z * LANES);
    int i = 0;
    for (; i + ways <= row->groups; i += ways) UNROLL
    for (int u = 0; u < ways; u++)
        sparse_step(tiles, registers, four_bit, layer, row, i + u, weights, tile_stride, acc[u]);
    for (; i < row->groups; i++) sparse_step(tiles, registers, four_bit, layer, row, i, weights, tile_stride, acc[0]);
    UNROLL
    for (int t = 0; t < tiles; t++) {
        UNROLL
        for (int u = 1; u < ways; u++) UNROLL
        for (int z = 0; z < registers; z++) acc[0][t][z] = _mm512_add_epi32(acc[0][t][z], acc[u][t][z]);
        finish_row(registers, layer, first + t, clamp, acc[0][t], row->y + (first + t) * TILE);
    }
}

TARGET INLINE void run_row(const int four_bit, const struct qlinear *layer, const struct clamp *clamp,
                           const struct rows *row) {
    int tile = 0, last = tiles_of(layer->out) - 1, whole = last + (tile_registers(layer->out, last) == 2);
    for (; tile + 4 <= whole; tile += 4) run_row_tiles(4, 2, four_bit, 1, layer, tile, clamp, row);
    for (; tile < whole; tile++) run_row_tiles(1, 2, four_bit, 4, layer, tile, clamp, row);
    for (; tile <= last; tile++) run_row_tiles(1, 1, four_bit, 4, layer, tile, clamp, row);
}

TARGET __attribute__((noinline)) static void run_one_row(const struct qlinear *layer, const struct clamp *clamp,
                                                         const uint8_t *x, uint8_t *y, uint16_t *scratch) {
    struct rows row = {1, x, y, scratch, find_groups(x, 0, 1, layer, scratch)};
    if (layer->four_bit) run_row(1, layer, clamp, &row);
    else run_row(0, layer, clamp, &row);
}

/* ---- the kernel ---- */

TARGET static void run(const struct qlinear *layer, const uint8_t *x, size_t x_stride, size_t rows, uint8_t *y,
                       size_t y_stride, void *scratch) {
    struct clamp clamp = clamp_of(layer);
    size_t tiled = rows / 4 * 4;
    for (size_t row = 0; row < tiled; row += BLOCK)
        run_block(layer, &clamp, x + row * x_stride, x_stride, tiled - row < BLOCK ? tiled - row : BLOCK,
                  y + row * y_stride, y_stride, scratch);
    for (size_t row = tiled; row < rows; row++)
        run_one_row(layer, &clamp, x + row * x_stride, y + row * y_stride, scratch);
}

TARGET static void sums(const struct qlinear *layer, const uint8_t *x, size_t x_stride, size_t rows, int32_t *acc,
                        void *scratch) {
    _Alignas(64) int32_t lanes[ROWS * TILE];
    for (size_t row = 0, height; row < rows; row += height) {
        struct rows some = {.height = tile_height((rows - row + 3) / 4 * 4), .x = x + row * x_stride, .group = scratch};
        height = (size_t)some.height;
        some.groups = find_groups(some.x, x_stride, some.height, layer, some.group);
        for (int tile = 0; tile < tiles_of(layer->out); tile++) {
            int registers = tile_registers(layer->out, tile), first = tile * TILE;
            dot_functions[height / 4 - 1][layer->four_bit != 0][registers - 1](layer, tile, &some, x_stride, lanes);
            for (size_t r = 0; r < height; r++)
                store_sums(lanes + r * (size_t)(registers * LANES), registers, log2_scale(layer), layer->out - first,
                           acc + (row + r) * (size_t)layer->out + first);
        }
    }
}

/* The groups that find_groups does not find, in all rows of their tile. */
TARGET static size_t left_out(const struct qlinear *layer, const uint8_t *x, size_t x_stride, size_t rows,
                              void *scratch) {
    size_t inputs = 0, of_group = layer->four_bit ? 8 : 4;
    for (size_t row = 0, height; row < rows; row += height) {
        size_t left = rows / 4 * 4 - row;
        height = row < rows / 4 * 4 ? (size_t)tile_height(left < BLOCK - row % BLOCK ? left : BLOCK - row % BLOCK) : 1;
        size_t found = (size_t)find_groups(x + row * x_stride, x_stride, (int)height, layer, scratch) * of_group;
        if (found < (size_t)layer->in) inputs += height * ((size_t)layer->in - found);
    }
    return inputs * (size_t)layer->out;
}

/* [in / 8][lanes][4], a byte is | code of the second group : 4 | code of the first group : 4 | */
static void put_int4(uint8_t *packed, int lanes, int lane, int k, int8_t weight) {
    uint8_t *byte = packed + ((size_t)(k / 8) * (size_t)lanes + (size_t)lane) * 4 + (size_t)(k % 4);
    *byte |= (uint8_t)((weight & 15) << (k / 4 % 2 * 4));
}

static void pack_layer(const struct qlinear *layer) {
    pack_tiles(layer, (struct form){.log2_scale = log2_scale(layer)}, layer->four_bit ? put_int4 : put_int8);
    use_floats(layer, log2_scale(layer));
}

const struct qkernel qkernel_avx512vnni = {
    "avx512vnni", "AVX-512 VNNI, 64 bytes a vpdpbusd", supported, run, layer_bytes, pack_layer, 4, left_out, sums, 0};
#else
typedef int avx512vnni_is_for_x86_64;
#endif
