# worldstream: `make` lists what there is.

CARGO ?= cargo
# Of the demo's program: release, or dev, which builds faster and runs slower.
PROFILE ?= release
FOLDER := $(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
PROGRAM := $(or $(CARGO_TARGET_DIR),target)/$(FOLDER)/worldstream

.DEFAULT_GOAL := help
.PHONY: help demo demo-clean test test-long bench bench-views bench-postgres generate charts
.PHONY: cluster-demo cluster-scale cluster-seen cluster-up cluster-down cluster-status cluster-shell cluster-load images test-cluster
.PHONY: kind-up kind-down parity validate-smoke validate-completion validate-failures

# kind's kubeconfig, so that the user's own is left alone.
KIND_KUBECONFIG ?= $(or $(CARGO_TARGET_DIR),target)/kind.kubeconfig

# Which bed, and with how many nodes: each name is a cluster of its own.
BED ?= dev
NODES ?= 1
RUN_BED = $(CARGO) run --quiet --bin bed -- --name $(BED)

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-19s %s\n", $$1, $$2 }' Makefile

demo: ## A sample world, a gate and a replay of 20 s (FRESH=1 starts over, ARGS="…" passes options on)
	@test -x $(PROGRAM) || echo "make demo: building worldstream; the first build takes several minutes"
	$(CARGO) build --profile $(PROFILE) --bin worldstream
	$(PROGRAM) demo $(if $(FRESH),--fresh) $(ARGS)

demo-clean: ## Remove what the demo wrote
	rm -rf demo

test: ## Format, clippy, generated files, and all tests
	@CARGO="$(CARGO)" tests/run

test-cluster: ## The suites that need a cluster: a bed of their own, or the one that KUBECONFIG names
	@CARGO="$(CARGO)" tests/run cluster

cluster-scale: ## A thousand streams of four outputs: Jobs, memory, no write at rest; fifty that save at once
	$(CARGO) build --release --bin worldstream-operator
	WORLDSTREAM_SCALE=1000x4 CASES=scale,savers \
		WORLDSTREAM_OPERATOR=$(abspath $(or $(CARGO_TARGET_DIR),target))/release/worldstream-operator \
		$(CARGO) test --workspace --test cluster -- --nocapture

cluster-seen: ## Write docs/cluster/seen.md anew, from a real run
	WORLDSTREAM_RECORD=1 CASES=readme $(CARGO) test --workspace --test cluster -- --nocapture

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

bench-postgres: ## 300 workers saving to one Postgres for a minute (Postgres comes from the system's packages)
	$(CARGO) run --release --bin bench -- --only postgres_ $(ARGS)

generate: ## Write the generated files anew: crds/*.yaml, the charts' parts of them, docs/reference/
	$(CARGO) run --quiet --bin generate

charts: generate ## And the golden files of the charts, with helm
	WORLDSTREAM_GOLDEN=write $(CARGO) test --workspace --test cluster_charts golden_file

cluster-up: ## A real Kubernetes on this machine (NODES=1|2, BED=name; the first time builds it: 20 minutes)
	@$(RUN_BED) up --nodes $(NODES)

cluster-down: ## End it (BED=name); nothing is left behind
	@$(RUN_BED) down

cluster-status: ## Which beds are up
	@$(RUN_BED) status

cluster-shell: ## A shell in its network, with kubectl and helm (BED=name)
	@$(RUN_BED) exec

cluster-demo: ## The operator by its charts, a world, a gate and a profile (BED=name; or where KUBECONFIG leads)
	@$(RUN_BED) demo

cluster-load: ## Build this checkout's two images and load them (BED=name); prints their names
	@$(RUN_BED) images --load

images: ## Build the two images as archives, without Docker (ARGS="--profile release")
	@$(RUN_BED) images $(ARGS)

kind-up: ## The same tests' cluster in Docker, by kind (KIND_NODE_IMAGE=… where none can be pulled)
	@command -v kind >/dev/null && command -v docker >/dev/null || { \
		echo "make kind-up: needs Docker and kind (https://kind.sigs.k8s.io)"; exit 1; }
	@mkdir -p $(dir $(KIND_KUBECONFIG))
	@if kind get clusters 2>/dev/null | grep -qx worldstream; then \
		kind export kubeconfig --name worldstream --kubeconfig $(KIND_KUBECONFIG); \
	else \
		kind create cluster --config kind-config.yaml --wait 180s --kubeconfig $(KIND_KUBECONFIG) \
			$(if $(KIND_NODE_IMAGE),--image $(KIND_NODE_IMAGE)); \
	fi
	@echo "export KUBECONFIG=$(abspath $(KIND_KUBECONFIG))"

kind-down: ## End it
	@kind delete cluster --name worldstream --kubeconfig $(KIND_KUBECONFIG)

parity: ## The whole platform on kind or a bed, a run in it, and a report (ARGS="--keep --rows 20000")
	@CARGO="$(CARGO)" tests/parity $(ARGS)

validate-smoke: ## Announce a world on a bus of its own and stream a little of it (ARGS="--gate-url …")
	$(CARGO) run --quiet --bin worldstream -- validate smoke --dir target/validation $(ARGS)

validate-completion: ## The same to the end (ARGS="--profile dev --engine-run-root s3://…")
	$(CARGO) run --quiet --bin worldstream -- validate completion --dir target/validation $(ARGS)

validate-failures: ## Provoke each reason code that can be reached
	$(CARGO) run --quiet --bin worldstream -- validate failures --dir target/validation $(ARGS)
