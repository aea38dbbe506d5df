/* What `mnistq predict` shows a model of a picture: make_digit MODEL PICTURE writes its 28 x 28 bytes to standard
 * output.
 */
#include <stdio.h>

#include "data/picture.h"
#include "model/model_file.h"

static bool read_digit(char **argv, uint8_t digit[28 * 28], struct error *err) {
    struct model model;
    struct model_notes notes;
    struct picture_form form;
    unsigned doubts;
    if (!model_read(argv[1], &model, &notes, err)) return false;
    model_free(&model);
    return picture_form_parse(notes.images, &form, err) && picture_read_digit(argv[2], form, digit, &doubts, err);
}

int main(int argc, char **argv) {
    uint8_t digit[28 * 28];
    struct error err;
    if (argc != 3) return 2;
    if (read_digit(argv, digit, &err)) return fwrite(digit, 1, sizeof digit, stdout) == sizeof digit ? 0 : 1;
    fprintf(stderr, "%s\n", err.text);
    return 1;
}
