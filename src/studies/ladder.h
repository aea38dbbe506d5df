/* The ladder: one network in every precision, each rung encoded to a file, read back, and run. */
#ifndef STUDIES_LADDER_H
#define STUDIES_LADDER_H

#include "cli/recipe.h"
#include "cli/report.h"

/* How a rung is made. */
enum rung_kind {
    RUNG_FP32,    /* as trained */
    RUNG_LONGER,  /* trained on for as long as QAT is: what the extra epoch alone is worth */
    RUNG_CODED,   /* weights in a format, decoded to fp32 (bf16: as they are, where the CPU can) */
    RUNG_STATIC,  /* int8, activations calibrated; integer arithmetic */
    RUNG_DYNAMIC, /* int8, activations by batch */
    RUNG_VECTOR,  /* LLM.int8() */
    RUNG_W4A8,    /* weights of few bits in the integer engine */
    RUNG_QAT      /* the same, trained for it */
};

enum { BLOCK_GROUP = -2 }; /* the block that --group chooses */

struct rung {
    int bits;           /* the section of the table it stands in */
    const char *format; /* of the weights: formats[] */
    const char *last;   /* of the last layer, where it is another; NULL */
    int block;          /* CODEC_TENSOR, CODEC_ROW, BLOCK_GROUP; 0 where the format fixes it */
    const char *method; /* for the table */
    enum rung_kind kind;
    enum method how; /* of coded weights and of W4A8 */
};

extern const struct rung rungs[];
extern const int rung_count;

struct ladder_options {
    int group, images, calibration; /* weights of a group; images for GPTQ, AWQ; images for activation ranges */
    double damping, threshold;      /* GPTQ's; LLM.int8()'s */
    double qat_rate;
    int qat_epochs;
};

/* What all rungs of one network are made from. */
struct ladder {
    const struct dataset *data;
    const struct mlp *fp32;
    const struct model_notes *notes;
    const struct ladder_options *options;
    const struct training_recipe *training; /* of QAT: smoothing, batch, seed, ... */
    uint8_t *images;                        /* [options->images][pixels] */
    struct range ranges[MLP_MAX_LAYERS + 1];
    double *test_gram[MLP_MAX_LAYERS]; /* [in][in] of each layer's fp32 inputs on the test images */
};

/* A rung as it came back from its file. */
struct rung_result {
    char format[64]; /* "int4/56" */
    struct model model;
    uint64_t bytes; /* of the file, by stat */
    struct evaluation evaluation;
    double seconds;                      /* to quantize */
    double sqnr_db, error_percent;       /* of the weights against fp32; NaN where they were trained on */
    double output_error[MLP_MAX_LAYERS]; /* of coded rungs: relative squared error of each layer's output on the
                                            test images, inputs from fp32; NaN elsewhere */
};

bool ladder_create(const struct dataset *data, const struct mlp *fp32, const struct model_notes *notes,
                   const struct ladder_options *options, const struct training_recipe *training, struct ladder *out,
                   struct error *err);
void ladder_free(struct ladder *l);

/* Makes a rung in the file at path, reads it back and evaluates it. Release with rung_result_free. */
bool rung_run(const struct ladder *l, const struct rung *rung, const char *path, struct rung_result *out,
              struct error *err);
void rung_result_free(struct rung_result *r);

/* "int4/56", "q4_K", ... */
void rung_format(const struct rung *rung, const struct ladder_options *options, char *text, size_t size);

#endif
