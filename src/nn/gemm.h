/* The matrix products of training, through BLAS. Matrices are row-major and dense.
 * The letters tell which side is transposed: n as it is, t transposed.
 *
 * A product is cut into tiles of C by its size alone, each tile one call of single-threaded BLAS, and the tiles are
 * shared out to threads by OpenMP: the result is the same, bit for bit, whatever the number of threads. (BLAS's own
 * threading cuts by the number of threads, and sums round differently; it also wakes its threads anew for each of the
 * small products of a batch of 64.) */
#ifndef NN_GEMM_H
#define NN_GEMM_H

#include <stddef.h>

#include "base/error.h"

/* C [m][n] = A [m][k] * B^T, with B [n][k] */
void gemm_nt(int m, int n, int k, const float *a, const float *b, float *c);

/* C [m][n] = A [m][k] * B [k][n] */
void gemm_nn(int m, int n, int k, const float *a, const float *b, float *c);

/* C [m][n] = A^T * B [k][n], with A [k][m] */
void gemm_tn(int m, int n, int k, const float *a, const float *b, float *c);

/* What a thread needs of addresses for its first product: OpenBLAS's buffer of 128 MiB, a stack, and some. */
#define GEMM_THREAD_BYTES ((size_t)144 << 20)

/* Makes sure of these addresses, for all threads or else for one, and keeps them until the first product: where
 * OpenBLAS cannot have its buffer, it tries for ever. mlp_workspace_create calls it, so that what computes need not.
 * Error: out of memory. */
bool gemm_reserve(struct error *err);

/* Threads that share the tiles: 0 leaves them as they are (at first what OPENBLAS_NUM_THREADS or OMP_NUM_THREADS say,
 * else one for each core). Returns how many there now are. */
int gemm_threads(int threads);

/* The kernels that BLAS picked for this CPU: "Haswell", "SkylakeX", ... */
const char *gemm_core(void);

/* Which BLAS this is, for the provenance of a table: "OpenBLAS 0.3.21, Haswell kernels, 2 threads". */
void gemm_describe(char *text, size_t size);

#endif
