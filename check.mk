# Checks that take longer than a test should: hostile files, failing system calls, other compilers and machines. Each has
# a short sample in `make test`: tests/cli/fuzz.sh, faults.sh, cross.sh.
asan: ## the tests under AddressSanitizer and UBSan | 15 min
	@$(MAKE) BUILD=$(BUILD)/asan test CFLAGS='-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer'
# Kernels without fused multiply-add, a hundred times slower in valgrind; one thread, as the stacks of others count as lost
valgrind: all ## the exercise on the built-in digits under memcheck | 5 min
	OPENBLAS_CORETYPE=Sandybridge OPENBLAS_NUM_THREADS=1 valgrind --leak-check=full --error-exitcode=1 $(BUILD)/mnistq exercise --data digits --kernel portable --results $(BUILD)/valgrind

CLANG ?= $(shell command -v clang || command -v clang-14 || echo clang)
# Objects of their own: clang's, with the counters that libFuzzer steers by, and the sanitizers. No OpenMP: one thread.
FUZZERS := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
$(BUILD)/tests/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(BUILD)/program.a $(BUILD)/internal.a
	@mkdir -p $(@D)
	$(Q)$(LINK) -fsanitize=fuzzer $^ $(LIBRARIES) -o $@
fuzzers: $(BUILD)/tests/make_idx $(BUILD)/mnistq ## the harnesses of make fuzz alone | 2 min
	@$(MAKE) --no-print-directory CC=$(CLANG) BUILD=$(BUILD)/fuzz OPENMP= \
	  CFLAGS='-O1 -g -fno-omit-frame-pointer -Wno-unused -Wno-unused-parameter -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fsanitize-coverage-ignorelist=tests/fuzz/unguided.txt' \
	  $(FUZZERS:%=$(BUILD)/fuzz/tests/fuzz/%)
fuzz: fuzzers ## hostile files and options; FUZZ=WORD one harness | SECONDS each
	@BUILD=$(BUILD) sh tests/fuzz/run.sh $(or $(SECONDS),60) $(FUZZ)
# For make test, which does without them where clang has no libFuzzer, and for programs that are instrumented already.
fuzzer_probe = echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | $(CLANG) -fsanitize=fuzzer,address -x c - -o /dev/null 2>/dev/null
fuzzers_if_possible = $(if $(filter test,$(MAKECMDGOALS)),$(if $(findstring -fsanitize,$(CFLAGS))$(findstring --coverage,$(CFLAGS)),,\
  $(shell $(fuzzer_probe) && echo fuzzers)))
faults: all $(TOOLS) ## each call of each command fails once; MOST=N | 15 min
	@MOST=$(or $(MOST),100000) KILLS=200 BUILD=$(BUILD) sh tests/cli/faults.sh
cross: all $(TOOLS) ## compilers and machines give the same; CROSS=WORD | 5 min
	@CROSS=$(or $(CROSS),all) BUILD=$(BUILD) sh tests/cli/cross.sh
