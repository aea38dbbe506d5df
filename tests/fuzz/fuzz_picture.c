/* Picture files of every format, down to the 28x28 digit. */
#include "data/picture.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct memory_file file;
    const char *path = memory_file_set(&file, data, size);
    static const struct picture_form forms[] = {{0}, {.dark_ink = true}, {.side = 24}};
    uint8_t digit[28 * 28];
    unsigned doubts = 0;
    struct error err = {""};
    if (!picture_read_digit(path, forms[size % 3], digit, &doubts, &err)) expect_message(err.text);
    return 0;
}
