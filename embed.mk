# build/libmnistq.a, what include/mnistq.h promises: the rooms below compiled without OpenMP, with gemm_plain.c for
# gemm.c. Each of its two members is linked in itself, keeps what its functions reach, and exports only mnistq_*.
EMBED_ROOMS := base nn quant quant/kernels lowbit model
EMBED_SOURCES := $(filter-out src/nn/gemm.c src/model/embed%,$(wildcard $(EMBED_ROOMS:%=src/%/*.c)))
EMBED_MEMBERS := $(BUILD)/embed/embed.o $(BUILD)/embed/embed_file.o
EMBED_FLAGS := -Wno-unknown-pragmas -Wframe-larger-than=16384 -fPIC -MMD -MP

$(BUILD)/obj/embed/%.o: %.c $(BUILD)/flags
	$(say_once)@mkdir -p $(@D)
	$(Q)$(filter-out $(OPENMP),$(COMPILE)) $(INCLUDES) $(EMBED_FLAGS) -c $< -o $@ $(LOG)
# One section a function, of which the linker keeps some; but the interface is one section, kept whole.
$(EMBED_SOURCES:%.c=$(BUILD)/obj/embed/%.o): EMBED_FLAGS += -ffunction-sections -fdata-sections

$(BUILD)/embed/rooms.a: $(EMBED_SOURCES:%.c=$(BUILD)/obj/embed/%.o)
	@mkdir -p $(@D)
	@rm -f $@; $(AR) rcs $@ $^

$(BUILD)/embed/embed.o: ROOT := mnistq_open_memory
$(BUILD)/embed/embed_file.o: ROOT := mnistq_open
$(EMBED_MEMBERS): $(BUILD)/embed/%.o: $(BUILD)/obj/embed/src/model/%.o $(BUILD)/embed/rooms.a
ifeq ($(shell uname),Darwin)
	@$(CC) -r -Wl,-exported_symbol,'_mnistq_*' $^ -o $@
else
	@$(CC) -r -nostdlib -Wl,--gc-sections -Wl,--entry=$(ROOT) $^ -o $@
	@"$$($(CC) -print-prog-name=objcopy)" --wildcard --keep-global-symbol='mnistq_*' --strip-unneeded $@
endif

$(BUILD)/libmnistq.a: $(EMBED_MEMBERS)
	@rm -f $@; $(AR) rcs $@ $^
