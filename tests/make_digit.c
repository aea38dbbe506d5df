/* What `mnistq predict` sees of a picture: make_digit PICTURE writes its 28 x 28 bytes to standard output. */
#include <stdio.h>

#include "data/picture.h"

int main(int argc, char **argv) {
    uint8_t digit[28 * 28];
    unsigned doubts;
    struct picture_form mnist = {0};
    struct error err;
    if (argc != 2) return 2;
    if (!picture_read_digit(argv[1], mnist, digit, &doubts, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    return fwrite(digit, 1, sizeof digit, stdout) == sizeof digit ? 0 : 1;
}
