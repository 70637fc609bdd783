# `make` alone explains itself.
SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# How long each fuzz target runs.
FUZZTIME ?= 1m

# Longest run of one package's tests; the slowest starts servers and breaks them on purpose.
TEST_TIMEOUT ?= 20m

tool := .cache/bin
tools_in := tools/go.mod tools/go.sum

# git refuses a checkout that belongs to somebody else, and go build would fail over it.
vcs := $(shell git rev-parse HEAD >/dev/null 2>&1 && echo auto || echo false)
# Without cgo: a module that we take types from would compile Postgres's parser in C, which nothing calls.
build = CGO_ENABLED=0 go build -buildvcs=$(vcs)

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The demo's last line on stdout is its report as JSON: everything make does before goes to stderr, and nothing comes after.
.PHONY: demo
demo: build postgres $(tool)/temporal ## migrate a live shop on real servers: make demo [ROWS=1000000] [SCENARIO=…] [INTERACTIVE=1]
	@exec bin/devstack demo

.PHONY: test
test: tools postgres pgbouncer ## run all tests, with the race detector
	@CGO_ENABLED=1 go test -race -timeout $(TEST_TIMEOUT) ./...

# The end-to-end tests stay out: they prove the machine's own Postgres.
.PHONY: test-matrix
test-matrix: $(tool)/temporal pgbouncer ## run the tests that touch Postgres on 14, 16, 17 and 18: make test-matrix [MATRIX="14 18"]
	@TEST_TIMEOUT=$(TEST_TIMEOUT) tools/postgres-matrix $(MATRIX)

# As with the demo, the last line on stdout is JSON.
.PHONY: bench
bench: build postgres $(tool)/temporal ## measure the backfill against other ways: make bench [ROWS=…] [ROUNDS=…] [ONLY=speed,pause] [BIG=1]
	@$(build) -o bin/bench ./tests/bench >&2
	@exec bin/bench $(if $(ROWS),-rows $(ROWS)) $(if $(ROUNDS),-rounds $(ROUNDS)) $(if $(ONLY),-only $(ONLY)) $(if $(filter 1,$(BIG)),-big)

.PHONY: lint
lint: tools ## gofmt, go vet, staticcheck, and workflowcheck on the workflows
	@unformatted=$$(gofmt -l .); if [[ -n $$unformatted ]]; then echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; fi >&2
	@CGO_ENABLED=0 go vet ./...
	@CGO_ENABLED=0 $(tool)/staticcheck ./...
	@$(tool)/workflowcheck -test=false -config tools/workflowcheck.yaml ./workflows/...

.PHONY: build
build: ## build contraflow, its worker, the example shop and the demo into bin/
	@{ echo "building bin/ …"; mkdir -p bin; \
	$(build) -o bin/contraflow ./starter; \
	$(build) -o bin/contraflow-worker ./worker; \
	$(build) -o bin/shop ./examples/shop; \
	$(build) -o bin/devstack ./internal/devstack/cmd/devstack; } >&2

# Minimizing is bounded by count: bounded by time, as it is by default, it looks like a hang for a minute at each new input.
.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME
	@grep -rEo '^func Fuzz\w+' --include='*_test.go' . | while IFS=: read -r file target; do \
		echo "$$(dirname "$$file") $${target#func }"; \
		go test "$$(dirname "$$file")" -run '^$$' -fuzz "^$${target#func }$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x; \
	done

# All it prints is one line of figures, or what the failed test says.
.PHONY: kills
kills: postgres ## kill a process in schema changes, before, in and after any statement: make kills [KILLS=200]
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	KILLS=$(or $(KILLS),200) go test -count=1 -timeout $(TEST_TIMEOUT) -v -run '^TestSeededKills' ./ddl >"$$log" 2>&1 || { cat "$$log" >&2; exit 1; }; \
	sed -n 's/^.*figures: //p' "$$log"

.PHONY: clean
clean: ## remove what build and demo leave; the tools stay in .cache
	@rm -rf bin .demo

.PHONY: tools
tools: $(tool)/temporal $(tool)/staticcheck $(tool)/workflowcheck ## build the Temporal server and the linters once, into .cache/bin

$(tool)/temporal: $(tools_in)
	@tools/install temporal github.com/temporalio/cli/cmd/temporal

$(tool)/staticcheck: $(tools_in)
	@tools/install staticcheck honnef.co/go/tools/cmd/staticcheck

$(tool)/workflowcheck: $(tools_in)
	@tools/install workflowcheck go.temporal.io/sdk/contrib/tools/workflowcheck

.PHONY: postgres
postgres: ## check for a Postgres server; as root, install one if there is none
	@tools/postgres

.PHONY: pgbouncer
pgbouncer: ## check for a PgBouncer, which tests use; as root, install one if there is none
	@tools/pgbouncer
