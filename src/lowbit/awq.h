/* AWQ (Lin et al. 2023, sections 3.2 and 4; the constants are those of its authors' program, llm-awq): inputs that are
 * large on average have their weights scaled up before rounding, and each block of weights is clipped. Two searches,
 * both for the least output error of the layer on the calibration images, gram = X^T X [in][in]. */
#ifndef LOWBIT_AWQ_H
#define LOWBIT_AWQ_H

#include "lowbit/gptq.h"

/* The first: the scale of each input, s_k = mean|x_k|^alpha, normalised to sqrt(max s * min s) = 1, by the alpha of
 * 0, 0.05, ... 0.95 that gives the least output error when W diag(s) is rounded to nearest on min-max grids (grid_of).
 * magnitude [in] = mean |x_k|; scale [in] out; *alpha out. Inputs never active keep s = 1. m gives the format; its
 * codes are scratch. Error: out of memory. */
bool awq_scales(const float *w, const double *gram, const float *magnitude, struct coded_matrix *m, float *scale,
                double *alpha, struct error *err);

/* The second, on w = W diag(s) and the gram of the inputs divided by s: each block is rounded to nearest on the one of
 * its grids, min-max shrunk by 1, 0.95, ... 0.55, that gives the least error of what the block adds to the output. (A
 * grid shrunk by c is that of the weights clipped to c of their largest.) Error: out of memory. */
bool awq_codes(const float *w, const double *gram, struct coded_matrix *m, struct error *err);

#endif
