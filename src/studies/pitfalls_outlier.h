/* Pitfall: one weight far beyond the others sets the scale for all that share it. */
#ifndef STUDIES_PITFALLS_OUTLIER_H
#define STUDIES_PITFALLS_OUTLIER_H

#include "cli/recipe.h"
#include "studies/variants.h"

extern const char outlier_columns[], outlier_seeds_columns[];
enum { OUTLIER_RUNS = 2 * 7 * 8, OUTLIER_RUNS_A_SEED = 2 * 8 };

/* Fills t with the lesson's matrix and the network v->fp32, for each k; and seeds with the largest k alone, as mean and
 * deviation over that network and count - 1 more, trained with the seeds after training->seed. */
bool pitfall_outlier(struct variants *v, struct table *t, struct table *seeds, const struct training_recipe *training,
                     int count);

#endif
