# mnistq: `make mnist` runs the exercise, `make test` is the gate, `make help` lists the rest.
# Every variable can be set on the command line: make mnist SCHEME=per-tensor HIDDEN=128 SEED=3

CC ?= cc
BUILD ?= build
CFLAGS ?= -O3 -g

# ---- what the program is built with -----------------------------------------------------------------------
STANDARD := -std=c11 -D_GNU_SOURCE -Wall -Wextra -ffp-contract=off -fno-math-errno -Isrc -Iinclude
ifneq ($(shell uname),Darwin)
OPENMP := -fopenmp
else
OPENMP := -Xpreprocessor -fopenmp -lomp
endif
COMPILE = $(CC) $(STANDARD) $(INCLUDES) $(CFLAGS) $(OPENMP) -MMD -MP

LIBRARY_SOURCES := $(filter-out src/nn/gemm_plain.c,$(wildcard $(foreach room,base data nn quant quant/kernels lowbit model,src/$(room)/*.c)))
PROGRAM_SOURCES := $(wildcard src/cli/*.c src/studies/*.c)
TEST_SOURCES := $(wildcard tests/test_*.c)
TOOL_SOURCES := tests/http_server.c tests/make_idx.c
objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
TESTS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(TEST_SOURCES))
TOOLS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(TOOL_SOURCES))

# ---- the exercise's variables: empty ones leave the program's default ----------------------------------------
DATA ?= data/mnist
SCHEME ?=
HIDDEN ?=
SEED ?=
EPOCHS ?=
BATCH ?=
OBSERVER ?=
ACTIVATIONS ?=
CALIBRATION ?=
SEEDS ?= 10
LADDER_SEEDS ?= 5
GROUP ?=
RESULTS ?=
export RESULTS
option = $(if $(2),--$(1) $(2))
FLAGS = $(strip $(call option,hidden,$(HIDDEN)) $(call option,seed,$(SEED)) $(call option,epochs,$(EPOCHS)) \
  $(call option,batch,$(BATCH)) $(call option,observer,$(OBSERVER)) $(call option,activations,$(ACTIVATIONS)) \
  $(call option,calibration,$(CALIBRATION)))

.PHONY: all help mnist sweep ladder ladder-wide ladder-narrow bench bench-peers peers-install audit pitfalls compare trace histogram data test asan valgrind clean
.DEFAULT_GOAL := all

all: $(BUILD)/mnistq $(BUILD)/libmnistq.a ## build the program and the library

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'
	@echo "  variables: SCHEME=per-channel|per-tensor|both HIDDEN=256,256 SEED=1 EPOCHS=1 BATCH=64 CALIBRATION=512"
	@echo "             OBSERVER=minmax|moving-average|percentile|histogram ACTIVATIONS=asymmetric|symmetric SEEDS=10"
	@echo "             LADDER_SEEDS=5 GROUP=56 IMAGE=0 (of trace) DATA=data/mnist|digits|FOLDER RESULTS=FOLDER"
	@echo "  environment: MNIST_MIRROR=https://... or file:///..., where to fetch MNIST from"

# ---- building -----------------------------------------------------------------------------------------------
# Made once a build folder, before anything else (make restarts itself after it): installs what is missing, or
# says what to type and stops; then INCLUDES and LIBRARIES are what pkg-config knows of them.
PACKAGES := openblas libcjson libcrypto zlib
$(BUILD)/config.mk: scripts/install_deps.sh
	@CC="$(CC)" sh scripts/install_deps.sh
	@mkdir -p $(@D)
	@echo "INCLUDES := $$(pkg-config --cflags $(PACKAGES) 2>/dev/null)" > $@
	@echo "LIBRARIES := $$(pkg-config --libs $(PACKAGES) 2>/dev/null || echo -lopenblas -lcjson -lcrypto -lz) -lm" >> $@
ifneq ($(or $(filter-out help clean data,$(MAKECMDGOALS)),$(if $(MAKECMDGOALS),,all)),)
include $(BUILD)/config.mk
endif

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  cc $<"
	@$(COMPILE) -c $< -o $@

# All rooms but the program's, for it and for the tests; the library for other programs is embed.mk's.
$(BUILD)/internal.a: $(call objects,$(LIBRARY_SOURCES))
	@rm -f $@; $(AR) rcs $@ $^

# The commands and studies, apart from main.c, so that tests link them too.
$(BUILD)/program.a: $(call objects,$(PROGRAM_SOURCES))
	@rm -f $@; $(AR) rcs $@ $^

$(BUILD)/mnistq: $(call objects,src/main.c) $(BUILD)/program.a $(BUILD)/internal.a
	@echo "  ld $@"
	@$(CC) $(CFLAGS) $(OPENMP) $^ $(LIBRARIES) -o $@

$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(BUILD)/program.a $(BUILD)/internal.a
	@mkdir -p $(@D)
	@echo "  ld $@"
	@$(CC) $(CFLAGS) $(OPENMP) $^ -lcmocka $(LIBRARIES) -o $@

include embed.mk

# ---- running ------------------------------------------------------------------------------------------------
# Exit 3 of the fetch script: no mirror can be reached. The built-in digits then stand in, under their own name.
mnist: all ## fetch MNIST, then the whole exercise: results/mnist
	@sh scripts/run_with_data.sh '$(DATA)' $(BUILD)/mnistq exercise $(call option,scheme,$(SCHEME)) $(FLAGS)

sweep: all ## the exercise over SEEDS seeds: mean, sd, paired counts
	@sh scripts/run_with_data.sh '$(DATA)' $(BUILD)/mnistq sweep --seeds $(SEEDS) $(FLAGS)

LADDER = sh scripts/run_with_data.sh '$(DATA)' $(BUILD)/mnistq ladder --seeds $(LADDER_SEEDS) \
  $(strip $(call option,group,$(GROUP)) $(call option,seed,$(SEED)) $(call option,epochs,$(EPOCHS)))
ladder: all ## every precision from fp32 to 2 bits, mean over LADDER_SEEDS seeds
	@$(LADDER) $(call option,hidden,$(HIDDEN))

ladder-wide: all ## the same for 1024,1024 hidden neurons
	@$(LADDER) --hidden 1024,1024 --name ladder-wide

ladder-narrow: all ## the same for 32 hidden neurons
	@$(LADDER) --hidden 32 --name ladder-narrow

# The models of `make mnist`
INT8 = RESULTS/models/int8-$(if $(filter per-tensor,$(SCHEME)),per-tensor,per-channel).safetensors
FP32 = RESULTS/models/fp32.safetensors

bench: mnist ## how fast: models of `make mnist` at several batch sizes, training, scaling
	@for format in int4 bf16; do sh scripts/run_with_data.sh '$(DATA)' $(BUILD)/mnistq quantize $(FP32) --data DATA \
	  --format $$format --out RESULTS/models/$$format.safetensors >/dev/null || exit 1; done
	@sh scripts/run_with_data.sh '$(DATA)' $(BUILD)/mnistq bench $(FP32) RESULTS/models/bf16.safetensors $(INT8) \
	  RESULTS/models/int4.safetensors --scaling

audit: all ## the lesson's figures and claims beside what comes out here
	@sh scripts/run_with_data.sh '$(DATA)' $(BUILD)/mnistq audit \
	  $(strip $(call option,hidden,$(HIDDEN)) $(call option,seed,$(SEED)) $(call option,epochs,$(EPOCHS)) \
	  $(call option,calibration,$(CALIBRATION)))

pitfalls: all ## the lesson's failures: each provoked, measured, repaired
	@sh scripts/run_with_data.sh '$(DATA)' $(BUILD)/mnistq pitfalls \
	  $(strip $(call option,hidden,$(HIDDEN)) $(call option,seed,$(SEED)) $(call option,epochs,$(EPOCHS)) \
	  $(call option,calibration,$(CALIBRATION)))

compare: mnist ## fp32 against int8 of `make mnist`: layers, changed digits, what each step costs
	@sh scripts/run_with_data.sh '$(DATA)' $(BUILD)/mnistq compare $(FP32) $(INT8) --sensitivity

IMAGE ?= 0
trace: mnist ## test image IMAGE through int8, every number; and a worksheet of it for a class
	@sh scripts/run_with_data.sh '$(DATA)' $(BUILD)/mnistq trace $(INT8) --fp32 $(FP32) --image $(IMAGE)
	@sh scripts/run_with_data.sh '$(DATA)' $(BUILD)/mnistq trace $(INT8) --image $(IMAGE) --worksheet >/dev/null

histogram: mnist ## how int8 uses its codes, and layer 1 as pictures: weights.png
	@sh scripts/run_with_data.sh '$(DATA)' $(BUILD)/mnistq inspect $(INT8) --histogram --fp32 $(FP32) \
	  --weights-png RESULTS/weights.png

bench-peers: mnist ## the same models in PyTorch and ONNX Runtime, turn by turn: results/mnist/peers
	@sh scripts/run_with_data.sh '$(DATA)' $(BUILD)/mnistq peers $(FP32) $(INT8)

peers-install: ## what bench-peers compares with, into the system (apt) and build/peers (npm)
	@sh scripts/peers/install.sh

data: ## fetch MNIST into data/mnist
	sh scripts/fetch_mnist.sh '$(DATA)'

test: all $(TESTS) $(TOOLS) ## build and run every test
	@BUILD=$(BUILD) sh tests/run.sh

asan: ## the whole suite under AddressSanitizer and UBSan
	@$(MAKE) BUILD=build/asan CFLAGS="-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer" test

# Kernels without fused multiply-add, which valgrind computes a hundred times slower; one thread, since it counts the
# stacks of OpenBLAS's others as possibly lost.
valgrind: all ## the exercise on the built-in digits under memcheck: minutes
	OPENBLAS_CORETYPE=Sandybridge OPENBLAS_NUM_THREADS=1 valgrind --leak-check=full --error-exitcode=1 \
	  $(BUILD)/mnistq exercise --data digits --results $(BUILD)/valgrind

clean: ## remove what was built
	rm -rf $(BUILD)

.SECONDARY:
-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
