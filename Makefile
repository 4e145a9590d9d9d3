PYTHON ?= python

.PHONY: help check quick test contracts format vectors fuzz bench docs

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*##/\1\t/p' Makefile | expand -t 12

check: contracts test  ## all that the continuous integration runs

quick:  ## the tests that take milliseconds: no Ray, no S3 server, no wheel; under a minute on one core
	$(PYTHON) -m pytest -q -m "not slow"

test:  ## all tests
	$(PYTHON) -m pytest -q

contracts:  ## style, types and import rules
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	lint-imports

format:  ## put the code in shape
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

vectors:  ## new golden vectors: only for a new format version or a new model, never over old ones
	$(PYTHON) -m tests.vectors.make
	$(PYTHON) -m tests.vectors.make_codes

fuzz:  ## 10^5 changed files with checksums that hold: some minutes
	$(PYTHON) -m tests.hostile.fuzz

bench:  ## speed on this machine
	$(PYTHON) -m benchmarks.speed

docs:  ## the documentation as a site in build/site; needs the extra docs
	$(PYTHON) -m mkdocs build --strict
