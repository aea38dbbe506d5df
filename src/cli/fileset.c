#include "cli/fileset.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/restart.h"

enum { NAME = 300, PATH = 4200 };

static const char *target;             /* where the set goes; NULL between sets */
static char staging[PATH];             /* the folder that it is written to */
static int staging_folder = -1, count; /* open and locked while the set is written: so others tell a killed run's */
static char names[FILE_SET_MAX][NAME]; /* [count], for a signal handler */
static volatile sig_atomic_t moving, signalled; /* between the first move and the last; a signal that came then */
static const char prefix[] = ".unfinished-", list_name[] = ".moves";

static bool path_in(const char *folder, const char *name, char *path, struct error *err) {
    return snprintf(path, PATH, "%s/%s", folder, name) < PATH || fail(err, "%.60s...: the name is too long", folder);
}

/* ---- the folder of the set --------------------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *at) {
    (void)info, (void)kind, (void)at;
    return remove(path);
}

/* A folder of this run's own, locked. Another run that sweeps may take it before the lock is held: then once more. */
static bool make_staging(const char *folder, struct error *err) {
    struct stat ours, there;
    for (int tries = 0; tries < 3; tries++) {
        if (snprintf(staging, PATH, "%s/%sXXXXXX", folder, prefix) >= PATH - NAME)
            return fail(err, "%.60s...: the name is too long", folder);
        if (!folder_create(folder, err)) return false;
        if (!mkdtemp(staging)) return fail(err, "%s: cannot be written: %s", folder, strerror(errno));
        chmod(staging, 0755);
        staging_folder = open(staging, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (staging_folder >= 0 && flock(staging_folder, LOCK_EX | LOCK_NB) == 0 && fstat(staging_folder, &ours) == 0 &&
            stat(staging, &there) == 0 && ours.st_ino == there.st_ino)
            return true;
        if (staging_folder >= 0) close(staging_folder);
        staging_folder = -1;
    }
    return fail(err, "%s: cannot be written: others write there", folder);
}

/* ---- its files --------------------------------------------------------------------------------------------------- */

/* The folders that a name such as "models/a" goes to. */
static bool make_folders(const char *folder, const char *name, struct error *err) {
    char path[PATH];
    if (!strchr(name, '/')) return true;
    return path_in(folder, name, path, err) && (*strrchr(path, '/') = 0, folder_create(path, err));
}

/* Where a file of the set goes, through a symbolic link where there is one. Errors: something else than a file is
 * there, one that may not be written, or on another file system, where nothing can be moved to. */
static bool place_of(const char *set, const char *name, char path[PATH], struct error *err) {
    struct stat info, folder;
    if (!path_in(set, name, path, err) || stat(path, &info) != 0) return true;
    if (!S_ISREG(info.st_mode)) return fail(err, "%s: is no file, and would be written over", path);
    if (!file_may_change(path, &info, err)) return false;
    if (stat(set, &folder) != 0 || folder.st_dev != info.st_dev)
        return fail(err, "%s: leads to another file system than the results", path);
    char *real = realpath(path, NULL);
    if (real && strlen(real) < PATH) strcpy(path, real);
    free(real);
    return true;
}

bool file_set_check(const char *folder, const char *name, const char *ending, struct error *err) {
    char file[NAME], path[PATH];
    snprintf(file, sizeof file, "%s%s", name, ending);
    return place_of(folder, file, path, err);
}

const char *file_set_path(const char *name, struct error *err) {
    static char path[PATH];
    char there[PATH];
    int i = 0;
    while (i < count && strcmp(names[i], name) != 0) i++;
    if (i == FILE_SET_MAX || strlen(name) >= NAME || strchr(name, '\n')) {
        fail(err, "%s: more than %d files, or a name that is too long or of two lines", name, FILE_SET_MAX);
        return NULL;
    }
    if (!place_of(target, name, there, err) || !make_folders(target, name, err)) return NULL;
    strcpy(names[i], name); /* from here on a signal removes what is made for it */
    if (i == count) count++;
    return make_folders(staging, name, err) && path_in(staging, name, path, err) ? path : NULL;
}

void file_set_discard(void) {
    if (!target) return;
    for (int i = 0; i < count; i++) {
        char folder[NAME];
        unlinkat(staging_folder, names[i], 0);
        strcpy(folder, names[i]);
        for (char *slash; (slash = strrchr(folder, '/'));) { /* the last file of each empties it */
            *slash = 0;
            unlinkat(staging_folder, folder, AT_REMOVEDIR);
        }
    }
    rmdir(staging);
    target = NULL;
    close(staging_folder);
    staging_folder = -1;
}

bool file_set_keeps_signal(int number) {
    if (moving) signalled = number;
    return moving;
}

/* ---- the stamp --------------------------------------------------------------------------------------------------- */

enum { HEX = 2 * EVP_MAX_MD_SIZE + 1 };

/* The SHA-256 of a file in hexadecimal; "" when it cannot be read. */
static void hash_file(const char *path, char hex[HEX]) {
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

/* What makes a set the same for any command line. False when out of memory, or when the program's own file cannot be
 * read. */
static bool describe(const struct provenance *p, FILE *stream) {
    char hex[HEX], program[PATH];
    hash_file(program_path(program, sizeof program), hex);
    fprintf(stream, "# program SHA-256: %s\n", hex);
    for (size_t i = 0; i < p->count; i++) /* the seed is one of the options */
        if (strcmp(p->facts[i].name, "command") != 0 && strcmp(p->facts[i].name, "seed") != 0)
            fprintf(stream, "# %s: %s\n", p->facts[i].name, p->facts[i].value);
    return hex[0] && !ferror(stream);
}

/* Whether each line "SHA256  NAME" is that of the folder's file. Cuts the text. */
static bool files_are(const char *folder, char *text) {
    struct error ignored;
    char path[PATH], hex[HEX];
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
        char *name = strstr(line, "  ");
        *end = 0;
        if (!name || !path_in(folder, name + 2, path, &ignored)) return false;
        *name = 0;
        hash_file(path, hex);
        if (!hex[0] || strcmp(hex, line) != 0) return false;
        text = end + 1;
    }
    return !*text;
}

static const char command_fact[] = "\n# command: ", options_fact[] = "\n# options: ";

/* Whether each "--name value; " of given is one of the line's. */
static bool options_agree(const char *line, const char *given) {
    for (size_t length; *given; given += length) {
        const char *end = strstr(given, "; "), *at;
        length = end ? (size_t)(end - given) + 2 : strlen(given);
        if (!(at = memmem(line, strcspn(line, "\n"), given, length)) || at[-1] != ' ') return false;
    }
    return true;
}

enum file_set_state file_set_look(const char *folder, const char *stamp, const struct provenance *p, const char *given,
                                  char *command, size_t size) {
    char path[PATH], *expected = NULL, *options = NULL, *made_by, *sums;
    unsigned char *found = NULL;
    size_t read, length;
    struct error ignored;
    enum file_set_state state = FILE_SET_STALE;
    *command = 0;
    FILE *stream = open_memstream(&expected, &length);
    bool same = stream && describe(p, stream);
    same = stream && fclose(stream) == 0 && same;
    if (path_in(folder, stamp, path, &ignored) && file_read_all(path, 1 << 20, &found, &read, &ignored)) {
        char *text = (char *)found; /* file_read_all ends it with a 0 */
        if ((made_by = strstr(text, command_fact))) {
            made_by += strlen(command_fact);
            text_format(command, size, "%.*s", (int)strcspn(made_by, "\n"), made_by);
        }
        same = same && made_by && read > length && memcmp(text, expected, length) == 0;
        if (same && (options = strstr(text, options_fact)) && (sums = strchr(options + 1, '\n'))) {
            options += strlen(options_fact) - 1;
            same = options_agree(options, given);
            state = !same ? FILE_SET_OF_OTHER_OPTIONS : files_are(folder, sums + 1) ? FILE_SET_CURRENT : FILE_SET_STALE;
        }
    }
    free(expected);
    free(found);
    return state;
}

/* The last file of the set, as `sha256sum --check` reads it. Without what describe needs there is none: the next run
 * does not know that it need not run. */
static bool write_stamp(const char *name, const struct provenance *p, const char *options, struct error *err) {
    struct out_file out;
    char file[PATH], hex[HEX];
    int others = count;
    const char *path = file_set_path(name, err);
    if (!path || !out_file_open(&out, path, err)) return false;
    if (!describe(p, out.stream)) return out_file_discard(&out), true;
    fputs(command_fact + 1, out.stream);
    text_plain(p->facts[0].value, out.stream);
    fprintf(out.stream, "%s%s\n", options_fact, options);
    for (int i = 0; i < others; i++) {
        if (!path_in(staging, names[i], file, err)) continue;
        hash_file(file, hex);
        if (hex[0]) fprintf(out.stream, "%s  %s\n", hex, names[i]);
    }
    return out_file_commit(&out, err);
}

/* ---- the moves --------------------------------------------------------------------------------------------------- */

/* From the first move on, a list in the set's folder tells them all, so that the next run makes the rest where this one
 * is killed between two, or cannot go on. Its lines, in their order: "!NAME" the stamp, removed first: a set that is
 * half moved is not taken for a whole one; "+NAME" moved; "-NAME" removed, since this run did not write it. */
static bool write_list(const char *stamp, struct error *err) {
    struct out_file out;
    char path[PATH];
    if (!path_in(staging, list_name, path, err) || !out_file_open(&out, path, err)) return false;
    if (stamp) fprintf(out.stream, "!%s\n", stamp);
    for (int i = 0; i < count; i++)
        fprintf(out.stream, "%c%s\n", faccessat(staging_folder, names[i], F_OK, 0) == 0 ? '+' : '-', names[i]);
    return out_file_commit(&out, err);
}

/* Whether a line's name is of a file in the set's folder, not through "..", nor through a link: results that came from
 * others may have any list. */
static bool is_inside(int from, const char *name) {
    struct stat info;
    char part[NAME + 2];
    if (snprintf(part, sizeof part, "/%s/", name) >= NAME || *name == '/' || strstr(part, "/../")) return false;
    strcpy(part, name);
    for (char *slash = part; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = 0;
        if (fstatat(from, part, &info, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(info.st_mode)) return false;
    }
    return *name;
}

/* Makes one move that may have been made before, by the run that wrote the list. */
static bool make_move(const char *folder, int from, const char *line, struct error *err) {
    struct stat info;
    char to[PATH];
    const char *name = line + 1;
    if (!*line || !strchr("!+-", *line) || !is_inside(from, name)) return fail(err, "no list of moves: %.80s", line);
    bool waits = fstatat(from, name, &info, AT_SYMLINK_NOFOLLOW) == 0;
    if (!place_of(folder, name, to, err)) return false;
    if (*line == '-' || (*line == '!' && waits)) unlink(to);
    if (*line != '+' || !waits) return true;
    return make_folders(folder, name, err) &&
        ((S_ISREG(info.st_mode) && renameat(from, name, AT_FDCWD, to) == 0) ||
         fail(err, "%s: could not be written: %s", to, S_ISREG(info.st_mode) ? strerror(errno) : "is no file"));
}

/* The moves of the list in a set's folder, whose descriptor is from. */
static bool make_moves(const char *folder, const char *set, int from, struct error *err) {
    char path[PATH];
    unsigned char *list = NULL;
    size_t size;
    bool ok = path_in(set, list_name, path, err) && file_read_all(path, 1 << 20, &list, &size, err);
    for (char *line = (char *)list, *end; ok && (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        ok = make_move(folder, from, line, err);
    }
    free(list);
    return ok || fail_in(err, "not all files are moved, the next run moves the rest");
}

/* Other sets move before or after; -1 where no file system locks. */
static int lock_folder(const char *folder) {
    int lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock >= 0) flock(lock, LOCK_EX);
    return lock;
}

/* Of killed runs, whose folders nobody has locked: makes the rest of moves that had begun, removes what was only being
 * written. The caller has locked the folder. */
static bool complete(const char *folder, struct error *err) {
    char path[PATH];
    bool ok = true;
    DIR *entries = opendir(folder);
    for (const struct dirent *entry; ok && entries && (entry = readdir(entries));) {
        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0) continue;
        if (!path_in(folder, entry->d_name, path, err)) continue;
        int dead = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (dead >= 0 && flock(dead, LOCK_EX | LOCK_NB) == 0) {
            if (faccessat(dead, list_name, F_OK, 0) == 0)
                ok = make_moves(folder, path, dead, err) || fail_in(err, path);
            if (ok) nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
        }
        if (dead >= 0) close(dead);
    }
    if (entries) closedir(entries);
    return ok;
}

bool file_set_complete(const char *folder, struct error *err) {
    int lock = lock_folder(folder);
    bool ok = complete(folder, err);
    if (lock >= 0) close(lock);
    return ok;
}

/* ---- beginning and end ------------------------------------------------------------------------------------------- */

const char *file_set_begin(const char *folder, struct error *err) {
    if (target) return staging;
    count = 0;
    signalled = 0;
    if (!file_set_complete(folder, err) || !make_staging(folder, err)) return NULL;
    target = folder; /* from here on a signal removes what there is */
    return staging;
}
/* An error is of the file that the user knows, not of the folder that is gone when he reads it. */
static void name_target(const char *folder, struct error *err) {
    char *at = strstr(err->text, staging), rest[sizeof err->text];
    if (!at) return;
    snprintf(rest, sizeof rest, "%s", at + strlen(staging));
    snprintf(at, sizeof err->text - (size_t)(at - err->text), "%s%s", folder, rest);
}

bool file_set_end(const char *stamp, const struct provenance *p, const char *options, bool ok, struct error *err) {
    const char *folder = target;
    if (!folder) return ok;
    int lock = ok ? lock_folder(folder) : -1;
    ok = ok && complete(folder, err) && (!stamp || write_stamp(stamp, p, options, err));
    moving = 1; /* a signal waits */
    bool listed = ok && write_list(stamp, err);
    ok = listed && make_moves(folder, staging, staging_folder, err);
    if (ok) unlinkat(staging_folder, list_name, 0);
    moving = 0;
    if (!listed || ok) file_set_discard();
    else target = NULL, close(staging_folder); /* the rest stays for the next run */
    if (lock >= 0) close(lock);
    if (signalled) raise(signalled);
    if (!ok) name_target(folder, err);
    return ok;
}
