# `make demo`, `make test` and `make dist`. Each sets up a .venv in this clone first.
PYTHON ?= python3
BIN := .venv/bin
# Only for `make test`: a CPU build of torch is enough here, and pip must not pick a CUDA one. See CONTRIBUTING.md.
PIP := PIP_CONSTRAINT=constraints-ci.txt PIP_BUILD_CONSTRAINT=constraints-ci.txt PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip

.PHONY: setup demo test test-fast lint types docs dist mutate attack bench-quick clean

setup: .venv/installed

# What users get, and all that the demo needs: no torch.
.venv/core: pyproject.toml constraints-ci.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install -q -e .
	touch $@

# The rest, for tests: every extra, and that is many megabytes.
.venv/installed: .venv/core
	$(PIP) install -q -e '.[dev]'
	touch $@

# Real clips, where there are some beside this clone.
CLIPS := $(wildcard ../shared/data/clips)

demo: .venv/core
	$(BIN)/vidmem demo demo $(if $(CLIPS),--clips $(CLIPS))

# Tests run in two processes. Those of one file stay together, and so do all that share a browser (tests/conftest.py).
# Other numbers: make test WORKERS=8
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

test: setup lint docs
	$(PYTEST)

test-fast: setup
	$(PYTEST) -m 'not slow'

# mypy, import-linter and mkdocstrings read the package as it is installed, so that the mapped folders are found under
# their real names.
types: setup
	rm -rf .venv/types build && $(PIP) install -q --no-deps --target .venv/types .

lint: types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd .venv/types && MYPYPATH=. ../bin/mypy -p vidmem --config-file ../../pyproject.toml --cache-dir ../mypy
	MYPYPATH=.venv/types $(BIN)/mypy lab benchmarks --cache-dir .venv/mypy-lab
	cd .venv/types && PYTHONPATH=. ../bin/lint-imports ../../pyproject.toml --no-cache

# The site, in site/. The notebook is executed on the way. Nothing is downloaded.
docs: types
	$(BIN)/python -m nbconvert --to markdown --execute docs/notebook.ipynb
	$(BIN)/zensical build --strict --clean
	$(BIN)/python -m pytest -qq tests/docs/test_site.py

# The sdist, and the wheel built from it. setuptools comes with the extra `dev`, so nothing is downloaded here.
dist: setup
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*

# Do the tests notice mistakes? Takes half an hour and more; not in CI. Another sample: make mutate SAMPLE=0
SAMPLE ?= 1500
mutate: setup
	$(PIP) install -q "mutmut>=3.8"
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.mutate --out benchmarks/out/mutate.json --sample $(SAMPLE)

# The long attacks: damaged input for every parser, kills and faults for every command that writes, threads and processes
# that ask while others write, and a camera for hours. An hour; not in CI, where tests/attack has short ones. Other
# numbers: make attack INPUTS=10000 KILLS=50
KILLS ?= 500
HOURS ?= 4
INPUTS ?= 100000
attack: setup
	$(BIN)/python -m tests.attack.fuzzing --out benchmarks/out/attack_fuzz.json --inputs $(INPUTS)
	$(BIN)/python -m tests.attack.kills --out benchmarks/out/attack_kills.json --kills $(KILLS)
	$(BIN)/python -m tests.attack.threads --out benchmarks/out/attack_threads.json --minutes 5
	$(BIN)/python -m tests.attack.soak --out benchmarks/out/attack_soak.json --hours $(HOURS)

# Has anything become slower or larger, against plain ways to do the same? Five minutes, not in CI: see benchmarks/README.md.
# RECORD=1 replaces the record.
bench-quick: setup
	$(BIN)/python -m benchmarks.quick $(if $(RECORD),--record)

clean:
	rm -rf .venv demo build dist site .cache docs/notebook.md docs/notebook_files *.egg-info
