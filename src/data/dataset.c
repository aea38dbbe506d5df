#include "data/dataset.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "data/digits.h"
#include "data/idx.h"
#include "data/idx_files.h"

enum { DIGITS_SEED = 1 }; /* fixed, so that the name means one set of bytes */

/* SHA-256 of MNIST's four files decompressed and joined, as in struct dataset. */
static const char mnist_sha256[] = "b2d8f5bf39174ee5ffeefa97e42d673c35432b411bb5d1f74fbbeddae7f1690a";
static const char mnist_test_sha256[] =
    "18489308deedfe2f7bd3a11e599a597126f161d991b1ffcffb71642aa76f7f62"; /* of the last two alone */

static bool is_built_in(const char *source) { return strcmp(source, "digits") == 0; }

void split_free(struct split *split) {
    free(split->images);
    free(split->labels);
    *split = (struct split){0};
}

void dataset_free(struct dataset *dataset) {
    split_free(&dataset->train);
    split_free(&dataset->test);
}

static size_t memory_limit = (size_t)DATASET_DEFAULT_MIB << 20;

void dataset_memory_limit(int mib) { memory_limit = (size_t)mib << 20; }

/* The two files of a split and what their headers say. */
struct files {
    char path[2][IDX_PATH]; /* IDX_IMAGES, IDX_LABELS */
    struct idx head[2];
};

static bool find_split(const char *folder, enum idx_part part, struct files *f, struct error *err) {
    return idx_find(folder, part, IDX_IMAGES, f->path[0], err) && idx_find(folder, part, IDX_LABELS, f->path[1], err) &&
        idx_header(f->path[0], 3, &f->head[0], err) && idx_header(f->path[1], 1, &f->head[1], err) &&
        (f->head[0].count == f->head[1].count ||
         fail(err, "%s: %zu labels for the %zu images of %s", f->path[1], f->head[1].count, f->head[0].count,
              f->path[0]));
}

static size_t bytes_of(const struct files *f) { return idx_bytes(&f->head[0]) + idx_bytes(&f->head[1]); }

/* Before a byte of their data is read: it may be compressed a thousandfold. */
static bool fits_memory(const char *folder, size_t bytes, struct error *err) {
    return bytes <= memory_limit ||
        fail(err, "%s: images and labels are %zu MiB, more than the %zu MiB for a data set (--memory-limit)", folder,
             (bytes + (1 << 20) - 1) >> 20, memory_limit >> 20);
}

static bool same_size(const char *source, int train_rows, int train_cols, int test_rows, int test_cols,
                      struct error *err) {
    return (train_rows == test_rows && train_cols == test_cols) ||
        fail(err, "%s: training images are %d x %d, test images %d x %d", source, train_rows, train_cols, test_rows,
             test_cols);
}

static bool read_split(const struct files *f, struct split *out, struct error *err) {
    struct idx idx[2] = {{0}};
    bool ok = true;
    for (int i = 0; ok && i < 2; i++) ok = idx_read(f->path[i], i == 0 ? 3 : 1, idx_bytes(&f->head[i]), &idx[i], err);
    if (ok && idx[0].count != idx[1].count) ok = fail(err, "%s: changes while it is read", f->path[0]);
    if (ok) *out = (struct split){idx[0].count, (int)idx[0].rows, (int)idx[0].cols, idx[0].data, idx[1].data};
    for (int i = 0; !ok && i < 2; i++) idx_free(&idx[i]);
    return ok;
}

static bool read_test(const char *folder, struct split *out, struct error *err) {
    struct files test;
    return find_split(folder, IDX_TEST, &test, err) && fits_memory(folder, bytes_of(&test), err) &&
        read_split(&test, out, err);
}

static bool read_both(const char *folder, struct dataset *out, struct error *err) {
    struct files train, test;
    const struct idx *a = &train.head[0], *b = &test.head[0];
    return find_split(folder, IDX_TRAIN, &train, err) && find_split(folder, IDX_TEST, &test, err) &&
        same_size(folder, (int)a->rows, (int)a->cols, (int)b->rows, (int)b->cols, err) &&
        fits_memory(folder, bytes_of(&train) + bytes_of(&test), err) && read_split(&train, &out->train, err) &&
        read_split(&test, &out->test, err);
}

static bool draw_split(size_t first, size_t count, struct split *out, struct error *err) {
    *out = (struct split){count, DIGITS_ROWS, DIGITS_COLS, malloc(count * DIGITS_PIXELS), malloc(count)};
    if (!out->images || !out->labels) {
        split_free(out);
        return fail(err, "digits: out of memory for %zu images", count);
    }
    digits_draw(DIGITS_SEED, first, count, out->images, out->labels);
    return true;
}

bool dataset_load_test(const char *source, struct split *out, struct error *err) {
    *out = (struct split){0};
    return is_built_in(source) ? draw_split(DIGITS_TRAIN, DIGITS_TEST, out, err) : read_test(source, out, err);
}

