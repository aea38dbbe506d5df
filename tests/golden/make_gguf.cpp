// A small model as ggml's own writer writes it: see README.md.
#include <cstdio>
#include <cstring>

#include "ggml.h"
#include "gguf.h"

int main(int, char **argv) {
    ggml_context *c = ggml_init({1 << 20, NULL, false});
    gguf_context *g = gguf_init_empty();
    const float numbers[3] = {1, 2, 3};
    const char *texts[2] = {"a", "b"};
    gguf_set_val_str(g, "general.architecture", "test");
    gguf_set_val_u32(g, "general.file_type", 7);
    gguf_set_arr_data(g, "test.array", GGUF_TYPE_FLOAT32, numbers, 3);
    gguf_set_arr_str(g, "test.texts", texts, 2);
    gguf_set_val_bool(g, "test.bool", true);
    gguf_set_val_f64(g, "test.f64", 0.5);
    ggml_tensor *w1 = ggml_new_tensor_2d(c, GGML_TYPE_Q8_0, 64, 4), *b1 = ggml_new_tensor_1d(c, GGML_TYPE_F32, 4),
                *w2 = ggml_new_tensor_2d(c, GGML_TYPE_F16, 4, 3), *b2 = ggml_new_tensor_1d(c, GGML_TYPE_F32, 3);
    const char *names[] = {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"};
    ggml_tensor *tensors[] = {w1, b1, w2, b2};
    float f[256], back[256];
    for (int i = 0; i < 256; i++) f[i] = ((i * 37) % 256 - 127.5f) / 100;
    ggml_quantize_chunk(GGML_TYPE_Q8_0, f, w1->data, 0, 4, 64, NULL);
    for (int i = 0; i < 4; i++) ((float *)b1->data)[i] = i / 8.0f;
    for (int i = 0; i < 12; i++) ((ggml_fp16_t *)w2->data)[i] = ggml_fp32_to_fp16((i % 5 - 2) / 4.0f);
    for (int i = 0; i < 3; i++) ((float *)b2->data)[i] = -i;
    for (int i = 0; i < 4; i++) {
        ggml_set_name(tensors[i], names[i]);
        gguf_add_tensor(g, tensors[i]);
    }
    gguf_write_to_file(g, argv[1], false);
    ggml_get_type_traits(GGML_TYPE_Q8_0)->to_float(w1->data, back, 256);
    for (int i = 0; i < 8; i++) printf("%af, ", back[i * 31]); // the numbers in test_gguf.c
}
