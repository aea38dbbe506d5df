/* What `mnistq page` embeds: files as text, the models with what the page checks them by, and the questions. */
#include "studies/page.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/digest.h"
#include "base/file.h"
#include "cli/report.h"
#include "model/evaluation.h"
#include "model/residual.h"
#include "nn/gemm.h"
#include "studies/trace.h"

const struct page_entry page_models[PAGE_MODELS] = {
    {"fp32", "fp32", false},
    {"int8", "int8-per-channel", true},
    {"int8_per_tensor", "int8-per-tensor", true},
    {"int4", "int4", false},
    {"int2", "int2", false},
    {"int2_qat", "int2-qat", false},
};

/* ---- files as text ----------------------------------------------------------------------------------------------- */

void page_hash_base64(const void *bytes, size_t size, char text[64]) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    EVP_Digest(bytes, size, digest, &length, EVP_sha256(), NULL);
    EVP_EncodeBlock((unsigned char *)text, digest, (int)length);
}

void page_hash_hex(const void *bytes, size_t size, char text[65]) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    EVP_Digest(bytes, size, digest, &length, EVP_sha256(), NULL);
    for (unsigned int i = 0; i < length && i < 32; i++) snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

/* zlib's stream of bytes [size] in planes, by the strategy that gives the fewest; *packed: release with free. */
static size_t compress_planes(const unsigned char *bytes, size_t size, int planes, unsigned char **packed) {
    static const int strategies[] = {Z_DEFAULT_STRATEGY, Z_HUFFMAN_ONLY};
    unsigned char *flat = malloc(size + 1), *best = NULL;
    size_t at = 0, least = 0;
    for (int plane = 0; flat && plane < planes; plane++)
        for (size_t i = (size_t)plane; i < size; i += (size_t)planes) flat[at++] = bytes[i];
    for (int i = 0; flat && i < 2; i++) {
        z_stream z = {.next_in = flat, .avail_in = (uInt)size};
        if (deflateInit2(&z, 9, Z_DEFLATED, 15, 9, strategies[i]) != Z_OK) continue;
        size_t bound = deflateBound(&z, (uLong)size);
        unsigned char *out = malloc(bound);
        z.next_out = out;
        z.avail_out = (uInt)bound;
        if (out && deflate(&z, Z_FINISH) == Z_STREAM_END && (!best || z.total_out < least)) {
            free(best);
            best = out;
            least = z.total_out;
        } else free(out);
        deflateEnd(&z);
    }
    free(flat);
    *packed = best;
    return least;
}

bool page_embed(struct page *p, const char *name, const unsigned char *bytes, size_t size, int planes, const char *from,
                struct error *err) {
    unsigned char *packed;
    size_t length = compress_planes(bytes, size, planes, &packed);
    char *text = packed ? malloc(length / 3 * 4 + 8) : NULL;
    long before = ftell(p->blobs);
    if (text) {
        EVP_EncodeBlock((unsigned char *)text, packed, (int)length);
        fprintf(p->blobs, "<script type=\"application/zlib\" data-blob=\"%s\" data-planes=\"%d\"", name, planes);
        if (from) fprintf(p->blobs, " data-from=\"%s\"", from);
        fprintf(p->blobs, ">%s</script>\n", text);
        size_t taken = (size_t)(ftell(p->blobs) - before);
        p->embedded += taken;
        table_row(&p->contents, "%s | %zu | %zu | %zu", name, size, length, taken);
    }
    free(packed);
    free(text);
    return text || fail(err, "out of memory");
}

/* ---- models ------------------------------------------------------------------------------------------------------ */

