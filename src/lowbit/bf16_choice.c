/* Which kernel bf16 networks run on: measured. */
#include <stdatomic.h>
#include <stdlib.h>

#include "base/progress.h"
#include "base/rng.h"
#include "lowbit/bf16.h"
#include "nn/fp32.h"

extern const struct bf16_kernel bf16_kernel_amx, bf16_kernel_avx512;

const struct bf16_kernel *const bf16_kernels[] = {
#if defined(__x86_64__) && defined(__GNUC__)
    &bf16_kernel_amx, &bf16_kernel_avx512,
#endif
    NULL};

enum { KERNELS = sizeof bf16_kernels / sizeof bf16_kernels[0], IMAGES = BF16_BLOCK, TURNS = 5 };

/* The lesson's network on images of digits' kind: half of the pixels in the middle are lit. */
struct trial {
    struct mlp mlp;
    struct fp32_mlp fp32;
    struct fp32_workspace fp32_ws;
    struct bf16_workspace bf16_ws;
    uint8_t *images;
    float *logits;
};

static const struct mlp_shape shape = {3, {784, 256, 256, 10}};

static bool trial_create(struct trial *t, struct error *err) {
    struct rng rng = rng_seeded(1);
    *t = (struct trial){0};
    if (!mlp_create(&shape, &t->mlp, err) || !fp32_workspace_create(&shape, 1, &t->fp32_ws, err) ||
        !bf16_workspace_create(&shape, 1, &t->bf16_ws, err) || !(t->images = aligned_array(IMAGES, 784, err)) ||
        !(t->logits = aligned_array(IMAGES, 10 * sizeof(float), err)))
        return false;
    mlp_initialise(&t->mlp, &rng);
    if (!fp32_mlp_create(&t->mlp, fp32_kernel_best(), &t->fp32, err)) return false;
    fp32_mlp_pack(&t->fp32);
    for (size_t i = 0; i < (size_t)IMAGES * 784; i++) {
        size_t row = i % 784 / 28, column = i % 28;
        bool middle = row >= 4 && row < 24 && column >= 4 && column < 24;
        t->images[i] = middle && rng_below(&rng, 2) ? (uint8_t)rng_next(&rng) : 0;
    }
    return true;
}

static void trial_free(struct trial *t) {
    mlp_free(&t->mlp);
    fp32_mlp_free(&t->fp32);
    fp32_workspace_free(&t->fp32_ws);
    bf16_workspace_free(&t->bf16_ws);
    free(t->images);
    free(t->logits);
}

/* Seconds of a batch on one thread; b NULL: in fp32. */
static double time_once(struct trial *t, const struct bf16_mlp *b) {
    double started = seconds_now();
    if (b) bf16_mlp_forward(b, false, t->images, IMAGES, &t->bf16_ws, NULL, t->logits);
    else fp32_mlp_forward(&t->fp32, t->images, IMAGES, &t->fp32_ws, NULL, t->logits);
    return seconds_now() - started;
}

/* The least of several turns each, which a busy machine disturbs the least; the first does not count. */
static bool measure(int *percent, struct error *err) {
    struct trial t;
    struct bf16_mlp b[KERNELS] = {{.kernel = NULL}};
    double best[KERNELS + 1]; /* the last is fp32's */
    bool ok = trial_create(&t, err);
    for (int i = 0; ok && bf16_kernels[i]; i++)
        ok = !bf16_kernels[i]->supported() || bf16_mlp_create(&t.mlp, bf16_kernels[i], &b[i], err);
    for (int turn = 0; ok && turn <= TURNS; turn++)
        for (int i = 0; i <= KERNELS; i++) {
            if (i < KERNELS && !b[i].kernel) continue;
            double seconds = time_once(&t, i < KERNELS ? &b[i] : NULL);
            if (turn <= 1 || seconds < best[i]) best[i] = seconds;
        }
    for (int i = 0; i < KERNELS; i++) {
        percent[i] = ok && b[i].kernel ? (int)(100 * best[KERNELS] / best[i]) : 0;
        bf16_mlp_free(&b[i]);
    }
    trial_free(&t);
    return ok;
}

/* Not of an instruction set newer than that of the integer kernel in use. */
static bool goes_with(const struct bf16_kernel *kernel, const struct qkernel *integers) {
    const struct qkernel *const *k = qkernels;
    while (*k != integers) k++;
    while (*k && *k != kernel->beside) k++;
    return *k != NULL;
}

const struct bf16_kernel *bf16_kernel_worth(const int *percent) {
    const struct bf16_kernel *best = NULL;
    for (int i = 0, most = BF16_WORTH - 1; bf16_kernels[i]; i++)
        if (percent[i] > most) most = percent[i], best = bf16_kernels[i];
    return best;
}

const struct bf16_kernel *bf16_kernel_best(void) {
    static atomic_int known, measured[KERNELS]; /* in percent, for the whole process */
    int percent[KERNELS] = {0};
    bool any = false;
    struct error err;
    for (int i = 0; bf16_kernels[i]; i++)
        any = any || (bf16_kernels[i]->supported() && goes_with(bf16_kernels[i], qkernel_best()));
    if (!any) return NULL;
    if (!known) {
        if (!measure(percent, &err)) return NULL; /* out of memory: another time */
        for (int i = 0; i < KERNELS; i++) measured[i] = percent[i];
        known = 1;
    }
    for (int i = 0; bf16_kernels[i]; i++) percent[i] = goes_with(bf16_kernels[i], qkernel_best()) ? measured[i] : 0;
    return bf16_kernel_worth(percent);
}
