# make install: the program, the library for other programs, manual and completions made from --help. DESTDIR for packages.
export PREFIX ?= /usr/local
export DESTDIR
VERSION = $(shell sed -n 's/^.define MNISTQ_VERSION "\(.*\)"/\1/p' include/mnistq.h)
INSTALLED := bin/mnistq lib/libmnistq.a lib/pkgconfig/mnistq.pc include/mnistq.h share/man/man1/mnistq.1 \
  share/bash-completion/completions/mnistq share/zsh/site-functions/_mnistq share/doc/mnistq/LICENSE
to = "$$DESTDIR$$PREFIX"
install: all ## for everybody; PREFIX=/usr/local, DESTDIR= | 3 MB
	@install -d $(foreach f,$(INSTALLED),$(to)/$(dir $(f)))
	@install $(BUILD)/mnistq $(to)/bin
	@install -m 644 $(BUILD)/libmnistq.a $(to)/lib
	@install -m 644 include/mnistq.h $(to)/include
	@install -m 644 LICENSE $(to)/share/doc/mnistq
	@printf 'prefix=%s\n\nName: mnistq\nDescription: classify images with quantized networks\nVersion: %s\nCflags: -I$${prefix}/include\nLibs: -L$${prefix}/lib -lmnistq -lm\n' \
	  "$$PREFIX" '$(VERSION)' >$(to)/lib/pkgconfig/mnistq.pc
	@sh scripts/from_help.sh man $(BUILD)/mnistq >$(to)/share/man/man1/mnistq.1
	@sh scripts/from_help.sh bash $(BUILD)/mnistq >$(to)/share/bash-completion/completions/mnistq
	@sh scripts/from_help.sh zsh $(BUILD)/mnistq >$(to)/share/zsh/site-functions/_mnistq
	@echo "installed below $$DESTDIR$$PREFIX: $(INSTALLED)"
uninstall: ## removes what make install wrote
	@rm -f $(foreach f,$(INSTALLED),$(to)/$(f))
