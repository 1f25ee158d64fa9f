# SPDX-License-Identifier: Apache-2.0
#
# make            build build/dink, build/dink-vm, build/dink-agent
# make run        install what is missing, build, bring up scenarios/docker-in-kata.yaml and end at
#                 a root prompt three levels deep (without a terminal: prints a proof of each level)
# make check      all tests, installing what they need; DINK_MUST_WORK=1 makes skips failures
# make check-fast unit tests, goldens and fuzz corpora: no root, no engines, under a minute
# make check-slow the end-to-end tests that take too long for make check (tests/slow): every scenario
#                 from up to down, and more; SLOW="NAME..." picks files
# make conformance   the same engine commands with runc and with dink-vm, compared; needs root, takes
#                 about 20 minutes; CONFORMANCE="docker WORDS" picks, LONG=1 adds the long ones;
#                 CONFORMANCE=trixie runs them on the engines of Debian 13;
#                 CONFORMANCE=volume is file-system exercisers on a volume of a container
# make stress-disks   64 processes make, clone, attach and remove disks, 10,000 times in all, and what is
#                 left is counted; needs root, takes minutes; STRESS="8 500" is smaller
# make bench      benchmarks; BENCH=name picks one
# make lint       format, include rule, clang-tidy, cppcheck, shellcheck, both compilers
# make fmt        rewrite the C sources in the project's format
# make deps       install the Debian packages that building and running need (root)
# make install    into $(DESTDIR)$(PREFIX)
# make clean      remove build/; caches and state are left alone
#
# CC=clang, O=build/clang picks another compiler and output folder. SAN=1 builds under ASan+UBSan.

CC      ?= gcc
O       ?= build
PREFIX  ?= /usr/local
SAN     ?=
V       ?=
Q       := $(if $(V),,@)

WARN    := -Wall -Wextra -Wformat=2 -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
           -Wold-style-definition -Wundef -Wwrite-strings -Wpointer-arith -Wvla \
           -Wimplicit-fallthrough
HARDEN  := $(if $(SAN),,-D_FORTIFY_SOURCE=2) -fstack-protector-strong
SANFLAGS := $(if $(SAN),-fsanitize=address -fsanitize=undefined -fno-sanitize-recover=undefined \
           -fno-omit-frame-pointer) $(if $(FUZZING),-fsanitize=fuzzer-no-link)
VERSION := 0.1
CFLAGS  ?= -O2 -g
override CFLAGS += -std=gnu17 $(WARN) $(HARDEN) $(SANFLAGS) -fPIE -D_GNU_SOURCE \
           -DDINK_VERSION='"$(VERSION)"' -I. -MMD -MP $(if $(WERROR),-Werror)
LDHARD  := -Wl,-z,relro,-z,now -Wl,--gc-sections
LIBS    := -lyaml -ljson-c -lcurl -lcrypto -lblkid -lbtrfsutil -lseccomp -lcap-ng -larchive -lpthread
# dink-vm runs inside layers that have no libraries of ours; a guest has those of crun, and libc is
# one of them, so dink-agent carries only what else it needs
STATIC_LIBS := -ljson-c -lblkid -lcap-ng -lseccomp -luuid -lpthread

AGENT_LIBS := -Wl,--as-needed -Wl,-Bstatic -ljson-c -lblkid -luuid -Wl,-Bdynamic