/* Reads a file once: the model is made of the very bytes that are embedded. */
static bool read_model(struct page *p, int i, struct error *err) {
    char path[PAGE_PATH];
    struct error why;
    snprintf(path, sizeof path, "%.4200s/models/%s.safetensors", p->results, page_models[i].file);
    struct st_file *file = calloc(1, sizeof *file);
    if (!file) return fail(err, "out of memory");
    bool ok = st_read_checked(path, model_needs_its_bytes, file, &why) ||
        fail(err, "%s (`make page` makes all models of the page)", why.text);
    p->files[i] = file->owned, p->sizes[i] = file->file_bytes;
    ok = ok && (model_parse(file, &p->models[i], &p->notes[i], err) || fail_in(err, path));
    free(file);
    if (ok && !same_training(&p->notes[0], &p->notes[i]))
        return fail(err, "%s: was not made from the network of fp32.safetensors; `make page` makes it anew", path);
    return ok &&
        split_fits(&p->data.test, p->models[i].shape.widths[0], p->models[i].shape.widths[p->models[i].shape.layers],
                   p->source, err);
}

/* The digests of the codes of an integer model, for the page's engine to be compared with. run: see model_digests. */
static bool add_digests(struct page *p, int i, struct model_run *run, struct error *err) {
    uint64_t layers[MLP_MAX_LAYERS], *images = aligned_array((size_t)p->images, sizeof *images, err);
    unsigned char *lower = aligned_array((size_t)p->images, 4, err);
    char name[64];
    bool ok = images && lower;
    for (int l = 0; l < MLP_MAX_LAYERS; l++) layers[l] = DIGEST_START;
    if (ok) model_digests(run, p->data.test.images, (size_t)p->images, layers, images);
    for (int k = 0; ok && k < 4 * p->images; k++) lower[k] = (unsigned char)(images[k / 4] >> (8 * (k % 4)));
    fputs(", \"digests\": [", p->facts);
    for (int l = 0; ok && l < p->models[i].shape.layers; l++)
        fprintf(p->facts, "%s\"%016llx\"", l ? ", " : "", (unsigned long long)layers[l]);
    fputc(']', p->facts);
    snprintf(name, sizeof name, "digests/%s", page_models[i].name);
    ok = ok && page_embed(p, name, lower, 4 * (size_t)p->images, 1, NULL, err);
    free(images);
    free(lower);
    return ok;
}

/* What the model says of the images here, by the reference: the classes and, of an integer model, its codes. */
static bool add_answers(struct page *p, int i, struct error *err) {
    struct model_run run = {0};
    const size_t inputs = PAGE_SIDE * PAGE_SIDE, n = (size_t)p->images;
    uint8_t *classes = aligned_array(n, 1, err);
    char name[64];
    bool ok = classes &&
        model_run_create(&p->models[i], model_batch(&p->models[i], 100), gemm_threads(0), RUN_LAYERS, &run, err);
    for (size_t first = 0, count; ok && first < n; first += count) {
        count = n - first < (size_t)run.capacity ? n - first : (size_t)run.capacity;
        model_run(&run, p->data.test.images + first * inputs, (int)count, classes + first);
    }
    snprintf(name, sizeof name, "classes/%s", page_models[i].name);
    ok = ok && page_embed(p, name, classes, n, 1, NULL, err) &&
        (p->models[i].kind != MODEL_INT8 || add_digests(p, i, &run, err));
    model_run_free(&run);
    free(classes);
    return ok;
}

static bool add_model(struct page *p, int i, struct error *err) {
    const struct page_entry *entry = &page_models[i];
    char name[64], sha[65];
    bool ok = read_model(p, i, err);
    if (!ok) return false;
    page_hash_hex(p->files[i], p->sizes[i], sha);
    fprintf(p->facts, "%s\"%s\": {\"file\": \"%s.safetensors\", \"bytes\": %zu, \"sha256\": \"%s\"", i ? ", " : "",
            entry->name, entry->file, p->sizes[i], sha);
    ok = add_answers(p, i, err);
    fputc('}', p->facts);
    snprintf(name, sizeof name, "model/%s", entry->name);
    if (entry->from_fp32) ok = ok && residual_add(&p->models[0].mlp, p->files[i], p->sizes[i], -1, err);
    return ok &&
        page_embed(p, name, p->files[i], p->sizes[i], p->models[i].kind == MODEL_FP32 ? 4 : 1,
                   entry->from_fp32 ? "model/fp32" : NULL, err);
}

