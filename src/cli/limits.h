/* Limits of a shell (ulimit -v, ulimit -u) that libraries do not bear: OpenBLAS starts a thread for each CPU as it is
 * loaded, and each takes 128 MiB of addresses. Where it cannot have them it tries for ever, and where a thread cannot
 * be started it ends the program by SIGINT. */
#ifndef CLI_LIMITS_H
#define CLI_LIMITS_H

/* Leaves one CPU to this process where limits have no room for what OpenBLAS and OpenMP would start: then they start
 * nothing, and all runs on one thread. Has to run before their constructors: main.c puts it into .preinit_array. */
void limits_leave_threads(int argc, char **argv, char **environment);

#endif
