/* Command lines: the words of the input, NUL or newline between, against a list with an option of every type. */
#include "cli/options.h"
#include "fuzz.h"

enum { MAX_WORDS = 24 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const colours[] = {"red", "green", "greenish", "blue"};
    char text[512], *words[MAX_WORDS + 1] = {"fuzz"};
    int count = 1;
    if (size >= sizeof text) return 0;
    memcpy(text, data, size);
    text[size] = 0;
    for (char *at = text; at < text + size && count < MAX_WORDS; at += strlen(at) + 1) {
        at[strcspn(at, "\n")] = 0;
        words[count++] = at;
    }
    struct options o = {.command = "fuzz", .arguments = "FILE...", .what = "Nothing.", .examples = "mnistq fuzz"};
    bool flag = false;
    int number = 5, colour = 1;
    uint64_t seed = 1;
    double real = 0.5;
    const char *word = NULL, *source = "data/mnist", *results = NULL;
    struct int_list list = {2, {256, 256}};
    option_flag(&o, "flag", &flag, "a flag");
    option_flag(&o, "flagged", &flag, "another");
    option_int(&o, "number", &number, -3, 100, "a number");
    option_seed(&o, "seed", &seed, "a seed");
    option_real(&o, "real", &real, 0, 1, "a real number");
    option_text(&o, "word", "WORD", &word, "a word");
    option_choice(&o, "colour", &colour, colours, 4, "a colour");
    option_ints(&o, "list", &list, 1, 16384, "a list");
    option_data(&o, &source, "data");
    option_results(&o, &results, "results");
    int status = options_parse(&o, count, words, 0, 3);
    EXPECT(status == OPTIONS_GO_ON || status == EXIT_DONE || status == EXIT_USAGE);
    EXPECT(number >= -3 && number <= 100 && real >= 0 && real <= 1 && colour >= 0 && colour < 4);
    EXPECT(list.count >= 1 && list.count <= OPTIONS_MAX_INTS);
    for (int i = 0; i < list.count; i++) EXPECT(list.values[i] >= 1 && list.values[i] <= 16384);
    if (status != OPTIONS_GO_ON) return 0;
    EXPECT(o.file_count >= 0 && o.file_count <= 3 && *source && results && *results);
    for (int i = 0; i < o.file_count; i++) EXPECT(o.files[i] && strlen(o.files[i]) < sizeof text);
    return 0;
}
