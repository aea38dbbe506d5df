/* Data sets: a folder of four IDX files of any geometry, or the built-in digits; what does not fit together
 * is refused by name. */
#include "data/dataset.h"
#include "data/digits.h"

#include "support.h"

#include <openssl/evp.h>

/* One pair of files; labels run 0, 1, ... classes - 1, 0, ... from first_label. */
struct part {
    const char *name; /* "train" or "t10k" */
    uint32_t images, labels, rows, cols;
    int classes, first_label;
};

static const char *const file_kinds[] = {"images-idx3", "labels-idx1"};

/* FOLDER/train-images-idx3-ubyte, ...; kind 0 images, 1 labels */
static const char *file_path(const char *folder, const char *part, int kind, const char *ending) {
    char name[256];
    snprintf(name, sizeof name, "%s/%s-%s-ubyte%s", folder, part, file_kinds[kind], ending);
    return in_folder(name);
}

static size_t put_header(unsigned char *to, const uint32_t *fields, size_t count) {
    for (size_t i = 0; i < 4 * count; i++) to[i] = (unsigned char)(fields[i / 4] >> (24 - i % 4 * 8));
    return 4 * count;
}

static void write_part(const char *folder, struct part p, bool gz) {
    unsigned char bytes[4096];
    void (*write)(const char *, const void *, size_t) = gz ? write_gz : write_bytes;
    size_t at = put_header(bytes, (uint32_t[]){0x803, p.images, p.rows, p.cols}, 4);
    for (uint32_t i = 0; i < p.images * p.rows * p.cols; i++) bytes[at++] = (unsigned char)(i * 7 + p.rows);
    write(file_path(folder, p.name, 0, gz ? ".gz" : ""), bytes, at);
    at = put_header(bytes, (uint32_t[]){0x801, p.labels}, 2);
    for (uint32_t i = 0; i < p.labels; i++) bytes[at++] = (unsigned char)(p.first_label + (int)i % p.classes);
    write(file_path(folder, p.name, 1, gz ? ".gz" : ""), bytes, at);
}

/* 5 x 7 pixels, 3 classes. */
static const struct part good_train = {"train", 8, 8, 5, 7, 3, 0}, good_test = {"t10k", 4, 4, 5, 7, 3, 0};

static void write_folder(const char *folder, struct part train, struct part test, bool gz) {
    mkdir(in_folder(folder), 0777);
    write_part(folder, train, gz);
    write_part(folder, test, gz);
}

static struct dataset loaded(const char *source) {
    struct dataset d;
    struct error err;
    if (!dataset_load(source, &d, &err)) fail_msg("%s", err.text);
    return d;
}

/* The error text begins with the name of the file or folder that is wrong. */
static void assert_refused(const char *source, const char *culprit, const char *expected) {
    struct dataset d;
    struct error err = {""};
    if (dataset_load(source, &d, &err)) fail_msg("%s was loaded; expected: %s", source, expected);
    assert_error(err.text, culprit, expected);
    assert_null(d.train.images);
    assert_null(d.train.labels);
    assert_null(d.test.images);
    assert_null(d.test.labels);
}

static void test_other_geometry_is_loaded(void **state) {
    (void)state;
    write_folder("small", good_train, good_test, false);
    struct dataset d = loaded(in_folder("small"));
    assert_int_equal(d.classes, 3);
    assert_int_equal(d.train.count, 8);
    assert_int_equal(d.test.count, 4);
    assert_int_equal(d.train.rows, 5);
    assert_int_equal(d.test.cols, 7);
    for (int i = 0; i < 8 * 35; i++) assert_int_equal(d.train.images[i], (i * 7 + 5) & 255);
    for (int i = 0; i < 4; i++) assert_int_equal(d.test.labels[i], i % 3);
    dataset_free(&d);
    assert_null(d.train.images);
}

