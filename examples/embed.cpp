// A C++ program with a model in it, through include/mnistq.h: the classes of the images of an IDX file, one a line, and
// how the first of them ran through the layers.
//
//     c++ -std=c++11 -Iinclude examples/embed.cpp build/libmnistq.a -lm -o build/embed
//     gunzip -c data/mnist/t10k-images-idx3-ubyte.gz >build/t10k-images
//     build/embed results/mnist/models/int8-per-channel.safetensors build/t10k-images
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "mnistq.h"

using bytes = std::vector<std::uint8_t>;

static bool read_file(const char *path, bytes &to) {
    std::ifstream file(path, std::ios::binary);
    to.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    return file.good() || file.eof();
}

struct closer {
    void operator()(mnistq_model *model) const { mnistq_close(model); }
};

int main(int argc, char **argv) {
    if (argc != 3) return std::fprintf(stderr, "usage: embed MODEL IMAGES\n"), 2;
    bytes file, images;
    if (!read_file(argv[1], file) || !read_file(argv[2], images))
        return std::fprintf(stderr, "embed: a file cannot be read\n"), 1;

    std::string why(MNISTQ_ERROR_SIZE, '\0');
    std::unique_ptr<mnistq_model, closer> model(mnistq_open_memory(file.data(), file.size(), &why[0], why.size()));
    if (!model) return std::fprintf(stderr, "embed: %s: %s\n", argv[1], why.c_str()), 1;

    const std::size_t header = 16, inputs = static_cast<std::size_t>(mnistq_inputs(model.get()));
    if (images.size() < header + inputs || (images.size() - header) % inputs != 0)
        return std::fprintf(stderr, "embed: %s: not images of %zu pixels\n", argv[2], inputs), 1;
    const std::size_t count = (images.size() - header) / inputs;
    bytes classes(count);
    mnistq_classify(model.get(), &images[header], count, classes.data());
    for (std::uint8_t c : classes) std::printf("%d\n", c);

    for (int layer = 0; layer <= mnistq_layers(model.get()); layer++) {
        std::vector<float> values(static_cast<std::size_t>(mnistq_width(model.get(), layer)));
        mnistq_values(model.get(), &images[header], layer, values.data());
        float highest = values[0];
        for (float x : values) highest = x > highest ? x : highest;
        std::fprintf(stderr, "layer %d: %zu values, the highest %g\n", layer, values.size(),
                     static_cast<double>(highest));
    }
}
