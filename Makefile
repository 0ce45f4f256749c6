# Every target works on a fresh clone with Python 3.11 or newer and make, and again when run twice.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What the delivery tests speak to.
RECEIVERS := sh tests/install_syslog_ng.sh && sh tests/install_rsyslog.sh
# What reads the metrics, the pages and the units of systemd in tests.
READERS := sh tests/install_prometheus.sh && sh tests/install_chromium.sh && sh tests/install_systemd.sh
# The machine's own index settings are used; nothing here names a registry.
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help setup setup-dev setup-bench demo test check bench soak golden requirements clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(BIN)/python:
	@echo "== creating the virtual environment $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit("halo-usm needs Python 3.11 or newer; say make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV)

# A stamp is newer than its requirements once they are installed. The files name every package, so
# pip resolves nothing: below 23.3 it would not see that sqlalchemy pins sqlalchemy[asyncio], too.
$(VENV)/.%.stamp: %.txt pyproject.toml | $(BIN)/python
	@echo "== installing $< (hashes checked)"
	@$(PIP) install --no-deps --require-hashes -r $<
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.requirements-dev.stamp: requirements.txt
$(VENV)/.requirements-bench.stamp: requirements.txt requirements-dev.txt

setup: $(VENV)/.requirements.stamp ## virtual environment with the halo-usm command in it
	@echo "== ready: $(BIN)/halo-usm"

setup-dev: $(VENV)/.requirements-dev.stamp

setup-bench: $(VENV)/.requirements-bench.stamp

demo: setup ## everything on this machine, no account needed
	@$(BIN)/halo-usm demo

# Bytecode is kept: without, every worker and every command that a test starts compiles all anew.
test: setup-dev ## the whole test suite
	@$(RECEIVERS)
	@$(READERS)
	@echo "== running the tests"
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto

check: setup-dev ## format, lint, types, and which package may import which
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --no-cache

# Bytecode is kept: what a command costs is measured as where it is installed.
bench: setup-bench ## measure against the targets (about 18 minutes); exit code 1 below one
	@$(RECEIVERS)
	@sh tests/install_wrk.sh
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m tests.bench

soak: setup-dev ## the long tests: every crash point, a million events, ten minutes of fuzzing
	@$(RECEIVERS)
	@$(BIN)/python -m pytest -m soak --timeout 7200

golden: setup-dev ## rewrite golden files and generated documentation; review the change as a diff
	@$(BIN)/python -m tests.golden
	@$(BIN)/python -m tests.documents

# UPGRADE= keeps the pins that pyproject.toml still allows.
UPGRADE := --upgrade
COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --no-header $(UPGRADE) pyproject.toml \
	--extra object-storage --extra demo --extra report
# Each file holds what those before it do not: they are read first, and bind it.
define COMPILE_MORE
	@$(COMPILE) $(2) $(3:%=-c %) \
		$$(sed -nE 's/^([A-Za-z0-9._-]+)(\[.*\])?==.*/--no-emit-package \1/p' $(3)) -o $(1)
	@{ echo "-r $(lastword $(3))"; cat $(1); } > $(1).new && mv $(1).new $(1)
endef

requirements: ## pin anew, with hashes (needs uv)
	@$(COMPILE) -o requirements.txt
	$(call COMPILE_MORE,requirements-dev.txt,--extra dev,requirements.txt)
	$(call COMPILE_MORE,requirements-bench.txt,--extra dev --extra bench,requirements.txt requirements-dev.txt)

clean: ## remove the virtual environment and caches
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