LIB_SRC   := $(sort $(wildcard provision/*/*.c loopdev/*.c kernel-configs/*.c images/*.c))
DINK_SRC  := $(sort $(wildcard cmd/dink/*.c))
VM_SRC    := $(sort $(wildcard cmd/dink-vm/*.c))
AGENT_SRC := $(sort $(wildcard cmd/dink-agent/*.c))
GUEST_LIB := cmd/dink-agent/guest-lib/libsystemd
UNIT_SRC  := $(sort $(wildcard tests/unit/test_*.c))
FUZZ_SRC  := $(sort $(wildcard tests/fuzz/fuzz_*.c))
STRESS_SRC := $(sort $(wildcard tests/stress/*.c))
ALL_SRC   := $(LIB_SRC) $(DINK_SRC) $(VM_SRC) $(AGENT_SRC) $(GUEST_LIB).c $(UNIT_SRC) $(FUZZ_SRC) \
             $(STRESS_SRC)
HEADERS   := $(sort $(wildcard provision/*/*.h loopdev/*.h kernel-configs/*.h images/*.h cmd/*/*.h \
             tests/*/*.h))

obj = $(patsubst %.c,$(O)/obj/%.o,$(1))
PROGRAMS := $(O)/dink $(if $(SAN),,$(O)/dink-vm $(O)/dink-agent $(O)/guest-lib/libsystemd.so.0)
UNIT  := $(patsubst tests/unit/%.c,$(O)/unit/%,$(UNIT_SRC))
FUZZ  := $(patsubst tests/fuzz/%.c,$(O)/fuzz/%,$(FUZZ_SRC))

all: $(PROGRAMS)

$(O)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC    $<")
	$(Q)$(CC) $(CFLAGS) -ffunction-sections -fdata-sections -c -o $@ $<

$(O)/libdink.a: $(call obj,$(LIB_SRC))
	$(Q)rm -f $@ && ar rcs $@ $^

$(O)/dink: $(call obj,$(DINK_SRC)) $(O)/libdink.a
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(CC) $(CFLAGS) -pie $(LDHARD) -o $@.new $^ $(LIBS) && mv $@.new $@

$(O)/dink-vm: $(call obj,$(VM_SRC)) $(O)/libdink.a
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(CC) $(CFLAGS) -static-pie $(LDHARD) -o $@.new $^ $(STATIC_LIBS) && mv $@.new $@

$(O)/dink-agent: $(call obj,$(AGENT_SRC)) $(O)/libdink.a
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(CC) $(CFLAGS) -no-pie -s $(LDHARD) -o $@.new $^ $(AGENT_LIBS) && mv $@.new $@

$(O)/guest-lib/libsystemd.so.0: $(call obj,$(GUEST_LIB).c) $(GUEST_LIB).map
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LD    $@")
	$(Q)$(CC) -shared -nostdlib -s $(LDHARD) -Wl,-soname,$(@F) \
	  -Wl,--version-script,$(GUEST_LIB).map -o $@.new $< && mv $@.new $@

$(O)/unit/%: $(O)/obj/tests/unit/%.o $(O)/libdink.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -pie -o $@ $^ -lcmocka $(LIBS)

# With FUZZING=1 and clang a libFuzzer program (tests/fuzz/run), else it replays the files it is given.
# The monitor's has no host to change and its own clock.
$(O)/fuzz/fuzz_monitor: WRAP := -Wl,--wrap=dink_now_ms,--wrap=poll,--wrap=usleep \
  -Wl,--wrap=mon_enter_root,--wrap=dink_links_count,--wrap=dink_links_scan,--wrap=dink_tap_join
$(O)/fuzz/%: $(O)/obj/tests/fuzz/%.o $(if $(FUZZING),,tests/fuzz/replay.c) $(O)/libdink.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(if $(FUZZING),-fsanitize=fuzzer) -pie $(WRAP) -o $@ \
	  $(filter-out %.a,$^) $(O)/libdink.a $(LIBS)

$(O)/stress/%: $(O)/obj/tests/stress/%.o $(O)/libdink.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -pie -o $@ $^ $(LIBS)

unit: $(UNIT)
fuzz: $(FUZZ)

check: deps
	$(Q)$(MAKE) --no-print-directory all
	$(Q)tests/run all
check-fast: all
	$(Q)tests/run fast
check-slow: deps
	$(Q)$(MAKE) --no-print-directory all
	$(Q)tests/run slow $(SLOW)
conformance: all
	$(Q)tests/conformance/run $(CONFORMANCE)
stress-disks: $(O)/stress/disks
	$(Q)$< $(STRESS)
bench: all
	$(Q)tests/bench/run $(BENCH)
lint:
	$(Q)tests/lint
fmt:
	$(Q)clang-format -i $(ALL_SRC) $(HEADERS)
deps:
	$(Q)tests/deps

run:
	$(Q)tests/deps run
	$(Q)$(MAKE) --no-print-directory all
	$(Q)$(O)/dink up --shell scenarios/docker-in-kata.yaml

install: all
	install -D -m 755 $(O)/dink $(DESTDIR)$(PREFIX)/bin/dink
	install -D -m 755 $(O)/dink-vm $(DESTDIR)$(PREFIX)/bin/dink-vm
	install -D -m 755 $(O)/dink-agent $(DESTDIR)$(PREFIX)/lib/dink/dink-agent
	install -D -m 644 $(O)/guest-lib/libsystemd.so.0 \
	  $(DESTDIR)$(PREFIX)/lib/dink/guest-lib/libsystemd.so.0
	for d in kernel-configs images scenarios; do \
	  mkdir -p $(DESTDIR)$(PREFIX)/share/dink/$$d && \
	  cp -R $$d/. $(DESTDIR)$(PREFIX)/share/dink/$$d/ && \
	  find $(DESTDIR)$(PREFIX)/share/dink/$$d -name '*.[ch]' -delete; done
	rm -rf $(DESTDIR)$(PREFIX)/share/dink/scenarios/registry-shared/secrets
	for p in docs/man/*; do n=$${p##*.}; \
	  install -D -m 644 $$p $(DESTDIR)$(PREFIX)/share/man/man$$n/$${p##*/}; done
	mkdir -p $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	$(O)/dink complete bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/dink

clean:
	rm -rf build

print-%:
	@echo $($*)

.PHONY: all run check check-fast check-slow conformance stress-disks bench lint fmt deps install clean unit fuzz
.SECONDARY:
-include $(patsubst %.o,%.d,$(call obj,$(ALL_SRC)))
