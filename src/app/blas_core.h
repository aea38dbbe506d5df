/* OpenBLAS picks its kernels when it is loaded, by the CPUs its version knows: Debian 12's takes Haswell's, or even
 * Prescott's, on newer ones. The environment variable OPENBLAS_CORETYPE overrides that, but only before loading: so
 * the program starts itself again with it. */
#ifndef APP_BLAS_CORE_H
#define APP_BLAS_CORE_H

/* Replaces the process by itself with better kernels named in the environment, where the CPU has more than the kernels
 * that were picked; returns at once where there is nothing to gain, where OPENBLAS_CORETYPE is set, or when this is the
 * second start already. `mnistq --keep-blas-core` does not call it. */
void blas_core_choose(char **argv);

/* What OpenBLAS had picked on its own, when the program started itself again for better; else NULL. */
const char *blas_core_replaced(void);

#endif
