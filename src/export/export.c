#include "export/export.h"

#include "base/file.h"

const struct exporter exporters[] = {
    {"c", "one C99 header: tables and an integer-only predict(), for microcontrollers",
     "layer weight_bits flash_bytes ram_bytes macs", export_c_header},
    {"gguf", "a GGUF file, which ggml and llama.cpp's tools read", "tensor type rows columns bytes", export_gguf},
    {"npy", "an .npz archive of NumPy arrays: what the file holds, and layer inputs", "array dtype shape bytes",
     export_npz},
    {"onnx", "an ONNX file, opset 13; integer models in QDQ form", "operator output", export_onnx},
    {0}};

void export_bytes(struct export_stream *out, const void *bytes, size_t size) {
    fwrite(bytes, 1, size, out->to);
    out->at += size;
}

void export_number(struct export_stream *out, uint64_t value, int bytes) {
    uint8_t little[8];
    for (int i = 0; i < bytes; i++) little[i] = (uint8_t)(value >> (8 * i));
    export_bytes(out, little, (size_t)bytes);
}

bool export_model(const struct exporter *exporter, const struct export_source *source, const char *path,
                  struct table *t, struct error *err) {
    struct out_file out;
    char title[64];
    snprintf(title, sizeof title, "Exported as %s", exporter->name);
    table_init(t, title, exporter->columns);
    if (!out_file_open(&out, path, err)) return false;
    if (exporter->write(source, out.stream, t, err)) return out_file_commit(&out, err);
    out_file_discard(&out);
    return fail_in(err, source->path);
}
