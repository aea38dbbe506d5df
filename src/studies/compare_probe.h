/* Any model's inside in real numbers: its weights and every layer's activations, codes read back (eq. 1). */
#ifndef STUDIES_COMPARE_PROBE_H
#define STUDIES_COMPARE_PROBE_H

#include "cli/report.h"

enum { PROBE_BATCH = 512 }; /* images at a time, at most */

struct probe {
    const struct model *model;
    struct mlp_workspace mlp_ws; /* of fp32 and decoded weights */
    struct dynamic_mlp_workspace dynamic_ws;
    struct bf16_workspace bf16_ws;
    uint8_t *code[MLP_MAX_LAYERS + 1];     /* [PROBE_BATCH][widths[i]] of an integer model */
    float *activation[MLP_MAX_LAYERS + 1]; /* [PROBE_BATCH][widths[i]]: 0 the pixels, layers the logits */
    struct block block;
};

/* Error: out of memory. Release with probe_free, also after an error. */
bool probe_create(const struct model *model, struct probe *p, struct error *err);
void probe_free(struct probe *p);

/* Images at a time: as in evaluate(), models with ranges taken at run time take those of 64 images. */
size_t probe_batch(const struct model *model);

/* Fills activation (and code) for images [count][inputs], count <= PROBE_BATCH. */
void probe_run(struct probe *p, const uint8_t *images, int count);

/* The logits of a whole split, [count][classes]; release with free(). NULL when out of memory. */
float *probe_logits(const struct model *model, const struct split *split, struct error *err);

/* Answers out of logits: what evaluate() gives. Error: out of memory. */
bool evaluate_logits(const float *logits, int classes, const struct split *split, struct evaluation *out,
                     struct error *err);

/* Weights of a layer as they work, [out][in]: codes read back, outlier columns put in their place. */
void probe_weights(const struct model *model, int layer, float *weights);

/* Any model as an fp32 network: its weights as above, its biases read back (eq. 5). Error: out of memory. Release with
 * mlp_free. */
bool probe_mlp(const struct model *model, struct mlp *out, struct error *err);

#endif
