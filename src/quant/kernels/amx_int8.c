/* AMX: tdpbusd multiplies 16 rows x 64 inputs by 64 inputs x 16 outputs, bytes, and adds them up by fours: 16,384
 * products in about 16 cycles. amx_block.h has the loop; here is what it runs on.
 *
 *   | struct tile [tiles] | weights, once or a few times: tile 0 [steps][16][outputs of the tile][4] | tile 1 | ... |
 *   | the layer as BESIDE packs it |
 *
 * Images lie where the caller has them. A row that begins within a cache line would make each row of a tile two lines,
 * at twice the time; but 4 images of 784 bytes are 49 whole lines, so that a tile of every fourth image does not split
 * any, if it begins where the line does: 0, 16, 32 or 48 bytes before the image. So there are four copies of the
 * weights, moved by as much, with zeros where the bytes are of another image. Other rows that are no whole lines are
 * copied to the scratch.
 *
 * One to three rows leave most of a tile empty: they go to BESIDE, the kernel that is faster up to there (one row at 4
 * times the speed, two at twice, three about the same on a Sapphire Rapids). Four-bit weights are bytes here, unpacked
 * once, and as fast as others. */
#include "quant/qlinear.h"

#if defined(AMX_MODEL) || (defined(__x86_64__) && defined(__GNUC__))

enum { TILE = 32, LANES = 16, HALF_TILES = 1, GROUP_BYTES = TILE * 4, NIBBLES = 0 };
#include "quant/kernels/tiles.h"

#define LAYER struct qlinear
#define MULTIPLY tile_multiply_bytes
#ifdef AMX_MODEL
#define TARGET
#define BESIDE qkernel_portable
#else
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define BESIDE qkernel_avx512vnni
#include "quant/kernels/zmm.h"
#endif
#include "quant/kernels/amx_codes.h"
#include "quant/kernels/amx_block.h"

extern const struct qkernel BESIDE;

enum { FEW = 4, MOST_BLOCKS = 12, MOST_ROWS = MOST_BLOCKS * BLOCK_ROWS };

/* Bytes of weights: of all copies, up to which they are made; of one, from which on a tile's weights meet all rows
 * before the next tile's, and not the rows all weights. Together they are to fit a second-level cache of 2 MB. */
enum { COPIES_BYTES = 1 << 20, LARGE_BYTES = 1 << 20 };

static int supported(void) { return amx_supported(AMX_BYTES) && BESIDE.supported(); }

/* ---- the packed form ---- */

static int copies_for(const struct qlinear *layer) {
    int copies = 1; /* rows that are whole lines together */
    while (copies <= 4 && copies * layer->in % TILE_ROW_BYTES) copies *= 2;
    return copies <= 4 && (size_t)copies * (size_t)layer->in * (size_t)layer->out <= COPIES_BYTES ? copies : 1;
}

/* Bytes between the line where row number copy of some begins and the row. */
static int shift_of(const struct qlinear *layer, int copy) { return copy * layer->in % TILE_ROW_BYTES; }

static int steps_of(const struct qlinear *layer, int copy) {
    return (shift_of(layer, copy) + layer->in + TILE_ROW_BYTES - 1) / TILE_ROW_BYTES;
}

static size_t panel_bytes(const struct qlinear *layer) { /* of a tile in the copy that is moved the furthest */
    int furthest = TILE_ROW_BYTES - TILE_ROW_BYTES / copies_for(layer);
    return (size_t)(furthest + layer->in + TILE_ROW_BYTES - 1) / TILE_ROW_BYTES * TILE_ROWS * GROUP_BYTES;
}

static uint8_t *panel_of(const struct qlinear *layer, int copy, int tile) {
    size_t number = (size_t)copy * (size_t)tiles_of(layer->out) + (size_t)tile;
    return (uint8_t *)tile_constants(layer, tiles_of(layer->out)) + number * panel_bytes(layer);
}

/* The layer for BESIDE. */
static struct qlinear beside(const struct qlinear *layer) {
    struct qlinear other = *layer;
    other.packed = panel_of(layer, copies_for(layer), 0);
    return other;
}

static size_t tiled_layer_bytes(const struct qlinear *layer) {
    size_t panels = (size_t)copies_for(layer) * (size_t)tiles_of(layer->out);
    return (size_t)tiles_of(layer->out) * sizeof(struct tile) + panels * panel_bytes(layer) + BESIDE.layer_bytes(layer);
}

static void pack_panel(const struct qlinear *layer, int copy, int tile) {
    int lanes = tile_registers(layer->out, tile) * LANES, shift = shift_of(layer, copy);
    for (int lane = 0; lane < lanes; lane++) {
        int c = tile * TILE + lane_output(lanes / LANES, lane);
        const int8_t *w = layer->weight + (size_t)c * (size_t)layer->in;
        for (int k = 0; c < layer->out && k < layer->in; k++)
            put_int8(panel_of(layer, copy, tile), lanes, lane, shift + k, w[k]);
    }
}

