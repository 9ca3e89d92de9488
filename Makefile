# SPDX-License-Identifier: Apache-2.0
# Everything that a target changes on the machine (packages, huge pages) it says first, and does only as root.
# SETUP=no leaves the machine alone.

SETUP ?= yes
export SETUP

# Tests hold at most this many huge pages of 2 MiB at a time.
TEST_PAGES := 64
# The memory of the guest in Examples/qemu-guest: 128 MiB.
GUEST_PAGES := 64
# QEMU of this suite of Debian moves the guest in these ways (guest-cpr).
QEMU_SUITE ?= sid
# A machine that the installed QEMU has, too: the guest moves from the installed QEMU to the other one.
OLD_MACHINE ?= pc-i440fx-7.2
GUEST_BY ?= ignore-shared cpr-transfer cpr-exec
SWIFT_SOURCES := Sources Tests Examples scripts Package.swift $(if $(shell find Benchmarks -name '*.swift' 2>/dev/null),Benchmarks)

# As many tests at once as there are processors, so that one that waits for a program finds a thread when that has come, and
# does not compete with the programs of all the others. Swift before 6.3 has no such option.
WIDTH := --experimental-maximum-parallelization-width
AT_ONCE = $(if $(shell swift test --help-hidden | grep -e $(WIDTH)),$(WIDTH) $(shell nproc))
# Tests make programs crash on purpose; a backtracer would keep their pipes open.
TEST = SWIFT_BACKTRACE=enable=no scripts/with-huge-pages $(TEST_PAGES) swift test --disable-xctest $(AT_ONCE)
# 0 where ptrace(2) is forbidden, which the leak detector needs.
LEAKS ?= 1

# Programs that need nothing of the machine that they run on.
# The option makes code ask for the metadata of a generic type directly, and not by its mangled name, which the runtime
# would take apart, and look for each conformance among all of the program: two thirds of the instructions of a start.
# The toolchain's own linker does not warn of functions of the C library that no program here calls (dlopen, getpwnam).
STATIC_BUILD := LIVEUPDATE_STATIC=1 swift build -c release --scratch-path .build-static --static-swift-stdlib \
	-Xswiftc -Xfrontend -Xswiftc -disable-concrete-type-metadata-mangled-name-accessors -Xswiftc -use-ld=lld

# Given on the command line; the shell's own SECONDS would be how long it runs.
RUN_SECONDS := $(if $(filter command line,$(origin SECONDS)),$(SECONDS),60)

# luoctl bench becomes luo-bench, which runs the others. luoctl finds luo-bench beside itself, or in libexec.
BENCH_PROGRAMS := luo-bench $(addprefix luo-bench-,image service caller) \
	$(addprefix luo-floor-,preserve exec cycle send read call notify)
LIBEXEC := libexec/liveupdate

DOC_DIR ?= .build-doc/site
prefix ?= /usr/local
libdir ?= $(prefix)/lib
DESTDIR ?=
BASH_COMPLETION := share/bash-completion/completions/luoctl
ZSH_COMPLETION := share/zsh/site-functions/_luoctl
FISH_COMPLETION := share/fish/vendor_completions.d/luoctl.fish
UNITS := lib/systemd/system
SYSUSERS := lib/sysusers.d/luod.conf
# The documents are installed with the tree's own structure, so that the links between them and the names of documents in
# messages and man pages, such as docs/run.md, lead to files.
DOCUMENTS := share/doc/liveupdate
ROOT_DOCUMENTS := README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE
MAN_SECTIONS := 1 5 7 8

C_LIBRARY = $(MAKE) -C libliveupdate BUILD=$(CURDIR)/.build-static/libliveupdate prefix=$(prefix) libdir=$(libdir) \
	DESTDIR=$(abspath $(DESTDIR))

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup build install uninstall demo test test-thread test-address fuzz bench kill-sweep daemon-kill-sweep \
	hand-over-sweep stress attack test-c test-python vmtest kexec kexec-luo kexec-debian kexec-guest kexec-kills luo-kernel \
	guest guest-cpr consumer deb test-deb nightly doc format lint clean

help: ## say what the targets do
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | expand -t 14

setup: ## look for the tools and libraries; as root, install the missing packages (SETUP=no: only say which)
	@scripts/setup

build: ## build the library and all programs, optimized
	swift build -c release

