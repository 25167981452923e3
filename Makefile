# Two commands: `make demo` draws a first image, `make test` checks everything.
# Both need Python 3.11 or newer and nothing else; `make help` lists the rest.

PYTHON ?=
VENV ?= .venv
# How many tests run at once, and what else pytest is told: make unit PYTEST_ARGS="-k naming -x"
WORKERS ?= logical
PYTEST_ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 --dist worksteal $(PYTEST_ARGS)

MADE := $(VENV)/.made
RUNTIME := $(VENV)/.installed
DEVELOPMENT := $(VENV)/.installed-dev
SYSTEM := $(VENV)/.system-packages

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test install lint format types layers tests unit accept bench chaos clean

help: ## list these targets
	@grep -E '^[a-z]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | expand -t 12
	@echo
	@echo "Variables: PYTHON=python3.12 (at the first make), VENV=$(VENV), WORKERS=2, PYTEST_ARGS='-k name'"

# Apart from whatever imagen is configured to do here: its home for this once is out/.
demo: $(RUNTIME) ## install, and draw a first image with nothing set up
	@mkdir -p out
	@env -u IMAGEN_CONFIG -u IMAGEN_BROKER_URL -u IMAGEN_DATABASE_URL -u IMAGEN_CLOUD_SYNC \
		XDG_CONFIG_HOME="$(CURDIR)/out/demo-home" XDG_STATE_HOME="$(CURDIR)/out/demo-home" \
		$(BIN)/imagen generate "a lighthouse on a cliff, first light" \
		--backend mock --output out/demo.png --wait

test: lint types layers tests ## everything that continuous integration checks

install: $(DEVELOPMENT) ## make the virtual environment with all that developers need

lint: $(DEVELOPMENT) ## style and common mistakes (ruff)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(DEVELOPMENT) ## put the code into the house's format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(DEVELOPMENT) ## types (mypy, strict)
	$(BIN)/mypy

layers: $(DEVELOPMENT) ## who may import whom (import-linter)
	$(BIN)/lint-imports

tests: $(DEVELOPMENT) $(SYSTEM) ## every test
	$(PYTEST)

unit: $(DEVELOPMENT) $(SYSTEM) ## the fast tests only
	$(PYTEST) tests/unit

# One at a time: they measure, or keep both processors busy for minutes.
accept: $(DEVELOPMENT) $(SYSTEM) ## long-running acceptance tests
	$(BIN)/python -m pytest tests/accept --timeout 3600 $(PYTEST_ARGS)

bench: $(DEVELOPMENT) ## measure, and print one table
	$(BIN)/python -m benchmarks

chaos: $(DEVELOPMENT) ## kill workers and servers at random, and count what is lost
	$(BIN)/python -m tests.chaos
	$(BIN)/python -m tests.chaos --scenario money
	$(BIN)/python -m tests.chaos --scenario outages

clean: ## remove the virtual environment and everything else that was made
	rm -rf $(VENV) build dist out bench-results *.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The files below say that a step was done, so that it is not done again until its inputs change.

$(MADE):
	@.ci/venv $(VENV) $(PYTHON)
	@touch $@

# The same pinned versions everywhere. setuptools first: imagen itself is built with it, without
# an isolated environment that would have to be filled from elsewhere.
$(RUNTIME): $(MADE) pyproject.toml requirements-ci.txt
	$(PIP) --constraint requirements-ci.txt setuptools
	$(PIP) --constraint requirements-ci.txt --no-build-isolation --editable .
	@touch $@

$(DEVELOPMENT): $(MADE) pyproject.toml requirements-ci.txt
	$(PIP) --requirement requirements-ci.txt
	$(PIP) --no-build-isolation --no-deps --editable .
	$(BIN)/python -m pip check
	@touch $(RUNTIME) $@

$(SYSTEM): $(DEVELOPMENT)
	@.ci/system-packages $(BIN)/python
	@touch $@
