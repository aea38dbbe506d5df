#include "nn/gemm.h"

#include <cblas.h>
#include <stdio.h>
#include <sys/mman.h>

/* A product in BLAS's terms: leading dimensions, and how far apart the parts of A, B and C of two tiles begin. */
struct product {
    CBLAS_TRANSPOSE a_form, b_form;
    int m, n, k, lda, ldb;
    const float *a, *b;
    float *c;
};

static int thread_count; /* 0: not asked yet */

static int threads_now(void) {
    if (thread_count == 0) {
        thread_count = openblas_get_num_threads();
        openblas_set_num_threads(1); /* inside a tile */
    }
    return thread_count;
}

/* Addresses for OpenBLAS's buffers, from gemm_reserve to the first product, which comes after a call of gemm_threads.
 */
static void *reserved;
static size_t reserved_bytes;

int gemm_threads(int threads) {
    if (reserved) munmap(reserved, reserved_bytes);
    reserved = NULL;
    threads_now();
    if (threads > 0) thread_count = threads;
    return thread_count;
}

bool gemm_reserve(struct error *err) {
    static bool done; /* OpenBLAS keeps its buffers */
    for (int threads = threads_now(); !done; threads = 1) {
        reserved_bytes = (size_t)threads * GEMM_THREAD_BYTES;
        void *memory = mmap(NULL, reserved_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1,
                            0);
        if (memory != MAP_FAILED) reserved = memory, thread_count = threads, done = true;
        else if (threads == 1)
            return fail(err, "out of memory: %zu MiB of addresses for OpenBLAS could not be had", reserved_bytes >> 20);
    }
    return true;
}

/* Into how many parts a side is cut: a power of two that leaves each part long enough to be worth a call. Every call
 * packs its B anew, so many rows are cut into long parts: with 125 rows a call, packing took a third of the time. */
static int part_count(int length, int least) {
    int parts = 1;
    while (length / (2 * parts) >= least) parts *= 2;
    return parts;
}

static void run_part(const struct product *p, int by_rows, int first, int count) {
    const float *a = p->a, *b = p->b;
    float *c = p->c;
    int m = p->m, n = p->n;
    if (by_rows) {
        a += p->a_form == CblasNoTrans ? (size_t)first * (size_t)p->lda : (size_t)first;
        c += (size_t)first * (size_t)p->n;
        m = count;
    } else {
        b += p->b_form == CblasNoTrans ? (size_t)first : (size_t)first * (size_t)p->ldb;
        c += first;
        n = count;
    }
    cblas_sgemm(CblasRowMajor, p->a_form, p->b_form, m, n, p->k, 1, a, p->lda, b, p->ldb, 0, c, p->n);
}

/* Cut along the longer side of C; but a gradient dW [out][in] = dy^T * x always by its rows, the outputs, as the
 * forward product is: so that each thread finds its rows of W, of dW and of the optimizer's memory in its own cache. */
static void run(const struct product *p) {
    int is_gradient = p->a_form == CblasTrans, by_rows = is_gradient ? p->m >= 192 : p->m > p->n;
    int parts = by_rows ? part_count(p->m, is_gradient ? 96 : 448) : part_count(p->n, 96);
    int threads = gemm_threads(0), length = by_rows ? p->m : p->n;
    if ((double)p->m * p->n * p->k < 5e5) parts = 1; /* less than waking a thread costs */
#pragma omp parallel for schedule(static) num_threads(threads) if (parts > 1 && threads > 1)
    for (int i = 0; i < parts; i++) {
        int first = (int)((long)length * i / parts), end = (int)((long)length * (i + 1) / parts);
        run_part(p, by_rows, first, end - first);
    }
}

void gemm_nt(int m, int n, int k, const float *a, const float *b, float *c) {
    run(&(struct product){CblasNoTrans, CblasTrans, m, n, k, k, k, a, b, c});
}

void gemm_nn(int m, int n, int k, const float *a, const float *b, float *c) {
    run(&(struct product){CblasNoTrans, CblasNoTrans, m, n, k, k, n, a, b, c});
}

void gemm_tn(int m, int n, int k, const float *a, const float *b, float *c) {
    run(&(struct product){CblasTrans, CblasNoTrans, m, n, k, m, n, a, b, c});
}

const char *gemm_core(void) { return openblas_get_corename(); }

void gemm_describe(char *text, size_t size) {
    char name[32] = "OpenBLAS", version[32] = "";
    int threads = threads_now();
    sscanf(openblas_get_config(), "%31s %31s", name, version); /* "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ..." */
    snprintf(text, size, "%s %s, %s kernels, %d thread%s", name, version, openblas_get_corename(), threads,
             threads == 1 ? "" : "s");
}
