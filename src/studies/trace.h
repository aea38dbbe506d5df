/* One image's way through the integer engine along one neuron of each layer, as ONE list of steps, each with every
 * number on it. The page, the worksheet and the table of `mnistq trace` walk this list. */
#ifndef STUDIES_TRACE_H
#define STUDIES_TRACE_H

#include <limits.h>
#include <stdio.h>

#include "data/dataset.h"
#include "model/model_run.h"

#define TRACE_NO_INTEGER LLONG_MIN

enum trace_page_flags {
    TRACE_ASKED = 1,      /* the integer is a blank on the worksheet */
    TRACE_SHOWS_REAL = 2, /* the table has all */
    TRACE_ASKS_REAL = 4,
    TRACE_NOTE_TELLS = 8 /* the note would give the answer away */
};

struct trace_step {
    const char *name; /* "term": an input that is not 0, "sum", "acc", ...: all of eq. 5 and 6 */
    int layer, neuron;
    int k, x_q, w_q;   /* of a term */
    int32_t running;   /* of a term: the sum up to here */
    long long integer; /* of a term (x_q - z_x) w_q; or TRACE_NO_INTEGER */
    double real, fp32; /* the integer times its scale; the same in the fp32 network. NAN: none */
    char says[48];     /* the page's line; "": none */
    char note[64];     /* behind it */
    int page;          /* enum trace_page_flags, or-ed */
};

struct trace {
    const struct qmlp *q;
    bool has_fp32;
    size_t image;
    int rows, cols, label;
    const uint8_t *pixels; /* [rows][cols] */
    uint8_t predicted;
    size_t ties;
    struct trace_step *steps;         /* [first[layers + 1]] */
    size_t first[MLP_MAX_LAYERS + 2]; /* of each layer; [layers]: the logits */
};

/* Runs the image through the reference, picks the path (the winning logit, and from each neuron back to the input that
 * adds most to it; with layer >= 0 the path leads through that neuron), computes each neuron on it by hand, and holds
 * that against the engine. fp32: NULL, or a network of the same shape. Errors: a code that is not the engine's; out of
 * memory. Release with trace_free, also after an error. */
bool trace_make(const struct model *model, const struct model *fp32, const struct split *split, size_t image, int layer,
                int neuron, struct trace *t, struct error *err);
void trace_free(struct trace *t);

/* The first step of that name in a layer. */
const struct trace_step *trace_find(const struct trace *t, int layer, const char *name);

struct trace_page {
    const char *model, *fp32, *data, *command;
    int row; /* the pixel row shown in full; -1: the one that adds most */
};

/* key NULL: with all numbers; else a worksheet with blanks, and the answers in key. */
void trace_print(const struct trace *t, const struct trace_page *page, FILE *out, FILE *key);

#endif
