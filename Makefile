PYTHON ?= python

.PHONY: check format test contracts vectors fuzz bench

check: contracts test  ## all that the continuous integration runs

contracts:  ## style, types and import rules
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	lint-imports

format:
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

test:
	$(PYTHON) -m pytest -q

vectors:  ## new golden vectors: only for a new format version or a new model, never over old ones
	$(PYTHON) -m tests.vectors.make
	$(PYTHON) -m tests.vectors.make_codes

fuzz:  ## 10^5 changed files with checksums that hold: some minutes
	$(PYTHON) -m tests.hostile.fuzz

bench:  ## speed on this machine
	$(PYTHON) -m benchmarks.speed
