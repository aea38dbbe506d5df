/* Symmetric positive definite matrices, through the LAPACK inside OpenBLAS. Row-major, [n][n], both triangles. */
#ifndef LOWBIT_CHOLESKY_H
#define LOWBIT_CHOLESKY_H

#include <stdbool.h>

/* In place: a becomes the upper triangular U with U^T U = a^-1 (zeros below). False when a is not positive
 * definite; a is then not to be used. */
bool cholesky_of_inverse(int n, double *a);

#endif