/* sha256sum of what gzip -dc gives for the four files, one after the other. */
static void hash_files(const char *folder, char hex[65]) {
    unsigned char digest[32];
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    assert_true(EVP_DigestInit_ex(hash, EVP_sha256(), NULL));
    for (int i = 0; i < 4; i++) {
        size_t size;
        char *bytes = read_bytes(file_path(folder, i < 2 ? "train" : "t10k", i % 2, ""), &size);
        EVP_DigestUpdate(hash, bytes, size);
        free(bytes);
    }
    EVP_DigestFinal_ex(hash, digest, NULL);
    EVP_MD_CTX_free(hash);
    for (int i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

static void test_plain_and_compressed_give_the_same_hash_and_bytes(void **state) {
    (void)state;
    char expected[65];
    write_folder("plain", good_train, good_test, false);
    write_folder("packed", good_train, good_test, true);
    hash_files("plain", expected);
    struct dataset plain = loaded(in_folder("plain")), packed = loaded(in_folder("packed"));
    assert_string_equal(plain.sha256, expected);
    assert_string_equal(packed.sha256, expected);
    assert_memory_equal(plain.train.images, packed.train.images, 8 * 35);
    assert_memory_equal(plain.test.labels, packed.test.labels, 4);
    dataset_free(&plain), dataset_free(&packed);
    unlink(file_path("plain", "t10k", 1, "")); /* one of each kind in a folder is no trouble */
    struct part other = good_test;
    other.first_label = 1, other.classes = 2;
    write_part("plain", other, true);
    plain = loaded(in_folder("plain"));
    assert_int_equal(plain.test.labels[0], 1);
    assert_string_not_equal(plain.sha256, expected);
    dataset_free(&plain);
}

static void test_every_byte_and_the_shape_count_in_the_hash(void **state) {
    (void)state;
    static const struct part tests[] = {
        {"t10k", 4, 4, 5, 7, 3, 0}, {"t10k", 3, 3, 5, 7, 3, 0}, {"t10k", 4, 4, 5, 7, 2, 0}, {"t10k", 4, 4, 5, 7, 2, 1}};
    char seen[4][65];
    for (int i = 0; i < 4; i++) {
        write_folder("hashed", good_train, tests[i], false);
        struct dataset d = loaded(in_folder("hashed"));
        strcpy(seen[i], d.sha256);
        assert_int_equal(strlen(seen[i]), 64);
        for (int j = 0; j < i; j++) assert_string_not_equal(seen[i], seen[j]);
        dataset_free(&d);
    }
}

/* A table from other files must never look like one from MNIST. */
static void test_names(void **state) {
    (void)state;
    static const char *const cases[][2] = {{"MNIST", "MNIST (not MNIST's files)"},
                                           {"MNIST///", "MNIST (not MNIST's files)"},
                                           {"MNIST/../fashion", "fashion (not MNIST's files)"},
                                           {"digits", "digits (not MNIST's files)"}};
    write_folder("MNIST", good_train, good_test, false);
    write_folder("fashion", good_train, good_test, true);
    write_folder("digits", good_train, good_test, true); /* ... nor like the built-in set */
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dataset d = loaded(in_folder(cases[i][0]));
        assert_string_equal(d.name, cases[i][1]);
        dataset_free(&d);
    }
    char name[201]; /* of a folder too long to be told whole */
    memset(name, 'M', 200), name[200] = 0;
    write_folder(name, good_train, good_test, false);
    struct dataset d = loaded(in_folder(name));
    assert_contains(d.name, "MMMM");
    assert_contains(d.name, " (not MNIST's files)");
    dataset_free(&d);
}

static void test_missing_files_are_named(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        const char *path = file_path("gap", i < 2 ? "train" : "t10k", i % 2, "");
        write_folder("gap", good_train, good_test, false);
        unlink(path);
        assert_refused(in_folder("gap"), path, "not there, nor with .gz");
    }
    assert_refused(in_folder("nowhere"), file_path("nowhere", "train", 0, ""), "fetch_mnist.sh");
    char name[5000];
    memset(name, 'x', sizeof name - 1), name[sizeof name - 1] = 0;
    struct dataset d;
    struct error err;
    assert_false(dataset_load(name, &d, &err));
    assert_contains(err.text, "too long");
    assert_false(dataset_load("", &d, &err));
}

/* Renames one of the four files of a folder that write_folder made. */
static void rename_file(const char *folder, int file, bool gz, const char *to) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, to);
    assert_int_equal(rename(file_path(folder, file < 2 ? "train" : "t10k", file % 2, gz ? ".gz" : ""), in_folder(path)),
                     0);
}

