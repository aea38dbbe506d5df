# The page: build/page/ holds what `mnistq page` joins with models, images and tables. engine.wasm is src/page/engine*.c
# over the rooms of the library, by clang with wasi-libc: no browser and no Emscripten is needed to build it.
WASM_CC ?= clang
# wasm-opt would be run by clang at link time where -O is given, and fails on SIMD: -O3 compiles, linking has none.
WASM_FLAGS := --target=wasm32-wasi -std=c11 -D_GNU_SOURCE -O3 -msimd128 -mbulk-memory -ffp-contract=off -fno-math-errno \
  -Wall -Wextra -Wno-unknown-pragmas -ffunction-sections -fdata-sections -Isrc -Iinclude
WASM_SOURCES := $(wildcard src/page/engine*.c) src/data/picture.c $(filter-out \
  src/nn/gemm.c src/model/embed% src/base/file.c src/base/progress.c src/model/%_file.c, \
  $(wildcard $(EMBED_ROOMS:%=src/%/*.c))) src/model/model_file.c
WASM_OBJECTS := $(WASM_SOURCES:%.c=$(BUILD)/obj/wasm/%.o)
$(BUILD)/obj/wasm/%.o: %.c page.mk
	@command -v $(WASM_CC) >/dev/null || { echo 'make: the page needs clang, lld and wasi-libc; scripts/install_deps.sh --page gets them' >&2; exit 1; }
	@mkdir -p $(@D)
	$(Q)$(WASM_CC) $(WASM_FLAGS) -MMD -MP -c $< -o $@
$(BUILD)/page/engine.wasm: $(WASM_OBJECTS)
	@mkdir -p $(@D)
	$(Q)$(WASM_CC) --target=wasm32-wasi -mexec-model=reactor -Wl,--strip-all,--gc-sections,--stack-first \
	  -Wl,-z,stack-size=1048576 $^ -o $@

# One script in a fixed order; a section more is a file more, found by its name.
PAGE_SCRIPTS := src/page/engine.js $(foreach part,texts chart page section_,$(sort $(wildcard src/page/$(part)*.js)))
$(BUILD)/page/page.js: $(PAGE_SCRIPTS) page.mk
	@mkdir -p $(@D)
	@{ cat $(PAGE_SCRIPTS); echo 'boot();'; } >$@
$(BUILD)/page/page.html $(BUILD)/page/page.css: $(BUILD)/page/%: src/page/%
	@mkdir -p $(@D)
	@cp $< $@
PAGE_PARTS := $(addprefix $(BUILD)/page/,engine.wasm page.js page.html page.css)

page: all $(PAGE_PARTS) ## the lesson as one offline file, in which the engine runs | 20 s
	$(RUN) exercise --reuse --scheme both $(FLAGS) >/dev/null
	@sh scripts/run_with_data.sh "$$DATA" sh scripts/page_models.sh $(BUILD)/mnistq DATA RESULTS/models
	$(RUN) page --parts $(BUILD)/page