install: setup ## install luoctl, luod, luo-bench, the client library in C, man pages, documents, shell completions, luod's units and group (prefix=/usr/local DESTDIR=)
	$(STATIC_BUILD)
	scripts/manuals .build-static/release .build-static/share $(prefix)/$(DOCUMENTS)
	install -s -D -m 755 .build-static/release/luoctl $(DESTDIR)$(prefix)/bin/luoctl
	install -s -D -m 755 .build-static/release/luod $(DESTDIR)$(prefix)/sbin/luod
	install -s -D -m 755 -t $(DESTDIR)$(prefix)/$(LIBEXEC) $(addprefix .build-static/release/,$(BENCH_PROGRAMS))
	$(foreach section,$(MAN_SECTIONS),install -D -m 644 -t $(DESTDIR)$(prefix)/share/man/man$(section) \
		.build-static/share/man$(section)/*.$(section) &&) true
	install -D -m 644 .build-static/share/luoctl.bash $(DESTDIR)$(prefix)/$(BASH_COMPLETION)
	install -D -m 644 .build-static/share/luoctl.zsh $(DESTDIR)$(prefix)/$(ZSH_COMPLETION)
	install -D -m 644 .build-static/share/luoctl.fish $(DESTDIR)$(prefix)/$(FISH_COMPLETION)
	install -D -m 644 -t $(DESTDIR)$(prefix)/$(UNITS) systemd/luod.socket systemd/luod.service
	sed -i 's|SBINDIR/|$(prefix)/sbin/|' $(DESTDIR)$(prefix)/$(UNITS)/luod.service
	install -D -m 644 systemd/luod.sysusers $(DESTDIR)$(prefix)/$(SYSUSERS)
	install -D -m 644 systemd/luod-kexec.conf $(DESTDIR)$(prefix)/$(DOCUMENTS)/examples/kexec.conf
	install -D -m 644 -t $(DESTDIR)$(prefix)/$(DOCUMENTS) $(ROOT_DOCUMENTS)
	install -D -m 644 -t $(DESTDIR)$(prefix)/$(DOCUMENTS)/docs docs/*.md
	install -D -m 644 -t $(DESTDIR)$(prefix)/$(DOCUMENTS)/docs/images docs/images/*
	install -D -m 644 -t $(DESTDIR)$(prefix)/$(DOCUMENTS)/docs/ci docs/ci/*
	$(C_LIBRARY) install

uninstall: ## remove what install put there (the same prefix= and DESTDIR=)
	rm -f $(DESTDIR)$(prefix)/bin/luoctl $(DESTDIR)$(prefix)/sbin/luod
	rm -f $(addprefix $(DESTDIR)$(prefix)/share/man/,man1/luoctl.1 man1/luoctl-*.1 man5/luod-state.5 man7/liveupdate.7 \
		man8/luoctl-*.8 man8/luod.8)
	rm -f $(addprefix $(DESTDIR)$(prefix)/$(LIBEXEC)/,$(BENCH_PROGRAMS))
	if [ -d $(DESTDIR)$(prefix)/$(LIBEXEC) ]; then rmdir --ignore-fail-on-non-empty $(DESTDIR)$(prefix)/$(LIBEXEC); fi
	rm -f $(addprefix $(DESTDIR)$(prefix)/$(UNITS)/,luod.socket luod.service) $(DESTDIR)$(prefix)/$(SYSUSERS)
	rm -rf $(DESTDIR)$(prefix)/$(DOCUMENTS)
	rm -f $(addprefix $(DESTDIR)$(prefix)/,$(BASH_COMPLETION) $(ZSH_COMPLETION) $(FISH_COMPLETION))
	$(C_LIBRARY) uninstall

demo: setup ## preserve real memory across a real update of a process (DEMO_ARGS="--files 8"); reserves huge pages
	$(STATIC_BUILD) --product luoctl
	.build-static/release/luoctl demo $(if $(filter no,$(SETUP)),--no-reserve) $(DEMO_ARGS)

test: setup ## run the tests; reserves huge pages for them (SETUP=no: does not)
	swift build
	$(TEST)

test-thread: setup ## the same under ThreadSanitizer, without the tests of programs and of the report
	LIVEUPDATE_CORE=1 $(TEST) --sanitize=thread --scratch-path .build-thread

test-address: setup ## the same under AddressSanitizer, with leak detection (LEAKS=0: without)
	LIVEUPDATE_CORE=1 ASAN_OPTIONS=detect_leaks=$(LEAKS) $(TEST) --sanitize=address --scratch-path .build-address

fuzz: setup ## fuzz the readers of the journal, trees, arenas, records and messages, and as root luod's socket (FUZZ_SECONDS=60 each)
	Tests/Fuzz/fuzz
	$(STATIC_BUILD) --product luod
	scripts/with-huge-pages 16 Tests/Fuzz/wire .build-static/release/luod

bench: setup ## measure what preserving costs, beside C programs that make the same system calls (BENCH_ARGS=--quick)
	$(STATIC_BUILD)
	.build-static/release/luoctl bench $(BENCH_ARGS)

kill-sweep: setup ## as root, kill the demo at each of its system calls (KILL_SWEEP_ARGS=5: at each fifth); installs strace
	@scripts/setup kill-sweep
	$(STATIC_BUILD) --product luoctl
	scripts/kill-sweep .build-static/release/luoctl $(KILL_SWEEP_ARGS)

daemon-kill-sweep: setup ## kill each process of luod at each of its system calls (KILL_SWEEP_ARGS=5: at each fifth); installs strace
	@scripts/setup kill-sweep
	$(STATIC_BUILD) --product luod
	$(STATIC_BUILD) --product luoctl
	scripts/with-huge-pages 16 scripts/daemon/kill-sweep .build-static/release/luod $(KILL_SWEEP_ARGS)

hand-over-sweep: setup ## as root, kill both processes of a hand-over at each of their system calls (KILL_SWEEP_ARGS=5: at each fifth); installs strace
	@scripts/setup kill-sweep
	for program in UpdateProbe CacheServer CacheService; do swift build --product $$program; done
	scripts/hand-over-sweep "$$(swift build --show-bin-path)" $(KILL_SWEEP_ARGS)

stress: setup ## eight programs with random requests of luod, which is killed and updated (SECONDS=60 SEED=N)
	@scripts/setup kill-sweep
	$(STATIC_BUILD) --product luod
	scripts/daemon/stress .build-static/release/luod $(RUN_SECONDS) $(SEED)

attack: setup ## as root, hostile users against luod beside an honest user and an echo server (SECONDS=60 ROWS="linger churn")
	@scripts/setup kill-sweep
	$(STATIC_BUILD) --product luod
	scripts/with-huge-pages 16 scripts/daemon/attack .build-static/release/luod $(RUN_SECONDS) $(ROWS)

test-c: setup ## test the client library in C with luod, below luoctl run and with faults, under AddressSanitizer (LUOD= LUOCTL=)
	@scripts/setup c
	$(if $(LUOD),,$(STATIC_BUILD) --product luod)
	$(if $(LUOCTL),,$(STATIC_BUILD) --product luoctl)
	LEAKS=$(LEAKS) libliveupdate/tests/run

test-python: setup ## test the Python package with luod; installs pytest, numpy and mypy (LUOD= LUOCTL=)
	@scripts/setup python
	$(if $(LUOD),,$(STATIC_BUILD) --product luod)
	$(if $(LUOCTL),,$(STATIC_BUILD) --product luoctl)
	scripts/with-huge-pages 8 python/tests/run

vmtest: setup ## run the demo, a program under luoctl run and the vectors as root in other kernels, in QEMU; installs QEMU, fetches Debian's kernel (LUO_KERNEL=)
	@scripts/setup vm
	$(STATIC_BUILD)
	Tests/VM/run

kexec: setup ## luod's files on persistent memory survive two kexecs of Debian's kernel, in QEMU; installs QEMU, fetches the kernel
	@scripts/setup kexec
	$(STATIC_BUILD) --product luod
	$(STATIC_BUILD) --product luoctl
	Tests/VM/kexec

kexec-luo: setup ## luod's memory files survive three kexecs of a kernel with LUO, in QEMU (KEXECS=3; LUO_KERNEL=FILE, or that of make luo-kernel)
	@scripts/setup vm
	$(STATIC_BUILD) --product luod
	$(STATIC_BUILD) --product luoctl
	Tests/VM/kexec-luo $(KEXECS)

kexec-debian: setup ## as root, the kernel of a Debian with systemd is replaced in QEMU, with luod and a client as services; installs debootstrap
	@scripts/setup debian
	$(MAKE) install DESTDIR=$(CURDIR)/.build-vm/root prefix=/usr/local
	Tests/VM/kexec-debian .build-vm/root

kexec-guest: setup ## a guest on DAX counts on over a kexec of the kernel under it: QEMU in QEMU
	@scripts/setup kexec
	$(STATIC_BUILD) --product luod
	$(STATIC_BUILD) --product luoctl
	Tests/VM/kexec-guest

kexec-kills: setup ## processes of luod are killed during replacements of the kernel, in QEMU (LUO_KERNEL=FILE, or that of make luo-kernel)
	@scripts/setup kexec
	@scripts/setup kill-sweep
	$(STATIC_BUILD) --product luod
	$(STATIC_BUILD) --product luoctl
	Tests/VM/kexec-kills

luo-kernel: ## build a kernel with LUO from Debian's source for the tests in QEMU, in about 10 minutes, once; as root, install the build's tools
	scripts/luo-kernel

guest: setup ## as root, a guest in QEMU lives through an update of luod; installs QEMU, fetches Debian's kernel (GUEST_ARGS=)
	@scripts/setup guest
	$(STATIC_BUILD) --product luod
	scripts/with-huge-pages $(GUEST_PAGES) Examples/qemu-guest/run .build-static/release/luod $(GUEST_ARGS)

guest-cpr: setup ## as root, the guest moves by cpr-transfer and cpr-exec of a newer QEMU, which is fetched from Debian once (QEMU_SUITE=sid GUEST_BY="cpr-transfer cpr-exec" GUEST_ARGS= LUOD=)
	@scripts/setup guest-cpr
	$(if $(LUOD),,$(STATIC_BUILD) --product luod)
	qemu=$$(scripts/debian-qemu $(QEMU_SUITE)) && \
	run() { echo "guest-cpr: $$*" && scripts/with-huge-pages $(GUEST_PAGES) Examples/qemu-guest/run \
		$(or $(LUOD),.build-static/release/luod) "$$@" $(GUEST_ARGS); } && \
	run --next-qemu "$$qemu" --machine $(OLD_MACHINE) && \
	for by in $(GUEST_BY); do run --qemu "$$qemu" --by $$by || exit; done

deb: setup ## make Debian packages of everything in .build-deb, and check them with lintian (VERSION=)
	@scripts/setup deb
	rm -rf .build-deb/stage
	$(MAKE) install DESTDIR=$(CURDIR)/.build-deb/stage prefix=/usr libdir=/usr/lib/$$(gcc -print-multiarch)
	scripts/deb .build-deb/stage .build-deb $(if $(filter command line,$(origin VERSION)),$(VERSION))

test-deb: deb ## as root, install the packages in a Debian of their own, use, upgrade, remove and purge them there; fetches it once
	Tests/Deb/run .build-deb

consumer: setup ## build the examples in a package of their own, as users of the library do, and list its dependencies
	scripts/consumer

nightly: setup ## run the tests that are too long for CI: longer fuzzing and stress, complete kill sweeps, all attacks, the full benchmark
	$(MAKE) fuzz FUZZ_SECONDS=600
	$(MAKE) kill-sweep
	$(MAKE) daemon-kill-sweep
	$(MAKE) hand-over-sweep
	$(MAKE) stress SECONDS=600
	$(MAKE) attack SECONDS=60
	$(MAKE) kexec-luo KEXECS=10
	$(MAKE) kexec-debian
	$(MAKE) kexec-guest
	$(MAKE) kexec-kills
	$(MAKE) guest-cpr
	$(MAKE) test-deb
	$(MAKE) bench

doc: setup ## build the API documentation; fails on any warning, and on what has no comment (DOC_DIR=.build-doc/site)
	scripts/documentation $(DOC_DIR)

format: ## lay the sources out
	swift format --in-place --recursive $(SWIFT_SOURCES)

lint: ## check the layout of the sources, the English of comments and documents, and the links of documents
	swift format lint --strict --recursive $(SWIFT_SOURCES)
	scripts/prose
	scripts/links
	@! git ls-files '*.swift' '*.c' '*.h' '*.py' | xargs grep -L 'SPDX-License-Identifier: Apache-2.0' | grep .

clean: ## remove everything that was built
	rm -rf .build .build-thread .build-address .build-static .build-vm .build-doc .build-fuzz .build-consumer .build-deb
