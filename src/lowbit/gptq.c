#include "lowbit/gptq.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/block.h"
#include "base/finite.h"
#include "base/vectorise.h"
#include "lowbit/ternary.h"

/* LAPACK's own symbols: OpenBLAS brings them, with or without lapacke.h. Column-major: what is "L" to LAPACK is
 * the upper triangle to us. */
void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info);
void dpotri_(const char *uplo, const int *n, double *a, const int *lda, int *info);

/* ---- matrices of codes --------------------------------------------------------------------------------------- */

bool coded_matrix_create(int out, int in, int bits, bool symmetric, int block, struct coded_matrix *m,
                         struct error *err) {
    *m = (struct coded_matrix){out, in, bits, block, (in + block - 1) / block, symmetric, NULL, NULL};
    return (m->codes = aligned_array((size_t)out * (size_t)in, 1, err)) &&
        (m->grids = aligned_array((size_t)out * (size_t)m->blocks, sizeof *m->grids, err));
}

void coded_matrix_free(struct coded_matrix *m) {
    free(m->codes);
    free(m->grids);
    *m = (struct coded_matrix){0};
}

static int block_length(const struct coded_matrix *m, int b) {
    return m->in - b * m->block < m->block ? m->in - b * m->block : m->block;
}

void coded_matrix_values(const struct coded_matrix *m, float *w) {
    for (int c = 0; c < m->out; c++)
        for (int k = 0; k < m->in; k++, w++)
            *w = dequantize(m->codes[(size_t)c * (size_t)m->in + (size_t)k], m->grids[c * m->blocks + k / m->block]);
}

void coded_matrix_pack(const struct coded_matrix *m, uint8_t *bytes) {
    for (int c = 0; c < m->out; c++)
        for (int b = 0; b < m->blocks; b++) {
            int n = block_length(m, b);
            integer_block_pack(m->grids[c * m->blocks + b], m->codes + (size_t)c * (size_t)m->in + b * m->block, n,
                               m->bits, m->symmetric, bytes);
            bytes += 2 + !m->symmetric + packed_bytes((size_t)n, m->bits);
        }
}

/* ---- round to nearest ------------------------------------------------------------------------------------------ */

static double grid_error(const float *w, int n, struct qparams g) {
    double sum = 0;
    for (int i = 0; i < n; i++) {
        double e = (double)w[i] - (double)dequantize(quantize(w[i], g), g);
        sum += e * e;
    }
    return sum;
}

struct qparams grid_by_rule(const float *w, int n, int bits, bool symmetric, enum grid_rule rule) {
    if (is_ternary(bits)) return ternary_grid(w, n, bits);
    struct qparams widest = grid_of(w, n, bits, symmetric), best = widest;
    if (rule == GRID_MINMAX) return widest;
    double least = grid_error(w, n, widest);
    int signs = rule == GRID_MSE_SIGNED && symmetric && bits < 8 ? 2 : 1;
    for (int step = 1; step < 36 * signs; step++) {
        struct qparams g = widest;
        g.scale = scale_in_half(widest.scale * (1 - 0.02f * (float)(step % 36))) * (step < 36 ? 1 : -1);
        double error = grid_error(w, n, g);
        if (error < least) {
            least = error;
            best = g;
        }
    }
    return best;
}

void rtn_codes(const float *w, enum grid_rule rule, struct coded_matrix *m) {
#pragma omp parallel for schedule(static)
    for (int c = 0; c < m->out; c++) {
        size_t row = (size_t)c * (size_t)m->in;
        struct qparams *grids = m->grids + c * m->blocks;
        for (int b = 0; b < m->blocks; b++)
            grids[b] = grid_by_rule(w + row + b * m->block, block_length(m, b), m->bits, m->symmetric, rule);
        for (int k = 0; k < m->in; k++)
            m->codes[row + (size_t)k] = (int8_t)code_on_grid(w[row + (size_t)k], grids[k / m->block], m->bits);
    }
}

