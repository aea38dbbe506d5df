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
        size_t items = idx.count * idx.rows * idx.cols, header = 4 + 4 * (size_t)data[3];
        for (size_t i = 0; i < items; i++) sum += idx.data[i];
        if (data[0] == 0) { /* not compressed: the bytes of the file, or the last ones of each record's first int32 */
            size_t record = (size - header) / items, last = data[2] == 0x0c ? 3 : 0;
            for (size_t i = 0; i < items; i++) sum -= data[header + i * record + last];
            EXPECT(sum == 0);
        }
        idx_free(&idx);
    }
    return 0;
}
