/* IDX files, plain and gzip-compressed, of images and of labels. */
#include "data/idx.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct memory_file file;
    const char *path = memory_file_set(&file, data, size);
    for (int dimensions = 1; dimensions <= 3; dimensions += 2) {
        struct idx idx;
        struct error err = {""};
        if (!idx_read(path, dimensions, SIZE_MAX, &idx, &err)) {
            expect_message(err.text);
            EXPECT(!idx.data);
            continue;
        }
        EXPECT(idx.dimensions == dimensions && idx.count >= 1 && idx.count <= IDX_MAX_COUNT);
        EXPECT(idx.rows >= 1 && idx.cols >= 1 && idx.rows * idx.cols <= IDX_MAX_PIXELS);
        unsigned sum = 0; /* every byte is there */
        for (size_t i = 0; i < idx.count * idx.rows * idx.cols; i++) sum += idx.data[i];
        if (data[0] == 0) /* not compressed: the bytes of the file */
            for (const uint8_t *c = data + size - idx.count * idx.rows * idx.cols; c < data + size; c++) sum -= *c;
        EXPECT(data[0] != 0 || sum == 0);
        idx_free(&idx);
    }
    return 0;
}
