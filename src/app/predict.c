/* mnistq predict: what digit is on a picture? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/commands.h"
#include "app/options.h"
#include "app/report.h"
#include "data/picture.h"

enum { SIDE = 28, PIXELS = SIDE * SIDE };

/* Scratch for one image at a time, of either kind of model. */
struct predictor {
    struct model model;
    struct mlp_workspace mlp_ws;
    struct qmlp_workspace qmlp_ws;
    struct qdynamic_workspace qdynamic_ws;
};

static bool predictor_create(const char *path, struct predictor *p, struct error *err) {
    *p = (struct predictor){0};
    if (!model_read(path, &p->model, NULL, err)) return false;
    if (p->model.shape.widths[0] != PIXELS)
        return fail(err, "%s: takes %d pixels; a picture becomes %d x %d = %d", path, p->model.shape.widths[0], SIDE,
                    SIDE, PIXELS);
    switch (p->model.kind) {
    case MODEL_FP32:
    case MODEL_CODED: return mlp_workspace_create(&p->model.shape, 1, false, &p->mlp_ws, err);
    case MODEL_INT8: return qmlp_workspace_create(&p->model.shape, 1, &p->qmlp_ws, err);
    case MODEL_DYNAMIC: return qdynamic_workspace_create(&p->model.shape, 1, &p->qdynamic_ws, err);
    }
    return false;
}

static void predictor_free(struct predictor *p) {
    mlp_workspace_free(&p->mlp_ws);
    qmlp_workspace_free(&p->qmlp_ws);
    qdynamic_workspace_free(&p->qdynamic_ws);
    model_free(&p->model);
}

/* The class by the model's own rule (eq. 7 on codes for int8), and probabilities [classes] = softmax of the
 * logits, read back from their codes for int8. */
static int classify(struct predictor *p, const uint8_t *digit, float *probabilities) {
    int last = p->model.shape.layers, classes = p->model.shape.widths[last];
    uint8_t codes[256], predicted;
    const float *logits = NULL; /* [classes] */
    size_t ties = 0;
    if (p->model.kind == MODEL_INT8) {
        qmlp_forward(&p->model.qmlp, digit, 1, &p->qmlp_ws, codes);
        qmlp_classify(codes, 1, classes, &predicted);
        for (int j = 0; j < classes; j++) probabilities[j] = dequantize(codes[j], p->model.qmlp.activation[last]);
    } else if (p->model.kind == MODEL_DYNAMIC) {
        logits = qdynamic_forward(&p->model.qdynamic, digit, 1, &p->qdynamic_ws);
    } else {
        mlp_load_images(&p->model.mlp, digit, 1, &p->mlp_ws);
        mlp_forward(&p->model.mlp, 1, &p->mlp_ws);
        logits = p->mlp_ws.activation[last];
    }
    if (logits) {
        predicted = highest_class(logits, classes, &ties);
        memcpy(probabilities, logits, (size_t)classes * sizeof *probabilities);
    }
    softmax(probabilities, classes);
    return predicted;
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
    printf("%s: %d\n", path, predicted);
    for (int j = 0; j < classes; j++) {
        printf("  %3d %6.2f%% ", j, 100.0 * (double)probabilities[j]);
        for (int i = 0; i < (int)(probabilities[j] * WIDTH + 0.5f); i++) printf("#");
        printf("\n");
    }
}

static void add_row(struct table *t, const char *path, int predicted, const float *probabilities) {
    table_text(t, "%s", path);
    table_integer(t, predicted);
    table_number(t, (double)probabilities[predicted], 4);
    for (int j = 0; j < 10; j++) table_number(t, (double)probabilities[j], 4);
}

/* A picture that cannot be read is reported, and the others are still looked at. */
static int run(struct predictor *p, const struct options *o, bool show, bool json, struct table *t) {
    int status = EXIT_DONE, classes = p->model.shape.widths[p->model.shape.layers];
    for (int i = 1; i < o->file_count; i++) {
        uint8_t digit[PIXELS];
        float probabilities[256] = {0};
        struct error err;
        if (!picture_read_digit(o->files[i], digit, &err)) {
            status = report_error(&err);
            continue;
        }
        int predicted = classify(p, digit, probabilities);
        if (show && !json) show_digit(digit);
        if (json)
            add_row(t, o->files[i], predicted, probabilities);
        else
            print_chart(o->files[i], predicted, probabilities, classes);
    }
    return status;
}

int command_predict(int argc, char **argv) {
    static const char *const columns[] = {"file", "predicted", "probability", "p0", "p1", "p2", "p3",
                                          "p4",   "p5",        "p6",          "p7", "p8", "p9"};
    struct options o = {.command = argv[0], .arguments = "MODEL IMAGE...",
                        .what = "Reads PNG, JPEG, BMP, PGM, ... of any size, ink either way round, and makes each a 28x28\n"
                                "digit the way MNIST was made. A 28x28 picture with light ink on black is used as it is."};
    bool show = false, json = false;
    option_flag(&o, "show", &show, "print the 28x28 digit that the model sees");
    option_flag(&o, "json", &json, "print the predictions as JSON");
    int status = options_parse(&o, argc, argv, 2, 100000);
    if (status != OPTIONS_GO_ON) return status;
    struct error err;
    struct predictor p;
    if (!predictor_create(o.files[0], &p, &err)) {
        predictor_free(&p);
        return report_error(&err);
    }
    struct table t;
    table_init(&t, "Predictions", columns, 13);
    status = run(&p, &o, show, json, &t);
    if (json && !table_print_json(&t, NULL, stdout, &err)) status = report_error(&err);
    table_free(&t);
    predictor_free(&p);
    return status;
}
