/* What rungs of the ladder are made with, for the commands that make them: their options, defaults that fit a network,
 * and the images that they look at. */
#ifndef CLI_RUNG_RECIPE_H
#define CLI_RUNG_RECIPE_H

#include "base/table.h"
#include "cli/recipe.h"
#include "model/rungs.h"

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
