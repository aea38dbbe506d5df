#include "lowbit/cholesky.h"

#include <math.h>
#include <stddef.h>

/* LAPACK's own symbols: OpenBLAS brings them, with or without lapacke.h. Column-major: what is "L" to LAPACK is
 * the upper triangle to us. */
void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info);
void dpotri_(const char *uplo, const int *n, double *a, const int *lda, int *info);

bool cholesky_of_inverse(int n, double *a) {
    int info = 0;
    size_t size = (size_t)n;
    dpotrf_("L", &n, a, &n, &info);
    if (info == 0) dpotri_("L", &n, a, &n, &info); /* the inverse, in our upper triangle */
    if (info == 0) dpotrf_("L", &n, a, &n, &info); /* a^-1 = L L^T; L in column-major is U = L^T in row-major */
    bool ok = info == 0;
    for (size_t i = 0; i < size; i++) {
        for (size_t j = 0; j < i; j++) a[i * size + j] = 0;
        ok = ok && isfinite(a[i * size + i]) && a[i * size + i] > 0; /* OpenBLAS lets a NaN pass */
    }
    return ok;
}
