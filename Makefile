# Everything a newcomer or a CI machine needs; `make help` lists it.
#   PYTHON    interpreter to build the environment with (3.11 or newer)
#   JOBS      processes that run tests side by side
#   PIP_ARGS  extra arguments of pip, such as the address of an index with CPU builds of torch
#   HOME_DIR  folder of everything that Freshet writes

PYTHON ?= python3
VENV ?= .venv
HOME_DIR ?= .freshet
PIP_ARGS ?=
JOBS ?= 2
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --no-compile --no-input --disable-pip-version-check \
	--progress-bar off --prefer-binary $(PIP_ARGS)

export DO_NOT_TRACK := 1
# Many processes start: without bytecode each of them would compile all that it imports.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help install demo test up lint format bench clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

install: $(VENV)/.runtime ## Create the environment with what Freshet needs to run

demo: $(VENV)/.runtime ## Generate a market, run the whole lineage, show what came out
	$(BIN)/freshet demo --home $(HOME_DIR) $(ARGS)

up: $(VENV)/.runtime ## Start the Dagster and MLflow user interfaces; Ctrl-C stops them
	$(BIN)/freshet up --home $(HOME_DIR) $(ARGS)

test: $(VENV)/.dev ## Run the tests
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(VENV)/.dev ## Check style, types, layers and SQL
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/sqlfluff lint --disable-progress-bar dbt

format: $(VENV)/.dev ## Format the code and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## Measure accuracy on a landed dataset: make bench ARGS="--data DIR --source SOURCE"
	$(BIN)/python benchmarks/accuracy.py $(ARGS)

clean: ## Remove the environment, caches and the home folder
	rm -rf $(VENV) $(HOME_DIR) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are newer than what they were made from, so nothing is installed twice.
$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Freshet needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
			"Install one and run: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@# The pip of an old Python takes more than twice the time of a new one to install all this.
	$(INSTALL) --upgrade 'pip>=26'
	@touch $@

$(VENV)/.runtime: pyproject.toml constraints.txt | $(VENV)/.python
	@echo "installing what Freshet needs into $(VENV); this takes a few minutes, once"
	$(INSTALL) -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.runtime
	$(INSTALL) -c constraints.txt -e '.[dev]'
	@touch $@
