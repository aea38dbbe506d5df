# mnistq: `make mnist` runs the exercise, `make test` is the gate, `make help` lists the rest and what each costs.
# Variables are set on the command line: make mnist SCHEME=per-tensor HIDDEN=128. These are all:
#=  training   HIDDEN=256,256 SEED=1 EPOCHS=1 BATCH=32   trace  IMAGE=0
#=  int8       SCHEME=per-channel|per-tensor|both CALIBRATION=512
#=             OBSERVER=minmax|moving-average|percentile|histogram
#=             ACTIVATIONS=asymmetric|symmetric
#=  sweep      SEEDS=10       ladder  LADDER_SEEDS=5 GROUP=56
#=  data       DATA=data/mnist|digits|FOLDER MNIST_MIRROR=https://.../|file:///...
#=  results    RESULTS=FOLDER; without it results/ and the name of DATA
#=  building   CC=cc CFLAGS="-O3 -g" CPPFLAGS= LDFLAGS= AR=ar BUILD=build V=1
#=  install    PREFIX=/usr/local DESTDIR=
#=  test       TEST=WORD only tests, MUTANT=WORD only mutants, of such a name
#=  fuzz       SECONDS=60 a harness, FUZZ=WORD only such   cross  CROSS=WORD
CC ?= cc
CFLAGS ?= -O3 -g
BUILD ?= build
DATA ?= data/mnist
$(foreach v,DATA RESULTS,$(eval override export $v := $$(value $v)))# as they stand; the environment needs no quotes
Q := $(if $(V),,@)
# ---- a mistyped name is refused: it would run the default in silence -------------------------------------------
VARIABLES := SHELL TEST_JOBS TEST_LIMIT_S OPENMP CLANG MOST WASM_CC $(shell grep '^\#=' Makefile | grep -o '[A-Z][A-Z_]*=' | tr -d =)
TARGETS := $(shell sed -n 's/^\([a-z-]*\):.*\#\#.*/\1/p' Makefile $(wildcard *.mk))
given := $(foreach v,$(filter-out -*-%,$(.VARIABLES)),$(if $(filter command,$(firstword $(origin $v))),$v))
mistyped = $(foreach v,$(1),$(error $(v): there is no such $(2)$(shell sh scripts/suggest.sh '$(v)' $(3))))
$(call mistyped,$(filter-out $(VARIABLES),$(given)),variable,$(VARIABLES))
$(call mistyped,$(foreach t,$(MAKECMDGOALS),$(if $(findstring /,$t),,$(filter-out $(TARGETS),$t))),target,$(TARGETS))
.PHONY: $(TARGETS)
.SECONDARY:

all: $(BUILD)/mnistq $(BUILD)/libmnistq.a ## build the program and the library | 20 s, 20 MB
help: ## list the targets
	@awk -f scripts/help.awk Makefile $(wildcard *.mk)

