#include "nn/gemm.h"

#include <cblas.h>
#include <stdio.h>

void gemm_nt(int m, int n, int k, const float *a, const float *b, float *c) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1, a, k, b, k, 0, c, n);
}

void gemm_nn(int m, int n, int k, const float *a, const float *b, float *c) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1, a, k, b, n, 0, c, n);
}

void gemm_tn(int m, int n, int k, const float *a, const float *b, float *c) {
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, m, n, k, 1, a, m, b, n, 0, c, n);
}

int gemm_threads(int threads) {
    if (threads > 0) openblas_set_num_threads(threads);
    return openblas_get_num_threads();
}

void gemm_describe(char *text, size_t size) {
    char name[32] = "OpenBLAS", version[32] = "";
    sscanf(openblas_get_config(), "%31s %31s", name, version); /* "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ..." */
    int threads = openblas_get_num_threads();
    snprintf(text, size, "%s %s, %s kernels, %d thread%s", name, version, openblas_get_corename(), threads,
             threads == 1 ? "" : "s");
}
