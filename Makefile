# Everything a fresh clone needs: Python 3.11 or newer, and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install install-cluster quickstart test test-slow test-all check docs bench reference figures results clean

install: .venv/installed

.venv/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

.venv/docs: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $@

# On a cluster's nodes: no tests, but Ray's dashboard and job server.
install-cluster:
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cluster]'

quickstart: install
	$(BIN)/psp run quickstart
	$(BIN)/psp plot results/quickstart

# One thread for each process.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --dist loadgroup

# What a change can break quickly. Clusters, S3, large stores and long training are in test-slow.
test: install
	$(PYTEST) --numprocesses logical --maxprocesses 4 -m 'not slow'

# Tests that start Ray wait more than they work: three at a time. Files without slow tests are not even read.
# ONLY="one or another" takes those whose names have these parts.
test-slow: install
	$(PYTEST) --numprocesses 3 -m slow $(if $(ONLY),-k "$(ONLY)") $$(grep -rl 'mark\.slow' tests --include='test_*.py')

test-all: test test-slow

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The manual as a site, build/docs/index.html; every warning is an error.
docs: .venv/docs
	$(BIN)/python -m sphinx -b html -W --keep-going -q -E docs build/docs

# How fast this machine's GPU, else one of its CPU cores, trains; about ten minutes on a CPU.
bench: install
	$(BIN)/python -m benchmarks --out results/bench

# What the parts say of themselves, written into docs/settings.md, docs/contexts.md and docs/store.md.
reference: install
	$(BIN)/python -m study.pages

# The figures of docs/ whose trials are kept in reference/.
figures: install
	PYTHONPATH=. $(BIN)/python docs/draw.py

# The papers' numbers beside ours, from the stores kept in reference/; one without published numbers is passed over,
# and so is what repeats another's trials.
results: install
	mkdir -p build
	set -e; { cat docs/results-intro.md; \
	for store in $(filter-out %-contexts,$(wildcard reference/*)); do \
	    tables=$$($(BIN)/psp compare $$store) || { test $$? -eq 2; continue; }; \
	    printf '\n## %s\n\n%s\n' $${store#reference/} "$$tables"; \
	done; } > build/results.md
	mv build/results.md docs/results.md

clean:
	rm -rf .venv build *.egg-info
