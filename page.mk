# The page: $(BUILD)/page/ holds what `mnistq page` joins with models, images and tables. engine.wasm is
# src/page/engine*.c over the rooms of the library, by clang with wasi-libc: Emscripten would bring nothing more.
WASM_CC ?= clang
# Where -O is given at link time clang runs wasm-opt, if that is there, and it fails on SIMD: -O3 compiles, linking is
# without.
WASM_FLAGS := --target=wasm32-wasi -std=c11 -D_GNU_SOURCE -O3 -msimd128 -mbulk-memory -ffp-contract=off -fno-math-errno \
  -Wall -Wextra -Wno-unknown-pragmas -ffunction-sections -fdata-sections -Isrc -Iinclude
WASM_LINK := --target=wasm32-wasi -mexec-model=reactor -Wl,--strip-all,--gc-sections,--stack-first,-z,stack-size=1048576
WASM_SOURCES := $(filter-out src/nn/gemm.c src/model/embed% src/base/file.c src/base/progress.c \
  src/model/safetensors_file.c src/data/picture_file.c src/data/picture_write.c, \
  $(wildcard src/page/engine*.c $(EMBED_ROOMS:%=src/%/*.c) src/data/picture*.c src/data/doubts.c))
WASM_OBJECTS := $(WASM_SOURCES:%.c=$(BUILD)/obj/wasm/%.o)
wasm_probe = echo 'int f(void) { return 0; }' | $(WASM_CC) $(WASM_LINK) -include stdlib.h -x c - -o $(1) 2>/dev/null
$(BUILD)/page/probe.wasm: page.mk
	@mkdir -p $(@D)
	@$(call wasm_probe,$@) || { echo 'make: the page needs clang, lld and wasi-libc; `scripts/install_deps.sh --page` installs them' >&2; exit 1; }
$(BUILD)/obj/wasm/%.o: %.c page.mk | $(BUILD)/page/probe.wasm
	@mkdir -p $(@D)
	$(Q)$(WASM_CC) $(WASM_FLAGS) -MMD -MP -c $< -o $@
$(BUILD)/page/engine.wasm: $(WASM_OBJECTS) | $(BUILD)/page/probe.wasm
	$(Q)$(WASM_CC) $(WASM_LINK) $^ -o $@

# One script in a fixed order, without its lines of comment; one more section is one more file, found by its name.
PAGE_SCRIPTS := $(foreach part,engine texts chart page section_,$(sort $(wildcard src/page/$(part)*.js)))
$(BUILD)/page/page.js: $(PAGE_SCRIPTS) page.mk
	@mkdir -p $(@D)
	@{ grep -hv '^ *//' $(PAGE_SCRIPTS); echo 'boot();'; } >$@
$(BUILD)/page/page.html $(BUILD)/page/page.css: $(BUILD)/page/%: src/page/%
	@mkdir -p $(@D)
	@cp $< $@
PAGE_PARTS := $(addprefix $(BUILD)/page/,engine.wasm page.js page.html page.css)
# For make test, which does without them where the tools are missing.
page_if_possible = $(if $(filter test,$(MAKECMDGOALS)),$(shell $(call wasm_probe,/dev/null) && echo $(PAGE_PARTS)))

page: all $(PAGE_PARTS) ## the lesson as one offline file with the engine | 20 s
	$(RUN) exercise --reuse --scheme both $(FLAGS)
	@sh scripts/run_with_data.sh "$$DATA" sh scripts/page_models.sh $(BUILD)/mnistq DATA RESULTS/models
	$(RUN) page --parts $(BUILD)/page --reference results/reference/mnist
test-page: all $(PAGE_PARTS) ## the page in Chromium, drawn and dragged | 5 min
	@sh scripts/install_deps.sh --browser || echo 'test-page: on without what could not be installed'
	@sh scripts/run_with_data.sh "$$DATA" sh tests/page/browser.sh $(BUILD) DATA RESULTS/page.html
