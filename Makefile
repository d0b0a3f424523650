# make help lists what there is. The virtual environment is made on the first call and kept.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LABEL_STUDIO := $(VENV)/label-studio
LABEL_STUDIO_SERVER := $(VENV)/label-studio-server
TEST_EXTRA ?= test
DURATIONS ?= 15

# Of all that the installer says, the names of what it fetches, on one line; its errors and its exit code pass.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
install = PYTHONUNBUFFERED=1 $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --editable $(1) | \
	while read -r word name rest; do if [ "$$word" = Collecting ]; then printf '%s ' "$${name%%[!A-Za-z0-9._-]*}"; fi; done; echo

# Two processes of one thread each. The tests of Label Studio have packages of their own: make test-label-studio.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses=2 --dist=worksteal \
	--ignore-glob='*/test_label_studio.py'

# The photos for measuring are never part of the project; tests that need them are skipped where this is empty.
ifdef INTERACTIFY_DATA
export INTERACTIFY_DATA
endif

.DEFAULT_GOAL := help
.PHONY: help demo app lint typecheck fast test test-label-studio test-label-studio-server coverage docs clean

help:
	@echo "make demo               install, then play scripted clicks on the embedded photos and write the pictures"
	@echo "make app                install, then open the page where photos are segmented with the mouse: make app PHOTOS=folder"
	@echo "make fast               the quick tests: under 90 seconds on two cores"
	@echo "make lint               the style (ruff) and the order of the packages (import-linter)"
	@echo "make typecheck          the types (mypy) of interactify/, adapters/ and benchmarks/"
	@echo "make test               all that a change has to pass: lint, typecheck, the tests and those of Label Studio"
	@echo "make test-label-studio  the tests of the Label Studio backend alone"
	@echo "make test-label-studio-server  the backend with a real Label Studio, which is installed into $(LABEL_STUDIO_SERVER)"
	@echo "make coverage           the tests, and which lines they never ran: build/coverage/index.html"
	@echo "make docs               build the documentation into site/"
	@echo "make clean              remove $(VENV) and everything that was built"
	@echo
	@echo "PYTHON=python3.12 chooses the interpreter; INTERACTIFY_DATA=folder gives the tests real photos;"
	@echo "TESTS=tests/optim measures the coverage of these tests only; DURATIONS=0 lists how long each test of make test took."

demo: $(VENV)/.installed
	$(BIN)/interactify demo

app: $(VENV)/.installed-app
	$(BIN)/interactify app $(PHOTOS)

# The order of the packages is written down in pyproject.toml, under [tool.importlinter]. adapters/ is imported as
# interactify.adapters: import-linter sees it there through links, in a folder that is made anew each time.
lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@rm -rf $(VENV)/layers && mkdir -p $(VENV)/layers/interactify
	@ln -s $(CURDIR)/interactify/* $(CURDIR)/adapters $(VENV)/layers/interactify/
	cd $(VENV)/layers && ../bin/lint-imports --no-cache --no-logo ../../pyproject.toml

typecheck: $(VENV)/.installed-test | $(VENV)/types/interactify/adapters
	$(BIN)/mypy

# adapters/ is imported as interactify.adapters, which only the installation knows. This link shows it to mypy: without it
# every adapter is Any to the rest of the library, and whatever is wrong between the two passes.
$(VENV)/types/interactify/adapters: | $(BIN)/python
	@mkdir -p $(@D)
	ln -s ../../../adapters $@

# tests/conftest.py says which tests are long.
fast: $(VENV)/.installed-test
	$(PYTEST) --durations=5 -m "not slow and not long and not data"

test: lint typecheck
	$(PYTEST) --durations=$(DURATIONS)
	@$(MAKE) --no-print-directory test-label-studio

# What runs in other processes (the command line's own, servers that are killed) is not counted.
coverage: $(VENV)/.installed-test
	@mkdir -p build/coverage
	COVERAGE_FILE=build/coverage/data $(PYTEST) --cov=interactify --cov=adapters --cov-branch \
		--cov-report=term:skip-covered --cov-report=html:build/coverage $(TESTS)
	@echo "Open build/coverage/index.html: red lines were never run, yellow ones never left by one of their branches"

# label-studio-ml asks for an older Jinja2 than mkdocs does, so it lies in a folder of its own, which its tests alone see.
test-label-studio: $(VENV)/.installed-label-studio
	OMP_NUM_THREADS=1 PYTHONPATH=$(LABEL_STUDIO) $(BIN)/python -m pytest -q interactify/tools/label_studio.py \
		$$(find tests -name 'test_label_studio*.py')

# Label Studio itself has its own environment: it and label-studio-ml ask for other versions of the same packages.
test-label-studio-server: $(VENV)/.installed-label-studio $(VENV)/.installed-label-studio-server
	OMP_NUM_THREADS=1 PYTHONPATH=$(CURDIR)/$(LABEL_STUDIO) LABEL_STUDIO_SERVER=$(CURDIR)/$(LABEL_STUDIO_SERVER)/bin/label-studio \
		$(BIN)/python -m pytest -q -m slow --durations=5 tests/tools/test_label_studio_server.py

docs: $(VENV)/.installed-test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open site/index.html"

clean:
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis interactify-demo interactify-out
	find interactify adapters tests -name __pycache__ -type d -prune -exec rm -rf {} +

# An interpreter that is too old ends here, and not in an unreadable error of the installer.
$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found: install Python 3.10 or newer, or name it: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "interactify needs Python 3.10 or newer, but $(PYTHON) is $$($(PYTHON) --version 2>&1): name another one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Stamps: what is installed already is not installed again until pyproject.toml changes.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "Installing interactify into $(VENV) (PyTorch is large: the first time takes some minutes)"
	@$(call install,.)
	@touch $@

$(VENV)/.installed-app: pyproject.toml | $(BIN)/python
	@echo "Installing interactify and its page into $(VENV) (PyTorch is large: the first time takes some minutes)"
	@$(call install,".[app]")
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	@echo "Installing interactify and its test tools into $(VENV) (PyTorch is large: the first time takes some minutes)"
	@$(call install,".[$(TEST_EXTRA)]")
	@touch $@ $(VENV)/.installed $(VENV)/.installed-app

$(VENV)/.installed-label-studio: pyproject.toml | $(VENV)/.installed-test
	@echo "Installing label-studio-ml into $(LABEL_STUDIO)"
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --progress-bar off --no-warn-conflicts --upgrade \
		--target $(LABEL_STUDIO) label-studio-converter label-studio-ml redis rq
	@rm -rf $(LABEL_STUDIO)/tests # one of them brings its own, which would stand for ours
	@touch $@

$(VENV)/.installed-label-studio-server: Makefile | $(BIN)/python
	@echo "Installing Label Studio into $(LABEL_STUDIO_SERVER) (some minutes)"
	@$(BIN)/python -m venv $(LABEL_STUDIO_SERVER)
	@$(LABEL_STUDIO_SERVER)/bin/python -m pip install --disable-pip-version-check --quiet --progress-bar off label-studio==1.23.2
	@touch $@
