/* Hadamard rotation (QuaRot, Ashkboos et al. 2024, section 4): W x = (W H^T)(H x) with H orthogonal and all entries of
 * one size, so that a weight or activation far beyond the others becomes a little of each. */
#ifndef LOWBIT_HADAMARD_H
#define LOWBIT_HADAMARD_H

#include "nn/mlp.h"

/* The largest power of two that divides n: what one block of H spans. */
static inline int hadamard_block(int n) { return n & -n; }

/* In place: each block of x [n] becomes H x, H the Walsh-Hadamard matrix / sqrt(block), its own inverse. */
void hadamard_rotate(float *x, int n);

/* A network that computes what from does, its layer reading H x. H x may be below 0 and layers end in
 * ReLU: so one more layer, [H; -H], gives relu(H x) and relu(-H x), and the layer's weights become [W H^T, -W H^T]. Its
 * entries are +-1 / sqrt(block), which int8 holds exactly: any integer engine runs it. Errors: too many layers, or
 * too wide ones; out of memory. Release with mlp_free. */
bool hadamard_insert(const struct mlp *from, int layer, struct mlp *out, struct error *err);

#endif