# ---- what is built, and with what ----------------------------------------------------------------------------
ROOMS := base data nn quant quant/kernels lowbit model export
LIBRARY_SOURCES := $(filter-out src/nn/gemm_plain.c,$(wildcard $(ROOMS:%=src/%/*.c)))
PROGRAM_SOURCES := $(wildcard src/cli/*.c src/studies/*.c)
TESTS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/test_*.c))
TOOLS := $(BUILD)/tests/http_server $(BUILD)/tests/make_idx $(BUILD)/tests/make_digit $(BUILD)/tests/faults.so
objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
OPENMP := $(if $(filter Darwin,$(shell uname)),-Xpreprocessor -fopenmp -lomp,-fopenmp)
COMPILE = $(CC) -std=c11 -D_GNU_SOURCE -Wall -Wextra -Iinclude -Isrc -I$(BUILD) $(CPPFLAGS) $(CFLAGS) -fno-fast-math \
  -ffp-contract=off -fno-math-errno $(OPENMP)
LINK = $(CC) $(patsubst -Ofast,-O3,$(filter-out -ffast-math -funsafe-math-optimizations,$(CFLAGS))) $(OPENMP) $(LDFLAGS)
# The flags of the last build. When those of this make are others, the file is made anew, and so is all that needs it.
quote = '$(subst ','\'',$(strip $(1)))'
$(BUILD)/flags: ; @mkdir -p $(@D) && printf '%s\n' $(call quote,$(COMPILE) $(LDFLAGS)) >$@
ifneq ($(filter-out help clean data format readme-check results-diff,$(or $(MAKECMDGOALS),all)),)
.PHONY: $(shell printf '%s\n' $(call quote,$(COMPILE) $(LDFLAGS)) | cmp -s - $(BUILD)/flags || echo $(BUILD)/flags)
include $(BUILD)/config.mk
endif
# Made before anything else: installs what is missing, or says what to type. Make then reads it and starts again.
PACKAGES := openblas libcrypto zlib libjpeg libpng
$(BUILD)/config.mk: scripts/install_deps.sh $(BUILD)/flags
	@CC='$(CC)' CPPFLAGS=$(call quote,$(CPPFLAGS)) LDFLAGS=$(call quote,$(LDFLAGS)) sh scripts/install_deps.sh
	@echo "INCLUDES := $$(pkg-config --cflags $(PACKAGES) 2>/dev/null)" >$@
	@echo "LIBRARIES := $$(pkg-config --libs $(PACKAGES) 2>/dev/null || echo -lopenblas -lcrypto -lz -ljpeg -lpng) -lm" >>$@
LOG = $(if $(MAKE_TERMERR),-fdiagnostics-color=always) 2>$@.log; s=$$?; cat $@.log >&2; exit $$s # tests/cli/make.sh reads it
say_once = $(if $(said),,$(eval said := yes)$(info compiling into $(BUILD)))
$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	$(say_once)@mkdir -p $(@D)
	$(Q)$(COMPILE) $(INCLUDES) -MMD -MP -c $< -o $@ $(LOG)
$(BUILD)/claims.inc: src/studies/claims.tsv $(BUILD)/flags # the audit's claims, as a string of C
	@sed 's/["\\]/\\&/g; s/.*/"&\\n"/' $< >$@
$(call objects,src/studies/claims.c): $(BUILD)/claims.inc

# ---- library, program, tests -----------------------------------------------------------------------------------
$(BUILD)/internal.a: $(call objects,$(LIBRARY_SOURCES)) # all rooms but the program's; for other programs: embed.mk
$(BUILD)/program.a: $(call objects,$(PROGRAM_SOURCES)) # apart from main.c, so that tests link the commands too
$(BUILD)/internal.a $(BUILD)/program.a:
	$(Q)rm -f $@; $(AR) rcs $@ $^
$(BUILD)/mnistq: $(call objects,src/main.c) $(BUILD)/program.a $(BUILD)/internal.a
	$(Q)$(LINK) $^ $(LIBRARIES) -o $@
$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(BUILD)/program.a $(BUILD)/internal.a
	@mkdir -p $(@D)
	$(Q)$(LINK) $^ -lcmocka -lcjson $(LIBRARIES) -o $@
$(BUILD)/tests/faults.so: tests/faults.c $(BUILD)/flags # preloaded: not with the flags of a sanitizer
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -Wall -Wextra -O1 -shared -fPIC $< -o $@
include $(wildcard *.mk)
# ---- running: run_with_data.sh adds --data and --results -------------------------------------------------------
RUN = @sh scripts/run_with_data.sh "$$DATA" $(BUILD)/mnistq
option = $(if $($(2)),--$(1) $($(2)))
TRAINING = $(call option,hidden,HIDDEN) $(call option,seed,SEED) $(call option,epochs,EPOCHS)
LESSON = $(TRAINING) $(call option,calibration,CALIBRATION)
FLAGS = $(LESSON) $(call option,batch,BATCH) $(call option,observer,OBSERVER) $(call option,activations,ACTIVATIONS)
LADDER = ladder --seeds $(or $(LADDER_SEEDS),5) $(call option,group,GROUP) $(call option,seed,SEED) $(call option,epochs,EPOCHS)
FP32 = RESULTS/models/fp32.safetensors

mnist: all ## the exercise: fetches MNIST, writes results/mnist | 4 s, 11 MB
	$(RUN) exercise $(call option,scheme,SCHEME) $(FLAGS)
models: all ## its models, made again only if asked for otherwise | 4 s
	$(RUN) exercise --reuse $(call option,scheme,SCHEME) $(FLAGS)
sweep: all ## the exercise over SEEDS seeds: mean, sd, pairs | 3 s a seed
	$(RUN) sweep --seeds $(or $(SEEDS),10) $(FLAGS)
recipe: all ## training recipes tried on 5,000 images kept aside | 4 min
	$(RUN) recipe $(call option,hidden,HIDDEN) $(call option,seed,SEED) $(call option,epochs,EPOCHS) $(call option,seeds,SEEDS)
	$(RUN) recipe --of rungs $(call option,hidden,HIDDEN) $(call option,seed,SEED) $(call option,seeds,SEEDS)
ladder: all ## every precision from fp32 to 1 bit | 50 s a seed
	$(RUN) $(LADDER) $(call option,hidden,HIDDEN)
ladder-wide: all ## the same for 1024,1024 hidden neurons | 10 min/seed
	$(RUN) $(LADDER) --hidden 1024,1024 --name ladder-wide
ladder-narrow: all ## the same for 32 hidden neurons | 15 s a seed
	$(RUN) $(LADDER) --hidden 32 --name ladder-narrow
mixed: all ## each layer in a format of its own, within a budget | 5 s a seed
	$(RUN) mixed --seeds $(or $(LADDER_SEEDS),5) $(TRAINING)
bench: models ## how fast the models and training are | 2 min
	$(RUN) quantize $(FP32) --data DATA --format int4 --out RESULTS/models/int4.safetensors >/dev/null
	$(RUN) quantize $(FP32) --data DATA --format bf16 --out RESULTS/models/bf16.safetensors >/dev/null
	$(RUN) bench $(FP32) RESULTS/models/bf16.safetensors INT8 RESULTS/models/int4.safetensors --scaling
audit: all ## the lesson's claims; runs the studies it reads | 6 min
	$(RUN) audit $(LESSON)
pitfalls: all ## the lesson's failures: provoked, then repaired | 40 s
	$(RUN) pitfalls $(LESSON)
compare: models ## fp32 against int8: layers, steps, changed digits | 5 s
	$(RUN) compare $(FP32) INT8 --sensitivity
trace: models ## test image IMAGE through int8, every number | 1 s
	$(RUN) trace INT8 --fp32 $(FP32) --image $(or $(IMAGE),0)
	$(RUN) trace INT8 --image $(or $(IMAGE),0) --worksheet >/dev/null && echo "And for a class: worksheet.txt, its answers in worksheet-key.txt"
histogram: models ## how int8 uses its codes; weights as pictures | 2 s
	$(RUN) inspect INT8 --histogram --fp32 $(FP32) --weights-png RESULTS/weights.png
results: all ## every committed table anew, in results/reference | 45 min
	@MAKE='$(MAKE)' sh scripts/results.sh write
results-diff: ## results/mnist beside results/reference/mnist
	@sh scripts/results.sh diff
data: ## fetch MNIST into data/mnist | 11 MB
	@sh scripts/fetch_mnist.sh data/mnist

# ---- checking ---------------------------------------------------------------------------------------------------
test: all $(TESTS) $(TOOLS) $(page_if_possible) $(fuzzers_if_possible) ## build and run every test | 7 min
	@BUILD=$(BUILD) sh tests/run.sh
readme-check: ## the README's figures are those of the tables
	@sh scripts/readme_check.sh README.md
coverage: ## lines and branches that the tests run, by room | 10 min
	@GCOV_ERROR_FILE=/dev/null $(MAKE) BUILD=$(BUILD)/coverage CFLAGS='-O1 -g --coverage -fprofile-update=atomic' test || echo "some tests failed"
	@sh scripts/coverage.sh $(BUILD)/coverage
mutants: all $(TESTS) ## one fault at a time in src: a test catches each | 5 min
	@BUILD=$(BUILD) sh tests/mutants/run.sh $(MUTANT)
format: ## clang-format over every source
	clang-format -i $$(git ls-files '*.c' '*.h')
lint: all ## clang-format, clang-tidy, cppcheck, shellcheck | 3 min
	@BUILD=$(BUILD) FLAGS='$(CPPFLAGS) $(INCLUDES)' sh scripts/lint.sh
clean: ## remove what was built
	rm -rf $(BUILD)
-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
