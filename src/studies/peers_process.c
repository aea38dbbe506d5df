#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif

#include "studies/peers.h"
#include "base/progress.h"
#include "base/text.h"

enum { LINE_MAX_BYTES = 4096 };

/* In the child: only calls that are safe between fork and exec. A group of its own, so that all it starts can
 * be killed; and it dies with its parent. */
static void become(char *const *argv, int out, int complaints) {
    setpgid(0, 0);
#if defined(__linux__)
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    int nothing = open("/dev/null", O_RDONLY);
    dup2(nothing, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    if (complaints >= 0) dup2(complaints, STDERR_FILENO);
    signal(SIGXFSZ, SIG_DFL);
    execv(argv[0], argv);
    const char *why = strerror(errno);
    ssize_t ignored = write(STDERR_FILENO, why, strlen(why));
    (void)ignored;
    _exit(127); /* what a shell says of a command that is not there */
}

/* What has been read and not yet been taken as a line. */
struct lines {
    char text[LINE_MAX_BYTES];
    size_t used;
};

/* Hands out the whole lines; false when one is refused or too long. */
static bool take_lines(struct lines *l, bool (*on_line)(void *, char *), void *context) {
    char *from = l->text, *end = l->text + l->used;
    for (char *stop; (stop = memchr(from, '\n', (size_t)(end - from))); from = stop + 1) {
        *stop = 0;
        if (!on_line(context, from)) return false;
    }
    l->used = (size_t)(end - from);
    memmove(l->text, from, l->used);
    return l->used < LINE_MAX_BYTES;
}

enum reading { READ_ALL, READ_REFUSED, READ_LATE };

/* Until the end of the output, or of the time. */
static enum reading read_until(int from, double deadline, bool (*on_line)(void *, char *), void *context) {
    struct lines lines = {.used = 0};
    for (;;) {
        struct pollfd p = {.fd = from, .events = POLLIN};
        double left = deadline - seconds_now();
        if (left <= 0) return READ_LATE;
        int ready = poll(&p, 1, left < 1 ? 1 + (int)(1000 * left) : 1000);
        if (ready < 0 && errno != EINTR) return READ_REFUSED;
        if (ready <= 0) continue;
        ssize_t n = read(from, lines.text + lines.used, LINE_MAX_BYTES - lines.used);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return lines.used ? READ_REFUSED : READ_ALL; /* an end in the middle of a line */
        lines.used += (size_t)n;
        if (!take_lines(&lines, on_line, context)) return READ_REFUSED;
    }
}

/* Waits for the process to end as long as there is time; then, or at once with kill_it, kills its group. */
static int wait_until(pid_t pid, double deadline, bool kill_it, bool *late) {
    int status = 0;
    while (!kill_it && waitpid(pid, &status, WNOHANG) == 0) {
        if (seconds_now() >= deadline) *late = kill_it = true;
        poll(NULL, 0, 5);
    }
    if (!kill_it) return status;
    kill(-pid, SIGKILL); /* before the process is reaped: its number cannot be another's yet */
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    return status;
}

/* The last line that is not empty of what the process complained. */
static void last_complaint(FILE *complaints, char *text, size_t size) {
    char line[PEER_TEXT];
    *text = 0;
    if (!complaints) return;
    rewind(complaints);
    while (fgets(line, sizeof line, complaints)) {
        line[strcspn(line, "\r\n")] = 0;
        if (*line) snprintf(text, size, ": %.180s", line);
    }
    mask_control_characters(text);
}

static bool judge(int status, enum reading reading, bool late, int limit, FILE *complaints, bool *missing,
                  char *reason) {
    char complaint[PEER_TEXT - 64]; /* leaves room for what is said before it */
    last_complaint(complaints, complaint, sizeof complaint);
    *missing = false;
    if (late) {
        snprintf(reason, PEER_TEXT, "stopped after the limit of %d s", limit);
    } else if (reading == READ_REFUSED) {
        if (!*reason) snprintf(reason, PEER_TEXT, "printed a line that does not end or is too long");
    } else if (WIFSIGNALED(status)) {
        snprintf(reason, PEER_TEXT, "killed by signal %d%s", WTERMSIG(status), complaint);
    } else if (WEXITSTATUS(status) == 127) {
        *missing = true;
        snprintf(reason, PEER_TEXT, "cannot be started%s", complaint);
    } else if (WEXITSTATUS(status)) {
        snprintf(reason, PEER_TEXT, "exit status %d%s", WEXITSTATUS(status), complaint);
    } else {
        return true;
    }
    return false;
}

bool process_read(char *const *argv, int limit, bool (*on_line)(void *context, char *line), void *context,
                  bool *missing, char reason[PEER_TEXT]) {
    /* On a terminal its progress may be seen; else only its last words matter. */
    FILE *complaints = isatty(STDERR_FILENO) ? NULL : tmpfile();
    int ends[2];
    pid_t pid = -1;
    *missing = false;
    *reason = 0;
    if (pipe(ends) == 0) {
        fcntl(ends[0], F_SETFD, FD_CLOEXEC);
        fcntl(ends[1], F_SETFD, FD_CLOEXEC);
        if ((pid = fork()) == 0) become(argv, ends[1], complaints ? fileno(complaints) : -1);
        close(ends[1]);
        if (pid < 0) close(ends[0]);
    }
    if (pid < 0) {
        snprintf(reason, PEER_TEXT, "cannot be started: %s", strerror(errno));
        if (complaints) fclose(complaints);
        return false;
    }
    setpgid(pid, pid); /* here too: whichever of the two comes first */
    double deadline = seconds_now() + limit;
    enum reading reading = read_until(ends[0], deadline, on_line, context);
    bool late = reading == READ_LATE;
    int status = wait_until(pid, deadline, reading != READ_ALL, &late);
    close(ends[0]);
    bool ok = judge(status, reading, late, limit, complaints, missing, reason);
    if (complaints) fclose(complaints);
    return ok;
}
