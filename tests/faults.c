/* Preloaded by tests/cli/faults.sh: lets one call of a program fail, as when memory is short or the disk is full, or
 * ends the program there. Needs glibc; all kinds but alloc need Linux on x86-64. FAULT="KIND N"       the Nth call of
 * that kind after main began fails; "KIND N on": and all that follow; "KIND N kill": the program is killed instead,
 * before the call FAULT_LOG=FILE       with FAULT="KIND 0": writes the first N of each place that makes such calls, and
 * its number A place is a chain of callers. Not counted is memory that libraries ask for that do not stand a failure:
 * OpenBLAS and OpenMP try again without end, or stop the program; OpenSSL 3.0 takes a lock that it could not make. */
#include <stdlib.h>
#ifdef __GLIBC__ /* elsewhere it is empty, and the suite is skipped */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <link.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#ifdef __x86_64__
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#endif

#define EXPORT __attribute__((visibility("default")))
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t),
    *__libc_memalign(size_t, size_t);

enum { MAX_RANGES = 64, MAX_PLACES = 1 << 14, DEEPEST = 12 };
static struct { uintptr_t from, to; } spared[MAX_RANGES];
static struct {
    uint64_t chain;
    long first;
} places[MAX_PLACES];
static int spared_count, place_count;
static long calls, wanted;
static bool counting, logging, lasting, deadly;
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

/* deepest: callers that make a place; a system call has more of them, the handler and the C library's */
static void note_place(int deepest) {
    void *caller[DEEPEST];
    uint64_t chain = 1469598103934665603u; /* FNV-1a, a word at a time */
    int depth = backtrace(caller, deepest), i = 0;
    for (int k = 0; k < depth; k++) {
        Dl_info from = {0}; /* libraries lie elsewhere in each run */
        dladdr(caller[k], &from);
        chain = (chain ^ ((uintptr_t)caller[k] - (uintptr_t)from.dli_fbase)) * 1099511628211u;
    }
    while (i < place_count && places[i].chain != chain) i++;
    if (i == MAX_PLACES) return;
    if (i == place_count) places[place_count++].chain = chain, places[i].first = calls;
}

