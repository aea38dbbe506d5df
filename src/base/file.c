#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

/* The temporary names that a signal handler has to remove. A slot is in use while its flag is set; the flag
 * is written last when taking a slot and first when leaving it, so that a handler never sees half a name. */
enum { MAX_PENDING = 8 };
static char pending_path[MAX_PENDING][4160];
static volatile sig_atomic_t pending_used[MAX_PENDING];

static void pending_add(const char *path) {
    for (int i = 0; i < MAX_PENDING; i++)
        if (!pending_used[i]) {
            snprintf(pending_path[i], sizeof pending_path[i], "%s", path);
            pending_used[i] = 1;
            return;
        }
}

static void pending_remove(const char *path) {
    for (int i = 0; i < MAX_PENDING; i++)
        if (pending_used[i] && strcmp(pending_path[i], path) == 0) pending_used[i] = 0;
}

/* A signal may come between the making of a temporary file and its being noted, and any thread may get it (OpenBLAS
 * has some of its own). So the thread that makes the file takes no signals meanwhile, and a handler in another one
 * waits for it. */
static atomic_bool creating;

static int create_noted(char *temporary) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    creating = true;
    int descriptor = mkstemp(temporary), why = errno;
    if (descriptor >= 0) flock(descriptor, LOCK_EX);
    if (descriptor >= 0) pending_add(temporary);
    creating = false;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = why;
    return descriptor;
}

static bool is_at(int descriptor, int folder, const char *name) {
    struct stat opened, there;
    return fstat(descriptor, &opened) == 0 && fstatat(folder, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISREG(there.st_mode) && opened.st_ino == there.st_ino && opened.st_dev == there.st_dev;
}

/* NAME.partial-XXXXXX beside path, NAME cut where that would be longer than a file's name may be. */
static void name_temporary(const char *path, char *temporary, size_t size) {
    static const char ending[] = ".partial-XXXXXX";
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    int length = text_cut(name, NAME_MAX - strlen(ending));
    snprintf(temporary, size, "%.*s%.*s%s", (int)(name - path), path, length, name, ending);
}

/* Removes temporary files of this name whose writers were killed: they hold a lock on it while they live. */
static void remove_dead(const char *temporary) {
    const char *slash = strrchr(temporary, '/'), *name = slash ? slash + 1 : temporary;
    size_t length = strlen(name), random = strlen("XXXXXX");
    char folder[4160];
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash + 1 - temporary) : 1, slash ? temporary : ".");
    DIR *entries = opendir(folder);
    for (const struct dirent *entry; entries && (entry = readdir(entries));) {
        if (strncmp(entry->d_name, name, length - random) != 0 || strlen(entry->d_name) != length) continue;
        int at = dirfd(entries), left = openat(at, entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (left >= 0 && flock(left, LOCK_EX | LOCK_NB) == 0 && is_at(left, at, entry->d_name))
            unlinkat(at, entry->d_name, 0);
        if (left >= 0) close(left);
    }
    if (entries) closedir(entries);
}

/* Another run that removes dead files may take this one before it is locked: then once more. */
static int create_temporary(const char *path, char *temporary, size_t size) {
    for (int tries = 0;; tries++) {
        name_temporary(path, temporary, size);
        if (tries == 0) remove_dead(temporary);
        int descriptor = create_noted(temporary);
        if (descriptor < 0 || tries == 3 || is_at(descriptor, AT_FDCWD, temporary)) return descriptor;
        pending_remove(temporary);
        close(descriptor);
    }
}

void out_file_discard_all(void) {
    while (creating) continue;
    for (int i = 0; i < MAX_PENDING; i++)
        if (pending_used[i]) unlink(pending_path[i]);
}

/* Where the bytes finally go: the target of a symbolic link, else the path itself. */
static bool resolve(const char *path, char *resolved, size_t size, struct error *err) {
    char *real = realpath(path, NULL);
    int written = snprintf(resolved, size, "%s", real ? real : path);
    free(real);
    if (written < 0 || (size_t)written >= size) return fail(err, "%.60s...: the name is too long", path);
    return true;
}

