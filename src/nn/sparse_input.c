#include "nn/sparse_input.h"

#include <math.h>
#include <string.h>

#include "base/vectorise.h"
#include "nn/gemm.h"

/* ---- the reference ----------------------------------------------------------------------------------------------- */

void sparse_forward_ref(const float *w, const float *x, int count, int in, int out, float *y) {
    for (int i = 0; i < count; i++)
        for (int j = 0; j < out; j++) {
            float sum = 0;
            for (int k = 0; k < in; k++)
                sum = fmaf(x[(size_t)i * (size_t)in + (size_t)k], w[(size_t)k * (size_t)out + (size_t)j], sum);
            y[(size_t)i * (size_t)out + (size_t)j] = sum;
        }
}

void sparse_gradient_ref(const float *x, const float *dy, int count, int in, int out, float *dw) {
    for (int k = 0; k < in; k++)
        for (int j = 0; j < out; j++) {
            float sum = 0;
            for (int i = 0; i < count; i++)
                sum = fmaf(x[(size_t)i * (size_t)in + (size_t)k], dy[(size_t)i * (size_t)out + (size_t)j], sum);
            dw[(size_t)k * (size_t)out + (size_t)j] = sum;
        }
}

/* ---- which kernel ------------------------------------------------------------------------------------------------ */

extern const struct sparse_kernel sparse_avx512, sparse_avx2;
const struct sparse_kernel *const sparse_kernels[] = {
#if defined(__x86_64__) && defined(__GNUC__)
    &sparse_avx512, &sparse_avx2,
#endif
    NULL};

const struct sparse_kernel *sparse_kernel_best(void) {
    int i = 0;
    while (sparse_kernels[i] && !sparse_kernels[i]->supported()) i++;
    return sparse_kernels[i];
}

/* ---- what is not 0 ----------------------------------------------------------------------------------------------- */

enum {
    GROUPS = (SPARSE_CHUNK + SPARSE_ROWS - 1) / SPARSE_ROWS, /* of a chunk of rows; the last has one row */
    STRIPE = 64                                              /* inputs that one thread looks at together */
};

static int chunks_of(int count) { return (count + SPARSE_CHUNK - 1) / SPARSE_CHUNK; }

bool sparse_input_create(int in, int out, int capacity, const struct sparse_kernel *kernel, struct sparse_input *s,
                         struct error *err) {
    *s = (struct sparse_input){.kernel = kernel, .in = in, .out = out};
    size_t inputs = (size_t)in, chunks = (size_t)chunks_of(capacity);
    do {
        s->lit = block_take(&s->block, chunks * inputs, sizeof *s->lit);
        s->seen = block_take(&s->block, inputs, sizeof *s->seen);
        s->lists = block_take(&s->block, chunks * GROUPS * inputs, sizeof *s->lists);
        s->listed = block_take(&s->block, chunks * GROUPS, sizeof *s->listed);
    } while (block_again(&s->block, err));
    return s->block.memory != NULL;
}

void sparse_input_free(struct sparse_input *s) { block_free(&s->block); }

/* lit [n] = which of the rows of x [rows][stride] have an input that is not 0; rows <= 64 */
VECTORISED
static void lit_rows(const float *restrict x, size_t stride, int rows, int n, uint64_t *restrict lit) {
    memset(lit, 0, (size_t)n * sizeof *lit);
    for (int r = 0; r < rows; r++, x += stride)
        for (int k = 0; k < n; k++) lit[k] |= (uint64_t)(x[k] != 0) << r;
}

static void mark_stripe(struct sparse_input *s, const float *x, int count, int first) {
    int n = s->in - first < STRIPE ? s->in - first : STRIPE;
    for (int chunk = 0; chunk < chunks_of(count); chunk++) {
        int row = chunk * SPARSE_CHUNK, rows = count - row < SPARSE_CHUNK ? count - row : SPARSE_CHUNK;
        uint64_t *lit = s->lit + (size_t)chunk * (size_t)s->in + first;
        lit_rows(x + (size_t)row * (size_t)s->in + first, (size_t)s->in, rows, n, lit);
        for (int k = 0; k < n; k++) s->seen[first + k] |= lit[k] != 0;
    }
}

