# The whole vocabulary of this repository; `make help` prints it. The pipeline (.ci/run) calls `make test` and nothing else.

export CARGO_TARGET_DIR ?= target
# Where rustup puts cargo: a shell that was open before tools/install ran does not know the place yet.
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

PROGRAM := $(CARGO_TARGET_DIR)/release/cidp

.DEFAULT_GOAL := help
.PHONY: help build run test torture fuzz check bench figures fmt clean

help: ## say what each target does
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

build: ## build the program as release/cidp under target/ or $CARGO_TARGET_DIR; install what is missing for that
	@tools/install build
	cargo build --release --locked

run: build ## build and serve a simulated fleet on this machine (ARGS="--config F" goes to `cidp serve`)
	@exec "$(PROGRAM)" serve $(ARGS)

test: ## install what is missing, run every check and every test, print the seconds of each step
	@tools/test all

torture: ## the tests of crashes, failing disks and damaged files, so many times over (TIMES=25: 500 kills; hours)
	@tools/test torture $(TIMES)

fuzz: ## fuzz everything that reads bytes from elsewhere, each target for a while (SECONDS_EACH=60); install what is missing
	@tools/fuzz $(SECONDS_EACH)

check: ## the checks alone: format, spelling, scripts, clippy, licences, known vulnerabilities
	@tools/test check

bench: ## measure the figures of docs/performance.md on this machine
	@tools/install build
	cargo bench --locked --profile release --bench performance

figures: ## write the figures and the picture of docs/model.md anew, from fleets that no model was trained on
	CIDP_NEW_FIGURES=1 cargo test --release --locked -p models --test locomotive

fmt: ## format the code
	cargo fmt --all

clean: ## remove what was built; the log and the databases in var/ stay
	cargo clean
