/* The steps that several commands share, with their options: train a network, quantize it, make rungs of the ladder. */
#ifndef CLI_RECIPE_H
#define CLI_RECIPE_H

#include "cli/options.h"
#include "data/dataset.h"
#include "base/table.h"
#include "model/evaluation.h"
#include "model/model_run.h"
#include "model/rungs.h"
#include "nn/train.h"

struct training_recipe {
    struct int_list hidden;
    int epochs, batch, optimizer, validation;
    double rate, warmup, smoothing;
    uint64_t seed;
};

struct quantization_recipe {
    int scheme, observer, activations, calibration; /* the choices below */
};

enum { SCHEME_PER_CHANNEL, SCHEME_PER_TENSOR, SCHEMES };
extern const char *const scheme_names[SCHEMES];

struct training_recipe training_defaults(void);
struct quantization_recipe quantization_defaults(void);
void training_options(struct options *o, struct training_recipe *r);
/* --scheme is left to the command: some know "both". */
void quantization_options(struct options *o, struct quantization_recipe *r);

/* Error: more training images are asked for than there are. The steps below check this too; this is for those
 * who want to know it before anything is trained or written. */
bool recipes_fit(const struct dataset *data, const struct training_recipe *training,
                 const struct quantization_recipe *quantization, struct error *err);

/* Initialises and trains on all training images but the last r->validation, with progress. The accuracy on those is
 * kept for note_validation. */
bool train_model(const struct dataset *data, const struct training_recipe *r, struct mlp *out,
                 struct train_report *report, struct error *err);

/* Accuracy on the last r->validation training images, which training did not see. */
bool evaluate_validation(const struct dataset *data, const struct training_recipe *r, const struct model *model,
                         struct evaluation *out, struct error *err);

/* Adds to a table what all networks that were trained with --validation reached on those images; nothing without. */
void note_validation(struct table *t);

/* Calibrates on r->calibration training images, evenly spaced over the set (a set sorted by class still gives
 * all classes), and converts with r->scheme. */
bool quantize_model(const struct mlp *mlp, const struct split *train, const struct quantization_recipe *r,
                    struct qmlp *out, size_t *saturated, struct error *err);

/* The first half of it: ranges [layers + 1] of the activations, for a conversion of another kind. */
bool calibrate_model(const struct mlp *mlp, const struct split *train, const struct quantization_recipe *r,
                     struct range *ranges, struct error *err);

/* The images that both show: [calibration][pixels], release with free. Error: more than there are. */
uint8_t *calibration_images(const struct split *train, int calibration, struct error *err);

/* Which training image is number i of them. */
static inline size_t calibration_image(const struct split *train, int calibration, size_t i) {
    return i * train->count / (size_t)calibration;
}

/* What the model files say about how they were made. */
void describe_training(const struct dataset *data, const struct training_recipe *r, struct model_notes *notes);
void describe_quantization(const struct quantization_recipe *r, struct model_notes *notes);

/* ---- rungs of the ladder ----------------------------------------------------------------------------------------- */

struct rung_recipe {
    int group, images; /* 0: what fits, from rung_recipe_fit */
    double damping, threshold, qat_rate;
    int qat_epochs;
};

struct rung_recipe rung_defaults(void);
void rung_options(struct options *o, struct rung_recipe *r); /* all but --group */

/* Fills what was left at 0. group: 56, or the largest of 8 to 64 that divides the inputs of a layer, or what there is.
 */
void rung_recipe_fit(struct rung_recipe *r, const struct mlp_shape *shape, const struct split *train);

/* Calibrates as r says and takes the images that rungs look at; fp32 and data are kept by reference. training: of the
 * rungs that train on. Errors: more images than there are; a group that divides no layer's inputs; out of memory.
 * Release with rung_source_free. */
bool rung_source_create(const struct dataset *data, const struct mlp *fp32, const struct model_notes *notes,
                        const struct rung_recipe *recipe, const struct quantization_recipe *r,
                        const struct training_recipe *training, struct rung_source *out, struct error *err);
void rung_source_free(struct rung_source *s);

/* rung_make with a bar for the rungs that train. */
bool rung_make_shown(struct rung_source *s, const struct rung *rung, const char *path, struct rung_made *made,
                     struct error *err);

/* A warning for each layer with more inputs than GPTQ has images. */
void note_gptq_rank(struct table *t, const struct rung_source *s);

#endif