/* Rows of group g: its first, and the others or, where there are no more, the last one again. */
static int group_row(int g, int r, int count) {
    int chunk = g / GROUPS, row = chunk * SPARSE_CHUNK + g % GROUPS * SPARSE_ROWS + r, end = (chunk + 1) * SPARSE_CHUNK;
    end = end < count ? end : count;
    return row < end ? row : end - 1;
}

static void list_group(struct sparse_input *s, int g) {
    const uint64_t *lit = s->lit + (size_t)(g / GROUPS) * (size_t)s->in;
    uint64_t rows = (((uint64_t)1 << SPARSE_ROWS) - 1) << g % GROUPS * SPARSE_ROWS;
    uint16_t *list = s->lists + (size_t)g * (size_t)s->in;
    int n = 0;
    for (int k = 0; k < s->in; k++) {
        list[n] = (uint16_t)k;
        n += (lit[k] & rows) != 0;
    }
    s->listed[g] = n;
}

/* ---- the passes, cut by sizes alone ------------------------------------------------------------------------------ */

/* Outputs are cut into blocks of equal width, at least two where that leaves half a kernel's block to each: a thread
 * then finds its weights in its own cache in both passes. */
struct blocks {
    int count, width;
};

static struct blocks blocks_of(const struct sparse_input *s) {
    int most = s->out <= s->kernel->block ? s->kernel->block / 2 : s->kernel->block;
    return (struct blocks){(s->out + most - 1) / most, most};
}

static void forward_group(const struct sparse_input *s, const float *w, const float *x, int count, int g, int first,
                          int width, float *y) {
    const float *from[SPARSE_ROWS];
    float *to[SPARSE_ROWS];
    for (int r = 0; r < SPARSE_ROWS; r++) {
        from[r] = x + (size_t)group_row(g, r, count) * (size_t)s->in;
        to[r] = y + (size_t)group_row(g, r, count) * (size_t)s->out + first;
    }
    s->kernel->forward(from, s->lists + (size_t)g * (size_t)s->in, s->listed[g], w + first, (size_t)s->out, width, to);
}

enum { PARTS = 4 }; /* of the rows or inputs of a block, for more threads than blocks */

void sparse_input_forward(struct sparse_input *s, const float *w, const float *x, int count, float *y) {
    struct blocks blocks = blocks_of(s);
    int last = (count - 1) % SPARSE_CHUNK, groups = (chunks_of(count) - 1) * GROUPS + last / SPARSE_ROWS + 1;
#pragma omp parallel num_threads(gemm_threads(0))
    {
#pragma omp for schedule(static)
        for (int first = 0; first < s->in; first += STRIPE) mark_stripe(s, x, count, first);
#pragma omp for schedule(static)
        for (int g = 0; g < groups; g++) list_group(s, g);
#pragma omp for schedule(static)
        for (int task = 0; task < blocks.count * PARTS; task++) {
            int first = task / PARTS * blocks.width, part = task % PARTS;
            int width = s->out - first < blocks.width ? s->out - first : blocks.width;
            for (int g = groups * part / PARTS; g < groups * (part + 1) / PARTS; g++)
                forward_group(s, w, x, count, g, first, width, y);
        }
    }
}

void sparse_input_backward(const struct sparse_input *s, const float *x, const float *dy, int count,
                           sparse_gradient_fn use, void *context) {
    struct blocks blocks = blocks_of(s);
    size_t in = (size_t)s->in, out = (size_t)s->out;
    int chunks = chunks_of(count);
#pragma omp parallel for schedule(static) num_threads(gemm_threads(0))
    for (int task = 0; task < blocks.count * PARTS; task++) {
        _Alignas(BLOCK_ALIGN) float gradient[SPARSE_MAX_BLOCK];
        int first = task / PARTS * blocks.width, part = task % PARTS;
        int width = s->out - first < blocks.width ? s->out - first : blocks.width;
        for (size_t k = in * (size_t)part / PARTS; k < in * ((size_t)part + 1) / PARTS; k++) {
            if (!s->seen[k]) continue;
            s->kernel->gradient(s->lit + k, in, chunks, x + k, in, dy + first, out, width, gradient);
            use(context, k * out + (size_t)first, (size_t)width, gradient);
        }
    }
}
