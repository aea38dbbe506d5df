#include "data/dataset.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "data/digits.h"
#include "data/idx.h"

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

/* FOLDER/NAME.gz if it is there (what fetch_mnist.sh verifies), else FOLDER/NAME. */
static bool find_file(const char *folder, const char *name, char *path, size_t size, struct error *err) {
    for (int gz = 1; gz >= 0; gz--) {
        int written = snprintf(path, size, "%s/%s%s", folder, name, gz ? ".gz" : "");
        if (written < 0 || (size_t)written >= size) return fail(err, "%.60s...: the name is too long", folder);
        if (access(path, F_OK) == 0) return true;
        if (errno != ENOENT && errno != ENOTDIR) return fail(err, "%s: %s", path, strerror(errno));
    }
    return fail(err, "%s/%s: not there, nor with .gz (scripts/fetch_mnist.sh gets MNIST)", folder, name);
}

/* part is "train" or "t10k". */
static bool read_split(const char *folder, const char *part, struct split *out, struct error *err) {
    static const char *const kinds[] = {"images-idx3", "labels-idx1"};
    char name[64], path[2][4096];
    struct idx idx[2] = {{0}};
    bool ok = true;
    for (int i = 0; ok && i < 2; i++) {
        snprintf(name, sizeof name, "%s-%s-ubyte", part, kinds[i]);
        ok = find_file(folder, name, path[i], sizeof path[i], err);
    }
    for (int i = 0; ok && i < 2; i++) ok = idx_read(path[i], i == 0 ? 3 : 1, &idx[i], err);
    if (ok && idx[0].count != idx[1].count)
        ok = fail(err, "%s: %zu label%s for the %zu image%s of %s", path[1], idx[1].count, plural(idx[1].count),
                  idx[0].count, plural(idx[0].count), path[0]);
    if (ok) *out = (struct split){idx[0].count, (int)idx[0].rows, (int)idx[0].cols, idx[0].data, idx[1].data};
    for (int i = 0; !ok && i < 2; i++) idx_free(&idx[i]);
    return ok;
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
    return is_built_in(source) ? draw_split(DIGITS_TRAIN, DIGITS_TEST, out, err) : read_split(source, "t10k", out, err);
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

/* One wrong byte among the labels would make a network with outputs for classes that do not exist. (A few may be
 * missing: the letters of EMNIST are numbered from 1.) */
static bool check_classes(const struct split *train, int classes, const char *source, struct error *err) {
    size_t images[256] = {0};
    int missing = 0;
    for (size_t i = 0; i < train->count; i++) images[train->labels[i]]++;
    for (int c = 0; c < classes; c++) missing += images[c] == 0;
    return 2 * missing <= classes ||
        fail(err,
             "%s: the highest training label is %d, but %d of the %d classes up to it have no image: a label is wrong",
             source, classes - 1, missing, classes);
}

static bool check_dataset(struct dataset *d, const char *source, struct error *err) {
    if (d->train.rows != d->test.rows || d->train.cols != d->test.cols)
        return fail(err, "%s: training images are %d x %d, test images %d x %d", source, d->train.rows, d->train.cols,
                    d->test.rows, d->test.cols);
    d->classes = 0;
    for (size_t i = 0; i < d->train.count; i++)
        if (d->train.labels[i] >= d->classes) d->classes = d->train.labels[i] + 1;
    if (d->classes < 2) return fail(err, "%s: every training label is 0; expected 2 to 256 classes", source);
    if (!check_classes(&d->train, d->classes, source, err)) return false;
    return split_fits(&d->test, d->test.rows * d->test.cols, d->classes, source, err);
}

bool dataset_load(const char *source, struct dataset *out, struct error *err) {
    *out = (struct dataset){0};
    bool ok = is_built_in(source) ? draw_split(0, DIGITS_TRAIN, &out->train, err)
                                  : read_split(source, "train", &out->train, err);
    ok = ok && dataset_load_test(source, &out->test, err) && check_dataset(out, source, err) && hash_dataset(out, err);
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