static void pack_layer(const struct qlinear *layer) {
    struct qlinear other = beside(layer);
    for (int tile = 0; tile < tiles_of(layer->out); tile++) {
        pack_tile_constants(layer, tile, (struct form){0});
        for (int copy = 0; copy < copies_for(layer); copy++) pack_panel(layer, copy, tile);
    }
#ifndef AMX_MODEL
    use_floats(layer, 0);
#endif
    BESIDE.pack_layer(&other);
}

/* ---- which rows make a block ---- */

/* Rows that go through all tiles of a layer together. */
struct group {
    const uint8_t *x; /* where the line begins in which the first row does */
    uint8_t *y;
    size_t x_stride, y_stride;
    int height, copy; /* 1 to 32 rows; of the weights */
    int first, end;   /* the steps that count: in all others all rows are 0 */
};

struct rows {
    const uint8_t *x;
    uint8_t *y;
    size_t x_stride, y_stride, count;
    size_t least; /* this many are not too few for tiles */
};

/* Whether the inputs of a step are 0 in all rows; mostly the first four rows tell. */
TARGET static int is_dark(const struct qlinear *layer, const struct group *g, int step) {
    enum { WORDS = TILE_ROW_BYTES / 8 };
    const uint8_t *x = g->x + (size_t)step * TILE_ROW_BYTES;
    int from = shift_of(layer, g->copy) - step * TILE_ROW_BYTES, to = from + layer->in;
    uint64_t mine[WORDS] = {0}, any[WORDS] = {0}; /* the bytes that are inputs of these rows */
    from = from < 0 ? 0 : from, to = to > TILE_ROW_BYTES ? TILE_ROW_BYTES : to;
    memset((uint8_t *)mine + from, 255, (size_t)(to - from));
    for (int r = 0; r < g->height; r += 4) {
        for (int i = r; i < r + 4 && i < g->height; i++)
            for (int word = 0; word < WORDS; word++) {
                uint64_t eight;
                memcpy(&eight, x + (size_t)i * g->x_stride + 8 * word, sizeof eight);
                any[word] |= eight & mine[word];
            }
        if (any[0] | any[1] | any[2] | any[3] | any[4] | any[5] | any[6] | any[7]) return 0;
    }
    return 1;
}

/* Steps of border pixels alone are left out, at both ends: of MNIST's 13 they are the first one or two and the last
 * two. Within, 32 images leave none dark. */
TARGET static struct group lit_group(const struct qlinear *layer, struct group g) {
    g.first = 0, g.end = steps_of(layer, g.copy);
    while (g.first < g.end && is_dark(layer, &g, g.first)) g.first++;
    while (g.first < g.end && is_dark(layer, &g, g.end - 1)) g.end--;
    return g;
}

/* The groups of count rows of which every copies-th goes through the same copy of the weights. */
TARGET static int cut_rows(const struct qlinear *layer, const struct rows *rows, size_t count, int copies,
                           struct group *groups) {
    size_t each = count / (size_t)copies;
    int n = 0;
    for (size_t first = 0; first < each; first += BLOCK_ROWS)
        for (int copy = 0; copy < copies; copy++) {
            size_t row = first * (size_t)copies + (size_t)copy, left = each - first;
            groups[n++] = lit_group(layer,
                                    (struct group){.x = rows->x + row * rows->x_stride - shift_of(layer, copy),
                                                   .y = rows->y + row * rows->y_stride,
                                                   .x_stride = (size_t)copies * rows->x_stride,
                                                   .y_stride = (size_t)copies * rows->y_stride,
                                                   .height = left < BLOCK_ROWS ? (int)left : BLOCK_ROWS,
                                                   .copy = copy});
        }
    return n;
}

/* Cuts the first rows, MOST_ROWS at most, into groups, of which only the last few are not 32 high. Returns how many
 * rows they are; 0: fewer than the least are left. */
TARGET static size_t take_rows(const struct qlinear *layer, const struct rows *rows, uint8_t *scratch,
                               struct group *groups, int *n) {
    struct rows from = *rows;
    size_t count = rows->count < MOST_ROWS ? rows->count : MOST_ROWS, copies = (size_t)copies_for(layer);
    if (rows->count < rows->least) return 0;
    if (rows->x_stride % TILE_ROW_BYTES) {
        size_t whole = copies * BLOCK_ROWS;
        if (copies > 1 && (uintptr_t)rows->x % TILE_ROW_BYTES == 0 && count >= BLOCK_ROWS) {
            count = count < whole ? count / copies * copies : count / whole * whole;
            *n = cut_rows(layer, rows, count, (int)copies, groups);
            return count;
        }
        if (count > QLINEAR_SCRATCH) count = QLINEAR_SCRATCH;
        from.x = scratch, from.x_stride = qlinear_stride(layer->in);
        for (size_t r = 0; r < count; r++)
            memcpy(scratch + r * from.x_stride, rows->x + r * rows->x_stride, (size_t)layer->in);
    }
    if (count > BLOCK_ROWS && count % BLOCK_ROWS < rows->least) count -= count % BLOCK_ROWS;
    *n = cut_rows(layer, &from, count, 1, groups);
    return count;
}

