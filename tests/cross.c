/* What a machine makes of model files: tests/cli/cross.sh compiles it with the rooms of the library for each target,
 * and compares what it prints. cross IMAGES MODEL...     IMAGES: raw pixels, 64 images of the models' inputs A line for
 * each model: its arithmetic and a digest of all codes (integer models) or logits, or why it is refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "mnistq.h"
#include "quant/qlinear.h"

enum { IMAGES = 64 };

static unsigned char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file) abort();
    unsigned char *bytes = malloc(1 << 24);
    *size = fread(bytes, 1, 1 << 24, file);
    fclose(file);
    return bytes;
}

/* The lower byte first, whatever the machine's order. */
static uint64_t add_number(uint64_t digest, uint32_t bits) {
    unsigned char bytes[4] = {bits & 255, bits >> 8 & 255, bits >> 16 & 255, bits >> 24};
    return digest_add(digest, bytes, sizeof bytes);
}

static uint64_t digest_layers(mnistq_model *m, const uint8_t *images) {
    uint64_t digest = DIGEST_START;
    uint8_t codes[1024], classes[IMAGES];
    float logits[IMAGES * 256];
    size_t inputs = (size_t)mnistq_inputs(m);
    mnistq_classify(m, images, IMAGES, classes);
    digest = digest_add(digest, classes, IMAGES);
    mnistq_logits(m, images, IMAGES, logits);
    for (int i = 0; i < IMAGES * mnistq_classes(m); i++) {
        uint32_t bits;
        memcpy(&bits, &logits[i], sizeof bits);
        digest = add_number(digest, bits);
    }
    for (int i = 0; mnistq_is_integer(m) && i < IMAGES; i++)
        for (int l = 0; l <= mnistq_layers(m); l++)
            digest = digest_add(digest, codes, (size_t)mnistq_codes(m, images + (size_t)i * inputs, l, codes));
    return digest;
}

int main(int argc, char **argv) {
    size_t size;
    unsigned char *images = read_file(argv[1], &size);
    for (int i = 2; i < argc; i++) {
        char why[MNISTQ_ERROR_SIZE];
        unsigned char *bytes = read_file(argv[i], &size);
        const char *name = strrchr(argv[i], '/') + 1;
        /* float models decoded everywhere, integer ones by each kernel */
        for (int k = 0; qkernels[k]; k++) {
            if (!qkernels[k]->supported()) continue;
            qkernel_force(qkernels[k]);
            mnistq_model *m = mnistq_open_memory(bytes, size, why, sizeof why);
            bool last = !qkernels[k + 1];
            if (!m && last) printf("%s refused: %s\n", name, why);
            if (m && mnistq_is_integer(m))
                printf("%s integer %016llx\n", name, (unsigned long long)digest_layers(m, images));
            if (m && last && !mnistq_is_integer(m))
                printf("%s float %016llx\n", name, (unsigned long long)digest_layers(m, images));
            mnistq_close(m);
        }
        free(bytes);
    }
    free(images);
    return 0;
}