int out_file_standard = STDOUT_FILENO;

static bool open_standard(struct out_file *out, struct error *err) {
    int descriptor = dup(out_file_standard);
    snprintf(out->path, sizeof out->path, "standard output");
    out->stream = descriptor < 0 ? NULL : fdopen(descriptor, "wb");
    return out->stream ? true : fail(err, "standard output: cannot be written: %s", strerror(errno));
}

bool file_may_change(const char *path, const struct stat *info, struct error *err) {
    if (info->st_mode & 0222 && access(path, W_OK) == 0)
        return true; /* root may write everything: asks the mode alone */
    return fail(err, "%s: cannot be written: it is write-protected", path);
}

bool out_file_open(struct out_file *out, const char *path, struct error *err) {
    *out = (struct out_file){0};
    if (!*path) return fail(err, "the name of the file to write is empty");
    if (strcmp(path, "-") == 0) return open_standard(out, err);
    if (!resolve(path, out->path, sizeof out->path, err)) return false;
    struct stat info;
    bool exists = stat(out->path, &info) == 0;
    if (!exists && errno == ENAMETOOLONG) return fail(err, "%s: cannot be written: %s", path, strerror(errno));
    if (exists && S_ISDIR(info.st_mode)) return fail(err, "%s: is a folder, cannot be written as a file", path);
    if (exists && !S_ISREG(info.st_mode)) { /* /dev/stdout, a pipe: nothing to rename */
        out->stream = fopen(out->path, "wb");
        return out->stream ? true : fail(err, "%s: cannot be written: %s", path, strerror(errno));
    }
    if (exists && !file_may_change(path, &info, err)) return false;
    int descriptor = create_temporary(out->path, out->temporary, sizeof out->temporary);
    if (descriptor < 0) {
        out->temporary[0] = 0;
        return fail(err, "%s: cannot be written: %s", path, strerror(errno));
    }
    mode_t mask = umask(0); /* mkstemp gives 0600; a table is for everybody that the umask allows */
    umask(mask);
    fchmod(descriptor, exists ? info.st_mode & 0777 : 0666 & ~mask);
    out->stream = fdopen(descriptor, "wb");
    if (out->stream) return true;
    close(descriptor);
    out_file_discard(out);
    return fail(err, "%s: cannot be written: out of memory", path);
}

void out_file_discard(struct out_file *out) {
    if (out->stream) fclose(out->stream);
    if (out->temporary[0]) {
        unlink(out->temporary);
        pending_remove(out->temporary);
    }
    out->stream = NULL;
    out->temporary[0] = 0;
}

bool out_file_check(const char *path, struct error *err) {
    struct out_file out;
    if (!out_file_open(&out, path, err)) return false;
    out_file_discard(&out);
    return true;
}

bool out_file_commit(struct out_file *out, struct error *err) {
    errno = 0;
    bool written = fflush(out->stream) == 0 && !ferror(out->stream);
    if (written && out->temporary[0]) written = fsync(fileno(out->stream)) == 0;
    int why = errno, locked = dup(fileno(out->stream)); /* until it has its name, others see that it is alive */
    if (fclose(out->stream) != 0 && written) written = false, why = errno;
    out->stream = NULL;
    if (written && out->temporary[0] && rename(out->temporary, out->path) != 0) written = false, why = errno;
    if (locked >= 0) close(locked);
    if (written) {
        pending_remove(out->temporary);
        return true;
    }
    out_file_discard(out);
    return fail(err, "%s: could not be written: %s", out->path, why ? strerror(why) : "a write failed");
}

/* Up to size until, or to the end. *room: bytes that data has room for, at first that will be needed. */
static bool read_on(int descriptor, size_t limit, size_t until, size_t *room, unsigned char **data, size_t *size) {
    while (*size < until) {
        unsigned char *larger = realloc(*data, *room + 1);
        if (!larger) return false;
        *data = larger;
        ssize_t got = read(descriptor, *data + *size, (*room < until ? *room : until) - *size);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return false;
        *size += (size_t)got;
        if (got == 0 || *size > limit) break;
        if (*size == *room) *room = *room < limit / 2 ? 2 * *room : limit + 1; /* one more: whether it is too long */
    }
    (*data)[*size] = 0; /* text can be read as a string */
    return true;
}