/* As they come from other places than MNIST's own. */
static void test_other_names_are_read(void **state) {
    (void)state;
    static const struct {
        bool gz;
        const char *names[4], *folders[4];
    } cases[] = {
        {false,
         {"train-images.idx3-ubyte", "train-labels.idx1-ubyte", "t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte"},
         {NULL}},
        {true,
         {"train-images-idx3-ubyte.GZ", "train-labels-idx1-ubyte.Gz", "T10K-IMAGES-IDX3-UBYTE.GZ",
          "t10k-labels.idx1-ubyte.gz"},
         {NULL}},
        {true,
         {"emnist-letters-train-images-idx3-ubyte.gz", "emnist-letters-train-labels-idx1-ubyte.gz",
          "emnist-letters-test-images-idx3-ubyte.gz", "emnist-letters-test-labels-idx1-ubyte.gz"},
         {NULL}},
        {false,
         {"qmnist-train-images-idx3-ubyte", "qmnist-train-labels-idx1-ubyte", "qmnist-test-images-idx3-ubyte",
          "qmnist-test-labels-idx1-ubyte"},
         {NULL}},
        {false,
         {"my_own.set_train_images_idx3_ubyte", "my_own.set_train_labels_idx1_ubyte",
          "my_own.set_test_images_idx3_ubyte", "my_own.set_test_labels_idx1_ubyte"},
         {NULL}},
        {false,
         {"train-images-idx3-ubyte/train-images-idx3-ubyte", "train-labels-idx1-ubyte/train-labels-idx1-ubyte",
          "t10k-images.idx3-ubyte/t10k-images.idx3-ubyte", "t10k-labels-idx1-ubyte/t10k-labels-idx1-ubyte"},
         {"train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images.idx3-ubyte", "t10k-labels-idx1-ubyte"}},
    };
    for (size_t t = 0; t < sizeof cases / sizeof *cases; t++) {
        char folder[16], path[128], expected[65];
        snprintf(folder, sizeof folder, "style%zu", t);
        write_folder(folder, good_train, good_test, cases[t].gz);
        struct dataset d = loaded(in_folder(folder));
        strcpy(expected, d.sha256);
        dataset_free(&d);
        for (int file = 0; file < 4; file++) {
            if (cases[t].folders[file]) {
                rename_file(folder, file, cases[t].gz, "aside");
                snprintf(path, sizeof path, "%s/%s", folder, cases[t].folders[file]);
                assert_int_equal(mkdir(in_folder(path), 0777), 0);
                snprintf(path, sizeof path, "%s/aside", folder);
                char to[256];
                snprintf(to, sizeof to, "%s/%s", folder, cases[t].names[file]);
                assert_int_equal(rename(in_folder(path), in_folder(to)), 0);
            } else rename_file(folder, file, cases[t].gz, cases[t].names[file]);
        }
        d = loaded(in_folder(folder));
        assert_string_equal(d.sha256, expected);
        assert_int_equal(d.train.count, 8);
        dataset_free(&d);
    }
}

/* As QMNIST comes, whose labels are records of eight int32: the same set as with labels of bytes. */
static void test_qmnist_as_it_comes_is_read(void **state) {
    (void)state;
    write_folder("qmnist", good_train, good_test, true);
    struct dataset d = loaded(in_folder("qmnist"));
    char expected[65];
    strcpy(expected, d.sha256);
    dataset_free(&d);
    for (int test = 0; test < 2; test++) {
        const struct part *part = test ? &good_test : &good_train;
        unsigned char bytes[12 + 32 * 8] = {0};
        char name[64];
        put_header(bytes, (uint32_t[]){0xc02, part->labels, 8}, 3);
        for (uint32_t i = 0; i < part->labels; i++) /* class, NIST's series and writer, ... */
            put_header(bytes + 12 + 32 * i, (uint32_t[]){i % 3, 4, 2099 + i, i, 30 + i % 3, 281769, 1, 0}, 8);
        snprintf(name, sizeof name, "qmnist/qmnist-%s-labels-idx2-int.gz", test ? "test" : "train");
        write_gz(in_folder(name), bytes, 12 + 32 * (size_t)part->labels);
        unlink(file_path("qmnist", part->name, 1, ".gz"));
        snprintf(name, sizeof name, "qmnist-%s-images-idx3-ubyte.gz", test ? "test" : "train");
        rename_file("qmnist", 2 * test, true, name);
    }
    d = loaded(in_folder("qmnist"));
    assert_string_equal(d.sha256, expected);
    dataset_free(&d);
    char bytes[256]; /* images are bytes */
    strcpy(bytes, in_folder("qmnist/qmnist-train-images-idx3-ubyte.gz"));
    assert_int_equal(rename(bytes, in_folder("qmnist/qmnist-train-images-idx3-int.gz")), 0);
    assert_refused(in_folder("qmnist"), file_path("qmnist", "train", 0, ""), "not there");
}

