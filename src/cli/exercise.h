/* One run of the exercise: a trained fp32 network and the int8 networks made from it, written to files, read
 * back from them, and run on the same test images. */
#ifndef CLI_EXERCISE_H
#define CLI_EXERCISE_H

#include "cli/recipe.h"
#include "cli/study.h"

enum { EXERCISE_MAX_MODELS = 1 + SCHEMES };

struct exercise {
    int count; /* models[0] is fp32 */
    struct model models[EXERCISE_MAX_MODELS];
    uint64_t bytes[EXERCISE_MAX_MODELS]; /* of their files, by stat */
    struct evaluation evaluations[EXERCISE_MAX_MODELS];
    struct train_report training;
    size_t saturated; /* biases that did not fit, all schemes together */
};

/* Trains on the study's data, writes FOLDER/fp32.safetensors of its results, then for each scheme (both, when scheme is
 * SCHEMES) quantizes and writes FOLDER/int8-SCHEME.safetensors; reads every file back and evaluates what it read.
 * Errors are in s->err. Release with exercise_free, also after an error. */
bool exercise_run(struct study *s, const struct training_recipe *training,
                  const struct quantization_recipe *quantization, const char *folder, struct exercise *out);
void exercise_free(struct exercise *e);

#endif