/* ---- the kernel ---- */

static struct tile_block block_of(const struct qlinear *layer, const struct group *g, int tile, int as_sums) {
    int wide = tile_registers(layer->out, tile) == 2, tiles = tiles_of(layer->out);
    int fetch = (g->height + tiles - 1) / tiles; /* the next group's rows, shared out over the tiles of this one */
    size_t step_bytes = (size_t)TILE_ROWS * TILE_ROW_BYTES << wide, first = (size_t)g->first;
    return (struct tile_block){.x = g->x + first * TILE_ROW_BYTES,
                               .x_stride = g->x_stride,
                               .w = panel_of(layer, g->copy, tile) + first * step_bytes,
                               .steps = g->end - g->first,
                               .once = STEPS_IN_L1,
                               .height = g->height,
                               .wide = wide,
                               .tile = tile,
                               .y = g->y,
                               .y_stride = g->y_stride,
                               .as_sums = as_sums,
                               .ahead = g->x + (size_t)(g->height + tile * fetch) * g->x_stride +
                                   first * TILE_ROW_BYTES,
                               .fetch = fetch};
}

/* n groups of the same height through all tiles. */
TARGET static void run_groups(const struct qlinear *layer, const struct group *groups, int n, int as_sums) {
    struct leaving before;
    struct tile_shapes shapes = tile_shapes_of(groups->height);
    int tiles = tiles_of(layer->out), large = (size_t)tiles * panel_bytes(layer) > LARGE_BYTES;
    int outer = large ? tiles : n, inner = large ? n : tiles;
    before.of.height = 0;
    tiles_configure(&shapes);
    for (int i = 0; i < outer; i++)
        for (int j = 0; j < inner; j++) {
            struct tile_block now = block_of(layer, &groups[large ? j : i], large ? i : j, as_sums);
            run_amx_block(layer, &now, &before);
        }
    end_amx_blocks(layer, &before);
    tiles_release();
}

/* What can be done in tiles. Returns how many rows that is. */
TARGET static size_t run_tiles(const struct qlinear *layer, struct rows rows, int as_sums, void *scratch) {
    struct group groups[MOST_BLOCKS];
    size_t done = 0, taken;
    for (int n; (taken = take_rows(layer, &rows, scratch, groups, &n)); done += taken, rows.count -= taken) {
        for (int first = 0, end; first < n; first = end) {
            for (end = first + 1; end < n && groups[end].height == groups[first].height; end++) {}
            run_groups(layer, groups + first, end - first, as_sums);
        }
        rows.x += taken * rows.x_stride, rows.y += taken * rows.y_stride;
    }
    return done;
}

static void run(const struct qlinear *layer, const uint8_t *x, size_t x_stride, size_t rows, uint8_t *y,
                size_t y_stride, void *scratch) {
    size_t done = run_tiles(layer, (struct rows){x, y, x_stride, y_stride, rows, FEW}, 0, scratch);
    struct qlinear other = beside(layer);
    if (done < rows)
        BESIDE.run(&other, x + done * x_stride, x_stride, rows - done, y + done * y_stride, y_stride, scratch);
}

/* Of any number of rows in tiles: they come by batches. */
static void sums(const struct qlinear *layer, const uint8_t *x, size_t x_stride, size_t rows, int32_t *acc,
                 void *scratch) {
    size_t y_stride = (size_t)layer->out * sizeof *acc;
    run_tiles(layer, (struct rows){x, (uint8_t *)acc, x_stride, y_stride, rows, 1}, 1, scratch);
}

/* The steps that are left out of the groups, of the inputs that are there; and what BESIDE leaves out. */
static size_t left_out(const struct qlinear *layer, const uint8_t *x, size_t x_stride, size_t rows, void *scratch) {
    struct group groups[MOST_BLOCKS];
    struct rows left = {x, NULL, x_stride, 0, rows, FEW};
    size_t products = 0, taken;
    for (int n; (taken = take_rows(layer, &left, scratch, groups, &n)); left.count -= taken) {
        left.x += taken * x_stride;
        for (int i = 0; i < n; i++) {
            int from = groups[i].first * TILE_ROW_BYTES - shift_of(layer, groups[i].copy);
            int to = groups[i].end * TILE_ROW_BYTES - shift_of(layer, groups[i].copy);
            from = from < 0 ? 0 : from, to = to > layer->in ? layer->in : to;
            products += (size_t)(layer->in - (to > from ? to - from : 0)) * (size_t)groups[i].height;
        }
    }
    struct qlinear other = beside(layer);
    products *= (size_t)layer->out;
    return left.count && BESIDE.left_out ? products + BESIDE.left_out(&other, left.x, x_stride, left.count, scratch)
                                         : products;
}

const struct qkernel qkernel_amx_int8 = {
    "amx-int8", "AMX, 16,384 products a tdpbusd", supported, run, tiled_layer_bytes, pack_layer, 16, left_out, sums,
    MOST_ROWS};
#else
typedef int amx_int8_is_for_x86_64;
#endif
