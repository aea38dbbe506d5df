/* The ladder: one trained network in every precision from fp32 to 1 bit. A rung is a line of ONE table; the study, the
 * command quantize and the tests walk through it. Adding one is adding a line, and, for what is new in it, a format
 * (lowbit/formats.h) or a function that makes it. */
#ifndef MODEL_RUNGS_H
#define MODEL_RUNGS_H

#include "model/model_file.h"
#include "nn/train.h"

/* What all rungs of one network are made from. */
struct rung_source {
    const struct mlp *fp32;
    struct model_notes notes; /* of its file */
    int group;                /* weights of a group: BLOCK_GROUP's block */
    uint8_t *images;          /* [count][inputs] that GPTQ, AWQ and LLM.int8() look at */
    int count;
    struct range ranges[MLP_MAX_LAYERS + 1]; /* of the activations, calibrated */
    bool symmetric_activations;
    double damping, threshold; /* GPTQ's; LLM.int8()'s */
    struct train_data learn;   /* for the rungs that train on */
    struct train_config training;
};

/* What is known of a rung beside its file. */
struct rung_made {
    struct mlp effective; /* weights to compare with fp32's one by one; no layers where they were trained on or split */
    size_t saturated;     /* biases cut to what the integer engine takes */
};

enum { BLOCK_GROUP = -2 }; /* the block of a rung that takes the source's group */

struct rung {
    int bits;           /* the section of the table it stands in; 1: below 2 */
    const char *format; /* of the weights: formats[] */
    const char *more;   /* of the layers that a mix gives more bits; NULL */
    int block;          /* CODEC_TENSOR, CODEC_ROW, BLOCK_GROUP; 0 where the format fixes it */
    const char *method; /* for the table, and the file's metadata */
    const char *option; /* for a command line; a format and an option name one rung */
    bool (*make)(const struct rung_source *s, const struct rung *rung, const struct model_notes *notes,
                 const char *path, struct rung_made *made, struct error *err);
    enum method how; /* that chooses the codes of coded weights */
};

extern const struct rung rungs[];
extern const int rung_count;

/* The section of a rung's bits: "8 bits"; "1 to 1.6 bits" of two and three values. */
void rung_section(const struct rung *rung, char *text, size_t size);

/* "int4/56", "q4_K + q6_K", ... */
void rung_format(const struct rung *rung, int group, char *text, size_t size);

/* The rung of a format, as rung_format prints it (spaces may be missing), and of an option, or the first of the format
 * where option is NULL. *group becomes that of the format, "int4/49"; without a group it stays. NULL: there is none. */
const struct rung *rung_find(const char *format, const char *option, int *group);

/* Whether making it trains the network further: it is then no likeness of the fp32 network's weights. */
bool rung_trains(const struct rung *rung);

/* Makes a rung and writes it to path. Errors: a group that divides no layer's inputs; a weight that is not finite; out
 * of memory; training that diverges; what model_write_* refuse. Release made->effective with mlp_free, also after an
 * error. */
bool rung_make(const struct rung_source *s, const struct rung *rung, const char *path, struct rung_made *made,
               struct error *err);

#endif
