/* VECTORISED before a function has the compiler make it several times, for wider and wider vector instructions, and
 * the loader take the widest that the CPU has. For plain loops over arrays: the results are the same, bit for bit,
 * since nothing is reordered (no -ffast-math) and no multiply-add is fused (-ffp-contract=off).
 * For clang's sake such a function is static, and no other of its name is anywhere in the program: a resolver of
 * clang's is global even then, and other files do not find the function itself by its name.
 * Choosing is up to the loader (ifunc), which glibc's does and musl's does not. */
#ifndef BASE_VECTORISE_H
#define BASE_VECTORISE_H

#include <stdint.h> /* glibc's headers say that it is glibc, whose loader can choose; musl's cannot */

#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(MNISTQ_NO_CLONES)
#define VECTORISED __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define VECTORISED
#endif

#endif
