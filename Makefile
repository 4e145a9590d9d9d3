PYTHON ?= python

.PHONY: check format test contracts vectors fuzz bench docs

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
	$(PYTHON) tests/vectors/make.py
	$(PYTHON) tests/vectors/make_codes.py

fuzz:  ## 10^5 changed files with checksums that hold: some minutes
	$(PYTHON) tests/hostile/fuzz.py

bench:  ## speed on this machine
	$(PYTHON) benchmarks/speed.py

docs:  ## the documentation as a site in build/site; needs the extra docs
	$(PYTHON) -m mkdocs build --strict