/* Counts a call of the kind that is watched. Whether it is to fail. */
static bool counts_and_fails(int deepest) {
    calls++;
    if (logging) {
        counting = false; /* backtrace may allocate */
        note_place(deepest);
        counting = true;
    }
    bool fails = calls == wanted || (lasting && wanted && calls > wanted);
    if (fails && deadly) kill(getpid(), SIGKILL);
    return fails;
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static bool watches_memory;

static bool fails(void *caller) {
    if (!counting || !watches_memory) return false;
    for (int i = 0; i < spared_count; i++)
        if ((uintptr_t)caller >= spared[i].from && (uintptr_t)caller < spared[i].to) return false;
    if (!counts_and_fails(7)) return false;
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

/* ---- system calls: a filter traps all of a kind, those of libraries too, and a handler makes them or does not
 * --------- */

#ifdef __x86_64__
enum { MAX_NUMBERS = 12 };
static const struct kind {
    const char *name;
    int error, numbers[MAX_NUMBERS]; /* ends with -1 */
} kinds[] = {{"open", EMFILE, {SYS_open, SYS_openat, -1}},
             {"read", EIO, {SYS_read, SYS_readv, SYS_pread64, -1}},
             {"write", ENOSPC, {SYS_write, SYS_writev, SYS_pwrite64, SYS_ftruncate, -1}},
             {"rename", EACCES, {SYS_rename, SYS_renameat, SYS_renameat2, SYS_link, SYS_linkat, -1}},
             {"fsync", EIO, {SYS_fsync, SYS_fdatasync, -1}},
             {"close", EIO, {SYS_close, -1}},
             {"mkdir", ENOSPC, {SYS_mkdir, SYS_mkdirat, -1}},
             /* whatever changes the file system: between two of these a kill finds it as before */
             {"change",
              EIO,
              {SYS_open, SYS_openat, SYS_write, SYS_writev, SYS_ftruncate, SYS_rename, SYS_renameat, SYS_renameat2,
               SYS_unlink, SYS_mkdir, SYS_fsync, -1}}};
static const struct kind *watched;

/* The one place whose calls the filter lets pass. */
long faults_call(long number, long a, long b, long c, long d, long e, long f);
extern const char faults_call_end[];
__asm__(".text\n"
        ".globl faults_call\n.hidden faults_call\n.type faults_call, @function\n"
        "faults_call: movq %rdi, %rax\n movq %rsi, %rdi\n movq %rdx, %rsi\n movq %rcx, %rdx\n movq %r8, %r10\n"
        " movq %r9, %r8\n movq 8(%rsp), %r9\n syscall\n"
        ".globl faults_call_end\n.hidden faults_call_end\n"
        "faults_call_end: ret\n");

static void on_call(int signal_number, siginfo_t *info, void *context) {
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    long number = info->si_syscall;
    (void)signal_number;
    int before = errno;
    /* Not counted: standard error, the line on which is what we look at */
    bool told = (number == SYS_write || number == SYS_writev) && r[REG_RDI] == STDERR_FILENO;
    bool no_change = watched->error == EIO && (number == SYS_openat || number == SYS_open) &&
        !((number == SYS_open ? r[REG_RSI] : r[REG_RDX]) & O_CREAT);
    bool fails = counting && !told && !no_change && counts_and_fails(DEEPEST);
    if (!fails || number == SYS_close) /* a close that fails has closed (Linux) */
        r[REG_RAX] = faults_call(number, r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8], r[REG_R9]);
    if (fails) r[REG_RAX] = -watched->error;
    errno = before;
}

/* The program may block all signals for a while; a blocked SIGSYS would end it. */
EXPORT int pthread_sigmask(int how, const sigset_t *set, sigset_t *before) {
    sigset_t ours;
    if (set) ours = *set, sigdelset(&ours, SIGSYS);
    return sigprocmask(how, set ? &ours : NULL, before) == 0 ? 0 : errno;
}

static bool watch_calls(const char *name) {
    struct sock_filter code[8 + MAX_NUMBERS];
    struct sock_fprog filter = {0, code};
    struct sigaction action = {.sa_sigaction = on_call, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART};
    uint64_t end = (uintptr_t)faults_call_end;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(name, kinds[i].name) == 0) watched = &kinds[i];
    if (!watched) return false;
    int count = 0, n = 0;
    while (watched->numbers[count] >= 0) count++;
#define LOAD(at) (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at)
#define EQUAL(value, yes, no) (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, (__u8)(yes), (__u8)(no))
    code[n++] = LOAD(offsetof(struct seccomp_data, instruction_pointer));
    code[n++] = EQUAL((uint32_t)end, 0, 2);
    code[n++] = LOAD(offsetof(struct seccomp_data, instruction_pointer) + 4);
    code[n++] = EQUAL((uint32_t)(end >> 32), count + 1, 0); /* ours: let it pass */
    code[n++] = LOAD(offsetof(struct seccomp_data, nr));
    for (int i = 0; i < count; i++) code[n++] = EQUAL((uint32_t)watched->numbers[i], count - i, 0);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
    filter.len = (unsigned short)n;
    return sigaction(SIGSYS, &action, NULL) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}
#else
static bool watch_calls(const char *name) { return (void)name, false; }
#endif

/* ---- main -------------------------------------------------------------------------------------------------------- */

static void write_log(void) {
    FILE *log = fopen(getenv("FAULT_LOG"), "w");
    for (int i = 0; log && i < place_count; i++)
        fprintf(log, "%ld %llx\n", places[i].first, (unsigned long long)places[i].chain);
    if (log) fclose(log);
}

static int counted_main(int argc, char **argv, char **environment) {
    void *caller[1];
    char kind[16] = "", more[8] = "";
    if (getenv("FAULT")) sscanf(getenv("FAULT"), "%15s %ld %7s", kind, &wanted, more);
    lasting = strcmp(more, "on") == 0, deadly = strcmp(more, "kill") == 0;
    logging = getenv("FAULT_LOG") != NULL;
    backtrace(caller, 1); /* loads what it needs */
    dl_iterate_phdr(note_library, NULL);
    watches_memory = strcmp(kind, "alloc") == 0;
    if (!watches_memory && !watch_calls(kind)) {
        fprintf(stderr, "FAULT: \"%s\" cannot be watched here\n", kind);
        return 99;
    }
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