/* ---- GPTQ ------------------------------------------------------------------------------------------------------ */

bool cholesky_of_inverse(int n, double *a) {
    int info = 0;
    size_t size = (size_t)n;
    dpotrf_("L", &n, a, &n, &info);
    if (info == 0) dpotri_("L", &n, a, &n, &info); /* the inverse, in our upper triangle */
    if (info == 0) dpotrf_("L", &n, a, &n, &info); /* a^-1 = L L^T; L in column-major is U = L^T in row-major */
    bool ok = info == 0;
    for (size_t i = 0; i < size; i++) {
        for (size_t j = 0; j < i; j++) a[i * size + j] = 0;
        ok = ok && is_finite(a[i * size + i]) && a[i * size + i] > 0; /* OpenBLAS lets a NaN pass */
    }
    return ok;
}

/* The order in which columns are quantized: from left to right, or by falling diagonal of gram, equal ones from left to
 * right. */
static void column_order(const double *gram, int in, bool act_order, int *order) {
    size_t diagonal = (size_t)in + 1;
    for (int k = 0; k < in; k++) {
        int at = k;
        for (; act_order && at > 0 && gram[(size_t)order[at - 1] * diagonal] < gram[(size_t)k * diagonal]; at--)
            order[at] = order[at - 1];
        order[at] = k;
    }
}

/* u [in][in]: the factor of the damped inverse Hessian, rows and columns in the given order. The factor 2 / n of H
 * scales U alone and cancels in (w - q) / U_ii * U_ij, so gram itself will do. */
static bool hessian_factor(const double *gram, int in, const int *order, double damping, double *u, struct error *err) {
    size_t n = (size_t)in;
    double mean = 0;
    for (size_t i = 0; i < n; i++) mean += gram[i * n + i] / (double)n;
    if (!(mean > 0)) mean = 1; /* nothing was ever active: any diagonal will do */
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) u[i * n + j] = gram[(size_t)order[i] * n + (size_t)order[j]];
    for (size_t i = 0; i < n; i++) u[i * n + i] = (u[i * n + i] > 0 ? u[i * n + i] : mean) + damping * mean;
    if (!cholesky_of_inverse(in, u))
        return fail(err, "the Hessian is not positive definite, even damped by %g", damping);
    return true;
}

/* One output row. work [in]: the weights in column order, changed as errors are spread; now [in]: scratch. */
static void gptq_row(const float *w, const double *u, const int *order, const struct gptq_config *config,
                     struct coded_matrix *m, int c, double *work, float *now) {
    size_t in = (size_t)m->in;
    struct qparams *grids = m->grids + c * m->blocks;
    for (size_t i = 0; i < in; i++) work[i] = w[order[i]];
    for (size_t i = 0; i < in; i++) {
        int k = order[i], b = k / m->block;
        if (!config->act_order && k % m->block == 0) { /* a block begins: its grid fits the weights as they now are */
            int n = block_length(m, b);
            for (int j = 0; j < n; j++) now[j] = (float)work[i + (size_t)j];
            grids[b] = grid_by_rule(now, n, m->bits, m->symmetric, config->rule);
        }
        int code = quantize((float)work[i], grids[b]);
        m->codes[(size_t)c * in + (size_t)k] = (int8_t)code;
        double error = (work[i] - (double)dequantize(code, grids[b])) / u[i * in + i];
        for (size_t j = i + 1; j < in; j++) work[j] -= error * u[i * in + j];
    }
}

bool gptq_codes(const float *w, const double *gram, const struct gptq_config *config, struct coded_matrix *m,
                struct error *err) {
    size_t in = (size_t)m->in, n = in * (size_t)m->out;
    int *order = aligned_array(in, sizeof *order, err);
    double *u = aligned_array(in * in, sizeof *u, err), *work = aligned_array(n, sizeof *work, err);
    float *now = aligned_array(n, sizeof *now, err);
    bool ok = order && u && work && now;
    if (ok) column_order(gram, m->in, config->act_order, order);
    ok = ok && hessian_factor(gram, m->in, order, config->damping, u, err);
    if (ok) {
        rtn_codes(w, config->rule, m); /* the grids that act-order keeps */
#pragma omp parallel for schedule(static)
        for (int c = 0; c < m->out; c++)
            gptq_row(w + (size_t)c * in, u, order, config, m, c, work + (size_t)c * in, now + (size_t)c * in);
    }
    free(order);
    free(u);
    free(work);
    free(now);
    return ok;
}

