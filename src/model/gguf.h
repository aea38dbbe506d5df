/* The container of ggml and llama.cpp (GGUF version 3, docs/gguf.md of ggml-org/ggml, 2023), read as if it were a
 * safetensors file, so that a model in it is a model like any other:
 *
 *   | "GGUF" | u32 version | u64 tensors | u64 pairs | pairs: key, u32 type, value | tensors: name, u32 n, n x u64
 * sizes, the innermost first, u32 type, u64 offset | padding | tensor bytes, each aligned |
 *
 * all little-endian, a text is a u64 length and its bytes. Rows are whole blocks: where a layer's inputs are no
 * multiple of one, rows are filled up with zeros, and mnistq.architecture tells the true widths. */
#ifndef MODEL_GGUF_H
#define MODEL_GGUF_H

#include "lowbit/formats.h"
#include "model/safetensors.h"

enum { GGUF_ALIGNMENT = 32 };
#define GGUF_PREFIX "mnistq." /* of the keys that hold a model's metadata */

/* ggml's number of a format of the ladder; -1: it has none. */
int gguf_type(const char *format);

static inline bool gguf_is(const void *bytes, size_t size) {
    return size >= 4 && __builtin_memcmp(bytes, "GGUF", 4) == 0;
}

/* As st_parse. Layers are named fcN.weight and fcN.bias; other tensors are an error where a model is read. Errors: all
 * that would make a reader leave the bytes, or read others than were meant: sizes, offsets, overlaps, types without a
 * format here, names twice. */
bool gguf_parse(const void *bytes, size_t size, struct st_file *out, struct error *err);

#endif
