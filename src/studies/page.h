/* The lesson as one file: what `mnistq page` puts into it. */
#ifndef STUDIES_PAGE_H
#define STUDIES_PAGE_H

#include <stdio.h>

#include "base/table.h"
#include "cli/options.h"
#include "data/dataset.h"
#include "model/model_run.h"

enum { PAGE_SIDE = 28, PAGE_MODELS = 6, PAGE_PATH = 4400 };

/* A model that the page runs. */
struct page_entry {
    const char *name, *file; /* in the page; in RESULTS/models/, without .safetensors */
    bool from_fp32;          /* its weights are stored as residuals, see model/residual.h */
};
extern const struct page_entry page_models[PAGE_MODELS]; /* fp32 first */

struct page {
    struct options options;
    const char *source, *results, *out, *parts;
    const char *reference;      /* folder of tables that results has not; NULL: none */
    char left_out[160];         /* the commands whose tables are not in the page, as "ladder audit"; "": none */
    char remedy[2 * PAGE_PATH]; /* what brings them, for a shell: a command of make */
    int images;                 /* of the test images */
    struct dataset data;
    struct table contents; /* what is embedded, for the terminal */
    struct model models[PAGE_MODELS];
    struct model_notes notes[PAGE_MODELS];
    unsigned char *files[PAGE_MODELS]; /* [sizes[i]] */
    size_t sizes[PAGE_MODELS];
    FILE *facts, *blobs; /* the JSON of the facts; the elements of the embedded files */
    size_t embedded;     /* bytes that those elements take */
};

/* Adds an embedded file: bytes in planes (see unpackBlob in page/engine.js), compressed, as text. from: the file whose
 * model is added to its weights, or NULL. Errors: out of memory. */
bool page_embed(struct page *p, const char *name, const unsigned char *bytes, size_t size, int planes, const char *from,
                struct error *err);

/* Base64 of SHA-256 as a Content-Security-Policy has it; and the hash in hexadecimal. */
void page_hash_base64(const void *bytes, size_t size, char text[64]);
void page_hash_hex(const void *bytes, size_t size, char text[65]);

/* Reads the models of RESULTS/models and embeds them; their part of the facts. Errors: a file that is missing or
 * refused, or was not made from this fp32 network; images of another size. */
bool page_add_models(struct page *p, struct error *err);

/* The tables of RESULTS that are there, as HTML; and those of the reference, where its exercise was on the same data:
 * where that counted otherwise, each says that it is of another run. What is in neither goes to left_out and remedy;
 * the models are read before. Their part of the facts. Error: a table that csv_read refuses. */
bool page_write_tables(struct page *p, FILE *html, struct error *err);

/* What the lesson prints for its worked examples: {claim: figure}, of no network, as JSON. Error: out of memory. */
bool page_write_lesson(FILE *json, struct error *err);

/* The facts of a table's end, as JSON. */
void page_write_provenance(const struct page *p, FILE *json);

/* Six questions with their answers, from the worksheets of the first six test images, as JSON. */
bool page_write_questions(const struct page *p, FILE *json, struct error *err);

#endif
