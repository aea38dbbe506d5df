# mnistq export --format onnx: ONNX's own schema through protobuf-c, where both are there (scripts/install_deps.sh --onnx).
ONNX_PROTO := $(firstword $(wildcard /usr/include/onnx/onnx.proto /usr/local/include/onnx/onnx.proto))
ONNX_LINKS = $(shell echo 'int main(void) { return 0; }' | $(CC) $(CPPFLAGS) -x c - -o /dev/null $(LDFLAGS) -lprotobuf-c 2>/dev/null && echo yes)
ifneq ($(and $(ONNX_PROTO),$(shell command -v protoc-c),$(ONNX_LINKS)),)
LIBRARIES += -lprotobuf-c
.PHONY: $(if $(wildcard $(BUILD)/onnx.pb-c.h),,$(BUILD)/onnx.pb-c.h)# .SECONDARY: else it would not be missed
$(BUILD)/onnx.pb-c.h: $(ONNX_PROTO) $(BUILD)/flags
	@protoc-c --c_out=$(BUILD) -I$(dir $(ONNX_PROTO)) onnx.proto
$(BUILD)/obj/onnx.pb-c.o: $(BUILD)/onnx.pb-c.h
	@mkdir -p $(@D)
	@$(COMPILE) -w -c $(BUILD)/onnx.pb-c.c -o $@ $(LOG)
$(call objects,src/export/onnx.c): INCLUDES += -DHAVE_ONNX
$(call objects,src/export/onnx.c): $(BUILD)/onnx.pb-c.h
$(BUILD)/internal.a: $(BUILD)/obj/onnx.pb-c.o
else ifneq ($(wildcard $(BUILD)/onnx.pb-c.h),)
$(shell rm -f $(BUILD)/onnx.pb-c.* $(call objects,src/export/onnx.c) $(BUILD)/internal.a)# they were here
endif
