/* mnistq predict: what digit is on a picture? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/study.h"
#include "base/text.h"
#include "model/model_run.h"
#include "data/picture.h"

enum { SIDE = 28, PIXELS = SIDE * SIDE };

static bool load_model(const char *path, struct model *model, struct error *err) {
    if (!model_read(path, model, NULL, err)) return false;
    if (model->shape.widths[0] == PIXELS) return true;
    return fail(err, "%s: takes %d pixels; a picture becomes %d x %d = %d", path, model->shape.widths[0], SIDE, SIDE,
                PIXELS);
}

static void show_digit(const uint8_t *digit) {
    static const char shades[] = " .:-=+*#%@";
    for (int y = 0; y < SIDE; y++) {
        printf("  |");
        for (int x = 0; x < SIDE; x++) { /* twice as wide: a character is about twice as high as wide */
            char c = shades[digit[y * SIDE + x] * 9 / 255];
            printf("%c%c", c, c);
        }
        printf("|\n");
    }
}

static void print_chart(const char *path, int predicted, const float *probabilities, int classes) {
    enum { WIDTH = 40 };
    text_plain(path, stdout);
    printf(": %d\n", predicted);
    for (int j = 0; j < classes; j++) {
        printf("  %3d %6.2f%% ", j, 100.0 * (double)probabilities[j]);
        for (int i = 0; i < (int)(probabilities[j] * WIDTH + 0.5f); i++) printf("#");
        printf("\n");
    }
}

static void add_row(struct table *t, const char *path, int predicted, const float *probabilities, int classes) {
    table_row(t, "%s | %d | %.4f", path, predicted, (double)probabilities[predicted]);
    for (int j = 0; j < classes; j++) table_row(t, "%.4f", (double)probabilities[j]);
}

/* A picture that cannot be read is reported, and the others are still looked at. */
static int run(struct model_run *r, const struct options *o, bool show, bool json, struct table *t) {
    int status = EXIT_DONE, classes = r->model->shape.widths[r->model->shape.layers];
    for (int i = 1; i < o->file_count; i++) {
        uint8_t digit[PIXELS];
        float probabilities[256] = {0};
        struct error err;
        if (!picture_read_digit(o->files[i], digit, &err)) {
            status = report_error(&err);
            continue;
        }
        uint8_t predicted;
        model_run(r, digit, 1, &predicted);
        model_run_logits(r, 0, probabilities);
        if (!all_finite(probabilities, (size_t)classes)) {
            fail(&err, "%s: its logits for %s are beyond fp32", o->files[0], o->files[i]);
            status = report_error(&err);
            continue;
        }
        softmax(probabilities, classes);
        if (show && !json) show_digit(digit);
        if (json) add_row(t, o->files[i], predicted, probabilities, classes);
        else print_chart(o->files[i], predicted, probabilities, classes);
    }
    return status;
}

int command_predict(int argc, char **argv) {
    struct options o = {.command = argv[0],
                        .arguments = "MODEL IMAGE...",
                        .what = "Reads PNG, JPEG, BMP, PGM, ... of any size, ink either way round, and makes each a "
                                "28x28 digit the way MNIST was made. A 28x28 picture with light ink on black is used "
                                "as it is.",
                        .examples = "mnistq predict int8-per-channel.safetensors digit.png --show\n"
                                    "mnistq predict MODEL - < digit.jpg"};
    bool show = false, json = false;
    option_flag(&o, "show", &show, "print the 28x28 digit that the model sees");
    option_flag(&o, "json", &json, "print the predictions as JSON");
    int status = options_parse(&o, argc, argv, 2, 100000);
    if (status != OPTIONS_GO_ON) return status;
    struct error err;
    struct model model;
    struct model_run r = {0};
    struct table t;
    bool ok = load_model(o.files[0], &model, &err) && model_run_create(&model, 1, 1, RUN_FAST, &r, &err);
    int classes = ok ? model.shape.widths[model.shape.layers] : 0;
    table_init(&t, "Predictions", "file predicted probability");
    for (int j = 0; j < classes; j++) table_add_columns(&t, "p%d", j);
    if (ok) status = run(&r, &o, show, json, &t);
    model_run_free(&r);
    model_free(&model);
    if (ok && !json) {
        table_free(&t);
        return status;
    }
    int reported = report_table(&t, NULL, json, ok, &err);
    return reported == EXIT_DONE ? status : reported;
}
