#include "cli/fileset.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

static const struct file_set *current; /* NULL between sets */
static const char *target;
/* Made in advance, for a signal handler: staging itself, its subfolder or "", its files. */
static char staging[4096], subfolder[4200], staged[FILE_SET_MAX][4200];
static int staging_lock = -1;                   /* held while the set is written: so that others tell a killed run's */
static volatile sig_atomic_t moving, signalled; /* between the first move and the last; a signal that came then */
static const char prefix[] = ".unfinished-";

static bool path_in(const char *folder, const char *name, char *path, size_t size, struct error *err) {
    return snprintf(path, size, "%s/%s", folder, name) < (int)size ||
        fail(err, "%.60s...: the name is too long", folder);
}

/* The folder that a name such as "models/a" goes to. */
static bool make_subfolder(const char *folder, const char *name, char *path, size_t size, struct error *err) {
    if (!strchr(name, '/')) return true;
    return path_in(folder, name, path, size, err) && (*strrchr(path, '/') = 0, folder_create(path, err));
}

/* Removes what killed runs left: folders whose lock nobody holds. */
static void sweep(const struct file_set *set, const char *folder) {
    struct error ignored;
    char path[4200], file[4300];
    DIR *entries = opendir(folder);
    for (const struct dirent *entry; entries && (entry = readdir(entries));) {
        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0) continue;
        if (!path_in(folder, entry->d_name, path, sizeof path, &ignored)) continue;
        int lock = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0) {
            for (int i = 0; set->names[i]; i++) {
                if (!path_in(path, set->names[i], file, sizeof file, &ignored)) continue;
                unlink(file);
                if (strchr(set->names[i], '/') && (*strrchr(file, '/') = 0, true)) rmdir(file);
            }
            rmdir(path);
        }
        if (lock >= 0) close(lock);
    }
    if (entries) closedir(entries);
}