/* MNIST's own names before others, .gz before plain: what else lies there does not matter. */
static void test_own_names_come_first(void **state) {
    (void)state;
    struct part other = good_test;
    char expected[65];
    other.first_label = 1, other.classes = 2;
    write_folder("first", good_train, other, false);
    for (int file = 2; file < 4; file++)
        rename_file("first", file, false, file == 2 ? "t10k-images.idx3-ubyte" : "t10k-labels.idx1-ubyte");
    write_part("first", other, false);
    write_bytes(in_folder("first/a-train-labels-idx1-ubyte"), "none", 4);
    write_part("first", good_test, true);
    struct dataset d = loaded(in_folder("first"));
    assert_int_equal(d.test.labels[0], 0);
    strcpy(expected, d.sha256);
    dataset_free(&d);
    unlink(file_path("first", "t10k", 1, ".gz"));
    d = loaded(in_folder("first"));
    assert_int_equal(d.test.labels[0], 1);
    dataset_free(&d);
}

static void test_several_sets_in_a_folder_are_refused(void **state) {
    (void)state;
    write_folder("several", good_train, good_test, false);
    static const char *const names[] = {"emnist-letters-train-images-idx3-ubyte",
                                        "emnist-letters-train-labels-idx1-ubyte",
                                        "emnist-digits-test-images-idx3-ubyte", "emnist-digits-test-labels-idx1-ubyte"};
    for (int file = 0; file < 4; file++) rename_file("several", file, false, names[file]);
    assert_refused(in_folder("several"), in_folder("several"), "several data sets, emnist-digits and emnist-letters");
    mkdir(in_folder("none"), 0777);
    write_bytes(in_folder("none/train.csv"), "x", 1);
    write_bytes(in_folder("none/mytrain-images-idx3-ubyte"), "x", 1);
    write_bytes(in_folder("none/.train-images-idx3-ubyte"), "x", 1);
    write_bytes(in_folder("none/train-images-idx1-ubyte"), "x", 1);
    assert_refused(in_folder("none"), file_path("none", "train", 0, ""), "in the folder: ");
    assert_refused(in_folder("none/train.csv"), in_folder("none/train.csv"), "Not a directory");
}

