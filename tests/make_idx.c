/* Writes a small data set of built-in digits in IDX form, for tests of the command line:
 *   make_idx FOLDER TRAIN TEST [ROWS COLS]    crops each digit to its upper left ROWS x COLS */
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "data/digits.h"
#include "data/idx.h"

/* A plain file of bytes, as drawn in idx.h. */
static bool write_idx(const char *path, const struct idx *idx, struct error *err) {
    uint32_t fields[4] = {0x08 << 8 | (uint32_t)idx->dimensions, (uint32_t)idx->count, (uint32_t)idx->rows,
                          (uint32_t)idx->cols};
    struct out_file out;
    if (!out_file_open(&out, path, err)) return false;
    for (int i = 0; i <= idx->dimensions; i++)
        for (int shift = 24; shift >= 0; shift -= 8) fputc((int)(fields[i] >> shift & 0xff), out.stream);
    fwrite(idx->data, idx->rows * idx->cols, idx->count, out.stream);
    return out_file_commit(&out, err);
}

static bool write_part(const char *folder, const char *part, size_t first, size_t count, size_t rows, size_t cols,
                       struct error *err) {
    char path[4096];
    uint8_t *images = malloc(count * DIGITS_PIXELS), *labels = malloc(count);
    digits_draw(1, first, count, images, labels);
    uint8_t *to = images; /* cropped in place: a row never grows */
    for (size_t i = 0; i < count; i++)
        for (size_t y = 0; y < rows; y++)
            for (size_t x = 0; x < cols; x++) *to++ = images[i * DIGITS_PIXELS + y * DIGITS_COLS + x];
    struct idx image_file = {3, count, rows, cols, images}, label_file = {1, count, 1, 1, labels};
    snprintf(path, sizeof path, "%s/%s-images-idx3-ubyte", folder, part);
    bool ok = write_idx(path, &image_file, err);
    snprintf(path, sizeof path, "%s/%s-labels-idx1-ubyte", folder, part);
    ok = ok && write_idx(path, &label_file, err);
    free(images);
    free(labels);
    return ok;
}

int main(int argc, char **argv) {
    struct error err;
    if (argc != 4 && argc != 6) return fprintf(stderr, "usage: make_idx FOLDER TRAIN TEST [ROWS COLS]\n"), 2;
    size_t train = strtoul(argv[2], NULL, 10), test = strtoul(argv[3], NULL, 10);
    size_t rows = argc == 6 ? strtoul(argv[4], NULL, 10) : 28, cols = argc == 6 ? strtoul(argv[5], NULL, 10) : 28;
    if (train < 1 || test < 1 || rows < 1 || rows > 28 || cols < 1 || cols > 28) return 2;
    if (folder_create(argv[1], &err) && write_part(argv[1], "train", 0, train, rows, cols, &err) &&
        write_part(argv[1], "t10k", train, test, rows, cols, &err))
        return 0;
    return fprintf(stderr, "make_idx: %s\n", err.text), 1;
}
