/* The safetensors container (Hugging Face 2022):
 *
 *   | N: 64-bit little-endian | N bytes of JSON header, padded with spaces | tensor bytes ... |
 *
 * {"__metadata__": {"key": "text"}, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
 * Offsets count from the end of the header; the tensors cover the data without gap or overlap. */
#ifndef MODEL_SAFETENSORS_H
#define MODEL_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum st_dtype { ST_F32, ST_F16, ST_BF16, ST_I32, ST_I8, ST_U8, ST_F8_E4M3, ST_F8_E5M2, ST_F64, ST_DTYPES };
enum { ST_MAX_TENSORS = 256, ST_MAX_METADATA = 64, ST_MAX_DIMENSIONS = 8, ST_NAME = 128, ST_TEXT = 512 };

/* Indexed by enum st_dtype: the name in the header and the bytes of an element. */
extern const struct st_type {
    const char *name;
    size_t bytes;
} st_types[ST_DTYPES];

struct st_tensor {
    char name[ST_NAME];
    enum st_dtype dtype;
    int dimensions;
    size_t shape[ST_MAX_DIMENSIONS];
    size_t elements, bytes;
    const void *data; /* read: in st_file's bytes, little-endian, at any alignment, for st_copy; to be written: the
                         caller's, in the order of the machine */
};

struct st_file {
    size_t tensor_count, metadata_count;
    struct st_tensor tensors[ST_MAX_TENSORS]; /* in the order of their bytes */
    struct {
        char key[ST_NAME], text[ST_TEXT];
    } metadata[ST_MAX_METADATA];
    size_t header_bytes; /* N, of a file that was read */
    size_t file_bytes;
    const unsigned char *bytes; /* the whole file that was read */
    unsigned char *owned;       /* bytes, where st_read took the memory for them */
};

/* Checks everything before any of it is used; a GGUF file is taken as well (model/gguf.h); bytes [size] stay the
 * caller's and must live as long as out. Errors: not a safetensors file, a header longer than the file, broken JSON, an
 * unknown dtype, a shape that does not give the bytes between the offsets, offsets out of range, gaps, overlaps, two
 * tensors of one name, bytes behind the last. */
bool st_parse(const void *bytes, size_t size, struct st_file *out, struct error *err);

/* The length of the header by the first 8 bytes of size, SIZE_MAX where it is not known yet. Error: it cannot be one.
 */
bool st_header_bytes(const unsigned char *bytes, size_t size, size_t *header, struct error *err);

/* Whether a file may be read on, by its header: out as st_parse leaves it, but for the bytes of tensors. */
typedef bool (*st_check)(const struct st_file *file, struct error *err);

/* The same from a file, which errors name: the header first, then the check, then the rest. Release with st_free. */
bool st_read(const char *path, struct st_file *out, struct error *err);
bool st_read_checked(const char *path, st_check check, struct st_file *out, struct error *err);
void st_free(struct st_file *file);

/* Copies elements from the file's byte order to the machine's, or back. */
void st_copy(void *to, const void *from, size_t elements, enum st_dtype dtype);

/* NULL when there is none. */
const struct st_tensor *st_find(const struct st_file *file, const char *name);
const char *st_metadata(const struct st_file *file, const char *key);

/* For a file to be written: adds a tensor of 1 or 2 dimensions (cols 0: one dimension), or a metadata text.
 * data is kept by reference until st_write. */
void st_add(struct st_file *file, const char *name, enum st_dtype dtype, size_t rows, size_t cols, const void *data);
void st_add_metadata(struct st_file *file, const char *key, const char *format, ...) PRINTF_LIKE(3, 4);

/* Writes the file, whole or not at all, with tensors of wider elements first, so that all are aligned. Errors: also
 * what st_parse refuses, or a reader of what is to stand in the file: such a file is not written. */
typedef bool st_reader(const struct st_file *file, struct error *err);
bool st_write_checked(const char *path, const struct st_file *file, st_reader *reader, struct error *err);
bool st_write(const char *path, const struct st_file *file, struct error *err);

#endif
