# Two commands: `make demo` does the main job, `make test` passes the tests. Each sets itself up.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: setup demo serve test coverage lint format docs figures lock release-check clean

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "mcdrop needs Python 3.11 or later: make PYTHON=python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --constraint requirements.lock --editable '.[dev]'
	touch $@

setup: $(STAMP)  ## Everything that development needs, in .venv.

# After "|": a newer installation is no reason to train a version anew.
models/digits/1: | $(STAMP)
	$(BIN)/mcdrop train digits

demo: models/digits/1 $(STAMP)  ## Train on the bundled digits, serve, ask, show the answers, stop.
	$(BIN)/python service/demo.py

serve: models/digits/1 $(STAMP)  ## Serve the repository on http://127.0.0.1:8000 until Ctrl-C.
	$(BIN)/mcdrop serve

test: $(STAMP) lint  ## Lint, type-check and test, on every core.
	$(BIN)/python -m pytest --numprocesses auto

coverage: $(STAMP)  ## What the tests run of the code, servers and their workers included.
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q --numprocesses auto
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(STAMP)  ## The documentation, in site/, for any web server or for a look with a browser.
	$(BIN)/python docs/readme.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

figures: $(STAMP)  ## The documentation's figures, made again: needs data sets and ten minutes.
	$(BIN)/python docs/figures.py

lock: $(STAMP)  ## Pin every dependency, for every platform and supported Python.
	$(BIN)/uv pip compile --quiet --universal --all-extras --no-emit-index-url --no-annotate \
	  --no-header --python-version 3.11 pyproject.toml --output-file requirements.lock

release-check: $(STAMP)  ## Whether the committed state can be released.
	.ci/release-check

clean:
	rm -rf .coverage* .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
