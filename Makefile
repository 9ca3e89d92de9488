# Everything that a target changes on the machine (packages, huge pages) it says first, and does only as root.
# SETUP=no leaves the machine alone.

SETUP ?= yes
export SETUP

# Tests hold at most this many huge pages of 2 MiB at a time.
TEST_PAGES := 64
SWIFT_SOURCES := Sources Tests Examples Package.swift $(if $(shell find Benchmarks -name '*.swift' 2>/dev/null),Benchmarks)

# Tests make programs crash on purpose; a backtracer would keep their pipes open.
TEST := SWIFT_BACKTRACE=enable=no scripts/with-huge-pages $(TEST_PAGES) swift test --disable-xctest
# 0 where ptrace(2) is forbidden, which the leak detector needs.
LEAKS ?= 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup build demo test test-thread test-address bench format lint clean

help: ## say what the targets do
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | expand -t 14

setup: ## look for the tools and libraries; as root, install the missing packages (SETUP=no: only say which)
	@scripts/setup

build: ## build the library and luoctl, optimized
	swift build -c release

demo: setup build ## preserve real memory across a real update of a process (DEMO_ARGS="--files 8"); reserves huge pages
	.build/release/luoctl demo $(if $(filter no,$(SETUP)),--no-reserve) $(DEMO_ARGS)

test: setup ## run the tests; reserves huge pages for them (SETUP=no: does not)
	swift build
	$(TEST)

test-thread: setup ## the same under ThreadSanitizer
	$(TEST) --sanitize=thread --scratch-path .build-thread

test-address: setup ## the same under AddressSanitizer, with leak detection (LEAKS=0: without)
	ASAN_OPTIONS=detect_leaks=$(LEAKS) $(TEST) --sanitize=address --scratch-path .build-address

bench: setup ## compare with C programs that make the same system calls (BENCH_ARGS=--quick)
	$(MAKE) -C Benchmarks/floor
	LIVEUPDATE_STATIC=1 swift build -c release --scratch-path .build-static --static-swift-stdlib --product luobench
	.build-static/release/luobench --floors Benchmarks/floor $(BENCH_ARGS)

format: ## lay the sources out
	swift format --in-place --recursive $(SWIFT_SOURCES)

lint: ## check the layout of the sources
	swift format lint --strict --recursive $(SWIFT_SOURCES)

clean: ## remove everything that was built
	rm -rf .build .build-thread .build-address .build-static
	$(MAKE) -C Benchmarks/floor clean