bool file_read_judged(const char *path, size_t limit, file_judge judge, void *context, unsigned char **data,
                      size_t *size, struct error *err) {
    bool standard = strcmp(path, "-") == 0;
    const char *name = standard ? "standard input" : path;
    struct stat info = {0};
    *data = NULL;
    *size = 0;
    int descriptor = standard ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_NONBLOCK); /* opening a pipe would wait */
    bool there = descriptor >= 0 && fstat(descriptor, &info) == 0, regular = there && S_ISREG(info.st_mode);
    size_t whole = regular ? (size_t)info.st_size : SIZE_MAX, room = regular ? whole + 1 : 1 << 16;
    if (judge && room > FILE_HEAD) room = FILE_HEAD;
    if (!there) fail(err, "%s: %s", name, strerror(errno));
    else if (!standard && !regular) fail(err, "%s: is not a regular file", name);
    else if (regular && whole > limit)
        fail(err, "%s: is %zu bytes long, more than the %zu that are read", name, whole, limit);
    else if (!read_on(descriptor, limit, judge ? FILE_HEAD : SIZE_MAX, &room, data, size))
        /* NOLINTNEXTLINE(bugprone-branch-clone): it may fail twice */
        fail(err, "%s: could not be read: %s", name, strerror(errno));
    else if (judge && !judge(context, *data, *size, whole, err)) fail_in(err, name);
    else if (judge &&
             (room = regular && whole >= room ? whole + 1 : room,
              !read_on(descriptor, limit, SIZE_MAX, &room, data, size)))
        fail(err, "%s: could not be read: %s", name, strerror(errno));
    else if (*size > limit) fail(err, "%s: is longer than the %zu bytes that are read", name, limit);
    else return close(descriptor), true;
    if (descriptor >= 0) close(descriptor);
    free(*data);
    *data = NULL;
    return false;
}

bool file_read_all(const char *path, size_t limit, unsigned char **data, size_t *size, struct error *err) {
    return file_read_judged(path, limit, NULL, NULL, data, size, err);
}

bool file_size(const char *path, uint64_t *size, struct error *err) {
    struct stat info;
    if (stat(path, &info) != 0) return fail(err, "%s: %s", path, strerror(errno));
    *size = (uint64_t)info.st_size;
    return true;
}

bool folder_create(const char *path, struct error *err) {
    char partial[4096];
    if (snprintf(partial, sizeof partial, "%s", path) >= (int)sizeof partial)
        return fail(err, "%.60s...: the name is too long", path);
    for (char *slash = partial + 1; *partial && (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        if (mkdir(partial, 0777) != 0 && errno != EEXIST)
            return fail(err, "%s: the folder cannot be made: %s", partial, strerror(errno));
        *slash = '/';
    }
    struct stat info;
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        return fail(err, "%s: the folder cannot be made: %s", path, strerror(errno));
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)) return fail(err, "%s: is not a folder", path);
    return true;
}

bool folder_check(const char *path, struct error *err) {
    char made[4096 + sizeof "/.probe"];
    struct stat info;
    if (snprintf(made, sizeof made, "%s", path) >= 4096) return fail(err, "%.60s...: the name is too long", path);
    size_t there = strlen(made), end = there; /* of path, what is there already */
    while (there && (made[there] = 0, stat(made, &info) != 0))
        while (there && path[--there] != '/') continue;
    snprintf(made, sizeof made, "%s/.probe", path);
    bool ok = folder_create(path, err) && out_file_check(made, err);
    for (snprintf(made, sizeof made, "%s", path); end > there; made[end] = 0) {
        rmdir(made);
        while (end > there && made[--end] != '/') continue;
    }
    return ok;
}
