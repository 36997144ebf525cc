# Everything one needs to build, see, test and measure Tradewind. `make help` lists it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Where everything is built: cargo's own setting, or the folder `target`.
T := $(abspath $(or $(CARGO_TARGET_DIR),target))
export CARGO_TARGET_DIR := $(T)
# `tradewind plugin build` keeps guest builds apart from host builds, in the folder `guest` of this one.
export CARGO_BUILD_TARGET_DIR := $(T)

# The versions in Cargo.lock, and no others. `make LOCKED= test` after a change of dependencies.
LOCKED ?= --locked

# As a part of the whole workspace, these have every dependency with the same features as the tests do. By themselves cargo would compile
# much of what they stand on, and the daemon, once more for the tests.
DAEMON := --workspace --bin tradewind --bin hello --bin reaper

# Runs each test binary, and fails it when a process that it has started is left.
REAPED := --config "target.'cfg(unix)'.runner=['$(T)/debug/reaper']"

# What the tests, the demo and the benches start. Only they get to see it: TRADEWIND_PLUGINS is a setting of the daemon, too.
PLUGINS := $(T)/plugins
STARTING := TRADEWIND_BIN=$(T)/debug/tradewind TRADEWIND_PLUGINS=$(PLUGINS)

.PHONY: help setup backends build plugins demo dist unit test test-host test-plugins test-crash test-dist fuzz bench lint deny clean

help: ## what there is
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)$$/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

setup: ## checks for the compilers, installs what plugins are compiled with
	@command -v cargo >/dev/null || { echo 'cargo is missing: install Rust 1.95 or newer, for instance from https://rustup.rs' >&2; exit 1; }
	@command -v $${CC:-cc} >/dev/null || { echo 'a C compiler is missing (SQLite and the TLS library are built from source): install gcc, on Debian and Ubuntu by "apt-get install gcc libc6-dev"' >&2; exit 1; }
	@bash plugins/setup.sh

build: setup ## the daemon, its command line and the service it shows itself with, for development
	cargo build $(LOCKED) $(DAEMON)

# Some of them are then linked into the binary that has built them: a build of crate `tradewind-builtin` takes what lies there.
plugins: build ## the plugins of this repository, as components in target/plugins, and the daemon with some built in
	$(T)/debug/tradewind plugin build plugins --out $(PLUGINS)
	cargo build $(LOCKED) $(DAEMON)

# What the demo shows needs no client of a cloud. Where the whole is built already, it shows the whole.
SMALL := -p tradewind --no-default-features --bin tradewind -p tradewind-hello --bin hello
SHOWN := cheapest fastest simulated simulated-live process

demo: setup ## assess, deploy, swap a policy and delete again on a throwaway daemon
	cargo build $(LOCKED) $(if $(wildcard $(T)/debug/deps/libtradewind_aws-*.rlib),$(DAEMON),$(SMALL))
	$(T)/debug/tradewind plugin build $(SHOWN:%=plugins/%) --out $(PLUGINS)
	@$(STARTING) bash tests/demo.sh

dist: setup ## a tarball, a Debian package and a container image, in target/dist
	TRADEWIND_COMMIT=$$(git rev-parse --short=12 HEAD 2>/dev/null) cargo build $(LOCKED) --release $(DAEMON)
	$(T)/release/tradewind plugin build plugins --out $(PLUGINS)
	cargo build $(LOCKED) --release $(DAEMON)
	TRADEWIND_BIN=$(T)/release/tradewind TRADEWIND_PLUGINS=$(PLUGINS) bash daemon/package/dist.sh $(T)/dist

# Not among them: those that run plugins, compile some, need a back end, or start processes for 40 s. A target belongs here by its name, so
# names are of one crate.
QUICK := cost credentials docs fleet groups http it manifest messages namespace placement probes ranking registry

unit: ## the tests that need no back ends and run no plugins
	cargo test $(LOCKED) --workspace --lib --bins $(QUICK:%=--test %)

test: test-host test-plugins ## everything that has to hold

