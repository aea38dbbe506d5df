/* Some libraries read their settings from the environment when they are loaded, before main: so the program sets them
 * and starts itself again, once.
 *
 * OpenBLAS picks its kernels by the CPUs its version knows: Debian 12's takes Haswell's, or even Prescott's, on newer
 * ones (OPENBLAS_CORETYPE). GCC's OpenMP lets a waiting thread spin 300,000 times before it sleeps: on a machine that
 * somebody else uses too, the thread that it waits for may need that very CPU, and an epoch took 37 s instead of 0.6
 * (GOMP_SPINCOUNT). */
#ifndef CLI_RESTART_H
#define CLI_RESTART_H

#include <stddef.h>

/* Replaces the process by itself with better settings in the environment; returns at once where there is nothing to
 * gain, where the user's environment has them already, under valgrind (there it goes on with one thread), or when this
 * is the second start. `mnistq --keep-blas-core` does not call it. */
void restart_with_better_settings(void);

/* What OpenBLAS had picked on its own, when the program started itself again for better; else NULL. */
const char *blas_core_replaced(void);

/* The file that this program was loaded from, in path or as "/proc/self/exe", which is the dynamic loader where that
 * was started with the program's name. */
const char *program_path(char *path, size_t size);

#endif
