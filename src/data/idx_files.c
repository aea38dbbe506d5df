#include "data/idx_files.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/text.h"

enum { NAME = 256 };

static const char *const parts[] = {"train", "t10k"}, *const kinds[] = {"images", "labels"};

/* Takes word off the end of name [*length], and the separator before it. */
static bool ends_with(const char *name, size_t *length, const char *word) {
    size_t n = strlen(word);
    if (*length < n || strncasecmp(name + *length - n, word, n) != 0) return false;
    *length -= n;
    if (*length && strchr("-._", name[*length - 1])) return --*length, true;
    return *length == 0;
}

/* Whether name is of such a file; *prefix: the length of what stands before. */
static bool is_named(const char *name, enum idx_part part, enum idx_kind kind, size_t *prefix) {
    *prefix = strlen(name);
    size_t plain = *prefix;
    if (ends_with(name, &plain, "gz")) *prefix = plain;
    bool bytes = ends_with(name, prefix, "ubyte"), labels = kind == IDX_LABELS;
    return (bytes || (labels && ends_with(name, prefix, "int"))) &&
        (ends_with(name, prefix, labels ? "idx1" : "idx3") || (labels && ends_with(name, prefix, "idx2"))) &&
        ends_with(name, prefix, kinds[kind]) &&
        (ends_with(name, prefix, parts[part]) || (part == IDX_TEST && ends_with(name, prefix, "test")));
}

/* Which of two names of one file is taken: the lower. */
static int rank(const char *name, enum idx_part part, enum idx_kind kind) {
    char own[64];
    size_t n = (size_t)snprintf(own, sizeof own, "%s-%s-idx%d-ubyte", parts[part], kinds[kind], kind ? 1 : 3);
    if (strncmp(name, own, n) != 0) return 2;
    return strcmp(name + n, ".gz") == 0 ? 0 : name[n] == 0 ? 1 : 2;
}

/* What a folder has: the set of one prefix, and its best name for one of the files. */
struct found {
    char prefix[NAME], other[NAME]; /* of any of the four; where there are several, the first of them and another */
    bool any;
    char name[NAME];  /* empty: none */
    char listed[160]; /* the first names of the folder, for the error */
    int entries;
};

static void list_name(const char *name, struct found *f) {
    size_t used = strlen(f->listed);
    if (f->entries++ < 5) text_format(f->listed + used, sizeof f->listed - used, "%s%.30s", used ? ", " : "", name);
}

/* Whatever of the four a file is, its prefix tells the set; no prefix comes before all others. */
static void see_prefix(const char *name, struct found *f) {
    size_t n;
    char text[NAME];
    for (int file = 0; file < 4; file++) {
        if (!is_named(name, file / 2, file % 2, &n)) continue;
        snprintf(text, sizeof text, "%.*s", (int)n, name);
        int order = f->any ? strcasecmp(text, f->prefix) : -1;
        if (f->any && order != 0) snprintf(f->other, sizeof f->other, "%s", order < 0 ? f->prefix : text);
        if (order < 0) snprintf(f->prefix, sizeof f->prefix, "%s", text);
        f->any = true;
    }
}

static void see_name(const char *name, enum idx_part part, enum idx_kind kind, struct found *f) {
    size_t n;
    if (!is_named(name, part, kind, &n) || n != strlen(f->prefix) || strncasecmp(name, f->prefix, n) != 0) return;
    int now = rank(name, part, kind), before = *f->name ? rank(f->name, part, kind) : INT_MAX;
    if (now < before || (now == before && strcmp(name, f->name) < 0)) snprintf(f->name, sizeof f->name, "%s", name);
}

static bool look_into(const char *folder, enum idx_part part, enum idx_kind kind, struct found *f, struct error *err) {
    *f = (struct found){.entries = 0};
    DIR *directory = opendir(folder);
    if (!directory) return errno == ENOENT || fail(err, "%s: %s", folder, strerror(errno));
    for (int pass = 0; pass < 2; pass++, rewinddir(directory))
        for (struct dirent *entry; (entry = readdir(directory));) {
            if (entry->d_name[0] == '.') continue;
            if (pass == 0) list_name(entry->d_name, f), see_prefix(entry->d_name, f);
            else see_name(entry->d_name, part, kind, f);
        }
    closedir(directory);
    return true;
}

static bool join(char path[IDX_PATH], const char *folder, const char *name, struct error *err) {
    int written = snprintf(path, IDX_PATH, "%s/%s", folder, name);
    return (written > 0 && written < IDX_PATH) || fail(err, "%.60s...: the name is too long", folder);
}

bool idx_find(const char *folder, enum idx_part part, enum idx_kind kind, char path[IDX_PATH], struct error *err) {
    struct found f, inside;
    struct stat info;
    char own[64], within[IDX_PATH];
    snprintf(own, sizeof own, "%s-%s-idx%d-ubyte", parts[part], kinds[kind], kind ? 1 : 3);
    if (!join(path, folder, own, err) || !look_into(folder, part, kind, &f, err)) return false;
    if (*f.prefix && *f.other)
        return fail(err, "%s: holds several data sets, %.60s and %.60s among them: expected a folder for each", folder,
                    f.prefix, f.other);
    if (!*f.name && f.entries == 0)
        return fail(err, "%s: not there, nor with .gz (scripts/fetch_mnist.sh gets MNIST)", path);
    if (!*f.name)
        return fail(err, "%s: not there, nor with .gz or the like; in the folder: %s%s", path, f.listed,
                    f.entries > 5 ? ", ..." : "");
    if (!join(path, folder, f.name, err)) return false;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)) return true; /* what is wrong with it, its reader tells */
    return look_into(path, part, kind, &inside, err) &&
        (!*inside.name || (join(within, path, inside.name, err) && strcpy(path, within)));
}
