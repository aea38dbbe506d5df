#include "quant/qlinear.h"

#include <string.h>

#include "base/vectorise.h"

void qlinear_ref(const struct qlinear *layer, const uint8_t *x, size_t rows, uint8_t *y) {
    for (size_t row = 0; row < rows; row++, x += layer->in, y += layer->out)
        for (int c = 0; c < layer->out; c++) {
            const int8_t *w = layer->weight + (size_t)c * (size_t)layer->in;
            int32_t acc = layer->bias[c];
            for (int k = 0; k < layer->in; k++) acc += (x[k] - layer->x_zero_point) * w[k];                /* eq. 5 */
            y[c] = requantize(acc, layer->multiplier[c], layer->y_zero_point, layer->y_min, layer->y_max); /* eq. 6 */
        }
}

/* |x_q - z_x| fits int16: the compiler may then multiply and add in pairs. */
VECTORISED
static int32_t dot_pairwise(const uint8_t *restrict x, int32_t x_zero_point, const int8_t *restrict w, int n) {
    int32_t sum = 0;
    for (int k = 0; k < n; k++) sum += (int16_t)(x[k] - x_zero_point) * (int16_t)w[k];
    return sum;
}

int32_t dot_codes(const uint8_t *restrict x, int32_t x_zero_point, const int8_t *restrict w, int n) {
    return dot_pairwise(x, x_zero_point, w, n);
}

void qlinear_fold_bias(struct qlinear *layer) {
    for (int c = 0; c < layer->out; c++) {
        const int8_t *w = layer->weight + (size_t)c * (size_t)layer->in;
        int32_t sum = 0;
        for (int k = 0; k < layer->in; k++) sum += w[k];
        layer->folded_bias[c] = layer->bias[c] - layer->x_zero_point * sum;
    }
}

extern const struct qkernel qkernel_amx_int8, qkernel_avx512vnni, qkernel_avxvnni, qkernel_avx2, qkernel_neon_dot,
    qkernel_wasm_simd128, qkernel_portable;

const struct qkernel *const qkernels[] = {
#if defined(__x86_64__) && defined(__GNUC__)
    &qkernel_amx_int8, &qkernel_avx512vnni,
    &qkernel_avxvnni,  &qkernel_avx2,
#elif defined(__aarch64__) && defined(__GNUC__) && (defined(__linux__) || defined(__APPLE__))
    &qkernel_neon_dot,
#elif defined(__wasm_simd128__)
    &qkernel_wasm_simd128,
#endif
    &qkernel_portable, NULL};

static const struct qkernel *forced;

void qkernel_force(const struct qkernel *kernel) { forced = kernel; }

const struct qkernel *qkernel_best(void) {
    if (forced) return forced;
    const struct qkernel *const *kernel = qkernels;
    while (!(*kernel)->supported()) kernel++; /* the portable one, the last, always is */
    return *kernel;
}

const struct qkernel *qkernel_find(const char *name) {
    const struct qkernel *const *kernel = qkernels;
    while (*kernel && strcmp((*kernel)->name, name) != 0) kernel++;
    return *kernel;
}
