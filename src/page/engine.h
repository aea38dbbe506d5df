/* What the files of the page's engine share. The engine is the library compiled to WebAssembly, with functions that
 * JavaScript can call: numbers and addresses go in and out, arrays lie in the engine's memory. engine.js is the other
 * side. A function that fails returns false or NULL, and page_error has the line. */
#ifndef PAGE_ENGINE_H
#define PAGE_ENGINE_H

#include "data/picture.h"
#include "model/model_run.h"

#define EXPORT(name) __attribute__((export_name(#name))) name

enum { PAGE_BATCH = 64 }; /* images of a run in which every layer is wanted */

/* A model, and scratch for the two ways of running it. */
struct page_model {
    struct model model;
    struct picture_form form; /* of the pictures that it takes */
    struct model_run answers; /* batches of QMLP_BLOCK, or what the model takes */
    struct model_run layers;  /* RUN_LAYERS, batches of PAGE_BATCH; fault: the sound engine */
};

extern struct error page_failure;

/* A model for the caller to fill: then page_ready takes its scratch and returns it, or frees it when ok is false or
 * memory is short. */
struct page_model *page_new(void);
struct page_model *page_ready(struct page_model *m, bool ok);
void page_close(struct page_model *m);

#endif
