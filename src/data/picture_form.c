/* What the images look like that a model was trained on: told by the images, kept in the model's metadata, and what
 * predict gives the model. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/picture.h"

enum { SIDE = 28, PIXELS = SIDE * SIDE };

void picture_form_print(struct picture_form form, char text[PICTURE_FORM_TEXT]) {
    const char *ink = form.dark_ink ? "dark ink" : "light ink";
    if (form.side) snprintf(text, PICTURE_FORM_TEXT, "%s, %d pixels, anywhere", ink, form.side);
    else snprintf(text, PICTURE_FORM_TEXT, "%s", form.dark_ink ? "dark ink, centred" : ""); /* MNIST's: not a word */
}

bool picture_form_parse(const char *text, struct picture_form *form, struct error *err) {
    char again[PICTURE_FORM_TEXT];
    *form = (struct picture_form){.dark_ink = strncmp(text, "dark", 4) == 0};
    const char *comma = strchr(text, ',');
    if (comma && strstr(comma, "anywhere")) form->side = atoi(comma + 1);
    picture_form_print(*form, again);
    return (form->side >= 0 && form->side <= SIDE && strcmp(text, again) == 0) ||
        fail(err, "metadata images is \"%.60s\": expected \"dark ink, centred\" or \"light ink, 28 pixels, anywhere\"",
             text);
}

/* How many of the border's 112 pixels (corners count twice) are lighter than that: the border is ground, even where a
 * stroke touches it. */
static int border_above(const uint8_t *image, int shade) {
    int above = 0;
    for (int i = 0; i < SIDE; i++)
        above += (image[i] > shade) + (image[PIXELS - 1 - i] > shade) + (image[i * SIDE] > shade) +
            (image[i * SIDE + SIDE - 1] > shade);
    return above;
}

static bool has_light_ground(const uint8_t *image) { return border_above(image, 127) > 2 * SIDE; }

/* The longer side of the box of all that is not ground; *centred: whether it has 19 or 20 pixels and the centre of mass
 * is that of the field, (14.5, 14.5), within 0.52 pixels: true of all 70,000 images of MNIST, of hardly any other. */
static int longer_side(const uint8_t *image, bool dark_ink, bool *centred) {
    int left = SIDE, top = SIDE, right = -1, bottom = -1;
    long mass = 0, moment_x = 0, moment_y = 0; /* in half pixels */
    for (int i = 0; i < PIXELS; i++) {
        int ink = dark_ink ? 255 - image[i] : image[i], x = i % SIDE, y = i / SIDE;
        if (ink == 0) continue;
        left = x < left ? x : left, right = x > right ? x : right;
        top = y < top ? y : top, bottom = y;
        mass += ink, moment_x += ink * (2 * x + 1), moment_y += ink * (2 * y + 1);
    }
    int width = right - left + 1, height = bottom - top + 1, longer = width > height ? width : height;
    *centred = (longer == 19 || longer == 20) && 100 * labs(moment_x - (SIDE + 1) * mass) <= 104 * mass &&
        100 * labs(moment_y - (SIDE + 1) * mass) <= 104 * mass;
    return right < 0 ? 0 : longer;
}

bool picture_take(const uint8_t *image, struct picture_form form, uint8_t digit[28 * 28]) {
    bool taken = form.side != 0, negative = false;
    if (taken) { /* a coat fills its picture to the border: only a plain border tells a negative */
        negative = form.dark_ink ? border_above(image, 55) < 4 : border_above(image, 200) > 4 * SIDE - 4;
    } else {
        bool as_dark, as_light;
        longer_side(image, true, &as_dark);
        longer_side(image, false, &as_light);
        taken = as_dark || as_light;
        negative = form.dark_ink ? !as_dark : !as_light;
    }
    for (int i = 0; taken && i < PIXELS; i++) digit[i] = negative ? 255 - image[i] : image[i];
    return taken;
}

struct picture_form picture_form_measure(const uint8_t *images, size_t count) {
    size_t centred[2] = {0}, of_side[2][SIDE + 1] = {{0}}, dark = 0, below = 0; /* [dark_ink] */
    for (size_t i = 0; i < count; i++) {
        const uint8_t *image = images + i * PIXELS;
        bool is_dark = has_light_ground(image), is_centred;
        dark += is_dark;
        of_side[is_dark][longer_side(image, is_dark, &is_centred)]++;
        centred[is_dark] += is_centred;
    }
    struct picture_form form = {.dark_ink = dark > count - dark};
    size_t all = form.dark_ink ? dark : count - dark;
    if (centred[form.dark_ink] >= count - count / 10) return form;                                   /* nine of ten */
    while (form.side < SIDE && (below += of_side[form.dark_ink][form.side]) <= all / 2) form.side++; /* the median */
    return form;
}
