/* Preloaded by tests/cli/memory.sh: lets one allocation of a program fail, as when memory is short. Needs glibc.
 *   FAIL_ALLOC=N        the Nth call after main began returns NULL
 *   FAIL_ALLOC_LOG=FILE writes the first N of each place that allocates, and the place's number
 * A place is a chain of callers. Not counted is what libraries ask for that do not stand a failure: OpenBLAS
 * and OpenMP try again without end, or stop the program; OpenSSL 3.0 takes a lock that it could not make. */
#include <stdlib.h>
#ifdef __GLIBC__ /* elsewhere it is empty, and the suite is skipped */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t),
    *__libc_memalign(size_t, size_t);

enum { MAX_RANGES = 64, MAX_PLACES = 1 << 14, DEEPEST = 7 };
static struct { uintptr_t from, to; } spared[MAX_RANGES];
static struct {
    uint64_t chain;
    long first;
} places[MAX_PLACES];
static int spared_count, place_count;
static long calls, wanted;
static bool counting, logging;
static int (*program_main)(int, char **, char **);

static int note_library(struct dl_phdr_info *library, size_t size, void *unused) {
    static const char *const names[] = {"openblas", "crypto",   "libgomp", "libomp",
                                        "gfortran", "quadmath", "libgcc",  "ld-linux"};
    (void)size, (void)unused;
    bool mine = true;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) mine &= !strstr(library->dlpi_name, names[i]);
    for (int i = 0; !mine && i < library->dlpi_phnum && spared_count < MAX_RANGES; i++) {
        uintptr_t from = library->dlpi_addr + library->dlpi_phdr[i].p_vaddr;
        if (library->dlpi_phdr[i].p_type != PT_LOAD) continue;
        spared[spared_count].from = from, spared[spared_count++].to = from + library->dlpi_phdr[i].p_memsz;
    }
    return 0;
}

static void note_place(void) {
    void *caller[DEEPEST];
    uint64_t chain = 1469598103934665603u; /* FNV-1a, a word at a time */
    int depth = backtrace(caller, DEEPEST), i = 0;
    for (int k = 0; k < depth; k++) {
        Dl_info from = {0}; /* libraries lie elsewhere in each run */
        dladdr(caller[k], &from);
        chain = (chain ^ ((uintptr_t)caller[k] - (uintptr_t)from.dli_fbase)) * 1099511628211u;
    }
    while (i < place_count && places[i].chain != chain) i++;
    if (i == MAX_PLACES) return;
    if (i == place_count) places[place_count++].chain = chain, places[i].first = calls;
}

static bool fails(void *caller) {
    if (!counting) return false;
    for (int i = 0; i < spared_count; i++)
        if ((uintptr_t)caller >= spared[i].from && (uintptr_t)caller < spared[i].to) return false;
    calls++;
    if (logging) {
        counting = false; /* backtrace may allocate */
        note_place();
        counting = true;
    }
    if (calls != wanted) return false;
    errno = ENOMEM;
    return true;
}

EXPORT void *malloc(size_t size) { return fails(__builtin_return_address(0)) ? NULL : __libc_malloc(size); }
EXPORT void *calloc(size_t n, size_t size) {
    return fails(__builtin_return_address(0)) ? NULL : __libc_calloc(n, size);
}
EXPORT void *realloc(void *block, size_t size) {
    return fails(__builtin_return_address(0)) ? NULL : __libc_realloc(block, size);
}
EXPORT void *memalign(size_t align, size_t size) {
    return fails(__builtin_return_address(0)) ? NULL : __libc_memalign(align, size);
}
EXPORT void *aligned_alloc(size_t align, size_t size) {
    return fails(__builtin_return_address(0)) ? NULL : __libc_memalign(align, size);
}
EXPORT int posix_memalign(void **block, size_t align, size_t size) {
    *block = fails(__builtin_return_address(0)) ? NULL : __libc_memalign(align, size);
    return *block ? 0 : ENOMEM;
}

static void write_log(void) {
    FILE *log = fopen(getenv("FAIL_ALLOC_LOG"), "w");
    for (int i = 0; log && i < place_count; i++)
        fprintf(log, "%ld %llx\n", places[i].first, (unsigned long long)places[i].chain);
    if (log) fclose(log);
}

static int counted_main(int argc, char **argv, char **environment) {
    void *caller[1];
    const char *text = getenv("FAIL_ALLOC");
    wanted = text ? strtol(text, NULL, 10) : 0;
    logging = getenv("FAIL_ALLOC_LOG") != NULL;
    backtrace(caller, 1); /* loads what it needs */
    dl_iterate_phdr(note_library, NULL);
    counting = true;
    int status = program_main(argc, argv, environment);
    counting = false;
    if (logging) write_log();
    return status;
}

EXPORT int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void),
                             void (*fini)(void), void (*loader_fini)(void), void *stack_end) {
    int (*start)(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void), void (*)(void), void *);
    void *found = dlsym(RTLD_NEXT, "__libc_start_main");
    memcpy(&start, &found, sizeof start); /* ISO C has no cast from an object to a function */
    program_main = main;
    return start(counted_main, argc, argv, init, fini, loader_fini, stack_end);
}
#endif