/* One hash over what the files hold, headers included, so that plain and compressed files give the same. */
static void hash_split(EVP_MD_CTX *hash, const struct split *split) {
    uint32_t header[2][4] = {{0x0803, (uint32_t)split->count, (uint32_t)split->rows, (uint32_t)split->cols},
                             {0x0801, (uint32_t)split->count}};
    const uint8_t *body[2] = {split->images, split->labels};
    size_t size[2] = {split->count * (size_t)split->rows * (size_t)split->cols, split->count};
    for (int part = 0; part < 2; part++) {
        uint8_t bytes[16];
        for (int i = 0; i < 16; i++) bytes[i] = (uint8_t)(header[part][i / 4] >> (24 - i % 4 * 8));
        EVP_DigestUpdate(hash, bytes, part == 0 ? 16 : 8);
        EVP_DigestUpdate(hash, body[part], size[part]);
    }
}

static bool hash_dataset(struct dataset *dataset, struct error *err) {
    unsigned char digest[32] = {0};
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    if (!hash || !EVP_DigestInit_ex(hash, EVP_sha256(), NULL)) {
        EVP_MD_CTX_free(hash);
        return fail(err, hash ? "SHA-256 is not available from libcrypto" : "out of memory for a SHA-256");
    }
    if (dataset->train.count) hash_split(hash, &dataset->train);
    hash_split(hash, &dataset->test);
    EVP_DigestFinal_ex(hash, digest, NULL);
    EVP_MD_CTX_free(hash);
    for (int i = 0; i < 32; i++) snprintf(dataset->sha256 + 2 * i, 3, "%02x", digest[i]);
    return true;
}

static void name_dataset(struct dataset *dataset, const char *source) {
    if (strcmp(dataset->sha256, dataset->train.count ? mnist_sha256 : mnist_test_sha256) == 0) {
        strcpy(dataset->name, "MNIST");
        return;
    }
    char copy[4096];
    snprintf(copy, sizeof copy, "%s", source);
    size_t length = strlen(copy);
    while (length > 1 && copy[length - 1] == '/') copy[--length] = 0;
    const char *slash = strrchr(copy, '/');
    const char *name = slash && slash[1] ? slash + 1 : copy;
    text_format(dataset->name, sizeof dataset->name, is_built_in(source) ? "built-in %.*s" : "%.*s (not MNIST's files)",
                text_cut(name, 100), name);
}

/* One wrong byte among the labels would make a network with outputs for classes that do not exist. It shows in a
 * highest class that hardly an image has, far above the others. (Many classes may be missing: the letters of EMNIST are
 * numbered from 1, and a set of 3s and 8s has two of nine.) */
static bool check_classes(const struct split *train, int classes, const char *source, struct error *err) {
    size_t images[256] = {0}, highest;
    int missing = 0;
    for (size_t i = 0; i < train->count; i++) images[train->labels[i]]++;
    for (int c = 0; c < classes; c++) missing += images[c] == 0;
    highest = images[classes - 1];
    return 2 * missing <= classes || 10 * highest * (size_t)(classes - missing) >= train->count ||
        fail(err,
             "%s: the highest training label is %d, but %d of the %d classes up to it have no image, and it has %zu of "
             "%zu: a label is wrong",
             source, classes - 1, missing, classes, highest, train->count);
}

static bool check_dataset(struct dataset *d, const char *source, struct error *err) {
    if (!same_size(source, d->train.rows, d->train.cols, d->test.rows, d->test.cols, err)) return false;
    d->classes = 0;
    for (size_t i = 0; i < d->train.count; i++)
        if (d->train.labels[i] >= d->classes) d->classes = d->train.labels[i] + 1;
    if (d->classes < 2) return fail(err, "%s: every training label is 0; expected 2 to 256 classes", source);
    if (!check_classes(&d->train, d->classes, source, err)) return false;
    return split_fits(&d->test, d->test.rows * d->test.cols, d->classes, source, err);
}

bool dataset_load(const char *source, struct dataset *out, struct error *err) {
    *out = (struct dataset){0};
    bool ok = is_built_in(source)
        ? draw_split(0, DIGITS_TRAIN, &out->train, err) && draw_split(DIGITS_TRAIN, DIGITS_TEST, &out->test, err)
        : read_both(source, out, err);
    ok = ok && check_dataset(out, source, err) && hash_dataset(out, err);
    if (ok) name_dataset(out, source);
    else dataset_free(out);
    return ok;
}

bool dataset_load_test_only(const char *source, struct dataset *out, struct error *err) {
    *out = (struct dataset){0};
    if (!dataset_load_test(source, &out->test, err) || !hash_dataset(out, err)) {
        dataset_free(out);
        return false;
    }
    for (size_t i = 0; i < out->test.count; i++)
        if (out->test.labels[i] >= out->classes) out->classes = out->test.labels[i] + 1;
    name_dataset(out, source);
    return true;
}

bool split_fits(const struct split *split, int inputs, int classes, const char *source, struct error *err) {
    if (split->rows * split->cols != inputs)
        return fail(err, "%s: images of %d x %d = %d pixels for a model with %d inputs", source, split->rows,
                    split->cols, split->rows * split->cols, inputs);
    for (size_t i = 0; i < split->count; i++)
        if (split->labels[i] >= classes)
            return fail(err, "%s: the label of test image %zu is %d, out of range for %d classes (0 to %d)", source, i,
                        split->labels[i], classes, classes - 1);
    return true;
}
