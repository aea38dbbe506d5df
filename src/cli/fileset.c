#include "cli/fileset.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"

static const struct file_set *current; /* NULL between sets */
static const char *target;
/* Made in advance, for a signal handler: staging itself, its subfolder or "", its files. */
static char staging[4096], subfolder[4200], staged[FILE_SET_MAX][4200];

static bool path_in(const char *folder, const char *name, char *path, size_t size, struct error *err) {
    return snprintf(path, size, "%s/%s", folder, name) < (int)size ||
        fail(err, "%.60s...: the name is too long", folder);
}

/* The folder that a name such as "models/a" goes to. */
static bool make_subfolder(const char *folder, const char *name, char *path, size_t size, struct error *err) {
    if (!strchr(name, '/')) return true;
    return path_in(folder, name, path, size, err) && (*strrchr(path, '/') = 0, folder_create(path, err));
}

const char *file_set_begin(const struct file_set *set, const char *folder, struct error *err) {
    char name[32];
    snprintf(name, sizeof name, ".unfinished-%d", (int)getpid());
    subfolder[0] = 0;
    if (!path_in(folder, name, staging, sizeof staging - 64, err)) return NULL;
    for (int i = 0; set->names[i]; i++)
        if (!path_in(staging, set->names[i], staged[i], sizeof staged[i], err)) return NULL;
    target = folder;
    current = set; /* from here on a signal removes what there is */
    char there[4200];
    bool ok = folder_create(staging, err);
    if (!ok) ok = folder_create(staging, err); /* another run that only tried the results removes them, once */
    for (int i = 0; ok && set->names[i]; i++)
        ok = make_subfolder(staging, set->names[i], subfolder, sizeof subfolder, err) &&
            make_subfolder(folder, set->names[i], there, sizeof there, err);
    if (!ok) file_set_discard();
    return ok ? staging : NULL;
}

void file_set_discard(void) {
    const struct file_set *set = current;
    if (!set) return;
    for (int i = 0; set->names[i]; i++) unlink(staged[i]);
    if (subfolder[0]) rmdir(subfolder);
    rmdir(staging);
    current = NULL;
}

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
        const char *name = current->names[i];
        if (!path_in(target, name, to, sizeof to, err)) return false;
        if (access(staged[i], F_OK) != 0) unlink(to);
        else if (rename(staged[i], to) != 0) return fail(err, "%s: could not be written: %s", to, strerror(errno));
    }
    for (int i = 0; current->derived[i]; i++)
        if (path_in(target, current->derived[i], to, sizeof to, err)) unlink(to);
    return write_stamp(stamp, p, err);
}

bool file_set_end(const struct provenance *p, bool ok, struct error *err) {
    if (!current) return false;
    int lock = ok ? open(target, O_RDONLY) : -1; /* another run's set moves before or after this one */
    if (lock >= 0) flock(lock, LOCK_EX);
    ok = ok && move_all(p, err);
    file_set_discard();
    if (lock >= 0) close(lock);
    return ok;
}
