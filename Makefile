# worldstream: `make` lists what there is.

CARGO ?= cargo
# Of the demo's program: release, or dev, which builds faster and runs slower.
PROFILE ?= release
FOLDER := $(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
PROGRAM := $(or $(CARGO_TARGET_DIR),target)/$(FOLDER)/worldstream

.DEFAULT_GOAL := help
.PHONY: help demo demo-clean test test-long bench bench-views generate

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

demo: ## A sample world, a gate and a replay of 20 s (FRESH=1 starts over, ARGS="…" passes options on)
	@test -x $(PROGRAM) || echo "make demo: building worldstream; the first build takes several minutes"
	$(CARGO) build --profile $(PROFILE) --bin worldstream
	$(PROGRAM) demo $(if $(FRESH),--fresh) $(ARGS)

demo-clean: ## Remove what the demo wrote
	rm -rf demo

test: ## Format, clippy, generated files, and all tests
	@CARGO="$(CARGO)" tests/run

test-long: ## The same with more repetitions, in the suites that have a long form
	@CARGO="$(CARGO)" WORLDSTREAM_TESTS=long tests/run

bench: ## Speed against wrk, as a table (nginx and wrk come from the system's packages)
	@command -v nginx >/dev/null && command -v wrk >/dev/null || { \
		echo "make bench: installing nginx and wrk from the system's packages"; \
		apt-get update -q && apt-get install -q -y nginx-light wrk || { \
			echo "make bench: needs nginx and wrk; install them and try again"; exit 1; }; }
	$(CARGO) run --release --bin bench -- $(ARGS)

bench-views: ## Views of 20 million rows, against DuckDB (ARGS="--rows 2000000" and so on)
	$(CARGO) run --release --bin bench_views -- $(ARGS)

generate: ## Write the generated files anew: crds/*.yaml and docs/reference/
	$(CARGO) run --quiet --bin generate
