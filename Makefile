# make demo | test | check | bench: each works from a clean checkout with nothing but
# Python >= 3.11 and a package index. PYTHON chooses the interpreter that .venv is made from.

PYTHON ?= python3
BIN := .venv/bin
ENVIRONMENT := .venv/.installed

.PHONY: demo test check bench lint types wheel clean

demo: $(ENVIRONMENT)
	$(BIN)/python -m isogloss.lab.demo

test: $(ENVIRONMENT)
	$(BIN)/python -m pytest

# The tests run last, so that their closing line is the last line of all.
check: lint types wheel
	$(BIN)/python -m pytest -m "" -n logical --dist worksteal --cov --cov-report=term

lint: $(ENVIRONMENT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(ENVIRONMENT)
	$(BIN)/mypy

wheel: $(ENVIRONMENT)
	$(BIN)/python .ci/bare.py

bench: $(ENVIRONMENT)
	$(BIN)/python tests/benchmarks/compose.py
	$(BIN)/python tests/benchmarks/tune.py

$(ENVIRONMENT): pyproject.toml .ci/constraints.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("isogloss needs Python >= 3.11, this is " + sys.version.split()[0] + ": make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint .ci/constraints.txt --editable '.[fast,lab,map,postgresql,ray,serve,tensorboard,dev]'
	touch $@

clean:
	rm -rf .venv build dist isogloss.egg-info
