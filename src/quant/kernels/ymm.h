/* What the two kernels with 256-bit registers share: all but the dot products. Included after tiles.h, with
 * TILE 16 and LANES 8, TARGET, ROWS (6), X_BYTES (what 4 inputs take as the dot products read them); step is
 * theirs.
 *
 * A tile is 6 rows x 16 outputs: 12 accumulators leave 4 of the 16 registers for weights and inputs. */
#ifndef QUANT_KERNELS_YMM_H
#define QUANT_KERNELS_YMM_H

enum { MAX_GROUPS = 16384 / 4 };

/* Where the rows of inputs of a tile are. */
struct inputs {
    const uint8_t *row[2]; /* the first and the fourth: the others are a stride or two further on */
    size_t stride;
};

/* acc [height][2] += 4 inputs of each row, offset bytes into it . weights w [GROUP_BYTES] */
TARGET INLINE void step(const int height, __m256i acc[][2], struct inputs x, size_t offset, const uint8_t *w);

/* ---- requantizing: eq. 6 in the form of tiles.h ---- */

TARGET INLINE __m256i load_lanes(const int32_t *from) { return _mm256_load_si256((const __m256i *)from); }

/* Eight sums from memory, where the odd lanes cost no more than a load. */
TARGET INLINE __m256i requantize8(const int32_t *acc, const struct tile *t, int reg) {
    __m256i odd_lanes = _mm256_castps_si256(_mm256_movehdup_ps(_mm256_load_ps((const float *)acc)));
    __m256i even = _mm256_mul_epi32(load_lanes(acc), load_lanes(t->m + reg * LANES));
    __m256i odd = _mm256_mul_epi32(odd_lanes, load_lanes(t->m_odd + reg * LANES));
    __m256i high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
    return _mm256_srav_epi32(_mm256_add_epi32(high, load_lanes(t->add + reg * LANES)),
                             load_lanes(t->shift + reg * LANES));
}

/* acc [2][TILE], two rows -> 16 codes each, in order thanks to lane_output */
TARGET INLINE void store_two_rows(const int32_t *acc, const struct tile *t, const struct qlinear *layer, uint8_t *ya,
                                  uint8_t *yb) {
    __m256i a = _mm256_packs_epi32(requantize8(acc, t, 0), requantize8(acc + LANES, t, 1));
    __m256i b = _mm256_packs_epi32(requantize8(acc + TILE, t, 0), requantize8(acc + TILE + LANES, t, 1));
    __m256i bytes = _mm256_max_epu8(_mm256_packus_epi16(a, b), _mm256_set1_epi8((char)layer->y_min));
    bytes = _mm256_min_epu8(bytes, _mm256_set1_epi8((char)layer->y_max));
    bytes = _mm256_permute4x64_epi64(bytes, 0xd8); /* [2][8 of a][8 of b] -> [16 of a][16 of b] */
    _mm_storeu_si128((__m128i *)yb, _mm256_extracti128_si256(bytes, 1));
    _mm_storeu_si128((__m128i *)ya, _mm256_castsi256_si128(bytes)); /* last, so that it stays where yb is ya */
}

/* A tile between its dot products and its requantizing, as in avx512vnni.c. acc [height][TILE] */
struct pending {
    _Alignas(32) int32_t acc[ROWS * TILE];
    int height, tile;
};

TARGET INLINE void finish_tile(const struct qlinear *layer, const struct pending *p, uint8_t *y, size_t y_stride) {
    const struct tile *t = tile_constants(layer, p->tile);
    y += p->tile * TILE;
    if (t->form == ONE_BY_ONE)
        for (int r = 0; r < p->height; r++, y += y_stride) store_one_by_one(p->acc + r * TILE, 0, layer, p->tile, y);
    else
        for (int r = 0; r < p->height; r += 2, y += 2 * y_stride) /* one row alone comes with an idle second one */
            store_two_rows(p->acc + r * TILE, t, layer, y, r + 1 < p->height ? y + y_stride : y);
}

TARGET INLINE void store_acc(const int height, __m256i acc[][2], int32_t *sums) {
    UNROLL
    for (int r = 0; r < height; r++) UNROLL
    for (int z = 0; z < 2; z++) _mm256_store_si256((__m256i *)(sums + r * TILE + z * LANES), acc[r][z]);
}

/* ---- many rows ---- */