# Each says for itself when this machine can't have it; its tests are left out then.
BACKENDS := for setup in tests/backends/*/setup.sh; do bash "$$setup"; done

backends: ## installs the container engine, the cluster, the cloud, the tester and the clients of the API that tests run on
	@$(BACKENDS)

# Back ends are fetched and built beside the compiler.
test-host: setup
	@mkdir -p $(T)
	@{ $(BACKENDS); } >$(T)/backends.log 2>&1 & beside=$$!; trap "kill $$beside 2>/dev/null || true" EXIT; \
	cargo build $(LOCKED) $(DAEMON); cargo test $(LOCKED) --workspace --no-run; \
	wait $$beside || failed=$$?; cat $(T)/backends.log; exit $${failed:-0}
	@$(MAKE) plugins
	$(STARTING) cargo test $(LOCKED) $(REAPED) --workspace

# The plugins' own logic, compiled for this machine: a folder of its own, since their profile and their features are theirs.
test-plugins: setup
	cd plugins && CARGO_TARGET_DIR=$(T)/plugins-native cargo test $(LOCKED) --workspace

# How often, and how the dice fall: `make test-crash KILLS=50 SEED=7` does once more what a run has told its seed of.
KILLS ?= 500
SEED ?= $(shell date +%s)

test-crash: plugins ## kills the daemon 500 times while deployments change and the cloud misbehaves
	$(STARTING) TRADEWIND_CRASH_KILLS=$(KILLS) TRADEWIND_CRASH_SEED=$(SEED) cargo test $(LOCKED) $(REAPED) --workspace --test e2e -- crash:: --nocapture

# Which build is packaged for the test: `make dist test-dist PROFILE=release` takes the one that is delivered.
PROFILE ?= debug

test-dist: plugins ## installs, upgrades and removes the packages, runs the image; as root
	@for engine in podman docker; do bash tests/backends/$$engine/setup.sh; done
	TRADEWIND_BIN=$(T)/$(PROFILE)/tradewind TRADEWIND_PLUGINS=$(PLUGINS) cargo test $(LOCKED) --workspace --test e2e -- package:: --ignored

# Which readers, and for how long each: `make fuzz FUZZ=answer FUZZ_SECONDS=600` looks harder at one. What breaks one is kept in target/fuzz/found.
FUZZ ?= manifest record answer
FUZZ_SECONDS ?= 60
# How libFuzzer sees which ways through the code an input takes (LLVM's SanitizerCoverage). Without AddressSanitizer: nothing here is unsafe.
COVERAGE := -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
	-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares

fuzz: setup ## looks for inputs that break what reads the bytes of strangers; takes a C++ compiler
	@command -v $${CXX:-c++} >/dev/null || { echo 'a C++ compiler is missing (the fuzzer is built from source): install g++' >&2; exit 1; }
	cargo run $(LOCKED) -p tradewind-fuzz --bin fuzz-seeds $(T)/fuzz/seeds
	host=$$(rustc -vV | sed -n 's/^host: //p'); \
	RUSTFLAGS='$(COVERAGE)' CARGO_TARGET_DIR=$(T)/fuzz CARGO_BUILD_TARGET_DIR=$(T)/fuzz cargo build $(LOCKED) --release --target $$host \
		--config profile.release.debug-assertions=true --config profile.release.overflow-checks=true -p tradewind-fuzz --features libfuzzer $(FUZZ:%=--bin fuzz-%); \
	for target in $(FUZZ); do \
		mkdir -p $(T)/fuzz/corpus/$$target $(T)/fuzz/found; \
		words=(); if [ $$target = manifest ]; then words=(-dict=$(T)/fuzz/seeds/words); fi; \
		$(T)/fuzz/$$host/release/fuzz-$$target -max_total_time=$(FUZZ_SECONDS) -timeout=10 -print_final_stats=1 $${words[@]+"$${words[@]}"} \
			-artifact_prefix=$(T)/fuzz/found/$$target- $(T)/fuzz/corpus/$$target $(T)/fuzz/seeds/$$target; \
	done

bench: setup ## measures, prints a table, writes target/bench/results.json
	cargo build $(LOCKED) --release --workspace --bin tradewind --bin hello --bin bench
	$(T)/release/tradewind plugin build plugins --out $(PLUGINS)
	@mkdir -p $(T)/bench
	TRADEWIND_BIN=$(T)/release/tradewind TRADEWIND_PLUGINS=$(PLUGINS) TRADEWIND_BENCH_RESULTS=$(T)/bench/results.json $(T)/release/bench

lint: ## format and clippy, warnings are errors
	cargo fmt --all --check
	rustfmt --check --edition 2024 tests/clients/rust/src/main.rs
	cd plugins && cargo fmt --all --check
	cd tests/guests && cargo fmt --all --check
	cargo clippy $(LOCKED) --workspace --all-targets -- -D warnings
	cd plugins && CARGO_TARGET_DIR=$(T)/plugins-native cargo clippy $(LOCKED) --workspace --all-targets -- -D warnings

deny: ## licences and sources of what is linked, and what must not be (.deny.toml)
	bash tests/deny/check.sh

clean: ## removes all that was built
	cargo clean
	rm -rf plugins/target tests/guests/target
