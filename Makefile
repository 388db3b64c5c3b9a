# Two commands to begin with: `make demo` and `make test`. All live in .venv; nothing is installed elsewhere,
# except that `make test` asks apt-get for missing programs where it may.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NOTEBOOKS := notebooks
NO_BROWSER := -m "not browser"
# Two files at a time: most tests wait for processes. What a file's tests share (servers, pages) they share in one process.
TWICE := -n 2 --dist loadfile
# What checks notebooks takes two seconds to load, in each process, and none of the other tests needs it.
PYTEST := $(BIN)/python -m pytest -p no:nbval
# Thousands of real processes on a machine that others use too: what fails is run once more, and both are shown.
AGAIN := --reruns 1 -raR

.PHONY: demo lab test test-notebooks test-wheel test-browser test-examples test-checkout check types bench docs format clean help

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

$(VENV)/made:
	tools/make-venv "$(PYTHON)" "$(VENV)"
	touch $@

$(VENV)/lab: $(VENV)/made pyproject.toml
	$(BIN)/pip install --quiet --editable '.[lab,frames]' nbclient nbconvert
	touch $@

$(VENV)/test: $(VENV)/made pyproject.toml
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@ $(VENV)/lab

## make demo     run notebooks/quickstart.ipynb on this machine; prints what ran, and where the report is
demo: $(VENV)/lab
	$(BIN)/python tools/demo.py

## make lab      open JupyterLab on the notebooks
lab: $(VENV)/lab
	$(BIN)/jupyter lab $(NOTEBOOKS)

## make test     install what the tests need, then run them all: notebooks, built wheel, browser, examples
test: $(VENV)/test
	tools/install-programs
	$(MAKE) test-notebooks
	$(MAKE) test-wheel
	$(MAKE) test-browser
	$(MAKE) test-examples

# A cache of their own, each time anew: what was kept would answer in place of the commands, and the user's is the user's.
test-notebooks: $(VENV)/test
	rm -rf build/cache
	XEC_UI=static XDG_CACHE_HOME=$(CURDIR)/build/cache $(BIN)/python -m pytest --nbval --nbval-sanitize-with $(NOTEBOOKS)/sanitize.cfg -p no:cacheprovider \
	    -W default --rootdir $(NOTEBOOKS) $(NOTEBOOKS)

# The wheel is unpacked beside the checkout and must be what is imported: files that the build forgets are found here.
# A safe path leaves out the current directory, where the checkout would be found first.
test-wheel: $(VENV)/test
	rm -rf build/wheel build/dist
	$(BIN)/python -m build --wheel --outdir build/dist . > build-wheel.log
	$(BIN)/pip install --quiet --no-deps --target build/wheel build/dist/*.whl
	PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/build/wheel XEC_TEST_WHEEL=$(CURDIR)/build/wheel $(PYTEST) $(TWICE) $(AGAIN) $(NO_BROWSER) tests

# The browser's driver keeps a loop running in the main thread, so its tests have a process of their own.
test-browser: $(VENV)/test
	$(PYTEST) $(TWICE) $(AGAIN) -m browser tests/lab

test-examples: $(VENV)/test
	$(PYTEST) --doctest-modules --doctest-glob='*.md' xec_magic README.md docs

# The same tests as test-wheel, of the files as they lie here.
test-checkout: $(VENV)/test
	$(PYTEST) $(TWICE) $(AGAIN) $(NO_BROWSER) tests

## make check    ruff, mypy, import-linter, generated files, documentation
check: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python tools/make_options_page.py --check
	$(BIN)/python tools/join_js.py --check
	$(MAKE) --jobs=2 types docs

types: $(VENV)/test
	$(BIN)/mypy

## make docs     build the documentation into docs/_build/html, warnings are errors
docs: $(VENV)/test
	$(BIN)/sphinx-build --quiet -W --keep-going -b html docs docs/_build/html

## make bench    measure: every script in benchmarks/, results on the screen and in benchmarks/RESULTS.md
bench: $(VENV)/test
	$(BIN)/python benchmarks/run_all.py

## make format   put the code into form
format: $(VENV)/test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

## make clean    remove everything that was made
clean:
	rm -rf $(VENV) build docs/_build report .pytest_cache .mypy_cache .ruff_cache .hypothesis
