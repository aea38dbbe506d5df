/* A digest by which two runs tell whether they made the same bytes: FNV-1a, 64 bits (Fowler, Noll and Vo 1991). It
 * finds mistakes; against an enemy there is SHA-256. */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#define DIGEST_START 0xcbf29ce484222325u

/* The digest of what came before, from DIGEST_START on, and of bytes [size] behind it. */
static inline uint64_t digest_add(uint64_t digest, const void *bytes, size_t size) {
    for (const unsigned char *b = bytes; size--; b++) digest = (digest ^ *b) * 0x100000001b3u;
    return digest;
}

#endif