static void test_files_that_do_not_fit_together_are_refused(void **state) {
    (void)state;
    static const struct {
        struct part train, test;
        const char *culprit; /* in the folder; "": the folder itself */
        const char *expected;
    } cases[] = {
        {{"train", 8, 7, 5, 7, 3, 0},
         {"t10k", 4, 4, 5, 7, 3, 0},
         "/train-labels-idx1-ubyte",
         "7 labels for the 8 images"},
        {{"train", 8, 8, 5, 7, 3, 0},
         {"t10k", 4, 5, 5, 7, 3, 0},
         "/t10k-labels-idx1-ubyte",
         "5 labels for the 4 images"},
        {{"train", 8, 8, 5, 7, 3, 0}, {"t10k", 4, 4, 7, 5, 3, 0}, "", "training images are 5 x 7, test images 7 x 5"},
        {{"train", 8, 8, 5, 7, 3, 0}, {"t10k", 4, 4, 5, 8, 3, 0}, "", "training images are 5 x 7, test images 5 x 8"},
        {{"train", 8, 8, 5, 7, 3, 0}, {"t10k", 4, 4, 6, 7, 3, 0}, "", "training images are 5 x 7, test images 6 x 7"},
        {{"train", 8, 8, 5, 7, 3, 0}, {"t10k", 4, 4, 5, 7, 4, 0}, "", "label of test image 3 is 3, out of range for 3"},
        {{"train", 8, 8, 5, 7, 3, 0}, {"t10k", 4, 4, 5, 7, 1, 255}, "", "label of test image 0 is 255"},
        {{"train", 8, 8, 5, 7, 1, 0}, {"t10k", 4, 4, 5, 7, 1, 0}, "", "expected 2 to 256 classes"},
        {{"train", 0, 0, 5, 7, 3, 0}, {"t10k", 4, 4, 5, 7, 3, 0}, "/train-images-idx3-ubyte", "holds no images"},
        {{"train", 8, 8, 5, 7, 3, 0}, {"t10k", 4, 0, 5, 7, 3, 0}, "/t10k-labels-idx1-ubyte", "holds no labels"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char culprit[128];
        write_folder("misfit", cases[i].train, cases[i].test, false);
        snprintf(culprit, sizeof culprit, "misfit%s", cases[i].culprit);
        assert_refused(in_folder("misfit"), in_folder(culprit), cases[i].expected);
    }
}

static void test_files_of_the_wrong_kind_are_refused(void **state) {
    (void)state;
    write_folder("swapped", good_train, good_test, false);
    const char *images = file_path("swapped", "train", 0, ""), *labels = file_path("swapped", "train", 1, "");
    assert_int_equal(rename(images, in_folder("swapped/x")), 0);
    assert_int_equal(rename(labels, images), 0);
    assert_int_equal(rename(in_folder("swapped/x"), labels), 0);
    assert_refused(in_folder("swapped"), images, "wrong magic number");
    unlink(images);
    assert_int_equal(mkdir(images, 0777), 0);
    assert_refused(in_folder("swapped"), images, "is not a regular file");
}

/* Two of nine classes, each with its share, are a set; one wrong byte among the labels makes none. */
static void test_few_of_many_classes(void **state) {
    (void)state;
    unsigned char labels[8 + 40];
    write_folder("few", (struct part){"train", 40, 40, 2, 2, 2, 0}, (struct part){"t10k", 4, 4, 2, 2, 1, 3}, false);
    put_header(labels, (uint32_t[]){0x801, 40}, 2);
    for (int wrong = 0; wrong < 3; wrong++) {
        for (int i = 0; i < 40; i++) labels[8 + i] = i % 5 ? 3 : 8;
        if (wrong) labels[8 + 17] = 200;
        if (wrong > 1) labels[8 + 18] = labels[8 + 19] = 200; /* not many more: 3 of 40 */
        write_bytes(file_path("few", "train", 1, ""), labels, sizeof labels);
        if (wrong == 1) {
            assert_refused(in_folder("few"), in_folder("few"), "198 of the 201 classes up to it have no image");
            continue;
        }
        struct dataset d = loaded(in_folder("few"));
        assert_int_equal(d.classes, wrong ? 201 : 9);
        dataset_free(&d);
    }
}

/* By their headers, before a byte behind them is read: what is behind is missing here. */
static void test_memory_is_bounded(void **state) {
    (void)state;
    unsigned char header[16];
    write_folder("large", good_train, good_test, false);
    for (int part = 0; part < 2; part++) {
        put_header(header, (uint32_t[]){0x803, 1 << 20, 64, 16}, 4); /* 1 GiB, and 1 MiB of labels */
        write_bytes(file_path("large", part ? "t10k" : "train", 0, ""), header, 16);
        put_header(header, (uint32_t[]){0x801, 1 << 20}, 2);
        write_bytes(file_path("large", part ? "t10k" : "train", 1, ""), header, 8);
    }
    assert_refused(in_folder("large"), in_folder("large"),
                   "images and labels are 2050 MiB, more than the 1024 MiB for a data set (--memory-limit)");
    struct split split;
    struct error err;
    assert_false(dataset_load_test(in_folder("large"), &split, &err));
    assert_error(err.text, in_folder("large"), "are 1025 MiB, more than");
    dataset_memory_limit(1025);
    assert_false(dataset_load_test(in_folder("large"), &split, &err));
    assert_error(err.text, file_path("large", "t10k", 0, ""), "is cut short");
    dataset_memory_limit(DATASET_DEFAULT_MIB);
}

static void test_256_classes_are_the_most(void **state) {
    (void)state;
    write_folder("many", (struct part){"train", 256, 256, 1, 1, 256, 0}, (struct part){"t10k", 1, 1, 1, 1, 1, 255},
                 false);
    struct dataset d = loaded(in_folder("many"));
    assert_int_equal(d.classes, 256);
    dataset_free(&d);
}

static void test_the_test_split_alone_needs_no_training_files(void **state) {
    (void)state;
    struct split split;
    struct error err;
    mkdir(in_folder("test-only"), 0777);
    write_part("test-only", good_test, true);
    assert_true(dataset_load_test(in_folder("test-only"), &split, &err));
    assert_int_equal(split.count, 4);
    assert_int_equal(split.rows * split.cols, 35);
    assert_true(split_fits(&split, 35, 3, "here", &err));
    assert_true(split_fits(&split, 35, 10, "here", &err));
    assert_false(split_fits(&split, 784, 3, "here", &err));
    assert_error(err.text, "here", "5 x 7 = 35 pixels for a model with 784 inputs");
    assert_false(split_fits(&split, 35, 2, "here", &err));
    assert_error(err.text, "here", "image 2 is 2, out of range for 2 classes (0 to 1)");
    split_free(&split);
    assert_null(split.images);
    assert_refused(in_folder("test-only"), file_path("test-only", "train", 0, ""), "not there");
    assert_false(dataset_load_test(in_folder("nowhere"), &split, &err));
    assert_error(err.text, file_path("nowhere", "t10k", 0, ""), "not there");
}

static void test_built_in_digits(void **state) {
    (void)state;
    struct split test;
    struct error err;
    struct dataset d = loaded("digits");
    assert_string_equal(d.name, "built-in digits");
    assert_int_equal(d.train.count, 60000);
    assert_int_equal(d.test.count, 10000);
    assert_int_equal(d.train.rows * d.train.cols, 784);
    assert_int_equal(d.classes, 10);
    assert_true(dataset_load_test("digits", &test, &err));
    assert_int_equal(test.count, 10000);
    assert_memory_equal(test.images, d.test.images, 10000 * 784);
    assert_memory_equal(test.labels, d.test.labels, 10000);
    size_t ink = 0;
    for (size_t i = 0; i < 10000 * 784; i++) ink += d.test.images[i] > 127;
    assert_true(ink > 10000 * 20); /* no blank pages */
    split_free(&test);
    dataset_free(&d);
}

/* SHA-256 by `gzip -dc` of the four official files | sha256sum */
static void test_real_mnist_is_known_by_its_hash(void **state) {
    (void)state;
    const char *folder = getenv("MNIST_DIR");
    if (!folder) {
        print_message("MNIST_DIR is not set: real MNIST is not available\n");
        skip();
    }
    struct dataset d = loaded(folder);
    assert_string_equal(d.name, "MNIST");
    assert_string_equal(d.sha256, "b2d8f5bf39174ee5ffeefa97e42d673c35432b411bb5d1f74fbbeddae7f1690a");
    assert_int_equal(d.train.count, 60000);
    assert_int_equal(d.test.labels[0], 7); /* the first test digit, known from every introduction */
    dataset_free(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_geometry_is_loaded),
        cmocka_unit_test(test_plain_and_compressed_give_the_same_hash_and_bytes),
        cmocka_unit_test(test_every_byte_and_the_shape_count_in_the_hash),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_missing_files_are_named),
        cmocka_unit_test(test_other_names_are_read),
        cmocka_unit_test(test_qmnist_as_it_comes_is_read),
        cmocka_unit_test(test_own_names_come_first),
        cmocka_unit_test(test_several_sets_in_a_folder_are_refused),
        cmocka_unit_test(test_files_that_do_not_fit_together_are_refused),
        cmocka_unit_test(test_files_of_the_wrong_kind_are_refused),
        cmocka_unit_test(test_few_of_many_classes),
        cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_256_classes_are_the_most),
        cmocka_unit_test(test_the_test_split_alone_needs_no_training_files),
        cmocka_unit_test(test_built_in_digits),
        cmocka_unit_test(test_real_mnist_is_known_by_its_hash),
    };
    return cmocka_run_group_tests_name("dataset", tests, folder_setup, folder_teardown);
}
