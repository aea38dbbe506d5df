/* Models in the forms of other tools: ONE table of exporters, each of which writes one file. */
#ifndef EXPORT_EXPORT_H
#define EXPORT_EXPORT_H

#include <stdio.h>

#include "base/table.h"
#include "model/model_file.h"

/* What is exported. */
struct export_source {
    const char *path;           /* of its file, for errors */
    const struct st_file *file; /* the container that the model was read from */
    const struct model *model;
    const struct model_notes *notes;
    const char *name;      /* in front of the names in a C header; "" for none */
    const uint8_t *images; /* [count][inputs]: those whose layer inputs are to be exported too */
    int count;             /* 0: none */
};

/* A file being written that counts its bytes: it may be a pipe, which tells no position. */
struct export_stream {
    FILE *to;
    size_t at;
};

void export_bytes(struct export_stream *out, const void *bytes, size_t size);
void export_number(struct export_stream *out, uint64_t value, int bytes); /* the lowest byte first */

struct exporter {
    const char *name, *what; /* for --format, for --help */
    const char *columns;     /* of the table that write fills */
    /* Writes the file and says in a table what is in it. Error: a model that the format cannot hold; a failed write is
     * seen by the caller, who commits the file. */
    bool (*write)(const struct export_source *source, FILE *to, struct table *t, struct error *err);
};

extern const struct exporter exporters[]; /* ends with a NULL name */

/* Writes path, whole or not at all. t: filled, with the columns of the exporter. */
bool export_model(const struct exporter *exporter, const struct export_source *source, const char *path,
                  struct table *t, struct error *err);

bool export_c_header(const struct export_source *source, FILE *to, struct table *t, struct error *err);
bool export_gguf(const struct export_source *source, FILE *to, struct table *t, struct error *err);
bool export_npz(const struct export_source *source, FILE *to, struct table *t, struct error *err);
bool export_onnx(const struct export_source *source, FILE *to, struct table *t, struct error *err);

#endif
