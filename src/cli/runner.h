/* A model of any kind with the scratch it needs, ready to be run again and again on bytes. */
#ifndef CLI_RUNNER_H
#define CLI_RUNNER_H

#include "model/model_file.h"

struct runner {
    const struct model *model;
    int capacity, threads;
    struct mlp_workspace mlp_ws;
    struct qmlp_workspace qmlp_ws;
    struct dynamic_mlp_workspace dynamic_ws;
    struct bf16_workspace bf16_ws;
    float *logits;  /* [capacity][classes] of a bf16 model */
    uint8_t *codes; /* [capacity][classes] of an integer model */
};

/* Scratch for batches of up to capacity images on the given threads (fp32: gemm_threads). Error: out of memory.
 * Release with runner_free, also after an error. */
bool runner_create(const struct model *model, int capacity, int threads, struct runner *r, struct error *err);
void runner_free(struct runner *r);

/* The class of each image [count][inputs], count <= capacity; returns the number of ties. Nothing is allocated. */
size_t runner_predict(struct runner *r, const uint8_t *images, size_t count, uint8_t *predicted);

/* The same for one image with its logits [classes] in real numbers, read back from codes for an integer model. */
int runner_logits(struct runner *r, const uint8_t *image, float *logits);

#endif
