# `make help` lists the targets. Everything runs in .venv, which is made from the pinned, hashed
# requirement files and made anew when they change.
#   make PYTHON=python3.11 …   another interpreter (3.10 to 3.12)
#   make UV= …                 install with pip although uv is on PATH

SHELL := /bin/bash
UV ?= uv
# GNU make gives variables from the command line and the environment to the recipes.
export UV

VENV_PYTHON := .venv/bin/python
READY := .venv/.ready-runtime
READY_DEV := .venv/.ready-dev
SHELL_SCRIPTS := $(shell find . \( -name .venv -o -path ./runs \) -prune -o -name '*.sh' -print) .ci/run

# A marker without a working interpreter (the system's Python was replaced) is no environment.
ifneq ($(wildcard $(READY)),)
ifneq ($(shell $(VENV_PYTHON) -c 'print(1)' 2>/dev/null),1)
$(shell rm -f $(READY))
endif
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check coverage docs lock clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(READY)  ## The whole pipeline on a small real corpus, on CPU, in ten to fifteen minutes
	@$(VENV_PYTHON) run.py demo

test: $(READY_DEV)  ## The test suite, without what needs a GPU or is slow
	@$(VENV_PYTHON) -m pytest --numprocesses 2 --dist loadfile

check: $(READY_DEV)  ## Format, lint, types, import contracts, shell scripts, generated documents
	@$(VENV_PYTHON) -m ruff format --check .
	@$(VENV_PYTHON) -m ruff check .
	@$(VENV_PYTHON) -m mypy
	@$(VENV_PYTHON) .venv/bin/lint-imports
	@.venv/bin/shellcheck $(SHELL_SCRIPTS)
	@$(VENV_PYTHON) -m src.config_reference --check

coverage: $(READY_DEV)  ## The test suite with branch coverage, also of started processes
	@$(VENV_PYTHON) -m coverage erase
	@$(VENV_PYTHON) -m coverage run -m pytest
	@$(VENV_PYTHON) -m coverage combine --quiet
	@$(VENV_PYTHON) -m coverage report

docs: $(READY)  ## Write config.yaml and docs/configuration.md from src/schema
	@$(VENV_PYTHON) -m src.config_reference --write

lock:  ## Pin requirements*.txt from pyproject.toml; LOCK=--upgrade takes newer versions
	@scripts/lock.sh $(LOCK)

clean:  ## Remove the environment and caches; data, models and runs stay
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage*
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements.txt scripts/environment.sh
	@scripts/environment.sh runtime

$(READY_DEV): requirements-dev.txt $(READY)
	@scripts/environment.sh dev