/* ---- what the layer's outputs lose ------------------------------------------------------------------------------- */

enum { STRIP = 128, ROWS_AT_ONCE = 512 }; /* columns of gram; rows whose sums are kept */

VECTORISED
static void add_line(double d, const double *restrict line, int n, double *restrict t) {
    for (int j = 0; j < n; j++) t[j] += d * line[j];
}

/* t = d gram is summed line by line, a form that vectorises without reordering a sum, for all rows while a line of gram
 * is at hand. */
void quadratic_forms(int rows, const float *const *w, const float *const *w_hat, int n, const double *gram,
                     size_t stride, double *sums) {
    double t[FORM_ROWS][STRIP];
    for (int r = 0; r < rows; r++) sums[r] = 0;
    for (int first = 0; first < n; first += STRIP) {
        int length = n - first < STRIP ? n - first : STRIP;
        memset(t, 0, sizeof t);
        for (int i = 0; i < n; i++)
            for (int r = 0; r < rows; r++) {
                double d = (double)w[r][i] - (w_hat[r] ? (double)w_hat[r][i] : 0);
                if (d != 0) add_line(d, gram + (size_t)i * stride + first, length, t[r]);
            }
        for (int r = 0; r < rows; r++)
            for (int j = 0; j < length; j++)
                sums[r] += t[r][j] * ((double)w[r][first + j] - (w_hat[r] ? (double)w_hat[r][first + j] : 0));
    }
}

/* The rows are added in their order, whatever the threads did first. */
double output_noise(const float *w, const float *w_hat, int out, int in, const double *gram) {
    double sums[ROWS_AT_ONCE], total = 0;
    for (int first = 0; first < out; first += ROWS_AT_ONCE) {
        int n = out - first < ROWS_AT_ONCE ? out - first : ROWS_AT_ONCE;
#pragma omp parallel for schedule(static)
        for (int c = 0; c < n; c += FORM_ROWS) {
            const float *rows[FORM_ROWS], *rows_hat[FORM_ROWS];
            int count = n - c < FORM_ROWS ? n - c : FORM_ROWS;
            for (int r = 0; r < count; r++) {
                size_t at = (size_t)(first + c + r) * (size_t)in;
                rows[r] = w + at;
                rows_hat[r] = w_hat ? w_hat + at : NULL;
            }
            quadratic_forms(count, rows, rows_hat, in, gram, (size_t)in, sums + c);
        }
        for (int c = 0; c < n; c++) total += sums[c];
    }
    return total;
}

double output_error(const float *w, const float *w_hat, int out, int in, const double *gram) {
    return output_noise(w, w_hat, out, in, gram) / output_noise(w, NULL, out, in, gram);
}

/* ---- codes for the integer engine -------------------------------------------------------------------------------- */

bool convert_codes(const struct mlp *mlp, const struct coded_matrix *codes, const struct range *ranges,
                   bool symmetric_activations, struct qmlp *out, size_t *saturated, struct error *err) {
    struct convert_config config = {.per_channel = true, .symmetric_activations = symmetric_activations};
    if (!convert_start(mlp, ranges, &config, out, err)) return false;
    for (int i = 0; i < mlp->shape.layers; i++) {
        memcpy(out->layer[i].weight, codes[i].codes, (size_t)codes[i].out * (size_t)codes[i].in);
        for (int c = 0; c < codes[i].out; c++) out->weight_scale[i][c] = codes[i].grids[c].scale;
    }
    return convert_complete(mlp, out, saturated, err);
}
