/* Every matrix product of the network, through BLAS. Matrices are row-major and dense.
 * The letters tell which side is transposed: n as it is, t transposed. */
#ifndef NN_GEMM_H
#define NN_GEMM_H

#include <stddef.h>

/* C [m][n] = A [m][k] * B^T, with B [n][k] */
void gemm_nt(int m, int n, int k, const float *a, const float *b, float *c);

/* C [m][n] = A [m][k] * B [k][n] */
void gemm_nn(int m, int n, int k, const float *a, const float *b, float *c);

/* C [m][n] = A^T * B [k][n], with A [k][m] */
void gemm_tn(int m, int n, int k, const float *a, const float *b, float *c);

/* Threads that BLAS may use: 0 leaves its own choice. Returns how many it now uses. */
int gemm_threads(int threads);

/* Which BLAS this is, for the provenance of a table: "OpenBLAS 0.3.21, Haswell kernels, 2 threads". */
void gemm_describe(char *text, size_t size);

#endif
