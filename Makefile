# make install: set up .venv; make repro: that, then the quick scale; make test: that, then every check that CI runs.
# uv installs in a quarter of pip's time; without it, or with UV= on the command line, pip does the same.
PYTHON ?= python3
UV ?= $(shell command -v uv 2>/dev/null)
INSTALL = $(if $(UV),$(UV) pip install -q --python $(VENV)/bin/python,$(VENV)/bin/pip install -q)
VENV := $(CURDIR)/.venv
export PATH := $(VENV)/bin:$(PATH)

.PHONY: install repro test clean

install: $(VENV)/.installed

repro: $(VENV)/.installed
	@test -e .git || dvc config --local core.no_scm true  # a source tarball
	dvc repro

test: $(VENV)/.installed-dev
	ruff check .
	ruff format --check .
	mypy
	pytest -n 2
	pytest -q -m slow tests/test_wheel.py

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 12) else f"Python 3.11 or 3.12 is needed, this is {v[0]}.{v[1]}; try: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(INSTALL) -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV)
