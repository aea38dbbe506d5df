#include "quant/kernels/amx.h"

#if defined(__x86_64__) && defined(__GNUC__) && defined(__linux__)
#include <cpuid.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 }; /* ARCH_REQ_XCOMP_PERM; the part of the state that is large */

/* The system saves the tiles' shapes and data when it switches threads: bits 17 and 18 of XCR0. */
static int saved_by_system(void) {
    unsigned eax, ebx, ecx, edx;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_OSXSAVE)) return 0;
    __asm__("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    return (eax >> 17 & 3) == 3;
}

/* For the whole process, threads to come included. 0 in permission: nobody has asked yet. */
static int permitted(void) {
    enum { GRANTED = 1, REFUSED };
    static atomic_int permission;
    if (!permission) permission = syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0 ? GRANTED : REFUSED;
    return permission == GRANTED;
}

int amx_supported(enum amx_products products) {
    enum { BFLOATS = 22, TILES = 24, BYTES = 25 }; /* bits of edx in leaf 7 */
    unsigned eax, ebx, ecx, edx;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !(edx >> TILES & 1)) return 0;
    return edx >> (products == AMX_BYTES ? BYTES : BFLOATS) & 1 && saved_by_system() && permitted();
}

#else

int amx_supported(enum amx_products products) {
    (void)products;
    return 0;
}

#endif