TARGET INLINE void dot_tile(const int height, const struct qlinear *layer, int tile, struct inputs x, int32_t *sums) {
    const struct tile *t = tile_constants(layer, tile);
    const uint8_t *w = tile_weights(layer, 0, tile);
    __m256i acc[ROWS][2];
    UNROLL
    for (int r = 0; r < height; r++) UNROLL
    for (int z = 0; z < 2; z++) acc[r][z] = load_lanes(t->start + z * LANES);
    size_t groups = (size_t)groups_of_4(layer->in);
    for (size_t g = 0; g < groups; g++) step(height, acc, x, g * X_BYTES, w + g * GROUP_BYTES);
    store_acc(height, acc, sums);
}

TARGET static __attribute__((noinline)) void dot_6(const struct qlinear *layer, int tile, struct inputs x,
                                                   int32_t *sums) {
    dot_tile(6, layer, tile, x, sums);
}

TARGET static __attribute__((noinline)) void dot_2(const struct qlinear *layer, int tile, struct inputs x,
                                                   int32_t *sums) {
    dot_tile(2, layer, tile, x, sums);
}

/* height rows, 6 or 2, through all tiles */
TARGET static void run_rows(const struct qlinear *layer, const uint8_t *x, size_t x_stride, int height, uint8_t *y,
                            size_t y_stride) {
    struct pending pending[2];
    struct inputs inputs = {{x, x + 3 * x_stride}, x_stride};
    for (int tile = 0; tile < tiles_of(layer->out); tile++) {
        struct pending *p = &pending[tile % 2];
        p->tile = tile, p->height = height;
        (height == 6 ? dot_6 : dot_2)(layer, tile, inputs, p->acc);
        if (tile) finish_tile(layer, &pending[(tile + 1) % 2], y, y_stride);
    }
    finish_tile(layer, &pending[(tiles_of(layer->out) + 1) % 2], y, y_stride);
}

/* ---- one row: the weights of groups of zeros are not read ---- */

static int find_nonzero(const uint8_t *x, int groups, uint16_t *found) {
    int n = 0;
    for (int g = 0; g < groups; g++) {
        uint32_t four;
        memcpy(&four, x + 4 * (size_t)g, sizeof four);
        found[n] = (uint16_t)g;
        n += four != 0;
    }
    return n;
}

/* x: the row as dot products read it; group [count]: which are not zero. Four sums side by side, since one
 * would wait for itself. */
TARGET static __attribute__((noinline)) void dot_row(const struct qlinear *layer, int tile, struct inputs x,
                                                     const uint16_t *group, int count, int32_t *sums) {
    enum { WAYS = 4 };
    const uint8_t *w = tile_weights(layer, 0, tile);
    __m256i acc[WAYS][2];
    UNROLL
    for (int u = 0; u < WAYS; u++) UNROLL
    for (int z = 0; z < 2; z++)
        acc[u][z] = u ? _mm256_setzero_si256() : load_lanes(tile_constants(layer, tile)->start + z * LANES);
    int i = 0;
    for (; i + WAYS <= count; i += WAYS) UNROLL
    for (int u = 0; u < WAYS; u++)
        step(1, &acc[u], x, (size_t)group[i + u] * X_BYTES, w + (size_t)group[i + u] * GROUP_BYTES);
    for (; i < count; i++) step(1, acc, x, (size_t)group[i] * X_BYTES, w + (size_t)group[i] * GROUP_BYTES);
    UNROLL
    for (int z = 0; z < 2; z++)
        acc[0][z] = _mm256_add_epi32(_mm256_add_epi32(acc[0][z], acc[1][z]), _mm256_add_epi32(acc[2][z], acc[3][z]));
    store_acc(1, acc, sums);
}

/* x as it came, to find the zeros in; prepared as the dot products read it. */
TARGET static void run_one_row(const struct qlinear *layer, const uint8_t *x, const uint8_t *prepared, uint8_t *y) {
    uint16_t group[MAX_GROUPS];
    int count = find_nonzero(x, groups_of_4(layer->in), group);
    struct pending p = {.height = 1};
    for (p.tile = 0; p.tile < tiles_of(layer->out); p.tile++) {
        dot_row(layer, p.tile, (struct inputs){{prepared, prepared}, 0}, group, count, p.acc);
        finish_tile(layer, &p, y, 0);
    }
}

#endif
