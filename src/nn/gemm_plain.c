/* gemm.h in plain C, for machines without BLAS and for programs that embed a model: what the neighbour gemm.c computes,
 * with sums in another order. One thread, and no state of the process is touched. */
#include <stdio.h>
#include <string.h>

#include "base/vectorise.h"
#include "nn/gemm.h"

enum { LANES = 16 }; /* sums side by side, since additions of floats are not reordered for the sake of vectors */

/* c [n] = a [k] * B^T, with B [n][k] */
VECTORISED
static void row_times_transposed(const float *restrict a, const float *restrict b, int n, int k, float *restrict c) {
    for (int j = 0; j < n; j++, b += k) {
        float lanes[LANES] = {0}, sum = 0;
        int i = 0;
        for (; i + LANES <= k; i += LANES)
            for (int l = 0; l < LANES; l++) lanes[l] += a[i + l] * b[i + l];
        for (; i < k; i++) sum += a[i] * b[i];
        for (int l = 0; l < LANES; l++) sum += lanes[l];
        c[j] = sum;
    }
}

/* c [n] += x * b [n] */
VECTORISED
static void add_scaled_row(float x, const float *restrict b, int n, float *restrict c) {
    for (int j = 0; j < n; j++) c[j] += x * b[j];
}

void gemm_nt(int m, int n, int k, const float *a, const float *b, float *c) {
    for (int i = 0; i < m; i++) row_times_transposed(a + (size_t)i * (size_t)k, b, n, k, c + (size_t)i * (size_t)n);
}

/* C [m][n] = A * B [k][n], where A's element (i, j) is a[i * row + j * column] */
static void sum_scaled_rows(int m, int n, int k, const float *a, size_t row, size_t column, const float *b, float *c) {
    memset(c, 0, (size_t)m * (size_t)n * sizeof *c);
    for (int i = 0; i < m; i++)
        for (int j = 0; j < k; j++)
            add_scaled_row(a[(size_t)i * row + (size_t)j * column], b + (size_t)j * (size_t)n, n,
                           c + (size_t)i * (size_t)n);
}

void gemm_nn(int m, int n, int k, const float *a, const float *b, float *c) {
    sum_scaled_rows(m, n, k, a, (size_t)k, 1, b, c);
}

void gemm_tn(int m, int n, int k, const float *a, const float *b, float *c) {
    sum_scaled_rows(m, n, k, a, 1, (size_t)m, b, c);
}

bool gemm_reserve(struct error *err) {
    (void)err;
    return true;
}

int gemm_threads(int threads) {
    (void)threads;
    return 1;
}

const char *gemm_core(void) { return "plain C"; }

void gemm_describe(char *text, size_t size) { snprintf(text, size, "plain C, 1 thread"); }
