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

static bool load_model(const char *path, struct model *model, struct picture_form *form, struct error *err) {
    struct model_notes notes;
    if (!model_read(path, model, &notes, err)) return false;
    if (!picture_form_parse(notes.images, form, err)) return fail_in(err, path);
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

static void print_chart(const char *name, int predicted, const float *probabilities, int classes) {
    enum { WIDTH = 40 };
    printf("%s: %d\n", name, predicted);
    for (int j = 0; j < classes; j++) {
        printf("  %3d %6.2f%% ", j, 100.0 * (double)probabilities[j]);
        for (int i = 0; i < (int)(probabilities[j] * WIDTH + 0.5f); i++) printf("#");
        printf("\n");
    }
}

/* A line on standard error for each, and all of them in one text. */
static void warn(const char *name, unsigned doubts, char *text, size_t size) {
    size_t used = 0;
    fflush(stdout); /* the answers before it are shown before it */
    for (int i = 0; i < DOUBTS; i++) {
        if (!(doubts >> i & 1)) continue;
        fprintf(stderr, "mnistq: %s: warning: %s\n", name, doubt_texts[i]);
        used += (size_t)snprintf(text + used, size - used, "%s%s", used ? "; " : "", doubt_texts[i]);
    }
}

static void add_row(struct table *t, const char *path, int predicted, const char *warnings, const float *probabilities,
                    int classes) {
    table_row(t, "%s | %d | %.4f | %s", path, predicted, (double)probabilities[predicted], warnings);
    for (int j = 0; j < classes; j++) table_row(t, "%.4f", (double)probabilities[j]);
}

/* A picture that cannot be read is reported, and the others are still looked at. */
static int run(struct model_run *r, struct picture_form form, const struct options *o, bool show, bool json,
               struct table *t) {
    const struct model *m = r->model;
    int status = EXIT_DONE, layers = m->shape.layers, classes = m->shape.widths[layers];
    float step = m->kind == MODEL_INT8 ? m->qmlp.activation[layers].scale : 0;
    for (int i = 1; i < o->file_count; i++) {
        uint8_t digit[PIXELS], predicted;
        float probabilities[256] = {0};
        unsigned doubts;
        char name[4096], warnings[1024] = "";
        struct error err;
        if (!picture_read_digit(o->files[i], form, digit, &doubts, &err)) {
            status = report_error(&err);
            continue;
        }
        model_run(r, digit, 1, &predicted);
        model_run_logits(r, 0, probabilities);
        if (!all_finite(probabilities, (size_t)classes)) {
            fail(&err, "%s: its logits for %s are beyond fp32", o->files[0], o->files[i]);
            status = report_error(&err);
            continue;
        }
        text_format(name, sizeof name, "%s", o->files[i]);
        warn(name, answer_doubts(doubts, probabilities, classes, step), warnings, sizeof warnings);
        softmax(probabilities, classes);
        if (show && !json) show_digit(digit);
        if (json) add_row(t, o->files[i], predicted, warnings, probabilities, classes);
        else print_chart(name, predicted, probabilities, classes);
    }
    return status;
}

int command_predict(int argc, char **argv) {
    struct options o = {.command = argv[0],
                        .arguments = "MODEL IMAGE...",
                        .what = "Reads PNG, JPEG, BMP, PGM, ... of any size, ink either way round, and makes each a "
                                "28x28 digit the way MNIST was made, or as the model's own training images are. A "
                                "28x28 picture in their form is used as it is. Doubts are told on standard error.",
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
    struct picture_form form;
    struct table t;
    bool ok = load_model(o.files[0], &model, &form, &err) && model_run_create(&model, 1, 1, RUN_FAST, &r, &err);
    int classes = ok ? model.shape.widths[model.shape.layers] : 0;
    table_init(&t, "Predictions", "file predicted probability warnings");
    for (int j = 0; j < classes; j++) table_add_columns(&t, "p%d", j);
    if (ok) status = run(&r, form, &o, show, json, &t);
    model_run_free(&r);
    model_free(&model);
    if (ok && !json) {
        table_free(&t);
        return status;
    }
    int reported = report_table(&t, NULL, json, ok, &err);
    return reported == EXIT_DONE ? status : reported;
}
