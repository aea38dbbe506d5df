#include "cli/limits.h"

#include <stdlib.h> /* glibc's headers say that it is glibc */

#if defined(__linux__) && defined(__GLIBC__)
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nn/gemm.h"

enum { MOST_THREADS = 64, FEW_PROCESSES = 1024 };

static int at_most(int threads, const char *text, const char *name) {
    size_t n = strlen(name);
    int value = strncmp(text, name, n) == 0 ? atoi(text + n) : 0;
    return value > 0 && value < threads ? value : threads;
}

/* As many as OpenBLAS starts: one for each CPU that this process may use, or what the environment says. */
static int threads_wanted(char **environment, cpu_set_t *cpus) {
    if (sched_getaffinity(0, sizeof *cpus, cpus) != 0) return 1;
    int threads = CPU_COUNT(cpus) < MOST_THREADS ? CPU_COUNT(cpus) : MOST_THREADS;
    for (; *environment; environment++)
        threads = at_most(at_most(threads, *environment, "OPENBLAS_NUM_THREADS="), *environment, "OMP_NUM_THREADS=");
    return threads;
}

static bool is_limited(int resource, rlim_t plenty) {
    struct rlimit limit;
    return getrlimit(resource, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < plenty;
}

static bool addresses_are_there(size_t bytes) {
    void *probe = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return probe != MAP_FAILED && munmap(probe, bytes) == 0;
}

/* Threads and processes count alike: so many children at once, which end at once. */
static bool processes_are_there(int count) {
    pid_t children[2 * MOST_THREADS];
    int started = 0;
    for (pid_t child; started < count && (child = fork()) >= 0; children[started++] = child)
        if (child == 0)
            for (;;) pause();
    for (int i = 0; i < started; i++) {
        kill(children[i], SIGKILL);
        waitpid(children[i], NULL, 0);
    }
    return started == count;
}

void limits_leave_threads(int argc, char **argv, char **environment) {
    static const char few[] = "mnistq: no further threads may be started here (ulimit -u): working with one\n";
    cpu_set_t cpus;
    int threads = threads_wanted(environment, &cpus), others = threads - 1;
    (void)argc, (void)argv;
    if (others < 1) return;
    bool addresses = is_limited(RLIMIT_AS, RLIM_INFINITY) || is_limited(RLIMIT_DATA, RLIM_INFINITY),
         starved = is_limited(RLIMIT_NPROC, FEW_PROCESSES) && !processes_are_there(2 * others);
    if (!starved && (!addresses || addresses_are_there((size_t)(threads + others) * GEMM_THREAD_BYTES))) return;
    int one = 0;
    while (!CPU_ISSET(one, &cpus)) one++;
    CPU_ZERO(&cpus);
    CPU_SET(one, &cpus);
    sched_setaffinity(0, sizeof cpus, &cpus);
    if (starved && write(STDERR_FILENO, few, sizeof few - 1) < 0) return; /* nobody to tell */
}

#else
void limits_leave_threads(int argc, char **argv, char **environment) { (void)argc, (void)argv, (void)environment; }
#endif