bool page_add_models(struct page *p, struct error *err) {
    bool ok = true;
    fputs(", \"models\": {", p->facts);
    for (int i = 0; ok && i < PAGE_MODELS; i++) ok = add_model(p, i, err);
    fputc('}', p->facts);
    return ok;
}

/* ---- questions --------------------------------------------------------------------------------------------------- */

static long long number(const struct trace *t, int layer, const char *name) {
    return trace_find(t, layer, name)->integer;
}

/* The term that adds most to the neuron of a layer. */
static const struct trace_step *largest_term(const struct trace *t, int layer) {
    const struct trace_step *best = trace_find(t, layer, "term");
    for (const struct trace_step *s = best; s < trace_find(t, layer, "sum"); s++)
        if (llabs(s->integer) > llabs(best->integer)) best = s;
    return best;
}

/* A blank of a worksheet that can be asked alone, with the numbers that it follows from. */
enum { TERM, ACC, PRODUCT, ROUNDED, CODE, REAL, QUESTIONS };

static void write_question(const struct trace *t, int which, FILE *json) {
    static const char *const names[QUESTIONS] = {"term", "acc", "product", "rounded", "code", "real"};
    int last = t->q->shape.layers - 1, l = which == TERM ? last / 2 : last;
    const struct trace_step *term = largest_term(t, l), *code = trace_find(t, l, "y_q");
    fprintf(json, "{\"id\": \"%s\", \"image\": %zu, \"layer\": %d, \"neuron\": %d, ", names[which], t->image, l,
            code->neuron);
    if (which == TERM)
        fprintf(json, "\"k\": %d, \"x\": %d, \"z\": %lld, \"w\": %d, \"answer\": \"%lld\"}", term->k, term->x_q,
                number(t, l, "z_x"), term->w_q, term->integer);
    if (which == ACC)
        fprintf(json, "\"sum\": %lld, \"bias\": %lld, \"answer\": \"%lld\"}", number(t, l, "sum"), number(t, l, "b_q"),
                number(t, l, "acc"));
    if (which == PRODUCT)
        fprintf(json, "\"acc\": %lld, \"m\": %lld, \"answer\": \"%lld\"}", number(t, l, "acc"), number(t, l, "m"),
                number(t, l, "acc m"));
    if (which == ROUNDED)
        fprintf(json, "\"exact\": %.6f, \"right\": %lld, \"answer\": \"%lld\"}", trace_find(t, l, "acc m")->real,
                number(t, l, "right"), number(t, l, "rounded"));
    if (which == CODE)
        fprintf(json, "\"rounded\": %lld, \"z\": %lld, \"lowest\": %lld, \"highest\": %lld, \"answer\": \"%lld\"}",
                number(t, l, "rounded"), number(t, l, "z_y"), number(t, l, "y_min"), number(t, l, "y_max"),
                code->integer);
    if (which == REAL)
        fprintf(json, "\"code\": %lld, \"z\": %lld, \"scale\": %.9g, \"answer\": \"%.6f\"}", code->integer,
                number(t, l, "z_y"), trace_find(t, l, "s_y")->real, code->real);
}

/* Each is of another image: what one states would answer the one before. */
bool page_write_questions(const struct page *p, FILE *json, struct error *err) {
    bool ok = p->models[1].kind == MODEL_INT8 || fail(err, "int8-per-channel.safetensors: not an integer model");
    for (int i = 0; ok && i < QUESTIONS; i++) {
        struct trace t;
        ok = trace_make(&p->models[1], NULL, &p->data.test, (size_t)(i % p->images), -1, 0, &t, err);
        fputs(i ? ",\n" : "[\n", json);
        if (ok) write_question(&t, i, json);
        trace_free(&t);
    }
    fputs("\n]\n", json);
    return ok;
}