/* A folder of this run's own, locked. Another run that sweeps may take it before the lock is held: then once more. */
static bool make_staging(const char *folder, struct error *err) {
    struct stat ours, there;
    for (int tries = 0; tries < 3; tries++) {
        if (snprintf(staging, sizeof staging - 64, "%s/%sXXXXXX", folder, prefix) >= (int)sizeof staging - 64)
            return fail(err, "%.60s...: the name is too long", folder);
        if (!folder_create(folder, err)) return false;
        if (!mkdtemp(staging)) return fail(err, "%s: cannot be written: %s", folder, strerror(errno));
        chmod(staging, 0755);
        staging_lock = open(staging, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (staging_lock >= 0 && flock(staging_lock, LOCK_EX | LOCK_NB) == 0 && fstat(staging_lock, &ours) == 0 &&
            stat(staging, &there) == 0 && ours.st_ino == there.st_ino)
            return true;
        if (staging_lock >= 0) close(staging_lock);
        staging_lock = -1;
    }
    return fail(err, "%s: cannot be written: others write there", folder);
}

/* Where a file of the set goes, through a symbolic link where there is one. Errors: something else than a file is
 * there, or on another file system, where nothing can be moved to. */
static bool place_of(const char *name, char *path, size_t size, struct error *err) {
    struct stat info, folder;
    char resolved[4200];
    if (!path_in(target, name, path, size, err) || stat(path, &info) != 0) return true;
    if (!S_ISREG(info.st_mode)) return fail(err, "%s: is no file, and would be written over", path);
    if (stat(target, &folder) != 0 || folder.st_dev != info.st_dev)
        return fail(err, "%s: leads to another file system than the results", path);
    char *real = realpath(path, NULL);
    snprintf(resolved, sizeof resolved, "%s", real ? real : path);
    free(real);
    snprintf(path, size, "%s", resolved);
    return true;
}

const char *file_set_begin(const struct file_set *set, const char *folder, struct error *err) {
    char there[4200];
    subfolder[0] = 0;
    signalled = 0;
    sweep(set, folder);
    target = folder;
    if (!make_staging(folder, err)) return NULL;
    bool ok = true;
    for (int i = 0; ok && set->names[i]; i++) ok = path_in(staging, set->names[i], staged[i], sizeof staged[i], err);
    current = set; /* from here on a signal removes what there is */
    ok = ok && place_of(set->stamp, there, sizeof there, err);
    for (int i = 0; ok && set->names[i]; i++)
        ok = make_subfolder(staging, set->names[i], subfolder, sizeof subfolder, err) &&
            make_subfolder(folder, set->names[i], there, sizeof there, err) &&
            place_of(set->names[i], there, sizeof there, err);
    if (!ok) file_set_discard();
    return ok ? staging : NULL;
}

bool file_set_discard(void) {
    const struct file_set *set = current;
    if (moving) return false;
    if (!set) return true;
    for (int i = 0; set->names[i]; i++) unlink(staged[i]);
    if (subfolder[0]) rmdir(subfolder);
    rmdir(staging);
    if (staging_lock >= 0) close(staging_lock);
    staging_lock = -1;
    current = NULL;
    return true;
}

void file_set_signal(int number) { signalled = number; }

/* ---- the stamp -------------------------------------------------------------------------------------------------- */

/* The SHA-256 of a file in hexadecimal, 65 bytes with its end; "" when it cannot be read. */
static void hash_file(const char *path, char *hex) {
    unsigned char *data, digest[EVP_MAX_MD_SIZE];
    size_t size;
    unsigned int length = 0;
    struct error ignored;
    hex[0] = 0;
    if (!file_read_all(path, (size_t)1 << 32, &data, &size, &ignored)) return;
    if (EVP_Digest(data, size, digest, &length, EVP_sha256(), NULL))
        for (unsigned int i = 0; i < length; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    free(data);
}

/* What made the files of a folder, and the hashes of those that are there, as `sha256sum --check` reads them. Release
 * with free; NULL when out of memory, or when the program's own file cannot be read. */
static char *describe(const struct file_set *set, const char *folder, const struct provenance *p) {
    char *text = NULL, path[4200], hex[2 * EVP_MAX_MD_SIZE + 1];
    size_t size;
    struct error ignored;
    hash_file("/proc/self/exe", hex);
    FILE *stream = hex[0] ? open_memstream(&text, &size) : NULL;
    if (!stream) return NULL;
    fprintf(stream, "# program SHA-256: %s\n", hex);
    for (size_t i = 0; i < p->count; i++) fprintf(stream, "# %s: %s\n", p->facts[i].name, p->facts[i].value);
    for (int i = 0; set->names[i]; i++) {
        if (path_in(folder, set->names[i], path, sizeof path, &ignored)) hash_file(path, hex);
        if (hex[0]) fprintf(stream, "%s  %s\n", hex, set->names[i]);
    }
    if (fclose(stream) == 0) return text;
    free(text);
    return NULL;
}

bool file_set_is_current(const struct file_set *set, const char *folder, const struct provenance *p) {
    char path[4200];
    unsigned char *found = NULL;
    size_t size;
    struct error ignored;
    char *expected = describe(set, folder, p);
    bool same = expected && path_in(folder, set->stamp, path, sizeof path, &ignored) &&
        file_read_all(path, 1 << 20, &found, &size, &ignored) && strcmp((char *)found, expected) == 0;
    free(expected);
    free(found);
    return same;
}

static bool write_stamp(const char *path, const struct provenance *p, struct error *err) {
    struct out_file out;
    char *text = describe(current, target, p);
    if (!text) return true; /* no stamp: the next run does not know that it need not run */
    bool ok = out_file_open(&out, path, err) && (fputs(text, out.stream), out_file_commit(&out, err));
    free(text);
    return ok;
}

/* ---- the end ---------------------------------------------------------------------------------------------------- */

/* Without the stamp while files move: a set that is half moved is not taken for a whole one. */
static bool move_all(const struct provenance *p, struct error *err) {
    char stamp[4200], to[4200];
    if (!path_in(target, current->stamp, stamp, sizeof stamp, err)) return false;
    unlink(stamp);
    for (int i = 0; current->names[i]; i++) {
        if (!place_of(current->names[i], to, sizeof to, err)) return false;
        if (access(staged[i], F_OK) != 0) unlink(to);
        else if (rename(staged[i], to) != 0) return fail(err, "%s: could not be written: %s", to, strerror(errno));
    }
    for (int i = 0; current->derived[i]; i++)
        if (path_in(target, current->derived[i], to, sizeof to, err)) unlink(to);
    return write_stamp(stamp, p, err);
}

/* An error is of the file that the user knows, not of the folder that is gone when he reads it. */
static void name_target(struct error *err) {
    char *at = strstr(err->text, staging), rest[sizeof err->text];
    if (!at) return;
    snprintf(rest, sizeof rest, "%s", at + strlen(staging));
    snprintf(at, sizeof err->text - (size_t)(at - err->text), "%s%s", target, rest);
}

bool file_set_end(const struct provenance *p, bool ok, struct error *err) {
    if (!current) return false;
    int lock = ok ? open(target, O_RDONLY | O_CLOEXEC) : -1; /* another run's set moves before or after this one */
    if (lock >= 0) flock(lock, LOCK_EX);
    moving = 1; /* a signal waits */
    ok = ok && move_all(p, err);
    moving = 0;
    file_set_discard();
    if (lock >= 0) close(lock);
    if (signalled) raise(signalled);
    if (!ok) name_target(err);
    return ok;
}
