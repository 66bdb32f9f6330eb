# GPUBroker: `make run` and `make test` are all a fresh machine needs (python3 with venv, git, make).
# Another interpreter gets an environment of its own: `make test PYTHON=python3.13`.

PYTHON ?= python3
VENV := $(if $(filter python3,$(PYTHON)),.venv,.venv-$(patsubst python%,%,$(notdir $(PYTHON))))
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
PINS := pyproject.toml constraints.txt
comma := ,

.DEFAULT_GOAL := help
.PHONY: help setup run serve test bench faults conformance lint format docs clean

help:
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: $(VENV)/.ready-dev ## set up everything a developer needs in .venv

run: $(VENV)/.ready ## find, size and rank GPUs in a demo: a real client talks to the server
	@$(BIN)/gpubroker demo

serve: $(VENV)/.ready ## serve MCP and HTTP on 127.0.0.1:10355
	@$(BIN)/gpubroker serve

test: lint audit $(if $(CI),oracles) ## all checks and tests; branch coverage below 85 % fails
	@$(BIN)/python -m pytest --cov --cov-report=term:skip-covered

bench: $(VENV)/.ready-bench ## ratios against a peer or a floor measured in the same run
	@for bench in tests/bench/[a-z]*.py; do \
		module=$$(echo "$${bench%.py}" | tr / .); echo "== $$module"; $(BIN)/python -m "$$module" || exit 1; done

faults: $(VENV)/.ready-dev ## kill and crowd the booking engine for an hour; writes docs/reliability.md
	@$(BIN)/python -m tests.faults.budget
	@$(BIN)/python -m tests.faults.keys --record docs/reliability.md
	@$(BIN)/python -m tests.faults.crash --kills 1000 --record docs/reliability.md

conformance: $(VENV)/.ready-dev ## the MCP conformance suite, and tokens counted (needs Node 22)
	@$(BIN)/python -m tests.conformance.run

lint: $(VENV)/.ready-dev ## style, security rules, types and layers
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { echo "Run 'make format'."; exit 1; }
	@report=$$($(BIN)/lint-imports --no-cache) || { echo "$$report"; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/basedpyright --pythonpath $(BIN)/python

format: $(VENV)/.ready-dev ## lay the code out and mend what ruff can
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

docs: $(VENV)/.ready-dev ## write the generated pages under docs/ anew
	@$(BIN)/python -m server.docs
	@$(BIN)/python -m tests.requirements

clean: ## remove environments, caches and build results
	rm -rf .venv .venv-* build dist ./*.egg-info .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The mathematics against its peers, where CI is set (they take a gigabyte).
.PHONY: oracles
oracles: $(VENV)/.ready-oracles
	@GPUBROKER_ORACLES=1 $(BIN)/python -m pytest --quiet --no-cov tests/oracles

.PHONY: audit
audit: $(VENV)/.ready-dev
	@$(BIN)/python .ci/audit.py

# What a machine may lack, said plainly and before pip starts.
$(BIN)/python:
	@$(PYTHON) -c '' 2>/dev/null || { exec >&2; echo "'$(PYTHON)' does not start here."; \
		echo "On Debian: sudo apt-get install python3 python3-venv; or name another one: make test PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { exec >&2; \
		echo "GPUBroker needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) -V 2>&1)."; \
		echo "Install one and name it: make run PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { exec >&2; \
		echo "'$(PYTHON)' comes without venv. On Debian: sudo apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sqlite3, ssl' 2>/dev/null || { exec >&2; \
		echo "'$(PYTHON)' was built without sqlite3 or ssl; use the Python of your distribution."; exit 1; }
	@command -v git >/dev/null || { echo "git is missing. On Debian: sudo apt-get install git" >&2; exit 1; }
	@echo "Setting up $(VENV) ..."
	@$(PYTHON) -m venv --clear $(VENV)

define install
@$(PIP) install -c constraints.txt -e '$(1)' || { exec >&2; \
	echo "pip could not install the packages. Is a package index reachable? The same command goes on from here."; exit 1; }
@touch $@
endef

$(VENV)/.ready: $(PINS) $(BIN)/python
	$(call install,.)
$(VENV)/.ready-dev: $(PINS) $(BIN)/python
	$(call install,.[dev])
	@touch $(VENV)/.ready
$(VENV)/.ready-bench: $(PINS) $(BIN)/python
	$(call install,.[dev$(comma)bench$(comma)oracles])
	@touch $(VENV)/.ready-dev $(VENV)/.ready-oracles
$(VENV)/.ready-oracles: $(VENV)/.ready-dev
	$(call install,.[oracles])
